"""The sidecar in Kubernetes: manifests with it (`inject`), and pods with it (`webhook`).

    settings      what can be set, for all pods by options and for one by its annotations
    sidecar       the container itself
    pod           what a pod gets beside it: environment, ports, hooks, grace period
    workloads     which objects have pods in them
    services      Services whose traffic the sidecar takes over
    inject        all of these for a set of objects
    manifests     YAML and JSON text in, the same text with the changes out
    json_patch    the difference of two objects (RFC 6902)
    admission     AdmissionReview in, AdmissionReview out
    webhook       the same over HTTP

Beside the floors: nothing here knows the data path, and nothing there knows this.
"""
