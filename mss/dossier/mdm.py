"""What an HL7 message asks for: documents to be sent, replaced or withdrawn, to whom, under which marks.

It composes and sends nothing. HL7 v2.6 MDM (chapter 9) as the CI-SIS profiles it: MSSANTE.md §3.7. A combination that
is not listed here is an error: a document must never go further than its sender said.

Rules:
1. Event, order control and result status agree: T02, NW and F; T10, RO and C (or F); T04 or T11, CA and D (or F).
2. Metadata (OBX-3.1) are Y or N, each once. Without DESTMSSANTEPS, recipients (PRT, RCT) mean professionals.
3. To a patient goes only what is not INVISIBLE_PATIENT, without CONNEXION_SECRETE, under a qualified INS.
4. The documents name the patient of PID and no other; TXA-12 identifies the CDA, TXA-13 what it replaces.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from mss.config import Limits
from mss.dossier import cda
from mss.dossier.er7 import Er7, Segment
from mss.errors import Malformed
from mss.model.address import Address
from mss.model.document import AttachedDocument, Confidentiality
from mss.model.ins import INS_OIDS, TEST_OIDS, parse_matricule

_META_YES: Final = {"Y": True, "N": False}


class Act(StrEnum):
    """What is to be done with the documents."""

    SEND = "send"
    REPLACE = "replace"
    WITHDRAW = "withdraw"


_EVENTS: Final = {
    "T02": (Act.SEND, "NW", ("F",)),
    "T10": (Act.REPLACE, "RO", ("C", "F")),
    "T04": (Act.WITHDRAW, "CA", ("D", "F")),
    "T11": (Act.WITHDRAW, "CA", ("D", "F")),
}


class Wrong(StrEnum):
    """Why an order is refused; the values are stable tokens, `sentence` is for the acknowledgement (ERR-8)."""

    EVENT = "event-not-supported"
    ORDER_CONTROL = "order-control-differs"
    STATUS = "result-status-differs"
    VERSION = "version-not-supported"
    CONTROL_ID = "no-control-id"
    META_VALUE = "metadata-not-y-or-n"
    META_TWICE = "metadata-twice"
    META_UNKNOWN = "metadata-unknown"
    DMP = "no-deposit-here"
    NOBODY = "nobody-to-send-to"
    NO_ADDRESS = "no-professional-address"
    ADDRESS = "bad-address"
    PATIENT_ADDRESS = "patient-among-professionals"
    ADDRESS_UNUSED = "address-without-professionals"
    PATIENT_INVISIBLE = "invisible-to-patient"
    PATIENT_SECRET = "secret-connection"
    NO_INS = "patient-without-qualified-ins"
    OTHER_PATIENT = "document-of-another-patient"
    NO_DOCUMENT = "no-document"
    DOCUMENT = "document-unreadable"
    IDENTIFIER = "identifier-differs"
    NO_PARENT = "nothing-to-replace"
    NOTE = "note-not-supported"

    @property
    def sentence(self) -> str:
        """A public sentence that names nobody."""
        return _SENTENCES[self]


_SENTENCES: Final = {
    Wrong.EVENT: "Only MDM T02, T10, T04 and T11 are taken.",
    Wrong.ORDER_CONTROL: "ORC-1 does not go with the event: NW with T02, RO with T10, CA with T04 and T11.",
    Wrong.STATUS: "OBX-11 does not go with the event: F with T02, C with T10, D with T04 and T11.",
    Wrong.VERSION: "Only version 2.6 is taken.",
    Wrong.CONTROL_ID: "The message has no control id in MSH-10.",
    Wrong.META_VALUE: "A metadata OBX must be Y or N.",
    Wrong.META_TWICE: "A metadata OBX stands there twice.",
    Wrong.META_UNKNOWN: "An OBX is neither a document, a text nor a known metadata.",
    Wrong.DMP: "Deposit in the DMP is not offered here: send without DESTDMP.",
    Wrong.NOBODY: "The message names nobody to send to: DESTMSSANTEPS or DESTMSSANTEPAT.",
    Wrong.NO_ADDRESS: "DESTMSSANTEPS without the address of a recipient: PRT-15.4 of an RCT.",
    Wrong.ADDRESS: "An address in PRT-15.4 is malformed, or two are given for answers.",
    Wrong.PATIENT_ADDRESS: "A patient stands among the professionals: use DESTMSSANTEPAT.",
    Wrong.ADDRESS_UNUSED: "DESTMSSANTEPS is N, but recipients are named.",
    Wrong.PATIENT_INVISIBLE: "A document that is INVISIBLE_PATIENT may not be sent to the patient.",
    Wrong.PATIENT_SECRET: "Under CONNEXION_SECRETE nothing may be sent to the patient.",
    Wrong.NO_INS: "The patient's address needs a qualified INS: PID-3 with its OID, and PID-32 VALI.",
    Wrong.OTHER_PATIENT: "A document does not name the patient of PID-3.",
    Wrong.NO_DOCUMENT: "The message holds no CDA document.",
    Wrong.DOCUMENT: "A document cannot be read: base64 of a CDA, or of a PDF beside one.",
    Wrong.IDENTIFIER: "TXA-12 is not the identifier of the CDA.",
    Wrong.NO_PARENT: "T10 without TXA-13 and relatedDocument naming the same document to replace.",
    Wrong.NOTE: "NTE-4 may only be FIN, and only when the patient is written to.",
}


class Refused(Malformed):
    """An order that is not carried out; `wrong` says why, `segment` where (ERR-2)."""

    def __init__(self, wrong: Wrong, segment: str = "") -> None:
        super().__init__(wrong.value)
        self.wrong, self.segment = wrong, segment


@dataclass(frozen=True, slots=True)
class Order:
    """What to do: `professionals` in order; `to_patient` is the matricule, empty when the patient is not written to.

    Texts are empty when none was given. `final`: the patient may not answer.
    """

    act: Act
    event: str
    control_id: str
    documents: tuple[AttachedDocument, ...]
    professionals: tuple[Address, ...]
    to_patient: str
    reply_to: Address | None
    text_for_professionals: str = ""
    text_for_patient: str = ""
    final: bool = False
    delivery_receipt: bool = False
    read_receipt: bool = False


_LEVELS: Final = {
    "MASQUE_PS": Confidentiality.MASKED_FOR_PROFESSIONALS,
    "INVISIBLE_PATIENT": Confidentiality.INVISIBLE_PATIENT,
    "INVISIBLE_REP_LEGAUX": Confidentiality.INVISIBLE_REPRESENTATIVES,
}
_SWITCHES: Final = frozenset(
    {*_LEVELS, "DESTMSSANTEPS", "DESTMSSANTEPAT", "DESTDMP", "CONNEXION_SECRETE", "MODIF_CONF_CODE", "ACK_RECEPTION",
     "ACK_LECTURE_MSS"}
)  # fmt: skip
_TEXTS: Final = frozenset({"CORPSMAIL_PS", "CORPSMAIL_PATIENT"})
# In a message that passes a letter on, its text stands under its number, with the subject beside.
_PASSED_ON: Final = "XDM/1.0/DDM"


def read(message: Er7, limits: Limits, patient_domains: frozenset[str], *, test_identities: bool) -> Order:
    """Return what a message asks for; Refused says what is wrong, and where."""
    act, event = _act(message)
    meta, texts = _metadata(message), _texts(message, limits)
    patient = _patient(message)
    documents = _documents(message, limits, meta)
    _identified(message, act, documents, patient)
    professionals, reply_to = _people(message, meta, patient_domains)
    to_patient = _to_patient(message, meta, documents, patient, test_identities=test_identities)
    if meta.get("DESTDMP"):
        raise Refused(Wrong.DMP, "OBX")
    if not professionals and not to_patient:
        raise Refused(Wrong.NOBODY)
    return Order(
        act=act,
        event=event,
        control_id=message.header.component(10),
        documents=documents,
        professionals=professionals,
        to_patient=to_patient,
        reply_to=reply_to,
        text_for_professionals=texts.get("CORPSMAIL_PS", ""),
        text_for_patient=texts.get("CORPSMAIL_PATIENT", ""),
        final=_final(message, to_patient),
        delivery_receipt=meta.get("ACK_RECEPTION", False),
        read_receipt=meta.get("ACK_LECTURE_MSS", False),
    )


def _act(message: Er7) -> tuple[Act, str]:
    header = message.header
    event = header.component(9, 2)
    if header.component(9) != "MDM" or event not in _EVENTS:
        raise Refused(Wrong.EVENT, "MSH")
    if header.component(12) != "2.6":
        raise Refused(Wrong.VERSION, "MSH")
    if not header.component(10):
        raise Refused(Wrong.CONTROL_ID, "MSH")
    act, control, _ = _EVENTS[event]
    orders = [one.component(1) for one in message.segments if one.name == "ORC"]
    if not orders or set(orders) != {control}:
        raise Refused(Wrong.ORDER_CONTROL, "ORC")
    return act, event


def _observations(message: Er7) -> Iterator[Segment]:
    statuses = _EVENTS[message.header.component(9, 2)][2]
    for segment in message.segments:
        if segment.name == "OBX":
            if segment.component(2) == "ED" and segment.component(11) not in statuses:
                raise Refused(Wrong.STATUS, "OBX")
            yield segment


def _is_text(segment: Segment) -> bool:
    return segment.component(3) in _TEXTS or segment.component(3, 2).startswith(_PASSED_ON)


def _metadata(message: Er7) -> dict[str, bool]:
    found: dict[str, bool] = {}
    for segment in _observations(message):
        code = segment.component(3)
        if segment.component(2) == "ED" or code in _TEXTS:
            continue
        if code not in _SWITCHES:
            raise Refused(Wrong.META_UNKNOWN, "OBX")
        if code in found:
            raise Refused(Wrong.META_TWICE, "OBX")
        if segment.component(5) not in _META_YES:
            raise Refused(Wrong.META_VALUE, "OBX")
        found[code] = _META_YES[segment.component(5)]
    return found


def _texts(message: Er7, limits: Limits) -> dict[str, str]:
    """Return the bodies of the letters; one that is passed on is for the professionals."""
    found: dict[str, str] = {}
    for segment in _observations(message):
        if not _is_text(segment):
            continue
        code = segment.component(3) if segment.component(3) in _TEXTS else "CORPSMAIL_PS"
        if code in found:
            raise Refused(Wrong.META_TWICE, "OBX")
        if segment.component(2) == "ED":
            found[code] = _decoded(segment, limits).decode("utf-8", "replace")
        else:
            found[code] = segment.component(5)
    return found


def _decoded(segment: Segment, limits: Limits) -> bytes:
    """Return encapsulated data (ED-5); base64 without its padding, which some leave out, is forgiven."""
    written = segment.raw(5, 5)
    try:
        octets = base64.b64decode(written + "=" * (-len(written) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Refused(Wrong.DOCUMENT, "OBX") from None
    if segment.raw(5, 4).lower() != "base64" or len(octets) > limits.cda_max_octets:
        raise Refused(Wrong.DOCUMENT, "OBX")
    return octets


def _documents(message: Er7, limits: Limits, meta: dict[str, bool]) -> tuple[AttachedDocument, ...]:
    """Return the CDAs with the marks of the message; a PDF is the readable twin of the CDA before it."""
    levels = frozenset(level for code, level in _LEVELS.items() if meta.get(code))
    found: list[AttachedDocument] = []
    for segment in _observations(message):
        if segment.component(2) != "ED" or _is_text(segment):
            continue
        octets = _decoded(segment, limits)
        if octets.startswith(b"%PDF-") and found:
            found[-1] = replace(found[-1], companion_pdf=octets)
            continue
        try:
            entry, embedded = cda.read_whole(octets, limits)
        except Malformed:
            raise Refused(Wrong.DOCUMENT, "OBX") from None
        entry = replace(entry, confidentiality=entry.confidentiality | levels)
        found.append(AttachedDocument(entry, octets, embedded))
    if not found:
        raise Refused(Wrong.NO_DOCUMENT)
    return tuple(found)


def _patient(message: Er7) -> tuple[str, str]:
    """Return the patient's (matricule, OID) of PID-3; empty ones without an INS there."""
    pid = message.first("PID")
    for repetition in pid.repetitions(3) if pid else ():
        assert pid is not None
        value, oid = pid.part(repetition, 1), pid.part(repetition, 4, 2)
        if oid in INS_OIDS and pid.part(repetition, 5) == "INS":
            return value, oid
    return "", ""


