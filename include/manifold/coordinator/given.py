"""What a try is given beside its items, as digests: the function, the fold, the constants. The ledger keeps them.

A digest of a constant is made with a key of the deployment's: whoever reads the ledger cannot try passwords against it.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from manifold import config
from manifold.protocol import envelope
from manifold.protocol.digests import item_digest
from manifold.protocol.identity import Identity, code_digest
from manifold.protocol.records import ScatterRow
from manifold.protocol.secrets import variables

if TYPE_CHECKING:
    from manifold.coordinator.spec import ScatterSpec


class Constants(msgspec.Struct, frozen=True, omit_defaults=True):
    """The constants of the latest try, in the column `consts_digest`.

    Attributes:
        values: a digest of each by name; of Airflow's variables, too. Its connections may differ, as passwords do.
        unstable: what of a constant has no stable form, by its name; the digest is of the rest.
        names: the keywords of an item.
        initial: of `initial=`; None where that cannot be compared.
        mixed: what differed between tries that have both left results: names of constants, or "the code".
    """

    values: dict[str, str]
    unstable: dict[str, str] = {}
    names: list[str] | None = None
    initial: str | None = None
    mixed: list[str] = []

    def encode(self) -> str:
        return msgspec.json.encode(self).decode()


class Given:
    """The digests of one try. Each is made when it is first asked for, and once.

    Args:
    """

    def __init__(self, spec: ScatterSpec, keyring: envelope.Keyring) -> None:
        self._spec = spec
        self._keyring = keyring
        self._constants: dict[str, Constants] = {}

    @cached_property
    def code(self) -> str:
        """Of the function."""
        return code_digest(self._spec.fn)

    @cached_property
    def reduce(self) -> str | None:
        """Of the fold's code; None without one."""
        reduce = self._spec.policy.reduce
        return None if reduce is None else code_digest(reduce)

    def constants(self, key_id: str) -> Constants:
        """Of the constants, under this key of the deployment's."""
        if key_id not in self._constants:
            self._constants[key_id] = self._made(self._keyring.key(key_id, "constants"))
        return self._constants[key_id]

    def code_changed(self, row: ScatterRow) -> bool:
        """The function is not the one that the try before ran."""
        return not self._spec.same_code and _differs(row.fn_digest, self.code)

    def reduce_changed(self, row: ScatterRow) -> bool:
        """The fold is not the one that the first try ran."""
        reduce = self._spec.policy.reduce
        if (row.reduce_digest is None) != (reduce is None):
            return True
        return not self._spec.same_constants and _differs(row.reduce_digest, self.reduce)

    def constants_changed(self, row: ScatterRow) -> list[str]:
        """The names of the constants that are not those of the try before."""
        if self._spec.same_constants:
            return []
        if (before := recorded(row)) is None:
            same = row.consts_digest is None or row.consts_digest == item_digest(dict(self._spec.consts))
            return [] if same else ["one or more of them"]
        now = self.constants(row.key_id)
        names = sorted(before.values.keys() | now.values.keys())
        changed = [name for name in names if before.values.get(name) != now.values.get(name)]
        return changed if before.names == now.names else [*changed, "the keywords of the items"]

    def initial_changed(self, row: ScatterRow) -> bool:
        """`initial=` may be another one: what is committed holds for any, and readers take it from the latest try."""
        if self._spec.policy.reduce is None or self._spec.same_constants:
            return False
        before, now = recorded(row), self.constants(row.key_id).initial
        return before is None or now is None or now != before.initial

    def unstable(self, row: ScatterRow) -> dict[str, str]:
        """Constants that can be compared in part at most, and what of them cannot, by name."""
        return {} if self._spec.same_constants else self.constants(row.key_id).unstable

    def to_record(self, row: ScatterRow) -> str | None:
        """What the ledger is to keep of the constants from this try on."""
        before = recorded(row)
        mixed = set(before.mixed) if before is not None else set()
        if row.done:
            mixed |= {*self.constants_changed(row)} | ({"the code"} if self.code_changed(row) else set())
        if self._spec.same_constants:
            return (
                row.consts_digest if before is None else msgspec.structs.replace(before, mixed=sorted(mixed)).encode()
            )
        return msgspec.structs.replace(self.constants(row.key_id), mixed=sorted(mixed)).encode()

    def _made(self, key: bytes) -> Constants:
        values, unstable = {}, {}
        given = {f"variable {name}": value for name, value in variables(self._spec.secrets).items()}
        for name, value in {**self._spec.consts, **given}.items():
            values[name], left_out = _keyed(key, value)
            if left_out:
                unstable[name] = ", ".join(dict.fromkeys(left_out[:3]))
        policy, names = self._spec.policy, self._spec.names
        initial, left_out = _keyed(key, policy.initial)
        return Constants(
            values=values,
            unstable=unstable,
            names=None if names is None else list(names),
            initial=None if left_out else initial,
        )


def outdated(spec: ScatterSpec, row: ScatterRow) -> bool:
    """The function or a constant is not what it was at the try before."""
    given = Given(spec, config.keyring())
    return given.code_changed(row) or bool(given.constants_changed(row))


def recorded(row: ScatterRow) -> Constants | None:
    """What the ledger kept of the constants; None where an earlier version wrote it."""
    try:
        return msgspec.json.decode(row.consts_digest or "", type=Constants)
    except msgspec.MsgspecError:
        return None


def _keyed(key: bytes, value: Any) -> tuple[str, list[str]]:
    identity = Identity()
    digest = identity.digest(value)
    return hashlib.blake2b(digest.encode(), key=key, digest_size=16).hexdigest(), identity.left_out


def _differs(before: str | None, now: str | None) -> bool:
    """Two digests of code differ. Those that an earlier version made in another way (and length) tell nothing."""
    return before is not None and now is not None and len(before) == len(now) and before != now
