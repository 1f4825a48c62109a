{{- define "longshore.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "longshore.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "longshore.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "longshore.selectorLabels" -}}
app.kubernetes.io/name: {{ include "longshore.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "longshore.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "longshore.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "longshore.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "longshore.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "longshore.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "longshore.tenantsSecret" -}}
{{- .Values.tenants.existingSecret | default (printf "%s-tenants" (include "longshore.fullname" . | trunc 55 | trimSuffix "-")) -}}
{{- end -}}

{{/* Milliseconds of a duration such as 500ms, 30s or 2m; the schema lets no other form through. */}}
{{- define "longshore.milliseconds" -}}
{{- if hasSuffix "ms" . -}}{{ trimSuffix "ms" . }}
{{- else if hasSuffix "s" . -}}{{ mul (trimSuffix "s" .) 1000 }}
{{- else -}}{{ mul (trimSuffix "m" .) 60000 }}
{{- end -}}
{{- end -}}

{{/* The kubelet kills a pod after this time, so it must outlast the drain. */}}
{{- define "longshore.terminationGracePeriodSeconds" -}}
{{- with .Values.shutdown -}}
{{- $drain := add (include "longshore.milliseconds" .delay) (include "longshore.milliseconds" .grace) -}}
{{- if kindIs "invalid" .terminationGracePeriodSeconds -}}
{{- add (div (add $drain 999) 1000) 10 -}}
{{- else if le (mul (int64 .terminationGracePeriodSeconds) 1000) $drain -}}
{{- fail (printf "shutdown.terminationGracePeriodSeconds (%d) must be larger than shutdown.delay + shutdown.grace (%s + %s)" (int64 .terminationGracePeriodSeconds) .delay .grace) -}}
{{- else -}}
{{- int64 .terminationGracePeriodSeconds -}}
{{- end -}}
{{- end -}}
{{- end -}}
