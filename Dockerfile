# Two images: `service` has what init, dashboard and report need, and `worker` has torch as well.
#
#   docker build --target worker --tag batchfront-worker .
#
# The same packages each time: constraints.txt. The same base too: give PYTHON_IMAGE with its digest,
# as docs/guides/docker.md says.

ARG PYTHON_IMAGE=python:3.11-slim-trixie

FROM ${PYTHON_IMAGE} AS packages
# pip reads these by itself: another package index, or a further one such as that of torch's CPU
# builds. They stay in this stage, so an index that needs a password doesn't show in the images.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
# Both, as a newer pip has a variable of its own for what a package is built with.
ENV PIP_CONSTRAINT=/source/constraints.txt PIP_BUILD_CONSTRAINT=/source/constraints.txt
RUN python -m venv --without-pip /opt/batchfront
COPY constraints.txt pyproject.toml ./
# Packages first, with nothing in the place of our own code: they change seldom.
RUN touch README.md \
    && install -D /dev/null service/batchfront/__init__.py \
    && install -D /dev/null studies/batchfront_studies/__init__.py \
    && python -m pip --python /opt/batchfront/bin/python install . \
    && python -m pip --python /opt/batchfront/bin/python uninstall -y batchfront

# torch comes with a workload's code; without it the image is a tenth of the size.
FROM packages AS training
RUN python -m pip --python /opt/batchfront/bin/python install '.[train]' \
    && python -m pip --python /opt/batchfront/bin/python uninstall -y batchfront

# Our own code apart from the packages: a change to it makes a small new layer, not a large one.
FROM packages AS code
COPY README.md ./
COPY service service
COPY studies studies
RUN python -m pip --python /opt/batchfront/bin/python install --no-deps --target /opt/code .

FROM ${PYTHON_IMAGE} AS base
LABEL org.opencontainers.image.title="batchfront" \
    org.opencontainers.image.description="Steps to target against batch size"
RUN groupadd --gid 10001 batchfront \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp batchfront \
    && install -d -o batchfront -g batchfront /checkpoints /data /workloads
ENV PATH=/opt/code/bin:/opt/batchfront/bin:$PATH \
    PYTHONPATH=/opt/code \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OMP_NUM_THREADS=1 \
    BATCHFRONT_DATA_DIR=/data
USER 10001:10001
WORKDIR /workloads
STOPSIGNAL SIGTERM
ENTRYPOINT ["batchfront"]
CMD ["--help"]

FROM base AS service
COPY --from=packages /opt/batchfront /opt/batchfront
COPY --from=code /opt/code /opt/code

FROM base AS worker
COPY --from=training /opt/batchfront /opt/batchfront
COPY --from=code /opt/code /opt/code
