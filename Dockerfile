# The sidecar's image. Two stages: the first builds wheels and installs them into a virtual
# environment, the second takes that over as it is, without what built it.
#
#   docker build --tag resilience-proxy .
#   docker run --rm --network host resilience-proxy
#
# Nothing here depends on the architecture: amd64 and arm64 are built alike (docker buildx build
# --platform linux/amd64,linux/arm64), for every dependency has wheels for both.
#
# Packages are pinned by hash (.ci/constraints.txt; `make constraints` renews it). The base images go
# by tag, so that a build gets their security fixes. To build the same image again, name them by
# digest:
#   --build-arg BUILD_IMAGE=python:3.11@sha256:... --build-arg IMAGE=python:3.11-slim@sha256:...
ARG PYTHON=3.11
ARG BUILD_IMAGE=python:${PYTHON}
ARG IMAGE=python:${PYTHON}-slim

# The full image: it has a compiler, should a wheel have to be built.
FROM ${BUILD_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
WORKDIR /src
# What it depends on and what builds it, each in the one version that the file names, by hash.
COPY .ci/constraints.txt ./
RUN pip wheel --wheel-dir /wheels --only-binary :all: --require-hashes --requirement constraints.txt
COPY pyproject.toml setup.py README.md LICENSE ./
COPY proxy ./proxy
RUN pip wheel --wheel-dir /wheels --no-index --find-links /wheels --no-deps .
RUN python -m venv --without-pip /opt/resilience-proxy \
 && pip --python /opt/resilience-proxy/bin/python install --no-index --find-links /wheels \
        resilience-proxy
# What is in it, for scanners: a CycloneDX document, from the installed metadata alone.
COPY .ci/sbom.py ./
RUN /opt/resilience-proxy/bin/python sbom.py --wheels /wheels \
        --output /opt/resilience-proxy/sbom.cdx.json

FROM ${IMAGE}
LABEL org.opencontainers.image.title="resilience-proxy" \
      org.opencontainers.image.description="A sidecar proxy that retries, times out, limits and drains one service's HTTP calls" \
      org.opencontainers.image.licenses="Apache-2.0"
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

# Kubernetes has probes of its own and takes no notice of this. bash asks by itself: another Python
# for every look would take 0.2 s of CPU. $RESILIENCE_PROXY_ADMIN where the admin address is another.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["/bin/bash", "-c", "at=${RESILIENCE_PROXY_ADMIN:-127.0.0.1:7072}; at=${at#http://}; exec 3<>/dev/tcp/${at%:*}/${at##*:} && printf 'GET /health/ready HTTP/1.0\\r\\n\\r\\n' >&3 && read -r _ status _ <&3 && [[ $status == 200 ]]"]

# Without a shell, so that SIGTERM reaches the proxy.
ENTRYPOINT ["resilience-proxy"]
CMD ["run"]
