"""What a letter does to a patient's conversation, and whom the patient may answer (MSSANTE.md §4.2; promise 4).

The rules, in order of weight:

- Only a professional opens. A patient reaches nobody but those whom a letter authorises: its sender, or the Reply-To
  boxes that stand for the sender, and the professionals in To and Cc.
- `[FIN]` ends the exchange with its author (and with the author's Reply-To boxes) until they write again. Being named
  in somebody else's To or Cc never re-opens what one has ended.
- `X-MSS-MES: FIN` forbids answering that letter; the newest letter of an author decides for all the author's letters in
  the conversation. It opens nothing and ends nothing.
- Receipts, reports, automatic replies and null senders change nothing at all.
- A Reply-To outside the sending operator's domains is as if it were not there, unless configured; even then it opens
  nothing that was ended. A patient's address is never authorised.
- Profile `thread`: a patient answers inside a thread that a professional opened. Profile `contact`: they may also begin
  one with somebody who wrote and did not end the exchange, and write to a pharmacy of the directory first.

It stores nothing: the caller keeps the letters and the contacts that `opens` returns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from mss.model.account import Box, BoxState
from mss.model.address import Address, Domain
from mss.model.conversation import Contact, ContactState, Direction, Letter, Participant, Role
from mss.policy import rules
from mss.policy.decision import Decision, Rule, accept, reject
from mss.policy.exchange import PATIENT_LETTER_MAX_OCTETS, LetterFacts, is_patient, shown_name


@dataclass(frozen=True, slots=True)
class Opening:
    """What an incoming letter does. `answerable`, `closing`, `authorises` and `sender` are what the stored
    `Letter` holds; `contacts` are the states to write, one for each address that changes or is confirmed.

    The decision's rule is conversation.opened, .reopened, .closed or .kept; it always accepts.
    """

    decision: Decision
    answerable: bool
    closing: bool
    sender: Participant | None
    authorises: tuple[Participant, ...] = ()
    contacts: tuple[tuple[Participant, ContactState], ...] = ()


def opens(letter: LetterFacts, contacts: Iterable[Contact], stand_ins: Iterable[Participant] = ()) -> Opening:
    """Say what a letter for a patient does to the conversation; `contacts` are all that the patient's box has.

    `stand_ins` are the Reply-To boxes that earlier letters of this author named: `[FIN]` ends them with the author.
    """
    states = {contact.address.key: contact.state for contact in contacts}
    author = _author(letter)
    if author is None or letter.automatic or letter.reverse_path is None:
        return Opening(_kept("automatic"), answerable=True, closing=False, sender=author)
    if letter.closing:
        ended = _distinct((author, *_reply_to(letter, author, foreign=False), *stand_ins))
        decision = accept(rules.CONVERSATION_CLOSED, ended=len(ended))
        return Opening(decision, False, True, author, contacts=tuple((one, ContactState.ENDED) for one in ended))
    if not letter.answerable:
        return Opening(_kept("not-answerable"), answerable=False, closing=False, sender=author)
    return _opened(letter, author, states)


def _kept(reason: str) -> Decision:
    return accept(rules.CONVERSATION_KEPT, reason=reason)


def _author(letter: LetterFacts) -> Participant | None:
    """Return the one professional author of a letter to a patient; None when it is no such letter."""
    authors = _distinct(letter.having(Role.SENDER))
    if len(authors) != 1 or is_patient(authors[0].address, letter.patient_domains):
        return None
    author = replace(authors[0], name=shown_name(authors[0].name))
    return author if is_patient(letter.recipient, letter.patient_domains) else None


def _opened(letter: LetterFacts, author: Participant, states: Mapping[str, ContactState]) -> Opening:
    foreign = letter.reply_to_foreign
    voices = _reply_to(letter, author, foreign=foreign) or (author,)
    changes = [(voice, _next_state(letter, author, voice, states)) for voice in voices]
    if not _names(voices, author.address) and states.get(author.address.key) is ContactState.ENDED:
        # The author writes again, but through another box: no longer ended, yet nobody to write to.
        changes.append((author, ContactState.NEVER))
    others = (
        replace(one, name=shown_name(one.name))
        for one in letter.having(Role.TO, Role.CC)
        if not is_patient(one.address, letter.patient_domains)
    )
    authorises = _distinct((*voices, *others))
    decision = accept(_opening_rule(changes, states), authorises=len(authorises), contacts=len(changes))
    return Opening(decision, True, False, author, authorises, tuple(changes))


def _reply_to(letter: LetterFacts, author: Participant, *, foreign: bool) -> tuple[Participant, ...]:
    """Return the Reply-To boxes that stand for the author, under the author's name when they have none."""
    return _distinct(
        replace(one, name=shown_name(one.name) or author.name)
        for one in letter.having(Role.REPLY_TO)
        if not is_patient(one.address, letter.patient_domains)
        and (foreign or one.address.domain in letter.author_domains or one.address.key == author.address.key)
    )


