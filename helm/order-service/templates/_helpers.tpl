{{/* All of these take (dict "name" SERVICE "root" $). */}}
{{- define "order-service.selectorLabels" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/part-of: {{ .root.Chart.Name }}
{{- end -}}

{{- define "order-service.labels" -}}
{{ include "order-service.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "order-service.image" -}}
{{- $image := .root.Values.image -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository ($image.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* Settings for the library's templates, as YAML. */}}
{{- define "order-service.sidecar" -}}
{{- $sidecar := .root.Values.sidecar -}}
{{- $legacy := $sidecar.legacy -}}
{{- if eq (toString $legacy) "auto" -}}
{{- $legacy = semverCompare "<1.29.0-0" .root.Capabilities.KubeVersion.Version -}}
{{- end -}}
image: {{ $sidecar.image | default (include "order-service.image" .) }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
legacy: {{ $legacy }}
service: {{ .name }}
appPort: 8080
{{- if eq .name "orders" }}
configMap: {{ .name }}-policies
{{- end }}
cpuRequest: {{ $sidecar.cpuRequest }}
memoryRequest: {{ $sidecar.memoryRequest }}
cpuLimit: {{ $sidecar.cpuLimit }}
memoryLimit: {{ $sidecar.memoryLimit }}
{{- end -}}
