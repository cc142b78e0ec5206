# Two images from one file:
#   api     the service, the reaper and the migration; no torch
#   worker  the Celery worker and the trainer processes that it starts; CUDA torch, or a CPU one by
#           --build-arg TORCH=cpu (CPU_TORCH names another source than PyTorch's CPU index, as in the Makefile)
# A CPU torch with hashes: on a machine that reaches PyTorch's index, make the lock once with
#   sed -n 's/^\(torch\(vision\)\{0,1\}==[0-9.]*\).*/\1/p' requirements/train.txt \
#     | uv pip compile --no-deps --generate-hashes --torch-backend cpu --output-file requirements/cpu.txt -
# and build with CPU_TORCH="--no-deps --require-hashes --torch-backend cpu --requirement /requirements/cpu.txt".
# PYTHON_IMAGE pins what both stand on, such as --build-arg PYTHON_IMAGE=python:3.12-slim@sha256:...
ARG PYTHON_IMAGE=python:3.12-slim

FROM ${PYTHON_IMAGE} AS base
ENV PATH=/opt/venv/bin:$PATH VIRTUAL_ENV=/opt/venv PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# The data folder is made here, so that a fresh named volume takes over its owner.
RUN groupadd --gid 10001 rdrkd \
 && useradd --uid 10001 --gid rdrkd --home-dir /var/lib/rdrkd --create-home --shell /usr/sbin/nologin rdrkd
WORKDIR /var/lib/rdrkd

# uv is lent to the steps that install, and is in no image. (The project itself is installed without uv's cache,
# which would know it by pyproject.toml alone and hand back yesterday's code.)
FROM base AS uv
RUN --mount=type=bind,source=requirements/uv.txt,target=/uv.txt \
    pip install --no-cache-dir --root-user-action=ignore --require-hashes --requirement /uv.txt

FROM base AS api
ARG UV_SYSTEM_CERTS=1 UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
RUN --mount=type=bind,from=uv,source=/usr/local/bin/uv,target=/usr/local/bin/uv \
    --mount=type=bind,source=requirements,target=/requirements \
    --mount=type=cache,target=/root/.cache/uv \
    uv venv --python "$(command -v python3)" /opt/venv \
 && uv pip sync /requirements/service.txt
RUN --mount=type=bind,from=uv,source=/usr/local/bin/uv,target=/usr/local/bin/uv \
    --mount=type=bind,target=/project \
    uv pip install --no-cache --no-deps /project
USER rdrkd
EXPOSE 8000
CMD ["python", "-m", "api"]

FROM base AS worker
# OpenCV, which Ultralytics reads images with, is linked against these.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
 && rm -rf /var/lib/apt/lists/*
ARG UV_SYSTEM_CERTS=1 UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
ARG TORCH=cuda
ARG CPU_TORCH=
RUN --mount=type=bind,from=uv,source=/usr/local/bin/uv,target=/usr/local/bin/uv \
    --mount=type=bind,source=requirements,target=/requirements \
    --mount=type=cache,target=/root/.cache/uv \
    set -eu; \
    uv venv --python "$(command -v python3)" /opt/venv; \
    if [ "$TORCH" = cpu ]; then \
      torch=$(sed -n 's/^\(torch\(vision\)\{0,1\}==[0-9.]*\).*/\1/p' /requirements/train.txt); \
      awk -f /requirements/without_cuda.awk /requirements/train.txt > /tmp/cpu.txt; \
      uv pip sync /tmp/cpu.txt; \
      uv pip install ${CPU_TORCH:---torch-backend cpu $torch}; \
      rm /tmp/cpu.txt; \
    else \
      uv pip sync /requirements/train.txt; \
    fi
RUN --mount=type=bind,from=uv,source=/usr/local/bin/uv,target=/usr/local/bin/uv \
    --mount=type=bind,target=/project \
    uv pip install --no-cache --no-deps /project
USER rdrkd
# Importing what the check needs takes seconds where a training keeps every core busy.
HEALTHCHECK --interval=30s --timeout=30s --start-period=90s --start-interval=5s CMD ["python", "-m", "worker.health"]
CMD ["python", "-m", "worker", "--queue", "train"]
