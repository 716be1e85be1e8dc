# The image of every service of docker-compose.yml that is Airflow's or Manifold's. Needs no BuildKit.
#
# Three stages, so that a change of the code rebuilds only the last two layers: what requirements.txt pins is one layer
# of its own. No tool that installed it, and no cache, is in the image.
ARG BASE=python:3.13-slim-trixie

FROM ${BASE} AS packages
# Another index than PyPI, for who builds behind one. Unset, they are not there at all.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
COPY requirements.txt /tmp/requirements.txt
# The file names every package with its version, so there is nothing to resolve.
RUN python3 -m venv /opt/venv \
 && /opt/venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check --quiet --no-deps \
      --requirement /tmp/requirements.txt

FROM packages AS wheel
COPY pyproject.toml README.md LICENSE /src/
COPY include /src/include
RUN /opt/venv/bin/python -m pip wheel --no-cache-dir --disable-pip-version-check --quiet --no-deps \
      --wheel-dir /dist /src

FROM ${BASE}
# Group 0, as the public Airflow image has it: who runs with another user id can still write where Airflow writes.
RUN useradd --uid 50000 --gid 0 --no-create-home --home-dir /opt/airflow --shell /usr/sbin/nologin airflow \
 && install -d -o 50000 -g 0 -m 770 /opt/airflow /var/log/airflow /var/lib/manifold
COPY --from=packages /opt/venv /opt/venv
COPY --from=wheel /dist /opt/dist
RUN /opt/venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check --no-index --no-deps --quiet \
      /opt/dist/*.whl
COPY dags /opt/manifold/dags
COPY plugins /opt/manifold/plugins

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/manifold/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/manifold/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    AIRFLOW__LOGGING__BASE_LOG_FOLDER=/var/log/airflow
USER 50000
WORKDIR /opt/airflow
CMD ["airflow", "version"]
