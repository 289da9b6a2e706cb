"""Promise 1, by the kernel's own account: no 250 and no tagged OK goes out before what it promises is on disk."""

from __future__ import annotations

import imaplib
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.journeys import kernel
from tests.journeys.keeping import kept
from tests.journeys.kernel import Call, Exchange
from tests.journeys.sites import BOX, DOCTOR, Site, letter, new_id
from tests.support import postgres

pytestmark = [pytest.mark.journey, pytest.mark.slow]

WAL = "store.sqlite-wal>"
PG_WAL = "/pg_wal/"
LARGE_OCTETS = 400_000


@dataclass
class Traced:
    """A server that ran under strace: what its clients did, by name, and what it asked of the kernel."""

    asked: dict[str, tuple[int, float, float]]
    calls: list[Call]

    def exchange(self, name: str) -> Exchange:
        """Return what happened between a request and its answer."""
        return kernel.exchange(self.calls, *self.asked[name])


def _play(site: Site) -> dict[str, tuple[int, float, float]]:
    """Do everything that is answered with a promise; returns each one's port and span of time."""
    asked: dict[str, tuple[int, float, float]] = {}

    @contextmanager
    def noted(name: str, port: int) -> Iterator[None]:
        began = time.time()
        yield
        asked[name] = port, began, time.time()
        time.sleep(0.05)  # What others do in the background must not fall into two spans.

    for name, size in (("DATA", 0), ("large DATA", LARGE_OCTETS)):
        with site.as_peer() as client:
            assert client.mail(DOCTOR)[0] == 250
            assert client.rcpt(BOX)[0] == 250
            assert client.sock is not None
            with noted(name, client.sock.getsockname()[1]):
                assert client.data(letter(new_id(), size_octets=size))[0] == 250
    with site.mailbox(implicit_tls=True) as mail:
        mail.select("INBOX")
        for name, act in _acts(mail).items():
            with noted(name, mail.sock.getsockname()[1]):
                assert act()[0] == "OK", name
    return asked


def _acts(client: imaplib.IMAP4) -> dict[str, Callable[[], tuple[str, object]]]:
    return {
        "APPEND": lambda: client.append("INBOX", r"(\Seen)", "", letter(new_id())),
        "large APPEND": lambda: client.append("INBOX", "", "", letter(new_id(), size_octets=LARGE_OCTETS)),
        "STORE": lambda: client.store("1", "+FLAGS", r"(\Flagged)"),
        "silent STORE": lambda: client.store("1", "+FLAGS.SILENT", r"(\Answered)"),
        "COPY": lambda: client.copy("1", "Archive"),
        "MOVE": lambda: client.uid("MOVE", "1", "Archive"),
        "deleting STORE": lambda: client.store("1", "+FLAGS", r"(\Deleted)"),
        "EXPUNGE": lambda: client.expunge(),
        "CREATE": lambda: client.create("Dossier"),
    }


def _trace(site: Site, folder: Path) -> Traced:
    trace = folder / "trace"
    site.start(under=kernel.under_strace(trace))
    asked = _play(site)
    assert site.operator.stop() == 0
    return Traced(asked, kernel.calls(_written(trace).splitlines()))


def _written(trace: Path) -> str:
    """Return the trace once strace, which outlives the server by a moment, has written all of it."""
    until = time.monotonic() + 30
    while "+++ exited with" not in (text := trace.read_text(encoding="utf-8", errors="replace"))[-200:]:
        assert time.monotonic() < until, "strace did not end"
        time.sleep(0.05)
    return text


# -- SQLite ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    with kept(tmp_path_factory.mktemp("traced")) as site:
        yield _trace(site, site.folder)


@pytest.mark.parametrize(
    "name",
    [
        "DATA",
        "large DATA",
        "APPEND",
        "large APPEND",
        "STORE",
        "silent STORE",
        "COPY",
        "MOVE",
        "deleting STORE",
        "EXPUNGE",
        "CREATE",
    ],
)
def test_the_answer_goes_out_after_the_flush(traced: Traced, name: str) -> None:
    found = traced.exchange(name)
    kernel.flushed_before_the_answer(found, WAL)
    if name.startswith("large"):
        _aside_first(found)


def _aside_first(found: Exchange) -> None:
    """Octets aside are flushed, named, and their folder is flushed, before the rows that name them are."""
    blob = re.compile(r"/blobs/[0-9a-f]{2}/\.[0-9a-f]+\.new>")
    folder = re.compile(r"/blobs/[0-9a-f]{2}>")
    file = next(call for call in found.between if call.name in kernel.FLUSHES and blob.search(call.arguments))
    named = next(call for call in found.between if call.name in ("link", "linkat") and "/blobs/" in call.arguments)
    kept_in = [call for call in found.between if call.name in kernel.FLUSHES and folder.search(call.arguments)]
    rows = [call for call in found.between if call.name in kernel.FLUSHES and call.on(WAL)]
    assert file.ended <= named.began
    assert named.ended <= kept_in[-1].began
    assert kept_in[-1].ended <= rows[-1].began


# -- PostgreSQL ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def traced_on_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    with (
        postgres.running(durable=True) as server,
        kept(tmp_path_factory.mktemp("traced"), server.url(server.create())) as site,
    ):
        yield _trace(site, site.folder)


