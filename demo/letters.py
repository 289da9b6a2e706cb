"""The letters of the demonstration, made as a hospital's software would make them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from demo.clients import Login, StepFailedError
from demo.house import HOSPITAL, PATIENTS, REGION, People
from mss.clock import system_clock
from mss.config import Limits
from mss.dossier import cda, make, xdm
from mss.errors import Malformed
from mss.mail import markers
from mss.mail.compose import Attachment, Correspondent, Draft, compose, message_id
from mss.model.address import Address, parse_domain
from mss.model.document import AttachedDocument, Author, PatientIdentity
from mss.model.ins import INS, OID_NIR_TEST, Traits

LIMITS = Limits()
SAMPLE = INS.parse("279035121518989", OID_NIR_TEST)
SAMPLE_TRAITS = Traits("PAT-TROIS", "DOMINIQUE", "19790328", "F")
OTHER = INS.parse("277076322082910", OID_NIR_TEST)
OTHER_TRAITS = Traits("DEMONSTRATION", "ALEX", "19770701", "F")


@dataclass(frozen=True, slots=True)
class Document:
    """The clinical document that travels: its octets, facts, and the patient that it names."""

    attached: AttachedDocument
    ins: INS
    traits: Traits


def sample_document(ins: INS = SAMPLE, traits: Traits = SAMPLE_TRAITS) -> Document:
    """Make a CDA R2 N1 with an embedded PDF."""
    octets = make.make_cda(
        patient=PatientIdentity(((ins.matricule, ins.oid),), traits),
        unique_id=f"2.25.{secrets.randbits(96)}",
        title="Compte rendu de consultation",
        created_at=system_clock(),
        author=Author("Dr Camille DURAND", "899700000001", "10", "Hôpital de la Démonstration"),
        custodian="Hôpital de la Démonstration",
    )
    return _read(octets)


def load_document(path: Path) -> Document:
    """Read any CDA; the demonstration's patient becomes the one that it names."""
    try:
        return _read(path.read_bytes())
    except OSError as error:
        raise StepFailedError(f"cannot read {path}: {error.strerror}") from error
    except Malformed as error:
        raise StepFailedError(f"{path.name} cannot be used: {error}") from error


def people_of(document: Document) -> People:
    """Return who takes part when a document travels, with fresh passwords: its patient is the one it names."""
    own = document.ins.matricule == OTHER.matricule
    return People(
        hospital=Login(f"accueil@{HOSPITAL}", secrets.token_urlsafe(12)),
        doctor=Login(f"camille.durand@{REGION}", secrets.token_urlsafe(12)),
        patient=Login("dominique", secrets.token_urlsafe(12)),
        other_patient=Login("alex", secrets.token_urlsafe(12)),
        ins=document.ins,
        other_ins=SAMPLE if own else OTHER,
        traits=document.traits,
        other_traits=SAMPLE_TRAITS if own else OTHER_TRAITS,
    )


def _read(octets: bytes) -> Document:
    entry, pdf = cda.read_whole(octets, LIMITS)
    for matricule, oid in entry.patient.identifiers:
        try:
            ins = INS.parse(matricule, oid)
        except Malformed:
            continue
        return Document(AttachedDocument(entry, octets, pdf), ins, entry.patient.traits)
    raise Malformed("the document names no patient with a valid matricule INS")


def welcome(document: Document, to: INS, *, subject: str = "", name: str = "le patient") -> bytes:
    """Make the structured first message: IHE_XDM.zip and readable twin, to one patient, the doctor in copy."""
    entry = document.attached.entry
    label = entry.type_label or entry.title or "Document"
    archive = xdm.build(
        [document.attached],
        unique_id=f"2.25.{secrets.randbits(96)}",
        source_id="1.2.250.1.999.1",
        submitted_at=system_clock(),
    )
    attachments = [Attachment("IHE_XDM.ZIP", "application/zip", archive)]
    if document.attached.companion_pdf is not None:
        attachments.append(Attachment("Compte rendu.pdf", "application/pdf", document.attached.companion_pdf))
    domain = parse_domain(HOSPITAL)
    draft = Draft(
        sender=Correspondent(Address("accueil", domain), "Hôpital de la Démonstration"),
        to=(Correspondent(Address(to.matricule, parse_domain(PATIENTS)), name),),
        cc=(Correspondent(Address("camille.durand", parse_domain(REGION)), "Dr Camille DURAND"),),
        subject=subject or f"XDM/1.0/DDM+{label[:40]}",
        date=system_clock(),
        message_id=message_id(secrets.token_hex(12), domain),
        text="Bonjour,\n\nVoici le compte rendu de votre consultation. Vous pouvez répondre à ce message.\n",
        attachments=tuple(attachments),
        extra=markers.header_fields(software="DEMO0001", ins_qualified=True, document_codes=(entry.type_code,)),
    )
    return compose(draft)


def closing(to: INS, references: str) -> bytes:
    """Make the letter that ends the exchange."""
    domain = parse_domain(HOSPITAL)
    return compose(
        Draft(
            sender=Correspondent(Address("accueil", domain), "Hôpital de la Démonstration"),
            to=(Correspondent(Address(to.matricule, parse_domain(PATIENTS))),),
            subject="[FIN]",
            date=system_clock(),
            message_id=message_id(secrets.token_hex(12), domain),
            text="Nos échanges sont terminés. Bonne continuation.\n",
            in_reply_to=references,
            references=(references,) if references else (),
        )
    )


def strangers_letter(sender: Address, to: INS) -> bytes:
    """Make a letter that must not come in."""
    return compose(
        Draft(
            sender=Correspondent(sender, "Dr Inconnu"),
            to=(Correspondent(Address(to.matricule, parse_domain(PATIENTS))),),
            subject="Bonjour",
            date=system_clock(),
            message_id=message_id(secrets.token_hex(12), sender.domain),
            text="Ceci ne doit pas arriver.\n",
        )
    )
