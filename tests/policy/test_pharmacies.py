"""A dispensing pharmacy of the directory may be written to first; nobody else is taken for one."""

from __future__ import annotations

from typing import Any

import pytest

from mss.model.party import BoxKind, Party
from mss.policy.pharmacies import is_pharmacy
from tests.policy.facts import DOCTOR


def _party(structure: str = "PHARMACIE DU CENTRE", kind: BoxKind = BoxKind.ORG, **more: Any) -> Party:
    return Party(DOCTOR, kind, structure=structure, **more)


@pytest.mark.parametrize(
    ("party", "is_one"),
    [
        (_party(), True),
        (_party("Grande Pharmacie Lafayette"), True),
        (_party("SELARL", service="Officine des Halles"), True),
        (_party(kind=BoxKind.PER, profession_code="21"), True),
        (_party(kind=BoxKind.PER, profession_code="10"), False),
        (_party(kind=BoxKind.APP), False),
        (_party(red_list=True), False),
        (_party("Parapharmacie du Centre"), False),
        (_party("Laboratoire des Lices"), False),
        (_party(""), False),
        # Inside hospitals.
        (_party("CHU DE RENNES", service="Pharmacie"), False),
        (_party("Pharmacie à usage intérieur"), False),
        (_party("Pharmacie de l'Hôpital Nord"), False),
    ],
)
def test_what_is_a_pharmacy(party: Party, is_one: bool) -> None:
    assert is_pharmacy(party) is is_one
