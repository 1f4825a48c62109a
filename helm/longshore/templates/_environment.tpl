{{/* The LONGSHORE_* variables that the chart sets. */}}
{{- define "longshore.ownEnv" -}}
{{- $server := .Values.server | default dict -}}
{{- $ports := .Values.ports | default dict -}}
{{- $tls := .Values.tls | default dict -}}
{{- $auth := .Values.auth | default dict -}}
{{- $uploads := .Values.uploads | default dict -}}
{{- $shutdown := .Values.shutdown | default dict -}}
{{- $host := $server.listenAddress | default "0.0.0.0" -}}
{{- $host = ternary (printf "[%s]" $host) $host (and (contains ":" $host) (not (hasPrefix "[" $host))) -}}
{{- $admin := .Values.admin | default dict -}}
{{- $audit := .Values.audit | default dict -}}
{{- $set := dict
  "LONGSHORE_LISTEN_ADDR" (printf "%s:%d" $host (int64 ($ports.grpc | default 50051)))
  "LONGSHORE_HEALTH_ADDR" (printf "%s:%d" $host (int64 ($ports.health | default 9090)))
  "LONGSHORE_ADMIN_ADDR" (printf "%s:%d" (include "longshore.adminHost" .) (int64 ($ports.admin | default 9091)))
  "LONGSHORE_ADMIN_SANS" ($admin.sans | default list | join ",")
  "LONGSHORE_TENANTS_FILE" (printf "/etc/longshore/tenants/%s" ((.Values.tenants | default dict).key | default "tenants.yaml"))
  "LONGSHORE_TENANTS_TRUSTED" (.Values.tenants | default dict).trusted
  "LONGSHORE_AUTH" ($auth.mode | default "required")
  "LONGSHORE_REPLICAS" (include "longshore.replicas" . | int64 | max 1)
  "LONGSHORE_SHUTDOWN_DELAY" ($shutdown.delay | default "5s")
  "LONGSHORE_SHUTDOWN_GRACE" ($shutdown.grace | default "30s")
  "LONGSHORE_REFLECTION" $server.reflection
  "LONGSHORE_LOG" $server.log
  "LONGSHORE_LOG_FORMAT" $server.logFormat
  "LONGSHORE_MAX_MESSAGE_BYTES" $server.maxMessageBytes
  "LONGSHORE_MESSAGE_TIMEOUT" $server.messageTimeout
  "LONGSHORE_MEMORY_BUDGET" $server.memoryBudget
  "LONGSHORE_MEMORY_WAIT" $server.memoryWait
  "LONGSHORE_UPLOAD_IDLE_TIMEOUT" $server.uploadIdleTimeout
  "LONGSHORE_RELOAD_INTERVAL" $server.reloadInterval
  "LONGSHORE_METRICS_TENANTS" $server.metricsTenants
  "LONGSHORE_STORE_IDLE_TIMEOUT" $server.storeIdleTimeout
  "LONGSHORE_MAX_IN_FLIGHT" $server.maxInFlight
  "LONGSHORE_TENANT_LIMITS" (ternary (toJson $server.tenantLimits) "" (gt (len ($server.tenantLimits | default dict)) 0))
  "LONGSHORE_AUDIT_LOG" $audit.log
  "LONGSHORE_AUDIT_WAIT" $audit.wait
  "LONGSHORE_AUDIT_BUFFER" $audit.buffer
  "LONGSHORE_MAX_CONCURRENT_STREAMS" $server.maxConcurrentStreams
  "LONGSHORE_MAX_CONNECTIONS" $server.maxConnections
  "LONGSHORE_MAX_CONNECTION_AGE" $server.maxConnectionAge
  "LONGSHORE_MAX_CONNECTION_AGE_GRACE" $server.maxConnectionAgeGrace
  "LONGSHORE_MAX_CONNECTION_IDLE" $server.maxConnectionIdle
  "LONGSHORE_KEEPALIVE_INTERVAL" $server.keepaliveInterval
  "LONGSHORE_KEEPALIVE_TIMEOUT" $server.keepaliveTimeout
  "LONGSHORE_HANDSHAKE_TIMEOUT" $server.handshakeTimeout
-}}
{{- $jwt := $auth.jwt | default dict -}}
{{- $jwtNames := dict "issuer" "ISSUER" "audience" "AUDIENCE" "tenantClaim" "TENANT_CLAIM" "jwksUrl" "JWKS_URL"
  "jwksBearerTokenFile" "JWKS_BEARER_TOKEN_FILE" "jwksCaFile" "JWKS_CA_FILE" "leeway" "LEEWAY" -}}
{{- range $key, $name := $jwtNames -}}
{{- $_ := set $set (printf "LONGSHORE_JWT_%s" $name) (get $jwt $key) -}}
{{- end -}}
{{- if $auth.allowInsecure -}}
{{- $_ := set $set "LONGSHORE_ALLOW_INSECURE" "true" -}}
{{- end -}}
{{- if $tls.existingSecret -}}
{{- $_ := set $set "LONGSHORE_TLS_CERT" (printf "/etc/longshore/tls/%s" ($tls.certKey | default "tls.crt")) -}}
{{- $_ := set $set "LONGSHORE_TLS_KEY" (printf "/etc/longshore/tls/%s" ($tls.keyKey | default "tls.key")) -}}
{{- end -}}
{{- range $file := include "longshore.clientFiles" . | fromYamlArray -}}
{{- $_ := set $set $file.variable $file.path -}}
{{- end -}}
{{- range $name, $value := $set }}
{{- $text := ternary (int64 $value | toString) (toString $value) (kindIs "float64" $value) }}
{{- if not (or (kindIs "invalid" $value) (eq $text "")) }}
- name: {{ $name }}
  value: {{ $text | quote }}
{{- end }}
{{- end }}
{{- with $uploads.existingSecret }}
- name: LONGSHORE_UPLOAD_KEY
  valueFrom:
    secretKeyRef:
      name: {{ . | quote }}
      key: {{ $uploads.key | default "upload-key" | quote }}
{{- end }}
{{- with $admin.existingSecret }}
- name: LONGSHORE_ADMIN_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ . | quote }}
      key: {{ $admin.key | default "admin-token" | quote }}
{{- end }}
{{- end -}}

