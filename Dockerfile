# docker build --tag lafs_pipeline .
# docker build --tag lafs_pipeline --build-arg BASE=ubuntu:24.04 .   # without a GPU
# docker run --rm --gpus all --shm-size 8g --volume "$PWD/data:/data" lafs_pipeline --env smoke
#
# torch brings its own CUDA libraries: all the base gives is the driver's interface.
ARG BASE=nvidia/cuda:13.0.1-base-ubuntu24.04
FROM ${BASE}

ENV PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1 MLFLOW_DISABLE_TELEMETRY=true PATH=/opt/venv/bin:$PATH
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/venv

WORKDIR /app
# The packages are a layer of their own: a change of the sources does not install them anew.
COPY pyproject.toml constraints.txt README.md LICENSE .telemetry ./
RUN mkdir --parents src/lafs_pipeline \
    && touch src/lafs_pipeline/__init__.py \
    && pip install --constraint constraints.txt --editable '.[onnx]'
COPY src src
COPY conf conf

# Results and tracking lie on a volume; the image runs as a user without rights.
ENV LAFS_DATA=/data MLFLOW_TRACKING_URI=sqlite:////data/mlflow.db
RUN useradd --create-home --uid 10001 lafs && mkdir --parents /data && chown lafs /app /data
USER 10001
VOLUME /data
ENTRYPOINT ["kedro", "run"]
