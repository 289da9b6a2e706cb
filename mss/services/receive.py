"""Letters that come in: who they are for, and their acceptance in one unit of work.

`judge` and `accept` take the same decisions: at RCPT on what was read, again in the unit that writes.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from mss.config import PolicyConfig
from mss.dossier import filing
from mss.mail import trace
from mss.model.account import Box, BoxState
from mss.model.address import Address, Domain
from mss.model.audit import AuditEvent
from mss.model.document import Confidentiality
from mss.model.envelope import Envelope, Recipient
from mss.model.filing import FilingVerdict
from mss.policy import exchange, routing, rules
from mss.policy.decision import Decision, reject
from mss.policy.decision import accept as accepted
from mss.services import deliver, deposits, quotas, report
from mss.services.deliver import Incoming
from mss.services.house import Hosted as Hosted
from mss.services.marks import message_mark
from mss.services.reading import Reading
from mss.store import Uow


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a letter came in: the listed peer's name ("peer:<CN>") and all domains its certificate may speak for.

    `known` is `known_by` of the letter's octets as they came, before our own trace fields; without it what is stored
    recognises a copy.
    """

    actor: str
    domains: frozenset[Domain]
    known: bytes = field(default=b"", repr=False)


def known_by(octets: bytes) -> bytes:
    """Return what recognises a letter that comes again; a turn of the store is too short to look through it all."""
    return hashlib.sha256(trace.below_signatures(octets)).digest()


@dataclass(frozen=True, slots=True)
class RecipientOutcome:
    """What became of one recipient."""

    recipient: Recipient
    decision: Decision
    box_id: int | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to an accepted or refused letter; `number` is shown after 250 and found in the journal.

    `duplicate`: for all accepted recipients the same letter from the same operator was here before; nothing was
    delivered twice.
    """

    number: str
    outcomes: tuple[RecipientOutcome, ...]
    duplicate: bool = False

    @property
    def accepted(self) -> bool:
        """Whether at least one recipient was accepted: the answer is 250 then."""
        return any(outcome.decision.accepted for outcome in self.outcomes)


def judge(
    uow: Uow, hosted: Hosted, sender: Address | None, recipient: Address, size_octets: int | None, now: datetime
) -> tuple[Decision, Box | None]:
    """Say at RCPT whether a recipient would be accepted; `size_octets` as declared with SIZE=."""
    enters = routing.may_enter(routing.route_within(recipient, hosted.domains, ()))
    if not enters.accepted:
        return enters, None
    box = uow.accounts.box_by_address(recipient)
    facts = exchange.RecipientFacts(
        recipient=recipient,
        sender=sender,
        patient_domains=hosted.patient_domains,
        box=box,
        size_octets=size_octets,
        size_max_octets=hosted.message_max_octets,
        test_identities=hosted.policy.test_identities,
        has_room=box is None or quotas.has_room(uow, box, 1, size_octets or 0),
    )
    return exchange.may_deliver(facts), box


def filing_of(box: Box, reading: Reading, policy: PolicyConfig) -> FilingVerdict:
    """Compare the letter's documents with the box's patient."""
    if box.ins is None or reading.submission is None:
        return FilingVerdict()
    return filing.match(box.ins, box.traits, reading.submission, test_identities=policy.test_identities)


def judge_content(
    uow: Uow, letter: Incoming, box: Box, verdict: FilingVerdict, hosted: Hosted, now: datetime
) -> Decision:
    """Say after DATA whether one box's copy may be delivered."""
    if verdict.refused:
        return reject(rules.DOCUMENT_OTHER_PATIENT, documents=len(verdict.documents))
    facts = deliver.letter_facts(
        letter,
        box.address,
        hosted.message_max_octets,
        # Asked for the few letters only where it makes a difference.
        represented=_hides_from_representatives(letter.reading) and uow.accounts.is_represented(box.id, now),
        test_identities=hosted.policy.test_identities,
    )
    return exchange.may_contain(facts)


def _hides_from_representatives(reading: Reading) -> bool:
    documents = reading.submission.documents if reading.submission else ()
    return any(Confidentiality.INVISIBLE_REPRESENTATIVES in one.entry.confidentiality for one in documents)


def accept(uow: Uow, hosted: Hosted, origin: Origin, envelope: Envelope, reading: Reading, now: datetime) -> Receipt:
    """Deliver a letter to every acceptable recipient: octets, mailbox rows, conversation, dossier, reports due,
    journal, all in this unit. Idempotent per (origin, Message-ID, digest, recipient)."""
    number = secrets.token_hex(8)
    digest = uow.objects.digest(reading.octets)
    letter = Incoming(
        reading=reading,
        stored=uow.objects.put(reading.octets, now, digest),
        reverse_path=envelope.reverse_path,
        envelope=tuple(recipient.address for recipient in envelope.recipients),
        origin_domains=origin.domains,
        patient_domains=hosted.patient_domains,
        reply_to_foreign=hosted.policy.reply_to_foreign,
        actor=origin.actor,
    )
    known = origin.known or digest
    earlier: dict[str, str] = {}

    def one(recipient: Recipient) -> RecipientOutcome:
        outcome, before = _one(uow, hosted, letter, recipient, known, number, now)
        if before:
            earlier[recipient.address.key] = before
        return outcome

    outcomes = each_once(envelope, one)
    accepted_keys = {outcome.recipient.address.key for outcome in outcomes if outcome.decision.accepted}
    duplicate = bool(accepted_keys) and accepted_keys <= earlier.keys()
    receipt = Receipt(next(iter(earlier.values())) if duplicate else number, outcomes, duplicate)
    journal(uow, receipt, letter, now)
    if receipt.accepted:
        news = [outcome for outcome in outcomes if _is_news(uow, letter, outcome, known, earlier, number, now)]
        report.after_acceptance(uow, hosted.house, envelope, news, reading, now)
    if accepted_keys <= earlier.keys():
        uow.objects.forget(letter.stored)
    return receipt


