"""Strangers read the demonstration's mailbox over IMAP: content and flags, both ways, and news by IDLE.

Each test sends a letter of its own from the region's doctor to the hospital's box, through submission and relay.
"""

from __future__ import annotations

import asyncio
import base64
import imaplib
import re
import secrets
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path
from typing import Any, cast

import aioimaplib
import pytest
from imapclient import IMAPClient

from demo.clients import Login, context, submit
from demo.steps import ANSWER
from tests.journeys.sites import BOX, DOCTOR, PATIENCE_S, SECRET, letter, new_id
from tests.journeys.telling import Telling

pytestmark = pytest.mark.journey


@dataclass
class Desk:
    """The hospital's box as its people reach it, and the doctor who writes to it."""

    telling: Telling

    @property
    def login(self) -> Login:
        return self.telling.world.people.hospital

    @property
    def ca_file(self) -> Path:
        return self.telling.world.ca_file

    def port(self, door: str) -> int:
        return self.telling.world.hospital.port(door)

    def send(self, octets: bytes) -> None:
        world = self.telling.world
        submit(world.region.port("submission"), world.ca_file, world.people.doctor, DOCTOR, [BOX], octets)

    @contextmanager
    def own(self, mailbox: str = "INBOX") -> Iterator[imaplib.IMAP4]:
        """Python's own client on STARTTLS: what the other clients are compared with."""
        with imaplib.IMAP4("localhost", self.port("imap"), timeout=PATIENCE_S) as client:
            client.starttls(ssl_context=context(self.ca_file))
            client.login(self.login.login, self.login.password)
            client.select(mailbox)
            yield client

    def uid_of(self, message_id: str) -> str:
        """Return the UID of a letter, once it arrived."""
        with self.own() as client:
            return until(lambda: _uid(client, message_id), "the letter")

    def look(self, uid: str, mailbox: str = "INBOX") -> tuple[bytes, set[str]]:
        """Return a letter's octets and flags, changing nothing."""
        with self.own(mailbox) as client:
            _, parts = client.uid("FETCH", uid, "(FLAGS BODY.PEEK[])")
            (head, octets), *rest = cast(Any, parts)
            flags = imaplib.ParseFlags(head) or imaplib.ParseFlags(rest[0])
            return octets, {flag.decode() for flag in flags}


def _uid(client: imaplib.IMAP4, message_id: str) -> str:
    client.noop()
    _, found = client.uid("SEARCH", "HEADER", "Message-ID", f'"{message_id}"')
    return cast(bytes, found[0]).decode()


