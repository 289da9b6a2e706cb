"""One operator alone, served by a real process, whose peers the tests play: listed certificates, letters, mailboxes."""

from __future__ import annotations

import imaplib
import os
import secrets
import signal
import smtplib
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, cast

from demo.clients import Login, context
from demo.house import HOSPITAL, PATIENTS, REGION, Operator
from demo.letters import OTHER, OTHER_TRAITS, SAMPLE, SAMPLE_TRAITS
from mss import instance, pki
from mss.clock import system_clock
from mss.directory import trustlist
from mss.directory.refresh import read_trust_list
from mss.model.account import AccountKind, BoxState, Delegation, DelegationKind
from mss.model.address import Address, parse_domain
from mss.model.ins import INS, Traits
from mss.model.party import BoxKind
from mss.model.peer import DN, TrustList
from mss.passwords import hash_password
from mss.services import accounts
from mss.store.store import Store, upgrade
from tests.journeys.logs import Log
from tests.support.ports import free_base

PATIENCE_S: Final = 30.0
OTHER_OPERATOR: Final = "autre-demo.mssante.fr"
BOX: Final = f"accueil@{HOSPITAL}"
DOCTOR: Final = f"camille.durand@{REGION}"
PATIENT: Final = f"{SAMPLE.matricule}@{PATIENTS}"
# It stands in every letter that the tests make, in subject and text: it must be found nowhere but in a mailbox.
SECRET: Final = "Colchicine-Zanzibar"

# What this process of tests said to servers so far: subjects, texts, addresses; and the passwords that it used.
SPOKEN: Final[set[str]] = set()
PASSWORDS: Final[set[str]] = set()
# What is shorter stands in a log by chance.
_TELLING_CHARACTERS: Final = 6

Certificate = tuple[Path, Path]


