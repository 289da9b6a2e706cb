"""The tests' own plumbing: the network guard, the properties' profiles, the PostgreSQL of the tests."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import socket
import time
from pathlib import Path

import psycopg
import pytest
from hypothesis import settings

from tests.support import memory, postgres
from tests.support.sockets import NetworkForbiddenError, network_open


def _connection_text(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://")


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_the_network_is_closed_to_ordinary_tests(family: socket.AddressFamily) -> None:
    loopback = "127.0.0.1" if family == socket.AF_INET else "::1"
    with socket.socket(family, socket.SOCK_STREAM) as stream:
        with pytest.raises(NetworkForbiddenError):
            stream.bind((loopback, 0))
        with pytest.raises(NetworkForbiddenError):
            stream.connect((loopback, 9))
        with pytest.raises(NetworkForbiddenError):
            stream.connect_ex((loopback, 9))
    with socket.socket(family, socket.SOCK_DGRAM) as datagrams, pytest.raises(NetworkForbiddenError):
        datagrams.sendto(b"octets", (loopback, 9))


async def test_an_event_loop_cannot_listen_in_ordinary_tests() -> None:
    with pytest.raises(NetworkForbiddenError):
        await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)


async def test_event_loops_and_socket_pairs_work_without_the_network() -> None:
    loop = asyncio.get_running_loop()
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        right.setblocking(False)
        await loop.sock_sendall(left, b"wake up")
        assert await loop.sock_recv(right, 16) == b"wake up"


def test_unix_sockets_stay_open(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(tmp_path / "s"))
        assert (tmp_path / "s").is_socket()


def test_the_network_closes_again_after_it_was_opened() -> None:
    with network_open(True), socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        assert listener.getsockname()[1] > 0
    with socket.socket() as listener, pytest.raises(NetworkForbiddenError):
        listener.bind(("127.0.0.1", 0))


@pytest.mark.journey
def test_the_network_is_open_to_journeys() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        assert listener.getsockname()[1] > 0


def test_files_lie_in_memory_only_where_there_is_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "MEMORY", tmp_path)
    free = shutil.disk_usage(tmp_path).free
    monkeypatch.setattr(memory, "FREE_MIN_OCTETS", free // 2)
    assert memory.roomy() == tmp_path
    monkeypatch.setattr(memory, "FREE_MIN_OCTETS", free * 2)
    assert memory.roomy() is None
    monkeypatch.setattr(memory, "MEMORY", tmp_path / "missing")
    assert memory.roomy() is None


def test_only_what_a_gone_process_left_is_swept(tmp_path: Path) -> None:
    ours = memory.fresh_folder(tmp_path)
    left, foreign = tmp_path / "mss-4194305-abc", tmp_path / "mss-notes"  # No process has so high a number.
    left.mkdir()
    foreign.mkdir()
    memory.sweep(tmp_path)
    assert [left.exists(), foreign.exists(), ours.exists()] == [False, True, True]


def test_no_property_has_a_deadline() -> None:
    # A deadline fails on a busy machine for no fault of the code.
    for name in ("fast", "full", "soak"):
        assert settings.get_profile(name).deadline is None
        assert settings.get_profile(name).derandomize is (bool(os.environ.get("CI")) and name != "soak")


@pytest.mark.postgres
def test_each_test_gets_a_database_of_its_own(
    postgres_server: postgres.Server, postgres_template: str, postgres_database: str
) -> None:
    other = postgres_server.create(template=postgres_template)
    with psycopg.connect(_connection_text(postgres_database)) as first:
        first.execute("CREATE TABLE letters (id int)")
    with psycopg.connect(_connection_text(postgres_server.url(other))) as second:
        assert second.execute("SELECT count(*) FROM pg_tables WHERE tablename = 'letters'").fetchone() == (0,)
    postgres_server.drop(other)


@pytest.mark.postgres
def test_a_copy_carries_what_the_template_holds(postgres_server: postgres.Server) -> None:
    template = postgres_server.create()
    with psycopg.connect(_connection_text(postgres_server.url(template))) as connection:
        connection.execute("CREATE TABLE letters AS SELECT 42 AS id")
    copy = postgres_server.create(template=template)
    with psycopg.connect(_connection_text(postgres_server.url(copy))) as connection:
        assert connection.execute("SELECT id FROM letters").fetchone() == (42,)
    postgres_server.drop(copy)
    postgres_server.drop(template)


@pytest.mark.postgres
def test_a_copy_costs_far_less_than_a_server(postgres_server: postgres.Server, postgres_template: str) -> None:
    # On a quiet machine it takes 20 ms; the bound leaves room for a busy one without memory to spare.
    def cost() -> float:
        start = time.perf_counter()
        postgres_server.drop(postgres_server.create(template=postgres_template))
        return time.perf_counter() - start

    assert min(cost() for _ in range(5)) < 0.5


@pytest.mark.postgres
def test_the_server_listens_to_no_network(postgres_server: postgres.Server) -> None:
    with psycopg.connect(_connection_text(postgres_server.url("postgres"))) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        assert connection.execute("SHOW fsync").fetchone() == ("off",)


@pytest.mark.postgres
@pytest.mark.slow
def test_a_server_stops_by_its_own_process_and_leaves_nothing() -> None:
    with postgres.running(durable=True) as server:
        with psycopg.connect(_connection_text(server.url("postgres"))) as connection:
            assert connection.execute("SHOW fsync").fetchone() == ("on",)
        folder, process = server.folder, server.process
        assert folder.is_dir()
    assert process.returncode == 0
    assert not folder.exists()


@pytest.mark.postgres
@pytest.mark.slow
def test_a_server_serves_where_memory_is_scarce_and_paths_are_long(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(memory, "FREE_MIN_OCTETS", 1 << 62)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / ("long" * 20)))
    with postgres.running() as server, psycopg.connect(_connection_text(server.url("postgres"))) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def _copied(programs: Path, folder: Path, user: pwd.struct_passwd | None) -> Path:
    return postgres._copy(programs, folder / "server", user)


@pytest.mark.postgres
@pytest.mark.slow
@pytest.mark.parametrize("hidden", [False, True])
def test_the_server_of_the_wheel_serves_where_debian_has_none(monkeypatch: pytest.MonkeyPatch, hidden: bool) -> None:
    monkeypatch.setattr(postgres, "_debian", list)
    monkeypatch.setattr(postgres, "_on_path", list)
    if hidden:  # As below a folder that only its owner may enter.
        monkeypatch.setattr(postgres, "_reachable", _copied)
    with postgres.running() as server, psycopg.connect(_connection_text(server.url("postgres"))) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_without_any_server_the_line_to_type_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("_debian", "_on_path", "_wheel"):
        monkeypatch.setattr(postgres, place, list)
    with pytest.raises(postgres.PostgresMissingError, match="apt-get install"), postgres.running():
        pytest.fail("a server was started from nowhere")
