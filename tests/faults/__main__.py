"""`python -m tests.faults [--only WORDS] [--write docs/reliability.md]`: try every fault everywhere, and measure it."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from benchmarks.measure import machine
from rich.console import Console

from manifold.errors import ManifoldError
from tests.faults.catalogue import FAULTS, Fault, play
from tests.faults.cluster import Cluster, Kind
from tests.faults.hosts import Network, possible
from tests.faults.run import Measured
from tests.faults.table import NAMES, Table, written

_SECONDS = 0.003
_SILENCE = 10.0  # as users have it


def main(
    only: Annotated[str, typer.Option(help="faults whose name has these words")] = "",
    kind: Annotated[str, typer.Option(help="rabbitmq, redis or processes; all without")] = "",
    write: Annotated[Path | None, typer.Option(help="put the table into this document")] = None,
) -> None:
    """Break things, and measure how long it takes to recover."""
    console = Console(soft_wrap=True)
    console.print("hosts:", possible() or "network namespaces")
    table, wrong = Table.kept(), 0
    table.machine = machine()
    for one in NAMES:
        faults = [fault for fault in FAULTS.values() if one in fault.kinds and only in fault.name]
        if faults and kind in ("", one):
            wrong += _tried(console, table, one, faults)
            if write is not None:
                table.keep()
    if write is not None:
        write.write_text(written(write.read_text(), table))
    raise typer.Exit(1 if wrong else 0)


def _tried(console: Console, table: Table, kind: Kind, faults: list[Fault]) -> int:
    """How many did harm. After one that did, the others run in a cluster of their own."""
    wrong, left = 0, iter(enumerate(faults))
    for number, fault in left:
        with (
            TemporaryDirectory(prefix="manifold-faults-", dir="/var/tmp") as folder,
            Network(apart=possible() is None) as network,
            Cluster(kind, Path(folder), network, _SILENCE) as cluster,
        ):
            try:
                for one, each in chain([(number, fault)], left):
                    name = f"{kind}: {each.name}"
                    if (why := each.lacks()) is not None:
                        console.print(f"{name}: not tried, because {why}")
                        continue
                    cluster.repair()
                    measured = play(cluster, each, f"fault-{one}", _SECONDS)
                    table.rows.setdefault(kind, {})[each.name] = measured
                    console.print(f"{name}: {_shown(measured)}")
            except (AssertionError, ManifoldError) as exc:
                wrong += 1
                console.print(f"[red]{name}: {exc}")
    return wrong


def _shown(measured: Measured) -> str:
    return (
        f"lasted {measured.lasted:.1f} s, next commit after {measured.commit:.1f} s, all made good after "
        f"{measured.whole:.1f} s, the run {measured.run:.1f} s in {measured.tries} tries"
    )


if __name__ == "__main__":
    typer.run(main)