@dataclass(slots=True)
class Site:
    """The operator, its authority, the certificates of its listed peers, and who may sign in."""

    folder: Path
    authority: pki.Authority
    operator: Operator
    peers: dict[str, Certificate]
    login: Login = field(default_factory=lambda: Login(BOX, secrets.token_urlsafe(12)))
    patient: Login = field(default_factory=lambda: Login("dominique", secrets.token_urlsafe(12)))

    @property
    def ca_file(self) -> Path:
        """What clients trust."""
        return self.authority.ca_file

    def start(self, *, workers: int = 1, under: Sequence[str] = ()) -> None:
        """Start the server, perhaps under another program, and wait until it is ready."""
        self.operator.start(workers=workers, under=under)
        self.operator.wait_until_ready()

    def kill(self) -> None:
        """End the server and its workers as a power cut of the machine would: no word, no warning."""
        process = self.operator.process
        assert process is not None
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE_S)

    def set(self, line: str, other: str) -> None:
        """Replace a line of the settings."""
        text = self.operator.config_file.read_text(encoding="utf-8")
        assert text.count(line) == 1, line
        self.operator.config_file.write_text(text.replace(line, other), encoding="utf-8")

    def list_peers(self, subjects: dict[str, DN] | None = None) -> None:
        """Put a trust list in place that names the operator and its peers, and make it the current one."""
        named = subjects or {domain: instance.subject_of(chain) for domain, (chain, _) in self.peers.items()}
        domains = {parse_domain(domain): frozenset({subject}) for domain, subject in named.items()}
        for domain in (HOSPITAL, PATIENTS):
            domains[parse_domain(domain)] = frozenset({self.operator.subject})
        now = system_clock()
        path = self.trust_list_file
        fresh = path.with_suffix(".new")
        fresh.write_bytes(trustlist.render(TrustList(now - timedelta(minutes=1), domains, now)))
        fresh.replace(path)

        async def read(store: Store) -> str:
            return (await read_trust_list(store, self.operator.config, system_clock, path)).reason

        assert self.operator.with_store(read) == ""

    @property
    def trust_list_file(self) -> Path:
        """Where the trust list is read from."""
        file = self.operator.config.trust_list.file
        assert file is not None
        return self.operator.config.path(file)

    @property
    def log(self) -> Log:
        """What the server has logged so far."""
        return Log(self.operator.folder / "server.log")

    def until_logged(self, event: str, *, since: int = 0, **fields: object) -> dict[str, Any]:
        """Wait for a line of the log, past the first `since` lines, and return it."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if found := self.log.events(event, since=since, **fields):
                return found[0]
            time.sleep(0.05)
        raise AssertionError(f"{event} {fields} was not logged within {PATIENCE_S:.0f} s")

    # -- playing a peer --------------------------------------------------------------------------------------------

    @contextmanager
    def as_peer(self, domain: str = REGION, *, timeout_s: float = PATIENCE_S) -> Iterator[smtplib.SMTP]:
        """Connect to the MX as a listed operator, through mutual TLS."""
        tls = context(self.ca_file)
        tls.load_cert_chain(*self.peers[domain])
        with smtplib.SMTP("localhost", self.operator.port("mx"), f"mx.{domain}", timeout_s) as client:
            client.starttls(context=tls)
            client.ehlo()
            yield client

    def deliver(
        self, octets: bytes, *, to: str = BOX, sender: str = DOCTOR, timeout_s: float = PATIENCE_S
    ) -> tuple[int, str]:
        """Bring a letter as a listed operator; returns the first refusal, else the answer to the letter."""
        with self.as_peer(timeout_s=timeout_s) as client:
            return hand_over(client, octets, to=to, sender=sender)

    # -- looking into the mailbox ------------------------------------------------------------------------------------

    @contextmanager
    def mailbox(self, *, implicit_tls: bool = False) -> Iterator[imaplib.IMAP4]:
        """Connect to IMAP and sign in."""
        tls = context(self.ca_file)
        client: imaplib.IMAP4
        if implicit_tls:
            client = imaplib.IMAP4_SSL("localhost", self.port("imaps"), ssl_context=tls, timeout=PATIENCE_S)
        else:
            client = imaplib.IMAP4("localhost", self.port("imap"), timeout=PATIENCE_S)
        try:
            if not implicit_tls:
                client.starttls(ssl_context=tls)
            client.login(self.login.login, self.login.password)
            yield client
            client.logout()
        except BaseException:
            with suppress(OSError):
                client.shutdown()
            raise

    def port(self, door: str) -> int:
        """Return the port of a door."""
        return self.operator.port(door)

    def message_ids(self, mailbox: str = "INBOX") -> Counter[str]:
        """Return how often each Message-ID is in a mailbox."""
        with self.mailbox() as client:
            client.select(mailbox, readonly=True)
            _, parts = client.uid("FETCH", "1:*", "(BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
        heads = (part[1] for part in cast(Any, parts) if isinstance(part, tuple))
        return Counter(head.split(b":", 1)[1].strip().decode() for head in heads if b":" in head)

    def count(self, message_id: str, mailbox: str = "INBOX") -> int:
        """Return how often one letter is in a mailbox."""
        return self.message_ids(mailbox)[message_id]


def hand_over(client: smtplib.SMTP, octets: bytes, *, to: str = BOX, sender: str = DOCTOR) -> tuple[int, str]:
    """Send one letter on an open connection; returns the first refusal, else the answer to the letter."""
    for code, text in (client.mail(sender), client.rcpt(to)):
        if code >= 400:
            client.rset()
            return code, text.decode()
    code, text = client.data(octets)
    return code, text.decode()


def new_id(domain: str = REGION) -> str:
    """Return a Message-ID that no other letter has."""
    return f"<{secrets.token_hex(12)}@{domain}>"


def letter(
    message_id: str,
    *,
    sender: str = DOCTOR,
    to: str = BOX,
    subject: str = "",
    text: str = "",
    head: str = "",
    size_octets: int = 0,
) -> bytes:
    """Make a plain letter whose subject and text hold the secret; filled up to about a size."""
    SPOKEN.update(said for said in (sender, to, subject, *text.splitlines()) if len(said) >= _TELLING_CHARACTERS)
    body = f"Bonjour,\r\n{SECRET}.\r\n{text}\r\n"
    filling = (f"{SECRET} {secrets.token_hex(20)}\r\n" for _ in range(max(0, size_octets - len(body)) // 64))
    lines = (
        f"From: Camille DURAND <{sender}>",
        f"To: Accueil <{to}>",
        f"Subject: {subject or 'Resultats ' + SECRET}",
        f"Date: {system_clock():%a, %d %b %Y %H:%M:%S} +0000",
        f"Message-ID: {message_id}",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
    )
    return ("\r\n".join(lines) + "\r\n" + head + "\r\n" + body + "".join(filling)).encode()


# -- making one ------------------------------------------------------------------------------------------------------


def make_site(folder: Path, store_url: str = "", changes: Mapping[str, str] = MappingProxyType({})) -> Site:
    """Make a hospital that also keeps two patients, and two listed peers; nothing runs yet.

    `store_url` names an empty database; without one the site has a file of its own. `changes` are lines of the settings
    and what stands in their places.
    """
    now = system_clock()
    authority = pki.make_authority(folder / "authority", now=now, name="ESSAI")
    base = free_base()
    operator = Operator("hospital", "Hospital", HOSPITAL, "professional", base, folder / "hospital")
    plan = instance.Plan(
        name="Hospital",
        hostname=f"mx.{HOSPITAL}",
        domains=((HOSPITAL, "professional"), (PATIENTS, "patient")),
        base_port=base,
        authority=authority.directory,
        test_identities=True,
        routes={domain: f"localhost:{base + offset}" for domain, offset in _ROUTES.items()},
    )
    operator.config_file = instance.make(operator.folder, plan, system_clock)
    _never_rest_long(operator)
    peers = {domain: certificate(folder / domain, authority, domain) for domain in _ROUTES}
    site = Site(folder, authority, operator, peers)
    PASSWORDS.update((site.login.password, site.patient.password))
    if store_url:
        site.set('url = "sqlite:///data/store.sqlite"', f'url = "{store_url}"')
    for line, other in changes.items():
        site.set(line, other)
    if store_url:
        upgrade(operator.config)
    site.list_peers()
    operator.with_store(lambda store: _populate(store, site))
    return site


def _never_rest_long(operator: Operator) -> None:
    """Let a destination that nobody reached be tried again soon: a test may find what others tried in vain."""
    text = operator.config_file.read_text(encoding="utf-8")
    rests = "[relay]\nbackoff_first_s = 1\nbackoff_max_s = 2\n\n[relay.routes]\n"
    operator.config_file.write_text(text.replace("[relay.routes]\n", rests), encoding="utf-8")


# Where the peers' own servers would listen, from the operator's base port.
_ROUTES: Final = {REGION: 40, OTHER_OPERATOR: 41}


def route_port(site: Site, domain: str = REGION) -> int:
    """Return the port to which the operator relays the letters for a peer."""
    return site.operator.base_port + _ROUTES[domain]


def certificate(folder: Path, authority: pki.Authority, domain: str) -> Certificate:
    """Issue an operator's certificate."""
    subject = [("C", "FR"), ("ST", "Paris (75)"), ("O", domain.upper()), ("OU", "318"), ("CN", f"mx.{domain}")]
    return pki.issue(folder, authority, subject, [f"mx.{domain}", "localhost"], now=system_clock())


