"""Every published document type stands on one shelf."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mss.dossier import categories
from mss.dossier.categories import CATEGORIES, DEPOSIT_TYPES, category_of

EXAMPLES = {
    "60591-5": "SYNTHESE",
    "57833-6": "ORD_SOIN",
    "18748-4": "RADIO_SC",
    "11502-2": "BIOLOGIE",
    "34112-3": "CPT_REND",
    "75492-9": "DEPISTAG",
    "CERT_DECL": "CERT_MED",
    "51851-4": "DOC_ADM",
    "DOCPAT08": "SYNTH_PML",
    "EXPPAT_3": "DIR_ANT",
    "87273-9": "CAR_VAC",
    "EXPPAT_1": "VDP",
    "REMB": "REMB",
    "74465-6": "QUEST_SANTE",
    "EXPPAT_2": "AUTR_DOC",
    "": "AUTR_DOC",
    "never heard of": "AUTR_DOC",
}


@pytest.mark.parametrize(("code", "category"), EXAMPLES.items())
def test_examples(code: str, category: str) -> None:
    assert category_of(code) == category


def test_no_type_stands_twice() -> None:
    codes = [code for group in categories._TYPES.values() for code in group.split()]
    assert len(codes) == len(set(codes)) == 114


def test_what_a_patient_files_stands_where_the_patient_put_it() -> None:
    assert {category: category_of(code) for category, code in DEPOSIT_TYPES.items()} == {c: c for c in DEPOSIT_TYPES}
    assert set(DEPOSIT_TYPES) <= set(CATEGORIES)


def published() -> list[str]:
    for parent in Path(__file__).resolve().parents:
        file = parent / "shared" / "data" / "jdv" / "JDV_J07_XdsTypeCode_CISIS.xml"
        if file.is_file():
            return re.findall(r'<Concept code="([^"]+)"', file.read_text(encoding="utf-8"))
    return []


@pytest.mark.parametrize("code", ["60591-5", *published()])
def test_every_published_type_has_its_place(code: str) -> None:
    assert code in categories._CATEGORY_OF