def until(look: Callable[[], str], what: str) -> str:
    """Look again and again until something is found."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.05)
    pytest.fail(f"{what} did not come within {PATIENCE_S:.0f} s")


PHOTO = secrets.token_bytes(150_000)


def full_letter(message_id: str) -> bytes:
    """Make a letter of two parts: 8-bit text and an attachment that is large enough to be kept in a file."""
    head = letter(message_id, text="Prescrit à jeun, deux prises par jour.").partition(b"\r\nContent-Type")[0]
    encoded = base64.encodebytes(PHOTO).replace(b"\n", b"\r\n")
    return (
        head
        + b'\r\nContent-Type: multipart/mixed; boundary="b1"\r\n\r\n'
        + b"--b1\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        + f"{SECRET}: prescrit à jeun, deux prises par jour.\r\n\r\n".encode()
        + b"--b1\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n"
        + b'Content-Disposition: attachment; filename="photo.png"\r\n\r\n'
        + encoded
        + b"\r\n--b1--\r\n"
    )


@pytest.fixture
def desk(telling: Telling) -> Desk:
    telling.until(7)
    return Desk(telling)


@pytest.fixture
def sent(desk: Desk) -> tuple[str, bytes]:
    """A letter that arrived, unread: its UID and its octets as they were sent."""
    message_id = new_id()
    octets = full_letter(message_id)
    desk.send(octets)
    return desk.uid_of(message_id), octets


def test_python_imaplib(desk: Desk, sent: tuple[str, bytes]) -> None:
    uid, octets = sent
    assert desk.look(uid)[1] == set()
    with desk.own() as client:
        _, parts = client.uid("FETCH", uid, "(BODY[])")
        whole = cast(Any, parts)[0][1]
        assert whole.endswith(octets), "the letter came with other octets than it was sent with"
        _, parts = client.uid("FETCH", uid, f"(BODY.PEEK[]<{len(whole) - len(octets)}.100>)")
        assert cast(Any, parts)[0][1] == octets[:100]
        _, parts = client.uid("FETCH", uid, "(BODY.PEEK[2])")
        assert base64.b64decode(cast(Any, parts)[0][1]) == PHOTO
        client.uid("STORE", uid, "+FLAGS", r"(\Flagged $Urgent)")
    assert desk.look(uid)[1] == {r"\Seen", r"\Flagged", "$Urgent"}


def test_imapclient(desk: Desk, sent: tuple[str, bytes]) -> None:
    uid, octets = sent
    tls = context(desk.ca_file)
    with IMAPClient("localhost", desk.port("imaps"), ssl_context=tls, timeout=PATIENCE_S) as client:
        client.login(desk.login.login, desk.login.password)
        assert {rb"\Sent", rb"\Drafts", rb"\Trash"} <= {flag for flags, _, _ in client.list_folders() for flag in flags}
        client.select_folder("INBOX")
        assert int(uid) in client.search(["SUBJECT", SECRET, "LARGER", 100_000, "UNSEEN"])
        found = client.fetch([int(uid)], ["ENVELOPE", "BODYSTRUCTURE", "BODY.PEEK[]", "RFC822.SIZE", "FLAGS"])[int(uid)]
        assert found[b"BODY[]"].endswith(octets)
        assert found[b"RFC822.SIZE"] == len(found[b"BODY[]"])
        assert found[b"ENVELOPE"].subject.decode() == f"Resultats {SECRET}"
        assert str(found[b"ENVELOPE"].from_[0]) == f"Camille DURAND <{DOCTOR}>"
        assert [part[:2] for part in found[b"BODYSTRUCTURE"][0]] == [(b"text", b"plain"), (b"image", b"png")]
        assert found[b"FLAGS"] == ()
        client.add_flags([int(uid)], [rb"\Answered", rb"\Seen"])
        client.remove_flags([int(uid)], [rb"\Seen"])
    assert desk.look(uid)[1] == {r"\Answered"}


def test_imapclient_is_told_of_a_new_letter_by_idle(desk: Desk) -> None:
    message_id = new_id()
    with IMAPClient("localhost", desk.port("imaps"), ssl_context=context(desk.ca_file), timeout=PATIENCE_S) as client:
        client.login(desk.login.login, desk.login.password)
        before = client.select_folder("INBOX")[b"EXISTS"]
        client.idle()
        desk.send(letter(message_id))
        end, told = time.monotonic() + PATIENCE_S, 0
        while told <= before and time.monotonic() < end:
            counts = [news[0] for news in client.idle_check(timeout=5) if news[1:2] == (b"EXISTS",)]
            told = max([told, *counts])
        client.idle_done()
        assert told > before
        assert client.search(["HEADER", "Message-ID", message_id])


async def test_aioimaplib(desk: Desk, sent: tuple[str, bytes]) -> None:
    uid, octets = sent
    client = await _aioimaplib(desk)
    try:
        await client.select("INBOX")
        found = await client.uid_search(f'SUBJECT "{SECRET}" UNSEEN')
        assert uid in found.lines[0].decode().split()
        fetched = await client.uid("fetch", uid, "(FLAGS BODY.PEEK[])")
        assert fetched.result == "OK"
        assert bytes(fetched.lines[1]).endswith(octets)
        stored = await client.uid("store", uid, "+FLAGS", r"(\Seen \Flagged)")
        assert stored.result == "OK"
    finally:
        await _leave(client)
    assert (await asyncio.to_thread(desk.look, uid))[1] == {r"\Seen", r"\Flagged"}


async def test_aioimaplib_is_told_of_a_new_letter_by_idle(desk: Desk) -> None:
    client = await _aioimaplib(desk)
    try:
        selected = await client.select("INBOX")
        before = max(int(line.split()[0]) for line in selected.lines if line.endswith(b"EXISTS"))
        idle = await client.idle_start(timeout=PATIENCE_S)
        began = time.monotonic()
        await asyncio.to_thread(desk.send, letter(new_id()))
        told = await client.wait_server_push(PATIENCE_S)
        took = time.monotonic() - began
        client.idle_done()
        await asyncio.wait_for(idle, PATIENCE_S)
        counts = [int(line.split()[0]) for line in told if line.endswith(b"EXISTS")]
        assert max(counts, default=0) > before
        assert took < 30, f"told after {took:.1f} s only"
    finally:
        await _leave(client)


async def _aioimaplib(desk: Desk) -> Any:
    tls = context(desk.ca_file)
    client = aioimaplib.IMAP4_SSL("localhost", desk.port("imaps"), timeout=PATIENCE_S, ssl_context=tls)
    await client.wait_hello_from_server()
    signed = await client.login(desk.login.login, desk.login.password)
    assert signed.result == "OK"
    return client


async def _leave(client: Any) -> None:
    """Log out and close: by itself it waits for the server to close, which may be after the test's loop has ended."""
    await client.logout()
    client.protocol.transport.abort()


