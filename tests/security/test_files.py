"""Files with secrets are their owner's alone from the first moment; nothing listens where others reach it."""

from __future__ import annotations

import os
import re
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from manifold import config
from manifold.demo.postgres import PostgresServer
from manifold.demo.secrets import Secrets, write_private
from manifold.engines.open import open_engine
from manifold.errors import ConfigError
from manifold.testing.engines import until
from tests.servers import CuttableRedis

ROOT = Path(__file__).parents[2]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def open_umask() -> Iterator[None]:
    """As careless as can be: what is made private is made so on purpose."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MANIFOLD_SECRET", raising=False)
    monkeypatch.setenv("MANIFOLD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


class Modes:
    """Looks at every file that appears in a folder, as often as it can."""

    def __init__(self, folder: Path) -> None:
        self.seen: set[int] = set()
        self._folder = folder
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._over.is_set():
            for entry in os.scandir(self._folder):
                try:
                    self.seen.add(stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode))
                except FileNotFoundError:
                    continue

    def __enter__(self) -> Modes:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


@pytest.mark.usefixtures("open_umask")
def test_the_secrets_file_is_never_open_to_others(tmp_path: Path) -> None:
    with Modes(tmp_path) as modes:
        for n in range(200):
            write_private(tmp_path / f"secret{n % 3}", "secret")
        Secrets.kept(tmp_path / "secrets.json")
    assert modes.seen == {0o600}


@pytest.mark.usefixtures("open_umask")
def test_the_homes_secret_is_its_owners_alone(home: Path) -> None:
    config.keyring()
    assert mode(home) == 0o700
    assert {mode(path) for path in home.iterdir()} == {0o600}


@pytest.mark.usefixtures("open_umask")
def test_servers_keep_their_passwords_to_themselves(tmp_path: Path) -> None:
    with CuttableRedis(tmp_path / "redis") as redis:
        kept = [tmp_path / "redis.password", redis.data / "redis.conf"]
        assert redis.password in kept[1].read_text()
        assert {mode(path) for path in kept} == {0o600}
        assert redis.password not in " ".join(psutil.Process(redis.child.pid).cmdline())
        assert mode(redis.data) == 0o700


def test_a_link_in_the_way_of_a_secret_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "somebody's"
    target.write_text("theirs")
    (tmp_path / "secret").symlink_to(target)
    write_private(tmp_path / "secret", "ours")
    assert target.read_text() == "theirs"
    assert not (tmp_path / "secret").is_symlink()


def test_a_secret_that_others_could_read_or_replace_is_not_used(home: Path) -> None:
    config.keyring()
    for open_to in (0o640, 0o604, 0o620, 0o602):
        (home / "secret").chmod(open_to)
        with pytest.raises(ConfigError, match="chmod 600"):
            config.keyring()
    (home / "secret").chmod(0o600)
    config.keyring()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_secret_of_another_user_is_not_used(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.keyring()
    os.chown(home / "secret", 65534, 65534)
    with pytest.raises(ConfigError, match="belongs to another user"):
        config.keyring()


@pytest.mark.parametrize("odd", ["a secret of 32 hexadecimal digits", "", "x" * 17, "k\n1"])
def test_what_could_be_a_secret_is_no_id_of_one(odd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANIFOLD_SECRET", f"{odd}:{'ab' * 32}")
    with pytest.raises(ConfigError) as caught:
        config.keyring()
    assert not odd or odd not in str(caught.value)


# What listens


def listening(pid: int) -> list[tuple[str, int]]:
    """Where a process and its descendants accept connections."""
    main = psutil.Process(pid)
    return [
        (found.laddr.ip, found.laddr.port)
        for process in [main, *main.children(recursive=True)]
        for found in process.net_connections(kind="inet")
        if found.status == psutil.CONN_LISTEN
    ]


def test_an_engine_of_processes_listens_nowhere() -> None:
    before = listening(os.getpid())
    with open_engine("processes://2") as engine:
        until(lambda: len(engine.workers()) == 2, "both are up")
        assert listening(os.getpid()) == before
        sockets = [one for one in psutil.Process().net_connections(kind="unix") if one.laddr]
        assert not [one for one in sockets if "manifold" in str(one.laddr)], "a name could be connected to"


def test_the_demos_servers_listen_on_loopback_alone(tmp_path: Path) -> None:
    with CuttableRedis(tmp_path / "redis") as redis, PostgresServer(tmp_path / "postgres") as postgres:
        for server in (redis, postgres):
            assert listening(server.child.pid) == [("127.0.0.1", server.port)]


# What stands in the source


def test_no_password_stands_in_the_source() -> None:
    """Of a URL or of an assignment, in anything that is run or deployed."""
    url = re.compile(r"://[\w.-]+:([^@\s/{}$<*]{3,})@")
    assigned = re.compile(r"""(?i)(?:password|passwd|secret|token)['"]?\s*[:=]\s*['"]([^'"{}$<>\s]{6,})['"]""")
    fine = {"password", "scram-sha-256"}
    folders = ("include", "dags", "plugins", "deploy")
    files = [path for name in folders for path in (ROOT / name).rglob("*") if path.is_file()]
    files += [
        path for path in ROOT.glob("*") if path.is_file() and path.suffix in (".yml", ".yaml", ".toml", ".example", "")
    ]
    assert len(files) > 100
    for path in files:
        if path.suffix in (".pyc", ".svg", ".png", ".js", ".map", ".json") or path.name in (".git", ".env"):
            continue
        text = path.read_text(errors="ignore")
        for found in [*url.findall(text), *assigned.findall(text)]:
            assert found in fine or found.isupper(), f"{path}: {found}"


def test_pickles_are_loaded_in_four_places_alone() -> None:
    """Each behind a signature; whoever adds one thinks about it here first."""
    loads = re.compile(r"(?:pickle|cloudpickle|marshal|shelve|joblib|dill)\.(?:loads?|Unpickler|open)\(")
    found = {
        str(path.relative_to(ROOT / "include/manifold"))
        for path in (ROOT / "include").rglob("*.py")
        if loads.search(path.read_text())
    }
    # What envelope.unseal has checked: values and items, and the job with the modules beside it. Then calls, twice.
    assert found == {"protocol/scope.py", "protocol/shipment.py", "engines/payload.py", "engines/processes/frames.py"}
