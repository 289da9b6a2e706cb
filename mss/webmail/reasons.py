"""Why a patient may not answer, send or file: one sentence for each rule of the policy that a patient can meet.

The policy decides; this only speaks. Sentences are keys of the translations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

from mss.model.document import AttachedDocument
from mss.model.filing import FilingReason
from mss.policy.decision import Decision
from mss.services.filing import ACCEPTABLE, TWIN_ONLY
from mss.services.records import Thread
from mss.web.pages import mark

_ENDED_BY: Final = mark("%(name)s has ended your exchanges.")
_LATER: Final = mark("You can write again when this professional writes to you again.")


@dataclass(frozen=True, slots=True)
class Reason:
    """A headline, and a sentence that says what the patient can do; both to be translated with `name`."""

    headline: str
    advice: str
    name: str = ""


SENTENCES: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "conversation.ended": (mark("The professional has ended your exchanges."), _LATER),
        "conversation.not-answerable": (mark("This message does not allow an answer."), _LATER),
        "conversation.never-opened": (
            mark("You cannot write to this person in this conversation."),
            mark("You can write to professionals who wrote to you first."),
        ),
        "conversation.new-thread": (
            mark("A conversation is always begun by a professional."),
            mark("Answer inside a conversation that a professional began."),
        ),
        "conversation.no-recipient": (mark("Nobody is chosen."), mark("Choose at least one person to write to.")),
        "route.outside": (
            mark("This correspondent can no longer be reached by secure messaging."),
            mark("Contact this professional by other means, for instance by telephone."),
        ),
        "route.no-trust-list": (
            mark("Messages cannot be sent for the moment."),
            mark("Your draft is kept. Try again later."),
        ),
        "box.full": (
            mark("The mailbox of your correspondent is full."),
            mark("Your draft is kept. Try again later."),
        ),
        "box.closed": (
            mark("The mailbox of your correspondent is closed."),
            mark("Contact this professional by other means, for instance by telephone."),
        ),
        "box.cannot-send": (
            mark("This mailbox is closed: it can be read, but no message can be sent from it."),
            mark("Contact the operator to open it again."),
        ),
        "patient.to-patient": (
            mark("Patients cannot write to one another here."),
            mark("You can write to professionals who wrote to you first."),
        ),
        "letter.too-large": (
            mark("Your message is too large to be sent."),
            mark("Remove a file from your draft, then send it again."),
        ),
        "document.invisible-to-patient": (
            mark("This document is not available to you yet."),
            mark("Ask the professional who made it."),
        ),
        "document.invisible-to-representatives": (
            mark("This document is not available to you."),
            mark("Ask the professional who made it."),
        ),
        "attachment.not-fileable": (
            mark("This file cannot be filed: it is too large or of a kind that is not accepted."),
            mark("Keep this file elsewhere."),
        ),
        "document.not-yours": (
            mark("This document cannot be filed: it is damaged, or it does not name you alone."),
            mark("Ask the sender to send it again."),
        ),
        "content.infected": (
            mark("A file was not kept: the antivirus found something harmful in it."),
            mark("Do not open this file, and ask its sender for a clean one."),
        ),
        "content.encrypted": (
            mark("A file was not kept: it is protected by a password and cannot be examined."),
            mark("Send it without a password: messages are encrypted on their way."),
        ),
        "content.unexamined": (
            mark("A file was not kept: it is too complicated to be examined."),
            mark("Send the files one by one, not packed together."),
        ),
        "content.not-scanned": (
            mark("Files cannot be examined for viruses for the moment."),
            mark("Try again later."),
        ),
        "account.disabled": (mark("This account is disabled."), mark("Contact the operator.")),
        "account.web-only": (mark("Patient accounts are for this site only."), mark("Contact the operator.")),
        "access.no-delegation": (
            mark("You may not act for this mailbox."),
            mark("Ask the person whose mailbox it is to invite you."),
        ),
        "access.expired": (
            mark("Your right to act for this mailbox has ended."),
            mark("Ask the person whose mailbox it is to renew it."),
        ),
        "access.wrong-kind": (mark("You may not act for this mailbox."), mark("Contact the operator.")),
        "access.caregiver-restricted": (
            mark("Caregivers may not do this."),
            mark("Ask the person whom you help."),
        ),
        "access.majority": (
            mark("This person is of age: their representatives no longer act for them."),
            mark("They can invite you as a caregiver."),
        ),
        "box.opposed-to-patients": (
            mark("Your correspondent takes no messages from patients."),
            mark("Contact this professional by other means, for instance by telephone."),
        ),
        "invitation.unknown": (
            mark("There is no such invitation, or it was answered or taken back."),
            mark("Ask the person who invited you for another one."),
        ),
        "invitation.expired": (
            mark("This invitation has expired."),
            mark("Ask the person who invited you for another one."),
        ),
        "invitation.own": (
            mark("You act for this mailbox already."),
            mark("The invitation is for somebody else."),
        ),
        "invitation.caregivers-max": (
            mark("A person can have three caregivers at most."),
            mark("Take a right or an invitation back first."),
        ),
        "invitation.representatives-max": (
            mark("A child can have two legal representatives at most."),
            mark("Take a right or an invitation back first."),
        ),
        "invitation.no-child": (
            mark("Only a child has legal representatives."),
            mark("You can invite a caregiver instead."),
        ),
        "rights.too-many": (
            mark("Too many professionals are named."),
            mark("Take some rights back first."),
        ),
        "access.box-closed": (
            mark("This mailbox is closed: it can only be read."),
            mark("Contact the operator to open it again."),
        ),
    }
)


class Remedy(Enum):
    """What a patient can do about a document that did not file itself."""

    ACCEPT = "accept"
    TWIN = "twin"
    ASK = "ask"


@dataclass(frozen=True, slots=True)
class Unfiled:
    """Why a document that came with a letter does not stand among the patient's documents; `ask`: what to ask of the
    sender where the patient cannot file it."""

    why: str
    ask: str


_AGAIN: Final = mark("Ask the sender to send it again with your national health identity.")
UNFILED: Final[Mapping[FilingReason, Unfiled]] = MappingProxyType(
    {
        FilingReason.NO_INS: Unfiled(
            mark("Not added to your documents: it does not carry your national health identity."), _AGAIN
        ),
        FilingReason.TEST_IDENTITY: Unfiled(mark("Not added to your documents: it carries a test identity."), _AGAIN),
        FilingReason.BAD_MATRICULE: Unfiled(
            mark("Not added to your documents: the health identity in it is not valid."), _AGAIN
        ),
        FilingReason.OTHER_PATIENT: Unfiled(
            mark("Not added to your documents: it names another patient."),
            mark("Tell the sender: it seems to be meant for somebody else."),
        ),
        FilingReason.SEVERAL_PATIENTS: Unfiled(
            mark("Not added to your documents: it names several patients."),
            mark("Ask the sender for a document about you alone."),
        ),
        FilingReason.OID_DIFFERS: Unfiled(
            mark("Not added to your documents: the kind of health identity in it is not yours."), _AGAIN
        ),
        FilingReason.TRAITS_INCOMPLETE: Unfiled(
            mark("Not added to your documents: the name or birth date in it is incomplete."), _AGAIN
        ),
        FilingReason.TRAITS_DIFFER: Unfiled(
            mark("Not added to your documents: the name or birth date in it is not yours."), _AGAIN
        ),
        FilingReason.DAMAGED: Unfiled(
            mark("Not added to your documents: it is damaged."), mark("Ask the sender to send it again.")
        ),
    }
)


def remedy(reason: FilingReason, document: AttachedDocument) -> Remedy:
    """Return what the patient can do about a document that was not filed for this reason."""
    if reason in ACCEPTABLE and not document.defect:
        return Remedy.ACCEPT
    return Remedy.TWIN if reason in TWIN_ONLY and document.companion_pdf is not None else Remedy.ASK


_OTHERWISE: Final = (mark("This is not possible for the moment."), mark("Try again later, or contact the operator."))


def why(decision: Decision, name: str = "") -> Reason:
    """Return what to tell a patient of a refusal; `name` is whom it is about, when one person is."""
    headline, advice = SENTENCES.get(decision.rule.name, _OTHERWISE)
    if name and decision.rule.name == "conversation.ended":
        return Reason(_ENDED_BY, advice, name)
    return Reason(headline, advice)


def why_no_answer(thread: Thread) -> Reason | None:
    """Return why a conversation cannot be answered now; None when it can."""
    if not thread.reply.accepted:
        return why(thread.reply, _who_ended(thread))
    if not thread.choices:
        return Reason(*SENTENCES["conversation.not-answerable"])
    return None


def _who_ended(thread: Thread) -> str:
    return next((letter.sender_name for letter in reversed(thread.letters) if letter.closing), "")
