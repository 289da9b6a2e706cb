"""INS: form and key of the matricule, Corsica, authorities; silence when printed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.errors import Malformed
from mss.model.ins import (
    INS,
    INS_OIDS,
    OID_NIA,
    OID_NIR,
    OID_NIR_DEMO,
    OID_NIR_TEST,
    TEST_OIDS,
    Traits,
    matricule_key,
    parse_matricule,
)
from tests.model.strategies_model import matricules


@pytest.mark.parametrize(
    ("first_13", "key"),
    [
        ("2550814168025", 38),
        ("2940375120005", 91),
        ("1531245007231", 60),
        ("284052A321025", 52),
        ("284052a321025", 52),
        ("1234567890123", 11),
    ],
)
def test_the_key_follows_the_published_vectors(first_13: str, key: int) -> None:
    assert matricule_key(first_13) == key


def test_corsica_counts_only_at_its_place() -> None:
    assert matricule_key("284052A321025") == 97 - 2840519321025 % 97
    assert matricule_key("284052B321025") == 97 - 2840518321025 % 97


@pytest.mark.parametrize(
    "matricule", ["279035121518989", "277076322082910", "274075176079430", "146026322000196", "284052A32102552"]
)
def test_valid_matricules_are_read_with_spaces_and_in_any_case(matricule: str) -> None:
    spaced = f"{matricule[0]} {matricule[1:3]} {matricule[3:5]} {matricule[5:13]} {matricule[13:]}"
    assert parse_matricule(matricule) == parse_matricule(spaced) == parse_matricule(matricule.lower()) == matricule


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "288091234567823", "253097812634581", "123456789012345", "276059205062865", "221042545611404",
        "27903512151898", "2790351215189890", "279035121518988", "979035121518989", "079035121518989",
        "579035121518989",
        "279135121518989", "279005121518989", "2790351215189a9", "284052C32102552", "28405A232102552",
        "٢٧٩٠٣٥١٢١٥١٨٩٨٩", "²79035121518989", "279035121518989\n", "-279035121518989",
        "279035121518900", "279035121518998",
    ],
)  # fmt: skip
def test_what_is_no_matricule_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        parse_matricule(text)


@given(matricules())
def test_every_matricule_of_the_grammar_is_read(matricule: str) -> None:
    assert parse_matricule(matricule) == matricule
    assert 1 <= int(matricule[13:]) <= 97


@given(matricules(), st.integers(0, 14), st.sampled_from("0123456789"))
def test_one_wrong_character_is_found(matricule: str, position: int, digit: str) -> None:
    if matricule[position] == digit or "A" in matricule or "B" in matricule:
        return
    changed = matricule[:position] + digit + matricule[position + 1 :]
    with pytest.raises(Malformed):
        parse_matricule(changed)


@given(st.one_of(st.text(max_size=20), st.text("0123456789AB ", min_size=13, max_size=18)))
def test_garbage_is_malformed_or_a_matricule(text: str) -> None:
    try:
        matricule = parse_matricule(text)
    except Malformed:
        return
    assert len(matricule) == 15
    assert parse_matricule(matricule) == matricule


@pytest.mark.parametrize(
    ("oid", "test"), [(OID_NIR, False), (OID_NIA, False), (OID_NIR_TEST, True), (OID_NIR_DEMO, True)]
)
def test_an_ins_names_its_authority(oid: str, test: bool) -> None:
    ins = INS.parse("2 79 03 51 215 189 89", oid)
    assert (ins.matricule, ins.oid, ins.is_test) == ("279035121518989", oid, test)
    assert ins == INS("279035121518989", oid)


@pytest.mark.parametrize("oid", ["", "1.2.250.1.213.1.4.2", "1.2.250.1.213.1.4.12", " 1.2.250.1.213.1.4.8"])
def test_another_authority_is_malformed(oid: str) -> None:
    with pytest.raises(Malformed):
        INS.parse("279035121518989", oid)


def test_the_same_matricule_of_two_authorities_is_two_identities() -> None:
    assert INS.parse("279035121518989", OID_NIR) != INS.parse("279035121518989", OID_NIA)
    assert TEST_OIDS < INS_OIDS


def test_nothing_of_a_patient_is_printed() -> None:
    ins, traits = INS.parse("279035121518989"), Traits("TROIS", "DOMINIQUE", "19790312", "F")
    printed = f"{ins} {ins!r} {[ins]} {traits} {traits!r} {(traits,)}"
    assert not any(secret in printed for secret in ("2790", "TROIS", "DOMINIQUE", "1979"))


def test_an_error_does_not_repeat_the_matricule() -> None:
    with pytest.raises(Malformed) as caught:
        parse_matricule("279035121518988")
    assert "2790" not in str(caught.value)
