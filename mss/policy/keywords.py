"""Which keywords the house gives a professional's letter, so that a robot finds its letters without reading all.

It looks at no mailbox: what a letter's header says comes in, names of keywords go out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mss.errors import Malformed
from mss.model.address import Address
from mss.model.ins import parse_matricule

# From or to a patient; the exchange with the patient was closed; a document of the letter was filed in the dossier.
PATIENT: Final = "$MSSPatient"
CLOSED: Final = "$MSSClosed"
FILED: Final = "$MSSFiled"


def of_letter(named: Iterable[Address], *, closing: bool) -> tuple[str, ...]:
    """Return the keywords of a letter that names these addresses in its header; `closing`: it ends the exchange."""
    if not any(_is_patient(address) for address in named):
        return ()
    return (PATIENT, CLOSED) if closing else (PATIENT,)


def _is_patient(address: Address) -> bool:
    """Whether the local part is a matricule INS: no professional's is, whoever hosts it."""
    try:
        parse_matricule(address.local)
    except Malformed:
        return False
    return " " not in address.local
