"""An operator with its real store, an IMAP server, and a client that talks raw octets over a socket pair."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from mss import passwords, pki
from mss.config import Config, DomainConfig, Limits, OperatorConfig, StoreConfig, TlsConfig
from mss.imap.metrics import Silence
from mss.imap.server import Server, serve
from mss.model.account import Account, AccountKind, Box, Delegation, DelegationKind
from mss.model.address import Address
from mss.model.party import BoxKind
from mss.services import accounts, appending, mailbox
from mss.services.accounts import NewBox
from mss.services.reading import read_letter
from mss.signin import SignIn
from mss.store import Store
from mss.store import store as store_room
from mss.tls import client_facing_context

NOW = datetime(2026, 11, 22, 10, 30, 0, tzinfo=UTC)
PASSWORD = "un mot de passe long"
DOCTOR = "docteur@pro.example"
LETTER = (
    b"From: Labo <labo@pro.example>\r\nTo: docteur@pro.example\r\nSubject: Resultats\r\n"
    b"Date: Sun, 22 Nov 2026 09:00:00 +0100\r\nMessage-ID: <1@pro.example>\r\n\r\nBonjour\r\n"
)
NESTED = (
    b"From: a@pro.example\r\nSubject: =?utf-8?q?Compte_rendu_d=27=C3=A9chographie?=\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n'
    b"\xc3\xa9chographie normale\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
    b"Subject: dedans\r\nX-Odd: 1\r\n\r\ntexte cach\xc3\xa9\r\n--b\r\nContent-Type: application/pdf\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\nJVBERg==\r\n--b--\r\n"
)


def make_template(folder: Path) -> None:
    """Make a store with its keys and the certificates, for each test to copy."""
    authority = pki.make_authority(folder / "authority", now=datetime.now(UTC))
    subject = [("C", "FR"), ("O", "ESSAI"), ("CN", "imap.pro.example")]
    pki.issue(folder / "tls", authority, subject, ["imap.pro.example"], now=datetime.now(UTC))
    (folder / "data").mkdir()
    (folder / "keys").mkdir()
    store_room.create(config_of(folder))


def config_of(folder: Path, limits: Limits | None = None) -> Config:
    """Return the configuration of an operator in a folder."""
    return Config(
        operator=OperatorConfig(name="Essai", hostname="imap.pro.example"),
        domains=(DomainConfig("pro.example", "professional"), DomainConfig("patient.example", "patient")),
        store=StoreConfig(readers=2),
        tls=TlsConfig(
            certificate_file=Path("tls/operator.pem"),
            key_file=Path("tls/operator.key"),
            ca_file=Path("authority/ca.pem"),
        ),
        limits=limits or Limits(),
        root=folder,
    )


@cache
def _hash() -> str:
    return passwords.hash_password(PASSWORD)


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    at: datetime = NOW

    def __call__(self) -> datetime:
        return self.at


class Count(Silence):
    """Metrics that remember."""

    def __init__(self) -> None:
        self.closed: list[str] = []
        self.commands: list[tuple[str, str]] = []
        self.states: list[tuple[str, str]] = []

    def session_closed(self, outcome: str) -> None:
        self.closed.append(outcome)

    def command(self, name: str, condition: str, seconds: float) -> None:
        self.commands.append((name, condition))

    def state(self, before: str, after: str) -> None:
        self.states.append((before, after))


class Client:
    """Raw octets to and from a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext) -> None:
        self.reader, self.writer, self._context = reader, writer, context
        self._number = 0

    async def line(self) -> bytes:
        """Read one line, without its end; empty at the end of the stream."""
        async with asyncio.timeout(30):
            return (await self.reader.readline()).removesuffix(b"\r\n")

    async def response(self) -> bytes:
        """Read one response, literals included."""
        whole = await self.line()
        while match := re.search(rb"\{(\d+)\}\Z", whole):
            async with asyncio.timeout(30):
                whole += b"\r\n" + await self.reader.readexactly(int(match.group(1)))
            whole += await self.line()
        return whole

    def send(self, octets: bytes) -> None:
        """Write octets as they are."""
        self.writer.write(octets)

    async def until(self, start: bytes) -> list[bytes]:
        """Read responses until one starts so."""
        found = []
        while True:
            found.append(await self.response())
            if found[-1].startswith(start) or not found[-1]:
                return found

    async def ask(self, command: str | bytes) -> list[bytes]:
        """Send a command and return its responses, the last one without its tag."""
        self._number += 1
        tag = b"t%d " % self._number
        self.send(tag + (command.encode() if isinstance(command, str) else command) + b"\r\n")
        found = await self.until(tag)
        return [*found[:-1], found[-1].removeprefix(tag)]

    async def append(self, mailbox: str, octets: bytes, options: str = "") -> bytes:
        """Append a letter with a synchronising literal; returns the tagged answer."""
        self._number += 1
        tag = b"t%d " % self._number
        self.send(tag + f"APPEND {mailbox} {options}".encode() + b"{%d}\r\n" % len(octets))
        going = await self.line()
        if not going.startswith(b"+"):
            return going.removeprefix(tag)
        self.send(octets + b"\r\n")
        return (await self.until(tag))[-1].removeprefix(tag)

    async def login(self, login: str = DOCTOR) -> Client:
        """Sign in."""
        answer = (await self.ask(f'LOGIN {login} "{PASSWORD}"'))[-1]
        assert answer.startswith(b"OK"), answer
        return self

    async def starttls(self) -> None:
        """Shake hands after STARTTLS was answered."""
        await self.writer.start_tls(self._context, server_hostname="imap.pro.example")

    async def close(self) -> None:
        """End the connection."""
        self.writer.close()
        try:
            async with asyncio.timeout(30):
                await self.writer.wait_closed()
        except (OSError, TimeoutError):
            self.writer.transport.abort()


