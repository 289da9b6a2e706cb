# One operator's program. Everything is pinned by hash; nothing runs as root; the instance (settings, certificates,
# keys, data) is mounted at /etc/mss and was made by `mss init`.

FROM python:3.11-slim-bookworm AS build
WORKDIR /source
COPY requirements-build.lock requirements.lock ./
RUN python -m venv /tools \
 && /tools/bin/pip install --no-cache-dir --require-hashes -r requirements-build.lock \
 && /tools/bin/pip wheel --no-cache-dir --no-build-isolation --require-hashes -r requirements.lock --wheel-dir /wheels
COPY pyproject.toml README.md LICENSE ./
COPY mss mss
RUN /tools/bin/pip wheel --no-cache-dir --no-build-isolation --no-deps --wheel-dir /wheels . \
 && python -m venv /opt/mss \
 && /opt/mss/bin/pip install --no-cache-dir --no-index --no-deps /wheels/*.whl \
 && /opt/mss/bin/pip check \
 && /opt/mss/bin/pip uninstall --yes pip setuptools

FROM python:3.11-slim-bookworm
RUN groupadd --gid 10001 mss \
 && useradd --uid 10001 --gid mss --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin mss \
 && install --directory --owner mss --group mss --mode 0750 /etc/mss /etc/mss/certs /etc/mss/data /etc/mss/keys
COPY --from=build /opt/mss /opt/mss
ENV PATH=/opt/mss/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /etc/mss
# The ports that `mss init` gives: MX, submission, submissions, IMAP, IMAPS, webmail; the operator's own.
EXPOSE 12500 12501 12502 12503 12504 12505 12510
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 \
    CMD ["mss", "check", "--live", "-c", "/etc/mss/mss.toml"]
ENTRYPOINT ["mss"]
CMD ["serve", "-c", "/etc/mss/mss.toml"]
