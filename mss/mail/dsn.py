"""Delivery reports: what became of a letter for each recipient (RFC 3464, RFC 3461 §6), written and read.

When to report is `services.report`'s to decide. To a patient the report is discreet: names, no addresses, and
nothing that another system said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mss.config import Limits
from mss.mail import report_texts
from mss.mail.fields import text_field
from mss.mail.headers import format_date, printable
from mss.mail.report_parts import (
    Frame,
    fields_entity,
    find,
    from_xtext,
    groups_of,
    human,
    line,
    report,
    returned,
    returned_message_id,
    typed_address,
    untyped,
)
from mss.model.address import Address
from mss.model.envelope import Ret
from mss.model.message import Message

_NAME_MAX = 200
_TOO_LARGE = ("5.2.3", "5.3.4")


class Action(StrEnum):
    """What the reporter did (RFC 3464 §2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"


@dataclass(frozen=True, slots=True)
class RecipientReport:
    """One recipient's fate. `original` is ORCPT as written (addr-type;xtext); `name` is what a patient may see.

    `diagnostic` is the remote's reply as it came, `remote` its host; `retry_until` goes with DELAYED. `stopped`: it
    failed because the reporter's own people stopped it.
    """

    final: Address
    action: Action
    status: str
    diagnostic: str = ""
    remote: str = ""
    original: str | None = None
    name: str = ""
    last_attempt: datetime | None = None
    retry_until: datetime | None = None
    stopped: bool = False


def dsn(
    frame: Frame,
    recipients: Sequence[RecipientReport],
    *,
    reporting_mta: str,
    ret: Ret | None = None,
    envid: str | None = None,
    arrival: datetime | None = None,
    discreet: bool = False,
) -> bytes:
    """Return the report on some recipients of a letter, all of one action or several.

    Only failures bring the whole letter back, and only under RET=FULL. `envid` is as written (xtext).
    """
    failed = any(item.action is Action.FAILED for item in recipients)
    parts = [
        human(_sentences(recipients, discreet=discreet)),
        fields_entity(
            "message/delivery-status",
            [_message_fields(reporting_mta, envid, arrival), *(_fields(item, discreet) for item in recipients)],
        ),
    ]
    if not discreet:
        parts.append(returned(frame.original, Ret.FULL if ret is Ret.FULL and failed else Ret.HDRS))
    return report(frame, "delivery-status", subject_of(recipients), parts)


def subject_of(recipients: Sequence[RecipientReport]) -> str:
    """Return the subject of a report: the worst fate names it."""
    actions = {item.action for item in recipients}
    if Action.FAILED in actions:
        failed = [item.status for item in recipients if item.action is Action.FAILED]
        too_large = all(status in _TOO_LARGE for status in failed)
        return report_texts.SUBJECT_TOO_LARGE if too_large else report_texts.SUBJECT_FAILED
    if Action.DELAYED in actions:
        return report_texts.SUBJECT_DELAYED
    return report_texts.SUBJECT_RELAYED if Action.RELAYED in actions else report_texts.SUBJECT_DELIVERED


def _sentences(recipients: Sequence[RecipientReport], *, discreet: bool) -> str:
    """Return the human part: French, then English."""
    return "\n\n".join(_in_language(recipients, language, discreet) for language in (0, 1)) + "\n"


def _in_language(recipients: Sequence[RecipientReport], language: int, discreet: bool) -> str:
    lines: list[str] = []
    for action in Action:
        concerned = [item for item in recipients if item.action is action]
        if concerned:
            lines += [report_texts.OPENINGS[action][language], ""]
            lines += [text for item in concerned for text in _about(item, language, discreet)]
            lines.append("")
    return "\n".join([*lines, report_texts.CLOSING[language]])


def _about(item: RecipientReport, language: int, discreet: bool) -> list[str]:
    who = _who(item) if discreet else f"{printable(item.name)} <{printable(item.final.spec)}>".strip()
    lines = [f"  - {who}"]
    if item.action in (Action.FAILED, Action.DELAYED):
        words = report_texts.STOPPED if item.stopped else report_texts.reason_of(item.status)
        lines.append(f"    {words[language]}")
    return lines


def _who(item: RecipientReport) -> str:
    return printable(item.name)[:_NAME_MAX] or "…"


def _message_fields(reporting_mta: str, envid: str | None, arrival: datetime | None) -> list[bytes]:
    fields = []
    if envid:
        fields.append(line("Original-Envelope-Id", from_xtext(envid)))
    fields.append(line("Reporting-MTA", f"dns; {reporting_mta}"))
    if arrival is not None:
        fields.append(line("Arrival-Date", format_date(arrival)))
    return fields


def _fields(item: RecipientReport, discreet: bool) -> list[bytes]:
    fields = []
    if item.original and not discreet:
        kind, _, address = item.original.partition(";")
        fields.append(line("Original-Recipient", f"{kind}; {from_xtext(address)}"))
    if discreet:
        fields.append(text_field("Final-Recipient", f"x-mss-name; {_who(item)}"))
    else:
        fields.append(line("Final-Recipient", typed_address(item.final)))
    fields += [line("Action", item.action), line("Status", item.status)]
    if item.remote and not discreet:
        fields.append(line("Remote-MTA", f"dns; {item.remote}"))
    if item.diagnostic and not discreet:
        # Only a reply of SMTP is of that type (RFC 3464 §2.3.6); the rest are our own words.
        kind = "smtp" if item.diagnostic[:3].isdigit() else "x-mss"
        fields.append(line("Diagnostic-Code", f"{kind}; {item.diagnostic}"))
    if item.last_attempt is not None:
        fields.append(line("Last-Attempt-Date", format_date(item.last_attempt)))
    if item.retry_until is not None and item.action is Action.DELAYED:
        fields.append(line("Will-Retry-Until", format_date(item.retry_until)))
    return fields


@dataclass(frozen=True, slots=True)
class RecipientStatus:
    """One recipient of a report that came in, as written there; `action` and `status` in lower case."""

    final: str
    action: str
    status: str
    original: str = ""
    diagnostic: str = ""
    remote: str = ""

    def __repr__(self) -> str:
        return f"RecipientStatus(…, action={self.action!r}, status={self.status!r})"


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """A delivery report that came in. What the sender had to identify the letter by: envelope id, Message-ID."""

    recipients: tuple[RecipientStatus, ...]
    envelope_id: str = ""
    original_message_id: str = ""
    reporting_mta: str = ""


def read_dsn(message: Message, limits: Limits) -> DeliveryReport | None:
    """Return what a delivery report says; None when the letter is none."""
    part = find(message, "message/delivery-status", "message/global-delivery-status")
    if part is None:
        return None
    groups = groups_of(message, part, limits)
    recipients = [group for group in groups if "final-recipient" in group or "original-recipient" in group]
    about = next((group for group in groups if group not in recipients), {})
    return DeliveryReport(
        recipients=tuple(map(_status, recipients)),
        envelope_id=about.get("original-envelope-id", ""),
        original_message_id=returned_message_id(message, limits),
        reporting_mta=untyped(about.get("reporting-mta", "")),
    )


def _status(group: dict[str, str]) -> RecipientStatus:
    original = untyped(group.get("original-recipient", ""))
    return RecipientStatus(
        final=untyped(group.get("final-recipient", "")) or original,
        action=_first_word(group.get("action", "")),
        status=_first_word(group.get("status", "")),
        original=original,
        diagnostic=untyped(group.get("diagnostic-code", "")),
        remote=untyped(group.get("remote-mta", "")),
    )


def _first_word(value: str) -> str:
    return value.lower().split()[0] if value.split() else ""
