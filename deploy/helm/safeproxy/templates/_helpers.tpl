{{- define "safeproxy.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* What tells the parts of a release apart: (list $ "proxy"). */ -}}
{{- define "safeproxy.selector" -}}
{{- $ := index . 0 -}}
app.kubernetes.io/name: {{ $.Chart.Name }}
app.kubernetes.io/instance: {{ $.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "safeproxy.labels" -}}
{{- $ := index . 0 -}}
{{ include "safeproxy.selector" . }}
app.kubernetes.io/version: {{ $.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $.Chart.Name $.Chart.Version }}
{{- end -}}

{{- define "safeproxy.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
# A volume of many files is not walked at each start.
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "safeproxy.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "safeproxy.spread" -}}
- maxSkew: 1
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "safeproxy.selector" . | nindent 6 }}
- maxSkew: 1
  topologyKey: topology.kubernetes.io/zone
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "safeproxy.selector" . | nindent 6 }}
{{- end -}}

{{- /* The settings file: what is set, then what only the chart knows. */ -}}
{{- define "safeproxy.settings" -}}
{{- $name := include "safeproxy.fullname" . -}}
{{- $made := dict "host" "0.0.0.0" "port" 8080 "admin_host" "0.0.0.0" "admin_port" 8081 "audit" "/var/lib/safeproxy/audit" "workers" 1 -}}
{{- if not (or .Values.settings.upstream .Values.settings.upstreams) }}{{ $_ := set $made "upstream" "https://api.openai.com" }}{{ end -}}
{{- if .Values.rules }}{{ $_ := set $made "rules" (list "shipped" "/etc/safeproxy/rules") }}{{ end -}}
{{- if .Values.secrets.clientKeys }}{{ $_ := set $made "client_keys" "/etc/safeproxy/client-keys/clients.yaml" }}{{ end -}}
{{- if .Values.redis.enabled }}{{ $_ := set $made "redis_url" (printf "redis://%s-redis:6379/0" $name) }}{{ end -}}
{{- if .Values.collector.enabled }}{{ $_ := set $made "otlp_endpoint" (printf "http://%s-collector:4318" $name) }}{{ end -}}
{{- toYaml (mergeOverwrite (deepCopy .Values.settings) $made) -}}
{{- end -}}
