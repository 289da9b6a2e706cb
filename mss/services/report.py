"""Reports that we owe: delivery reports (RFC 3464), receipts and filing notices (RFC 8098, MSSANTE.md §3.6).

A report has the null reverse path, and none is ever made about a report. To a patient it is discreet: names, no
addresses. It goes into a box of ours at once, or into the queue.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from mss.errors import Malformed
from mss.mail import headers, reports
from mss.mail.compose import Correspondent, Draft, compose, message_id
from mss.model.account import Box
from mss.model.address import Address, parse_domain
from mss.model.audit import AuditEvent
from mss.model.delivery import Delivery, Outcome
from mss.model.envelope import Envelope, Notify, Ret
from mss.model.filing import FilingReason, FilingVerdict
from mss.model.party import BoxKind
from mss.policy.retry import ReportKind
from mss.services import deliver
from mss.services.deliver import Incoming
from mss.services.house import House
from mss.services.marks import message_mark
from mss.services.reading import Reading, read_letter
from mss.store import Uow
from mss.store.objects import Stored
from mss.store.sealing import OPERATOR

if TYPE_CHECKING:
    from mss.services.receive import RecipientOutcome

EXPIRY: Final = timedelta(days=2)
# The status of a letter that its own operator stopped; others' 5.3.0 tells of their systems.
STOPPED_HERE: Final = "5.3.0"
POSTMASTER_NAME: Final = "Service de messagerie"
_DISPOSITION: Final = "disposition-"
_STORY_RECORDS_MAX: Final = 1000
_KO: Final = {
    903: reports.ErrorCode.INS_ABSENT,
    904: reports.ErrorCode.INS_MISMATCH,
    905: reports.ErrorCode.INS_INCOMPLETE,
}


def _frame(reporter: Correspondent, to: Address, original: Reading, now: datetime) -> reports.Frame:
    own_id = message_id(f"report.{secrets.token_hex(12)}", reporter.address.domain)
    return reports.Frame(reporter, to, now, own_id, original.message)


def send(uow: Uow, house: House, to: Address, octets: bytes, now: datetime, *, require_tls: bool = False) -> None:
    """Put a report into a box of ours, or queue it; a report to an unknown box of ours is dropped and noted.

    `require_tls`: the letter it tells of required TLS, and so does the report (RFC 8689 §5).
    """
    reading = read_letter(octets, house.limits, documents=False)
    stored = uow.objects.put(octets, now)
    if to.domain in house.domains:
        box = uow.accounts.box_by_address(to)
        if box is None or not box.receives:
            uow.objects.hold(OPERATOR, stored)
            uow.journal.write(AuditEvent("system:report", "report.undeliverable", f"letter:{stored.id}"), now)
            return
        size_max_octets = house.limits.message_max_octets
        deliver.deliver(uow, box, _incoming(reading, stored, to), FilingVerdict(), size_max_octets, now)
        return
    uow.objects.hold(OPERATOR, stored)
    uow.queue.add(replace(_delivery(to, reading, stored.id, now), require_tls=require_tls), OPERATOR)
    uow.wake("queue")


def _incoming(reading: Reading, stored: Stored, to: Address) -> Incoming:
    return Incoming(
        reading=reading,
        stored=stored,
        reverse_path=None,
        envelope=(to,),
        origin_domains=frozenset(),
        patient_domains=frozenset({to.domain}),
        reply_to_foreign=False,
        actor="system:report",
    )


def _delivery(to: Address, reading: Reading, object_id: int, now: datetime) -> Delivery:
    return Delivery(
        id=0,
        object_id=object_id,
        destination=to.domain,
        reverse_path=None,
        recipient=to,
        message_id=reading.message_id,
        size_octets=len(reading.octets),
        created_at=now,
        expires_at=now + EXPIRY,
        next_attempt_at=now,
        notify=frozenset({Notify.NEVER}),
        eight_bit=not reading.octets.isascii(),
    )


# -- delivery reports ------------------------------------------------------------------------------------------------


def about_delivery(
    uow: Uow,
    house: House,
    delivery: Delivery,
    outcome: Outcome,
    kind: ReportKind,
    retry_until: datetime | None,
    now: datetime,
) -> None:
    """Report on one delivery to the sender of its letter."""
    to = delivery.reverse_path
    if to is None:
        return
    original = _original(uow, house, delivery)
    box = uow.accounts.box_by_address(to) if to.domain in house.domains else None
    discreet = box is not None and box.kind is BoxKind.PATIENT
    stopped = outcome.enhanced == STOPPED_HERE and not outcome.remote
    item = reports.RecipientReport(
        final=delivery.recipient,
        action=reports.Action(kind.value),
        status=outcome.enhanced or _STATUS[kind],
        diagnostic=f"{outcome.code} {outcome.enhanced} {outcome.text}".strip() if outcome.code else outcome.text,
        remote=outcome.remote,
        original=delivery.orcpt,
        name=_shown_name(uow, box, delivery.recipient) if discreet and box else "",
        last_attempt=None if stopped else now,
        retry_until=retry_until,
        stopped=stopped,
    )
    octets = reports.dsn(
        _frame(reporter(house), to, original, now),
        [item],
        reporting_mta=house.hostname,
        ret=Ret.HDRS if delivery.require_tls else delivery.ret,
        envid=delivery.envid,
        arrival=delivery.created_at,
        discreet=discreet,
    )
    send(uow, house, to, octets, now, require_tls=delivery.require_tls)
    mark = message_mark(uow, delivery.message_id)
    _sent(uow, kind.value, f"delivery:{delivery.id}", delivery.source_box_id, mark, now)


def _sent(uow: Uow, kind: str, target: str, box_id: int | None, mark: str | None, now: datetime) -> None:
    """Note that a report went out, where a letter's story finds it."""
    event = AuditEvent("system:report", "report.send", target, "", "", box_id, {"kind": kind}, mark)
    uow.journal.write(event, now)


