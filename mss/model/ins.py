"""INS: the qualified national health identity of a patient (matricule of 15 characters and its OID).

The key is 97 − (N mod 97), where N is the first 13 digits and Corsica's 2A and 2B at positions 6–7
count as 19 and 18 (NIR rule). Source: assurance-maladie-digital/nir-validation; MSSANTE.md §3.4.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mss.errors import Malformed

OID_NIR: Final = "1.2.250.1.213.1.4.8"
OID_NIA: Final = "1.2.250.1.213.1.4.9"
OID_NIR_TEST: Final = "1.2.250.1.213.1.4.10"
OID_NIR_DEMO: Final = "1.2.250.1.213.1.4.11"
INS_OIDS: Final = frozenset({OID_NIR, OID_NIA, OID_NIR_TEST, OID_NIR_DEMO})
TEST_OIDS: Final = frozenset({OID_NIR_TEST, OID_NIR_DEMO})

# First digit 3, 4, 7, 8: provisional numbers (registration pending); months 20–99: month unknown.
_MATRICULE = re.compile(
    r"[1-478]\d{2}(?:0[1-9]|1[0-2]|[2-9]\d)(?:\d{2}|2[AB])\d{3}\d{3}(?:0[1-9]|[1-8]\d|9[0-7])\Z", re.ASCII
)


def matricule_key(first_13: str) -> int:
    """Return the key (1–97) of the first 13 characters of a matricule."""
    department = {"2A": "19", "2B": "18"}.get(first_13[5:7].upper(), first_13[5:7])
    return 97 - int(first_13[:5] + department + first_13[7:]) % 97


def parse_matricule(text: str) -> str:
    """Return the matricule in upper case without spaces; Malformed when form or key is wrong."""
    matricule = text.replace(" ", "").upper()
    if not _MATRICULE.match(matricule):
        raise Malformed("not a matricule INS")
    if int(matricule[13:]) != matricule_key(matricule[:13]):
        raise Malformed("the key of the matricule INS is wrong")
    return matricule


@dataclass(frozen=True, slots=True, repr=False)
class INS:
    """A matricule whose form and key were checked, with the OID of its authority."""

    matricule: str
    oid: str = OID_NIR

    def __repr__(self) -> str:
        return "INS(…)"

    __str__ = __repr__

    @classmethod
    def parse(cls, matricule: str, oid: str = OID_NIR) -> INS:
        """Return a checked INS; Malformed when the matricule or the OID is none."""
        if oid not in INS_OIDS:
            raise Malformed("the OID names no INS authority")
        return cls(parse_matricule(matricule), oid)

    @property
    def is_test(self) -> bool:
        """Whether the OID is one of the test or demonstration authorities."""
        return self.oid in TEST_OIDS


@dataclass(frozen=True, slots=True, repr=False)
class Traits:
    """Identity traits of a patient; birth date as YYYYMMDD, sex M, F or U (unknown: empty)."""

    birth_name: str = ""
    first_name: str = ""
    birth_date: str = ""
    sex: str = ""

    def __repr__(self) -> str:
        return "Traits(…)"

    __str__ = __repr__
