{{/* What all pods have in common: as whom they run, and their secrets. */}}
{{- define "orders.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: { type: RuntimeDefault }
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $files := include "orders.secretFiles" . | fromYaml }}
{{- $ca := include "orders.mongoCa" . }}
{{- if or $files $ca }}
volumes:
  - name: secrets
    projected:
      defaultMode: 0440
      sources:
        {{- range $setting, $file := $files }}
        - secret: { name: {{ $file.secret | quote }}, items: [{ key: {{ $file.key | quote }}, path: {{ $setting }} }] }
        {{- end }}
        {{- with $ca }}
        - secret: { name: {{ . | quote }}, items: [{ key: ca.crt, path: mongo-ca.crt }] }
        {{- end }}
{{- end }}
{{- end }}

{{- define "orders.mongoCa" -}}
{{- if (get (include "orders.facts" . | fromYaml) .name).database }}{{ .root.Values.mongo.caSecret }}{{ end -}}
{{- end }}

{{/* What all containers have in common. */}}
{{- define "orders.container" -}}
{{- $image := .root.Values.image -}}
{{- $version := printf ":%s" (default .root.Chart.AppVersion $image.tag) -}}
{{- with $image.digest }}{{ $version = printf "@%s" . }}{{ end -}}
image: {{ printf "%s%s" $image.repository $version | quote }}
imagePullPolicy: {{ $image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
env:
  # The name of this process in logs and traces.
  - { name: PS, valueFrom: { fieldRef: { fieldPath: metadata.name } } }
  {{- range $setting, $value := include "orders.settings" . | fromYaml }}
  - { name: {{ $setting }}, value: {{ $value | quote }} }
  {{- end }}
{{- with .root.Values.settingsSecret }}
envFrom:
  - secretRef: { name: {{ . | quote }} }
{{- end }}
{{- if or (include "orders.secretFiles" . | fromYaml) (include "orders.mongoCa" .) }}
volumeMounts:
  - { name: secrets, mountPath: {{ include "orders.secretFolder" . }}, readOnly: true }
{{- end }}
{{- end }}

{{/*
The readiness of a daemon. Without NATS, the edge still answers 202 or 503 and serves lists, and so do the pages; if all of
them became unready at once, nobody would get any answer.
*/}}
{{- define "orders.readyz" -}}
{{- $probes := list -}}
{{- if has .name (list "edge" "web") -}}
  {{- if include "orders.usesNats" . }}{{ $probes = list "exclude=nats" "exclude=streams" }}{{ end -}}
  {{- if eq .root.Values.auth.mode "jwt" }}{{ $probes = append $probes "exclude=revocations" }}{{ end -}}
{{- end -}}
/readyz{{ if $probes }}?{{ join "&" $probes }}{{ end }}
{{- end }}