_STATUS: Final = {
    ReportKind.FAILED: "5.0.0",
    ReportKind.DELAYED: "4.0.0",
    ReportKind.DELIVERED: "2.0.0",
    ReportKind.RELAYED: "2.0.0",
}


def _original(uow: Uow, house: House, delivery: Delivery) -> Reading:
    holding = uow.queue.holding(delivery.id)
    octets = uow.objects.get(*holding) if holding is not None else b""
    return read_letter(octets, house.limits, documents=False)


def reporter(house: House) -> Correspondent:
    """Return whose name our reports carry; peers take them only from a domain that is listed for us."""
    domain = next(iter(house.domains), None) or parse_domain(house.hostname)
    return Correspondent(Address("postmaster", domain), POSTMASTER_NAME)


def _shown_name(uow: Uow, box: Box, recipient: Address) -> str:
    contact = uow.conversations.contact(box.id, recipient)
    return contact.name if contact is not None else ""


def after_acceptance(
    uow: Uow,
    house: House,
    envelope: Envelope,
    outcomes: Sequence[RecipientOutcome],
    reading: Reading,
    now: datetime,
) -> None:
    """Report on the recipients refused after DATA while others were accepted, and on delivery where it was wished."""
    to = envelope.reverse_path
    if to is None:
        return
    box = uow.accounts.box_by_address(to) if to.domain in house.domains else None
    # A patient reads names only: no address of a professional, nothing that another system said.
    patient = box if box is not None and box.kind is BoxKind.PATIENT else None
    items = [item for outcome in outcomes if (item := _item(uow, outcome, patient))]
    if not items:
        return
    octets = reports.dsn(
        _frame(reporter(house), to, reading, now),
        items,
        reporting_mta=house.hostname,
        ret=Ret.HDRS if envelope.require_tls else envelope.ret,
        envid=envelope.envid,
        arrival=now,
        discreet=patient is not None,
    )
    send(uow, house, to, octets, now, require_tls=envelope.require_tls)
    mark = message_mark(uow, reading.message_id)
    for kind in sorted({item.action.value for item in items}):
        _sent(uow, kind, f"recipients:{len(items)}", None, mark, now)


def _item(uow: Uow, outcome: RecipientOutcome, patient: Box | None) -> reports.RecipientReport | None:
    recipient, decision = outcome.recipient, outcome.decision
    wishes = recipient.notify
    if decision.accepted and Notify.SUCCESS in wishes and outcome.box_id is not None:
        action, status, text = reports.Action.DELIVERED, "2.0.0", ""
    elif not decision.accepted and Notify.NEVER not in wishes and (not wishes or Notify.FAILURE in wishes):
        action, status = reports.Action.FAILED, decision.rule.enhanced
        text = f"{decision.rule.code} {status} {decision.public_text}"
    else:
        return None
    name = _shown_name(uow, patient, recipient.address) if patient else ""
    return reports.RecipientReport(recipient.address, action, status, text, original=recipient.orcpt, name=name)


# -- filing notices and receipts -------------------------------------------------------------------------------------


def about_filing(uow: Uow, house: House, box: Box, letter: Incoming, verdict: FilingVerdict, now: datetime) -> None:
    """Tell the sender of documents that were delivered but not filed, with the first reason's code (905, 906…): by a
    disposition report where one was asked for, else by an ordinary letter.

    An archive or document in which nothing could be read counts as one.
    """
    unfiled = _unfiled(box, letter, verdict)
    for reason, code in unfiled:
        facts: dict[str, str | int] = {"reason": reason, "code": code, "letter": letter.stored.id}
        uow.journal.write(AuditEvent(letter.actor, "document.unfiled", f"box:{box.id}", "", "", box.id, facts), now)
    if not unfiled or letter.reverse_path is None or letter.reading.automatic:
        return
    error = _KO.get(unfiled[0][1], reports.ErrorCode.OTHER)
    asked = reports.requested_by(letter.reading.message, letter.reverse_path, house.limits)
    if asked is not None:
        _send_mdn(uow, house, box, letter.reading, asked, reports.Disposition.PROCESSED, error, now)
        return
    frame = _frame(Correspondent(box.address), letter.reverse_path, letter.reading, now)
    send(uow, house, letter.reverse_path, reports.notice(frame, error), now)
    _sent(uow, f"notice-{error.value}", f"box:{box.id}", box.id, message_mark(uow, letter.reading.message_id), now)


