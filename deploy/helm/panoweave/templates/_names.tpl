{{- define "panoweave.name" -}}
{{- if contains "panoweave" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-panoweave" .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "panoweave.selector" -}}
app.kubernetes.io/name: panoweave
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "panoweave.labels" -}}
{{ include "panoweave.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "panoweave.image" -}}
{{- $tag := .image.tag | default .root.Chart.AppVersion -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository $tag -}}
{{- end -}}
{{- end -}}

{{- define "panoweave.secretName" -}}
{{- if .Values.secret.existing -}}
{{- .Values.secret.existing -}}
{{- else if .Values.bundledServers.enabled -}}
{{- include "panoweave.name" . }}-servers
{{- else -}}
{{- fail "secret.existing: name the Secret that holds PANOWEAVE_REDIS_URL, since bundledServers are off" -}}
{{- end -}}
{{- end -}}

{{/* The workers with their defaults filled in, as JSON: {"workers": [...]}. */}}
{{- define "panoweave.workers" -}}
{{- $all := list -}}
{{- $names := dict -}}
{{- range .Values.workers -}}
{{- if hasKey $names .name -}}
{{- fail (printf "workers: two have the name %s" .name) -}}
{{- end -}}
{{- $_ := set $names .name true -}}
{{- $all = append $all (mergeOverwrite (deepCopy $.Values.workerDefaults) (deepCopy .)) -}}
{{- end -}}
{{- dict "workers" $all | toJson -}}
{{- end -}}

{{/* The names by which requests may reach the API. */}}
{{- define "panoweave.hosts" -}}
{{- $service := printf "%s-api" (include "panoweave.name" .) -}}
{{- $hosts := list $service (printf "%s.%s" $service .Release.Namespace) (printf "%s.%s.svc" $service .Release.Namespace) (printf "%s.%s.svc.cluster.local" $service .Release.Namespace) "localhost" "127.0.0.1" "$(POD_IP)" -}}
{{- if .Values.ingress.host -}}
{{- $hosts = prepend $hosts .Values.ingress.host -}}
{{- end -}}
{{- join "," $hosts -}}
{{- end -}}
