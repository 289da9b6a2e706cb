"""Reports of delivery and disposition: written as the RFCs say, read as others write them, silent to patients."""

from __future__ import annotations

import email
import email.policy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.errors import Malformed
from mss.mail import mime, report_texts, reports, scan
from mss.mail.compose import Correspondent
from mss.mail.mdn import ERROR_LABELS
from mss.mail.reports import Action, Disposition, ErrorCode, Frame, RecipientReport
from mss.model.address import Address
from mss.model.envelope import Ret
from mss.model.message import Message
from tests.mail.letters import DOCTOR, LIMITS, NOON, PATIENT, index, mixed, xdm_letter

DAEMON = Correspondent(Address.parse("postmaster@region.fr"), report_texts.DAEMON_NAME)
ORIGINAL = index(b"Message-ID: <orig@x>", b"Date: Sun, 1 Mar 2026 10:00:00 +0100", b"Subject: secret", body=b"body\r\n")
FRAME = Frame(DAEMON, DOCTOR, NOON, "<r1@region.fr>", ORIGINAL)
FAILED = RecipientReport(PATIENT, Action.FAILED, "5.1.1", "550 5.1.1 no such box", "mx.patient.fr")


def dsn(*recipients: RecipientReport, **options: Any) -> Message:
    frame = options.pop("frame", FRAME)
    octets = reports.dsn(frame, recipients or (FAILED,), reporting_mta="mx.region.fr", **options)
    assert scan.smtp_safe(octets) is None
    return mime.index(octets, LIMITS)


def machine_part(message: Message) -> list[str]:
    part = message.structure.root.children[1]
    return mime.decoded(message, part).decode().replace("\r\n ", " ").split("\r\n")


def test_the_letter_of_a_delivery_report() -> None:
    message = dsn()
    root = message.structure.root
    assert root.content_type == "multipart/report"
    assert root.parameter("report-type") == "delivery-status"
    assert [part.content_type for part in root.children] == [
        "text/plain", "message/delivery-status", "text/rfc822-headers",
    ]  # fmt: skip
    assert message.header("to") == b" sophie.martin@medecin.mssante.fr"
    assert message.header("in-reply-to") == b" <orig@x>"
    assert message.header("auto-submitted") == b" auto-replied"
    assert mime.decoded(message, root.children[2]) == ORIGINAL.slice(ORIGINAL.structure.root.header)


def test_the_fields_of_a_delivery_report() -> None:
    delayed = RecipientReport(
        Address.parse("b@x.fr"),
        Action.DELAYED,
        "4.4.1",
        original="rfc822;B+2Bc@x.fr",
        last_attempt=NOON,
        retry_until=NOON,
    )
    message = dsn(FAILED, delayed, envid="QQ+3D1", arrival=NOON)
    assert machine_part(message) == [
        "Original-Envelope-Id: QQ=1",
        "Reporting-MTA: dns; mx.region.fr",
        "Arrival-Date: Mon, 02 Mar 2026 12:00:05 +0000",
        "",
        "Final-Recipient: rfc822; 279035121518989@patient.mssante.fr",
        "Action: failed",
        "Status: 5.1.1",
        "Remote-MTA: dns; mx.patient.fr",
        "Diagnostic-Code: smtp; 550 5.1.1 no such box",
        "",
        "Original-Recipient: rfc822; B+c@x.fr",
        "Final-Recipient: rfc822; b@x.fr",
        "Action: delayed",
        "Status: 4.4.1",
        "Last-Attempt-Date: Mon, 02 Mar 2026 12:00:05 +0000",
        "Will-Retry-Until: Mon, 02 Mar 2026 12:00:05 +0000",
        "",
    ]


def test_only_delays_say_until_when() -> None:
    assert not any("Will-Retry" in line for line in machine_part(dsn(replace(FAILED, retry_until=NOON))))


@pytest.mark.parametrize(
    ("ret", "action", "kind"),
    [
        (Ret.FULL, Action.FAILED, "message/rfc822"),
        (Ret.HDRS, Action.FAILED, "text/rfc822-headers"),
        (None, Action.FAILED, "text/rfc822-headers"),
        (Ret.FULL, Action.DELAYED, "text/rfc822-headers"),
        (Ret.FULL, Action.DELIVERED, "text/rfc822-headers"),
    ],
)
def test_what_comes_back(ret: Ret | None, action: Action, kind: str) -> None:
    message = dsn(replace(FAILED, action=action), ret=ret)
    part = message.structure.root.children[2]
    assert part.content_type == kind
    if kind == "message/rfc822":
        assert message.slice(part.body) == ORIGINAL.octets


