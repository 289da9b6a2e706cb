"""Bad octets at every door: a clear error outside, a named reason inside, and the house goes on."""

from __future__ import annotations

import http.client
import random
from collections.abc import Iterator

import pytest

from demo.clients import context, submit
from demo.house import REGION
from tests.journeys.raw import Raw
from tests.journeys.sites import BOX, Site, letter, new_id

pytestmark = pytest.mark.journey

_RANDOM = random.Random(20261122)
_CLIENT_HELLO = bytes.fromhex("160301020001000001fc0303")
GARBAGE = {
    "random": _RANDOM.randbytes(5000) + b"\r\n",
    "random lines": b"".join(_RANDOM.randbytes(40).replace(b"\n", b"") + b"\r\n" for _ in range(60)),
    "zeros": bytes(4096) + b"\r\n",
    "an endless line": b"A" * 400_000 + b"\r\n",
    "endless literals": b"a1 LOGIN {999999999}\r\na2 LOGIN {99999999999999999999}\r\n",
    "open brackets": b"a1 SEARCH " + b"(" * 50_000 + b"\r\n",
    "half a TLS handshake": _CLIENT_HELLO,
    "a web page": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\nMAIL FROM:<a@b>\r\n",
    "bare line ends": b"EHLO x\nMAIL FROM:<a@b.example>\nDATA\n\n.\n" * 30 + b"\r\n",
    "8-bit": b"EHLO \xff\xfe\r\n\xc3(\r\na1 LOGIN \xff \xfe\r\n\x80\x80 \xf0\r\n",
    "nothing": b"",
}
DOORS = ("mx", "submission", "submissions", "imap", "imaps", "webmail", "ops")
# What no door may say to garbage: it gets an error of the protocol, or nothing at all.
_SMTP_YES, _IMAP_YES, _WEB_YES = (b"354 ", b"235 "), (b"a1 OK", b"a2 OK"), (b"HTTP/1.1 2",)
_YES = {
    "mx": _SMTP_YES,
    "submission": _SMTP_YES,
    "submissions": _SMTP_YES,
    "imap": _IMAP_YES,
    "imaps": _IMAP_YES,
    "webmail": _WEB_YES,
    "ops": _WEB_YES,
}
_QUIET_S = 0.1


def _answer(site: Site, door: str, octets: bytes, *, in_tls: bool) -> bytes:
    with Raw(site.port(door), timeout_s=20) as client:
        try:
            if in_tls:
                _inside(site, client, door)
            client.send(octets)
            if not in_tls:
                client.finish()
        except OSError:  # It was cut off while it spoke.
            return b""
        # A client that waits inside TLS has its minutes, like any other.
        return client.rest(quiet_s=_QUIET_S if in_tls else None)


def _inside(site: Site, client: Raw, door: str) -> None:
    """Go inside TLS first, as a client that turns bad later would."""
    tls = context(site.ca_file)
    tls.load_cert_chain(*site.peers[REGION])
    if door in ("mx", "submission"):
        client.reply()
        client.ask(b"EHLO x")
        assert client.ask(b"STARTTLS").startswith("220 ")
    elif door == "imap":
        client.line()
        assert client.command(b"t", b"STARTTLS")[-1].startswith(b"t OK")
    client.starttls(tls)


def _serves(site: Site) -> None:
    """Every door does its work: a letter comes in at each, and is read."""
    ids = [new_id(), new_id()]
    assert site.deliver(letter(ids[0]))[0] == 250
    submit(site.port("submission"), site.ca_file, site.login, BOX, [BOX], letter(ids[1], sender=BOX))
    for implicit_tls in (False, True):
        with site.mailbox(implicit_tls=implicit_tls) as client:
            client.select("INBOX", readonly=True)
            for message_id in ids:
                _, found = client.search(None, "HEADER", "Message-ID", f'"{message_id}"')
                assert len(found[0].split()) == 1
    web = http.client.HTTPSConnection("localhost", site.port("webmail"), timeout=20, context=context(site.ca_file))
    ops = http.client.HTTPConnection("localhost", site.port("ops"), timeout=20)
    for connection, path in ((web, "/sign-in"), (ops, "/livez"), (ops, "/readyz")):
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, path
        connection.close()


@pytest.fixture(scope="module", autouse=True)
def still_served(hospital: Site) -> Iterator[None]:
    """After all the garbage, each door works, and none of it was an incident of ours."""
    since = len(hospital.log.lines())
    yield
    _serves(hospital)
    assert [line for line in hospital.log.lines()[since:] if "incident" in line] == []


