{{/* Rejects values that Kubernetes or the server would reject, and that the schema cannot, mostly because two values conflict. */}}
{{- define "longshore.checks" -}}
{{- $auth := .Values.auth | default dict -}}
{{- $service := .Values.service | default dict -}}
{{- $ports := .Values.ports | default dict -}}
{{- $scaling := .Values.autoscaling | default dict -}}
{{- $grpc := int64 ($ports.grpc | default 50051) -}}
{{- if and (eq ($auth.mode | default "required") "none") (not $auth.allowInsecure) -}}
{{- fail "auth.mode none lets every client that can connect read and write every store: set auth.allowInsecure to true to allow this" -}}
{{- end -}}
{{- $tls := .Values.tls | default dict -}}
{{- range $name := list "clientCA" "clientCRL" -}}
{{- $file := get $tls $name | default dict -}}
{{- if and $file.existingSecret $file.existingConfigMap -}}
{{- fail (printf "tls.%s has both existingSecret and existingConfigMap: set one of the two" $name) -}}
{{- end -}}
{{- end -}}
{{- $given := dict -}}
{{- range include "longshore.clientFiles" . | fromYamlArray -}}
{{- $_ := set $given .volume true -}}
{{- end -}}
{{- if and (hasKey $given "client-ca") (not $tls.existingSecret) -}}
{{- fail "tls.clientCA.existingSecret or existingConfigMap requires TLS: set tls.existingSecret" -}}
{{- end -}}
{{- if and (hasKey $given "client-crl") (not (hasKey $given "client-ca")) -}}
{{- fail "tls.clientCRL.existingSecret or existingConfigMap requires tls.clientCA" -}}
{{- end -}}
{{- $jwt := list -}}
{{- range $key, $value := $auth.jwt -}}
{{- if $value -}}
{{- $jwt = append $jwt $key -}}
{{- end -}}
{{- end -}}
{{- range $key := ternary (list "issuer" "audience" "jwksUrl" "tenantClaim") list (gt (len $jwt) 0) -}}
{{- if not (has $key $jwt) -}}
{{- fail (printf "auth.jwt.%s is not set, but %s: set issuer, audience, jwksUrl and tenantClaim, or no value of auth.jwt" $key (join ", " $jwt)) -}}
{{- end -}}
{{- end -}}
{{- if and $service.headless (ne ($service.type | default "ClusterIP") "ClusterIP") -}}
{{- fail (printf "service.headless requires service.type ClusterIP: a Service of type %s has a cluster IP" $service.type) -}}
{{- end -}}
{{- if eq $grpc (int64 ($ports.health | default 9090)) -}}
{{- fail (printf "ports.grpc and ports.health are both %d: use different ports" $grpc) -}}
{{- end -}}
{{- $adminPort := int64 ($ports.admin | default 9091) -}}
{{- if or (eq $adminPort $grpc) (eq $adminPort (int64 ($ports.health | default 9090))) -}}
{{- fail (printf "ports.admin is %d, which is also ports.grpc or ports.health: use different ports" $adminPort) -}}
{{- end -}}
{{- $fromEnv := false -}}
{{- range .Values.extraEnv -}}{{- if has .name (list "LONGSHORE_ADMIN_TOKEN" "LONGSHORE_ADMIN_SANS") -}}{{- $fromEnv = true -}}{{- end -}}{{- end -}}
{{- if not (or (include "longshore.adminIsLocal" .) (.Values.admin | default dict).existingSecret (.Values.admin | default dict).sans $fromEnv) -}}
{{- fail "admin.listenAddress is not a loopback address: set admin.existingSecret to a Secret with a token, or admin.sans" -}}
{{- end -}}
{{- $clientCA := (.Values.tls | default dict).clientCA | default dict -}}
{{- if and (.Values.admin | default dict).sans (not (or $clientCA.existingSecret $clientCA.existingConfigMap)) -}}
{{- fail "admin.sans requires tls.clientCA" -}}
{{- end -}}
{{- if and $scaling.enabled (gt (int64 ($scaling.minReplicas | default 2)) (int64 ($scaling.maxReplicas | default 10))) -}}
{{- fail "autoscaling.minReplicas must not be larger than autoscaling.maxReplicas" -}}
{{- end -}}
{{- $server := .Values.server | default dict -}}
{{- include "longshore.checkSize" (list "server.maxMessageBytes" $server.maxMessageBytes "64KiB" "1GiB") -}}
{{- include "longshore.checkSize" (list "server.memoryBudget" $server.memoryBudget "16MiB" "1024GiB") -}}
{{- include "longshore.checkSize" (list "audit.buffer" (.Values.audit | default dict).buffer "64KiB" "1GiB") -}}
{{- include "longshore.checkAudit" . -}}
{{- include "longshore.checkVolumes" . -}}
{{- include "longshore.checkSpread" . -}}
{{- include "longshore.checkResources" . -}}
{{- end -}}

