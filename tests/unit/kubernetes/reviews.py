"""AdmissionReviews as an API server sends them."""

from copy import deepcopy
from typing import Any

UID = "705ab4f5-6393-11e8-b7cc-42010a800002"

POD = {
    "kind": "Pod",
    "apiVersion": "v1",
    "metadata": {
        "generateName": "orders-7d4f9c-",
        "creationTimestamp": None,
        "labels": {"app": "orders", "pod-template-hash": "7d4f9c"},
        "ownerReferences": [
            {
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "name": "orders-7d4f9c",
                "uid": "5b1c1a2e-0b52-4d0f-8f3c-3f2f1b7a9c11",
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    },
    "spec": {
        "volumes": [{"name": "kube-api-access-x", "projected": {"sources": []}}],
        "containers": [
            {
                "name": "main",
                "image": "orders:1",
                "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "imagePullPolicy": "IfNotPresent",
            }
        ],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 10,
        "dnsPolicy": "ClusterFirst",
        "serviceAccountName": "default",
        "securityContext": {},
        "schedulerName": "default-scheduler",
        "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}],
    },
    "status": {},
}


def review(pod: Any = POD, **request: Any) -> dict[str, Any]:
    return {
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": UID,
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "requestKind": {"group": "", "version": "v1", "kind": "Pod"},
            "requestResource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "shop",
            "operation": "CREATE",
            "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
            "object": deepcopy(pod),
            "oldObject": None,
            "dryRun": False,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        }
        | request,
    }


def annotated(**texts: str) -> dict[str, Any]:
    pod: dict[str, Any] = deepcopy(POD)
    pod["metadata"]["annotations"] = {
        f"resilience-proxy/{name.replace('_', '-')}": text for name, text in texts.items()
    }
    return pod
