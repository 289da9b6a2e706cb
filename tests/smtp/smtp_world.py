"""A PKI, a door that remembers, and a client that talks raw octets."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mss import pki
from mss.balancer import NO_BALANCERS, Balancers
from mss.config import Config, DomainConfig, Limits, OperatorConfig, TlsConfig
from mss.model.account import Account, AccountKind
from mss.model.address import Domain
from mss.model.envelope import Envelope, Recipient
from mss.model.secret import Secret
from mss.policy.decision import Decision
from mss.smtp import reply
from mss.smtp.commands import Credentials, Given
from mss.smtp.door import Door
from mss.smtp.metrics import Silence
from mss.smtp.reply import Reply
from mss.smtp.server import Server, serve
from mss.smtp.session import Listener, Session, Transaction
from mss.smtp.spool import Spool
from mss.tls import TlsMaterial

HOME = Domain("patient.example")
NOW = datetime.now(UTC)
LETTER = b"From: a@chu.example\r\nSubject: test\r\n\r\nHello\r\n"


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Pki:
    """Three operators under one authority, one rogue under another."""

    root: Path

    def config(self, name: str, **tls: Any) -> Config:
        authority = self.root / "authority"
        folder = self.root / name
        files = TlsConfig(
            certificate_file=folder / "operator.pem",
            key_file=folder / "operator.key",
            ca_file=authority / "ca.pem",
            crl_files=(authority / "crl.pem",),
        )
        return Config(
            operator=OperatorConfig(name=name, hostname=f"mx.{name}.example"),
            domains=(DomainConfig(f"{name}.example", "patient" if name == "patient" else "professional"),),
            tls=replace(files, **tls),
        )

    def client(self, name: str | None) -> ssl.SSLContext:
        """Return a client context with the operator's certificate; with none for None."""
        context = ssl.create_default_context(cafile=str(self.root / "authority" / "ca.pem"))
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if name:
            context.load_cert_chain(self.root / name / "operator.pem", self.root / name / "operator.key")
        return context


def subject(name: str) -> dict[str, str]:
    return {"C": "FR", "ST": "Paris (75)", "O": f"OPERATEUR {name.upper()}", "OU": "318", "CN": f"mx.{name}.example"}


def make_pki(root: Path) -> Pki:
    authority = pki.make_authority(root / "authority", now=NOW)
    foreign = pki.make_authority(root / "foreign", now=NOW, name="ETRANGERE")
    for name in ("chu", "gip", "patient", "revoked"):
        pki.issue(root / name, authority, subject(name), [f"mx.{name}.example"], now=NOW)
    pki.issue(root / "rogue", foreign, subject("chu"), ["mx.chu.example"], now=NOW)
    pki.issue(root / "expired", authority, subject("chu"), ["mx.chu.example"], now=NOW, days=-1)
    pki.revoke(authority, root / "revoked" / "operator.pem", now=NOW)
    return Pki(root)


@dataclass
class Recorder:
    """A door that takes everything and remembers it; `answers` overrides what it says at a stage."""

    listener: Listener = Listener.MX
    mechanisms: tuple[str, ...] = ()
    letters: list[tuple[Envelope, bytes]] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    given: list[Credentials] = field(default_factory=list)
    answers: dict[str, Reply | Exception] = field(default_factory=dict)
    unfits: list[Decision] = field(default_factory=list)
    hold: asyncio.Event | None = None
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    def _answer(self, stage: str, default: Reply) -> Reply:
        answer = self.answers.get(stage, default)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def secured(self, session: Session, end: object) -> Session | Reply:
        self.sessions.append(session)
        answer = self._answer("secured", reply.OK)
        return session if answer.positive else answer

    async def insecure(self, session: Session, reason: str) -> None:
        self.failures.append(reason)
        self._answer("insecure", reply.OK)

    async def sign_in(self, session: Session, mechanism: str, given: Given) -> Session | Reply:
        if not isinstance(given, Credentials):
            return reply.Challenged(535, "5.7.8", "No", (), b'{"status":"401"}')
        self.given.append(given)
        if given.password == Secret(b"right"):
            return replace(session, account=Account(7, given.login, AccountKind.PROFESSIONAL, "", ""))
        return reply.BAD_CREDENTIALS

    async def mail(self, session: Session, transaction: Transaction) -> Reply:
        return self._answer("mail", reply.SENDER_OK)

    async def rcpt(self, session: Session, transaction: Transaction, recipient: Recipient) -> Reply:
        return self._answer("rcpt", reply.RECIPIENT_OK)

    async def data(self, session: Session, transaction: Transaction, octets: bytes) -> Reply:
        self.reached.set()
        if self.hold:
            await self.hold.wait()
        answer = self._answer("data", reply.OK)
        if answer.positive:
            self.letters.append((transaction.envelope(), octets))
        return answer

    async def unfit(self, session: Session, transaction: Transaction, decision: Decision) -> Reply:
        transaction.note(decision)
        self.unfits.append(decision)
        return self._answer("unfit", reply.of_decision(decision))


