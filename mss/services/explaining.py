"""The decisions that a letter or a document meets, asked one after another on the real store. It changes nothing.

A letter is made of the few words that are given and read as any other; the same rules judge it as in the doors. Of a
letter that came, the journal tells what was decided.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from mss.config import Config
from mss.errors import Malformed
from mss.model.account import Box
from mss.model.address import Address, Domain, parse_domain
from mss.model.audit import AuditRecord
from mss.model.conversation import Letter
from mss.model.party import BoxKind
from mss.model.peer import DN, Peer, TrustList
from mss.model.rights import Purpose
from mss.policy import admission, conversing, exchange, routing, rules
from mss.policy.decision import Decision, Verdict, reject
from mss.policy.routing import reachable_domains
from mss.policy.rules import RULES
from mss.services import deliver, operators, receive, replying, rights, submit
from mss.services.house import Hosted, hosted
from mss.services.reading import Reading, read_letter
from mss.services.rights import Book
from mss.services.submit import Outside
from mss.store import Uow

_CONVERSATIONS_MAX: Final = 10_000
# Somebody whom no list names.
_STRANGER: Final = DN.of([("CN", "nobody")])

Step = tuple[str, Decision]


@dataclass(frozen=True, slots=True)
class Question:
    """A letter that might be. `sender` may carry a display name; `peer_domain` says whose operator brings it."""

    sender: str
    recipient: str
    subject: str = "Question"
    headers: tuple[str, ...] = ()
    peer_domain: str = ""


def letter_steps(uow: Uow, config: Config, question: Question, now: datetime) -> list[Step]:
    """Return the decisions that a letter would meet, in order; Malformed when the question is none."""
    letter = _reading(question, config)
    if not letter.author or not letter.to:
        raise Malformed("--from and --to need one mail address each")
    peer = parse_domain(question.peer_domain) if question.peer_domain else None
    return _all_steps(uow, config=config, letter=letter, peer=peer, now=now)


def document_steps(
    uow: Uow, book: Book, login: str, box: Address, document_id: int, purpose: Purpose, now: datetime
) -> list[Step]:
    """Return the decision on one document for a professional of ours, on what its patient set."""
    account, patient = uow.accounts.by_login(login), uow.accounts.box_by_address(box)
    one = rights.professional_of(uow, account.id, now) if account is not None else None
    if one is None or patient is None:
        raise Malformed("there is no such professional account, or no such patient's box")
    decision, _ = rights.judge(uow, book, one, patient.id, document_id, purpose, now)
    return [("document", decision)]


def letter_told(uow: Uow, number: str) -> list[Step]:
    """Return what was decided of a letter that came, by the number on its receipt."""
    return [
        (record.event.action, Decision(Verdict(record.event.decision), RULES[record.event.rule], _facts(record)))
        for record in uow.journal.of_receipt(number)
        if record.event.rule in RULES and record.event.decision in set(Verdict)
    ]


def _facts(record: AuditRecord) -> dict[str, str | int | bool]:
    return {name: value for name, value in record.event.facts.items() if value is not None and value != ""}


def _reading(question: Question, config: Config) -> Reading:
    """Read the letter as a door would."""
    sender = question.sender if "<" in question.sender else f'"Somebody" <{question.sender}>'
    fields = [f"From: {sender}", f"To: {question.recipient}", f"Subject: {question.subject}", *question.headers]
    if any(not field.isprintable() or ":" not in field for field in fields):
        raise Malformed("a header is one line, such as “X-MSS-MES: FIN”")
    octets = "".join(f"{field}\r\n" for field in fields).encode() + b"\r\n"
    return read_letter(octets, config.limits, documents=False)


@dataclass(frozen=True, slots=True)
class _Case:
    config: Config
    hosted: Hosted
    trust_list: TrustList | None
    letter: Reading
    sender: Address
    recipient: Address
    now: datetime

    @property
    def size_octets(self) -> int:
        return len(self.letter.octets)


def _all_steps(uow: Uow, *, config: Config, letter: Reading, peer: Domain | None, now: datetime) -> list[Step]:
    sender, recipient = letter.author[0].address, letter.to[0].address
    case = _Case(config, hosted(config), operators.trust_list(uow, now), letter, sender, recipient, now)
    ours = peer is None and sender.domain in case.hosted.domains
    way = list(_from_us(uow, case) if ours else _from_outside(uow, case, peer or sender.domain))
    return [*way, *_content(uow, case, ours)]


def _from_outside(uow: Uow, case: _Case, domain: Domain) -> Iterator[Step]:
    peer = _peer(case.trust_list, domain)
    max_age_s = case.config.trust_list.max_age_s
    yield f"operator of {domain}", admission.admit(peer, case.trust_list, now=case.now, max_age_s=max_age_s)
    if case.trust_list is not None:
        yield "sender", admission.may_speak_for(peer, case.trust_list, case.sender)
        author = [one.address for one in case.letter.author]
        yield "author", admission.may_author(peer, case.trust_list, author, reverse_path=case.sender)
    yield "route", routing.may_enter(_route(case))
    yield "recipient", receive.judge(uow, case.hosted, case.sender, case.recipient, case.size_octets, case.now)[0]


def _peer(trust_list: TrustList | None, domain: Domain) -> Peer:
    """Return the operator that is listed for a domain, its certificate taken to be good; a stranger without one."""
    listed = sorted(trust_list.subjects_of(domain), key=str) if trust_list else []
    return Peer((listed or [_STRANGER])[0], str(domain), "none", "", "good")


def _route(case: _Case) -> routing.Route:
    return routing.route(case.recipient, case.hosted.domains, case.trust_list, case.config.relay.routes)


def _from_us(uow: Uow, case: _Case) -> Iterator[Step]:
    box = uow.accounts.box_by_address(case.sender)
    if box is None or not box.receives:
        rule = rules.RECIPIENT_UNKNOWN if box is None else rules.BOX_CANNOT_SEND
        yield "sender's box", reject(rule, domain=case.sender.domain)
        return
    if box.kind is BoxKind.PATIENT:
        yield "conversation", _may_reply(uow, case, box)
    else:
        yield "sender", admission.sender_may_use([box.address], case.sender)
    yield "route", _route(case).decision
    beyond = Outside(reachable_domains(case.trust_list, case.config.relay.routes), case.config.relay.expire_s)
    yield (
        "recipient",
        submit.judge(uow, case.hosted, beyond, case.sender, case.recipient, case.size_octets, case.now),
    )


def _may_reply(uow: Uow, case: _Case, box: Box) -> Decision:
    letters = _letters_with(uow, box, case.recipient)
    facts = replying.reply_facts(uow, case.hosted, box, letters, case.size_octets)
    return conversing.may_reply(replace(facts, recipients=(case.recipient,)))


def _letters_with(uow: Uow, box: Box, recipient: Address) -> tuple[Letter, ...]:
    """Return the letters of the newest conversation in which the recipient stands; none without."""
    for conversation in uow.conversations.list(box.id, 0, _CONVERSATIONS_MAX):
        letters = uow.conversations.letters_of(box.id, conversation.id)
        people = {one.address.key for letter in letters for one in letter.authorises}
        people |= {letter.sender.address.key for letter in letters if letter.sender is not None}
        if recipient.key in people:
            return letters
    return ()


def _content(uow: Uow, case: _Case, ours: bool) -> Iterator[Step]:
    letter = case.letter
    own = frozenset({case.sender.domain})
    facts = exchange.LetterFacts(
        recipient=case.recipient,
        reverse_path=case.sender,
        participants=deliver.participants(letter),
        envelope=(case.recipient,),
        patient_domains=case.hosted.patient_domains,
        author_domains=own if ours else _domains_of(case),
        automatic=letter.automatic,
        closing=letter.closing,
        answerable=letter.answerable,
        size_octets=case.size_octets,
        size_max_octets=case.hosted.message_max_octets,
        reply_to_foreign=case.hosted.policy.reply_to_foreign,
    )
    yield "content", exchange.may_contain(facts)
    box = uow.accounts.box_by_address(case.recipient)
    if box is not None and box.kind is BoxKind.PATIENT:
        yield "what it does to the exchange", conversing.opens(facts, uow.conversations.contacts(box.id)).decision


def _domains_of(case: _Case) -> frozenset[Domain]:
    if case.trust_list is None:
        return frozenset()
    return case.trust_list.domains_of(_peer(case.trust_list, case.sender.domain).subject)
