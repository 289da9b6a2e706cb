"""The names of the shelves on which documents stand, as patients read them ."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from mss.web.pages import mark

CATEGORY_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "SYNTHESE": mark("Summaries"),
        "ORD_SOIN": mark("Prescriptions and care"),
        "RADIO_SC": mark("Imaging"),
        "BIOLOGIE": mark("Laboratory results"),
        "CPT_REND": mark("Reports"),
        "DEPISTAG": mark("Prevention and screening"),
        "CERT_MED": mark("Medical certificates"),
        "AUTR_DOC": mark("Other documents"),
        "DOC_ADM": mark("Administrative documents"),
        "SYNTH_PML": mark("Medical profile"),
        "DIR_ANT": mark("Advance directives"),
        "CAR_VAC": mark("Vaccination record"),
        "VDP": mark("My own notes"),
        "REMB": mark("Reimbursements"),
        "QUEST_SANTE": mark("Health questionnaires"),
    }
)