def _identified(message: Er7, act: Act, documents: tuple[AttachedDocument, ...], patient: tuple[str, str]) -> None:
    if any(_others(one, patient) for one in documents):
        raise Refused(Wrong.OTHER_PATIENT, "PID")
    txa, first = message.first("TXA"), documents[0].entry
    if txa is None or txa.component(12) not in (first.unique_id, first.unique_id.partition("^")[0]):
        raise Refused(Wrong.IDENTIFIER, "TXA")
    if act is Act.REPLACE and (not first.replaces or txa.component(13) != first.replaces.partition("^")[0]):
        raise Refused(Wrong.NO_PARENT, "TXA")


def _others(document: AttachedDocument, patient: tuple[str, str]) -> bool:
    """Say whether a document names an INS that is not the message's, or none where the message has one."""
    named = {pair for pair in document.entry.patient.identifiers if pair[1] in INS_OIDS}
    return named != ({patient} if patient[0] else set())


def _people(
    message: Er7, meta: dict[str, bool], patient_domains: frozenset[str]
) -> tuple[tuple[Address, ...], Address | None]:
    recipients = _addresses(message, "RCT")
    answers = _addresses(message, "REPLY")
    wanted = meta.get("DESTMSSANTEPS", bool(recipients))
    if len(answers) > 1:
        raise Refused(Wrong.ADDRESS, "PRT")
    if any(one.domain in patient_domains for one in (*recipients, *answers)):
        raise Refused(Wrong.PATIENT_ADDRESS, "PRT")
    if wanted and not recipients:
        raise Refused(Wrong.NO_ADDRESS, "PRT")
    if recipients and not wanted:
        raise Refused(Wrong.ADDRESS_UNUSED, "PRT")
    return recipients, next(iter(answers), None)


