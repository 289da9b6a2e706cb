"""Disposition reports: displayed, taken over, or not (RFC 8098; MSSANTE.md §3.6), written and read.

Whether one is owed is for the caller; `requested_by` says who asked and may be answered without a person.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from mss.config import Limits
from mss.errors import Malformed
from mss.mail import report_texts
from mss.mail.headers import addresses, date, decode_text, message_ids
from mss.mail.report_parts import (
    Frame,
    fields_entity,
    find,
    groups_of,
    human,
    letter_of,
    line,
    original_ids,
    report,
    returned,
    returned_message_id,
    typed_address,
    untyped,
)
from mss.model.address import Address
from mss.model.envelope import Ret
from mss.model.message import Message

_AUTOMATIC_PROCESSING = "automatic-action/MDN-sent-automatically"
# The patient's act of opening displays the letter; that the receipt goes out is not asked (MSSANTE.md §4.3).
_MANUAL_DISPLAY = "manual-action/MDN-sent-automatically"
_SUBJECT_MAX = 500
_ERROR = re.compile(r"(?<!\d)(90[0-6])(?:\^([^\^|]*))?")
_DISPOSITION = re.compile(r"\s*([a-z-]+)\s*/\s*([a-z-]+)\s*;\s*([a-z-]+)\s*(?:/\s*([^:;\s]+))?", re.IGNORECASE)


class Disposition(StrEnum):
    """What became of the letter at its recipient (RFC 8098 §3.2.6.2)."""

    DISPLAYED = "displayed"
    PROCESSED = "processed"
    DELETED = "deleted"


class ErrorCode(IntEnum):
    """Why a recipient's system did not take a letter over."""

    VERSION = 900
    AUTHOR = 901
    PATIENT_UNKNOWN = 902
    INS_ABSENT = 903
    INS_MISMATCH = 904
    INS_INCOMPLETE = 905
    OTHER = 906


ERROR_LABELS = {
    ErrorCode.VERSION: "Version non prise en charge",
    ErrorCode.AUTHOR: "Auteur interdit",
    ErrorCode.PATIENT_UNKNOWN: "Identifiant de patient inconnu",
    ErrorCode.INS_ABSENT: "INS absente",
    ErrorCode.INS_MISMATCH: "INS discordante",
    ErrorCode.INS_INCOMPLETE: "INS incomplet",
    ErrorCode.OTHER: "Autre erreur",
}
_SENTENCES = {
    Disposition.DISPLAYED: report_texts.DISPLAYED,
    Disposition.PROCESSED: report_texts.PROCESSED,
    Disposition.DELETED: report_texts.DELETED,
}


def mdn(
    frame: Frame,
    disposition: Disposition,
    *,
    final_recipient: Address,
    reporting_ua: str,
    error: ErrorCode | None = None,
    original_recipient: str = "",
    ret: Ret = Ret.HDRS,
) -> bytes:
    """Return a disposition report to whoever asked; an error goes with PROCESSED only (else Malformed)."""
    if error is not None and disposition is not Disposition.PROCESSED:
        raise Malformed("only processing reports errors")
    fields = [line("Reporting-UA", reporting_ua)]
    if original_recipient:
        fields.append(line("Original-Recipient", original_recipient))
    fields.append(line("Final-Recipient", typed_address(final_recipient)))
    fields += [line("Original-Message-ID", item) for item in original_ids(frame.original)]
    fields += _disposition_fields(disposition, error)
    parts = [
        human(_sentences(frame, disposition, error)),
        fields_entity("message/disposition-notification", [fields]),
        returned(frame.original, ret),
    ]
    return report(frame, "disposition-notification", _subject(frame.original, error), parts)


def notice(frame: Frame, error: ErrorCode) -> bytes:
    """Return an ordinary letter about an error, for a sender that asked for no disposition report (MSSANTE.md §3.6)."""
    text = _sentences(frame, Disposition.PROCESSED, error) + f"\n\n{_error_text(error)}\n"
    parts = [human(text), returned(frame.original, Ret.FULL)]
    return letter_of(frame, _subject(frame.original, error), "mixed", parts)


