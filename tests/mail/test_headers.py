"""Texts, addresses, identifiers and dates of header fields: RFC examples, broken ones, hostile ones."""

from __future__ import annotations

import email.header
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.mail import addresslist, headers
from tests.mail.letters import LIMITS


@pytest.mark.parametrize(
    ("raw", "value"),
    [(b"a\r\n b", b"a b"), (b"a\n\tb", b"a\tb"), (b"a\r\nb", b"a\r\nb"), (b"plain", b"plain"), (b"a\r\n", b"a\r\n")],
)
def test_unfold(raw: bytes, value: bytes) -> None:
    assert headers.unfold(raw) == value


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        # RFC 2047 §8
        (b"(=?ISO-8859-1?Q?a?=)", "(a)"),
        (b"(=?ISO-8859-1?Q?a?= b)", "(a b)"),
        (b"(=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=)", "(ab)"),
        (b"(=?ISO-8859-1?Q?a?=  \r\n    =?ISO-8859-1?Q?b?=)", "(ab)"),
        (b"(=?ISO-8859-1?Q?a_b?=)", "(a b)"),
        (b"(=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=)", "(a b)"),
        (b"=?US-ASCII?Q?Keith_Moore?=", "Keith Moore"),
        (b"=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=\r\n =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
         "If you can read this you understand the example."),
        # RFC 2231 §5
        (b"=?US-ASCII*EN?Q?Keith_Moore?=", "Keith Moore"),
        # A character torn in two words
        (b"=?utf-8?q?=C3?= =?utf-8?q?=A9?=", "é"),
        (b"=?utf-8?b?w6k?=", "é"),
        (b"=?utf-8?b?w6k=x?=", "é1"),
        (b"=?utf-8?b?w?=", ""),
        (b"=?utf-8?q?a=ZZ=4?=", "a=ZZ=4"),
        (b"=?no-charset?q?=C3=A9?=", "é"),
        (b"=?utf-8?x?abc?=", "=?utf-8?x?abc?="),
        (b"=?utf-8?q?open", "=?utf-8?q?open"),
        (b"caf\xc3\xa9 =?utf-8?q?=C3=A9?=", "café é"),
        (b"caf\xe9", "café"),
        (b"a =?utf-8?q??= b", "a  b"),
        (b"  spaces kept  inside \r\n", "spaces kept  inside"),
        (b"=?utf-8?q?a=0D=0ABcc:_x?=", "a Bcc: x"),
        (b"=?utf-8?q?a=00b=E2=80=AEc?=", "abc"),
        (b"a\rb", "a b"),
        (b"", ""),
    ],
)  # fmt: skip
def test_decode_text(raw: bytes, text: str) -> None:
    assert headers.decode_text(raw) == text


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Zs", "Zl", "Zp"]), min_size=1))
def test_the_standard_library_writes_what_we_read(text: str) -> None:
    assert headers.decode_text(email.header.Header(text, "utf-8").encode().encode()) == text


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"])))
def test_what_is_encoded_is_read_again(text: str) -> None:
    assert headers.decode_text(headers.encode_text(text)).strip() == text.strip()


@given(st.binary(max_size=100))
def test_any_octets_give_text_without_line_ends(raw: bytes) -> None:
    text = headers.decode_text(raw)
    assert not set(text) & set("\r\n\x00")


