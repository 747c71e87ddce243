{{/* The settings that are files: each with its Secret and the key in it. */}}
{{- define "orders.secretFiles" -}}
{{- $values := .root.Values -}}
{{- $facts := get (include "orders.facts" . | fromYaml) .name -}}
{{- $files := dict -}}
{{- if include "orders.usesNats" . -}}
  {{- with $values.nats.credsSecret }}{{ $_ := set $files "ORDERS_NATS__CREDS" (dict "secret" . "key" (printf "%s.creds" $.name)) }}{{ end -}}
  {{- with $values.nats.caSecret }}{{ $_ := set $files "ORDERS_NATS__CA_FILE" (dict "secret" . "key" "ca.crt") }}{{ end -}}
{{- end -}}
{{- if $facts.database -}}
  {{- with $values.mongo.urlSecret }}{{ $_ := set $files "ORDERS_MONGO__URI_FILE" (dict "secret" . "key" $.name) }}{{ end -}}
{{- end -}}
{{- $own := eq .name "migrator" | ternary $values.migrate (get $values.daemons .name) -}}
{{- mergeOverwrite $files ($own.secretFiles | deepCopy) | toYaml -}}
{{- end }}

{{- define "orders.secretFolder" -}}/run/secrets/orders{{- end }}

{{/* All settings, as strings. What the values name wins over what the chart knows. */}}
{{- define "orders.settings" -}}
{{- $values := .root.Values -}}
{{- $facts := get (include "orders.facts" . | fromYaml) .name -}}
{{- $settings := dict "NATS_URL" $values.nats.url -}}
{{- $own := dict -}}
{{- if $facts.database }}{{ $_ := set $settings "MONGO_URL" $values.mongo.url }}{{ end -}}
{{- if eq .name "migrator" -}}
  {{- $_ := set $settings "ORDERS_OPERATOR" (printf "helm %s" .root.Release.Name) -}}
  {{- /* Its consumer depends on them. */ -}}
  {{- $own = (get $values.daemons "payment-simulator").settings -}}
{{- else -}}
  {{- $daemon := get $values.daemons .name -}}
  {{- $own = $daemon.settings -}}
  {{- $_ := set $settings "PORT" "8080" -}}
  {{- $_ := set $settings "ORDERS_HOST" "0.0.0.0" -}}
  {{- /* Apart, so that no Ingress shows them to the world. */ -}}
  {{- $_ := set $settings "ORDERS_ADMIN_ADDR" "0.0.0.0:9090" -}}
  {{- $_ := set $settings "ORDERS_AUTO_MIGRATE" "false" -}}
  {{- $_ := set $settings "ORDERS_AUTH__MODE" $values.auth.mode -}}
  {{- if eq $values.auth.mode "off" }}{{ $_ := set $settings "ORDERS_AUTH__ALLOW_OFF" "true" }}{{ end -}}
  {{- if $facts.clients -}}
    {{- with $values.auth.issuer }}{{ $_ := set $settings "ORDERS_AUTH__ISSUER" . }}{{ end -}}
    {{- $_ := set $settings "ORDERS_DRAIN" (printf "%ds" (int $daemon.drain)) -}}
  {{- end -}}
{{- end -}}
{{- if eq .name "edge" -}}
  {{- $_ := set $settings "ORDERS_REALTIME_URLS" (printf "http://%s" (include "orders.fullname" (dict "root" .root "name" "realtime"))) -}}
{{- else if eq .name "web" -}}
  {{- $_ := set $settings "ORDERS_EDGE_URL" (printf "http://%s" (include "orders.fullname" (dict "root" .root "name" "edge"))) -}}
  {{- with $values.auth.issuer }}{{ $_ := set $settings "ORDERS_OIDC__ISSUER" . }}{{ end -}}
{{- end -}}
{{- range $setting, $_ := include "orders.secretFiles" . | fromYaml -}}
  {{- $_ := set $settings $setting (printf "%s/%s" (include "orders.secretFolder" $) $setting) -}}
{{- end -}}
{{- $given := deepCopy $values.settings -}}
{{- if $facts.clients }}{{ $given = mergeOverwrite $given (deepCopy $values.clientSettings) }}{{ end -}}
{{- range $setting, $value := mergeOverwrite $given (deepCopy $own) -}}
  {{- /* Numbers in values are floats: 4294967296 would be 4.294967296e+09. */ -}}
  {{- $_ := set $settings $setting (kindIs "float64" $value | ternary (int64 $value) $value | toString) -}}
{{- end -}}
{{- toYaml $settings -}}
{{- end }}
