"""Nouns for the tests of the policy: a hospital, a region, a patient operator, and letters between them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from mss.model.account import Box, BoxState
from mss.model.address import Address, Domain
from mss.model.conversation import Contact, ContactState, Direction, Letter, Participant, Role
from mss.model.document import Confidentiality, DocumentEntry, DocumentFormat, PatientIdentity
from mss.model.ins import INS, OID_NIR
from mss.model.party import BoxKind
from mss.model.peer import DN, Peer, TrustList
from mss.policy.conversing import ReplyFacts
from mss.policy.decision import Decision
from mss.policy.exchange import LetterFacts

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MATRICULE, OTHER_MATRICULE, CORSICAN = "279035121518989", "277076322082910", "284052A32102552"

HOSPITAL = Domain("chu.mssante.test")
CLINIC = Domain("clinic.mssante.test")
REGION = Domain("region.mssante.test")
PATIENTS = Domain("patient.mssante.test")
OUTSIDE = Domain("mail.example")
PATIENT_DOMAINS = frozenset({PATIENTS})

HOSPITAL_DN = DN.parse("CN=mx.chu.mssante.test,OU=1630013605,O=CHU,ST=Puy-de-Dôme (63),C=FR")
SECOND_DN = DN.parse("CN=mx2.chu.mssante.test,OU=1630013605,O=CHU,ST=Puy-de-Dôme (63),C=FR")
REGION_DN = DN.parse("CN=mx.region.mssante.test,OU=318310021300028,O=GIP,C=FR")
STRANGER_DN = DN.parse("CN=mx.elsewhere.example,O=Elsewhere,C=FR")

TRUST_LIST = TrustList(
    generated_at=NOW - timedelta(days=1),
    domains={
        HOSPITAL: frozenset({HOSPITAL_DN, SECOND_DN}),
        CLINIC: frozenset({HOSPITAL_DN}),
        REGION: frozenset({REGION_DN}),
    },
    fetched_at=NOW,
    version=7,
)
HOSPITAL_PEER = Peer(HOSPITAL_DN, "mx.chu.mssante.test", "01AB", "127.0.0.1")


def address(text: str) -> Address:
    """Read an address; `dr@chu` is short for the hospital's domain."""
    local, _, domain = text.partition("@")
    full = {"chu": HOSPITAL, "clinic": CLINIC, "region": REGION, "patient": PATIENTS, "out": OUTSIDE}
    return Address(local, full.get(domain, Domain(domain)))


PATIENT = address(f"{MATRICULE}@patient")
OTHER_PATIENT = address(f"{OTHER_MATRICULE}@patient")
DOCTOR, NURSE, DESK = address("doctor@chu"), address("nurse@chu"), address("desk@clinic")
COLLEAGUE = address("colleague@region")


def box(kind: BoxKind = BoxKind.PATIENT, state: BoxState = BoxState.OPEN, **more: Any) -> Box:
    """Make a box; a patient's has a real INS."""
    if kind is BoxKind.PATIENT:
        more.setdefault("ins", INS(MATRICULE, OID_NIR))
        return Box(4, PATIENT, kind, state, **more)
    return Box(5, DOCTOR, kind, state, **more)


def named(where: Address, role: Role = Role.SENDER, name: str | None = None) -> Participant:
    """Put an address into a role, under a name made of it."""
    return Participant(where, f"Dr {where.local.title()}" if name is None else name, role)


def letter(
    author: Address = DOCTOR,
    *,
    reply_to: Iterable[Address] = (),
    to: Iterable[Address] = (PATIENT,),
    cc: Iterable[Address] = (),
    **more: Any,
) -> LetterFacts:
    """Make the facts of a letter for the patient; `author_domains` are those of the author's operator."""
    participants = (
        named(author),
        *(named(one, Role.REPLY_TO) for one in reply_to),
        *(named(one, Role.TO) for one in to),
        *(named(one, Role.CC) for one in cc),
    )
    domains = TRUST_LIST.domains_of(next(iter(TRUST_LIST.subjects_of(author.domain)), STRANGER_DN))
    if author.domain == HOSPITAL:
        domains = TRUST_LIST.domains_of(HOSPITAL_DN)
    facts = LetterFacts(
        recipient=PATIENT,
        reverse_path=author,
        participants=participants,
        envelope=(PATIENT,),
        patient_domains=PATIENT_DOMAINS,
        author_domains=domains,
    )
    return replace(facts, **more)


def document(matricule: str = MATRICULE, oid: str = OID_NIR, *marks: Confidentiality) -> DocumentEntry:
    """Make a document that names a patient ("": nobody)."""
    identifiers = ((matricule, oid),) if matricule else ()
    confidentiality = frozenset(marks) or frozenset({Confidentiality.NORMAL})
    return DocumentEntry(
        "1.2.3", DocumentFormat.CDA, confidentiality=confidentiality, patient=PatientIdentity(identifiers)
    )


def contact(where: Address, state: ContactState = ContactState.OPEN, since: datetime = NOW) -> Contact:
    """Make a contact of the patient's."""
    return Contact(where, f"Dr {where.local.title()}", state, since)


def stored(sender: Address | None, authorises: Iterable[Address] = (), *, minute: int = 0, **more: Any) -> Letter:
    """Make a letter as a conversation keeps it."""
    kept = Letter(
        email_id=minute,
        direction=Direction.RECEIVED,
        at=NOW + timedelta(minutes=minute),
        answerable=True,
        closing=False,
        authorises=tuple(named(one) for one in authorises),
        sender=None if sender is None else named(sender),
    )
    return replace(kept, **more)


def reply(*recipients: Address, **more: Any) -> ReplyFacts:
    """Make the facts of an answer in a conversation that the doctor began, unless told otherwise."""
    facts = ReplyFacts(
        box=box(),
        letters=(stored(DOCTOR, [DOCTOR]),),
        contacts=(contact(DOCTOR),),
        patient_domains=PATIENT_DOMAINS,
        recipients=recipients,
    )
    return replace(facts, **more)


def names_nobody(decision: Decision) -> bool:
    """Say whether a decision's facts and sentence hold identifiers, numbers and domains only."""
    told = f"{dict(decision.facts)} {decision.public_text}"
    people = (DOCTOR, NURSE, COLLEAGUE, PATIENT, OTHER_PATIENT)
    return "@" not in told.replace("before @", "").replace("postmaster@ a", "") and not any(
        f"'{one.local}" in told or f"Dr {one.local.title()}" in told for one in people
    )
