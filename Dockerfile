# The sidecar's image. Two stages: the first builds wheels and installs them into a virtual
# environment, the second takes that over as it is, without what built it.
#
#   docker build --tag resilience-proxy .
#   docker run --rm --network host resilience-proxy
#
# All wheels are prebuilt for glibc on x86-64 and arm64, so no compiler is needed in either stage.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY proxy ./proxy
RUN pip wheel --no-cache-dir --wheel-dir /wheels . \
 && python -m venv --without-pip /opt/resilience-proxy \
 && pip --python /opt/resilience-proxy/bin/python install --no-cache-dir --no-index \
        --find-links /wheels resilience-proxy

FROM python:${PYTHON}-slim
COPY --from=build /opt/resilience-proxy /opt/resilience-proxy
ENV PATH=/opt/resilience-proxy/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

# A file mounted as config/proxy.yaml below here is found by itself; with none, the embedded
# default runs. The process writes nothing, so the root file system may be read-only.
WORKDIR /etc/resilience-proxy

# A number, so that Kubernetes can see that it is not root (runAsNonRoot).
USER 65532:65532

# Outbound listens on 127.0.0.1 by default: right for a sidecar, which shares the pod's network.
EXPOSE 7070-7072
STOPSIGNAL SIGTERM

# Kubernetes has probes of its own and takes no notice of this. http.client takes no notice of
# HTTP_PROXY, which would send the question through the proxy itself.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["python", "-c", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 7072, timeout=2); c.request('GET', '/health/live'); raise SystemExit(c.getresponse().status != 200)"]

ENTRYPOINT ["resilience-proxy"]
CMD ["run"]
