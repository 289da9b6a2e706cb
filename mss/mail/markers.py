"""What MSSanté marks in a letter's header (MSSANTE.md §2.C, §4.2): closing, no answer, XDM, the sending software.

It reads marks and makes their fields; what follows from them is policy's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mss.errors import Malformed
from mss.mail.headers import decode_text
from mss.model.message import Message

CLOSING_SUBJECT: Final = "[FIN]"
XDM_PREFIX: Final = "XDM/1.0/DDM+"
NO_ANSWER_FIELD: Final = ("X-MSS-MES", "FIN")

_CODES_MAX: Final = 100
_VALUE_MAX: Final = 200
# Some software leaves the "+" out, or writes "XDM/1.0/DDM +": the label is what is left.
_XDM = re.compile(r"XDM/\d+\.\d+/DDM\s*\+?\s*", re.IGNORECASE)
_REPLY_PREFIX = re.compile(r"(?:(?:re|fwd?|tr|rép|rep)\s*:\s*)*", re.IGNORECASE)
_CODE = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")


@dataclass(frozen=True, slots=True)
class Markers:
    """What the marks of one letter say; None or empty where there is none.

    `subject` is decoded and for display, without the XDM prefix. `closing`: the subject is exactly `[FIN]`.
    `answerable` is False under `X-MSS-MES: FIN`. `software` is X-MSS-NIL; `ins_qualified` X-MSS-INS;
    `document_codes` X-MSS-CODECDA, repeats kept.
    """

    subject: str = ""
    closing: bool = False
    answerable: bool = True
    xdm: bool = False
    software: str | None = None
    ins_qualified: bool | None = None
    document_codes: tuple[str, ...] = ()


def read(message: Message) -> Markers:
    """Return the marks of a letter; unknown values count as absent."""
    subject = decode_text(message.header("subject") or b"")
    ins = (_value(message, "x-mss-ins") or "").upper()
    codes = (code.strip() for code in (_value(message, "x-mss-codecda") or "").split(",")[:_CODES_MAX])
    return Markers(
        subject=display_subject(subject),
        closing=subject == CLOSING_SUBJECT,
        answerable=not any(decode_text(value).upper() == "FIN" for value in message.headers("x-mss-mes")),
        xdm=bool(_XDM.match(_without_reply_prefix(subject))),
        software=_value(message, "x-mss-nil") or None,
        ins_qualified={"O": True, "N": False}.get(ins),
        document_codes=tuple(code for code in codes if _CODE.match(code)),
    )


def _value(message: Message, name: str) -> str | None:
    raw = message.header(name)
    return None if raw is None else decode_text(raw)[:_VALUE_MAX]


def _without_reply_prefix(subject: str) -> str:
    match = _REPLY_PREFIX.match(subject)
    return subject[match.end() :] if match else subject


def display_subject(subject: str) -> str:
    """Return a decoded subject without its XDM prefix; "Re:" and the like stay."""
    label = _without_reply_prefix(subject)
    return subject[: len(subject) - len(label)] + _XDM.sub("", label, count=1) if _XDM.match(label) else subject


def header_fields(
    *,
    answerable: bool = True,
    software: str = "",
    ins_qualified: bool | None = None,
    document_codes: tuple[str, ...] = (),
) -> tuple[tuple[str, str], ...]:
    """Return the X-MSS-* fields of a letter to send, as (name, value); absent where there is nothing to say."""
    if not all(map(_CODE.match, document_codes)):
        raise Malformed("not a document code")
    fields = []
    if not answerable:
        fields.append(NO_ANSWER_FIELD)
    if software:
        fields.append(("X-MSS-NIL", software))
    if ins_qualified is not None:
        fields.append(("X-MSS-INS", "O" if ins_qualified else "N"))
    if document_codes:
        fields.append(("X-MSS-CODECDA", ",".join(document_codes)))
    return tuple(fields)
