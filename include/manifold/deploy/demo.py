"""`make demo-compose`: the flights through the deployment, from a container beside it."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from pathlib import Path

from manifold.demo.api import Api
from manifold.demo.flights import DAG, flights, missing
from manifold.demo.process import StartError
from manifold.demo.screen import Screen
from manifold.errors import ManifoldError
from manifold.ledger import open_ledger

_PATIENCE = 180.0  # seconds for the DAG file to be read


class Deployment:
    """The services of docker-compose.yml, which Docker keeps running. Addresses are those of its networks."""

    def __init__(self) -> None:
        self.api = Api("http://api-server:8080", "admin", os.environ["AIRFLOW_ADMIN_PASSWORD"])
        self.url = os.environ["WEB_URL"]
        self.ledger_url = os.environ["MANIFOLD_LEDGER"]

    def watch(self) -> None:
        """Nothing to do: a service that ends is started again."""

    def ready(self, screen: Screen) -> None:
        """Return once the DAG can be triggered; raises StartError where that takes minutes."""
        until = time.monotonic() + _PATIENCE
        while names := missing(self.api, DAG):
            screen.waiting(f"waiting for {', '.join(names)}")
            if time.monotonic() > until:
                raise StartError(
                    f"not there after {_PATIENCE:g} s: {', '.join(names)}. `docker compose logs dag-processor`"
                )
            time.sleep(1)
        screen.done()
        self.api.unpause(DAG)


def main() -> int:
    """Run the demo; the exit status: 0 if the answer is right and every item has an outcome."""
    screen = Screen()
    deployment = Deployment()
    try:
        deployment.ready(screen)
        right = flights(deployment, Path(os.environ["MANIFOLD_OUT"]), screen)
        _tell_workers(deployment, screen)
    except ManifoldError as exc:
        screen.say(f"\n{exc}")
        return 1
    return 0 if right else 1


def _tell_workers(deployment: Deployment, screen: Screen) -> None:
    """Which hosts the items ran on."""
    ledger = open_ledger(deployment.ledger_url)
    try:
        newest = ledger.scatters(name_like=f"{DAG}/", limit=1)
        items: Counter[str] = Counter()
        for worker in ledger.workers(newest[0].uid) if newest else []:
            items[worker.host] += worker.items
    finally:
        ledger.close()
    screen.say(f"Chunk workers: {', '.join(f'{host} ran {count:,}' for host, count in sorted(items.items()))} items")


if __name__ == "__main__":
    sys.exit(main())
