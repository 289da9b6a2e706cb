"""Keywords of professionals' letters: who is a patient is seen by the matricule."""

from __future__ import annotations

import pytest

from mss.model.address import Address
from mss.policy.keywords import of_letter

PATIENT, DOCTOR = Address.parse("279035121518989@patient.example"), Address.parse("docteur@pro.example")


@pytest.mark.parametrize(
    ("named", "closing", "expected"),
    [
        ([], True, ()),
        ([DOCTOR], True, ()),
        ([DOCTOR, PATIENT], False, ("$MSSPatient",)),
        ([PATIENT], True, ("$MSSPatient", "$MSSClosed")),
        # The form with spaces is for paper: no patient's address has them.
        ([Address("2 79 03 51 215 189 89", PATIENT.domain)], False, ()),
    ],
)
def test_keywords(named: list[Address], closing: bool, expected: tuple[str, ...]) -> None:
    assert of_letter(named, closing=closing) == expected
