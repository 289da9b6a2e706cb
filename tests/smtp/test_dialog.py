"""The relay's dialogue: what we ask of a peer by what it offers, and what its answers mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.errors import Malformed
from mss.model.address import Address, Domain
from mss.model.delivery import Delivery, Outcome, OutcomeKind
from mss.model.envelope import Notify, Ret
from mss.smtp import dialog
from mss.smtp.dialog import Answer, Answers, Letter, Offer, Parcel
from tests.mail.letters import LIMITS, mixed
from tests.smtp.smtp_letters import delivery

OCTETS = b"From: a@chu.example\r\n\r\nHello\r\n"
ALL = Offer("mx", frozenset({"SIZE", "8BITMIME", "SMTPUTF8", "DSN", "REQUIRETLS"}), 1000)
BARE = Offer("mx", frozenset())


def letter(*deliveries: Delivery) -> Letter:
    return Letter(deliveries or (delivery(),))


def test_offers_are_read_in_any_case() -> None:
    answer = Answer(250, "mx at your service\nsize 1000\n8BITMIME\nDsn\n\nAUTH PLAIN LOGIN")
    assert dialog.offer("mx", answer) == Offer("mx", frozenset({"SIZE", "8BITMIME", "DSN", "AUTH"}), 1000)
    assert dialog.offer("mx", Answer(250, "mx")) == Offer("mx", frozenset())


@pytest.mark.parametrize("size", ["", "0", "many", "-1", "9" * 21, "١"])
def test_a_size_that_says_nothing_is_no_limit(size: str) -> None:
    assert dialog.offer("mx", Answer(250, f"mx\nSIZE {size}")).size_max_octets is None


def pack(changes: dict[str, object], octets: bytes = OCTETS, peer: Offer = ALL) -> Parcel:
    packed = dialog.pack(letter(delivery(**changes)), octets, peer, LIMITS)  # type: ignore[arg-type]
    assert isinstance(packed, Parcel)
    return packed


@pytest.mark.parametrize(
    ("changes", "peer", "expected"),
    [
        ({}, ALL, (f"SIZE={len(OCTETS)}",)),
        ({}, BARE, ()),
        ({"smtputf8": True}, ALL, (f"SIZE={len(OCTETS)}", "SMTPUTF8")),
        ({"require_tls": True}, ALL, (f"SIZE={len(OCTETS)}", "REQUIRETLS")),
        ({"recipient": Address("é", Domain("gip.example"))}, ALL, (f"SIZE={len(OCTETS)}", "SMTPUTF8")),
        ({"reverse_path": Address("é", Domain("chu.example"))}, ALL, (f"SIZE={len(OCTETS)}", "SMTPUTF8")),
        ({"ret": Ret.HDRS, "envid": "Q+2B"}, ALL, (f"SIZE={len(OCTETS)}", "RET=HDRS", "ENVID=Q+2B")),
        ({"ret": Ret.HDRS, "envid": "Q+2B"}, BARE, ()),
    ],
)
def test_mail_options(changes: dict[str, object], peer: Offer, expected: tuple[str, ...]) -> None:
    assert dialog.mail_options(pack(changes, peer=peer), peer) == expected


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


EIGHT_BIT = "Subject: x\r\n\r\nRésultat\r\n".encode()
UTF8_HEADER = "Subject: Résultat\r\n\r\nx\r\n".encode()
SIGNED = mixed(EIGHT_BIT, b"Content-Type: application/pkcs7-signature\r\n\r\nMII=", subtype="signed")
SEVEN_BITS = Offer("mx", frozenset({"SIZE", "SMTPUTF8"}))
NO_UTF8 = Offer("mx", frozenset({"8BITMIME"}))
ELSEWHERE: dict[str, object] = {"recipient": Address("é", Domain("gip.example"))}


def test_a_letter_of_eight_bits_is_announced_as_such() -> None:
    assert "BODY=8BITMIME" in dialog.mail_options(pack({}, EIGHT_BIT), ALL)
    assert "BODY=8BITMIME" not in dialog.mail_options(pack({"eight_bit": True}), ALL)


@pytest.mark.parametrize("octets", [OCTETS, EIGHT_BIT, UTF8_HEADER, SIGNED, b"", b"x" * 2000])
def test_a_letter_is_never_changed_towards_a_peer_that_can_take_it(octets: bytes) -> None:
    able = Offer("mx", frozenset({"SIZE", "8BITMIME", "SMTPUTF8", "DSN", "PIPELINING"}))
    assert pack({"smtputf8": True}, octets, able).octets is octets


def test_a_letter_is_converted_for_a_peer_that_takes_seven_bits() -> None:
    parcel = pack({"eight_bit": True}, EIGHT_BIT, BARE)
    assert parcel.octets.endswith(b"Content-Transfer-Encoding: quoted-printable\r\n\r\nR=C3=A9sultat\r\n")
    assert dialog.mail_options(parcel, SEVEN_BITS) == (f"SIZE={len(parcel.octets)}",)
    assert pack({}, OCTETS, BARE).octets is OCTETS


def test_a_letter_that_was_handed_in_as_internationalised_and_is_not_goes_anywhere() -> None:
    parcel = pack({"smtputf8": True}, EIGHT_BIT, NO_UTF8)
    assert (parcel.octets, parcel.smtputf8) == (EIGHT_BIT, False)
    assert dialog.mail_options(parcel, NO_UTF8) == ("BODY=8BITMIME",)


@pytest.mark.parametrize(
    ("changes", "octets", "peer", "enhanced"),
    [
        ({"smtputf8": True}, UTF8_HEADER, NO_UTF8, "5.6.7"),
        ({"require_tls": True}, OCTETS, BARE, "5.7.30"),
        (ELSEWHERE, OCTETS, NO_UTF8, "5.6.7"),
        ({"reverse_path": Address("é", Domain("chu.example"))}, OCTETS, NO_UTF8, "5.6.7"),
        ({}, UTF8_HEADER, BARE, "5.6.7"),
        ({}, SIGNED, BARE, "5.6.3"),
        ({}, b"Content-Transfer-Encoding: x-own\r\n\r\n\xff", BARE, "5.6.3"),
        ({}, b"x" * 999 + b"\r\n", ALL, "5.3.4"),
        ({}, b"\r\n" + b"\xe9" * 250, Offer("mx", frozenset(), 400), "5.3.4"),
        ({}, b"a\nb\r\n", ALL, "5.6.0"),
        ({}, b"a\r.\rb\r\n", ALL, "5.6.0"),
        ({}, b"a\0\r\n", ALL, "5.6.0"),
    ],
)
def test_what_a_peer_cannot_take_is_refused_for_good(
    changes: dict[str, object], octets: bytes, peer: Offer, enhanced: str
) -> None:
    outcome = dialog.pack(letter(delivery(**changes)), octets, peer, LIMITS)  # type: ignore[arg-type]
    assert isinstance(outcome, Outcome)
    assert (outcome.kind, outcome.enhanced) == (OutcomeKind.PERMANENT, enhanced)


def test_a_letter_at_the_peers_limit_goes() -> None:
    assert pack({}, b"x" * 998 + b"\r\n").octets


def test_a_transaction_is_opened_in_one_go() -> None:
    both = Letter((delivery(1, notify=frozenset({Notify.NEVER})), delivery(2, "c@gip.example", reverse_path=None)))
    parcel = dialog.pack(both, OCTETS, ALL, LIMITS)
    assert isinstance(parcel, Parcel)
    assert dialog.opening(parcel, ALL) == [
        f"MAIL FROM:<a@chu.example> SIZE={len(OCTETS)}".encode(),
        b"RCPT TO:<b@gip.example> NOTIFY=NEVER ORCPT=rfc822;b@gip.example",
        b"RCPT TO:<c@gip.example>",
        b"DATA",
    ]
    report = dialog.pack(letter(delivery(reverse_path=None)), OCTETS, BARE, LIMITS)
    assert isinstance(report, Parcel)
    assert dialog.opening(report, BARE)[0] == b"MAIL FROM:<>"


def test_no_command_holds_a_line_end() -> None:
    parcel = pack({"envid": "x\r\nRCPT TO:<other@gip.example>"})
    with pytest.raises(Malformed):
        dialog.opening(parcel, ALL)


@pytest.mark.parametrize(
    ("octets", "answers"),
    [
        (b"250 ok\r\n", [Answer(250, "ok")]),
        (b"250\r\n", [Answer(250, "")]),
        (b"250-a\r\n250-\r\n250 b\r\n354 go\r\n", [Answer(250, "a\n\nb"), Answer(354, "go")]),
        (b"550 \xc3\xa9\xff\n", [Answer(550, "é\ufffd")]),
        (b"250-a\r\n", []),
        (b"250 a", []),
    ],
)
def test_answers_are_cut_out_of_the_stream(octets: bytes, answers: list[Answer]) -> None:
    for size in range(1, len(octets) + 1):
        reader, found = Answers(), []
        for at in range(0, len(octets), size):
            found += reader.feed(octets[at : at + size])
        assert found == answers
        assert reader.empty == bool(answers)


@pytest.mark.parametrize(
    "octets",
    [b"nonsense\r\n", b"25 ok\r\n", b"2500 ok\r\n", b"\r\n", b"250 " + b"x" * 5000, b"250-" + b"y" * 4000 + b"\r\n"],
)
def test_what_is_no_answer_is_not_waited_for(octets: bytes) -> None:
    with pytest.raises(Malformed):
        Answers().feed(octets * 10)


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_garbage_is_answers_or_malformed(pieces: list[bytes]) -> None:
    reader = Answers()
    try:
        for piece in pieces:
            assert all(0 <= answer.code <= 999 for answer in reader.feed(piece))
    except Malformed:
        pass


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