@dataclass
class World:
    """One operator's mail room."""

    config: Config
    store: Store
    server: Server
    sign_in: SignIn
    clock: Clock
    count: Count
    clients: list[Client] = field(default_factory=list)

    async def settled(self) -> None:
        """Wait until every session has ended."""
        async with asyncio.timeout(30):
            while self.server.sessions:
                await asyncio.sleep(0.001)

    async def box(self, spec: str, kind: BoxKind = BoxKind.PER) -> Box:
        """Make a box."""
        return await self.store.write(accounts.create_box, NewBox(Address.parse(spec), kind), "test", NOW)

    async def account(self, login: str, *boxes: Box, kind: AccountKind = AccountKind.PROFESSIONAL) -> Account:
        """Make an account: the owner of the first box, a member of the others."""
        hashed = _hash()
        made = await self.store.write(accounts.create_account, login, kind, "", hashed, "test", NOW)
        for index, box in enumerate(boxes):
            why = DelegationKind.MEMBER if index else DelegationKind.OWNER
            await self.store.write(accounts.delegate, Delegation(made.id, box.id, why), "test", NOW)
        return made

    async def deliver(self, box: Box, octets: bytes = LETTER, flags: tuple[str, ...] = (), name: str = "INBOX") -> int:
        """Put a letter into a mailbox; returns its UID."""
        found = await self.store.read(mailbox.find, box.id, name, NOW)
        reading = read_letter(octets, self.config.limits, documents=False)
        placed = await self.store.write(appending.append, found.id, reading, flags, NOW, "test", NOW)
        return placed.target[0][0]

    async def connect(self, *, implicit_tls: bool = True) -> Client:
        """Open a connection and read its greeting."""
        ours, theirs = socket.socketpair()
        adopting = asyncio.create_task(self.server.adopt(theirs, "", implicit_tls=implicit_tls))
        ours.setblocking(False)
        context = ssl.create_default_context(cafile=str(self.config.root / "authority" / "ca.pem"))
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if implicit_tls:
            reader, writer = await asyncio.open_connection(
                sock=ours, ssl=context, server_hostname="imap.pro.example", limit=1 << 22
            )
        else:
            reader, writer = await asyncio.open_connection(sock=ours, limit=1 << 22)
        client = Client(reader, writer, context)
        self.clients.append(client)
        await adopting
        greeting = await client.line()
        assert greeting.startswith(b"* OK [CAPABILITY IMAP4rev1 "), greeting
        return client

    async def session(self, mailbox_name: str = "", login: str = DOCTOR) -> Client:
        """Connect, sign in and perhaps select a mailbox."""
        client = await (await self.connect()).login(login)
        if mailbox_name:
            assert (await client.ask(f"SELECT {mailbox_name}"))[-1].startswith(b"OK [READ-WRITE]")
        return client


@asynccontextmanager
async def running(template: Path, folder: Path, limits: Limits | None = None) -> AsyncIterator[World]:
    """Run an operator on a copy of the template."""
    shutil.copytree(template, folder)
    config = config_of(folder, limits)
    store = Store(config)
    await store.start()
    clock, count = Clock(), Count()
    sign_in = SignIn(store, clock, config.limits)
    context = client_facing_context(config)
    server = await serve(store, sign_in, lambda: context, limits=config.limits, clock=clock, metrics=count)
    world = World(config, store, server, sign_in, clock, count)
    try:
        yield world
    finally:
        for client in world.clients:
            await client.close()
        await server.close(5)
        sign_in.close()
        await store.close()


def with_limits(**changes: int) -> Limits:
    """Return the usual limits with some changed."""
    return replace(Limits(), **changes)