async def _populate(store: Store, site: Site) -> None:
    box = accounts.NewBox(Address.own(BOX), BoxKind.ORG, "Accueil de l'Hôpital")
    await person(store, box, AccountKind.PROFESSIONAL, site.login)
    await person(store, _patient_box(SAMPLE, SAMPLE_TRAITS), AccountKind.PATIENT, site.patient)
    await store.write(accounts.create_box, _patient_box(OTHER, OTHER_TRAITS), "system:journeys", system_clock())


def _patient_box(ins: INS, traits: Traits) -> accounts.NewBox:
    name = f"{traits.first_name.title()} {traits.birth_name}"
    address = Address(ins.matricule, parse_domain(PATIENTS))
    return accounts.NewBox(address, BoxKind.PATIENT, name, BoxState.UNOPENED, ins=ins, traits=traits)


async def person(store: Store, new: accounts.NewBox, kind: AccountKind, login: Login) -> None:
    """Make a box and the account that owns it."""
    now, actor = system_clock(), "system:journeys"
    box = await store.write(accounts.create_box, new, actor, now)
    hashed = hash_password(login.password)
    account = await store.write(accounts.create_account, login.login, kind, new.display_name, hashed, actor, now)
    await store.write(accounts.delegate, Delegation(account.id, box.id, DelegationKind.OWNER), actor, now)


def figures(port: int) -> str:
    """Return what an operator's port, or a balancer's, says of its figures; "" when nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""
