"""Who looked at what of a patient: written into the journal, and shown to the patient (promise 9).

A door reads, then calls `note`, and gives out what it read only once that is on disk. Looking at the same thing again
from the same session within a minute is one access: the door may leave out the second entry. `note` takes the
decision again, in the unit that writes; a refused look is written down with its rule.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Final

from mss.model.account import Box, DelegationKind
from mss.model.audit import AuditEvent, AuditRecord
from mss.model.document import Document
from mss.policy import access, rules
from mss.policy.access import Action, Reader
from mss.policy.decision import Decision, reject
from mss.store import Uow


class Sight(StrEnum):
    """What is looked at; the values are the journal's words."""

    CONVERSATIONS = "conversations.list"
    CONVERSATION = "conversation.read"
    ATTACHMENT = "attachment.read"
    DOCUMENTS = "documents.list"
    DOCUMENT = "document.read"
    ACCESSES = "accesses.read"
    RIGHTS = "rights.read"
    DELEGATIONS = "delegations.read"


_ACTIONS: Final = {
    Sight.CONVERSATIONS: Action.READ_LETTERS,
    Sight.CONVERSATION: Action.READ_LETTERS,
    Sight.ATTACHMENT: Action.READ_LETTERS,
    Sight.DOCUMENTS: Action.READ_DOCUMENTS,
    Sight.DOCUMENT: Action.READ_DOCUMENTS,
    Sight.ACCESSES: Action.READ_JOURNAL,
    Sight.RIGHTS: Action.MANAGE_RIGHTS,
    Sight.DELEGATIONS: Action.MANAGE_DELEGATIONS,
}
_TARGETS: Final = {Sight.CONVERSATION: "conversation", Sight.ATTACHMENT: "letter", Sight.DOCUMENT: "document"}


@dataclass(frozen=True, slots=True)
class Look:
    """One look: at a conversation, a letter's attachment (`part` says which) or a document by its number, or at a
    list of the whole box."""

    sight: Sight
    number: int = 0
    part: str = ""

    def target(self, box_id: int) -> str:
        """Return what the journal calls it."""
        kind = _TARGETS.get(self.sight)
        return f"box:{box_id}" if kind is None else f"{kind}:{self.number}"


def may(uow: Uow, account_id: int, box: Box | None, action: Action, now: datetime) -> Decision:
    """Say whether an account may do something with a box."""
    account = uow.accounts.by_id(account_id)
    if account is None or box is None:
        return reject(rules.ACCESS_NONE)
    return access.may_act(account, uow.accounts.delegations_to(account_id, box.id), box, action, now)


def note(uow: Uow, account_id: int, box_id: int, look: Look, found: bool, now: datetime, letters: int = 0) -> Decision:
    """Write a look down, with the rule that allows or refuses it; `letters` is how many were read for the first time.

    A look that would be allowed at something that is not `found` is no access: nothing is written.
    """
    box = uow.accounts.box_by_id(box_id)
    decision = may(uow, account_id, box, _ACTIONS[look.sight], now)
    facts: dict[str, str | int | bool | None] = {"kind": decision.facts.get("kind")} if decision.accepted else {}
    if decision.accepted and look.sight is Sight.DOCUMENT:
        document = uow.dossiers.get(box_id, look.number)
        decision = decision if document is None else may_see(uow, account_id, document, now)
    if box is None or (decision.accepted and not found):
        return decision
    facts |= {"letters": letters} if letters else {}
    facts |= {"part": look.part} if look.part else {}
    event = AuditEvent(
        f"account:{account_id}",
        look.sight.value,
        look.target(box_id),
        decision.verdict.value,
        decision.rule.name,
        box_id,
        facts,
    )
    uow.journal.write(event, now)
    return decision


# Caregivers see no more than representatives do.
_READERS: Final = {
    DelegationKind.OWNER: Reader.PATIENT,
    DelegationKind.LEGAL_REPRESENTATIVE: Reader.REPRESENTATIVE,
    DelegationKind.CAREGIVER: Reader.REPRESENTATIVE,
}


