{{/*
The sidecar, as one item of a list. Of initContainers, and the first of them, if it is a native one; with legacy: true
of containers, and the first of those.
*/}}
{{- define "resilience-proxy-lib.container" -}}
{{- $settings := include "resilience-proxy-lib.settings" . | fromYaml -}}
- name: resilience-proxy
  image: {{ $settings.image }}
  imagePullPolicy: {{ $settings.imagePullPolicy }}
  args: [run{{ if $settings.configMap }}, --config, /etc/resilience-proxy/config/proxy.yaml{{ end }}]
  {{- if not $settings.legacy }}
  restartPolicy: Always
  {{- end }}
  {{- if or $settings.service $settings.appPort }}
  env:
    {{- with $settings.service }}
    - {name: OTEL_SERVICE_NAME, value: {{ . | quote }}}
    {{- end }}
    {{- with $settings.appPort }}
    - {name: RESILIENCE_PROXY_APP_PORT, value: {{ . | int | quote }}}
    {{- end }}
  {{- end }}
  {{- with $settings.secret }}
  envFrom:
    - {secretRef: {name: {{ . | quote }}}}
  {{- end }}
  ports:
    - {name: {{ $settings.portName }}, containerPort: 7071, protocol: TCP}
    - {name: proxy-admin, containerPort: 7072, protocol: TCP}
  {{- if or $settings.configMap $settings.storeVolume }}
  volumeMounts:
    {{- if $settings.configMap }}
    # The directory, not the file by subPath: that would never see the ConfigMap change.
    - {name: resilience-proxy-config, mountPath: /etc/resilience-proxy/config, readOnly: true}
    {{- end }}
    {{- with $settings.storeVolume }}
    - {name: {{ eq . "emptyDir" | ternary "resilience-proxy-store" . }}, mountPath: /var/lib/resilience-proxy}
    {{- end }}
  {{- end }}
  startupProbe:
    httpGet: {path: /health/ready, port: 7072}
    periodSeconds: 1
    failureThreshold: 60
  readinessProbe:
    httpGet: {path: /health/ready, port: 7072}
    periodSeconds: 5
    timeoutSeconds: 2
    failureThreshold: 2
  livenessProbe:
    httpGet: {path: /health/live, port: 7072}
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 3
  lifecycle:
    preStop: {exec: {command: [resilience-proxy, drain]}}
    {{- if $settings.legacy }}
    # The next container is not started before this has ended.
    postStart: {exec: {command: [resilience-proxy, ready, --timeout, 60s]}}
    {{- end }}
  {{- include "resilience-proxy-lib.resources" $settings | nindent 2 }}
  securityContext:
    allowPrivilegeEscalation: false
    capabilities: {drop: [ALL]}
    readOnlyRootFilesystem: true
    runAsGroup: 65532
    runAsNonRoot: true
    runAsUser: 65532
    seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "resilience-proxy-lib.resources" -}}
{{- $resources := dict -}}
{{- range $kind, $suffix := dict "requests" "Request" "limits" "Limit" -}}
{{- $amounts := dict -}}
{{- range $what := list "cpu" "memory" -}}
{{- $amount := index $ (print $what $suffix) | toString -}}
{{- if ne $amount "none" -}}
{{- $_ := set $amounts $what $amount -}}
{{- end -}}
{{- end -}}
{{- if $amounts -}}
{{- $_ := set $resources $kind $amounts -}}
{{- end -}}
{{- end -}}
{{- if $resources -}}
resources:
  {{- toYaml $resources | nindent 2 }}
{{- end -}}
{{- end -}}

{{/*
The pod's volumes for the sidecar, as items of volumes: the configuration's, and with storeVolume: emptyDir one that is
lost with the pod. Nothing without either.
*/}}
{{- define "resilience-proxy-lib.volume" -}}
{{- with .configMap -}}
- {name: resilience-proxy-config, configMap: {name: {{ . }}}}
{{ end -}}
{{- if eq (.storeVolume | default "") "emptyDir" -}}
- {name: resilience-proxy-store, emptyDir: {}}
{{- end -}}
{{- end -}}
