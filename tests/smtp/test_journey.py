"""Whole letters between two operators on their real stores: submission, relay, MX, mailbox, and the reports back."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest

from mss import passwords
from mss.config import Config, DkimConfig, DkimKeyConfig, DomainConfig, Limits, OperatorConfig, RelayConfig
from mss.model.account import AccountKind, Delegation, DelegationKind
from mss.model.address import Address, parse_domain
from mss.model.delivery import DeliveryState, OutcomeKind
from mss.model.ins import INS, Traits
from mss.model.mailbox import INBOX
from mss.model.party import BoxKind
from mss.model.peer import TrustList
from mss.policy.routing import reachable_domains
from mss.services import accounts, mailbox, outbound
from mss.services.house import Hosted
from mss.services.outbound import Plan
from mss.services.submit import Outside
from mss.signin import SignIn
from mss.smtp.aside import Aside
from mss.smtp.metrics import Silence
from mss.smtp.mx import MxDoor, MxHouse
from mss.smtp.readers import Readers
from mss.smtp.relay import Relay, RelayHouse
from mss.smtp.server import serve
from mss.smtp.session import Listener
from mss.smtp.signing import KeyRing, Signer, Verifier
from mss.smtp.spool import Spool
from mss.smtp.submission import SubmissionDoor, SubmissionHouse
from mss.store import store as stores
from mss.store.store import Store
from mss.tls import TlsMaterial
from tests.smtp.smtp_letters import trust_list
from tests.smtp.smtp_world import Pki, Talk, bound, connected, now
from tests.smtp.test_signing import pair

pytestmark = pytest.mark.journey

MATRICULE, STRANGER = "279035121518989", "277076322082910"
PATIENT = f"{MATRICULE}@patient.example"
PASSWORD = "correct horse battery"
LIMITS = Limits()
DELIVERED = frozenset({DeliveryState.DELIVERED})


@dataclass
class Operator:
    """One operator: store, MX, submission and relay."""

    name: str
    config: Config
    store: Store
    ports: dict[str, int] = field(default_factory=dict)
    boxes: dict[str, int] = field(default_factory=dict)

    async def add_box(self, address: str, kind: BoxKind) -> None:
        ins = INS.parse(MATRICULE) if kind is BoxKind.PATIENT else None
        traits = Traits("PAT-TROIS", "DOMINIQUE", "19790328", "F") if ins else None
        new = accounts.NewBox(Address.parse(address), kind, "Somebody", ins=ins, traits=traits)
        self.boxes[address] = (await self.store.write(accounts.create_box, new, "test", now())).id

    async def add_account(self, login: str) -> None:
        hashed = passwords.hash_password(PASSWORD)
        account = await self.store.write(
            accounts.create_account, login, AccountKind.PROFESSIONAL, "Dr A", hashed, "test", now()
        )
        link = Delegation(account.id, self.boxes[login], DelegationKind.OWNER)
        await self.store.write(accounts.delegate, link, "test", now())

    async def letters(self, address: str) -> list[bytes]:
        """Return the octets of all letters in a box's INBOX."""
        box_id = self.boxes[address]
        inbox = await self.store.read(mailbox.find, box_id, INBOX, now())
        everything = ((1, 2**32 - 1),)
        rows = await self.store.read(mailbox.rows, inbox.id, everything, mailbox.Columns.PLAIN, now())
        return [await self.store.read(mailbox.octets, inbox.id, row.object_id, 0, None, now()) for row in rows]

    async def until_letters(self, address: str, count: int) -> list[bytes]:
        async with asyncio.timeout(15):
            subscription = self.store.subscribe("mailbox", self.boxes[address])
            try:
                while len(found := await self.letters(address)) < count:
                    await subscription.wait(0.2)
                return found
            finally:
                subscription.close()


