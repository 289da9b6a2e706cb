"""Which letters a box takes, and what a letter may contain (MSSANTE.md §2.C, §3.8, §4.1–4.3; promises 4, 6 and 7).

`may_deliver` is asked at RCPT, `may_contain` after DATA, for each recipient; both again in the unit that writes. It
parses nothing: addresses, markers and documents come as facts. Conversations are in `conversing`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mss.errors import Malformed
from mss.model.account import Box, BoxState
from mss.model.address import Address, Domain
from mss.model.conversation import Participant, Role
from mss.model.document import Confidentiality, DocumentEntry
from mss.model.ins import INS_OIDS, TEST_OIDS, parse_matricule
from mss.policy import rules
from mss.policy.decision import Decision, accept, defer, reject

# Mon espace santé takes no more (ENS v1.3 §6), whatever a server is configured to take.
PATIENT_LETTER_MAX_OCTETS: Final = 25 * 1024 * 1024


_REPORTS: Final = frozenset({"multipart/report", "message/disposition-notification", "message/delivery-status"})
_BULK: Final = frozenset({"bulk", "junk", "list"})


def is_automatic(
    content_type: str, auto_submitted: Iterable[str], precedence: Iterable[str] = (), *, is_reply: bool
) -> bool:
    """Say whether no human and no business process wrote the letter to begin something (RFC 3834, 6522).

    Receipts and reports are multipart/report. `auto-generated` alone, or sent in bulk, is an ordinary letter
    (laboratories send their results so), but not when it replies: many absence notices call themselves that.
    `auto_submitted` and `precedence` are the values of all such fields.
    """
    submitted, sent = {_keyword(value) for value in auto_submitted}, {_keyword(value) for value in precedence}
    if content_type.lower() in _REPORTS:
        return True
    if submitted & {"auto-replied", "auto-notified"} or "auto_reply" in sent:
        return True
    return is_reply and bool(submitted - {"", "no"} or sent & _BULK)


def _keyword(value: str) -> str:
    """Return a value in lower case without parameters and comments."""
    return value.replace("(", ";").partition(";")[0].strip().lower()


def is_patient(address: Address, patient_domains: frozenset[Domain]) -> bool:
    """Say whether an address is a patient's; `postmaster` is nobody's patient (RFC 5321 §4.5.1)."""
    return address.domain in patient_domains and address.local.lower() != "postmaster"


@dataclass(frozen=True, slots=True)
class RecipientFacts:
    """What is known at RCPT. `box` is None when there is none, or when the domain is not `hosted` here.

    `sender` None: a report. `size_octets` as declared with SIZE= (None: not declared). `has_room`: the box's quota
    lets the letter in.
    """

    recipient: Address
    sender: Address | None
    patient_domains: frozenset[Domain]
    box: Box | None = None
    hosted: bool = True
    size_octets: int | None = None
    size_max_octets: int = PATIENT_LETTER_MAX_OCTETS
    test_identities: bool = False
    has_room: bool = True


def may_deliver(facts: RecipientFacts) -> Decision:
    """Say whether a letter may be delivered to a recipient; the red list changes nothing."""
    refused = _refused_patient if is_patient(facts.recipient, facts.patient_domains) else _refused_professional
    return refused(facts) or _without_room(facts) or _accepted(facts)


def _without_room(facts: RecipientFacts) -> Decision | None:
    """Defer what a full box cannot hold: its holder may make room before the sender gives up."""
    return None if facts.has_room or facts.box is None else defer(rules.BOX_FULL, box=facts.box.id)


def _accepted(facts: RecipientFacts) -> Decision:
    if facts.box is None:
        return accept(rules.RECIPIENT_RELAYED, domain=facts.recipient.domain)
    unopened = facts.box.state is BoxState.UNOPENED and not facts.box.kind.is_professional
    rule = rules.BOX_UNOPENED if unopened else rules.BOX_RECEIVES
    return accept(rule, box=facts.box.id, kind=facts.box.kind.value, state=facts.box.state.value)


def _refused_patient(facts: RecipientFacts) -> Decision | None:
    domain = facts.recipient.domain
    if not _is_matricule(facts.recipient.local):
        return reject(rules.INS_MALFORMED, domain=domain)
    # Before the look-up's result counts: a patient must not learn who else has a box.
    if facts.sender is not None and is_patient(facts.sender, facts.patient_domains):
        return reject(rules.PATIENT_TO_PATIENT, domain=domain)
    if facts.box is None and facts.hosted:
        return reject(rules.PATIENT_UNKNOWN, domain=domain)
    return (facts.box and _refused_state(facts.box, facts.test_identities)) or _too_large(
        facts.size_octets, min(facts.size_max_octets, PATIENT_LETTER_MAX_OCTETS)
    )


def _is_matricule(local: str) -> bool:
    try:
        parse_matricule(local)
    except Malformed:
        return False
    # The form with spaces is for paper; an address has none.
    return " " not in local


def _refused_state(box: Box, test_identities: bool) -> Decision | None:
    if box.state is BoxState.OPPOSED:
        return reject(rules.PATIENT_OPPOSED, box=box.id)
    if not box.receives:
        return reject(rules.PATIENT_CLOSED, box=box.id)
    if box.ins is not None and box.ins.is_test and not test_identities:
        return reject(rules.INS_TEST_IDENTITY, box=box.id)
    return None


def _refused_professional(facts: RecipientFacts) -> Decision | None:
    if facts.box is None and facts.hosted:
        return reject(rules.RECIPIENT_UNKNOWN, domain=facts.recipient.domain)
    if facts.box is not None and not facts.box.receives:
        return reject(rules.BOX_CLOSED, box=facts.box.id)
    from_patient = facts.sender is not None and is_patient(facts.sender, facts.patient_domains)
    if facts.box is not None and facts.box.patients_opposed and from_patient:
        return reject(rules.BOX_OPPOSED_TO_PATIENTS, box=facts.box.id)
    return _too_large(facts.size_octets, facts.size_max_octets)


def _too_large(size_octets: int | None, size_max_octets: int) -> Decision | None:
    if size_octets is None or size_octets <= size_max_octets:
        return None
    return reject(rules.LETTER_TOO_LARGE, size_octets=size_octets, size_max_octets=size_max_octets)


@dataclass(frozen=True, slots=True)
class LetterFacts:
    """What is known of a letter after DATA, for one recipient's copy of it.

    `participants` are the mailboxes of From (role sender), Reply-To, To and Cc as written; `envelope` all forward
    paths; `author_domains` the domains that the sending operator owns. `represented`: legal representatives read
    the recipient's box. `automatic` is what `is_automatic` said; `closing` and `answerable` are the letter's marks.
    """

    recipient: Address
    reverse_path: Address | None
    participants: tuple[Participant, ...]
    envelope: tuple[Address, ...]
    patient_domains: frozenset[Domain]
    author_domains: frozenset[Domain] = frozenset()
    automatic: bool = False
    closing: bool = False
    answerable: bool = True
    documents: tuple[DocumentEntry, ...] = ()
    size_octets: int = 0
    size_max_octets: int = PATIENT_LETTER_MAX_OCTETS
    represented: bool = False
    reply_to_foreign: bool = False
    test_identities: bool = False

    def having(self, *roles: Role) -> tuple[Participant, ...]:
        """Return the participants that stand in one of these roles, as written."""
        return tuple(one for one in self.participants if one.role in roles)


def may_contain(letter: LetterFacts) -> Decision:
    """Say whether one recipient's copy of a letter may be delivered.

    `letter.several-patients` concerns the whole letter: it comes out for every recipient alike.
    """
    patients = _patients(letter)
    if patients > 1:
        return reject(rules.LETTER_SEVERAL_PATIENTS, patients=patients)
    to_patient = is_patient(letter.recipient, letter.patient_domains)
    size_max = min(letter.size_max_octets, PATIENT_LETTER_MAX_OCTETS) if to_patient else letter.size_max_octets
    refused = _too_large(letter.size_octets, size_max)
    if to_patient:
        refused = refused or _refused_author(letter) or _refused_documents(letter)
    return refused or accept(rules.LETTER_SOUND, patients=patients, documents=len(letter.documents))


def _patients(letter: LetterFacts) -> int:
    """Count the distinct patients that the letter is addressed to, on the envelope or in sight."""
    named = (*letter.envelope, letter.recipient, *(one.address for one in letter.having(Role.TO, Role.CC)))
    return len({address.key for address in named if is_patient(address, letter.patient_domains)})


def _refused_author(letter: LetterFacts) -> Decision | None:
    """Refuse what a patient could not be shown: no author, several, another patient, an address for a name."""
    authors = {one.address.key: one for one in letter.having(Role.SENDER)}
    if any(is_patient(one.address, letter.patient_domains) for one in authors.values()):
        return reject(rules.PATIENT_TO_PATIENT)
    if letter.reverse_path is None:
        # Reports are shown in the house's own words.
        return None
    if len(authors) != 1:
        return reject(rules.AUTHOR_SEVERAL if authors else rules.AUTHOR_MISSING, authors=len(authors))
    author = next(iter(authors.values()))
    return None if shown_name(author.name) else reject(rules.AUTHOR_UNNAMED, domain=author.address.domain)


def shown_name(name: str) -> str:
    """Return what a patient may see of a display name: nothing when it holds an address (promise 5)."""
    return "" if "@" in name or "\uff20" in name else name.strip()


def _refused_documents(letter: LetterFacts) -> Decision | None:
    documents, patient = letter.documents, letter.recipient.local.upper()
    # A test identity is nobody: where none are let through, it is not another patient either (delivered, unfiled).
    authorities = INS_OIDS if letter.test_identities else INS_OIDS - TEST_OIDS
    if documents and all(_names_another(one, patient, authorities) for one in documents):
        return reject(rules.DOCUMENT_OTHER_PATIENT, documents=len(documents))
    if any(Confidentiality.INVISIBLE_PATIENT in document.confidentiality for document in documents):
        return reject(rules.DOCUMENT_INVISIBLE_TO_PATIENT, documents=len(documents))
    hidden = any(Confidentiality.INVISIBLE_REPRESENTATIVES in document.confidentiality for document in documents)
    if letter.represented and hidden:
        return reject(rules.DOCUMENT_INVISIBLE_TO_REPRESENTATIVES, documents=len(documents))
    return None


def _names_another(document: DocumentEntry, patient: str, authorities: frozenset[str]) -> bool:
    """Say whether a document names a valid matricule, and not this patient's under any authority."""
    named = {matricule.replace(" ", "").upper() for matricule, _ in document.patient.identifiers}
    valid = any(oid in authorities and _is_matricule(matricule) for matricule, oid in document.patient.identifiers)
    return valid and patient not in named
