"""The engines by URL scheme. A new one is a file beside this one, a row here, and a row in the contract tests."""

from __future__ import annotations

from manifold.registry import Entry, Registry

ENGINES = Registry(
    "engine",
    {
        "celery": Entry(
            "manifold.engines.celery:CeleryEngine",
            "celery://manifold",
            ("celery", "kombu", "airflow"),
            'pip install "airflow-manifold[celery]"',
            reads="manifold.engines.urls:celery_url",
            kills_items=True,
        ),
        "processes": Entry(
            "manifold.engines.processes:ProcessesEngine",
            "processes://4",
            reads="manifold.engines.urls:processes_url",
            kills_items=True,
        ),
        "threads": Entry(
            "manifold.engines.threads:ThreadsEngine", "threads://8", reads="manifold.engines.urls:threads_url"
        ),
    },
)
