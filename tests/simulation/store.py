"""A store that forgets, refuses and vanishes; as each process sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

from manifold.abc import Store
from manifold.errors import BlobNotFound, ConfigError, StoreError
from manifold.protocol.blob_keys import blob_of, checked, checked_prefix, marker_key
from tests.simulation.world import Actor, World


class Shelf:
    """The bytes, as all processes share them. `lost` are keys whose bytes this world took away."""

    def __init__(self, world: World, *, reach: str, max_bytes: int | None) -> None:
        self.world = world
        self.reach = reach
        self.max_bytes = max_bytes
        self.blobs: dict[str, bytes] = {marker_key("store"): b"made for the simulation"}
        self.elsewhere: dict[str, bytes] = {marker_key("other"): b"another store"}
        self.lost: set[str] = set()
        self.deleted: set[str] = set()
        self.away_until = 0.0
        self.on_delete: Callable[[str, str], None] = lambda _who, _key: None

    def put(self, key: str, value: bytes) -> None:
        """The bytes have arrived, or are said to have."""
        if key not in self.blobs and self.world.faults.hits("put lost", key):
            self.lost |= {key, blob_of(key)}
        else:
            self.blobs[key] = value
            self.lost.discard(key)
            self.lost |= {blob_of(piece) for piece in self.lost}  # of which a piece may be lost

    def lose(self, key: str, *, cut: bool) -> None:
        """The bytes go, or are cut short."""
        self.world.log(f"the store {'cuts' if cut else 'loses'} {key}")
        self.lost |= {key, blob_of(key)}
        if cut:
            self.blobs[key] = self.blobs[key][:-3]
        else:
            del self.blobs[key]


class SimStore(Store):
    """What a coordinator, a reader or gc has of the store: it may die before and after each call.

    Without an actor it is the one that the checks read by, for which nothing goes wrong.
    """

    def __init__(self, shelf: Shelf, actor: Actor | None, *, blobs: dict[str, bytes] | None = None) -> None:
        self._shelf = shelf
        self._actor = actor
        self._blobs = shelf.blobs if blobs is None else blobs
        self.reach = shelf.reach

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        raise ConfigError("a simulated store has no URL")

    def put(self, key: str, value: bytes) -> None:
        self._point("put")
        self._check("put fails")
        unheard = self._actor is not None and self._shelf.world.faults.hits("put fails, and took effect", self._name)
        if self._blobs is self._shelf.blobs:
            self._shelf.put(checked(key), value)
        else:
            self._blobs[checked(key)] = value
        self._point("was put")
        if unheard:
            raise StoreError("the store does not answer any more")

    def get(self, key: str) -> bytes:
        self._point("get")
        self._check("get fails")
        try:
            return self._blobs[checked(key)]
        except KeyError:
            raise BlobNotFound(f"there is no {key}") from None

    def delete(self, key: str) -> None:
        self._point("delete")
        self._check("delete fails")
        self._shelf.on_delete(self._name, key)
        self._blobs.pop(checked(key), None)
        self._shelf.deleted.add(key)
        self._point("deleted")

    def keys(self, prefix: str = "") -> Iterator[str]:
        self._check("get fails")
        found = [key for key in self._blobs if key.startswith(checked_prefix(prefix))]
        self._point("listed")
        return iter(found)

    @property
    def _name(self) -> str:
        return self._actor.name if self._actor is not None else "a check"

    def _point(self, what: str) -> None:
        if self._actor is not None:
            self._actor.point(what)

    def _check(self, fault: str) -> None:
        world = self._shelf.world
        if self._actor is None:
            return
        if world.now < self._shelf.away_until or world.faults.hits(fault, self._name):
            raise StoreError("the store does not answer")
