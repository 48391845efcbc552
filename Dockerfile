# One image for servers and workers, from the lock file. Workers fetch the project's code by git.
FROM python:3.11.14-slim-bookworm

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends git \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home hour9 \
    && install -d -o hour9 -g hour9 /hour9 /workspace /remote /artifacts /home/hour9/.prefect

WORKDIR /hour9
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
COPY requirements.lock ./
RUN python -m venv /opt/venv \
    && pip install --no-cache-dir --disable-pip-version-check -r requirements.lock

COPY pyproject.toml README.md prefect.yaml params.yaml ./
COPY src src
COPY flows flows
RUN pip install --no-cache-dir --disable-pip-version-check --no-deps .

USER 1000