def test_a_very_large_letter_does_not_come_back_whole() -> None:
    large = index(b"Subject: x", body=b"a" * (10 * 1024 * 1024 + 1))
    message = dsn(frame=replace(FRAME, original=large), ret=Ret.FULL)
    assert message.structure.root.children[2].content_type == "text/rfc822-headers"


def test_a_very_large_header_does_not_come_back_whole() -> None:
    large = index(*[b"X-Filler: " + b"x" * 90] * 4000, body=b"")
    message = dsn(frame=replace(FRAME, original=large))
    returned = mime.decoded(message, message.structure.root.children[2])
    assert 200_000 < len(returned) <= 256 * 1024
    assert returned.endswith(b"x\r\n")


def test_eight_bits_come_back_as_such() -> None:
    message = dsn(frame=replace(FRAME, original=index(b"Subject: \xc3\xa9", body=b"\xff\n")), ret=Ret.FULL)
    part = message.structure.root.children[2]
    assert part.encoding == "8bit"
    assert message.slice(part.body) == b"Subject: \xc3\xa9\r\n\r\n\xff\r\n"


@pytest.mark.parametrize(
    ("recipients", "subject"),
    [
        ([FAILED], reports.SUBJECT_FAILED),
        ([replace(FAILED, status="5.3.4")], reports.SUBJECT_TOO_LARGE),
        ([replace(FAILED, status="5.2.3"), FAILED], reports.SUBJECT_FAILED),
        ([FAILED, replace(FAILED, action=Action.DELIVERED)], reports.SUBJECT_FAILED),
        ([replace(FAILED, action=Action.DELAYED), replace(FAILED, action=Action.RELAYED)], reports.SUBJECT_DELAYED),
        ([replace(FAILED, action=Action.RELAYED)], reports.SUBJECT_RELAYED),
        ([replace(FAILED, action=Action.DELIVERED)], reports.SUBJECT_DELIVERED),
    ],
)
def test_subjects(recipients: list[RecipientReport], subject: str) -> None:
    message = dsn(*recipients)
    parsed: Any = email.message_from_bytes(message.octets, policy=email.policy.default)
    assert parsed["subject"] == subject


@pytest.mark.parametrize(
    ("status", "french"),
    [
        ("5.1.1", "Cette adresse n'existe pas."),
        ("5.2.2", "Cette boîte aux lettres est pleine."),
        ("5.4.7", "Nous avons essayé pendant tout le délai prévu, sans succès."),
        ("5.1.9", "Il y a une erreur dans cette adresse."),
        ("5.7.99", "Les règles de l'espace de confiance interdisent cet envoi."),
        ("5.0.0", "L'opérateur du destinataire a refusé le message."),
        ("", "L'opérateur du destinataire a refusé le message."),
    ],
)
def test_the_reason_in_plain_words(status: str, french: str) -> None:
    message = dsn(replace(FAILED, status=status, name="Jeanne PAT"))
    text = mime.text_of(message)[0]
    assert french in text
    assert report_texts.reason_of(status).english in text
    assert "Jeanne PAT <279035121518989@patient.mssante.fr>" in text
    assert text.index("n'a pas pu") < text.index("could not be delivered")


@pytest.mark.parametrize("action", list(Action))
def test_every_fate_has_its_words(action: Action) -> None:
    text = mime.text_of(dsn(replace(FAILED, action=action)))[0]
    for words in report_texts.OPENINGS[action]:
        assert words in text
    assert ("Cette adresse n'existe pas." in text) == (action in (Action.FAILED, Action.DELAYED))


def test_a_report_to_a_patient_shows_no_address() -> None:
    professional = RecipientReport(
        DOCTOR, Action.FAILED, "5.2.1", "550 <sophie.martin@medecin.mssante.fr> closed", "mx.medecin.fr",
        original="rfc822;sophie.martin@medecin.mssante.fr", name="Dr Sophie MARTIN",
    )  # fmt: skip
    original = index(b"Message-ID: <o@x>", b"To: sophie.martin@medecin.mssante.fr")
    message = dsn(
        professional,
        replace(professional, name=""),
        frame=Frame(DAEMON, PATIENT, NOON, "<r@x>", original),
        discreet=True,
    )
    assert b"sophie.martin" not in message.octets
    assert b"medecin" not in message.octets
    text = mime.text_of(message)[0]
    assert "Dr Sophie MARTIN" in text
    assert "Cette boîte aux lettres est fermée." in text
    assert "Final-Recipient: x-mss-name; Dr Sophie MARTIN" in machine_part(message)


