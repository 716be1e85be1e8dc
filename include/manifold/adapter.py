"""What is known of an adapter before it is imported: a row of `manifold.registry`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, NamedTuple

from manifold.errors import MissingExtra

Reach = Literal["process", "host", "hosts"]


class Form(NamedTuple):
    """One form of an adapter's URL, for people: what it is, what to use it for, its limit."""

    example: str
    says: str
    use: str = ""
    limit: str = ""


class Connection(NamedTuple):
    """How the form of an engine's connections looks in Airflow.

    Args:
        title: the engine, in the list of connection types.
        host: what the field "host" means.
        option: the name under which that can stand among the extra options instead.
        fields: the fields beside it, of "login", "password", "port" and "schema".
        type: their type, where a provider of Airflow's has one that is named as the scheme.
    """

    title: str
    host: str
    option: str
    fields: tuple[str, ...] = ()
    type: str = ""

    @property
    def hook_name(self) -> str:
        """What Airflow's list of connection types shows."""
        return f"Manifold engine: {self.title}"


@dataclass(frozen=True, slots=True)
class Adapter:
    """One adapter: a row of a registry.

    Args:
        scheme: of its URLs; the name of a file format.
        path: "module:Class"; of a file format, the "module:function" that reads it.
        forms: what its URLs look like, in documents and lists; the first one is what hints show.
        clients: the packages that it imports and the core does not.
        extra: the extra of `package` that installs them.
        package: what it comes with.
        reads: "module:function" that reads a URL and options without opening anything or importing a client, and
            raises ConfigError for what the adapter could not read. For checks while a DAG file is read.
        reach: where an engine's workers are (this process, this host, any hosts), or who sees the bytes of a
            store, at most.
        kills_items: an engine's class attribute of that name.
        options: what the documents say of the options in an engine's URL.
        connection: an engine's form in Airflow; None: there is no connection type.
        accepts: the names of options in the URL of a transport of ours, beside those that all of them have.
        port: what is meant where such a URL has none.
        suffixes: how the names of files of a format end, without the dot.
        writer: "module:function" that writes results in a format.
        written: how the names of files end that it writes.
    """

    scheme: str
    path: str
    forms: tuple[Form, ...]
    clients: tuple[str, ...] = ()
    extra: str = ""
    package: str = "airflow-manifold"
    reads: str = ""
    reach: Reach = "hosts"
    kills_items: bool = False
    options: str = ""
    connection: Connection | None = None
    accepts: tuple[str, ...] = ()
    port: int | None = None
    suffixes: tuple[str, ...] = ()
    writer: str = ""
    written: tuple[str, ...] = ()

    @property
    def example(self) -> str:
        """A URL of it."""
        return self.forms[0].example

    @property
    def says(self) -> str:
        """What it is, for a terminal."""
        return self.forms[0].says.replace("`", "")

    @property
    def has_users(self) -> bool:
        """A user's name can stand in its URLs before the password."""
        return self.connection is None or "login" in self.connection.fields

    @property
    def connection_type(self) -> str:
        """The type of Airflow's connections to an engine: as its row says, or what Airflow makes of its scheme."""
        return (self.connection.type if self.connection else "") or self.scheme.replace("-", "_")

    @property
    def hook(self) -> str:
        """The class in `manifold.airflow.hooks` for these."""
        return f"{self.connection_type.title().replace('_', '')}Hook"

    @property
    def install(self) -> str:
        """The line that installs what it needs."""
        return f'pip install "{self.package}{f"[{self.extra}]" if self.extra else ""}"'

    def load(self, path: str = "") -> Any:
        """Import the adapter, or what another path of the row names; raises MissingExtra without a client."""
        module, _, name = (path or self.path).partition(":")
        with self.installed(f"{self.scheme}://" if "://" in self.example else self.scheme):
            return getattr(import_module(module), name)

    @contextmanager
    def installed(self, what: str) -> Iterator[None]:
        """Raise MissingExtra where `what` lacks a package that pip installs."""
        try:
            yield
        except ModuleNotFoundError as exc:
            # Only a missing client is cured by pip; any other missing module is a fault to be shown.
            if exc.name and exc.name.partition(".")[0] in self.clients:
                raise MissingExtra(f"{what} needs the package {exc.name!r}: {self.install}") from exc
            raise
