"""A Celery app set up as Airflow sets up its own, without importing Airflow: its workers start sooner."""

from __future__ import annotations

import json
import os

from celery import Celery

_OPTIONS = "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__"

app = Celery("plain")
app.conf.update(
    accept_content=["json"],
    broker_url=os.environ["AIRFLOW__CELERY__BROKER_URL"],
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "visibility_timeout": 86_400,
        **{name.removeprefix(_OPTIONS).lower(): int(n) for name, n in os.environ.items() if name.startswith(_OPTIONS)},
    },
    result_backend=os.environ["AIRFLOW__CELERY__RESULT_BACKEND"],
    task_acks_late=True,
    task_default_queue="default",
    task_track_started=True,
    worker_prefetch_multiplier=1,
    **json.loads(os.environ["AIRFLOW__CELERY__EXTRA_CELERY_CONFIG"]),
)
