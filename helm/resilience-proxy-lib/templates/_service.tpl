{{/* Environment of the service's own containers: their calls go out through the sidecar. */}}
{{- define "resilience-proxy-lib.env" -}}
{{- $never := list "localhost" "127.0.0.1" "::1" "169.254.169.254" "metadata.google.internal" -}}
{{- $never = concat $never (list "kubernetes.default.svc" "kubernetes.default.svc.cluster.local") -}}
{{- $hosts := concat $never (.noProxy | default list) | uniq | join "," -}}
- {name: HTTP_PROXY, value: "http://127.0.0.1:7070"}
- {name: http_proxy, value: "http://127.0.0.1:7070"}
- {name: NO_PROXY, value: {{ $hosts | quote }}}
- {name: no_proxy, value: {{ $hosts | quote }}}
{{- end -}}

{{/* lifecycle.preStop of the service's own containers: SIGTERM when no more requests can arrive. */}}
{{- define "resilience-proxy-lib.preStop" -}}
httpGet: {path: /health/inbound-drained, port: 7072}
{{- end -}}

{{/* The pod's terminationGracePeriodSeconds: five seconds more than the drain may take, and 30 at least. */}}
{{- define "resilience-proxy-lib.gracePeriodSeconds" -}}
{{- $settings := include "resilience-proxy-lib.settings" . | fromYaml -}}
{{- max 30 (add (ceil $settings.drainTimeout | int) 5) -}}
{{- end -}}

{{/* Annotations of the pod: tells the webhook that the pod has its sidecar. */}}
{{- define "resilience-proxy-lib.annotations" -}}
resilience-proxy/inject: disabled
{{- end -}}
