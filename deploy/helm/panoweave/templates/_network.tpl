{{- define "panoweave.namespacePeer" -}}
namespaceSelector:
  matchLabels:
    kubernetes.io/metadata.name: {{ . }}
{{- end -}}

{{- define "panoweave.metricsIngress" -}}
{{- if .Values.monitoring.operator -}}
- from:
    - {{ include "panoweave.namespacePeer" .Values.monitoring.namespace | nindent 6 | trim }}
  ports: [{port: 9464, protocol: TCP}]
{{- else -}}
[]
{{- end -}}
{{- end -}}

{{/* Every public address: neither private networks, nor the cloud's metadata. */}}
{{- define "panoweave.publicPeers" -}}
- ipBlock:
    cidr: 0.0.0.0/0
    except: [10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, 169.254.0.0/16]
- ipBlock:
    cidr: ::/0
    except: ["fc00::/7", "fe80::/10"]
{{- end -}}

{{/* To the cluster's DNS, Redis and S3. */}}
{{- define "panoweave.serverEgress" -}}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
  ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
{{- if .Values.bundledServers.enabled }}
{{- range $component, $port := dict "redis" 6379 "s3" 8333 }}
- to:
    - podSelector:
        matchLabels: {{ include "panoweave.selector" (dict "root" $ "component" $component) | nindent 10 }}
  ports: [{port: {{ $port }}, protocol: TCP}]
{{- end }}
{{- else }}
{{- range list .Values.networkPolicy.redis .Values.networkPolicy.s3 }}
- ports: [{port: {{ .port }}, protocol: TCP}]
  {{- with .to }}
  to: {{ toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}
{{- with .Values.networkPolicy.extraEgress }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* To the hub: workers download checkpoints, the API what they make. */}}
{{- define "panoweave.hubEgress" -}}
{{- if .Values.networkPolicy.hub }}
- to: {{ include "panoweave.publicPeers" . | nindent 4 }}
  ports: [{port: 443, protocol: TCP}]
{{- end }}
{{- end -}}
