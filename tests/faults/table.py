"""What was measured, kept in a file beside this one, and as the table of docs/reliability.md."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tests.faults.catalogue import FAULTS
from tests.faults.cluster import Kind
from tests.faults.run import Measured
from tests.remote.middles import MIDDLES

FILE = Path(__file__).with_name("measured.json")
BEGIN, END = "<!-- measured -->", "<!-- end of measured -->"
NAMES: dict[Kind, str] = {
    "rabbitmq": "`celery://` on RabbitMQ",
    "redis": "`celery://` on Redis",
    "processes": "`processes://`",
    **{f"{scheme}://": f"`{scheme}://`" for scheme in MIDDLES},
}
_HEAD = "| what went wrong | lasted | until the next commit | until all is made good | the whole run |"


class Table(msgspec.Struct):
    """All rows, and the machine they were measured on."""

    machine: str = ""
    rows: dict[Kind, dict[str, Measured]] = {}

    @classmethod
    def kept(cls) -> Table:
        return msgspec.json.decode(FILE.read_bytes(), type=cls) if FILE.exists() else cls()

    def keep(self) -> None:
        FILE.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")

    def markdown(self) -> str:
        """A heading and a table for each engine."""
        parts = [f"On {self.machine}. Seconds."]
        for kind, title in NAMES.items():
            rows = self.rows.get(kind, {})
            if "nothing" in rows:
                parts.append("\n".join([f"### {title}", "", _HEAD, "|---|--:|--:|--:|--:|", *_lines(rows)]))
        return "\n\n".join(parts)


def written(page: str, table: Table) -> str:
    """The page with its tables made anew."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{table.markdown()}\n{END}{tail}"


def _lines(rows: dict[str, Measured]) -> list[str]:
    found = []
    for name in FAULTS:
        if (one := rows.get(name)) is not None:
            lasted = f"{one.lasted:.1f}" if one.lasted else ""
            recovery = f"{one.commit:.1f} | {one.whole:.1f}" if one.whole else " | "
            found.append(f"| {name} | {lasted} | {recovery} | {one.run:.1f} |")
    return found