def test_a_strangers_words_stay_in_their_field() -> None:
    hostile = replace(
        FAILED, diagnostic="550 a\r\n\r\nFinal-Recipient: x\x00 é " + "y" * 2000, original="rfc822;a+0D+0AAction: b"
    )
    lines = machine_part(dsn(hostile, envid="a+0D+0AX: b"))
    assert "Original-Envelope-Id: a X: b" in lines
    assert "Original-Recipient: rfc822; a Action: b" in lines
    assert sum(line.startswith("Final-Recipient:") for line in lines) == 1
    assert sum(line.startswith("Action:") for line in lines) == 1


def test_a_name_from_a_letter_stays_in_its_line() -> None:
    hostile = replace(FAILED, name="Dr\r\nX: y\x00\u2028" + "z" * 300)
    for discreet in (False, True):
        message = dsn(hostile, discreet=discreet)
        assert "  - Dr X: yz" in mime.text_of(message)[0]
        assert not any(line.startswith("X:") for line in machine_part(message))


def test_an_endless_subject_is_cut() -> None:
    message = mdn(Disposition.DISPLAYED, frame=replace(FRAME, original=index(b"Subject: " + b"x " * 50_000)))
    assert len(message.header("subject") or b"") < 600


def test_an_address_that_is_not_ascii() -> None:
    lines = machine_part(dsn(replace(FAILED, final=Address.parse("é@x.fr"))))
    assert "Final-Recipient: utf-8; \\x{E9}@x.fr" in lines


def test_an_original_whose_identifier_cannot_be_repeated() -> None:
    message = dsn(frame=replace(FRAME, original=index(b"Message-ID: <\xc3\xa9@x>")))
    assert message.header("in-reply-to") is None
    assert message.header("references") is None


def test_what_we_write_we_read() -> None:
    report = reports.read_dsn(
        dsn(FAILED, replace(FAILED, action=Action.RELAYED, original="rfc822;a@b"), envid="e1"), LIMITS
    )
    assert report is not None
    assert (report.envelope_id, report.original_message_id, report.reporting_mta) == ("e1", "<orig@x>", "mx.region.fr")
    first, second = report.recipients
    assert (first.final, first.action, first.status) == (PATIENT.spec, "failed", "5.1.1")
    assert (first.diagnostic, first.remote, first.original) == ("550 5.1.1 no such box", "mx.patient.fr", "")
    assert (second.action, second.original) == ("relayed", "a@b")
    assert "279035121518989" not in repr(report)


POSTFIX = mixed(
    b"Content-Description: Notification\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\nThis is the mail system",
    b"Content-Description: Delivery report\r\nContent-Type: message/delivery-status\r\n\r\n"
    b"Reporting-MTA: dns; mail.example\r\nX-Postfix-Queue-ID: 4A\r\n"
    b"Arrival-Date: Mon,  2 Mar 2026 12:00:00 +0100 (CET)\r\n"
    b"\r\n"
    b"Final-Recipient: rfc822; nobody@patient.fr\r\nOriginal-Recipient: rfc822;nobody@patient.fr\r\n"
    b"Action: failed (permanently)\r\nStatus: 5.1.1 (bad)\r\nRemote-MTA: dns; mx.patient.fr\r\n"
    b"Diagnostic-Code: smtp; 550 5.1.1 <nobody@patient.fr>:\r\n    Recipient unknown",
    b"Content-Type: message/rfc822\r\n\r\nMessage-ID: <back@x>\r\n\r\nbody",
    subtype="report; report-type=delivery-status",
)


def test_a_report_of_postfix() -> None:
    report = reports.read_dsn(mime.index(POSTFIX, LIMITS), LIMITS)
    assert report is not None
    [status] = report.recipients
    assert (status.final, status.action, status.status) == ("nobody@patient.fr", "failed", "5.1.1")
    assert status.diagnostic == "550 5.1.1 <nobody@patient.fr>:    Recipient unknown"
    assert (report.original_message_id, report.reporting_mta) == ("<back@x>", "mail.example")


@pytest.mark.parametrize(
    "body",
    [b"", b"\r\n\r\n", b"garbage", b"Final-Recipient", b"Final-Recipient:\r\nAction:\r\nStatus:", b"\xff" * 50,
     b"Original-Recipient: rfc822;a@b\n\nFinal-Recipient: c@d\n \nFinal-Recipient: e@f"],
)  # fmt: skip
def test_broken_reports_are_read(body: bytes) -> None:
    octets = mixed(b"\r\nhi", b"Content-Type: message/delivery-status\r\n\r\n" + body, subtype="report")
    report = reports.read_dsn(mime.index(octets, LIMITS), LIMITS)
    assert report is not None
    assert report.original_message_id == ""
    assert len(report.recipients) == (3 if body.startswith(b"Original") else 1 if b"t:" in body else 0)


