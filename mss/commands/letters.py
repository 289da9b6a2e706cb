"""Letters from the command line: the queue, and the structured first letter to a patient."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from mss.clock import Clock
from mss.commands.house import address_of, in_store, outside, read
from mss.config import Config
from mss.errors import Malformed, Misconfigured
from mss.log import redact
from mss.mail.compose import Correspondent
from mss.model.account import Box
from mss.model.address import Address
from mss.model.delivery import DeliveryState
from mss.model.envelope import Envelope, Recipient
from mss.model.ins import parse_matricule
from mss.model.party import BoxKind
from mss.services import accounts, operators, outbound, submit, welcome
from mss.services.house import hosted
from mss.services.outbound import QueueEntry, QueueSummary
from mss.services.reading import read_letter
from mss.services.receive import Receipt
from mss.services.welcome import Welcome
from mss.store import Store, Uow

WAITING = frozenset({DeliveryState.DUE, DeliveryState.HELD})


def queue(
    config: Config, clock: Clock, states: frozenset[DeliveryState], limit: int
) -> tuple[tuple[QueueEntry, ...], QueueSummary]:
    """Return deliveries in some states, oldest first, and the queue's figures."""
    now = clock()
    return read(config, lambda uow: (outbound.entries(uow, states, limit, now), outbound.summary(uow, now)))


def last_word(entry: QueueEntry, *, addresses: bool) -> str:
    """Return what the last attempt came to; what a peer said may name people, so it is masked unless asked for."""
    outcome = entry.attempts[-1].outcome if entry.attempts else None
    if outcome is None:
        return "not tried yet"
    text = outcome.text if addresses else redact(outcome.text)
    return " ".join(filter(None, (outcome.kind.value, str(outcome.code), outcome.enhanced, text)))


@dataclass(frozen=True, slots=True)
class WelcomeOrder:
    """A structured letter to write: `sender` is a box of ours, `to` a matricule or a patient's address."""

    sender: str
    to: str
    documents: tuple[Path, ...]
    twins: tuple[Path, ...] = ()
    text: str = ""
    reply_to: str = ""
    answerable: bool = True
    software: str = ""


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a structured letter; `unreadable` counts documents without a PDF that a patient can read."""

    receipt: Receipt
    unreadable: int


def send_welcome(config: Config, clock: Clock, order: WelcomeOrder) -> Sent:
    """Compose the letter and hand it to the queue or to our own box, as a submitted one."""
    sender, to = address_of(order.sender, "--from"), _patient(config, order.to)
    files = tuple(map(_octets, order.documents)), tuple(map(_octets, order.twins))
    reply_to = (Correspondent(address_of(order.reply_to, "--reply-to")),) if order.reply_to else ()

    async def work(store: Store) -> Sent:
        account_id, box = await store.read(partial(_sender, sender=sender, now=clock()))
        wish = Welcome(
            sender=Correspondent(box.address, box.display_name),
            to=to,
            documents=files[0],
            twins=files[1],
            unique=secrets.token_hex(16),
            text=order.text,
            reply_to=tuple(Correspondent(one.address, box.display_name) for one in reply_to),
            answerable=order.answerable,
            software=order.software,
        )
        now = clock()
        letter = read_letter(welcome.compose_welcome(wish, config.limits, now), config.limits, documents=True)
        beyond = outside(config, await store.read(operators.trust_list, now))
        envelope = Envelope(box.address, (Recipient(to),))
        receipt = await store.write(submit.accept, hosted(config), beyond, account_id, envelope, letter, now)
        documents = letter.submission.documents if letter.submission else ()
        return Sent(receipt, sum(one.companion_pdf is None for one in documents))

    return in_store(config, work)


def _patient(config: Config, text: str) -> Address:
    """Return the address of a patient: a bare matricule lives in our patient domain, else in the only other one."""
    if "@" in text:
        return address_of(text, "--to")
    ours = [domain.name for domain in config.domains if domain.kind == "patient"]
    domains = ours or list(config.policy.patient_domains)
    if len(domains) != 1:
        raise Malformed("write the patient's whole address: there are several patient domains")
    return address_of(f"{parse_matricule(text)}@{domains[0]}", "--to")


def _octets(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Misconfigured(f"cannot read {path}: {error.strerror}") from error


def _sender(uow: Uow, *, sender: Address, now: datetime) -> tuple[int, Box]:
    """Return the sending box and an account that acts for it."""
    for account, boxes in accounts.accounts(uow, now):
        for access in boxes:
            if access.box.address.key == sender.key and access.box.kind is not BoxKind.PATIENT:
                return account.id, access.box
    raise Malformed("--from must be a professional box of ours that somebody may act for: see mss account list")
