"""The page, registered with Airflow by the entry point `airflow.plugins`.

Every process of Airflow imports this, each task's too: it imports nothing but Airflow's base class, and the sub-app is
made when the api-server asks for it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from airflow.plugins_manager import AirflowPlugin

_BUNDLE = Path(__file__).parent / "static" / "main.js"
_TABS = (
    {"name": "Scatters", "destination": "nav", "url_route": "scatters", "category": "browse"},
    {"name": "Scatter", "destination": "task_instance", "url_route": "scatter"},
    {"name": "Scatters of the run", "destination": "dag_run", "url_route": "run-scatters"},
)


class ManifoldPlugin(AirflowPlugin):
    """One sub-app, and one bundle in three places."""

    name = "manifold"

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """Airflow's api-server mounts it; no other process asks."""
        from manifold.web.app import app

        return [{"app": app(), "url_prefix": "/manifold", "name": "Manifold"}]

    @property
    def react_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """A module is run once for each URL, and each place takes what a run of it has left: so each has its own URL.

        They are told from Airflow's base URL on, whatever path that has. The digest makes a browser fetch a new bundle,
        and keep one that is not new.
        """
        version = hashlib.sha256(_BUNDLE.read_bytes()).hexdigest()[:12] if _BUNDLE.exists() else "none"
        icons = {"icon": "manifold/static/icon.svg", "icon_dark_mode": "manifold/static/icon-dark.svg"}
        return [
            {**tab, **icons, "bundle_url": f"manifold/static/main.js?for={tab['destination']}&v={version}"}
            for tab in _TABS
        ]