def each_once(envelope: Envelope, send: Callable[[Recipient], RecipientOutcome]) -> tuple[RecipientOutcome, ...]:
    """Return the outcomes in the envelope's order; each address is served once, in the one order of all letters, so
    that two letters for the same boxes never wait for one another."""
    done: dict[str, RecipientOutcome] = {}
    for recipient in sorted(envelope.recipients, key=lambda recipient: recipient.address.key):
        if recipient.address.key not in done:
            done[recipient.address.key] = send(recipient)
    return tuple(_for(recipient, done[recipient.address.key]) for recipient in envelope.recipients)


def _for(recipient: Recipient, outcome: RecipientOutcome) -> RecipientOutcome:
    return outcome if outcome.recipient is recipient else replace(outcome, recipient=recipient)


def _is_news(
    uow: Uow,
    letter: Incoming,
    outcome: RecipientOutcome,
    digest: bytes,
    earlier: Mapping[str, str],
    number: str,
    now: datetime,
) -> bool:
    """Say whether the sender was not yet told of this outcome, when the same letter was here before."""
    key = outcome.recipient.address.key
    if outcome.decision.accepted:
        return key not in earlier
    return uow.queue.recognise(_mark(uow, b"refusal", letter, digest, key), number, now) is None


def _mark(uow: Uow, what: bytes, letter: Incoming, digest: bytes, key: str) -> bytes:
    """Return what recognises the same letter of the same origin for the same recipient."""
    return uow.sealing.digest(
        what, letter.actor.encode(), letter.reading.message_id.encode(), digest, key.encode("utf-8", "replace")
    )


def _one(
    uow: Uow, hosted: Hosted, letter: Incoming, recipient: Recipient, digest: bytes, number: str, now: datetime
) -> tuple[RecipientOutcome, str]:
    """Deliver to one recipient; returns the outcome and the earlier receipt when the letter was here before."""
    size = len(letter.reading.octets)
    decision, box = judge(uow, hosted, letter.reverse_path, recipient.address, size, now)
    if box is None or not decision.accepted:
        return RecipientOutcome(recipient, decision), ""
    verdict = filing_of(box, letter.reading, hosted.policy)
    content = judge_content(uow, letter, box, verdict, hosted, now)
    if not content.accepted:
        return RecipientOutcome(recipient, content, box.id), ""
    mark = _mark(uow, b"arrival", letter, digest, recipient.address.key)
    earlier = uow.queue.recognise(mark, number, now)
    if earlier is None:
        deliver.deliver(uow, box, letter, verdict, hosted.message_max_octets, now)
        report.about_filing(uow, hosted.house, box, letter, verdict, now)
        if hosted.policy.unopened_notice and box.state is BoxState.UNOPENED:
            report.about_unopened(uow, hosted.house, box, letter, now)
        deposits.prove(uow, hosted.house, box, letter, now)
    return RecipientOutcome(recipient, accepted(rules.BOX_RECEIVES, box=box.id), box.id), earlier or ""


def journal(uow: Uow, receipt: Receipt, letter: Incoming, now: datetime) -> None:
    """Write one record for each recipient: who sent which letter to which box, decided how."""
    mark = message_mark(uow, letter.reading.message_id)
    for outcome in receipt.outcomes:
        decision = outcome.decision
        facts = {
            **decision.facts,
            "letter": letter.stored.id,
            "sender": letter.reverse_path.digest if letter.reverse_path else "",
            "recipient": outcome.recipient.address.digest,
            "duplicate": receipt.duplicate,
            "software": letter.reading.software[:40],
        }
        action = "letter.accept" if decision.accepted else "letter.refuse"
        uow.journal.write(
            AuditEvent(
                letter.actor,
                action,
                f"receipt:{receipt.number}",
                decision.verdict.value,
                decision.rule.name,
                outcome.box_id,
                facts,
                mark,
            ),
            now,
        )


def note_refusal(uow: Uow, actor: str, stage: str, decision: Decision, now: datetime) -> None:
    """Write a refusal into the journal that came before any letter was there (connection, MAIL, RCPT)."""
    verdict, rule = decision.verdict.value, decision.rule.name
    event = AuditEvent(actor, "letter.refuse", f"stage:{stage}", verdict, rule, facts=dict(decision.facts))
    uow.journal.write(event, now)