@pytest.mark.postgres
@pytest.mark.parametrize("name", ["DATA", "large DATA", "APPEND", "STORE", "COPY", "MOVE", "EXPUNGE"])
def test_the_answer_goes_out_after_the_server_has_committed(traced_on_postgres: Traced, name: str) -> None:
    found = traced_on_postgres.exchange(name)
    told = [call for call in found.between if "COMMIT" in call.arguments]
    wanted = [call for call in told if call.name in kernel.WRITES]
    done = [call for call in told if call.name in kernel.READS]
    assert wanted
    assert done
    assert wanted[-1].began <= done[-1].began
    assert done[-1].ended <= found.answered.began


@pytest.fixture(scope="module")
def both_traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Traced, list[Call]]]:
    """Our server and the database under it, both as the kernel saw them, by one clock."""
    with postgres.running(durable=True, under=lambda folder: kernel.under_strace(folder / "trace")) as server:
        with kept(tmp_path_factory.mktemp("traced"), server.url(server.create())) as site:
            ours = _trace(site, site.folder)
        server.stop()
        yield ours, kernel.calls(_written(server.folder / "trace").splitlines())


@pytest.mark.postgres
@pytest.mark.parametrize("name", ["DATA", "large DATA", "APPEND", "STORE", "silent STORE", "MOVE", "EXPUNGE", "CREATE"])
def test_the_answer_goes_out_after_the_database_has_flushed(both_traced: tuple[Traced, list[Call]], name: str) -> None:
    ours, database = both_traced
    found = ours.exchange(name)
    kernel.committed_before(database, found.asked.began, found.answered.began, PG_WAL)


# -- the check can fail ----------------------------------------------------------------------------------------------

_SOCKET = "<TCP:[127.0.0.1:25->127.0.0.1:999]>"
_ACCEPT = "1 8.0 accept4(3<TCP:[127.0.0.1:25]>, {sa_family=AF_INET, sin_port=htons(999)}, [16], 0) = 7"
_READ = f'1 10.0 read(7{_SOCKET}, "\\27\\3\\3", 100) = 3'
_PWRITE = '2 11.0 pwrite64(9</data/store.sqlite-wal>, "x", 1, 0) = 1'
_BEGIN = "2 12.0 fdatasync(9</data/store.sqlite-wal> <unfinished ...>"
_DONE = "2 13.0 <... fdatasync resumed>)         = 0"
_ANSWER = f'1 14.0 write(7{_SOCKET}, "\\27\\3\\3", 3) = 3'


def _found(*lines: str) -> Exchange:
    return kernel.exchange(kernel.calls((_ACCEPT, *lines)), 999, 9, 20)


def test_a_flush_before_the_answer_passes() -> None:
    assert len(kernel.flushed_before_the_answer(_found(_READ, _PWRITE, _BEGIN, _DONE, _ANSWER), WAL)) == 2


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ((_READ, _PWRITE, _ANSWER), "not flushed"),
        ((_READ, _ANSWER), "nothing was written"),
        ((_READ, _PWRITE, _BEGIN, _ANSWER.replace("14.0", "12.5"), _DONE), "before .* was on disk"),
        ((_READ, _BEGIN, _DONE, _PWRITE.replace("11.0", "13.5"), _ANSWER), "after its last flush"),
        ((_READ, _PWRITE, _BEGIN, _DONE.replace("= 0", "= -1 EIO"), _ANSWER), "not flushed"),
    ],
)
def test_an_answer_before_the_flush_is_seen(lines: tuple[str, ...], problem: str) -> None:
    with pytest.raises(AssertionError, match=problem):
        kernel.flushed_before_the_answer(_found(*lines), WAL)


_HEARD = '3 11.0 recvfrom(8<UNIX-STREAM:[1]>, "Q\\0\\0\\0\\vCOMMIT\\0", 8192, 0, NULL, NULL) = 12'
_LOGGED = '3 11.1 pwrite64(5</data/pg_wal/000000010000000000000001>, "x", 8192, 0) = 8192'
_FLUSHED = "3 11.2 fdatasync(5</data/pg_wal/000000010000000000000001>) = 0"
_SAID = '3 11.3 sendto(8<UNIX-STREAM:[1]>, "C\\0", 18, 0, NULL, 0) = 18'


def test_a_flush_before_the_commit_is_answered_passes() -> None:
    calls = kernel.calls((_HEARD, _LOGGED, _FLUSHED, _SAID))
    assert len(kernel.committed_before(calls, 10, 12, PG_WAL)) == 1


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ((_LOGGED, _FLUSHED, _SAID), "heard no COMMIT"),
        ((_HEARD, _LOGGED, _SAID), "not flushed"),
        ((_HEARD, _LOGGED, _FLUSHED.replace("= 0", "= -1 EIO"), _SAID), "not flushed"),
        ((_HEARD, _LOGGED, _SAID.replace("11.3", "11.15"), _FLUSHED), "answered COMMIT before"),
        ((_FLUSHED.replace("11.2", "10.5"), _HEARD, _LOGGED, _SAID), "answered COMMIT before"),
    ],
)
def test_a_commit_answered_before_its_flush_is_seen(lines: tuple[str, ...], problem: str) -> None:
    with pytest.raises(AssertionError, match=problem):
        kernel.committed_before(kernel.calls(lines), 10, 12, PG_WAL)
