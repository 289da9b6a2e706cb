"""The MX: letters from other operators, over mutual TLS, for our own boxes (RFC 5321; ARCHITECTURE.md, flow 1).

It takes no decision: `policy.admission` judges the peer, `services.receive` the recipients and the letter. It
answers 250 only when the unit that holds the letter is on disk.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, cast

from mss.clock import Clock
from mss.config import Limits
from mss.errors import Malformed, Unavailable
from mss.log import get_logger
from mss.mail import mime, trace
from mss.model.envelope import Envelope, Recipient
from mss.model.peer import Peer, TrustList
from mss.policy import admission, rules
from mss.policy.decision import Decision, reject
from mss.screening import UNSCREENED, Screen
from mss.services import receive
from mss.services.reading import Reading
from mss.services.receive import Hosted, Origin, Receipt
from mss.smtp import reply
from mss.smtp.budgets import Budgets
from mss.smtp.commands import Given
from mss.smtp.readers import Preparation, Readers
from mss.smtp.reply import Reply
from mss.smtp.session import Listener, Session, Transaction
from mss.smtp.signing import Verifier
from mss.store import Store
from mss.tls import TlsMaterial

if TYPE_CHECKING:
    import ssl

_UNVERIFIABLE: Final = Reply(421, "4.7.0", "We cannot verify your certificate now, try again later")
_FAILURES_EVERY: Final = timedelta(minutes=1)
_ADDRESSES_MAX: Final = 1000
# Some 200 µs; longer, others would wait for it.
_HASHED_AT_ONCE_MAX_OCTETS: Final = 256 * 1024
_REASON_MAX: Final = 100

_log = get_logger("smtp")


@dataclass(frozen=True, slots=True)
class MxHouse:
    """What the MX needs. `trust` returns the list in use, at once: whoever builds us keeps it fresh. Without `verifier`
    signatures are not looked at."""

    store: Store
    material: TlsMaterial
    trust: Callable[[], TrustList | None]
    trust_max_age_s: int
    hosted: Hosted
    limits: Limits
    clock: Clock
    readers: Readers
    verifier: Verifier | None = None
    screen: Screen = UNSCREENED


class MxDoor:
    """Judges and takes letters from other operators; shared by all connections."""

    listener = Listener.MX
    mechanisms: tuple[str, ...] = ()

    def __init__(self, house: MxHouse) -> None:
        self._house = house
        self._failures = _News()
        self._excesses = _News()
        self._budgets = Budgets(house.limits)

    async def secured(self, session: Session, end: object) -> Session | Reply:
        """Find out who the peer is; what is wrong with it is said at MAIL, where it can be read."""
        house = self._house
        try:
            peer = await house.material.met(cast("ssl.SSLObject", end), ip=session.ip, now=house.clock())
        except Malformed as error:
            _log.warning("smtp.peer_unreadable", session=session.id, ip=session.ip, reason=str(error))
            return session
        except Unavailable as error:
            _log.error("smtp.peer_unverifiable", session=session.id, ip=session.ip, reason=str(error))
            return _UNVERIFIABLE
        return replace(session, peer=peer)

    async def insecure(self, session: Session, reason: str) -> None:
        """Write a failed handshake into the journal, one a minute for each address: anybody can make them fail."""
        now = self._house.clock()
        if not self._failures.is_news(session.ip, now):
            return
        decision = reject(rules.PEER_TLS_FAILED, ip=session.ip, reason=reason[:_REASON_MAX])
        await self._house.store.write(receive.note_refusal, f"ip:{session.ip}", "tls", decision, now)

    async def sign_in(self, session: Session, mechanism: str, given: Given) -> Session | Reply:
        """Nobody signs in here."""
        return reply.NOT_IMPLEMENTED

    async def mail(self, session: Session, transaction: Transaction) -> Reply:
        """Judge the peer, and whether it may speak for the reverse path."""
        decision, peer = await self._admission(session)
        trust = self._house.trust()
        if decision.accepted and peer and trust:
            decision = admission.may_speak_for(peer, trust, transaction.sender)
        if decision.accepted and peer:
            sender = transaction.sender.key if transaction.sender else None
            excess = self._budgets.letter(peer.subject, sender, transaction.began_at)
            if excess:
                return await self._too_much(session, transaction, "mail", excess)
        return await self._said(session, transaction, "mail", decision, reply.SENDER_OK)

    async def _too_much(self, session: Session, transaction: Transaction, stage: str, excess: Decision) -> Reply:
        """Defer; in the journal once a minute for each peer and rule, for excesses come in crowds."""
        subject = session.peer.subject if session.peer else session.ip
        if self._excesses.is_news(f"{excess.rule.name} {subject}", self._house.clock()):
            return await self._said(session, transaction, stage, excess, reply.TEMPORARY_FAULT)
        transaction.note(excess)
        return reply.of_decision(excess)

    async def _said(
        self, session: Session, transaction: Transaction, stage: str, decision: Decision, yes: Reply
    ) -> Reply:
        """Return what a decision says; a refusal is in the journal before its peer hears it."""
        transaction.note(decision)
        answer = reply.of_decision(decision, yes)
        if not answer.positive:
            actor = f"peer:{session.peer.common_name}" if session.peer else f"ip:{session.ip}"
            await self._house.store.write(receive.note_refusal, actor, stage, decision, self._house.clock())
        return answer

    async def _admission(self, session: Session) -> tuple[Decision, Peer | None]:
        """Judge a peer by what is known now: certificates are revoked and domains lost while connections live."""
        house, now = self._house, self._house.clock()
        peer = await house.material.met_again(session.peer, now) if session.peer else None
        return admission.admit(peer, house.trust(), now=now, max_age_s=house.trust_max_age_s), peer

    async def rcpt(self, session: Session, transaction: Transaction, recipient: Recipient) -> Reply:
        """Judge a recipient on what is stored now; the unit that writes judges again."""
        house, size, now = self._house, transaction.mail.size_octets, self._house.clock()
        subject = session.peer.subject if session.peer else session.ip
        excess = self._budgets.recipient(subject, now)
        if excess:
            return await self._too_much(session, transaction, "rcpt", excess)
        decision, _ = await house.store.glance(
            receive.judge, house.hosted, transaction.sender, recipient.address, size, now
        )
        self._budgets.answered(subject, decision, now)
        return await self._said(session, transaction, "rcpt", decision, reply.RECIPIENT_OK)

    async def data(self, session: Session, transaction: Transaction, octets: bytes) -> Reply:
        """Read the letter, judge its author and what it holds, and store it: the reply is the receipt."""
        decision, peer = await self._admission(session)
        trust = self._house.trust()
        if not decision.accepted or peer is None or trust is None:
            return await self._said(session, transaction, "data", decision, reply.TEMPORARY_FAULT)
        envelope = transaction.envelope()
        letter = await self._read(session, transaction, envelope, octets)
        decision = self._author(peer, trust, letter, envelope)
        if not decision.accepted:
            return await self._said(session, transaction, "data", decision, reply.TEMPORARY_FAULT)
        decision = await self._house.screen.judge(octets)
        if not decision.accepted:
            return await self._said(session, transaction, "data", decision, reply.TEMPORARY_FAULT)
        known = await _known_by(octets)
        origin = Origin(f"peer:{peer.common_name}", trust.domains_of(peer.subject), known)
        house = self._house
        receipt = await house.store.write(receive.accept, house.hosted, origin, envelope, letter, house.clock())
        return answer(transaction, receipt)

    async def unfit(self, session: Session, transaction: Transaction, decision: Decision) -> Reply:
        """Refuse a letter for the form in which it came, and write it down."""
        return await self._said(session, transaction, "data", decision, reply.TEMPORARY_FAULT)

    def _author(self, peer: Peer, trust: TrustList, letter: Reading, envelope: Envelope) -> Decision:
        """Judge the From field, and whether the letter turns in circles."""
        if not mime.header_is_whole(letter.message):
            # A second From behind the limit would be read by mail programs, and by nobody here.
            return reject(rules.LETTER_HEADER_TOO_LARGE, fields=len(letter.message.structure.root.fields))
        if trace.has_loop(letter.message, self._house.hosted.hostname, self._house.limits):
            return reject(rules.LETTER_LOOP, hops=trace.count_received(letter.message))
        authors = [named.address for named in letter.author]
        return admission.may_author(peer, trust, authors, reverse_path=envelope.reverse_path)

    async def _read(self, session: Session, transaction: Transaction, envelope: Envelope, octets: bytes) -> Reading:
        house = self._house
        hop = trace.Hop(
            session.helo,
            session.ip,
            protocol="UTF8SMTPS" if envelope.smtputf8 else "ESMTPS",
            certificate=session.peer.common_name if session.peer else "",
        )
        received = trace.received(hop, by=house.hosted.hostname, queue_id=transaction.id, at=house.clock())
        results = (await house.verifier.results(octets),) if house.verifier else ()
        top = (trace.return_path(envelope.reverse_path), *results, received)
        to_patient = any(house.hosted.domains.get(r.address.domain) == "patient" for r in envelope.recipients)
        return await house.readers.read(
            octets, Preparation(top, authserv_id=house.hosted.hostname), documents=to_patient
        )


class _News:
    """Remembers who was written down lately."""

    def __init__(self) -> None:
        self._last: OrderedDict[str, datetime] = OrderedDict()

    def is_news(self, ip: str, now: datetime) -> bool:
        """Whether nothing was written down about the address for a while; notes that it is now."""
        last = self._last.get(ip)
        if last is not None and (now - last) < _FAILURES_EVERY:
            return False
        self._last[ip] = now
        self._last.move_to_end(ip)
        if len(self._last) > _ADDRESSES_MAX:
            self._last.popitem(last=False)
        return True


async def _known_by(octets: bytes) -> bytes:
    if len(octets) <= _HASHED_AT_ONCE_MAX_OCTETS:
        return receive.known_by(octets)
    return await asyncio.to_thread(receive.known_by, octets)


def answer(transaction: Transaction, receipt: Receipt) -> Reply:
    """Return what a receipt says: 250 when anybody got the letter, else why nobody did."""
    transaction.receipt = receipt.number
    for outcome in receipt.outcomes:
        transaction.note(outcome.decision)
    yes = reply.accepted(receipt.number)
    return yes if receipt.duplicate else reply.of_decisions((one.decision for one in receipt.outcomes), yes)
