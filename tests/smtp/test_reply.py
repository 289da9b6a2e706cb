"""Replies: one line of printable ASCII, a class that agrees with its code, and policy's words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.policy.decision import Decision, Rule, Verdict
from mss.smtp import reply
from mss.smtp.reply import Reply

NO = Rule("test.no", 550, "5.1.1", "Nobody here.")
LATER = Rule("test.later", 451, "4.7.0", "Later.")


def test_one_line_and_several() -> None:
    assert reply.OK.encode() == b"250 2.0.0 OK\r\n"
    assert reply.START_DATA.encode().startswith(b"354 End data")
    assert reply.hello("mx.example", ["DSN", "SIZE 1"]).encode() == b"250-mx.example\r\n250-DSN\r\n250 SIZE 1\r\n"
    assert Reply(334, "", "").encode() == b"334 \r\n"


def test_the_greeting_names_no_product_and_no_version() -> None:
    assert reply.greeting("mx.example").encode() == b"220 mx.example ESMTP\r\n"


@given(st.text(), st.sampled_from(["", "5.1.1"]))
def test_whatever_a_text_holds_a_reply_is_one_line(text: str, enhanced: str) -> None:
    octets = Reply(550, enhanced, text).encode()
    assert octets.endswith(b"\r\n")
    assert octets.count(b"\r") == octets.count(b"\n") == 1
    assert len(octets) <= 512
    assert octets.isascii()


def constants() -> list[Reply]:
    return [value for value in vars(reply).values() if isinstance(value, Reply)]


@pytest.mark.parametrize("constant", constants(), ids=lambda constant: f"{constant.code}-{constant.text[:20]}")
def test_constants_agree_with_themselves(constant: Reply) -> None:
    assert constant.enhanced == "" or constant.enhanced[0] == str(constant.code)[0]
    assert constant.text.isascii()
    assert constant.positive == (constant.code < 400)
    assert constant.temporary == (str(constant.code)[0] == "4")


@pytest.mark.parametrize(
    ("decision", "expected"),
    [
        (Decision(Verdict.ACCEPT, Rule("test.yes")), reply.RECIPIENT_OK),
        (Decision(Verdict.QUARANTINE, NO), reply.RECIPIENT_OK),
        (Decision(Verdict.REJECT, NO), Reply(550, "5.1.1", "Nobody here. (test.no)")),
        (Decision(Verdict.DEFER, LATER), Reply(451, "4.7.0", "Later. (test.later)")),
        (Decision(Verdict.DEFER, NO), Reply(451, "4.1.1", "Nobody here. (test.no)")),
        (Decision(Verdict.REJECT, LATER), Reply(550, "5.7.0", "Later. (test.later)")),
        (Decision(Verdict.REJECT, Rule("test.odd", 200, "", "Odd.")), Reply(550, "5.0.0", "Odd. (test.odd)")),
    ],
)
def test_decisions(decision: Decision, expected: Reply) -> None:
    assert reply.of_decision(decision, reply.RECIPIENT_OK) == expected


def test_many_decisions_say_yes_for_one_then_later_then_no() -> None:
    yes, no, later = Decision(Verdict.ACCEPT, NO), Decision(Verdict.REJECT, NO), Decision(Verdict.DEFER, LATER)
    assert reply.of_decisions([no, later, yes], reply.OK) == reply.OK
    assert reply.of_decisions([no, later], reply.OK).code == 451
    assert reply.of_decisions([no, no], reply.OK).code == 550
    assert reply.of_decisions([], reply.OK) == reply.NO_RECIPIENTS
