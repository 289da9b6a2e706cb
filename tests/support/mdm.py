"""HL7 messages that the tests make, and the published ones where there are any."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from mss.dossier.er7 import escaped
from mss.dossier.make import make_cda
from mss.model.document import Author, Confidentiality, PatientIdentity
from mss.model.ins import Traits

MATRICULE: Final = "255081416802538"
OID: Final = "1.2.250.1.213.1.4.8"
PATIENT: Final = PatientIdentity(((MATRICULE, OID),), Traits("DUPONT", "ÉLODIE", "19550815", "F"))
CONTROLS: Final = {"T02": ("NW", "F"), "T10": ("RO", "C"), "T04": ("CA", "D"), "T11": ("CA", "D")}
AT: Final = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)


def document(unique_id: str = "1.2.250.1.999.1", replaces: str = "", **changes: object) -> bytes:
    facts: dict[str, object] = {
        "patient": PATIENT, "title": "Radio de hanche", "created_at": AT, "type_code": "18748-4",
        "type_label": "CR d'imagerie médicale", "confidentiality": Confidentiality.NORMAL,
        "author": Author("Eric THOMAS", "801234564895", organisation="Organisation Y"),
    }  # fmt: skip
    return make_cda(unique_id=unique_id, replaces=replaces, **{**facts, **changes})  # type: ignore[arg-type]


def encapsulated(number: int, code: str, octets: bytes, status: str) -> str:
    return f"OBX|{number}|ED|{code}||^text^XML^Base64^{base64.b64encode(octets).decode()}||||||{status}|"


def order(
    event: str = "T02",
    *,
    documents: Sequence[bytes] | None = None,
    to: Sequence[str] = ("adam.hoda@chu.mssante.fr",),
    reply_to: str = "",
    meta: Mapping[str, str] | None = None,
    extra: Sequence[str] = (),
    patient: tuple[str, str] = (MATRICULE, OID),
    status: str = "VALI",
    control_id: str = "015",
    parent: str = "",
    identifier: str = "1.2.250.1.999.1",
) -> bytes:
    """Return an MDM message; `extra` are segments as written."""
    control, result = CONTROLS.get(event, ("NW", "F"))
    found = [document(replaces=parent)] if documents is None else documents
    lines = [
        rf"MSH|^~\&|DPI|Organisation-Y|PFI|Organisation-Y|202106060931||MDM^{event}^MDM_T02|{control_id}|P|2.6"
        "|||||FRA|UNICODE UTF-8|||1.1^CISIS_CDA_HL7",
        "EVN||20211005152908",
        f"PID|||{patient[0]}^^^ASIP-SANTE-INS-NIR&{patient[1]}&ISO^INS||DUPONT^ELODIE" + "|" * 27 + status,
        "PV1|1|N",
        f"ORC|{control}|",
        "OBR|1|||18748-4^CR d'imagerie médicale^LN|",
        f"TXA|1|18748-4|TEXT|202212160932||||||||{identifier}^Organisation-Y|{parent}^Organisation-Y",
        *(encapsulated(n, "18748-4", octets, result) for n, octets in enumerate(found, 1)),
        *(f"PRT||UC||RCT^^participation|||||||||||^^X.400^{one}" for one in to),
        *([f"PRT||UC||REPLY^^participation|||||||||||^^X.400^{reply_to}"] if reply_to else []),
        *(
            f"OBX|9|CWE|{code}^{code}^MetaDMPMSS||{value}^^expandedYes-NoIndicator||||||F|"
            for code, value in (meta or {}).items()
        ),
        *extra,
    ]  # fmt: skip
    return "\r".join(lines).encode() + b"\r"


def text(code: str, words: str) -> str:
    """Return a segment with a letter's body."""
    return f"OBX|8|TX|{code}^{code}^MetaDMPMSS||{escaped(words)}||||||F|"


def published() -> list[Path]:
    """Return the real messages of a folder `shared` beside the repository, if there is one."""
    for parent in Path(__file__).resolve().parents:
        folder = parent / "shared" / "data" / "hl7v2"
        if folder.is_dir():
            return sorted(folder.rglob("message*.er7"))
    return []
