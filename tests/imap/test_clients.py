"""Strangers' clients on real sockets: aioimaplib, imaplib, IMAPClient, mbsync and curl live in the mailbox."""

from __future__ import annotations

import asyncio
import imaplib
import shutil
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import aioimaplib
import imapclient
import pytest
import uvloop

from mss.model.account import Box
from mss.services import mailbox
from tests.imap.imap_world import DOCTOR, LETTER, NESTED, NOW, PASSWORD, Client, World, running, with_limits

pytestmark = pytest.mark.journey


@dataclass
class Reached:
    """A world with its doors on loopback."""

    world: World
    box: Box
    starttls_port: int
    tls_port: int

    @property
    def ca_file(self) -> Path:
        """The authority that clients trust."""
        return self.world.config.root / "authority" / "ca.pem"

    async def connect(self, *, tls: bool) -> Client:
        """Open a connection with the tests' own client."""
        port, context = (self.tls_port, self.context()) if tls else (self.starttls_port, None)
        name = "imap.pro.example" if tls else None
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname=name, limit=1 << 22
        )
        client = Client(reader, writer, self.context())
        self.world.clients.append(client)
        assert (await client.line()).startswith(b"* OK [CAPABILITY ")
        return client

    def context(self) -> ssl.SSLContext:
        """Return what a careful client uses."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context


@pytest.fixture
async def reached(world: World, inbox: Box) -> Reached:
    bound = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [each.getsockname()[1] for each in bound]
    await world.server.listen(bound[:1], implicit_tls=False)
    await world.server.listen(bound[1:], implicit_tls=True)
    await world.deliver(inbox)
    await world.deliver(inbox, NESTED)
    return Reached(world, inbox, *ports)


async def run(*command: str) -> str:
    """Run a program to its end; returns what it printed."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(30):
        told, _ = await process.communicate()
    assert process.returncode == 0, told.decode()
    return told.decode()


def needed(program: str, package: str) -> str:
    """Return a program's path; without it the test fails with the line to type."""
    found = shutil.which(program)
    assert found, f"{program} is missing: apt-get install {package}"
    return found


async def in_thread(work: Callable[[], None]) -> None:
    """Run a blocking client."""
    await asyncio.wait_for(asyncio.to_thread(work), 30)


async def test_imaplib_by_starttls(reached: Reached) -> None:
    def work() -> None:
        client = imaplib.IMAP4("127.0.0.1", reached.starttls_port, timeout=10)
        assert "LOGINDISABLED" in client.capabilities
        client.starttls(reached.context())
        client.login(DOCTOR, PASSWORD)
        assert client.select("INBOX") == ("OK", [b"2"])
        assert client.search(None, "UNSEEN") == ("OK", [b"1 2"])
        status, data = client.fetch("1", "(BODY.PEEK[])")
        assert (status, data[0][1]) == ("OK", LETTER)  # type: ignore[index]
        assert client.store("1", "+FLAGS", "\\Deleted")[0] == "OK"
        assert client.expunge() == ("OK", [b"1"])
        assert client.append("Sent", "\\Seen", imaplib.Time2Internaldate(NOW), LETTER)[0] == "OK"
        assert client.list()[0] == "OK"
        assert client.logout()[0] == "BYE"

    await in_thread(work)


async def test_imapclient(reached: Reached) -> None:
    def work() -> None:
        with imapclient.IMAPClient(
            "127.0.0.1", reached.tls_port, ssl=True, ssl_context=reached.context(), timeout=10
        ) as client:
            client.plain_login(DOCTOR, PASSWORD)
            assert client.namespace().personal == (("", "/"),)
            names = {name: flags for flags, _, name in client.list_folders()}
            assert b"\\Sent" in names["Sent"]
            assert client.find_special_folder(b"\\Trash") == "Trash"
            client.create_folder("Été")
            assert client.folder_exists("Été")
            assert client.select_folder("INBOX")[b"EXISTS"] == 2
            found = client.fetch([1, 2], ["ENVELOPE", "BODYSTRUCTURE", "FLAGS", "INTERNALDATE", "RFC822.SIZE"])
            assert found[1][b"ENVELOPE"].subject == b"Resultats"
            assert found[2][b"BODYSTRUCTURE"].is_multipart
            assert client.search(["SUBJECT", "échographie"], charset="UTF-8") == [2]
            client.move([2], "Été")
            assert client.folder_status("Été", ["MESSAGES"]) == {b"MESSAGES": 1}
            client.add_flags([1], [b"$Lu"])
            assert client.get_flags([1]) == {1: (b"$Lu",)}
            client.idle()
            client.idle_done()

    await in_thread(work)