@pytest.mark.parametrize("count", [999, 1000, 1001])
def test_limit_of_reported_recipients(count: int) -> None:
    body = b"Final-Recipient: a@b\r\n\r\n" * count
    octets = mixed(b"Content-Type: message/delivery-status\r\n\r\n" + body, subtype="report")
    report = reports.read_dsn(mime.index(octets, LIMITS), LIMITS)
    assert report is not None
    assert len(report.recipients) == min(count, 1000)


def test_an_ordinary_letter_is_no_report() -> None:
    assert reports.read_dsn(ORIGINAL, LIMITS) is None
    assert reports.read_mdn(ORIGINAL, LIMITS) is None


def mdn(disposition: Disposition, **options: Any) -> Message:
    frame = options.pop("frame", replace(FRAME, original=mime.index(xdm_letter(), LIMITS)))
    octets = reports.mdn(frame, disposition, final_recipient=PATIENT, reporting_ua="mx.region.fr; mss", **options)
    assert scan.smtp_safe(octets) is None
    return mime.index(octets, LIMITS)


@pytest.mark.parametrize(
    ("disposition", "field", "words"),
    [
        (Disposition.DISPLAYED, "manual-action/MDN-sent-automatically; displayed", "a été affiché"),
        (Disposition.PROCESSED, "automatic-action/MDN-sent-automatically; processed", "a été intégré"),
        (Disposition.DELETED, "automatic-action/MDN-sent-automatically; deleted", "a été supprimé"),
    ],
)
def test_disposition_reports(disposition: Disposition, field: str, words: str) -> None:
    message = mdn(disposition, original_recipient="rfc822;x@y.fr")
    assert message.structure.root.parameter("report-type") == "disposition-notification"
    assert machine_part(message) == [
        "Reporting-UA: mx.region.fr; mss",
        "Original-Recipient: rfc822;x@y.fr",
        "Final-Recipient: rfc822; 279035121518989@patient.mssante.fr",
        "Original-Message-ID: <1@lps.example>",
        f"Disposition: {field}",
        "",
    ]
    text = mime.text_of(message)[0]
    assert words in text
    assert "02/03/2026" in text
    parsed: Any = email.message_from_bytes(message.octets, policy=email.policy.default)
    assert parsed["subject"] == "XDM/1.0/DDM+CR d'examens biologiques PAT-TROIS Dominique 03/12/1979"
    report = reports.read_mdn(message, LIMITS)
    assert report is not None
    assert (report.disposition, report.failed, report.error) == (disposition.value, False, None)
    assert report.automatic == (disposition is not Disposition.DISPLAYED)
    assert report.original_message_id == "<1@lps.example>"
    assert report.final_recipient == PATIENT.spec
    assert "patient" not in repr(report)


@pytest.mark.parametrize("error", list(ErrorCode))
def test_a_letter_that_was_not_taken_over(error: ErrorCode) -> None:
    message = mdn(Disposition.PROCESSED, error=error, ret=Ret.FULL)
    lines = machine_part(message)
    assert "Disposition: automatic-action/MDN-sent-automatically; processed/error" in lines
    assert any(
        line.startswith(f"Error: {error.value}^{ERROR_LABELS[error]}^applicationErrorCondition") for line in lines
    )
    assert message.structure.root.children[2].embedded is not None
    parsed: Any = email.message_from_bytes(message.octets, policy=email.policy.default)
    assert parsed["subject"].startswith(f"[KO Intégration système !][{error.value}] XDM/1.0/DDM+CR")
    report = reports.read_mdn(message, LIMITS)
    assert report is not None
    assert (report.failed, report.error, report.error_text) == (True, error, ERROR_LABELS[error])
    assert ERROR_LABELS[error] in mime.text_of(message)[0]


def test_only_processing_has_errors() -> None:
    with pytest.raises(Malformed):
        mdn(Disposition.DISPLAYED, error=ErrorCode.OTHER)