def _addresses(message: Er7, role: str) -> tuple[Address, ...]:
    """Return the addresses of the participants in a role (PRT-4, PRT-15.4), each once."""
    found: dict[str, Address] = {}
    for segment in message.segments:
        if segment.name == "PRT" and segment.component(4) == role:
            for repetition in segment.repetitions(15):
                try:
                    address = Address.parse(segment.part(repetition, 4))
                except Malformed:
                    raise Refused(Wrong.ADDRESS, "PRT") from None
                found.setdefault(address.key, address)
    return tuple(found.values())


def _to_patient(
    message: Er7,
    meta: dict[str, bool],
    documents: tuple[AttachedDocument, ...],
    patient: tuple[str, str],
    *,
    test_identities: bool,
) -> str:
    if not meta.get("DESTMSSANTEPAT"):
        return ""
    if any(Confidentiality.INVISIBLE_PATIENT in one.entry.confidentiality for one in documents):
        raise Refused(Wrong.PATIENT_INVISIBLE, "OBX")
    if meta.get("CONNEXION_SECRETE"):
        raise Refused(Wrong.PATIENT_SECRET, "OBX")
    pid = message.first("PID")
    qualified = pid is not None and pid.component(32) == "VALI"
    try:
        matricule = parse_matricule(patient[0])
    except Malformed:
        raise Refused(Wrong.NO_INS, "PID") from None
    if not qualified or (patient[1] in TEST_OIDS and not test_identities):
        raise Refused(Wrong.NO_INS, "PID")
    return matricule


def _final(message: Er7, to_patient: str) -> bool:
    notes = [one.component(4) for one in message.segments if one.name == "NTE" and one.component(4)]
    if any(note != "FIN" for note in notes) or (notes and not to_patient):
        raise Refused(Wrong.NOTE, "NTE")
    return bool(notes)