def _next_state(
    letter: LetterFacts, author: Participant, voice: Participant, states: Mapping[str, ContactState]
) -> ContactState:
    own = voice.address.key == author.address.key or voice.address.domain in letter.author_domains
    ended = states.get(voice.address.key) is ContactState.ENDED
    return ContactState.ENDED if ended and not own else ContactState.OPEN


def _opening_rule(changes: list[tuple[Participant, ContactState]], states: Mapping[str, ContactState]) -> Rule:
    moves = [(states.get(one.address.key), after) for one, after in changes]
    before = {old for old, after in moves if old is not after}
    if ContactState.ENDED in before:
        return rules.CONVERSATION_REOPENED
    return rules.CONVERSATION_OPENED if before else rules.CONVERSATION_KEPT


def _distinct(participants: Iterable[Participant]) -> tuple[Participant, ...]:
    """Return the participants without repeating an address, the first mention of each."""
    found: dict[str, Participant] = {}
    for one in participants:
        found.setdefault(one.address.key, one)
    return tuple(found.values())


def _names(participants: Iterable[Participant], address: Address) -> bool:
    return any(one.address.key == address.key for one in participants)


@dataclass(frozen=True, slots=True)
class ReplyFacts:
    """What is known of a patient's answer.

    `letters` are the conversation's, oldest first; none: the patient begins a new one. `contacts` are all that the
    box has. `box_states` gives the state of recipients' boxes that we host, by address key; `opposed` are those that
    take no letters from patients, `pharmacies` the addresses that the directory knows as a pharmacy's.
    """

    box: Box
    letters: tuple[Letter, ...]
    contacts: tuple[Contact, ...]
    patient_domains: frozenset[Domain]
    recipients: tuple[Address, ...] = ()
    profile: Literal["thread", "contact"] = "thread"
    box_states: Mapping[str, BoxState] = field(default_factory=dict)
    opposed: frozenset[str] = frozenset()
    pharmacies: frozenset[str] = frozenset()
    size_octets: int = 0
    size_max_octets: int = PATIENT_LETTER_MAX_OCTETS


def may_reply(facts: ReplyFacts) -> Decision:
    """Say whether a patient's letter may go to all its recipients: one refused recipient refuses the letter."""
    refused = _cannot_send(facts)
    if refused is None and not facts.recipients:
        refused = reject(rules.CONVERSATION_NO_RECIPIENT)
    judged = (may_reach(facts, recipient) for recipient in facts.recipients)
    refused = refused or next((decision for decision in judged if not decision.accepted), None)
    return refused or _may_go(facts)


def may_answer(facts: ReplyFacts) -> Decision:
    """Say, before anything is typed, whether the conversation may be answered at all, and by which rule not."""
    refused = _cannot_send(facts)
    if refused is not None or answerable_to(facts):
        return refused or _may_go(facts)
    newest = next((letter for letter in reversed(facts.letters) if _speaks(letter)), None)
    if newest is None or newest.sender is None:
        return reject(rules.CONVERSATION_NEVER_OPENED, letters=len(facts.letters))
    return may_reach(facts, (*newest.authorises, newest.sender)[0].address)


def answerable_to(facts: ReplyFacts) -> tuple[Participant, ...]:
    """Return those whom an answer may reach now, those of the newest letter first."""
    return tuple(one for one in _candidates(facts) if may_reach(facts, one.address).accepted)


def default_recipients(facts: ReplyFacts) -> tuple[Participant, ...]:
    """Return whom an answer goes to when nothing is chosen: all reachable ones of the newest letter that has any."""
    reachable = answerable_to(facts)
    by_letter = (
        tuple(one for one in reachable if _names(_authorised_by(letter), one.address))
        for letter in reversed(facts.letters)
    )
    return next((some for some in by_letter if some), ())


def _candidates(facts: ReplyFacts) -> tuple[Participant, ...]:
    named = [one for letter in reversed(facts.letters) for one in _authorised_by(letter)]
    if facts.profile == "contact":
        senders = (letter.sender for letter in reversed(facts.letters) if letter.direction is Direction.RECEIVED)
        named += [sender for sender in senders if sender is not None]
        # Whoever a patient wrote to in this conversation may be written to again: a pharmacy that has not answered yet.
        sent = (letter for letter in reversed(facts.letters) if letter.direction is Direction.SENT)
        named += [one for letter in sent for one in letter.authorises]
        if not facts.letters:
            named = [Participant(contact.address, contact.name, Role.SENDER) for contact in facts.contacts]
    return _distinct(named)