def _error_text(error: ErrorCode) -> str:
    return f"{error.value}^{ERROR_LABELS[error]}^applicationErrorCondition|E^Error^errorSeverity"


def _disposition_fields(disposition: Disposition, error: ErrorCode | None) -> list[bytes]:
    mode = _MANUAL_DISPLAY if disposition is Disposition.DISPLAYED else _AUTOMATIC_PROCESSING
    if error is None:
        return [line("Disposition", f"{mode}; {disposition}")]
    return [line("Disposition", f"{mode}; {disposition}/error"), line("Error", _error_text(error))]


def _subject(original: Message, error: ErrorCode | None) -> str:
    subject = decode_text(original.header("subject") or b"")[:_SUBJECT_MAX]
    return f"{report_texts.SUBJECT_ERROR_PREFIX}[{error.value}] {subject}".rstrip() if error else subject


def _sentences(frame: Frame, disposition: Disposition, error: ErrorCode | None) -> str:
    words = report_texts.NOT_PROCESSED if error else _SENTENCES[disposition]
    sent = date(frame.original.header("date") or b"") or frame.at
    reason = ERROR_LABELS[error] if error else ""
    pairs = zip(words, report_texts.CLOSING, strict=True)
    return "\n\n".join(f"{text.format(date=f'{sent:%d/%m/%Y}', reason=reason)}\n{closing}" for text, closing in pairs)


def requested_by(message: Message, reverse_path: Address | None, limits: Limits) -> Address | None:
    """Return who may be sent a receipt without asking anybody; None when no one may.

    That is the only address of Disposition-Notification-To, and it must be the reverse path's (RFC 8098 §2.1).
    """
    raw = message.headers("disposition-notification-to")
    found = [spec for value in raw for _, spec in addresses(value, limits)]
    if len(found) != 1 or reverse_path is None:
        return None
    try:
        address = Address.parse(found[0])
    except Malformed:
        return None
    return address if address.key == reverse_path.key else None


@dataclass(frozen=True, slots=True)
class DispositionReport:
    """A disposition report that came in; `disposition` in lower case. `error` only where the code is known."""

    disposition: str
    automatic: bool
    failed: bool = False
    error: ErrorCode | None = None
    error_text: str = ""
    final_recipient: str = ""
    original_message_id: str = ""

    def __repr__(self) -> str:
        return f"DispositionReport({self.disposition!r}, error={self.error!r})"


def read_mdn(message: Message, limits: Limits) -> DispositionReport | None:
    """Return what a disposition report says; None when the letter is none. Old places of the error count too."""
    part = find(message, "message/disposition-notification", "message/global-disposition-notification")
    if part is None:
        return None
    group: dict[str, str] = {}
    for item in reversed(groups_of(message, part, limits)):
        group |= item
    return _disposition_report(group, returned_message_id(message, limits))


def _disposition_report(group: dict[str, str], returned_id: str) -> DispositionReport:
    value = group.get("disposition", "")
    action, kind, modifiers = _disposition_words(value)
    stated = group.get("error") or group.get("failure") or ""
    error = _ERROR.search(stated or value)
    ids = message_ids(group.get("original-message-id", "").encode())
    return DispositionReport(
        disposition=kind,
        automatic=action == "automatic-action",
        failed=bool(stated or error) or "error" in modifiers or "fail" in modifiers,
        error=ErrorCode(int(error[1])) if error else None,
        error_text=(error[2] or "").strip() if error else stated,
        final_recipient=untyped(group.get("final-recipient", "")),
        original_message_id=ids[0] if ids else returned_id,
    )


def _disposition_words(value: str) -> tuple[str, str, str]:
    """Return action mode, disposition type and modifiers of a Disposition value, in lower case."""
    match = _DISPOSITION.match(value.lower())
    return (match[1], match[3], match[4] or "") if match else ("", "", "")