{{/* The container's own file system is read-only, so the audit log needs a volume. */}}
{{- define "longshore.checkAudit" -}}
{{- $log := (.Values.audit | default dict).log | default "stdout" -}}
{{- $isMounted := eq $log "stdout" -}}
{{- range .Values.extraVolumeMounts -}}
{{- if and (hasPrefix (printf "%s/" (trimSuffix "/" .mountPath)) $log) (not .readOnly) -}}{{- $isMounted = true -}}{{- end -}}
{{- end -}}
{{- if not $isMounted -}}
{{- fail (printf "audit.log is %s, where no volume is mounted for writing: add one to extraVolumes and extraVolumeMounts, or use stdout" $log) -}}
{{- end -}}
{{- end -}}

{{/* NAME VALUE MINIMUM MAXIMUM: checks a size against the server's own bounds. */}}
{{- define "longshore.checkSize" -}}
{{- $value := index . 1 -}}
{{- if not (or (kindIs "invalid" $value) (eq (toString $value) "")) -}}
{{- $bytes := include "longshore.bytes" $value | float64 -}}
{{- if or (lt $bytes (include "longshore.bytes" (index . 2) | float64)) (gt $bytes (include "longshore.bytes" (index . 3) | float64)) -}}
{{- fail (printf "%s is %v, must be from %s to %s" (index . 0) $value (index . 2) (index . 3)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The bytes of a size such as 8MiB, 8MB, 8B or 8. The schema allows no other form. */}}
{{- define "longshore.bytes" -}}
{{- $text := ternary (int64 . | toString) (toString .) (kindIs "float64" .) | trimSuffix "B" -}}
{{- $units := dict "K" 1e3 "M" 1e6 "G" 1e9 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 -}}
{{- $unit := regexFind "[KMG]i?$" $text -}}
{{- printf "%f" (mulf (trimSuffix $unit $text | trim | float64) (ternary 1.0 (get $units $unit) (eq $unit ""))) -}}
{{- end -}}

{{- define "longshore.checkVolumes" -}}
{{- $tokens := list -}}
{{- range (.Values.serviceAccount | default dict).tokens -}}
{{- if has .name $tokens -}}
{{- fail (printf "serviceAccount.tokens contains %s twice: rename one of the two" .name) -}}
{{- end -}}
{{- $tokens = append $tokens .name -}}
{{- end -}}
{{- $volumes := list "tenants" "tls" "client-ca" "client-crl" "tokens" "jwks" -}}
{{- range .Values.extraVolumes -}}
{{- if has .name $volumes -}}
{{- fail (printf "extraVolumes: the name %s is already in use: rename the volume" .name) -}}
{{- end -}}
{{- $volumes = append $volumes .name -}}
{{- end -}}
{{- $paths := list "/etc/longshore/tenants" "/etc/longshore/tls" "/etc/longshore/client-ca" "/etc/longshore/client-crl" "/var/run/secrets/longshore" "/var/run/secrets/longshore-jwks" -}}
{{- range .Values.extraVolumeMounts -}}
{{- if not (has .name $volumes) -}}
{{- fail (printf "extraVolumeMounts: extraVolumes has no volume named %s" .name) -}}
{{- end -}}
{{- if has .mountPath $paths -}}
{{- fail (printf "extraVolumeMounts: another volume is already mounted at %s: use another mountPath" .mountPath) -}}
{{- end -}}
{{- $paths = append $paths .mountPath -}}
{{- end -}}
{{- end -}}

{{- define "longshore.checkSpread" -}}
{{- $seen := list -}}
{{- range .Values.topologySpreadConstraints -}}
{{- $pair := printf "%s with %s" .topologyKey .whenUnsatisfiable -}}
{{- if has $pair $seen -}}
{{- fail (printf "topologySpreadConstraints contains %s twice: remove one of the two" $pair) -}}
{{- end -}}
{{- $seen = append $seen $pair -}}
{{- end -}}
{{- end -}}

{{- define "longshore.checkResources" -}}
{{- $resources := .Values.resources | default dict -}}
{{- $limits := $resources.limits | default dict -}}
{{- range $name, $request := $resources.requests -}}
{{- $limit := get $limits $name -}}
{{- if not (or (kindIs "invalid" $request) (kindIs "invalid" $limit) (eq (toString $limit) "")) -}}
{{- if gt (include "longshore.quantity" $request | float64) (include "longshore.quantity" $limit | float64) -}}
{{- fail (printf "resources.requests.%s (%v) must not be larger than resources.limits.%s (%v)" $name $request $name $limit) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A Kubernetes quantity, such as 250m, 1.5 or 1Gi, as a number without a unit. */}}
{{- define "longshore.quantity" -}}
{{- $text := toString . -}}
{{- $units := dict "n" 1e-9 "u" 1e-6 "m" 1e-3 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18
  "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 "Pi" 1125899906842624.0 "Ei" 1152921504606846976.0 -}}
{{- $unit := regexFind "([numkMGTPE]|[KMGTPE]i)$" $text -}}
{{- printf "%f" (mulf (trimSuffix $unit $text | trim | float64) (ternary 1.0 (get $units $unit) (eq $unit ""))) -}}
{{- end -}}
