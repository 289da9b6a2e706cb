"""What a patient sets about the dossier, and sees of it: blocks, care team, consents, masks, switches, notices (§4.7).

What it means for a professional is in `services.rights`.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from mss.model.audit import AuditEvent
from mss.model.party import BoxKind, Party
from mss.model.rights import Grant, Grantee, GrantKind, PatientNotice, Rights, Switch
from mss.policy import access, rules
from mss.policy.access import Action
from mss.policy.decision import Decision, reject
from mss.services import operators
from mss.services.accesses import may, reader
from mss.services.operators import DirectoryQuery
from mss.services.rights import Book, rights_of
from mss.store import Uow
from mss.store.rights import Settings

_NOTICES_SHOWN_MAX: Final = 50


# -- what the patient sets -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wish:
    """A block, a place in the care team or a consent that a patient wants; `categories` empty: the whole dossier."""

    kind: GrantKind
    grantee: Grantee
    categories: frozenset[str] = frozenset()
    ends_at: datetime | None = None


def set_grant(uow: Uow, book: Book, account_id: int, box_id: int, wish: Wish, now: datetime) -> Decision:
    """Block a professional, or let them read. What a representative lets ends when the child is of age; a block takes
    back what the same professional was allowed."""
    box = uow.accounts.box_by_id(box_id)
    decision = may(uow, account_id, box, Action.MANAGE_RIGHTS, now)
    if box is None or not decision.accepted:
        return decision
    known = uow.rights.grants(box_id)
    replaced = [grant for grant in known if grant.grantee == wish.grantee]
    if sum(grant.holds(now) for grant in known if grant not in replaced) >= book.grants_max:
        return reject(rules.RIGHTS_TOO_MANY, box=box_id, grants=len(known))
    for grant in replaced:
        uow.rights.revoke(box_id, grant.id)
    ends = [wish.ends_at] if wish.ends_at is not None else []
    ends += [now + book.consent_for] if wish.kind is GrantKind.EACH_TIME else []
    majority = access.of_age_at(box.traits)
    if wish.kind is not GrantKind.BLOCK and majority is not None and now < majority:
        ends.append(majority)
    end = min(ends, default=None)
    made = Grant(0, wish.kind, wish.grantee, now, end, wish.categories, account_id)
    number = uow.rights.grant(box_id, made)
    facts: dict[str, str | int | bool | None] = {"grant": number, "kind": wish.kind.value}
    _note_change(uow, account_id, box_id, "rights.grant", f"grant:{number}", facts, now)
    return decision


def withdraw(uow: Uow, account_id: int, box_id: int, grant_id: int, now: datetime) -> Decision:
    """Take a block or a consent back; one that is gone already changes nothing."""
    decision = may(uow, account_id, uow.accounts.box_by_id(box_id), Action.MANAGE_RIGHTS, now)
    if decision.accepted and uow.rights.revoke(box_id, grant_id):
        _note_change(uow, account_id, box_id, "rights.withdraw", f"grant:{grant_id}", {}, now)
    return decision


@dataclass(frozen=True, slots=True)
class Choices:
    """What a patient chooses for the whole dossier."""

    permits: frozenset[Switch]
    default_mask: bool
    notify: bool


def choose(uow: Uow, account_id: int, box_id: int, choices: Choices, now: datetime) -> Decision:
    """Set the emergency switches, the mask of new documents, and whether the patient is told outside the webmail. What
    is chosen for a child is asked again at majority."""
    box = uow.accounts.box_by_id(box_id)
    decision = may(uow, account_id, box, Action.MANAGE_RIGHTS, now)
    if box is not None and decision.accepted:
        majority = access.of_age_at(box.traits)
        end = majority if majority is not None and now < majority else None
        uow.rights.choose(box_id, Settings(choices.permits, choices.default_mask, choices.notify, end))
        facts: dict[str, str | int | bool | None] = {
            "permits": " ".join(sorted(choices.permits)),
            "default_mask": choices.default_mask,
            "notify": choices.notify,
        }
        _note_change(uow, account_id, box_id, "rights.choose", f"box:{box_id}", facts, now)
    return decision


def mask(uow: Uow, account_id: int, box_id: int, document_id: int, masked: bool, now: datetime) -> Decision:
    """Mask a document from professionals, or show it again."""
    decision = may(uow, account_id, uow.accounts.box_by_id(box_id), Action.CHANGE_CONFIDENTIALITY, now)
    if decision.accepted and uow.dossiers.mask(box_id, document_id, masked, secrets.token_hex(16)):
        action = "document.mask" if masked else "document.unmask"
        _note_change(uow, account_id, box_id, action, f"document:{document_id}", {}, now)
    return decision


def _note_change(
    uow: Uow,
    account_id: int,
    box_id: int,
    action: str,
    target: str,
    facts: dict[str, str | int | bool | None],
    now: datetime,
) -> None:
    uow.journal.write(AuditEvent(f"account:{account_id}", action, target, "", "", box_id, facts), now)


def grantee_of(party: Party) -> Grantee:
    """Return an entry of the directory as somebody whom a patient names: a person, or the whole organisation."""
    if party.kind is BoxKind.PER:
        return Grantee(party.display_name, 0, party.person_id, party.structure_id, party.address.key)
    return Grantee(party.display_name, 0, "", party.structure_id, "" if party.structure_id else party.address.key)


# -- what the patient sees -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RightsPage:
    """What a patient set, and the professionals who wrote, by the numbers that stand for their addresses; `asks_again`:
    the patient came of age, and has not said yet what representatives said before."""

    rights: Rights
    known: tuple[tuple[int, str], ...]
    asks_again: bool = False


def page(uow: Uow, book: Book, account_id: int, box_id: int, now: datetime) -> RightsPage | None:
    """Return what a patient set for others; None when the account may not govern it."""
    box = uow.accounts.box_by_id(box_id)
    if box is None or not may(uow, account_id, box, Action.MANAGE_RIGHTS, now).accepted:
        return None
    contacts = uow.conversations.contacts(box_id)
    numbers = ((uow.conversations.contact_number(box_id, one.address), one.name) for one in contacts if one.name)
    known = tuple((number, name) for number, name in numbers if number is not None)
    rights, chosen = rights_of(uow, book, box_id, now), uow.rights.settings(box_id)
    answered = chosen.permits is not None and chosen.ends_at is None
    ends = (chosen.ends_at, *(one.ends_at for one in rights.grants))
    again = access.asks_again(box.traits, ends, answered, now)
    return RightsPage(replace(rights, grants=tuple(one for one in rights.grants if one.holds(now))), known, again)


def contact_named(uow: Uow, box_id: int, number: int) -> Grantee | None:
    """Return a professional who wrote, by the number in the patient's pages, as somebody to name."""
    contact = uow.conversations.contact_by_number(box_id, number)
    if contact is None:
        return None
    party = uow.parties.by_address(contact.address)
    named = grantee_of(party) if party is not None else Grantee("", address_key=contact.address.key)
    return replace(named, name=contact.name or named.name)


