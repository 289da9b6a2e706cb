"""Trace fields, and fields put before or taken out of a letter: nothing escapes from a field."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.errors import Malformed
from mss.mail import mime, scan, trace
from mss.mail.trace import AuthenticationResult, Hop
from mss.model.address import Address, Domain
from tests.mail.letters import DOCTOR, LIMITS, NOON, PATIENT, index

HOP = Hop("mail.region.fr", "192.0.2.7", "ESMTPS", "TLSv1.3 TLS_AES_256_GCM_SHA384", "CN=region")


def test_received() -> None:
    line = trace.received(HOP, by="mx.example.fr", queue_id="4f.2", at=NOON, recipient=PATIENT)
    assert line == (
        b"Received: from mail.region.fr ([192.0.2.7])\r\n"
        b"\t(TLSv1.3 TLS_AES_256_GCM_SHA384, CN=region)\r\n"
        b"\tby mx.example.fr\r\n\twith ESMTPS\r\n\tid 4f.2\r\n"
        b"\tfor <279035121518989@patient.mssante.fr>;\r\n"
        b"\tMon, 02 Mar 2026 12:00:05 +0000\r\n"
    )


def test_received_without_tls_and_recipient() -> None:
    at = datetime(2026, 3, 2, 13, 0, 5, tzinfo=timezone(timedelta(hours=1)))
    line = trace.received(Hop("[192.0.2.7]", "192.0.2.7", "ESMTP"), by="mx", queue_id="1", at=at)
    assert line == (
        b"Received: from [192.0.2.7] ([192.0.2.7])\r\n\tby mx\r\n\twith ESMTP\r\n\tid 1;\r\n"
        b"\tMon, 02 Mar 2026 13:00:05 +0100\r\n"
    )


def test_an_address_that_is_not_ascii_stays_out_of_received() -> None:
    recipient = Address("é", Domain("x.fr"))
    assert b"for <" not in trace.received(HOP, by="mx", queue_id="1", at=NOON, recipient=recipient)


@pytest.mark.parametrize("helo", ["", "a b", "a)(b", "-a", "é.fr", "x" * 300, "[a b]"])
def test_an_odd_helo_is_not_repeated(helo: str) -> None:
    assert trace.received(Hop(helo, "::1"), by="mx", queue_id="1", at=NOON).startswith(
        b"Received: from unknown ([::1])"
    )


@pytest.mark.parametrize(
    "hop",
    [
        Hop("a\r\nBcc: x", "::1"),
        Hop("a\x00", "::1"),
        Hop("a", "::1\r\n x"),
        Hop("a", ""),
        Hop("a", "::1", "ES MTP"),
        Hop("a", "::1", tls="x\r\n"),
    ],
)
def test_received_refuses_injection(hop: Hop) -> None:
    with pytest.raises(Malformed):
        trace.received(hop, by="mx", queue_id="1", at=NOON)


def test_a_certificate_name_cannot_close_its_comment() -> None:
    line = trace.received(Hop("a", "::1", tls="T", certificate="CN=a) by evil (é\\"), by="mx", queue_id="1", at=NOON)
    assert b"(T, CN=a? by evil ???)" in line.replace(b"\r\n", b"")


@pytest.mark.parametrize(("by", "queue_id"), [("a b", "1"), ("mx", "1\r\nX: y"), ("", "1"), ("mx", "")])
def test_received_refuses_our_own_mistakes(by: str, queue_id: str) -> None:
    with pytest.raises(Malformed):
        trace.received(HOP, by=by, queue_id=queue_id, at=NOON)


def test_return_path() -> None:
    assert trace.return_path(DOCTOR) == b"Return-Path: <sophie.martin@medecin.mssante.fr>\r\n"
    assert trace.return_path(None) == b"Return-Path: <>\r\n"
    with pytest.raises(Malformed):
        trace.return_path(Address("a\r\nb", Domain("x.fr")))


@pytest.mark.parametrize("count", [49, 50, 51])
def test_limit_of_hops(count: int) -> None:
    message = index(*[b"Received: from a by b; x"] * count)
    assert trace.count_received(message) == count
    assert trace.has_loop(message, "mx.example.fr", LIMITS) == (count > 50)


@pytest.mark.parametrize("count", [3, 4, 5])
def test_limit_of_our_own_hops(count: int) -> None:
    message = index(*[b"Received: from a (by x)\r\n\tBy MX.example.fr (y) with ESMTPS; z"] * count)
    assert trace.has_loop(message, "mx.example.fr", replace(LIMITS, received_max=5)) is False or count > 4
    assert trace.has_loop(message, "mx.example.fr", LIMITS) == (count > trace.OWN_HOPS_MAX)
    assert not trace.has_loop(message, "other.example.fr", LIMITS)


def test_received_without_a_receiver_counts_as_a_hop() -> None:
    assert not trace.has_loop(index(*[b"Received: garbage"] * 10), "mx", LIMITS)


def test_authentication_results() -> None:
    results = [
        AuthenticationResult("dkim", "pass", (("header.d", "region.fr"), ("header.s", "s 1"))),
        AuthenticationResult("x-mtls", "fail", reason='not "listed"'),
    ]
    assert trace.authentication_results("mx.example.fr", results) == (
        b'Authentication-Results: mx.example.fr;\r\n\tdkim=pass header.d=region.fr header.s="s 1";\r\n'
        b'\tx-mtls=fail reason="not \\"listed\\""\r\n'
    )
    assert trace.authentication_results("mx", []) == b"Authentication-Results: mx;\r\n\tnone\r\n"
    with pytest.raises(Malformed):
        trace.authentication_results("mx", [AuthenticationResult("dkim", "pass", reason="a\r\nb")])
    with pytest.raises(Malformed):
        trace.authentication_results("mx", [AuthenticationResult("dkim", "pa ss")])


def test_forged_results_are_taken_out() -> None:
    message = index(
        b"Authentication-Results: MX.example.fr; dkim=pass",
        b"Subject: x",
        b'Authentication-Results: (c) "mx.example.fr" 1;\r\n dkim=pass',
        b"Authentication-Results: other.fr; dkim=pass",
        b"Authentication-Results:",
    )
    assert trace.remove(message, (), "mx.example.fr") == (
        b"Subject: x\r\nAuthentication-Results: other.fr; dkim=pass\r\nAuthentication-Results:\r\n\r\nhi\r\n"
    )


def test_prepend() -> None:
    octets = trace.prepend(b"Subject: x\r\n\r\n", [trace.return_path(None), b"X: a\r\n b\r\n"])
    assert octets == b"Return-Path: <>\r\nX: a\r\n b\r\nSubject: x\r\n\r\n"
    assert trace.prepend(b"body", []) == b"body"


@pytest.mark.parametrize(
    "line",
    [b"", b"X: a", b"X: a\n", b"X: a\r\nY: b\r\n", b"X: a\r\n\r\n", b"X: a\rb\r\n", b"X: a\x00\r\n", b"no colon\r\n",
     b" X: a\r\n", b"X Y: a\r\n", b"X: a\r\n \r\n", b"X: a\r\n\t\r\n b\r\n"],
)  # fmt: skip
def test_prepend_refuses_what_is_no_field(line: bytes) -> None:
    with pytest.raises(Malformed):
        trace.prepend(b"\r\n", [line])


def test_prepend_looks_at_long_lines_once() -> None:
    start = time.process_time()
    trace.prepend(b"", [b"X: " + b"a" * 10**6 + b"\r\n"])
    assert time.process_time() - start < 5


def test_add_missing() -> None:
    bare = index(b"Subject: x")
    assert trace.add_missing(bare, message_id="<1@x>", date=NOON) == (
        b"Message-ID: <1@x>\r\nDate: Mon, 02 Mar 2026 12:00:05 +0000\r\nSubject: x\r\n\r\nhi\r\n"
    )
    whole = index(b"message-id: <2@x>", b"DATE: x")
    assert trace.add_missing(whole, message_id="<1@x>", date=NOON) == whole.octets
    with pytest.raises(Malformed):
        trace.add_missing(bare, message_id="<1@x>\r\nBcc: y", date=NOON)


def test_remove() -> None:
    message = index(b"Bcc: a@b,\r\n c@d", b"Subject: x", b"BCC : e@f", b"X-Bcc: no")
    assert trace.remove(message, ["bcc"]) == b"Subject: x\r\nX-Bcc: no\r\n\r\nhi\r\n"
    assert trace.remove(message, []) == message.octets
    assert trace.remove(mime.index(b"Bcc: a@b", LIMITS), ["Bcc"]) == b""


def test_nothing_hides_behind_a_limit() -> None:
    few = replace(LIMITS, header_fields_max=1)
    message = index(b"Subject: x", b"Bcc: a@b", b"Authentication-Results: mx; dkim=pass", limits=few)
    assert not mime.header_is_whole(message)
    assert b"Bcc" not in trace.remove(message, ["bcc"])
    assert b"dkim" not in trace.remove(message, (), "mx")
    assert mime.header_is_whole(index(b"Subject: x", b"garbage", b"Bcc: a@b"))


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_whatever_a_peer_says_makes_one_field_or_is_refused(helo: str, tls: str, certificate: str) -> None:
    try:
        line = trace.received(Hop(helo, "192.0.2.1", "ESMTPS", tls, certificate), by="mx", queue_id="1", at=NOON)
    except Malformed:
        return
    assert scan.smtp_safe(line) is None
    assert line.isascii()
    assert [field.name for field in mime.index(line + b"\r\n", LIMITS).structure.root.fields] == ["received"]


@pytest.mark.parametrize(
    ("signatures", "rest"),
    [
        (b"", b"From: a\r\n\r\nx\r\n"),
        (b"DKIM-Signature: v=1; t=1;\r\n b=abc\r\n\tdef\r\n", b"From: a\r\n\r\nx\r\n"),
        (b"dkim-signature : a\r\nDKIM-Signature:b\r\n", b"From: a\r\nDKIM-Signature: not on top\r\n\r\nx\r\n"),
        (b"", b"\r\nDKIM-Signature: text\r\n"),
        (b"", b"DKIM-Signature: without an end"),
        (b"", b""),
    ],
)
def test_what_stands_below_the_signatures(signatures: bytes, rest: bytes) -> None:
    assert trace.below_signatures(signatures + rest) == rest
