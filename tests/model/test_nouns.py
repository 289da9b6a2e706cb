"""The other nouns: frozen, silent where they must be, right in their few rules."""

from __future__ import annotations

import dataclasses
import importlib
import pickle
import pkgutil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mss.model
from mss.model.account import Box, BoxState
from mss.model.address import Address
from mss.model.audit import AuditEvent
from mss.model.envelope import Envelope, Recipient
from mss.model.ins import INS, Traits
from mss.model.mailbox import (
    ANSWERED,
    DEFAULT_MAILBOXES,
    DELETED,
    DRAFT,
    FIRST_KEYWORD_BIT,
    FLAGGED,
    INBOX,
    KEYWORDS_MAX,
    SEEN,
    SYSTEM_FLAGS,
    Quota,
    Usage,
)
from mss.model.message import HeaderField, Message, Part, Span, Structure
from mss.model.party import BoxKind, Party
from mss.model.secret import Secret

_MODULES = [importlib.import_module(f"mss.model.{found.name}") for found in pkgutil.iter_modules(mss.model.__path__)]
_NOUNS = [
    value
    for module in _MODULES
    for value in vars(module).values()
    if dataclasses.is_dataclass(value) and isinstance(value, type) and value.__module__ == module.__name__
]


@pytest.mark.parametrize("noun", _NOUNS, ids=lambda noun: noun.__name__)
def test_every_noun_is_a_frozen_dataclass_with_slots(noun: Any) -> None:
    assert noun.__dataclass_params__.frozen
    assert "__slots__" in vars(noun)
    assert noun.__doc__
    assert not noun.__doc__.startswith(f"{noun.__name__}(")


def test_every_module_of_the_model_has_a_docstring() -> None:
    assert len(_NOUNS) > 25
    assert all(module.__doc__ for module in _MODULES)


@pytest.mark.parametrize(
    ("state", "receives"),
    [(BoxState.OPEN, True), (BoxState.UNOPENED, True), (BoxState.OPPOSED, False), (BoxState.CLOSED, False)],
)
def test_a_box_receives_while_it_is_open_even_never_opened(state: BoxState, receives: bool) -> None:
    assert Box(1, Address.parse("a@chu.fr"), BoxKind.PER, state).receives is receives


def test_a_box_printed_shows_neither_address_nor_identity() -> None:
    address = Address.parse("279035121518989@patient.mssante.fr")
    ins, traits = INS.parse("279035121518989"), Traits("TROIS", "DOMINIQUE", "19790312", "F")
    printed = repr(Box(1, address, BoxKind.PATIENT, BoxState.OPEN, ins=ins, traits=traits))
    assert "2790" not in printed
    assert "DOMINIQUE" not in printed


@pytest.mark.parametrize(("kind", "professional"), [(kind, kind is not BoxKind.PATIENT) for kind in BoxKind])
def test_only_the_patients_box_is_no_professionals(kind: BoxKind, professional: bool) -> None:
    assert kind.is_professional is professional


@pytest.mark.parametrize(
    ("kind", "more", "name"),
    [
        (BoxKind.PER, {"title": "Dr", "first_name": "Sophie", "name": "Martin"}, "Dr Sophie MARTIN"),
        (BoxKind.PER, {"first_name": "Sophie", "name": "Martin", "structure": "CHU"}, "Sophie MARTIN"),
        (BoxKind.PER, {"structure": "CHU"}, "CHU"),
        (BoxKind.ORG, {"service": "Urgences", "structure": "CHU", "name": "Martin"}, "Urgences – CHU"),
        (BoxKind.ORG, {"structure": "CHU"}, "CHU"),
        (BoxKind.APP, {"first_name": "Robot", "name": "Un"}, "Robot UN"),
        (BoxKind.CAB, {"structure": "Cabinet du Port"}, "Cabinet du Port"),
        (BoxKind.PATIENT, {"first_name": "Dominique", "name": "Trois"}, "Dominique TROIS"),
        (BoxKind.ORG, {}, ""),
    ],
)
def test_a_party_is_shown_by_its_name(kind: BoxKind, more: dict[str, str], name: str) -> None:
    assert Party(Address.parse("a@chu.fr"), kind, **more).display_name == name  # type: ignore[arg-type]


@given(st.text(min_size=12, max_size=40))
def test_a_secret_never_shows(text: str) -> None:
    if any(0xD800 <= ord(char) < 0xE000 for char in text):
        return
    secret = Secret.of(text)
    assert secret.text() == text
    assert text not in f"{secret} {secret!r} {[secret]} {secret:}"