_PERMITS: Final = frozenset({rules.CONVERSATION_OPEN, rules.CONVERSATION_CONTACT_OPEN, rules.CONVERSATION_PHARMACY})


def may_reach(facts: ReplyFacts, recipient: Address) -> Decision:
    """Say whether a patient's letter may go to this one recipient."""
    contact = _contact(facts, recipient)
    known = {
        "recipient": recipient.digest,
        "domain": recipient.domain,
        "contact": (contact.state if contact else ContactState.NEVER).value,
        "profile": facts.profile,
        "letters": len(facts.letters),
    }
    if is_patient(recipient, facts.patient_domains):
        return reject(rules.PATIENT_TO_PATIENT, domain=recipient.domain)
    rule = _permission(facts, recipient)
    if rule not in _PERMITS:
        return reject(rule, **known)
    if recipient.key in facts.opposed:
        return reject(rules.BOX_OPPOSED_TO_PATIENTS, **known)
    state = facts.box_states.get(recipient.key, BoxState.OPEN)
    if state not in (BoxState.OPEN, BoxState.UNOPENED):
        return reject(rules.BOX_CLOSED, **known)
    return accept(rule, **known)


def _permission(facts: ReplyFacts, recipient: Address) -> Rule:
    """Return the rule that decides for a recipient: conversation.open, .contact-open or .pharmacy, or why not."""
    own = _silence(facts, recipient)
    if own is not None:
        return own
    naming = [letter for letter in reversed(facts.letters) if _names(_authorised_by(letter), recipient)]
    reasons = [_silence(facts, letter.sender.address) for letter in naming if letter.sender is not None]
    if reasons:
        # One author who still lets it is enough; else the newest author's reason is told.
        return rules.CONVERSATION_OPEN if None in reasons else next(filter(None, reasons))
    contact = _contact(facts, recipient)
    if contact is None or contact.state is not ContactState.OPEN:
        first = facts.profile == "contact" and recipient.key in facts.pharmacies
        return rules.CONVERSATION_PHARMACY if first else rules.CONVERSATION_NEVER_OPENED
    if facts.profile == "contact":
        return rules.CONVERSATION_CONTACT_OPEN
    return rules.CONVERSATION_NEVER_OPENED if facts.letters else rules.CONVERSATION_NEW_THREAD


def _silence(facts: ReplyFacts, author: Address) -> Rule | None:
    """Return why this author's letters in the conversation may not be answered now; None when they may."""
    contact = _contact(facts, author)
    if contact is not None and contact.state is ContactState.ENDED:
        return rules.CONVERSATION_ENDED
    newest = _newest_of(facts.letters, author)
    if newest is None or (newest.answerable and not newest.closing):
        return None
    if not newest.closing:
        return rules.CONVERSATION_NOT_ANSWERABLE
    # A letter elsewhere re-opened the exchange when the contact changed after the closing letter.
    return None if contact is not None and contact.since > newest.at else rules.CONVERSATION_ENDED


def _newest_of(letters: tuple[Letter, ...], author: Address) -> Letter | None:
    mine = (one for one in reversed(letters) if _speaks(one) and one.sender and one.sender.address.key == author.key)
    return next(mine, None)


def _speaks(letter: Letter) -> bool:
    """Say whether a letter has a say in who may answer: receipts and automatic replies have none."""
    told = bool(letter.authorises) or letter.closing or not letter.answerable
    return told and letter.direction is Direction.RECEIVED


def _authorised_by(letter: Letter) -> tuple[Participant, ...]:
    silent = letter.closing or not letter.answerable or letter.direction is not Direction.RECEIVED
    return () if silent else letter.authorises


def _contact(facts: ReplyFacts, address: Address) -> Contact | None:
    return next((contact for contact in facts.contacts if contact.address.key == address.key), None)


def _cannot_send(facts: ReplyFacts) -> Decision | None:
    if not facts.box.receives:
        return reject(rules.BOX_CANNOT_SEND, box=facts.box.id, state=facts.box.state.value)
    size_max = min(facts.size_max_octets, PATIENT_LETTER_MAX_OCTETS)
    if facts.size_octets > size_max:
        return reject(rules.LETTER_TOO_LARGE, size_octets=facts.size_octets, size_max_octets=size_max)
    return None


def _may_go(facts: ReplyFacts) -> Decision:
    rule = rules.CONVERSATION_OPEN if facts.letters else rules.CONVERSATION_CONTACT_OPEN
    return accept(rule, box=facts.box.id, recipients=len(facts.recipients), profile=facts.profile)
