"""A pod's life with real processes, in Kubernetes' order.

python -m tests.podlife --rollovers 10          ten rolling updates of two pods, each order
service      what runs behind the sidecar, a process of its own
kubelet      starts a pod's containers and ends them, as its (injected) manifest says
load         clients that know the endpoints, and fail over at connection errors alone
rollover     a Deployment of two pods under load, replaced again and again; a Job that ends
"""