@pytest.mark.parametrize("kind", GARBAGE)
@pytest.mark.parametrize("door", DOORS)
def test_garbage_in_clear(hospital: Site, door: str, kind: str) -> None:
    answer = _answer(hospital, door, GARBAGE[kind], in_tls=False)
    assert not [yes for yes in _YES[door] if yes in answer]


@pytest.mark.parametrize("kind", GARBAGE)
@pytest.mark.parametrize("door", [door for door in DOORS if door != "ops"])
def test_garbage_in_tls(hospital: Site, door: str, kind: str) -> None:
    answer = _answer(hospital, door, GARBAGE[kind], in_tls=True)
    assert not [yes for yes in _YES[door] if yes in answer]


@pytest.mark.parametrize(
    ("door", "octets", "answer"),
    [
        ("mx", b"\x00\xff\x01\r\n", b"500 5.5."),
        ("mx", b"A" * 20_000 + b"\r\n", b"500 5.5.6 Line too long"),
        ("submission", b"NONSENSE\r\n", b"530 5.7.0 "),
        ("imap", b"\x00\xff\r\n", b"* BAD "),
        ("imap", b"a1 NONSENSE\r\n", b"a1 BAD "),
        ("ops", b"\x00\xff\r\n\r\n", b"HTTP/1.1 400 "),
        ("webmail", b"\x00\xff\r\n\r\n", b"HTTP/1.1 400 "),
    ],
)
def test_the_error_outside_is_clear(hospital: Site, door: str, octets: bytes, answer: bytes) -> None:
    assert answer in _answer(hospital, door, octets, in_tls=door == "webmail")


@pytest.mark.parametrize("door", ["mx", "submission"])
def test_a_client_that_only_errs_is_sent_away(hospital: Site, door: str) -> None:
    answer = _answer(hospital, door, b"NONSENSE\r\n" * 50, in_tls=True)
    assert b"421 4.7.0 Too many errors" in answer
    assert answer.count(b"500 ") <= 12


@pytest.mark.parametrize(
    ("door", "octets", "farewell"),
    [
        ("mx", b"EHLO " + b"x" * 4_000_000, b"500 5.5.6 Line too long"),
        ("submissions", b"EHLO " + b"x" * 4_000_000, b"500 5.5.6 Line too long"),
        ("submissions", b"NONSENSE\r\n" * 400_000, b"421 4.7.0 Too many errors"),
        ("imap", b"a1 " + b"x" * 4_000_000, b"a1 BAD Line too long"),
        ("imaps", b"a1 " + b"x" * 4_000_000, b"a1 BAD Line too long"),
        ("imaps", b"a1 NONSENSE\r\n" * 400_000, b"* BYE Too many errors"),
    ],
)
def test_a_client_that_writes_on_hears_why_it_is_sent_away(
    hospital: Site, door: str, octets: bytes, farewell: bytes
) -> None:
    with Raw(hospital.port(door), timeout_s=20) as client:
        if door.endswith("s"):
            client.starttls(context(hospital.ca_file))
        client.send(octets)
        assert farewell in client.rest()


@pytest.mark.parametrize("door", ["mx", "submission", "submissions"])
def test_a_handshake_that_fails_is_in_the_log(hospital: Site, door: str) -> None:
    since = len(hospital.log.lines())
    with Raw(hospital.port(door), timeout_s=20) as client:
        if door != "submissions":
            client.reply()
            client.ask(b"EHLO x")
            client.ask(b"STARTTLS")
        client.send(b"this is no handshake\r\n")
        client.rest()
    assert hospital.until_logged("smtp.tls_failed", since=since)["reason"]


def test_a_handshake_that_fails_is_in_the_log_of_imap(hospital: Site) -> None:
    since = len(hospital.log.lines())
    with Raw(hospital.port("imaps"), timeout_s=20) as client:
        client.send(b"this is no handshake\r\n")
        client.rest()
    assert hospital.until_logged("imap.tls_failed", since=since)["reason"] == "WRONG_VERSION_NUMBER"
    with Raw(hospital.port("imap"), timeout_s=20) as client:
        client.line()
        client.command(b"a1", b"STARTTLS")
        client.send(b"this is no handshake\r\n")
        client.rest()
    assert hospital.until_logged("imap.session", since=since, outcome="tls-failed")