def test_secrets_compare_by_their_octets() -> None:
    one, same, other = Secret.of("a"), Secret(b"a"), Secret.of("b")
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != "a"
    assert one != b"a"


def test_flags_have_bits_of_their_own_and_keywords_come_after() -> None:
    bits = (SEEN, ANSWERED, FLAGGED, DELETED, DRAFT)
    assert len(SYSTEM_FLAGS) == len(set(bits)) == 5
    assert max(bits) < 1 << FIRST_KEYWORD_BIT
    # A signed 64-bit integer holds them all.
    assert FIRST_KEYWORD_BIT + KEYWORDS_MAX <= 63
    assert DEFAULT_MAILBOXES[INBOX] == ""
    assert all(use.startswith("\\") for name, use in DEFAULT_MAILBOXES.items() if name != INBOX)


OCTETS = b"Subject: one\r\nTo: a\r\nsubject: two\r\n\r\nbody"


def _message() -> Message:
    fields = (
        HeaderField("subject", 0, 14, 8, 12),
        HeaderField("to", 14, 21, 17, 19),
        HeaderField("subject", 21, 35, 29, 33),
    )
    return Message(OCTETS, Structure(Part("", Span(0, 37), Span(37, 41), fields, "text/plain", ("text", "plain"))))


def test_a_letters_header_fields_are_found_by_name() -> None:
    message = _message()
    assert message.headers("SUBJECT") == [b" one", b" two"]
    assert message.header("Subject") == b" one"
    assert message.header("x-mss-mes") is None
    assert message.headers("cc") == []
    assert message.slice(message.structure.root.body) == b"body"
    assert len(Span(3, 7)) == 4


def test_a_letter_printed_shows_its_size_only() -> None:
    assert repr(_message()) == f"Message({len(OCTETS)} octets)"
    assert pickle.loads(pickle.dumps(_message())) == _message()


def _part(**more: Any) -> Part:
    return Part("1", Span(0, 0), Span(0, 0), (), "application/pdf", ("application", "pdf"), **more)


@pytest.mark.parametrize(
    ("part", "filename"),
    [
        (_part(), None),
        (_part(parameters=(("name", "a.pdf"),)), "a.pdf"),
        (_part(parameters=(("name", "a.pdf"),), disposition_parameters=(("filename", "b.pdf"),)), "b.pdf"),
        (_part(parameters=(("name", "a.pdf"),), disposition_parameters=(("size", "3"),)), "a.pdf"),
    ],
)
def test_the_disposition_names_a_file_first(part: Part, filename: str | None) -> None:
    assert part.filename == filename


def test_walking_a_letter_goes_depth_first_and_not_into_embedded_letters() -> None:
    inner = _part(embedded=_part(children=(_part(),)))
    leaf = _part(parameters=(("charset", "utf-8"),))
    root = _part(children=(_part(children=(leaf,)), inner))
    assert list(root.walk()) == [root, root.children[0], leaf, inner]
    assert leaf.parameter("charset") == "utf-8"
    assert leaf.parameter("name") is None


def test_an_envelope_says_what_it_was_not_told_by_none() -> None:
    envelope = Envelope(None, (Recipient(Address.parse("a@chu.fr")),))
    assert envelope.reverse_path is None
    assert envelope.recipients[0].notify == frozenset()
    assert envelope.ret is None
    assert envelope.envid is None


def test_an_event_has_facts_of_its_own() -> None:
    one, other = AuditEvent("system:x", "a.b", "letter:1"), AuditEvent("system:x", "a.b", "letter:1")
    assert one == other
    assert one.facts is not other.facts


@pytest.mark.parametrize(
    ("quota", "share"),
    [
        (Quota(), 0.0),
        (Quota(octets_max=40), 0.5),
        (Quota(letters_max=8), 0.25),
        (Quota(40, 8), 0.5),
        (Quota(200, 2), 1.0),
        (Quota(10, None), 2.0),
        (Quota(0, None), 1.0),
    ],
)
def test_how_much_of_a_quota_is_used_up(quota: Quota, share: float) -> None:
    assert quota.share(Usage(letters=2, octets=20)) == share


@pytest.mark.parametrize(
    ("quota", "fits"),
    [
        (Quota(), True),
        (Quota(octets_max=30), True),
        (Quota(octets_max=29), False),
        (Quota(letters_max=3), True),
        (Quota(letters_max=2), False),
        (Quota(30, 3), True),
        (Quota(0, 0), False),
    ],
)
def test_a_quota_has_room_up_to_its_limit(quota: Quota, fits: bool) -> None:
    assert quota.has_room(Usage(letters=2, octets=20), letters=1, octets=10) is fits