async def test_aioimaplib_hears_of_a_new_letter(reached: Reached) -> None:
    client = aioimaplib.IMAP4_SSL("127.0.0.1", reached.tls_port, timeout=30, ssl_context=reached.context())
    await client.wait_hello_from_server()
    assert (await client.login(DOCTOR, PASSWORD)).result == "OK"
    assert (await client.select("INBOX")).result == "OK"
    idle = await client.idle_start(timeout=60)
    await reached.world.deliver(reached.box)
    told = await client.wait_server_push(30)
    assert b"3 EXISTS" in told
    client.idle_done()
    await asyncio.wait_for(idle, 30)
    found = await client.uid("fetch", "3", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    assert found.result == "OK"
    assert b"Subject: Resultats\r\n\r\n" in found.lines[1]
    assert (await client.logout()).result == "OK"
    # By itself it waits for the server to close, which may be after this test's loop has ended.
    client.protocol.transport.abort()


async def test_mbsync_copies_both_ways(reached: Reached, tmp_path: Path) -> None:
    folder = tmp_path / "mail"
    folder.mkdir()
    (tmp_path / "mbsyncrc").write_text(
        f"""
IMAPStore far
Host localhost
Port {reached.tls_port}
User {DOCTOR}
Pass "{PASSWORD}"
SSLType IMAPS
CertificateFile {reached.ca_file}

MaildirStore near
Path {folder}/
Inbox {folder}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
"""
    )
    mbsync = needed("mbsync", "isync")
    await run(mbsync, "-c", str(tmp_path / "mbsyncrc"), "-a")
    copied = sorted((folder / "INBOX" / "new").iterdir())
    assert len(copied) == 2
    # Read one letter here, write a new one here, and let both go back.
    copied[0].rename(folder / "INBOX" / "cur" / (copied[0].name.partition(":")[0] + ":2,S"))
    (folder / "Sent" / "cur").mkdir(parents=True, exist_ok=True)
    (folder / "Sent" / "cur" / "1.local:2,S").write_bytes(LETTER.replace(b"\r\n", b"\n"))
    await run(mbsync, "-c", str(tmp_path / "mbsyncrc"), "-a")
    read = reached.world.store.read
    inbox = await read(mailbox.find, reached.box.id, "INBOX", NOW)
    sent = await read(mailbox.find, reached.box.id, "Sent", NOW)
    assert (await read(mailbox.status, inbox.id, NOW)).unseen == 1
    assert (await read(mailbox.status, sent.id, NOW)).messages == 1


async def test_curl_reads_and_writes(reached: Reached, tmp_path: Path) -> None:
    curl = needed("curl", "curl")
    common = (curl, "-sS", "--cacert", str(reached.ca_file), "-u", f"{DOCTOR}:{PASSWORD}")
    base = f"imaps://localhost:{reached.tls_port}"
    assert "* LIST (\\HasNoChildren \\Sent)" in await run(*common, base)
    assert "Subject: Resultats" in await run(*common, f"{base}/INBOX;UID=1")
    plain = f"imap://localhost:{reached.starttls_port}"
    assert "* SEARCH 1 2" in await run(*common, "--ssl-reqd", plain + "/INBOX", "-X", "SEARCH ALL")
    letter = tmp_path / "letter"
    letter.write_bytes(LETTER)
    await run(*common, "-T", str(letter), f"{base}/Sent")
    assert "MESSAGES 1" in await run(*common, base, "-X", "STATUS Sent (MESSAGES)")


def test_the_door_on_the_loop_of_production(imap_template: Path, tmp_path: Path) -> None:
    """STARTTLS, implicit TLS, pausing and large letters go through other code on uvloop."""
    large = LETTER + b"0123456789abcdef\r\n" * 200_000

    async def work() -> None:
        async with running(imap_template, tmp_path / "operator") as world:
            box = await world.box(DOCTOR)
            await world.account(DOCTOR, box)
            bound = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
            ports = [each.getsockname()[1] for each in bound]
            await world.server.listen(bound[:1], implicit_tls=False)
            await world.server.listen(bound[1:], implicit_tls=True)
            reached = Reached(world, box, *ports)
            client = await reached.connect(tls=False)
            assert await client.ask("STARTTLS") == [b"OK Begin TLS now"]
            await client.starttls()
            await client.login()
            assert (await client.append("INBOX", large)).startswith(b"OK [APPENDUID")
            await client.ask("SELECT INBOX")
            assert (await client.ask("FETCH 1 BODY.PEEK[]"))[0].endswith(large + b")")
            client.send(b"i IDLE\r\n")
            assert await client.line() == b"+ Idling"
            others = [await reached.connect(tls=True) for _ in range(10)]
            await (await others[0].login()).append("INBOX", LETTER)
            assert await client.line() == b"* 2 EXISTS"
            injecting = await reached.connect(tls=False)
            injecting.send(b"a STARTTLS\r\nb NOOP\r\n")
            assert await injecting.line() == b"* BYE Octets before TLS"
            garbage = socket.create_connection(("127.0.0.1", ports[1]))
            await asyncio.to_thread(garbage.sendall, b"a NOOP\r\n" * 10)
            assert await asyncio.to_thread(garbage.recv, 100) != b"*"
            garbage.close()

    uvloop.run(work())


async def test_handshakes_that_never_end_hold_only_so_many_places(imap_template: Path, tmp_path: Path) -> None:
    limits = with_limits(imap_unauthenticated_max=4, imap_connections_max=5)
    async with running(imap_template, tmp_path / "operator", limits) as world:
        bound = socket.create_server(("127.0.0.1", 0))
        address = bound.getsockname()
        await world.server.listen([bound], implicit_tls=True)
        silent = [await asyncio.open_connection(*address) for _ in range(6)]
        ended = [asyncio.create_task(reader.read()) for reader, _ in silent]
        done, held = await asyncio.wait(ended, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        async with asyncio.timeout(30):
            while len(done) < 2:
                done, held = await asyncio.wait(ended, timeout=0.05)
        assert len(held) == 4
        for _, writer in silent:
            writer.close()
        await asyncio.wait(ended)
