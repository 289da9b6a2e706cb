"""An operator as `serve` builds it, with robots' certificates and an issuer of tokens on loopback."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from mss import passwords, pki, tls
from mss.app import Worker
from mss.config import (
    Config,
    DomainConfig,
    ImapConfig,
    Limits,
    OperatorConfig,
    SmtpConfig,
    StoreConfig,
    TlsConfig,
    TokensConfig,
)
from mss.model.account import Account, AccountKind, Box, Delegation, DelegationKind
from mss.model.address import Address
from mss.model.audit import AuditRecord
from mss.model.party import BoxKind
from mss.revocation import read_certificates
from mss.robots import fingerprint_of
from mss.services import accounts, proofs
from mss.services.accounts import NewBox
from mss.sockets import Sockets
from mss.store import store as stores
from mss.store.store import Store
from tests.smtp.smtp_world import Talk, bound
from tests.tokens.tokens_world import AnyKey, claims, ec, published, rsa, signed

DOCTOR, DESK, ROBOT, OTHER_ROBOT = "a@chu.example", "accueil@chu.example", "robot@chu.example", "second@chu.example"
PASSWORD = "correct horse battery"
HOST = "mx.chu.example"


def now() -> datetime:
    return datetime.now(UTC)


@cache
def password_hash() -> str:
    return passwords.hash_password(PASSWORD)


def b64(octets: bytes) -> bytes:
    return b64encode(octets)


def oauthbearer(token: bytes, name: str = "") -> bytes:
    acting = f"a={name}" if name else ""
    return b64(f"n,{acting},\x01host=mx\x01auth=Bearer ".encode() + token + b"\x01\x01")


def xoauth2(token: bytes, name: str = "") -> bytes:
    return b64(f"user={name}\x01auth=Bearer ".encode() + token + b"\x01\x01")


@dataclass
class IssuerServer:
    """An issuer's machine on loopback."""

    port: int = 0
    keys: tuple[AnyKey, ...] = field(default_factory=lambda: (rsa(), ec()))
    down: bool = False
    asked: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def token(self, key: AnyKey | None = None, alg: str = "RS256", **changed: Any) -> bytes:
        """Return a token made just now for the doctor."""
        at = int(time.time())
        dates = {"iat": at, "nbf": at, "exp": at + 240, "jti": None}
        named = {"iss": self.url, "preferred_username": DOCTOR}
        return signed(claims(**{**dates, **named, **changed}), key, alg=alg)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        body = published(*self.keys)
        if b"openid-configuration" in request:
            body = json.dumps({"issuer": self.url, "jwks_uri": self.url + "/keys"}).encode()
        status = b"503 Down" if self.down else b"200 OK"
        writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body)
        await writer.drain()
        writer.close()


@dataclass
class Signing:
    """The operator, its issuer and its people."""

    root: Path
    config: Config
    issuer: IssuerServer
    store: Store
    ports: dict[str, int]
    people: dict[str, Account] = field(default_factory=dict)
    boxes: dict[str, Box] = field(default_factory=dict)

    def context(self, certificate: str = "") -> ssl.SSLContext:
        """Return a client's context, with one of the robots' certificates."""
        context = ssl.create_default_context(cafile=str(self.root / "authority" / "ca.pem"))
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if certificate:
            folder = self.root / certificate
            context.load_cert_chain(folder / "operator.pem", folder / "operator.key")
        return context

    @asynccontextmanager
    async def smtp(self, certificate: str = "", *, implicit_tls: bool = False) -> AsyncIterator[tuple[Talk, str]]:
        """Connect to submission; yields the client and what EHLO offers."""
        port = self.ports["submissions" if implicit_tls else "submission"]
        security = {"ssl": self.context(certificate), "server_hostname": HOST} if implicit_tls else {}
        reader, writer = await asyncio.open_connection("127.0.0.1", port, **security)  # type: ignore[arg-type]
        talk = Talk(reader, writer)
        try:
            if implicit_tls:
                await talk.reply()
                yield talk, await talk.say(b"EHLO client.example")
            else:
                await talk.reply()
                await talk.say(b"EHLO client.example")
                await talk.starttls(self.context(certificate), HOST)
                yield talk, await talk.say(b"EHLO client.example")
        finally:
            writer.transport.abort()

    @asynccontextmanager
    async def imap(self, certificate: str = "") -> AsyncIterator[tuple[Talk, str]]:
        """Connect to IMAP; yields the client and the greeting."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.ports["imaps"], ssl=self.context(certificate), server_hostname=HOST
        )
        talk = Talk(reader, writer)
        try:
            yield talk, (await reader.readline()).decode().strip()
        finally:
            writer.transport.abort()

    async def person(self, login: str, kind: BoxKind, *members: str) -> None:
        """Make a box, its account, and the account's places in other boxes."""
        box = await self.store.write(
            accounts.create_box, NewBox(Address.parse(login), kind, login[0].upper()), "t", now()
        )
        role = AccountKind.APPLICATION if kind is BoxKind.APP else AccountKind.PROFESSIONAL
        made = await self.store.write(accounts.create_account, login, role, "", password_hash(), "t", now())
        self.boxes[login], self.people[login] = box, made
        await self.delegate(login, login, DelegationKind.OWNER)
        for one in members:
            await self.delegate(login, one)

    async def delegate(self, login: str, box: str, kind: DelegationKind = DelegationKind.MEMBER) -> None:
        right = Delegation(self.people[login].id, self.boxes[box].id, kind)
        await self.store.write(accounts.delegate, right, "t", now())

    async def bind(self, login: str, certificate: str, *, by: Iterable[str] = ("subject", "fingerprint")) -> None:
        """Bind a robot's certificate."""
        [leaf, *_] = read_certificates(self.root / certificate / "operator.pem")
        subject = str(tls.dn_of(leaf)) if "subject" in by else ""
        fingerprint = fingerprint_of(leaf) if "fingerprint" in by else ""
        await self.store.write(proofs.bind_certificate, self.people[login].id, subject, fingerprint, "t", now())

    async def journal(self, action: str) -> list[AuditRecord]:
        """Return the journal's records of an action, oldest first."""
        found = await self.store.read(lambda uow: uow.journal.newest(1000, action))
        return list(reversed(found))


