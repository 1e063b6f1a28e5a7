# safeproxy in a container: built as a wheel, run by a user without rights. It takes its settings from SAFEPROXY_*
# variables, writes its audit trail to the volume, and holds no secret: clients bring their own credentials.
#
#   docker build -t safeproxy .
#   docker run -p 127.0.0.1:8080:8080 -e SAFEPROXY_UPSTREAM=https://api.openai.com -v safeproxy-audit:/var/lib/safeproxy safeproxy

FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY rules rules
COPY safeproxy safeproxy
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /dist .
# A virtual environment, so that the second stage takes one folder and neither pip's leftovers nor the sources.
RUN python -m venv /opt/safeproxy \
    && wheel="$(ls /dist/safeproxy-*.whl)" \
    && /opt/safeproxy/bin/pip install --no-cache-dir "${wheel}[fast,names,otel,redis]"

FROM python:3.11-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin safeproxy \
    && install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/safeproxy
COPY --from=build /opt/safeproxy /opt/safeproxy
ENV PATH=/opt/safeproxy/bin:$PATH \
    SAFEPROXY_HOST=0.0.0.0 \
    SAFEPROXY_PORT=8080 \
    SAFEPROXY_AUDIT=/var/lib/safeproxy/audit
USER 10001:10001
WORKDIR /var/lib/safeproxy
VOLUME /var/lib/safeproxy
EXPOSE 8080
# Without urllib: that would ask an HTTP_PROXY of the environment for the container's own address.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['SAFEPROXY_PORT']), timeout=3); c.request('GET', '/-/health'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["safeproxy"]
CMD ["serve"]
