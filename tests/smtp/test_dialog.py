"""The relay's dialogue: what we ask of a peer by what it offers, and what its answers mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.model.address import Address, Domain
from mss.model.delivery import Delivery, Outcome, OutcomeKind
from mss.model.envelope import Notify, Ret
from mss.smtp import dialog
from mss.smtp.dialog import Answer, Letter, Offer
from tests.smtp.smtp_letters import delivery

OCTETS = b"From: a@chu.example\r\n\r\nHello\r\n"
ALL = Offer("mx", frozenset({"SIZE", "8BITMIME", "SMTPUTF8", "DSN", "REQUIRETLS"}), 1000)
BARE = Offer("mx", frozenset())


def letter(*deliveries: Delivery) -> Letter:
    return Letter(deliveries or (delivery(),))


def test_offers_are_read_in_any_case() -> None:
    assert dialog.offer("mx", {"size": "1000", "8BITMIME": "", "Dsn": ""}) == Offer(
        "mx", frozenset({"SIZE", "8BITMIME", "DSN"}), 1000
    )


@pytest.mark.parametrize("size", ["", "0", "many", "-1", "9" * 21, "١"])
def test_a_size_that_says_nothing_is_no_limit(size: str) -> None:
    assert dialog.offer("mx", {"size": size}).size_max_octets is None


@pytest.mark.parametrize(
    ("changes", "peer", "expected"),
    [
        ({}, ALL, ("SIZE=30",)),
        ({}, BARE, ()),
        ({"eight_bit": True}, ALL, ("SIZE=30", "BODY=8BITMIME")),
        ({"smtputf8": True}, ALL, ("SIZE=30", "SMTPUTF8")),
        ({"require_tls": True}, ALL, ("SIZE=30", "REQUIRETLS")),
        ({"recipient": Address("é", Domain("gip.example"))}, ALL, ("SIZE=30", "SMTPUTF8")),
        ({"reverse_path": Address("é", Domain("chu.example"))}, ALL, ("SIZE=30", "SMTPUTF8")),
        ({"ret": Ret.HDRS, "envid": "Q+2B"}, ALL, ("SIZE=30", "RET=HDRS", "ENVID=Q+2B")),
        ({"ret": Ret.HDRS, "envid": "Q+2B"}, BARE, ()),
    ],
)
def test_mail_options(changes: dict[str, object], peer: Offer, expected: tuple[str, ...]) -> None:
    assert dialog.mail_options(letter(delivery(**changes)), 30, peer) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "peer", "expected"),
    [
        ({}, ALL, ()),
        ({"notify": frozenset({Notify.NEVER})}, ALL, ("NOTIFY=NEVER", "ORCPT=rfc822;b@gip.example")),
        (
            {"notify": frozenset({Notify.DELAY, Notify.SUCCESS, Notify.FAILURE}), "orcpt": "rfc822;c@d"},
            ALL,
            ("NOTIFY=SUCCESS,FAILURE,DELAY", "ORCPT=rfc822;c@d"),
        ),
        ({"orcpt": "rfc822;c@d"}, ALL, ("ORCPT=rfc822;c@d",)),
        ({"notify": frozenset({Notify.NEVER})}, BARE, ()),
        (
            {"notify": frozenset({Notify.NEVER}), "recipient": Address("b+c=d", Domain("gip.example"))},
            ALL,
            ("NOTIFY=NEVER", "ORCPT=rfc822;b+2Bc+3Dd@gip.example"),
        ),
        (
            {"notify": frozenset({Notify.NEVER}), "recipient": Address("é", Domain("gip.example"))},
            ALL,
            ("NOTIFY=NEVER",),
        ),
    ],
)
def test_rcpt_options(changes: dict[str, object], peer: Offer, expected: tuple[str, ...]) -> None:
    assert dialog.rcpt_options(delivery(**changes), peer) == expected  # type: ignore[arg-type]


def test_nothing_stands_in_the_way_of_a_plain_letter() -> None:
    assert dialog.obstacle(letter(), OCTETS, BARE) is None
    assert dialog.obstacle(letter(delivery(smtputf8=True, eight_bit=True)), OCTETS, ALL) is None


@pytest.mark.parametrize(
    ("changes", "octets", "peer", "enhanced"),
    [
        ({"smtputf8": True}, OCTETS, BARE, "5.6.7"),
        ({"require_tls": True}, OCTETS, BARE, "5.7.30"),
        ({"eight_bit": True}, OCTETS, BARE, "5.6.3"),
        ({}, b"x" * 999 + b"\r\n", ALL, "5.3.4"),
        ({}, b"a\nb\r\n", ALL, "5.6.0"),
        ({}, b"a\r.\rb\r\n", ALL, "5.6.0"),
        ({}, b"a\0\r\n", ALL, "5.6.0"),
    ],
)
def test_obstacles_are_permanent(changes: dict[str, object], octets: bytes, peer: Offer, enhanced: str) -> None:
    outcome = dialog.obstacle(letter(delivery(**changes)), octets, peer)  # type: ignore[arg-type]
    assert outcome
    assert (outcome.kind, outcome.enhanced) == (OutcomeKind.PERMANENT, enhanced)


def test_a_letter_at_the_peers_limit_goes() -> None:
    assert dialog.obstacle(letter(), b"x" * 998 + b"\r\n", ALL) is None


@pytest.mark.parametrize(
    ("answer", "kind", "enhanced", "text"),
    [
        (Answer(250, "2.0.0 Queued"), OutcomeKind.RELAYED, "2.0.0", "Queued"),
        (Answer(250, "OK"), OutcomeKind.RELAYED, "2.0.0", "OK"),
        (Answer(550, "5.1.1 Unknown"), OutcomeKind.PERMANENT, "5.1.1", "Unknown"),
        (Answer(550, "5.1.1 No\n5.1.1 such user"), OutcomeKind.PERMANENT, "5.1.1", "No such user"),
        (Answer(550, "No"), OutcomeKind.PERMANENT, "5.0.0", "No"),
        (Answer(450, "4.2.0 Later"), OutcomeKind.TEMPORARY, "4.2.0", "Later"),
        (Answer(550, "4.2.0 Mixed"), OutcomeKind.TEMPORARY, "4.2.0", "Mixed"),
        (Answer(530, "5.7.0 STARTTLS first"), OutcomeKind.TEMPORARY, "5.7.0", "STARTTLS first"),
        (Answer(354, "go on"), OutcomeKind.TEMPORARY, "4.0.0", "go on"),
        (Answer(-1, "?"), OutcomeKind.TEMPORARY, "4.0.0", "?"),
        (Answer(550, "5.1.1"), OutcomeKind.PERMANENT, "5.1.1", ""),
        (Answer(550, "bell\x07 and\x00 esc\x1b"), OutcomeKind.PERMANENT, "5.0.0", "bell? and? esc?"),
    ],
)
def test_answers(answer: Answer, kind: OutcomeKind, enhanced: str, text: str) -> None:
    assert dialog.outcome(answer, "mx") == Outcome(kind, answer.code, enhanced, text, "mx")


def test_reports_are_handed_on_only_with_a_yes() -> None:
    assert dialog.outcome(Answer(250, "OK"), "mx", dsn=True).dsn_handed_on
    assert not dialog.outcome(Answer(250, "OK"), "mx").dsn_handed_on
    assert not dialog.outcome(Answer(550, "No"), "mx", dsn=True).dsn_handed_on


@given(st.integers(-1, 999), st.text(max_size=700))
def test_any_answer_means_something_that_can_be_shown(code: int, text: str) -> None:
    outcome = dialog.outcome(Answer(code, text), "mx")
    assert len(outcome.text) <= dialog.TEXT_MAX
    assert outcome.text.isprintable()
    assert outcome.kind is not OutcomeKind.PERMANENT or 500 <= code <= 599
    assert outcome.kind is not OutcomeKind.RELAYED or 200 <= code <= 299


def test_each_recipient_keeps_its_own_refusal() -> None:
    no, yes = Outcome(OutcomeKind.PERMANENT, 550, "5.1.1", ""), Outcome(OutcomeKind.RELAYED, 250, "2.0.0", "")
    assert dialog.settle([None, no, None], yes) == (yes, no, yes)


def test_letters_travel_together_only_when_everything_is_the_same() -> None:
    one, two = delivery(1), delivery(2, "c@gip.example")
    other_letter, other_wish = delivery(3, object_id=2), delivery(4, envid="x")
    letters = dialog.group([one, two, other_letter, other_wish], 100)
    assert [tuple(d.id for d in made.deliveries) for made in letters] == [(1, 2), (3,), (4,)]


def test_a_transaction_holds_so_many_recipients_at_most() -> None:
    many = [delivery(number, f"b{number}@gip.example") for number in range(5)]
    assert [len(made.deliveries) for made in dialog.group(many, 2)] == [2, 2, 1]
