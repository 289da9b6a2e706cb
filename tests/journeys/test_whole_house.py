"""The topology of docker-compose.yml from its own files, as processes: nodes, balancer, PostgreSQL, bucket, figures."""

from __future__ import annotations

import http.client
import re
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from demo.clients import context
from demo.house import REGION
from mss import instance
from tests.journeys.nodes import house
from tests.journeys.sites import BOX, DOCTOR, PATIENCE_S, Site, figures, letter, new_id
from tests.support import postgres, s3
from tests.support.compose import ROOT
from tests.support.ports import free_base

pytestmark = [pytest.mark.journey, pytest.mark.postgres, pytest.mark.slow]

_FIRST_PORT = 12_500
# On loopback the balancer has an address of its own, and so has a client.
_BALANCER = "127.0.0.9"
_CLIENT = "127.0.0.33"


def _services() -> dict[str, object]:
    loaded: dict[str, object] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    return loaded


@contextmanager
def _balanced(nodes: list[Site], folder: Path) -> Iterator[Site]:
    """Start the balancer of the file before the nodes; returns the operator as the world sees it."""
    program = shutil.which("haproxy")
    if program is None:
        pytest.fail("haproxy is missing: sudo apt-get install -y --no-install-recommends haproxy")
    base = free_base()
    conf = folder / "haproxy.cfg"
    conf.write_text(_on_loopback((ROOT / "deploy" / "haproxy.cfg").read_text(encoding="utf-8"), nodes, base))
    with subprocess.Popen([program, "-db", "-f", str(conf)], stdout=subprocess.DEVNULL) as process:
        try:
            yield replace(nodes[0], operator=replace(nodes[0].operator, base_port=base, process=None))
        finally:
            process.send_signal(signal.SIGKILL)


def _on_loopback(text: str, nodes: list[Site], base: int) -> str:
    """Put loopback in the place of the containers' names, and free ports in that of theirs."""
    doors = iter(instance.PORTS[door] for door in ("mx", "submission", "submissions", "imap", "imaps", "webmail"))
    for number, node in enumerate(nodes, 1):
        first = node.operator.base_port

        def moved(found: re.Match[str], first: int = first) -> str:
            port = int(found[1]) - _FIRST_PORT + first
            return f"127.0.0.1:{port} port {first + instance.PORTS['ops']}"

        text = re.sub(rf"node-{number}:(\d+)", moved, text)
    text = text.replace("mode tcp\n", f"mode tcp\n    source {_BALANCER}\n")
    text = re.sub(r"bind :8404", f"bind 127.0.0.1:{base + instance.PORTS['ops']}", text)
    return re.sub(r"bind :\d+", lambda _: f"bind 127.0.0.1:{base + next(doors)}", text)


def test_the_house_of_the_compose_file_takes_letters_while_a_node_is_replaced(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    count = sum(name.startswith("node-") for name in _services())
    with (
        postgres.running(durable=True) as database,
        s3.moto() as buckets,
        house(tmp_path_factory.mktemp("house"), database, buckets, count=count) as nodes,
        _balanced(nodes, tmp_path) as outside,
    ):
        for node in nodes:
            node.set("[policy]", f'[balancer]\naddresses = ["{_BALANCER}"]\n\n[policy]')
            node.start()
        _until_both_are_in(outside, count)
        ids = [new_id() for _ in range(6)]
        for number, message_id in enumerate(ids):
            if number == len(ids) // 2:
                assert nodes[0].operator.stop() == 0
            _deliver(outside, letter(message_id, size_octets=200_000))
        found = outside.message_ids()
        assert {one: found[one] for one in ids} == dict.fromkeys(ids, 1)
        nodes[0].start()
        _until_both_are_in(outside, count)
        _every_door_knows_its_client(outside, nodes)
        for node in nodes:
            assert "mss_store_up 1.0" in figures(node.port("ops"))
            assert "mss_blobs_up 1.0" in figures(node.port("ops"))


def _every_door_knows_its_client(outside: Site, nodes: list[Site]) -> None:
    """Come to each door through the balancer, from an address that nobody else has here."""
    here, login = (_CLIENT, 0), (outside.login.login, outside.login.password)
    tls, as_peer = context(outside.ca_file), context(outside.ca_file)
    as_peer.load_cert_chain(*outside.peers[REGION])
    with smtplib.SMTP("localhost", outside.port("mx"), "mx", PATIENCE_S, here) as client:
        client.starttls(context=as_peer)
        client.ehlo()
        assert client.mail(DOCTOR)[0] == 250
    with smtplib.SMTP("localhost", outside.port("submission"), "pc", PATIENCE_S, here) as client:
        client.starttls(context=tls)
        client.login(*login)
        assert client.mail(BOX)[0] == 250
    port = outside.port("submissions")
    with smtplib.SMTP_SSL("localhost", port, "pc", timeout=PATIENCE_S, source_address=here, context=tls) as client:
        client.login(*login)
        assert client.mail(BOX)[0] == 250
    for door, implicit in (("imap", False), ("imaps", True)):
        with socket.create_connection(("127.0.0.1", outside.port(door)), PATIENCE_S, here) as plain:
            _look_into_the_mailbox(plain, tls if implicit else None)
    web = http.client.HTTPSConnection(
        "localhost", outside.port("webmail"), timeout=PATIENCE_S, source_address=here, context=tls
    )
    web.request("GET", "/sign-in")
    assert web.getresponse().status == 200
    web.close()
    lines = [line for node in nodes for line in node.log.lines()]
    ours = [line for line in lines if line.get("ip") == _CLIENT]
    assert {line["listener"] for line in ours if "listener" in line} == {"mx", "submission", "submissions"}
    assert sum(line["event"] == "imap.session" for line in ours) == 2
    assert _BALANCER not in {line.get("ip") for line in lines}, "a node took the balancer for a client"


def _look_into_the_mailbox(plain: socket.socket, tls: ssl.SSLContext | None) -> None:
    """Say goodbye to IMAP: in clear, or under TLS from the first octet."""
    with tls.wrap_socket(plain, server_hostname="localhost") if tls else nullcontext(plain) as client:
        said = client.makefile("rb")
        assert said.readline().startswith(b"* OK")
        client.sendall(b"a LOGOUT\r\n")
        assert b"a OK" in said.read()


def _deliver(outside: Site, octets: bytes) -> None:
    """Bring a letter as an operator does: what was not taken is tried again."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            if outside.deliver(octets)[0] == 250:
                return
        except OSError:
            pass  # The node that was stopped is still in the balancer's list for a moment.
        assert time.monotonic() < end, "the letter was not taken"
        time.sleep(0.1)


def _until_both_are_in(outside: Site, count: int) -> None:
    """Wait until the balancer says that every node takes letters."""
    end = time.monotonic() + PATIENCE_S
    up = re.compile(r'haproxy_server_status\{proxy="mx",server="node-\d",state="UP"\} 1')
    while len(up.findall(figures(outside.port("ops")))) < count:
        assert time.monotonic() < end, "a node is not ready as the balancer sees it"
        time.sleep(0.1)