A = ("", "a@b.fr")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"a@b.fr", [A]),
        (b"<a@b.fr>", [A]),
        (b"Joe <a@b.fr>", [("Joe", "a@b.fr")]),
        (b'"Joe Q. Public" <a@b.fr>', [("Joe Q. Public", "a@b.fr")]),
        (b'"Joe \\"Q\\"" <a@b.fr>', [('Joe "Q"', "a@b.fr")]),
        (b"=?utf-8?q?Ren=C3=A9e?= <a@b.fr>", [("Renée", "a@b.fr")]),
        (b'"=?utf-8?q?Ren=C3=A9e?=" <a@b.fr>', [("Renée", "a@b.fr")]),
        (b"Ren\xc3\xa9e <a@b.fr>", [("Renée", "a@b.fr")]),
        (b"a@b.fr (Joe)", [("Joe", "a@b.fr")]),
        (b"a@b.fr, c@d.fr", [A, ("", "c@d.fr")]),
        (b"a@b.fr,,\r\n , c@d.fr,", [A, ("", "c@d.fr")]),
        (b"a@b.fr; c@d.fr", [A, ("", "c@d.fr")]),
        (b"Team: a@b.fr, C <c@d.fr>;, e@f.fr", [A, ("C", "c@d.fr"), ("", "e@f.fr")]),
        (b"Undisclosed recipients:;", []),
        (b'"a b"@c.fr', [("", '"a b"@c.fr')]),
        (b'"a\\"b"@c.fr', [("", '"a\\"b"@c.fr')]),
        (b'"a@evil"@c.fr', [("", '"a@evil"@c.fr')]),
        (b'""@c.fr', [("", '""@c.fr')]),
        (b"<@x.fr,@y.fr:a@b.fr>", [A]),
        (b"a . b @ c . fr", [("", "a.b@c.fr")]),
        (b"a@[192.0.2.1]", [("", "a@[192.0.2.1]")]),
        (b"\xc3\xa9@b.fr", [("", "é@b.fr")]),
        # Ambiguous: every address counts
        (b"a@b.fr c@d.fr", [A, ("", "c@d.fr")]),
        (b"<a@b.fr> <c@d.fr>", [A, ("", "c@d.fr")]),
        (b"<a@b.fr> c@d.fr", [A, ("", "c@d.fr")]),
        (b"Joe <a@b.fr", [("Joe", "a@b.fr")]),
        (b"Joe <a@b.fr, c@d.fr", [("Joe", "a@b.fr"), ("", "c@d.fr")]),
        (b"a@b.fr:c@d.fr", [A, ("", "c@d.fr")]),
        (b"Team: Sub: a@b.fr;;", [("", "Sub"), A]),
        # A display name is no address
        (b"c@d.fr <a@b.fr>", [("c@d.fr", "a@b.fr")]),
        (b'"c@d.fr" <a@b.fr>', [("c@d.fr", "a@b.fr")]),
        (b"Joe Doe a@b.fr", [("Joe Doe", "a@b.fr")]),
        # Broken: returned, so that nobody takes them for absent
        (b"foo", [("", "foo")]),
        (b"foo bar", [("foo bar", "")]),
        (b"<>", [("", "")]),
        (b"a@", [("", "a")]),
        (b"@b.fr", [("", "@b.fr")]),
        (b"a@b@c.fr", [("", "a@b@c.fr")]),
        (b"<a b@c.fr>", [("", '"a b"@c.fr')]),
        (b'"open, a@b.fr', [("", '"open, a@b.fr"')]),
        (b"(open a@b.fr", []),
        (b"joe\\x <a@b.fr>", [("joex", "a@b.fr")]),
        (b"(c(c\\)c)c) a@b.fr", [("c(c)c)c", "a@b.fr")]),
        (b"a@b.fr (x) (Joe)", [("Joe", "a@b.fr")]),
        (b"", []),
        (b" \r\n ", []),
        (b"<a@b.fr>> c", [A]),
        (b"<a:b@c.fr>", [("", '"a:b"@c.fr')]),
    ],
)
def test_addresses(raw: bytes, expected: list[tuple[str, str]]) -> None:
    assert headers.addresses(raw, LIMITS) == expected


@pytest.mark.parametrize("limit", [2, 3, 4])
def test_limit_of_addresses(limit: int) -> None:
    limits = replace(LIMITS, addresses_max=limit)
    assert len(headers.addresses(b"a@b, c@d, e@f", limits)) == min(limit, 3)
    assert len(headers.addresses(b"<a@b> <c@d> <e@f>", limits)) == min(limit, 3)