def test_a_letter_without_subject_and_date() -> None:
    message = mdn(Disposition.PROCESSED, error=ErrorCode.OTHER, frame=replace(FRAME, original=index()))
    parsed: Any = email.message_from_bytes(message.octets, policy=email.policy.default)
    assert parsed["subject"] == "[KO Intégration système !][906]"
    assert "02/03/2026" in mime.text_of(message)[0]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        # The form before v1.1.3 had the error inside Disposition
        (b"Disposition: automatic-action/MDN-sent-automatically; processed/error: "
         b"902^Identifiant de patient inconnu^x|E^y",
         ("processed", True, ErrorCode.PATIENT_UNKNOWN, "Identifiant de patient inconnu")),
        (b"Disposition: automatic-action/MDN-sent-automatically; processed/error\r\nError: 904",
         ("processed", True, ErrorCode.INS_MISMATCH, "")),
        (b"Disposition: automatic-action/MDN-sent-automatically; processed/error\r\nError: something else",
         ("processed", True, None, "something else")),
        (b"Disposition: automatic-action/MDN-sent-automatically; failed/failure\r\nFailure: 901^x",
         ("failed", True, ErrorCode.AUTHOR, "x")),
        (b"Disposition: manual-action / MDN-sent-manually ;DISPLAYED", ("displayed", False, None, "")),
        (b"Disposition: manual-action/mdn-sent-manually; displayed/error", ("displayed", True, None, "")),
        (b"Disposition: garbage", ("", False, None, "")),
        (b"", ("", False, None, "")),
        (b"X: y\r\n\r\nDisposition: manual-action/mdn-sent-manually; deleted", ("deleted", False, None, "")),
        (b"Disposition: manual-action/mdn-sent-manually; displayed\r\nError: 1902^x",
         ("displayed", True, None, "1902^x")),
    ],
)  # fmt: skip
def test_reports_of_others(fields: bytes, expected: tuple[object, ...]) -> None:
    octets = mixed(
        b"\r\nhi",
        b"Content-Type: message/disposition-notification\r\n\r\n" + fields,
        b"Content-Type: text/rfc822-headers\r\n\r\nMessage-ID: <back@x>",
        subtype="report",
    )
    report = reports.read_mdn(mime.index(octets, LIMITS), LIMITS)
    assert report is not None
    assert (report.disposition, report.failed, report.error, report.error_text) == expected
    assert report.original_message_id == "<back@x>"


@given(
    st.lists(
        st.sampled_from([b"Disposition: ", b"a/b;c", b"Error: ", b"902^", b"\r\n", b"\xff", b";", b"/"]), max_size=12
    )
)
def test_any_report_is_read(pieces: list[bytes]) -> None:
    body = b"".join(pieces)
    for kind in (b"message/disposition-notification", b"message/delivery-status"):
        message = mime.index(mixed(b"Content-Type: " + kind + b"\r\n\r\n" + body), LIMITS)
        reports.read_mdn(message, LIMITS)
        reports.read_dsn(message, LIMITS)


@pytest.mark.parametrize(
    ("lines", "reverse_path", "asked"),
    [
        ([b"Disposition-Notification-To: Dr <Sophie.Martin@medecin.mssante.fr>"], DOCTOR, True),
        ([b"Disposition-Notification-To: other@medecin.mssante.fr"], DOCTOR, False),
        ([b"Disposition-Notification-To: sophie.martin@medecin.mssante.fr"], None, False),
        ([b"Disposition-Notification-To: sophie.martin@medecin.mssante.fr, x@y"], DOCTOR, False),
        ([b"Disposition-Notification-To: sophie.martin@medecin.mssante.fr"] * 2, DOCTOR, False),
        ([b"Disposition-Notification-To: nobody"], DOCTOR, False),
        ([b"Disposition-Notification-To:"], DOCTOR, False),
        ([], DOCTOR, False),
    ],
)
def test_who_may_be_sent_a_receipt(lines: list[bytes], reverse_path: Address | None, asked: bool) -> None:
    found = reports.requested_by(index(*lines), reverse_path, LIMITS)
    assert (found is not None) is asked
    assert found is None or found.key == DOCTOR.key


def test_a_notice_is_an_ordinary_letter_with_the_original() -> None:
    octets = reports.notice(FRAME, ErrorCode.INS_MISMATCH)
    assert scan.smtp_safe(octets) is None
    message = mime.index(octets, LIMITS)
    root = message.structure.root
    assert (root.content_type, root.parameter("report-type")) == ("multipart/mixed", None)
    assert [part.content_type for part in root.children] == ["text/plain", "message/rfc822"]
    assert "904^" in mime.text_of(message)[0]
    assert message.header("in-reply-to") == b" <orig@x>"
    assert mime.decoded(message, root.children[1]).endswith(b"body\r\n")
