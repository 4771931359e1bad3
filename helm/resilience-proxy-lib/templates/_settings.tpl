{{/*
The settings with their defaults, as YAML. All templates here take a mapping with any of these keys, which mean
what the options and annotations of `resilience-proxy inject` of the same name do; a test holds the defaults, and
what comes of them, to those of inject.

  image            the sidecar's image (required: resilience-proxy:0.1.0 in a registry of yours)
  imagePullPolicy  Always, IfNotPresent or Never
  legacy           true: a plain container, for Kubernetes before 1.29
  configMap        ConfigMap whose key proxy.yaml is the configuration
  storeVolume      volume at /var/lib/resilience-proxy: emptyDir, or the name of one of the pod's volumes
  secret           Secret whose keys are variables of the sidecar's environment
  appPort          number of the port on which the service listens, if inbound traffic goes through the sidecar
  portName         name under which Services find the sidecar's inbound port
  service          the service's name in traces, metrics and Proxy-Status
  noProxy          hosts that NO_PROXY has in addition (list)
  drainTimeout     drain.timeout of the configuration, in seconds (a number)
  cpuRequest, memoryRequest, cpuLimit, memoryLimit    quantities; none for none
*/}}
{{- define "resilience-proxy-lib.settings" -}}
image: {{ required "the sidecar's settings need an image" .image }}
imagePullPolicy: {{ .imagePullPolicy | default "IfNotPresent" }}
legacy: {{ .legacy | default false }}
configMap: {{ .configMap | default "" | quote }}
storeVolume: {{ .storeVolume | default "" | quote }}
secret: {{ .secret | default "" | quote }}
appPort: {{ .appPort | default 0 }}
portName: {{ .portName | default "proxy-in" }}
service: {{ .service | default "" | quote }}
noProxy: {{ .noProxy | default list | toJson }}
drainTimeout: {{ .drainTimeout | default 25 }}
cpuRequest: {{ .cpuRequest | default "100m" }}
memoryRequest: {{ .memoryRequest | default "64Mi" }}
cpuLimit: {{ .cpuLimit | default "none" }}
memoryLimit: {{ .memoryLimit | default "192Mi" }}
{{- end -}}