_HOSTILE = (
    b"(", b'"', b"<", b"<a>", b",", b"a@b,", b"@", b"a ", b"\\", b"()", b" ", b"G:", b"[", b"<@a,", b'"\\'
)  # fmt: skip


# An eighth of what a header may have tells linear from quadratic just as well.
@pytest.mark.parametrize("octets", [1 << 17, pytest.param(1 << 20, marks=pytest.mark.slow)])
@pytest.mark.parametrize("piece", _HOSTILE)
def test_a_hostile_list_costs_little(piece: bytes, octets: int) -> None:
    raw = piece * (octets // len(piece))
    start = time.process_time()
    assert len(headers.addresses(raw, LIMITS)) <= LIMITS.addresses_max
    assert time.process_time() - start < 5 * octets / (1 << 17)


@given(st.text('a@.<>,;:()"\\[] \r\n', max_size=40))
def test_any_list_is_read(text: str) -> None:
    for name, spec in headers.addresses(text.encode(), LIMITS):
        assert not set(name + spec) & set("\r\n")


@pytest.mark.parametrize(
    ("raw", "ids"),
    [
        (b" <a@b>", ["<a@b>"]),
        (b"<a@b>\r\n <c@d>,<e@f>", ["<a@b>", "<c@d>", "<e@f>"]),
        (b"comment <a@b> (x)", ["<a@b>"]),
        (b"a@b", ["<a@b>"]),
        (b"no identifier", []),
        (b"<a b@c>", []),
        (b"<>", []),
        (b"", []),
        (b"<" + b"x" * 996 + b">", ["<" + "x" * 996 + ">"]),
        (b"<" + b"x" * 997 + b">", []),
    ],
)
def test_message_ids(raw: bytes, ids: list[str]) -> None:
    assert headers.message_ids(raw) == ids


@pytest.mark.parametrize("count", [999, 1000, 1001])
def test_limit_of_message_ids(count: int) -> None:
    assert len(headers.message_ids(b"<a@b> " * count)) == min(count, headers.MESSAGE_IDS_MAX)


def test_hostile_identifiers_cost_little() -> None:
    start = time.process_time()
    assert headers.message_ids(b"<" * 10**6) == []
    assert headers.message_ids(b"<a" * 10**6) == []
    assert time.process_time() - start < 10


def at(hours: float, *parts: int) -> datetime:
    year, month, day, hour, minute, second = parts
    return datetime(year, month, day, hour, minute, second, tzinfo=timezone(timedelta(hours=hours)))


@pytest.mark.parametrize(
    ("raw", "instant"),
    [
        # RFC 5322 appendix A
        (b"Fri, 21 Nov 1997 09:55:06 -0600", at(-6, 1997, 11, 21, 9, 55, 6)),
        (b"Tue, 1 Jul 2003 10:52:37 +0200", at(2, 2003, 7, 1, 10, 52, 37)),
        (b"Thu, 13 Feb 1969 23:32 -0330", at(-3.5, 1969, 2, 13, 23, 32, 0)),
        (b"Thu,\r\n      13\r\n        Feb\r\n          1969\r\n      23:32\r\n       -0330 (Newfoundland Time)",
         at(-3.5, 1969, 2, 13, 23, 32, 0)),
        (b"21 Nov 97 09:55:06 GMT", at(0, 1997, 11, 21, 9, 55, 6)),
        (b"Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", at(-6, 1997, 11, 21, 9, 55, 6)),
        (b"1 Jan 49 00:00 +0000", at(0, 2049, 1, 1, 0, 0, 0)),
        (b"1 Jan 50 00:00 +0000", at(0, 1950, 1, 1, 0, 0, 0)),
        (b"1 Jan 103 00:00 +0000", at(0, 2003, 1, 1, 0, 0, 0)),
        (b"Mon, 2 March 2026 12:00:00 EST", at(-5, 2026, 3, 2, 12, 0, 0)),
        (b"2-Mar-2026 12:00:00 +01:00", at(1, 2026, 3, 2, 12, 0, 0)),
        (b"2 Mar 2026 12:00:60 -0000", at(0, 2026, 3, 2, 12, 0, 59)),
        (b"2 Mar 2026 12:00:00", at(0, 2026, 3, 2, 12, 0, 0)),
        (b"2 Mar 2026 12:00:00.123 +0100", at(1, 2026, 3, 2, 12, 0, 0)),
        (b"2 Mar 2026 12:00 XYZ", at(0, 2026, 3, 2, 12, 0, 0)),
        (b"2 Mar 2026 12:00:61 +0000", None),
        (b"31 Feb 2026 12:00 +0000", None),
        (b"2 Mar 2026 25:00 +0000", None),
        (b"2 Mar 2026 12:00 +9999", None),
        (b"2 Foo 2026 12:00 +0000", None),
        (b"2 Mar 0000 12:00 +0000", None),
        (b"yesterday", None),
        (b"", None),
        (b" " * 1_000_000, None),
        (b"(" * 1_000_000, None),
    ],
)  # fmt: skip
def test_dates(raw: bytes, instant: datetime | None) -> None:
    found = headers.date(raw)
    assert found == instant
    assert found is None or found.tzinfo is not None


@given(
    st.datetimes(datetime(1950, 1, 1), datetime(9000, 1, 1)),  # noqa: DTZ001
    st.integers(-1439, 1439),
)
def test_dates_are_written_as_the_standard_library_does(naive: datetime, minutes: int) -> None:
    instant = naive.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=minutes)))
    assert headers.format_date(instant) == format_datetime(instant)
    assert headers.date(headers.format_date(instant).encode()) == instant


