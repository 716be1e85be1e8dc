"""The ledger's tables at one moment, read past the ledger's own code."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine

from manifold.protocol.records import ChunkRow

_CHUNK = ", ".join(f"chunk.{name}" for name in ChunkRow.__struct_fields__)
_CHUNKS = f"SELECT {_CHUNK} FROM chunk ORDER BY uid, layer, start"
_FAILED = "SELECT uid, pos, layer, epoch, fingerprint, type FROM failure ORDER BY pos"
_REDRIVES = "SELECT uid, applied_epoch, value FROM control WHERE verb = 'redrive' AND applied_epoch IS NOT NULL"
_COUNTED = "SELECT engine, name, SUM(value) FROM tally GROUP BY engine, name"
_ENDINGS = "SELECT DISTINCT uid, epoch, verb FROM control WHERE verb IN ('cancel', 'drain')"
_ATTEMPTS = "SELECT id, uid, layer, start, stop, epoch, state FROM attempt"


@dataclass(slots=True)
class Tables:
    """What the ledger says."""

    scatters: dict[str, dict[str, Any]] = field(default_factory=dict)
    chunks: dict[tuple[str, int, int], ChunkRow] = field(default_factory=dict)
    attempts: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: dict[str, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))  # uid → position → layer
    counted: dict[tuple[str, str], float] = field(default_factory=dict)  # engine, name of a metric → its sum
    kinds: dict[str, dict[int, str]] = field(default_factory=lambda: defaultdict(dict))  # …, and → kind of error
    errors: dict[str, dict[int, str]] = field(default_factory=lambda: defaultdict(dict))  # …, and → type of error
    redrives: dict[tuple[str, int], list[Any]] = field(default_factory=lambda: defaultdict(list))  # uid, epoch → values
    endings: set[tuple[str, int, str]] = field(default_factory=set)  # uid, epoch, cancel or drain
    failed_in: dict[str, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))  # …, and → epoch

    @classmethod
    def read(cls, engine: Engine) -> Tables:
        """As they are now."""
        tables = cls()
        connection = engine.raw_connection()
        try:
            cursor = connection.cursor()
            tables.scatters = {one["uid"]: one for one in _dicts(cursor, "SELECT * FROM scatter")}
            for row in cursor.execute(_CHUNKS).fetchall():
                tables.chunks[row[0], row[1], row[2]] = ChunkRow(*row)
            tables.attempts = {one["id"]: one for one in _dicts(cursor, _ATTEMPTS)}
            tables.counted = {(engine, name): value for engine, name, value in cursor.execute(_COUNTED).fetchall()}
            for uid, pos, layer, epoch, kind, error in cursor.execute(_FAILED).fetchall():
                tables.failed[uid][pos] = layer
                tables.failed_in[uid][pos] = epoch
                tables.kinds[uid][pos] = kind
                tables.errors[uid][pos] = error
            tables.endings = set(cursor.execute(_ENDINGS).fetchall())
            for uid, epoch, value in cursor.execute(_REDRIVES).fetchall():
                tables.redrives[uid, epoch].append(json.loads(value))
        finally:
            connection.close()
        return tables

    def of(self, uid: str) -> list[ChunkRow]:
        """The chunks of one scatter, by layer and start."""
        return [row for row in self.chunks.values() if row.uid == uid]


def _dicts(cursor: Any, query: str) -> list[dict[str, Any]]:
    rows = cursor.execute(query).fetchall()
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in rows]