def make_folder(root: Path) -> None:
    """Make two authorities, the operator's certificate and the robots'."""
    ours, robots = (pki.make_authority(root / one, now=now(), name=one.upper()) for one in ("authority", "robots"))
    stranger = pki.make_authority(root / "stranger", now=now(), name="STRANGER")
    pki.issue(root / "own", ours, {"C": "FR", "O": "CHU", "CN": HOST}, [HOST], now=now())
    for name, authority in (
        ("lab", robots), ("lab2", robots), ("unbound", robots), ("revoked", robots), ("foreign", stranger),
    ):  # fmt: skip
        common = "lab" if name in ("lab2", "foreign") else name
        pki.issue(root / name, authority, {"C": "FR", "O": "CHU", "CN": common}, [f"{common}.example"], now=now())
    pki.revoke(robots, root / "revoked" / "operator.pem", now=now())
    expired = {"C": "FR", "O": "CHU", "CN": "expired"}
    pki.issue(root / "expired", robots, expired, ["expired.example"], now=now(), days=-1)


@asynccontextmanager
async def signing(
    template: Path, folder: Path, *, limits: Limits | None = None, crl: bool = True, **tokens: Any
) -> AsyncIterator[Signing]:
    """Run the operator."""
    issuer = IssuerServer()
    server = await asyncio.start_server(issuer.answer, "127.0.0.1", 0)
    issuer.port = server.sockets[0].getsockname()[1]
    for inner in ("data", "keys"):
        (folder / inner).mkdir(parents=True)
    sockets = {name: bound() for name in ("submission", "submissions", "imaps")}
    config = Config(
        operator=OperatorConfig("CHU", HOST),
        domains=(DomainConfig("chu.example", "professional"), DomainConfig("patient.example", "patient")),
        store=StoreConfig(readers=2),
        tls=TlsConfig(
            certificate_file=template / "own" / "operator.pem",
            key_file=template / "own" / "operator.key",
            ca_file=template / "authority" / "ca.pem",
            crl_files=(template / "authority" / "crl.pem",),
            client_ca_file=template / "robots" / "ca.pem",
            client_crl_files=(template / "robots" / "crl.pem",) if crl else (),
        ),
        smtp=SmtpConfig(submission_listen=("-",), submissions_listen=("-",)),
        imap=ImapConfig(imaps_listen=("-",)),
        tokens=replace(TokensConfig(issuer=issuer.url, audiences=("mss",)), **tokens),
        limits=limits or Limits(),
        root=folder,
    )
    stores.create(config)
    handed = Sockets(
        submission=(sockets["submission"],), submissions=(sockets["submissions"],), imaps=(sockets["imaps"],)
    )
    ports = {name: one.getsockname()[1] for name, one in sockets.items()}
    worker = Worker(config, frozenset({"submission", "imap"}), handed, 0, now)
    await worker.start()
    made = Signing(template, config, issuer, worker._store, ports)
    try:
        await made.person(DESK, BoxKind.ORG)
        await made.person(DOCTOR, BoxKind.PER, DESK)
        await made.person(ROBOT, BoxKind.APP)
        await made.person(OTHER_ROBOT, BoxKind.APP)
        yield made
    finally:
        await worker.stop()
        server.close()


def told(line: str) -> dict[str, str]:
    """Return the error that a challenge holds."""
    found: dict[str, str] = json.loads(b64decode(line.removeprefix("334 ").removeprefix("+ ")))
    return found
