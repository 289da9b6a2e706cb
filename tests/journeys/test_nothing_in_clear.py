"""Promise 2: nothing travels in clear. Every door, spoken to without TLS, says no and does nothing."""

from __future__ import annotations

import base64
import ssl
import warnings

import pytest

from demo.clients import context, submit
from demo.house import REGION
from tests.journeys.conftest import MakeSite
from tests.journeys.raw import Raw, plain_server
from tests.journeys.sites import BOX, DOCTOR, PATIENCE_S, Site, letter, new_id, route_port

pytestmark = pytest.mark.journey

_PLAIN = base64.b64encode(b"\0somebody\0secret")


@pytest.mark.parametrize("door", ["mx", "submission"])
@pytest.mark.parametrize(
    "command",
    [
        b"HELO client.example",
        b"MAIL FROM:<a@b.example>",
        b"RCPT TO:<a@b.example>",
        b"DATA",
        b"AUTH PLAIN " + _PLAIN,
        b"AUTH LOGIN",
        b"VRFY postmaster",
        b"HELP",
    ],
)
def test_smtp_in_clear_is_refused(hospital: Site, door: str, command: bytes) -> None:
    with Raw(hospital.port(door)) as client:
        assert client.reply().startswith("220 ")
        extensions = client.ask(b"EHLO client.example").splitlines()
        assert "250 STARTTLS" in extensions or "250-STARTTLS" in extensions
        assert not [line for line in extensions if "AUTH" in line]
        assert client.ask(command) == "530 5.7.0 Must issue a STARTTLS command first"
        assert client.ask(b"QUIT").startswith("221 ")


def test_imap_in_clear_lets_nobody_in(hospital: Site) -> None:
    login = f"LOGIN {hospital.login.login} {hospital.login.password}".encode()
    with Raw(hospital.port("imap")) as client:
        greeting = client.line()
        assert b"LOGINDISABLED" in greeting
        assert b"AUTH=" not in greeting
        assert client.command(b"a1", login)[-1].startswith(b"a1 NO [PRIVACYREQUIRED]")
        assert client.command(b"a2", b"AUTHENTICATE PLAIN " + _PLAIN)[-1].startswith(b"a2 NO [PRIVACYREQUIRED]")
        assert client.command(b"a3", b"SELECT INBOX")[-1].startswith((b"a3 BAD", b"a3 NO"))
        assert b"LOGINDISABLED" in client.command(b"a4", b"CAPABILITY")[0]


@pytest.mark.parametrize("door", ["submissions", "imaps", "webmail"])
@pytest.mark.parametrize("octets", [b"EHLO client.example\r\n", b"a1 CAPABILITY\r\n", b"GET / HTTP/1.1\r\n\r\n"])
def test_doors_with_implicit_tls_say_nothing_in_clear(hospital: Site, door: str, octets: bytes) -> None:
    with Raw(hospital.port(door)) as client:
        client.send(octets)
        answer = client.rest()
    # Nothing, or a TLS alert: type 21, version 3.x, a level and a description.
    assert answer == b"" or (answer[:2] == b"\x15\x03" and len(answer) == 7)


# -- before and after STARTTLS ---------------------------------------------------------------------------------------


def test_what_is_sent_with_starttls_to_the_mx_is_forgotten(hospital: Site) -> None:
    message_id = new_id()
    injected = [
        b"STARTTLS",
        b"EHLO evil.example",
        b"MAIL FROM:<" + DOCTOR.encode() + b">",
        b"RCPT TO:<" + BOX.encode() + b">",
        b"DATA",
        letter(message_id) + b".",
        b"RSET",
    ]
    tls = context(hospital.ca_file)
    tls.load_cert_chain(*hospital.peers[REGION])
    with Raw(hospital.port("mx")) as client:
        client.reply()
        client.ask(b"EHLO client.example")
        client.send(b"\r\n".join(injected) + b"\r\n")
        assert client.reply().startswith("220 ")
        client.starttls(tls)
        # Had anything of it been obeyed, its answer would come first, and MAIL would be in order.
        assert client.ask(b"NOOP").startswith("250 2.0.0")
        assert client.ask(b"MAIL FROM:<" + DOCTOR.encode() + b">").startswith("503 ")
        assert client.ask(b"QUIT").startswith("221 ")
    assert hospital.count(message_id) == 0
    assert hospital.until_logged("smtp.octets_before_tls")


def test_what_is_sent_with_starttls_to_imap_ends_the_connection(hospital: Site) -> None:
    with Raw(hospital.port("imap")) as client:
        client.line()
        client.send(b"a1 STARTTLS\r\na2 LOGIN somebody secret\r\na3 CAPABILITY\r\n")
        answers = client.rest()
    assert b"a1 OK" not in answers
    assert b"a2" not in answers
    assert b"a3" not in answers
    assert hospital.until_logged("imap.session", outcome="injected")


@pytest.mark.parametrize(("door", "hello"), [("mx", b""), ("submissions", None), ("imaps", None), ("webmail", None)])
def test_old_tls_is_refused(hospital: Site, door: str, hello: bytes | None) -> None:
    tls = context(hospital.ca_file)
    tls.load_cert_chain(*hospital.peers[REGION])
    tls.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        tls.minimum_version, tls.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with Raw(hospital.port(door)) as client:
        if hello is not None:
            client.reply()
            client.ask(b"EHLO client.example")
            assert client.ask(b"STARTTLS").startswith("220 ")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            client.starttls(tls)


# -- letters that leave ----------------------------------------------------------------------------------------------


def test_no_letter_leaves_in_clear(new_hospital: MakeSite) -> None:
    # A hospital of its own: where others have tried in vain before, the destination rests, longer than a test waits.
    site = new_hospital()
    octets = letter(new_id(), sender=BOX, to=DOCTOR)
    with plain_server(route_port(site)) as other:
        site.start()
        submit(site.port("submission"), site.ca_file, site.login, BOX, [DOCTOR], octets)
        assert other.asked.wait(PATIENCE_S), "the relay did not try"
        assert site.until_logged("relay.attempt", outcome="temporary")
    assert {line.split(b" ")[0] for line in other.lines} <= {b"EHLO", b"QUIT"}
