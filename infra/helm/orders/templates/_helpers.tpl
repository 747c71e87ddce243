{{/* Most of these take a dict: `root` is the chart's context, `name` a daemon, or migrator for the Job. */}}

{{/* The installation. It is also the job in metrics, which begins with orders. */}}
{{- define "orders.installation" -}}
{{- $name := hasPrefix "orders" .Release.Name | ternary .Release.Name (printf "orders-%s" .Release.Name) -}}
{{- $name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "orders.fullname" -}}
{{ include "orders.installation" .root }}-{{ .name }}
{{- end }}

{{- define "orders.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- end }}

{{- define "orders.metadata" -}}
name: {{ include "orders.fullname" . }}
labels:
  {{- include "orders.selector" . | nindent 2 }}
  app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ .root.Release.Service }}
  helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{/* What is true of each, whatever is set: whether clients reach it, whether it uses the database, and what it reads. */}}
{{- define "orders.facts" -}}
edge: { clients: true, database: true }
writer: { database: true, reads: [ORDERS_COMMANDS, PAYMENTS] }
projector: { database: true, reads: [ORDERS_EVENTS] }
payment-simulator: { reads: [ORDERS_EVENTS] }
realtime: { clients: true }
web: { clients: true }
migrator: { database: true }
{{- end }}

{{/* Whether it connects to NATS: the pages do for their sessions only. */}}
{{- define "orders.usesNats" -}}
{{- if or (ne .name "web") (eq .root.Values.auth.mode "jwt") }}true{{ end -}}
{{- end }}

{{/* What decides how many there are: cpu, lag, or nothing. */}}
{{- define "orders.scaler" -}}
{{- $scale := (get .root.Values.daemons .name).autoscaling -}}
{{- if $scale.cpu }}{{ if $scale.enabled }}cpu{{ end }}{{ else if .root.Values.keda.enabled }}lag{{ end -}}
{{- end }}
