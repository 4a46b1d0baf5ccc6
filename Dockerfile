# Everything in one image:   docker build -t frequency-quest .
# Use it on a folder DIR:    docker run --rm -v "$PWD:/work" frequency-quest train --data-dir DIR --out-dir runs/keras
# For NVIDIA GPUs:           docker build -t frequency-quest --build-arg EXTRAS=all,gpu --build-arg TORCH_INDEX=https://pypi.org/simple .
#                            docker run --rm --gpus all -v "$PWD:/work" frequency-quest ...
FROM python:3.12-slim
ARG EXTRAS=all
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY pyproject.toml README.md LICENSE /source/
COPY shared /source/shared
COPY classification /source/classification
COPY generation /source/generation
RUN pip install --no-cache-dir --extra-index-url "$TORCH_INDEX" "/source[$EXTRAS]" && rm -r /source
WORKDIR /work
ENTRYPOINT ["frequency-quest"]