@asynccontextmanager
async def operating(
    name: str,
    kind: str,
    root: Path,
    pki_world: Pki,
    trust: TrustList,
    routes: dict[str, str],
    signatures: Signatures | None = None,
) -> AsyncIterator[Operator]:
    config = replace(
        pki_world.config(name),
        root=root,
        domains=(DomainConfig(f"{name}.example", "patient" if kind == "patient" else "professional"),),
        relay=RelayConfig(routes=routes, timeout_s=5, retry_s=(1,)),
    )
    stores.create(config)
    store = Store(config)
    await store.start()
    made = Operator(name, config, store)
    readers, sign_in, spool = Readers(LIMITS), SignIn(store, now, LIMITS), Spool(LIMITS)
    material = TlsMaterial(config)
    domains = {parse_domain(one.name): one.kind for one in config.domains}
    hosted = Hosted(dict(domains), config.operator.hostname, config.policy, LIMITS)
    verifier = signatures.verifier(hosted.hostname) if signatures else None
    mx = MxDoor(MxHouse(store, material, lambda: trust, 3600, hosted, LIMITS, now, readers, verifier))

    def outside() -> Outside:
        return Outside(reachable_domains(trust, routes), 3600)

    submission = SubmissionHouse(store, sign_in, outside, hosted, LIMITS, now, readers)
    begin = partial(
        serve,
        hostname=hosted.hostname,
        home=parse_domain(config.domains[0].name),
        limits=LIMITS,
        clock=now,
        metrics=Silence(),
        spool=spool,
    )
    sockets = {"mx": bound(), "submission": bound()}
    made.ports = {key: one.getsockname()[1] for key, one in sockets.items()}
    servers = [
        await begin([sockets["mx"]], mx, lambda: material.mx_server),
        await begin(
            [sockets["submission"]],
            SubmissionDoor(submission, Listener.SUBMISSION),
            lambda: material.client_facing,
        ),
    ]

    async def look_up(domain: str) -> list[tuple[int, str]]:
        return []

    relay = Relay(
        RelayHouse(
            store,
            material,
            lambda: trust,
            3600,
            look_up,
            Plan(config.relay, hosted.hostname, domains),
            LIMITS,
            now,
            Silence(),
            store.name,
            sign=signatures.signer(root).sign if signatures else None,
        )
    )
    task = asyncio.create_task(relay.run())
    try:
        yield made
    finally:
        await relay.stop(grace_s=2)
        await task
        for server in servers:
            await server.close(grace_s=2)
        readers.close()
        spool.close()
        sign_in.close()
        await store.close()


@dataclass
class Signatures:
    """One key for chu.example, and name servers that know it."""

    aside: Aside
    pem: bytes
    record: bytes

    def signer(self, root: Path) -> Signer:
        root.mkdir(exist_ok=True)
        (root / "dkim.pem").write_bytes(self.pem)
        keys = (DkimKeyConfig("chu.example", "s1", Path("dkim.pem")),)
        config = Config(OperatorConfig("x", "mx"), (), dkim=DkimConfig(keys), root=root)
        return Signer(KeyRing(config), self.aside, LIMITS, now)

    def verifier(self, hostname: str) -> Verifier:
        async def look_up(name: str) -> list[bytes]:
            return [self.record] if name == "s1._domainkey.chu.example" else []

        return Verifier(look_up, self.aside, hostname=hostname, patience_s=30)


@dataclass
class Trio:
    """The hospital and the patients' operator, each with somebody at home."""

    chu: Operator
    patient: Operator
    routes: dict[str, str]


@asynccontextmanager
async def trio(tmp_path: Path, pki_world: Pki, signatures: Signatures | None = None) -> AsyncIterator[Trio]:
    trust = trust_list(now(), "chu", "patient")
    routes: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        operators = []
        for name, kind in (("chu", "professional"), ("patient", "patient")):
            made = await stack.enter_async_context(
                operating(name, kind, tmp_path / name, pki_world, trust, routes, signatures)
            )
            routes[f"{name}.example"] = f"127.0.0.1:{made.ports['mx']}"
            operators.append(made)
        chu, patient = operators
        await chu.add_box("a@chu.example", BoxKind.PER)
        await chu.add_account("a@chu.example")
        await patient.add_box(PATIENT, BoxKind.PATIENT)
        yield Trio(chu, patient, routes)


@asynccontextmanager
async def doctor(house: Trio, pki_world: Pki) -> AsyncIterator[Talk]:
    async with connected(house.chu.ports["submission"]) as talk:
        await talk.hello(pki_world.client(None))
        secret = b64encode(f"\0a@chu.example\0{PASSWORD}".encode())
        assert (await talk.say(b"AUTH PLAIN " + secret)).startswith("235")
        yield talk


def letter(to: str, text: str = "Bonjour") -> bytes:
    return f"From: Dr A <a@chu.example>\r\nTo: {to}\r\nSubject: essai\r\n\r\n{text}\r\n".encode()


async def send(talk: Talk, to: str, octets: bytes, parameters: str = "") -> str:
    for line in ("MAIL FROM:<a@chu.example>", f"RCPT TO:<{to}>{parameters}", "DATA"):
        answer = await talk.say(line.encode())
        if answer[:3] not in ("250", "354"):
            return answer
    return await talk.say(octets + b".")


