# syntax=docker/dockerfile:1

# The wheel is built and installed here; neither pip's work files nor the sources reach the second stage.
FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_CONSTRAINT=/src/constraints.txt PIP_BUILD_CONSTRAINT=/src/constraints.txt
# What is installed beside the proxy itself: kafka and parquet are sinks' libraries, query is the command's. PyArrow and
# DuckDB are 200 MB together, so they come when they are asked for: --build-arg EXTRAS=kafka,parquet,query
ARG EXTRAS=kafka
WORKDIR /src
COPY pyproject.toml constraints.txt README.md ./
COPY proxy ./proxy
COPY config ./config
RUN python -m pip wheel --no-deps --wheel-dir /dist . \
 && python -m venv /opt/modelproxy \
 && /opt/modelproxy/bin/python -m pip install -c constraints.txt "$(echo /dist/*.whl)${EXTRAS:+[$EXTRAS]}"

FROM python:3.11-slim
COPY --from=build /opt/modelproxy /opt/modelproxy
# The user is a number so that Kubernetes can see that it is not root (runAsNonRoot).
RUN install -d -o 10001 -g 10001 -m 0700 /var/lib/modelproxy && install -d /etc/modelproxy
ENV PATH=/opt/modelproxy/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MODELPROXY_ADMIN=http://127.0.0.1:9090
USER 10001:10001
# state_dir is relative to the working directory: journal, unit key and payload logs land on this volume.
WORKDIR /var/lib/modelproxy
VOLUME /var/lib/modelproxy
EXPOSE 8080 9090
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open(os.environ['MODELPROXY_ADMIN'] + '/healthz', timeout=2)"]
# SIGTERM drains and exits 0. The configuration is mounted: as a directory, so that a replaced file is seen.
ENTRYPOINT ["modelproxy"]
CMD ["serve", "/etc/modelproxy/modelproxy.yaml"]
