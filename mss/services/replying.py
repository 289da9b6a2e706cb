"""What is known of a patient's letter before it is judged: contacts, boxes of ours, pharmacies, who really writes.

It sends nothing and decides nothing: `policy.conversing` judges, `services.submit` sends.
"""

from __future__ import annotations

from datetime import datetime

from mss.model.account import Account, Box, DelegationKind
from mss.model.conversation import Contact, ContactState, Letter
from mss.model.party import Party
from mss.policy import access, conversing
from mss.policy.pharmacies import is_pharmacy as is_pharmacy
from mss.services.house import Hosted
from mss.store import Uow


def reply_facts(
    uow: Uow, hosted: Hosted, box: Box, letters: tuple[Letter, ...], size_octets: int
) -> conversing.ReplyFacts:
    """Return what the policy needs to know of an answer inside a conversation, without recipients yet."""
    contacts = uow.conversations.contacts(box.id)
    named = {one.address.key: one.address for letter in letters for one in letter.authorises}
    by_contact = hosted.policy.profile == "contact"
    if by_contact:
        named |= {one.address.key: one.address for one in contacts}
    hosted_here = (uow.accounts.box_by_address(a) for a in named.values() if a.domain in hosted.domains)
    local = [one for one in hosted_here if one is not None]
    return conversing.ReplyFacts(
        box=box,
        letters=letters,
        contacts=contacts,
        patient_domains=hosted.patient_domains,
        profile=hosted.policy.profile,
        box_states={one.address.key: one.state for one in local},
        opposed=frozenset(one.address.key for one in local if one.patients_opposed),
        pharmacies=_pharmacies(uow, contacts) if by_contact else frozenset(),
        size_octets=size_octets,
        size_max_octets=hosted.message_max_octets,
    )


def _pharmacies(uow: Uow, contacts: tuple[Contact, ...]) -> frozenset[str]:
    """Return the keys of those contacts that the directory knows as a pharmacy now, among those that never wrote."""
    silent = (one.address for one in contacts if one.state is ContactState.NEVER)
    parties = (uow.parties.by_address(address) for address in silent)
    return frozenset(party.address.key for party in parties if party is not None and is_pharmacy(party))


def choose_pharmacy(uow: Uow, hosted: Hosted, account_id: int, box_id: int, party: Party, now: datetime) -> int | None:
    """Give a pharmacy of the directory a number in a box, so that the patient can write to it first; None when that may
    not be."""
    account, box = uow.accounts.by_id(account_id), uow.accounts.box_by_id(box_id)
    if account is None or box is None or hosted.policy.profile != "contact" or not is_pharmacy(party):
        return None
    delegations = uow.accounts.delegations_to(account_id, box_id)
    if not access.may_act(account, delegations, box, access.Action.SEND_LETTERS, now).accepted:
        return None
    if uow.conversations.contact(box_id, party.address) is None:
        uow.conversations.set_contact(box_id, party.address, party.display_name, ContactState.NEVER, now)
    return uow.conversations.contact_number(box_id, party.address)


def signature(uow: Uow, account: Account, box: Box) -> str:
    """Return what is written below a caregiver's message (MSSANTE.md §4.5); professionals read it, in French."""
    kinds = {right.kind for right in uow.accounts.delegations_to(account.id, box.id)}
    if DelegationKind.CAREGIVER not in kinds:
        return ""
    return f"\n\nCe message a été rédigé par {account.display_name}, l’aidant de {box.display_name}."