@pytest.mark.slow
async def test_a_doctors_letter_reaches_the_patients_mailbox(tmp_path: Path, pki_world: Pki) -> None:
    async with trio(tmp_path, pki_world) as house, doctor(house, pki_world) as talk:
        assert (await send(talk, PATIENT, letter(PATIENT))).startswith("250 2.0.0 Accepted, receipt ")
        [arrived] = await house.patient.until_letters(PATIENT, 1)
    assert arrived.endswith(b"\r\n\r\nBonjour\r\n")
    assert arrived.startswith(b"Return-Path: <a@chu.example>\r\nReceived: from mx.chu.example ([127.0.0.1])")
    assert arrived.count(b"Received:") == 2
    assert b"Message-ID: <" in arrived


@pytest.mark.slow
async def test_a_letter_is_signed_on_its_way_out_and_verified_on_its_way_in(tmp_path: Path, pki_world: Pki) -> None:
    signatures = Signatures(Aside(patience_s=30), *pair())
    try:
        async with trio(tmp_path, pki_world, signatures) as house, doctor(house, pki_world) as talk:
            for text in ("Bonjour", "x" * 70 + "\r\n" + "é" * 100_000 + "\r\n."):
                octets = letter(PATIENT, text.replace("\r\n.", "\r\n.."))
                assert (await send(talk, PATIENT, octets)).startswith("250")
            arrived = await house.patient.until_letters(PATIENT, 2)
            unknown = f"{STRANGER}@patient.example"
            assert (await send(talk, unknown, letter(unknown))).startswith("250")
            [report] = await house.chu.until_letters("a@chu.example", 1)
    finally:
        signatures.aside.close()
    for octets in arrived:
        assert b"mx.patient.example;\r\n\tdkim=pass header.d=chu.example header.s=s1\r\n" in octets
        assert octets.index(b"Authentication-Results:") < octets.index(b"Received:") < octets.index(b"DKIM-Signature:")
    assert b"DKIM-Signature" not in report, "what comes back is the letter as it was handed in"


@pytest.mark.slow
async def test_a_letter_in_chunks_that_requires_tls_arrives(tmp_path: Path, pki_world: Pki) -> None:
    async with trio(tmp_path, pki_world) as house, doctor(house, pki_world) as talk:
        octets = letter(PATIENT)
        assert (await talk.say(b"MAIL FROM:<a@chu.example> REQUIRETLS")).startswith("250")
        assert (await talk.say(f"RCPT TO:<{PATIENT}>".encode())).startswith("250")
        await talk.send(b"BDAT 9\r\n" + octets[:9] + b"BDAT %d LAST\r\n" % (len(octets) - 9) + octets[9:])
        assert [(await talk.reply())[:3] for _ in range(2)] == ["250", "250"]
        [arrived] = await house.patient.until_letters(PATIENT, 1)
    assert arrived.endswith(b"\r\n\r\nBonjour\r\n")


@pytest.mark.slow
async def test_a_large_letter_and_a_dotted_one_arrive_as_they_were(tmp_path: Path, pki_world: Pki) -> None:
    body = b"".join(b"%06d %s\r\n" % (number, b"x" * 60) for number in range(6000))
    dots = b".\r\n..\r\n...x\r\n"
    async with trio(tmp_path, pki_world) as house, doctor(house, pki_world) as talk:
        for text in (body, dots):
            octets = letter(PATIENT, "").removesuffix(b"\r\n") + text
            assert (await send(talk, PATIENT, octets.replace(b"\r\n.", b"\r\n.."))).startswith("250")
        arrived = await house.patient.until_letters(PATIENT, 2)
    assert {octets.partition(b"\r\n\r\n")[2] for octets in arrived} == {body, dots}


async def test_an_unknown_patient_comes_back_as_a_report(tmp_path: Path, pki_world: Pki) -> None:
    unknown = f"{STRANGER}@patient.example"
    async with trio(tmp_path, pki_world) as house, doctor(house, pki_world) as talk:
        assert (await send(talk, unknown, letter(unknown))).startswith("250")
        [report] = await house.chu.until_letters("a@chu.example", 1)
    assert b"multipart/report" in report
    assert b"Action: failed" in report
    assert b"5.1.1" in report


async def test_a_wish_for_success_is_answered_once(tmp_path: Path, pki_world: Pki) -> None:
    """The next hop speaks DSN: it reports the delivery, and the relay does not."""
    async with trio(tmp_path, pki_world) as house, doctor(house, pki_world) as talk:
        assert (await send(talk, PATIENT, letter(PATIENT), " NOTIFY=SUCCESS")).startswith("250")
        await house.patient.until_letters(PATIENT, 1)
        [report] = await house.chu.until_letters("a@chu.example", 1)
        while (await house.chu.store.read(outbound.summary, now())).oldest_s:
            await asyncio.sleep(0)
        assert len(await house.chu.letters("a@chu.example")) == 1
    assert b"Action: delivered" in report


