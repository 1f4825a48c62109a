{{/*
A null value counts as missing: a map is then empty, and a string or number has its default. The templates therefore
read maps as `.Values.x | default dict`. They also quote every string, because YAML reads a name of digits as a number.
*/}}

{{- define "longshore.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimAll "-" -}}
{{- end -}}

{{/* The name of a release may contain dots; the name of a Service may not. */}}
{{- define "longshore.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimAll "-" -}}
{{- else -}}
{{- $name := include "longshore.name" . -}}
{{- $release := .Release.Name | replace "." "-" -}}
{{- ternary $release (printf "%s-%s" $release $name) (contains $name $release) | trunc 63 | trimAll "-" -}}
{{- end -}}
{{- end -}}

{{/* Kubernetes before 1.34 rejects a Service whose name begins with a digit. */}}
{{- define "longshore.serviceName" -}}
{{- $name := include "longshore.fullname" . -}}
{{- ternary (printf "svc-%s" $name | trunc 63 | trimAll "-") $name (regexMatch "^[0-9]" $name) -}}
{{- end -}}

{{- define "longshore.metadata" -}}
name: {{ include "longshore.fullname" . | quote }}
namespace: {{ .Release.Namespace | quote }}
labels: {{- include "longshore.labels" . | nindent 2 }}
{{- end -}}

{{- define "longshore.selectorLabels" -}}
app.kubernetes.io/name: {{ include "longshore.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "longshore.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimAll "-_." | quote }}
{{ include "longshore.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
{{- end -}}

{{/* podLabels override the chart's labels, except for those that the selectors use. */}}
{{- define "longshore.podLabels" -}}
{{- $given := include "longshore.withoutNulls" .Values.podLabels | fromYaml -}}
{{- range $label, $own := include "longshore.selectorLabels" . | fromYaml -}}
{{- if and (hasKey $given $label) (ne (get $given $label) $own) -}}
{{- fail (printf "podLabels: %s must be %q, which selects the release's pods: remove it, or set nameOverride" $label $own) -}}
{{- end -}}
{{- end -}}
{{- toYaml (mergeOverwrite (include "longshore.labels" . | fromYaml) $given) -}}
{{- end -}}

{{- define "longshore.podAnnotations" -}}
{{- $given := include "longshore.withoutNulls" .Values.podAnnotations | fromYaml -}}
{{- toYaml (mergeOverwrite (dict "kubectl.kubernetes.io/default-container" "longshore") $given) -}}
{{- end -}}

{{- define "longshore.serviceAccountName" -}}
{{- $account := .Values.serviceAccount | default dict -}}
{{- $account.name | default (ternary (include "longshore.fullname" .) "default" (default false $account.create)) -}}
{{- end -}}

{{- define "longshore.image" -}}
{{- $image := .Values.image | default dict -}}
{{- $repository := $image.repository | default "longshore" -}}
{{- if $image.digest -}}
{{ $repository }}@{{ $image.digest }}
{{- else -}}
{{ $repository }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "longshore.tenantsSecret" -}}
{{- (.Values.tenants | default dict).existingSecret | default (printf "%s-tenants" (include "longshore.fullname" . | trunc 55 | trimAll "-")) -}}
{{- end -}}

{{/* The maximum number of pods. */}}
{{- define "longshore.replicas" -}}
{{- $scaling := .Values.autoscaling | default dict -}}
{{- if $scaling.enabled -}}
{{- int64 ($scaling.maxReplicas | default 10) -}}
{{- else -}}
{{- ternary 2 (int64 .Values.replicaCount) (kindIs "invalid" .Values.replicaCount) -}}
{{- end -}}
{{- end -}}

{{/* A map as YAML, without keys whose value is null. */}}
{{- define "longshore.withoutNulls" -}}
{{- $kept := dict -}}
{{- range $key, $value := . -}}
{{- if kindIs "map" $value -}}
{{- $_ := set $kept $key (include "longshore.withoutNulls" $value | fromYaml) -}}
{{- else if not (kindIs "invalid" $value) -}}
{{- $_ := set $kept $key $value -}}
{{- end -}}
{{- end -}}
{{- toYaml $kept -}}
{{- end -}}

{{/* The milliseconds of a duration such as 500ms, 30s or 2m. The schema allows no other form. */}}
{{- define "longshore.milliseconds" -}}
{{- if hasSuffix "ms" . -}}{{ trimSuffix "ms" . }}
{{- else if hasSuffix "s" . -}}{{ mul (trimSuffix "s" .) 1000 }}
{{- else -}}{{ mul (trimSuffix "m" .) 60000 }}
{{- end -}}
{{- end -}}

{{/* The kubelet kills a pod after this time, so it must be longer than the drain. */}}
{{- define "longshore.terminationGracePeriodSeconds" -}}
{{- $shutdown := .Values.shutdown | default dict -}}
{{- $delay := $shutdown.delay | default "5s" -}}
{{- $grace := $shutdown.grace | default "30s" -}}
{{- $drain := add (include "longshore.milliseconds" $delay) (include "longshore.milliseconds" $grace) -}}
{{- if kindIs "invalid" $shutdown.terminationGracePeriodSeconds -}}
{{- add (div (add $drain 999) 1000) 10 -}}
{{- else if le (mul (int64 $shutdown.terminationGracePeriodSeconds) 1000) $drain -}}
{{- fail (printf "shutdown.terminationGracePeriodSeconds (%d) must be larger than shutdown.delay + shutdown.grace (%s + %s)" (int64 $shutdown.terminationGracePeriodSeconds) $delay $grace) -}}
{{- else -}}
{{- int64 $shutdown.terminationGracePeriodSeconds -}}
{{- end -}}
{{- end -}}

{{/* The numbers of a probe. Kubernetes has a default for each that is not set. */}}
{{- define "longshore.probe" -}}
{{- range $key, $value := . }}
{{- if not (kindIs "invalid" $value) }}
{{ $key }}: {{ int64 $value }}
{{- end }}
{{- end }}
{{- end -}}