def marked(uow: Uow, box_id: int, query: DirectoryQuery, limit: int, now: datetime) -> tuple[tuple[str, Party], ...]:
    """Search the directory; each entry with a mark that stands for its address in this patient's pages."""
    return tuple((_mark(uow, box_id, party), party) for party in operators.search(uow, query, limit, now))


def picked(uow: Uow, box_id: int, query: DirectoryQuery, mark: str, limit: int, now: datetime) -> Party | None:
    """Return the entry of a search that a mark stands for."""
    return next((party for found, party in marked(uow, box_id, query, limit, now) if found == mark), None)


def _mark(uow: Uow, box_id: int, party: Party) -> str:
    return uow.sealing.digest(b"directory mark", b"%d" % box_id, party.address.key.encode())[:12].hex()


def notices(uow: Uow, account_id: int, box_id: int, now: datetime) -> tuple[PatientNotice, ...]:
    """Return the newest notices of a box, for those who may read who saw what."""
    allowed = may(uow, account_id, uow.accounts.box_by_id(box_id), Action.READ_JOURNAL, now).accepted
    return uow.rights.notices(box_id, _NOTICES_SHOWN_MAX) if allowed else ()


def see_notices(uow: Uow, account_id: int, box_id: int, now: datetime) -> int:
    """Note that the patient saw the notices (a caregiver's look leaves them new); returns how many were new."""
    own = access.Reader.PATIENT is reader(uow, account_id, box_id, now)
    return uow.rights.see_notices(box_id, now) if own else 0
