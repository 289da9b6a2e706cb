"""Who owns an address: a practitioner, an organisation, an application or a patient (Annuaire Santé)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mss.model.address import Address


class BoxKind(StrEnum):
    """Type of a BAL (TRE_R257); `PATIENT` is the citizen domain's."""

    PER = "PER"
    ORG = "ORG"
    APP = "APP"
    CAB = "CAB"
    PATIENT = "patient"

    @property
    def is_professional(self) -> bool:
        """Whether a professional or an organisation answers behind the box."""
        return self is not BoxKind.PATIENT


@dataclass(frozen=True, slots=True)
class Party:
    """One entry of the directory, as the extraction gives it (MSSANTE.md §3.3).

    `person_id` is the IdNat_PS (RPPS prefixed by 8) or empty; `structure_id` a FINESS or SIRET.
    """

    address: Address
    kind: BoxKind
    name: str = ""
    first_name: str = ""
    title: str = ""
    person_id: str = ""
    profession_code: str = ""
    profession: str = ""
    speciality: str = ""
    structure_id: str = ""
    structure: str = ""
    service: str = ""
    postal_code: str = ""
    town: str = ""
    red_list: bool = False

    @property
    def display_name(self) -> str:
        """`<Title> <First> <LAST> <Entity>` for persons, the entity's name for ORG and APP (ECO.2.2.7)."""
        person = " ".join(filter(None, (self.title, self.first_name, self.name.upper())))
        entity = " – ".join(filter(None, (self.service, self.structure)))
        if self.kind in (BoxKind.PER, BoxKind.PATIENT):
            return person or entity
        return entity or person
