"""The sidecar in Kubernetes: in manifests (`inject`), and in pods (`webhook`).

    settings      settings, for all pods by options and for one by its annotations
    sidecar       the container itself
    pod           the rest of the pod: environment, ports, hooks, grace period
    workloads     which objects contain pods
    services      Services whose traffic the sidecar takes over
    inject        all of these for a set of objects
    manifests     reads YAML and JSON text, and writes it with the changes
    json_patch    the difference of two objects (RFC 6902)
    admission     AdmissionReview in, AdmissionReview out
    webhook       the same over HTTP

It is beside the floors: it imports only configuration, and the data path does not import it.
"""