{{/* The host part of the address of the admin listener. */}}
{{- define "longshore.adminHost" -}}
{{- $host := (.Values.admin | default dict).listenAddress | default "127.0.0.1" -}}
{{- ternary (printf "[%s]" $host) $host (and (contains ":" $host) (not (hasPrefix "[" $host))) -}}
{{- end -}}

{{/* Whether the admin listener can be reached from the pod only; empty: no. */}}
{{- define "longshore.adminIsLocal" -}}
{{- $host := include "longshore.adminHost" . -}}
{{- if or (hasPrefix "127." $host) (eq $host "[::1]") -}}true{{- end -}}
{{- end -}}

{{/* Variables that extraEnv cannot replace, because other parts of the chart depend on them, with the values to set instead. */}}
{{- define "longshore.fixedEnv" -}}
LONGSHORE_LISTEN_ADDR: server.listenAddress and ports.grpc
LONGSHORE_HEALTH_ADDR: server.listenAddress and ports.health
LONGSHORE_ADMIN_ADDR: admin.listenAddress and ports.admin
LONGSHORE_SHUTDOWN_DELAY: shutdown.delay
LONGSHORE_SHUTDOWN_GRACE: shutdown.grace
{{- end -}}

{{/* The container's environment. Each name appears once, and extraEnv overrides the chart's own variables. */}}
{{- define "longshore.env" -}}
{{- $given := .Values.extraEnv | default list -}}
{{- $fixed := include "longshore.fixedEnv" . | fromYaml -}}
{{- $names := list -}}
{{- range $given -}}
{{- if has .name $names -}}
{{- fail (printf "extraEnv contains %s twice: remove one of the two" .name) -}}
{{- end -}}
{{- if hasKey $fixed .name -}}
{{- fail (printf "extraEnv cannot set %s: set %s instead" .name (get $fixed .name)) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- $env := list -}}
{{- range include "longshore.ownEnv" . | fromYamlArray -}}
{{- if not (has .name $names) -}}
{{- $env = append $env . -}}
{{- end -}}
{{- end -}}
{{- toYaml (concat $env $given) -}}
{{- end -}}

{{/* The files that client certificates are verified with, as a list: the volume, its source, and the variable with the file's path. */}}
{{- define "longshore.clientFiles" -}}
{{- $tls := .Values.tls | default dict -}}
{{- $files := list -}}
{{- range $entry := list (list "clientCA" "client-ca" "LONGSHORE_TLS_CLIENT_CA" "ca.crt") (list "clientCRL" "client-crl" "LONGSHORE_TLS_CLIENT_CRL" "ca.crl") -}}
{{- $file := get $tls (index $entry 0) | default dict -}}
{{- $source := dict -}}
{{- with $file.existingSecret -}}
{{- $source = dict "secret" (dict "secretName" . "defaultMode" 0440) -}}
{{- end -}}
{{- with $file.existingConfigMap -}}
{{- $source = dict "configMap" (dict "name" . "defaultMode" 0440) -}}
{{- end -}}
{{- if $source -}}
{{- $folder := printf "/etc/longshore/%s" (index $entry 1) -}}
{{- $path := printf "%s/%s" $folder ($file.key | default (index $entry 3)) -}}
{{- $files = append $files (dict "volume" (index $entry 1) "source" $source "folder" $folder "variable" (index $entry 2) "path" $path) -}}
{{- end -}}
{{- end -}}
{{- toYaml $files -}}
{{- end -}}