# -- mbsync ----------------------------------------------------------------------------------------------------------


@dataclass
class Copy:
    """A Maildir that mbsync keeps in step with the whole account."""

    desk: Desk
    root: Path

    def sync(self) -> None:
        command = ["mbsync", "-c", str(self._settings()), "-a"]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, env={"HOME": str(self.root)}
        )
        assert done.returncode == 0, done.stderr

    def _settings(self) -> Path:
        desk, path = self.desk, self.root / "mbsyncrc"
        mail = self.root / "mail"
        mail.mkdir(exist_ok=True)
        path.write_text(
            f"IMAPAccount hospital\nHost localhost\nPort {desk.port('imap')}\nUser {desk.login.login}\n"
            f"Pass {desk.login.password}\nSSLType STARTTLS\nCertificateFile {desk.ca_file}\nSystemCertificates no\n"
            f"AuthMechs PLAIN\nTimeout {PATIENCE_S:.0f}\n\n"
            "IMAPStore far\nAccount hospital\n\n"
            f"MaildirStore near\nPath {mail}/\nInbox {mail}/INBOX\nSubFolders Verbatim\n\n"
            "Channel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\nSyncState *\n",
            encoding="utf-8",
        )
        return path

    def files(self, folder: str = "INBOX") -> dict[Path, bytes]:
        return {
            path: path.read_bytes()
            for part in ("cur", "new")
            for path in (self.root / "mail" / folder / part).iterdir()
        }

    def find(self, octets: bytes, folder: str = "INBOX") -> Path:
        (path,) = (path for path, held in self.files(folder).items() if _unix(held).endswith(_unix(octets)))
        return path

    def add(self, octets: bytes, folder: str) -> None:
        name = f"{int(time.time())}.{secrets.token_hex(8)}.here:2,S"
        (self.root / "mail" / folder / "cur" / name).write_bytes(_unix(octets))


def _unix(octets: bytes) -> bytes:
    """Return a letter as a Maildir holds it, without the mark that mbsync puts into its head."""
    return re.sub(rb"^X-TUID: .*\n", b"", octets.replace(b"\r\n", b"\n"), flags=re.MULTILINE)


def _with_flags(path: Path, flags: str) -> None:
    path.rename(path.parent.parent / "cur" / (path.name.partition(":")[0] + f":2,{flags}"))