async def test_a_letter_sent_again_appears_once(tmp_path: Path, pki_world: Pki) -> None:
    octets = b"Message-ID: <same@chu.example>\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\n" + letter(PATIENT)
    async with trio(tmp_path, pki_world) as house:
        receipts = []
        for _ in range(2):
            async with connected(house.patient.ports["mx"]) as talk:
                await talk.hello(pki_world.client("chu"))
                receipts.append(await send(talk, PATIENT, octets))
        assert len(await house.patient.letters(PATIENT)) == 1
    assert receipts[0].startswith("250 2.0.0 Accepted, receipt ")
    assert receipts[0] == receipts[1]


@dataclass
class Cutter:
    """Stands between two operators, and once keeps back what the second says after a letter."""

    port: int
    large_octets: int
    cuts: int = 1
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        there, back = await asyncio.open_connection("127.0.0.1", self.port)
        passed = 0

        async def outwards() -> None:
            nonlocal passed
            while octets := await reader.read(65536):
                passed += len(octets)
                back.write(octets)

        async def inwards() -> None:
            while octets := await there.read(65536):
                if passed > self.large_octets and self.cuts:
                    self.cuts -= 1
                    return
                writer.write(octets)

        tasks = [asyncio.ensure_future(outwards()), asyncio.ensure_future(inwards())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            writer.transport.abort()
            back.transport.abort()


@pytest.mark.slow
async def test_a_letter_whose_receipt_was_lost_is_sent_again_and_appears_once(tmp_path: Path, pki_world: Pki) -> None:
    """The other side has it on disk, and the connection breaks before we read its 250."""
    async with trio(tmp_path, pki_world) as house, doctor(house, pki_world) as talk:
        cutter = Cutter(house.patient.ports["mx"], 50_000)
        async with await asyncio.start_server(cutter.serve, "127.0.0.1", 0) as between:
            house.routes["patient.example"] = f"127.0.0.1:{between.sockets[0].getsockname()[1]}"
            octets = letter(PATIENT, "").removesuffix(b"\r\n") + b"x" * 70 * 1000 + b"\r\n"
            octets = octets.replace(b"x" * 70, b"x" * 70 + b"\r\n")
            assert (await send(talk, PATIENT, octets)).startswith("250")
            async with asyncio.timeout(20):
                while not (entries := await house.chu.store.read(outbound.entries, DELIVERED, 9, now())):
                    await asyncio.sleep(0.05)
        attempts = [attempt.outcome for attempt in entries[0].attempts]
        assert [(one.kind, one.code) for one in attempts] == [(OutcomeKind.TEMPORARY, 0), (OutcomeKind.RELAYED, 250)]
        assert (cutter.cuts, cutter.connections) == (0, 2)
        assert len(await house.patient.letters(PATIENT)) == 1
        records = await house.patient.store.read(lambda uow: uow.journal.newest(9, "letter.accept"))
    assert [one.event.facts["duplicate"] for one in records] == [True, False]


@pytest.mark.slow
async def test_eight_peers_at_once_share_commits_and_lose_nothing(tmp_path: Path, pki_world: Pki) -> None:
    async def peer(number: int) -> None:
        async with connected(house.patient.ports["mx"]) as talk:
            await talk.hello(pki_world.client("chu"))
            for again in range(5):
                octets = f"Message-ID: <{number}.{again}@chu.example>\r\n".encode() + letter(PATIENT)
                assert (await send(talk, PATIENT, octets)).startswith("250")

    async with trio(tmp_path, pki_world) as house:
        before = house.patient.store.commits
        await asyncio.gather(*(peer(number) for number in range(8)))
        commits = house.patient.store.commits - before
        arrived = await house.patient.letters(PATIENT)
    assert len(arrived) == 40
    assert commits <= 40


async def test_the_log_of_a_journey_names_nobody(
    tmp_path: Path, pki_world: Pki, capsys: pytest.CaptureFixture[str]
) -> None:
    unknown = f"{STRANGER}@patient.example"
    async with trio(tmp_path, pki_world) as house, doctor(house, pki_world) as talk:
        for to in (PATIENT, unknown):
            await send(talk, to, letter(to, "SECRET"))
        await house.patient.until_letters(PATIENT, 1)
        await house.chu.until_letters("a@chu.example", 1)
    told = "".join(capsys.readouterr())
    assert "smtp.transaction" in told
    assert "relay.attempt" in told
    for secret in (MATRICULE, STRANGER, "a@chu.example", "SECRET", "essai", "Dr A", "PAT-TROIS"):
        assert secret not in told
