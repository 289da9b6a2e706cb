"""What an HL7 message is answered: MSA, and ERR when it was not carried out (HL7 v2.6 §2.9, tables 0008, 0357)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mss.dossier.er7 import Er7, escaped, render
from mss.dossier.mdm import Wrong

ACCEPTED: Final = "AA"
ERROR: Final = "AE"
REJECTED: Final = "AR"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a message was not carried out: a code of table 0357, the rule's name, a public sentence, where it stands."""

    code: str
    rule: str
    sentence: str
    segment: str = ""
    rejected: bool = False


_NAMES: Final = {
    "100": "Segment sequence error",
    "101": "Required field missing",
    "103": "Table value not found",
    "200": "Unsupported message type",
    "203": "Unsupported version id",
    "207": "Application internal error",
}
_CODES: Final = {
    Wrong.EVENT: "200",
    Wrong.VERSION: "203",
    Wrong.CONTROL_ID: "101",
    Wrong.NO_ADDRESS: "101",
    Wrong.NOBODY: "101",
    Wrong.NO_DOCUMENT: "100",
    Wrong.META_UNKNOWN: "103",
}


def fault_of(wrong: Wrong, segment: str) -> Fault:
    """Return the fault of an order that was refused: what is not for us is rejected, the rest is an error."""
    return Fault(
        _CODES.get(wrong, "207"), f"hl7.{wrong.value}", wrong.sentence, segment, wrong in (Wrong.EVENT, Wrong.VERSION)
    )


def acknowledge(message: Er7 | None, fault: Fault | None, own_id: str, now: datetime) -> bytes:
    """Return the acknowledgement of a message (None: one that could not be read)."""
    head = message.header if message is not None else None

    def named(number: int, component: int = 1) -> str:
        return escaped(head.component(number, component)) if head is not None else ""

    event = named(9, 2)
    msh = (
        "MSH", "^~\\&", named(5), named(6), named(3), named(4), now.strftime("%Y%m%d%H%M%S"), "",
        f"ACK^{event}^ACK" if event else "ACK", own_id, named(11) or "P", named(12) or "2.6", "", "", "", "", "FRA",
        "UNICODE UTF-8",
    )  # fmt: skip
    code = ACCEPTED if fault is None else REJECTED if fault.rejected else ERROR
    answer = [msh, ("MSA", code, named(10))]
    if fault is not None:
        what = f"{fault.code}^{_NAMES[fault.code]}^HL70357"
        rule = f"{escaped(fault.rule)}^{escaped(fault.sentence)}"
        answer.append(("ERR", "", fault.segment, what, "E", rule, "", "", escaped(fault.sentence)))
    return render(*answer)