def test_utc_is_written_as_an_offset() -> None:
    assert headers.format_date(datetime(2026, 3, 2, 1, 2, 3, tzinfo=UTC)) == "Mon, 02 Mar 2026 01:02:03 +0000"


_ATOMS = st.sampled_from([b"Jean", b"D.", b"a", b"o'b", b"x.y", b"\xc3\xa9", b"=?utf-8?q?=C3=A9?=", b"!#$", b"."])
_GAPS = st.sampled_from([b"", b" ", b"  ", b"\t", b"\r\n "])
_PIECES = st.one_of(
    _ATOMS,
    _GAPS,
    st.sampled_from([b"<", b">", b"@", b",", b'"', b'"a b"', b'"a\\"b"', b"(c)", b":", b";", b"\\", b"[1.2]", b"\x00"]),
    st.builds(lambda name, gap, local, domain: name + gap + b"<" + local + b"@" + domain + b">", *(_ATOMS, _GAPS) * 2),
    st.builds(lambda local, domain: local + b"@" + domain, _ATOMS, _ATOMS),
)


@given(st.lists(_PIECES, max_size=12).map(b"".join), st.integers(1, 4))
def test_common_forms_are_read_as_all_others_are(raw: bytes, addresses_max: int) -> None:
    common = addresslist._common(raw, addresses_max)
    assert common is None or common == addresslist._any(raw, addresses_max)


@pytest.mark.parametrize(
    ("raw", "count"),
    [
        (b"a@b.example", 1),
        (b" Jean D. <a@b.example>\r\n", 1),
        (b'"Dupont, J. (x)" <a@b.example>, c@d.example', 2),
        (b"A <a@b.example>,\r\n B <c@d.example>", 2),
    ],
)
def test_which_forms_are_common(raw: bytes, count: int) -> None:
    found = addresslist._common(raw, 10)
    assert found is not None
    assert len(found) == count
    assert found == addresslist._any(raw, 10)
