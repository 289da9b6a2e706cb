"""How texts are compared when people search."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.model.search import search_key


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Hélène ŒUVRÉ", "helene oeuvre"),
        ("  Saint-Étienne ", "saint etienne"),
        ("D'ARTAGNAN", "d artagnan"),
        ("D’Artagnan", "d artagnan"),
        ("Lætitia", "laetitia"),
        ("Straße", "strasse"),
        ("ﬁn", "fin"),
        ("E\u0301ric", "eric"),
        ("prenom.nom@medecin.mssante.fr", "prenom nom medecin mssante fr"),
        ("Νίκος", "νικοσ"),
        ("12_34", "12 34"),
        ("İzmir", "izmir"),
        ("", ""),
        ("--", ""),
    ],
)
def test_what_people_type_finds_what_is_written(text: str, key: str) -> None:
    assert search_key(text) == key


@given(st.text())
def test_a_search_key_is_its_own(text: str) -> None:
    key = search_key(text)
    assert search_key(key) == key
    assert key == " ".join(key.split())


@given(st.text(st.characters(max_codepoint=0x17F)))
def test_case_does_not_matter(text: str) -> None:
    assert search_key(text.upper()) == search_key(text.lower()) == search_key(text)