def test_mbsync_keeps_a_maildir_in_step_both_ways(desk: Desk, sent: tuple[str, bytes], tmp_path: Path) -> None:
    uid, octets = sent
    copy = Copy(desk, tmp_path)
    copy.sync()
    with desk.own() as client:
        _, found = client.uid("SEARCH", "ALL")
        assert len(copy.files()) == len(cast(bytes, found[0]).split())
    assert any(ANSWER.encode() in held for held in copy.files().values()), "the patient's answer was not fetched"
    assert {"Sent", "Drafts", "Trash"} <= {path.name for path in (tmp_path / "mail").iterdir()}

    _with_flags(copy.find(octets), "FS")
    draft = letter(new_id(), sender=BOX, to=DOCTOR)
    copy.add(draft, "Drafts")
    copy.sync()
    assert desk.look(uid)[1] == {r"\Flagged", r"\Seen"}
    with desk.own("Drafts") as client:
        held = until(lambda: _uid(client, _message_id(draft)), "the draft")
    pushed, flags = desk.look(held, "Drafts")
    assert (_unix(pushed), flags) == (_unix(draft), {r"\Seen"})

    with desk.own() as client:
        client.uid("STORE", uid, "FLAGS", r"(\Answered)")
    _with_flags(copy.find(draft, "Drafts"), "ST")
    copy.sync()
    assert copy.find(octets).name.endswith(":2,R")
    with desk.own("Drafts") as client:
        assert _uid(client, _message_id(draft)) == ""


def _message_id(octets: bytes) -> str:
    return str(message_from_bytes(octets)["Message-ID"])


# -- curl ------------------------------------------------------------------------------------------------------------


def _curl(desk: Desk, url: str, *more: str) -> bytes:
    command = ["curl", "--silent", "--show-error", "--fail", "--cacert", str(desk.ca_file), "--max-time", "30"]
    user = ["--config", "-", url, *more]
    config = f'user = "{desk.login.login}:{desk.login.password}"\n'
    done = subprocess.run([*command, *user], input=config.encode(), capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_curl(desk: Desk, sent: tuple[str, bytes]) -> None:
    uid, octets = sent
    url = f"imaps://localhost:{desk.port('imaps')}/INBOX"
    assert _curl(desk, f"{url};UID={uid}").endswith(octets)
    assert desk.look(uid)[1] == {r"\Seen"}
    found = _curl(desk, url, "--request", f"UID SEARCH SEEN SUBJECT {SECRET}")
    assert re.fullmatch(rb"\* SEARCH(?: \d+)* %b(?: \d+)*\r\n" % uid.encode(), found)
    _curl(desk, url, "--request", rf"UID STORE {uid} +FLAGS (\Deleted)")
    assert desk.look(uid)[1] == {r"\Seen", r"\Deleted"}
    listed = _curl(desk, f"imap://localhost:{desk.port('imap')}/", "--ssl-reqd")
    assert b"INBOX" in listed


def test_curl_brings_a_letter_by_append(desk: Desk, tmp_path: Path) -> None:
    octets = letter(new_id(), size_octets=200_000)
    file = tmp_path / "letter"
    file.write_bytes(octets)
    _curl(desk, f"imaps://localhost:{desk.port('imaps')}/Drafts", "--upload-file", str(file))
    with desk.own("Drafts") as client:
        uid = until(lambda: _uid(client, _message_id(octets)), "the letter")
    assert desk.look(uid, "Drafts")[0] == octets


def test_a_client_that_trusts_another_authority_sends_no_password(desk: Desk) -> None:
    with (
        pytest.raises(ssl.SSLCertVerificationError),
        imaplib.IMAP4_SSL("localhost", desk.port("imaps"), ssl_context=ssl.create_default_context(), timeout=5),
    ):
        pytest.fail("the server's certificate was believed")
