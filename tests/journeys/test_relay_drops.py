"""A peer that accepts and then drops: the connection, the recipients, the letter whose end it does not answer.

Each is temporary (4.4.x) and stands in the letter's story; it goes again, the same octets, until it is answered.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import pytest

from demo.clients import context
from demo.house import HOSPITAL, REGION
from tests.journeys.conftest import MakeSite
from tests.journeys.relaying import chapters, entries, report_about, submit
from tests.journeys.sites import BOX, DOCTOR, PATIENCE_S, Site, letter, new_id, route_port

pytestmark = [pytest.mark.journey, pytest.mark.slow]

# Where each connection ends, one after the other; those that come later are served to their end.
DROPS = ("greeting", "DATA", "end of letter")


@dataclass
class Peer:
    """The region's mail server, which drops its first connections."""

    listening: socket.socket
    tls: ssl.SSLContext
    drops: list[str] = field(default_factory=lambda: list(DROPS))
    letters: list[bytes] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Serve one connection after another until the socket is closed."""
        with suppress(OSError):
            while True:
                connection, _ = self.listening.accept()
                with suppress(OSError):
                    self._serve(connection, self.drops.pop(0) if self.drops else "")
                connection.close()

    def _serve(self, connection: socket.socket, drop: str) -> None:
        connection.settimeout(PATIENCE_S)
        if drop == "greeting":
            return
        connection.sendall(b"220 mx ESMTP\r\n")
        connection.recv(1000)
        connection.sendall(b"250-mx\r\n250 STARTTLS\r\n")
        connection.recv(1000)
        connection.sendall(b"220 go on\r\n")
        with self.tls.wrap_socket(connection, server_side=True) as session:
            self._converse(session, drop)

    def _converse(self, session: ssl.SSLSocket, drop: str) -> None:
        lines = session.makefile("rb")
        for line in lines:
            verb = line.split()[0].upper()
            if verb == b"DATA" and drop == "DATA":
                return
            if verb == b"DATA":
                session.sendall(b"354 go on\r\n")
                self.letters.append(b"".join(iter(lines.readline, b".\r\n")))
                if drop == "end of letter":
                    return
            session.sendall(b"250 2.0.0 yes\r\n")
            if verb == b"DATA":
                self.done.set()


@contextmanager
def dropping(site: Site) -> Iterator[Peer]:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(site.ca_file))
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.verify_flags = context(site.ca_file).verify_flags
    tls.load_cert_chain(*site.peers[REGION])
    with socket.create_server(("127.0.0.1", route_port(site))) as listening:
        peer = Peer(listening, tls)
        thread = threading.Thread(target=peer.run, daemon=True)
        thread.start()
        yield peer
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(PATIENCE_S)


def test_a_peer_that_accepts_and_then_drops(new_hospital: MakeSite) -> None:
    site, message_id = new_hospital(), new_id(HOSPITAL)
    site.set("backoff_first_s = 1\n", "backoff_first_s = 1\nretry_s = [1]\ndelay_notice_s = 0\n")
    with dropping(site) as peer:
        site.start()
        submit(site, letter(message_id, sender=BOX, to=DOCTOR))
        assert peer.done.wait(2 * PATIENCE_S), "the letter did not come through"
        until(lambda: entries(site, message_id)[0]["state"] == "delivered")
    tried = entries(site, message_id)[0]["attempts"]
    assert [one["outcome"] for one in tried] == ["temporary", "temporary", "temporary", "relayed"]
    assert {one["enhanced"] for one in tried[:-1]} <= {"4.4.1", "4.4.2"}
    assert len(peer.letters) == 2, "the letter that was dropped at its end, and the one that was answered"
    assert peer.letters[0] == peer.letters[1], "the receiver can recognise the copy"
    told = chapters(site, message_id)
    assert [one for one in told if one != "reported"] == ["received", "queued", *["tried"] * 4, "ended"]
    assert told.count("reported") == 1, "the sender is told once that the letter is late"
    report = report_about(site, message_id).as_string()
    assert "Action: delayed" in report
    assert "Will-Retry-Until: " in report


def until(condition: Callable[[], bool]) -> None:
    pause, patience = threading.Event(), int(PATIENCE_S)
    assert any(condition() or pause.wait(1) for _ in range(patience)), "it did not happen in time"
