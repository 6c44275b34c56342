# Two images: `api` (no torch; also runs the janitor) and `worker` (torch with CUDA, runs on CPUs too).
#   docker build --target api -t panoweave-api .
#   docker build --target worker -t panoweave-worker .

# Pinned by tag; pin it by digest too where your builds must repeat bit for bit.
FROM python:3.11.14-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore
# .cache is where a volume for downloaded checkpoints goes: it must be the user's own before that.
RUN useradd --create-home --uid 10001 panoweave \
    && install --directory --owner=panoweave /home/panoweave/.cache
WORKDIR /src
# Dependencies before code, so that a change of code rebuilds no dependency layer. The build reads
# README.md by name only.
COPY pyproject.toml constraints.txt ./
RUN touch README.md


FROM base AS api
RUN pip install -c constraints.txt ".[service,cli]"
# Without core/diffusion and weights: nothing here needs torch. Of the model that ships, its JSON
# files say what it makes.
COPY panoweave panoweave
COPY core/*.py core/
COPY core/infra core/infra
COPY core/jobs core/jobs
COPY core/model_files core/model_files
COPY core/webhooks core/webhooks
COPY core/embedded/__init__.py core/embedded/
COPY core/embedded/weights/*.json core/embedded/weights/
COPY core/embedded/weights/controlnet/*.json core/embedded/weights/controlnet/
COPY core/embedded/weights/scheduler/*.json core/embedded/weights/scheduler/
COPY core/embedded/weights/text_encoder/*.json core/embedded/weights/text_encoder/
COPY core/embedded/weights/tiny_decoder/*.json core/embedded/weights/tiny_decoder/
COPY core/embedded/weights/unet/*.json core/embedded/weights/unet/
COPY core/embedded/weights/vae/*.json core/embedded/weights/vae/
COPY service service
COPY worker worker
COPY deploy deploy
COPY clients/python/src/panoweave_client panoweave_client
RUN pip install --no-deps --force-reinstall .
WORKDIR /home/panoweave
# By number: Kubernetes can then see that it is not root.
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open(f\"http://127.0.0.1:{os.environ.get('PANOWEAVE_PORT', '8000')}/livez\", timeout=4)"]
CMD ["panoweave", "api"]


FROM base AS worker
# On a GPU Triton compiles kernels with it, and loads them from the cache: /tmp may be noexec.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
ENV TRITON_CACHE_DIR=/home/panoweave/.cache/triton
RUN pip install -c constraints.txt ".[worker,cli]"
COPY panoweave panoweave
COPY core core
COPY worker worker
COPY deploy deploy
COPY clients/python/src/panoweave_client panoweave_client
RUN pip install --no-deps --force-reinstall .
WORKDIR /home/panoweave
# By number: Kubernetes can then see that it is not root.
USER 10001
CMD ["panoweave", "worker"]
