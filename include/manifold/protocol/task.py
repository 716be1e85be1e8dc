"""What coordinator and worker say to each other about one chunk. Sealed by `wire`, encoded as MessagePack."""

from __future__ import annotations

import platform
from typing import Literal

import cloudpickle
import msgspec

from manifold.protocol.records import PROTOCOL, Receipt


class Versions(msgspec.Struct, frozen=True):
    """What must agree before anything is unpickled."""

    python: str
    cloudpickle: str
    protocol: int

    @classmethod
    def here(cls) -> Versions:
        """Those of this process."""
        return _HERE

    def differs(self, other: Versions) -> str | None:
        """What keeps `other` from reading our pickles, in words; None where nothing does."""
        for name, mine, theirs in (
            ("Python", self.python, other.python),
            ("cloudpickle", self.cloudpickle, other.cloudpickle),
            ("Manifold's wire protocol", self.protocol, other.protocol),
        ):
            if mine != theirs:
                return f"{name} is {mine} at the coordinator and {theirs} at the worker"
        return None


_HERE = Versions(
    python=".".join(platform.python_version_tuple()[:2]),
    # 3.1.0 and 3.1.2 read each other's pickles.
    cloudpickle=".".join(cloudpickle.__version__.split(".")[:2]),
    protocol=PROTOCOL,
)


class Unsendable(msgspec.Struct, frozen=True):
    """Stands for an item that would not be pickled: it fails alone, with this reason."""

    reason: str
    shown: str


class Broken:
    """Stands, on the worker, for an item that could not be pickled or unpickled. `raw` is its pickle, if any."""

    def __init__(self, reason: str, shown: str, raw: bytes | None = None) -> None:
        self.reason = reason
        self.shown = shown
        self.raw = raw

    def __repr__(self) -> str:
        return self.shown


class ChunkTask(msgspec.Struct, frozen=True):
    """One attempt, as it goes to a worker.

    * The items travel as (start, stop, step) of a range, as one pickled list, or each in a pickle of its own.
    * With `positions` (overlays) they are not all of [start, stop), but those.
    * `job` is the sealed function blob, or None where the worker should have it by `job_digest`, or gets it from the
      store by `job_key`.
    * `secrets` is the sealed message of the job's connections and variables, which goes along when the job does.
    * `store` is the URL that the worker writes to: "" for its own default, None for none: blobs ride in the answer.
    * `allowance`: failed items in this chunk before the worker stops early, with a prefix.
    * `careful`: a worker died of these items before; each is reported before it runs, so that the culprit is known.
    * `most_bytes`: what the results may weigh before the worker stops early, with a prefix.
    * `prove`: prove that each result can be read again, before the results are folded.
    * `pace`: seconds from the start of one execution to the next, at the least.
    """

    versions: Versions
    uid: str
    epoch: int
    layer: int
    attempt: str
    start: int
    stop: int
    job_digest: str
    job_key: str
    code_digest: str
    key_id: str
    ledger_uuid: str
    span: tuple[int, int, int] | None = None
    packed: bytes | None = None
    each: list[bytes | Unsendable] | None = None
    positions: list[int] | None = None
    job: bytes | None = None
    secrets: bytes | None = None
    store: str | None = None
    allowance: int = 65_536
    pace: float = 0.0
    careful: bool = False
    digest_items: bool = False
    prove: bool = False
    most_bytes: int | None = None


class Answer(msgspec.Struct, frozen=True):
    """What comes back: a receipt (with blobs, where the worker reaches no store), or what is missing, or a refusal.

    `blobs` are also those that a worker without a free file descriptor could not put; `warning` says what holds them.
    `worker` is the process that refuses. A refusal of the kind "set-up" begins with the type of the exception; one of
    the kind "stale" tells the newest `epoch` that the worker has met.
    """

    receipt: Receipt | None = None
    blobs: dict[str, bytes] = {}
    need: Literal["job", "each", "proof", None] = None
    refused: str | None = None
    refusal: Literal["versions", "package", "set-up", "stale", None] = None
    worker: str | None = None
    epoch: int = 0
    warning: str = ""