_UNOPENED_TEXT: Final = (
    "Bonjour,\n\nvotre message a été remis dans la boîte du patient. Celui-ci ne l’a encore jamais ouverte : il se "
    "peut qu’il ne lise pas votre message. Si celui-ci est urgent, joignez le patient autrement.\n\n"
    "Cet avis est automatique et ne vous est adressé qu’une fois pour ce patient.\n\n"
    "Your message was delivered. The patient has never opened this mailbox and may not read it.\n"
)
_HOUR: Final = timedelta(hours=1)


def about_unopened(uow: Uow, house: House, box: Box, letter: Incoming, now: datetime) -> bool:
    """Tell a sender, once for each patient, that the box was never opened (RFC 3834: null reverse path, marked as
    automatic, never in answer to an automatic letter); False when nothing was told."""
    to, most = letter.reverse_path, house.limits.unopened_notices_per_hour_max
    if to is None or letter.reading.automatic or uow.rights.told_since(now - _HOUR) >= most:
        return False
    if not uow.rights.tell_unopened(box.id, to.key, now):
        return False
    ours = reporter(house)
    draft = Draft(
        sender=ours,
        to=(Correspondent(to),),
        subject="Message remis dans une boîte jamais ouverte",
        date=now,
        message_id=message_id(f"unopened.{secrets.token_hex(12)}", ours.address.domain),
        text=_UNOPENED_TEXT,
        in_reply_to=f"<{letter.reading.message_id.strip('<>')}>" if letter.reading.message_id else "",
        auto_submitted="auto-replied",
    )
    send(uow, house, to, compose(draft), now)
    _sent(uow, "unopened", f"box:{box.id}", box.id, message_mark(uow, letter.reading.message_id), now)
    return True


def _unfiled(box: Box, letter: Incoming, verdict: FilingVerdict) -> list[tuple[str, int]]:
    """Return why documents for a patient were not filed, each reason with its code."""
    submission = letter.reading.submission
    if box.ins is None or submission is None:
        return []
    if not verdict.documents:
        return [(problem, FilingReason.DAMAGED.code) for problem in submission.problems]
    return [(one.reason.value, one.code) for one in verdict.documents if not one.filed]


def read_receipt(uow: Uow, house: House, box: Box, reading: Reading, now: datetime) -> bool:
    """Send the receipt that a letter asked for, once it was read; False when it asked for none, or when its documents
    were reported on already: a recipient sends one disposition report about a letter (RFC 8098 §2.1)."""
    asked = reports.requested_by(reading.message, _reverse_path(reading, house), house.limits)
    if asked is None or reading.automatic or _reported(uow, box, reading):
        return False
    _send_mdn(uow, house, box, reading, asked, reports.Disposition.DISPLAYED, None, now)
    return True


def _reported(uow: Uow, box: Box, reading: Reading) -> bool:
    """Say whether a disposition report about a letter went out in a box's name."""
    mark = message_mark(uow, reading.message_id)
    story = uow.journal.of_message(mark, _STORY_RECORDS_MAX) if mark is not None else ()
    sent = [one.event for one in story if one.event.action == "report.send" and one.event.target == f"box:{box.id}"]
    return any(str(event.facts.get("kind", "")).startswith(_DISPOSITION) for event in sent)


def _reverse_path(reading: Reading, house: House) -> Address | None:
    """Return the reverse path that our own trace field keeps."""
    found = headers.addresses(reading.message.header("return-path") or b"", house.limits)
    try:
        return Address.parse(found[0][1]) if found else None
    except Malformed:
        return None


def _send_mdn(
    uow: Uow,
    house: House,
    box: Box,
    reading: Reading,
    to: Address,
    disposition: reports.Disposition,
    error: reports.ErrorCode | None,
    now: datetime,
) -> None:
    # Whoever named the patient wrongly does not learn the right name from our notice.
    reporter = Correspondent(box.address, box.display_name if error is None else "")
    octets = reports.mdn(
        _frame(reporter, to, reading, now),
        disposition,
        final_recipient=box.address,
        reporting_ua=f"{house.hostname}; mss",
        error=error,
        ret=Ret.HDRS if error is None else Ret.FULL,
    )
    send(uow, house, to, octets, now)
    kind = str(error.value) if error is not None else disposition.value
    _sent(uow, f"{_DISPOSITION}{kind}", f"box:{box.id}", box.id, message_mark(uow, reading.message_id), now)
