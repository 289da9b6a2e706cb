"""Letters from the command line: the queue, and the structured first letter to a patient."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from mss.clock import Clock
from mss.commands.house import actor, address_of, in_store, outside, read
from mss.commands.words import age
from mss.config import Config
from mss.errors import Malformed, Misconfigured
from mss.log import redact
from mss.mail.compose import Correspondent
from mss.model.account import Box
from mss.model.address import Address, parse_domain
from mss.model.delivery import DeliveryState, Outcome
from mss.model.envelope import Envelope, Recipient
from mss.model.ins import parse_matricule
from mss.model.party import BoxKind
from mss.services import accounts, operators, outbound, postmaster, submit, welcome
from mss.services.house import hosted
from mss.services.outbound import QueueEntry, QueueSummary, Wanted
from mss.services.postmaster import Action, Happening, Result
from mss.services.reading import read_letter
from mss.services.receive import Receipt
from mss.services.welcome import Welcome
from mss.store import Store, Uow

WAITING = frozenset({DeliveryState.DUE, DeliveryState.HELD})


# A write unit lasts 20 ms at most; a letter that is given back costs a report.
_SLICE: Final = {Action.BOUNCE: 8}
_SLICE_USUAL: Final = 100
_READ_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True)
class Filters:
    """Which letters are meant, as somebody typed it; all that is given must fit."""

    ids: tuple[int, ...] = ()
    states: frozenset[DeliveryState] = frozenset()
    to_domain: str = ""
    from_domain: str = ""
    older: str = ""
    younger: str = ""
    message_id: str = ""

    @classmethod
    def of(
        cls, ids: Sequence[int] | None, to_domain: str, from_domain: str, older: str, younger: str, message_id: str
    ) -> Filters:
        """Return what to act on; Malformed when nothing was named, for that would be everything."""
        if not (ids or to_domain or from_domain or older or younger or message_id):
            raise Malformed("say which letters: their numbers, or --to-domain, --from-domain, --older, --message-id")
        states = frozenset[DeliveryState]() if ids else WAITING
        return cls(tuple(ids or ()), states, to_domain, from_domain, older, younger, message_id)

    def wanted(self, now: datetime) -> Wanted:
        """Return what the queue is asked for."""
        return Wanted(
            ids=self.ids,
            states=self.states,
            destination=parse_domain(self.to_domain) if self.to_domain else "",
            sender_domain=parse_domain(self.from_domain) if self.from_domain else "",
            message_id=self.message_id.strip(),
            created_before=now - age(self.older) if self.older else None,
            created_after=now - age(self.younger) if self.younger else None,
        )


def queue(config: Config, clock: Clock, filters: Filters, limit: int) -> tuple[tuple[QueueEntry, ...], QueueSummary]:
    """Return the deliveries that are meant, oldest first, and the queue's figures."""
    now = clock()
    wanted = filters.wanted(now)
    return read(config, lambda uow: (postmaster.find(uow, wanted, limit, now), outbound.summary(uow, now)))


def one(config: Config, clock: Clock, number: int) -> QueueEntry:
    """Return one delivery; Malformed when there is none with that number."""
    found = read(config, lambda uow: postmaster.find(uow, Wanted(ids=(number,)), 1, clock()))
    if not found:
        raise Malformed(f"there is no letter {number} in the queue: see mss queue list")
    return found[0]


def count(config: Config, clock: Clock, filters: Filters) -> int:
    """Return how many deliveries are meant."""
    wanted = filters.wanted(clock())
    return in_store(config, lambda store: _count(store, wanted, clock))


async def _count(store: Store, wanted: Wanted, clock: Clock) -> int:
    return sum([len(some) async for some in _slices(store, wanted, _READ_AT_ONCE, clock)])


async def _slices(store: Store, wanted: Wanted, size: int, clock: Clock) -> AsyncIterator[tuple[int, ...]]:
    """Yield the numbers of the deliveries that are meant, so many at a time."""
    after = 0
    while some := await store.read(postmaster.numbers, replace(wanted, after_id=after), size, clock()):
        yield some
        after = some[-1]


def act(config: Config, clock: Clock, verb: str, filters: Filters) -> tuple[tuple[int, Result], ...]:
    """Do one thing with all deliveries that are meant, in slices; returns what became of each."""
    action, wanted, house = Action(verb), filters.wanted(clock()), hosted(config).house
    size = _SLICE.get(action, _SLICE_USUAL)

    async def work(store: Store) -> tuple[tuple[int, Result], ...]:
        results: dict[int, Result] = {}
        async for some in _slices(store, wanted, size, clock):
            results |= await store.write(postmaster.act, action, some, house, actor(), clock())
        missing = {number: Result.UNKNOWN for number in filters.ids if number not in results}
        return tuple(sorted((results | missing).items()))

    return in_store(config, work)


def trace(config: Config, clock: Clock, message_id: str) -> tuple[Happening, ...]:
    """Return a letter's story."""
    return read(config, lambda uow: postmaster.story(uow, message_id, clock()))


def last_word(entry: QueueEntry, *, addresses: bool) -> str:
    """Return what the last attempt came to; what a peer said may name people, so it is masked unless asked for."""
    return said(entry.attempts[-1].outcome, addresses=addresses) if entry.attempts else "not tried yet"


def said(outcome: Outcome, *, addresses: bool) -> str:
    """Return what an attempt came to, in one line."""
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