class Counts(Silence):
    """Metrics that a test reads."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, ...]] = []

    def session_closed(self, listener: str, outcome: str) -> None:
        self.seen.append(("closed", outcome))

    def refused(self, stage: str, rule: str) -> None:
        self.seen.append(("refused", stage, rule))

    def letter(self, listener: str, outcome: str, octets: int) -> None:
        self.seen.append(("letter", outcome, str(octets)))

    def attempt(self, outcome: str, seconds: float) -> None:
        self.seen.append(("attempt", outcome))


def bound() -> socket.socket:
    """Return a listening socket on a free port, as a parent process would hand it in."""
    made = socket.socket()
    made.bind(("127.0.0.1", 0))
    made.listen()
    return made


@dataclass
class Talk:
    """A client that sends octets and reads replies."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def reply(self) -> str:
        """Return one reply, lines joined by newlines; empty at the end of the connection."""
        lines: list[str] = []
        while True:
            async with asyncio.timeout(30):
                line = await self.reader.readline()
            if not line:
                return "\n".join(lines)
            assert line.endswith(b"\r\n"), line
            lines.append(line[:-2].decode("ascii"))
            if line[3:4] != b"-":
                return "\n".join(lines)

    async def say(self, octets: bytes) -> str:
        """Send a line and return the reply."""
        self.writer.write(octets + b"\r\n")
        return await self.reply()

    async def send(self, octets: bytes) -> None:
        self.writer.write(octets)
        await self.writer.drain()

    async def starttls(self, context: ssl.SSLContext, name: str = "localhost") -> None:
        assert (await self.say(b"STARTTLS")).startswith("220")
        await self.writer.start_tls(context, server_hostname=name)

    async def hello(self, context: ssl.SSLContext) -> str:
        """Greet, change to TLS and greet again; returns the second EHLO's answer."""
        await self.reply()
        await self.say(b"EHLO client.example")
        await self.starttls(context)
        return await self.say(b"EHLO client.example")

    async def letter(self, octets: bytes = LETTER, sender: bytes = b"a@chu.example") -> str:
        """Send a whole letter; returns the last reply."""
        for line in (b"MAIL FROM:<" + sender + b">", b"RCPT TO:<b@patient.example>"):
            answer = await self.say(line)
            if not answer.startswith("250"):
                return answer
        answer = await self.say(b"DATA")
        return await self.say(octets + b".") if answer.startswith("354") else answer

    async def ended(self) -> bool:
        """Whether the server closed the connection."""
        async with asyncio.timeout(30):
            try:
                return await self.reader.read() == b""
            except ConnectionError:
                return True


@asynccontextmanager
async def connected(port: int, **tls: Any) -> AsyncIterator[Talk]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **tls)
    talk = Talk(reader, writer)
    try:
        yield talk
    finally:
        writer.transport.abort()


@asynccontextmanager
async def serving(
    door: Door,
    material: TlsMaterial,
    *,
    limits: Limits | None = None,
    metrics: Silence | None = None,
    spool: Spool | None = None,
    implicit_tls: bool = False,
    clock: Callable[[], datetime] = now,
    balancers: Balancers = NO_BALANCERS,
) -> AsyncIterator[tuple[Server, int]]:
    """Serve a door on a free port."""
    socket_ = bound()
    port = socket_.getsockname()[1]
    mx = door.listener is Listener.MX
    server = await serve(
        [socket_],
        door,
        (lambda: material.mx_server) if mx else (lambda: material.client_facing),
        hostname="mx.patient.example",
        home=HOME,
        limits=limits or Limits(),
        clock=clock,
        metrics=metrics or Silence(),
        spool=spool or Spool(limits or Limits()),
        implicit_tls=implicit_tls,
        balancers=balancers,
    )
    try:
        yield server, port
    finally:
        await server.close(grace_s=2)
