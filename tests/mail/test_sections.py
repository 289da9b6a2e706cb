"""What BODY[…] names: the octets that Dovecot 2.3 sends for the same letters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.mail import mime, sections
from mss.mail.sections import Section, What
from mss.model.message import Span
from tests.mail.letters import LIMITS

PLAIN = b"Subject: s\r\nX: y\r\nx: z\r\n z2\r\n\r\nbody\r\n"
DEEP = (
    b"Subject: s\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\npre\r\n"
    b"--b\r\nContent-Type: text/plain\r\n\r\none\r\n"
    b"--b\r\nContent-Type: message/rfc822\r\nX-P: q\r\n\r\nSubject: in\r\nFrom: a@b\r\n\r\ninbody\r\n"
    b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in2\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n"
    b"--c\r\n\r\ndeep1\r\n--c\r\nContent-Type: message/rfc822\r\n\r\nSubject: in3\r\n\r\ndeep3\r\n--c--\r\n--b--\r\n"
)
FORWARD = b"Subject: s\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nx\r\n"
HEADER_ONLY = b"Subject: s\r\n"
GARBAGE = b"Subject: s\r\ngarbage\r\n cont\r\nX: y\r\nTo : z\r\n\r\nb"

H, T, M, F, N = What.HEADER, What.TEXT, What.MIME, What.FIELDS, What.FIELDS_NOT


@pytest.mark.parametrize(
    ("octets", "section", "expected"),
    [
        (PLAIN, Section(), PLAIN),
        (PLAIN, Section(what=H), PLAIN[:-6]),
        (PLAIN, Section(what=T), b"body\r\n"),
        (PLAIN, Section(what=M), None),
        (PLAIN, Section((1,)), b"body\r\n"),
        (PLAIN, Section((1,), M), PLAIN[:-6]),
        (PLAIN, Section((1,), H), None),
        (PLAIN, Section((1,), T), None),
        (PLAIN, Section((2,)), None),
        (PLAIN, Section((1, 1)), None),
        (PLAIN, Section((0,)), None),
        (PLAIN, Section((), F, ("X", "Subject")), PLAIN[:-6]),
        (PLAIN, Section((), F, ("subject",)), b"Subject: s\r\n\r\n"),
        (PLAIN, Section((), F, ("nope",)), b"\r\n"),
        (PLAIN, Section((), N, ("x",)), b"Subject: s\r\n\r\n"),
        (PLAIN, Section((), N, ("nope",)), PLAIN[:-6]),
        (DEEP, Section((1,)), b"one"),
        (DEEP, Section((1,), M), b"Content-Type: text/plain\r\n\r\n"),
        (DEEP, Section((1,), H), None),
        (DEEP, Section((2,)), b"Subject: in\r\nFrom: a@b\r\n\r\ninbody"),
        (DEEP, Section((2,), M), b"Content-Type: message/rfc822\r\nX-P: q\r\n\r\n"),
        (DEEP, Section((2,), H), b"Subject: in\r\nFrom: a@b\r\n\r\n"),
        (DEEP, Section((2,), T), b"inbody"),
        (DEEP, Section((2,), F, ("From",)), b"From: a@b\r\n\r\n"),
        (DEEP, Section((2,), N, ("From",)), b"Subject: in\r\n\r\n"),
        (DEEP, Section((2, 1)), b"inbody"),
        (DEEP, Section((2, 1), M), b"Subject: in\r\nFrom: a@b\r\n\r\n"),
        (DEEP, Section((2, 1, 1)), None),
        (DEEP, Section((2, 2)), None),
        (DEEP, Section((3, 1)), b"deep1"),
        (DEEP, Section((3, 1), M), b"\r\n"),
        (DEEP, Section((3, 2)), b"Subject: in3\r\n\r\ndeep3"),
        (DEEP, Section((3, 2), H), b"Subject: in3\r\n\r\n"),
        (DEEP, Section((3, 2, 1)), b"deep3"),
        (DEEP, Section((3, 2, 1), M), b"Subject: in3\r\n\r\n"),
        (DEEP, Section((3,), F, ("subject",)), b"Subject: in2\r\n\r\n"),
        (DEEP, Section((4,)), None),
        (FORWARD, Section((1,)), b"Subject: in\r\n\r\nx\r\n"),
        (FORWARD, Section((1,), M), FORWARD[:44]),
        (FORWARD, Section((1,), H), b"Subject: in\r\n\r\n"),
        (FORWARD, Section((1,), T), b"x\r\n"),
        (FORWARD, Section((1, 1)), b"x\r\n"),
        (FORWARD, Section((1, 1), M), b"Subject: in\r\n\r\n"),
        (FORWARD, Section((2,)), None),
        (HEADER_ONLY, Section((), H), HEADER_ONLY),
        (HEADER_ONLY, Section((), T), b""),
        (HEADER_ONLY, Section((1,)), b""),
        (HEADER_ONLY, Section((), F, ("subject",)), b"Subject: s\r\n\r\n"),
        (b"Subject: s", Section((), F, ("subject",)), b"Subject: s\r\n\r\n"),
        (GARBAGE, Section((), N, ("x",)), b"Subject: s\r\ngarbage\r\n cont\r\nTo : z\r\n\r\n"),
        (GARBAGE, Section((), N, ("garbage",)), GARBAGE[:-1]),
        (GARBAGE, Section((), F, ("To",)), b"To : z\r\n\r\n"),
    ],
)
def test_sections(octets: bytes, section: Section, expected: bytes | None) -> None:
    assert sections.octets(mime.index(octets, LIMITS), section) == expected


def test_a_section_that_is_one_run_is_given_as_a_span() -> None:
    message = mime.index(DEEP, LIMITS)
    found = sections.section(message, Section((2,), T))
    assert found == Span(DEEP.index(b"inbody"), DEEP.index(b"inbody") + 6)


def test_parts_by_number_agree_with_their_own_number() -> None:
    message = mime.index(DEEP, LIMITS)
    third = message.structure.root.children[2]
    assert third.embedded is not None
    for part in [*message.structure.root.children, *third.embedded.children]:
        assert sections.part(message, tuple(map(int, part.number.split(".")))) is part
    assert sections.part(message, ()) is message.structure.root


@given(st.lists(st.integers(0, 4), max_size=5), st.sampled_from(list(What)))
def test_any_section_of_any_letter(path: list[int], what: What) -> None:
    for octets in (PLAIN, DEEP, FORWARD, b""):
        found = sections.octets(mime.index(octets, LIMITS), Section(tuple(path), what, ("subject",)))
        assert found is None or isinstance(found, bytes)
