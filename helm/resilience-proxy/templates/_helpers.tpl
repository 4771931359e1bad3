{{/* The release's name, with the chart's where it is not part of it. At most 63 characters. */}}
{{- define "resilience-proxy.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What the webhook's pods are found by: never changes. */}}
{{- define "resilience-proxy.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: webhook
{{- end -}}

{{- define "resilience-proxy.labels" -}}
{{ include "resilience-proxy.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "resilience-proxy.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (.tag | default $.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "resilience-proxy.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "resilience-proxy.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* The Secret with the webhook's certificate. */}}
{{- define "resilience-proxy.secretName" -}}
{{- if eq .Values.certificate.source "secret" -}}
{{- required "certificate.secretName is needed where certificate.source is secret" .Values.certificate.secretName -}}
{{- else -}}
{{- printf "%s-tls" (include "resilience-proxy.fullname" . | trunc 59 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{/* Whether sidecars are plain containers: native ones exist from Kubernetes 1.29 on. */}}
{{- define "resilience-proxy.legacy" -}}
{{- if eq (toString .Values.sidecar.legacy) "auto" -}}
{{- semverCompare "<1.29.0-0" .Capabilities.KubeVersion.Version -}}
{{- else -}}
{{- .Values.sidecar.legacy -}}
{{- end -}}
{{- end -}}

{{/* Options of `resilience-proxy webhook` for the sidecars, as a YAML list. */}}
{{- define "resilience-proxy.sidecarArgs" -}}
{{- with .Values.sidecar }}
- --inject={{ .inject }}
- --image={{ .image | default (include "resilience-proxy.image" $) }}
- --image-pull-policy={{ $.Values.image.pullPolicy }}
{{- if eq (include "resilience-proxy.legacy" $) "true" }}
- --legacy
{{- end }}
{{- if $.Values.policies.useByDefault }}
- --config-map={{ $.Values.policies.name }}
{{- end }}
{{- if not .httpProxy }}
- --no-http-proxy
{{- end }}
{{- if .noProxy }}
- --no-proxy={{ join "," .noProxy }}
{{- end }}
{{- if not .preStop }}
- --no-pre-stop
{{- end }}
- --drain-timeout={{ .drainTimeout }}
{{- with .resources }}
- --cpu-request={{ .cpuRequest }}
- --memory-request={{ .memoryRequest }}
- --cpu-limit={{ .cpuLimit }}
- --memory-limit={{ .memoryLimit }}
{{- end }}
{{- end }}
{{- end -}}
