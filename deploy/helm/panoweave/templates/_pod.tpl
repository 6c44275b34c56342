{{/* Restricted, as Kubernetes' pod security standards define it. */}}
{{- define "panoweave.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
# The first process of a container would ignore a SIGTERM that comes while it is still starting.
shareProcessNamespace: true
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .user | default 10001 }}
  runAsGroup: {{ .group | default 10001 }}
  fsGroup: {{ .group | default 10001 }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{- define "panoweave.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  privileged: false
  capabilities:
    drop: [ALL]
{{- end -}}

{{/* Of all our own pods. `component`, `root`, and a worker's `worker` or nil. */}}
{{- define "panoweave.podCommon" -}}
{{ include "panoweave.podSecurity" dict }}
serviceAccountName: {{ include "panoweave.name" .root }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .place.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .place.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The environment of a process: `root`, and `settings` of its own, which win. */}}
{{- define "panoweave.env" -}}
{{- $values := .root.Values -}}
{{- $name := include "panoweave.name" .root -}}
{{- $secret := include "panoweave.secretName" .root -}}
- name: PANOWEAVE_REDIS_URL
  valueFrom:
    secretKeyRef: {name: {{ $secret }}, key: PANOWEAVE_REDIS_URL}
- name: PANOWEAVE_REDIS_SENTINEL_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ $secret }}, key: PANOWEAVE_REDIS_SENTINEL_PASSWORD, optional: true}
- name: PANOWEAVE_S3_ACCESS_KEY_ID
  valueFrom:
    secretKeyRef: {name: {{ $secret }}, key: PANOWEAVE_S3_ACCESS_KEY_ID, optional: true}
- name: PANOWEAVE_S3_SECRET_ACCESS_KEY
  valueFrom:
    secretKeyRef: {name: {{ $secret }}, key: PANOWEAVE_S3_SECRET_ACCESS_KEY, optional: true}
- name: POD_IP
  valueFrom:
    fieldRef: {fieldPath: status.podIP}
{{- $plain := dict -}}
{{- if $values.redis.certificates -}}
{{- $plain = dict "PANOWEAVE_REDIS_CA" "/etc/panoweave/redis/ca.crt" "PANOWEAVE_REDIS_CERTIFICATE" "/etc/panoweave/redis/tls.crt" "PANOWEAVE_REDIS_PRIVATE_KEY" "/etc/panoweave/redis/tls.key" -}}
{{- end -}}
{{- with $values.redis.sentinels -}}
{{- $_ := set $plain "PANOWEAVE_REDIS_SENTINELS" (join "," .) -}}
{{- end -}}
{{- $plain = merge $plain (dict "PANOWEAVE_S3_BUCKET" $values.s3.bucket "PANOWEAVE_S3_REGION" $values.s3.region) -}}
{{- if $values.s3.endpoint -}}
{{- $_ := set $plain "PANOWEAVE_S3_ENDPOINT" $values.s3.endpoint -}}
{{- else if $values.bundledServers.enabled -}}
{{- $_ := set $plain "PANOWEAVE_S3_ENDPOINT" (printf "http://%s-s3:8333" $name) -}}
{{- $_ := set $plain "PANOWEAVE_S3_PUBLIC_ENDPOINT" "http://127.0.0.1:8333" -}}
{{- end -}}
{{- with $values.ingress.picturesHost -}}
{{- $_ := set $plain "PANOWEAVE_S3_PUBLIC_ENDPOINT" (printf "%s://%s" (ternary "https" "http" (ne $values.ingress.tlsSecret "")) .) -}}
{{- end -}}
{{- if $values.s3.publicEndpoint -}}
{{- $_ := set $plain "PANOWEAVE_S3_PUBLIC_ENDPOINT" $values.s3.publicEndpoint -}}
{{- end -}}
{{- $plain = mergeOverwrite $plain .own (deepCopy $values.settings) .settings -}}
{{- range $key, $value := $plain }}
- name: {{ $key }}
  value: {{ kindIs "string" $value | ternary $value (toJson $value) | quote }}
{{- end }}
{{- end -}}

{{/* Spread over nodes where that is possible. */}}
{{- define "panoweave.spread" -}}
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels: {{ include "panoweave.selector" . | nindent 14 }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{ include "panoweave.selector" . | nindent 8 }}
{{- end -}}

{{/* The client certificate for Redis, where there is one. */}}
{{- define "panoweave.redisMount" -}}
{{- if .Values.redis.certificates }}
- {name: redis-certificates, mountPath: /etc/panoweave/redis, readOnly: true}
{{- end }}
{{- end -}}

{{- define "panoweave.redisVolume" -}}
{{- with .Values.redis.certificates }}
- name: redis-certificates
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- end -}}