def reader(uow: Uow, account_id: int, box_id: int, now: datetime) -> Reader | None:
    """Return as whom an account reads a patient's dossier; None when it may not."""
    found = (kind for box, kind in uow.accounts.delegations_of(account_id, now) if box.id == box_id)
    return _READERS.get(next(found, DelegationKind.MEMBER))


def may_see(uow: Uow, account_id: int, document: Document, now: datetime) -> Decision:
    """Say whether a patient's account may see a document: what a professional hid for now stays hidden."""
    who = reader(uow, account_id, document.box_id, now)
    if who is None:
        return reject(rules.ACCESS_NONE)
    return access.may_read_document(access.ReadingFacts(who, document.id, document.entry.confidentiality))


# -- what the patient reads of it ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Access:
    """An entry of the journal as its patient reads it: who it was, by name when it was another person of the box or a
    `professional`, and the title of the document or the subject of the conversation that it was about."""

    record: AuditRecord
    name: str = ""
    title: str = ""
    professional: bool = False


# What professionals do with a dossier.
_DOSSIER: Final = "dossier."
# What only repeats another entry in the words of the store.
_REPEATED: Final = ("conversation.letter", "letter.flags")


def accesses(
    uow: Uow,
    account_id: int,
    box_id: int,
    offset: int,
    limit: int,
    now: datetime,
    *,
    others: bool = False,
    days: Iterable[tuple[str, date]] = (),
) -> tuple[Access, ...]:
    """Return who did what in a box and its dossier, newest first, `others`: without the reader's own doings; none when
    the account may not read it. `days` are (comparison, day in UTC) of when it was."""
    if not may(uow, account_id, uow.accounts.box_by_id(box_id), Action.READ_JOURNAL, now).accepted:
        return ()
    without = f"account:{account_id}" if others else ""
    at = tuple((how, _midnight(day), _midnight(day) + timedelta(days=1)) for how, day in days)
    found = uow.journal.about_box(box_id, limit, offset=offset, except_actions=_REPEATED, except_actor=without, at=at)
    names = _names(uow, account_id, {record.event.actor for record in found})
    targets = {record.event.target for record in found}
    titles = _titles(uow, account_id, box_id, targets, now) | _subjects(uow, account_id, box_id, targets, now)
    return tuple(
        Access(
            record,
            names.get(record.event.actor, ""),
            titles.get(record.event.target, ""),
            record.event.action.startswith(_DOSSIER) and record.event.actor.startswith("account:"),
        )
        for record in found
    )


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _names(uow: Uow, account_id: int, actors: Iterable[str]) -> dict[str, str]:
    known = {actor: uow.accounts.by_id(number) for actor, number in _numbers(actors, "account") if number != account_id}
    return {actor: account.display_name for actor, account in known.items() if account is not None}


def _numbers(names: Iterable[str], kind: str) -> Iterable[tuple[str, int]]:
    """Yield (name, number) of the identifiers of a kind."""
    split = ((name, *name.partition(":")[::2]) for name in names)
    return ((name, int(number)) for name, its_kind, number in split if its_kind == kind and number.isdecimal())


def _titles(uow: Uow, account_id: int, box_id: int, targets: Iterable[str], now: datetime) -> dict[str, str]:
    known = {target: uow.dossiers.get(box_id, number) for target, number in _numbers(targets, "document")}
    return {
        target: document.entry.title or document.entry.type_label
        for target, document in known.items()
        if document is not None and may_see(uow, account_id, document, now).accepted
    }


def _subjects(uow: Uow, account_id: int, box_id: int, targets: Iterable[str], now: datetime) -> dict[str, str]:
    if not may(uow, account_id, uow.accounts.box_by_id(box_id), Action.READ_LETTERS, now).accepted:
        return {}
    within = dict(_numbers(targets, "conversation"))
    letters = {target: uow.conversations.letter(box_id, number) for target, number in _numbers(targets, "letter")}
    within |= {target: letter.conversation_id for target, letter in letters.items() if letter is not None}
    return {target: uow.conversations.subject(box_id, number) for target, number in within.items()}
