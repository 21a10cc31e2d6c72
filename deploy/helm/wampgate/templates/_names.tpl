{{- define "wampgate.name" -}}
{{- if contains "wampgate" .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-wampgate{{ end -}}
{{- end }}

{{- define "wampgate.selector" -}}
app.kubernetes.io/name: wampgate
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "wampgate.labels" -}}
{{ include "wampgate.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}
