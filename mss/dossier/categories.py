"""The shelf of the dossier on which a document stands, by its type code (JDV_J07 → categories of MSSANTE.md §3.9).

The categories' names are those that Mon espace santé shows; which type stands in which is our reading of the
types' labels, since no public table was found.
"""

from __future__ import annotations

from typing import Final

OTHER: Final = "AUTR_DOC"

_TYPES: Final = {
    "SYNTHESE": (
        "SYNTH 60591-5 34133-9 68599-0 57055-6 57057-2 57075-4 89235-6 78489-2 18776-5 80788-3 80771-9 77604-7 "
        "PROT_ALD 74207-2 DOCPAT01"
    ),
    "ORD_SOIN": (
        "57828-6 57832-8 57833-6 60593-1 61357-0 75468-9 75496-0 55115-0 DISP_AUT PRESC-BIO PRESC-KINE PRESC-INF "
        "PRESC-PEDI PRESC-ORTHOPHO PRESC-ORTHOPTIE 96349-6 29274-8 80565-5 101881-1 DOCPAT02"
    ),
    "RADIO_SC": "18748-4 IMG-KOS 52040-3 DOCPAT04",
    "BIOLOGIE": "11502-2 60568-3 51969-4 96173-0 DOCPAT05",
    "CPT_REND": (
        "11488-4 11490-0 34112-3 11505-5 11506-3 15507-7 15508-5 18761-7 28617-9 34120-6 34749-2 34794-8 34842-5 "
        "34874-8 34875-5 47420-5 56445-0 60280-5 67851-6 70004-7 78341-5 77436-4 78513-9 78601-2 80820-4 83836-7 "
        "83901-9 83981-1 85208-7 88348-8 89233-1 93024-8 28653-4 BIL_AUTO DOCPAT03"
    ),
    "DEPISTAG": "59283-2 68817-6 75482-0 75492-9 83869-8 DOCPAT06",
    "CERT_MED": "89601-9 CERT_DECL PRESC-AAT 86531-1 DOCPAT07",
    "DOC_ADM": (
        "51851-4 56446-8 59284-0 ATTEST-ASS-COMPL ATTEST-RESID ATTEST-HEBGT ATTEST-DROITS-AM AUTORIS-SOINS "
        "PIECE-IDENTITE FICHE-CONTACTS EXPORT_DUI DOCPAT09"
    ),
    "SYNTH_PML": "DOCPAT08",
    "DIR_ANT": "EXPPAT_3",
    "CAR_VAC": "11369-6 87273-9 96874-3",
    "VDP": "EXPPAT_1",
    "REMB": "REMB",
    "QUEST_SANTE": "74465-6",
    OTHER: "EXPPAT_2 FEUILLE-DE-STYLE E1762",
}
_CATEGORY_OF: Final = {code: category for category, codes in _TYPES.items() for code in codes.split()}

CATEGORIES: Final = tuple(_TYPES)
# What a patient may choose when filing by hand, with the type that the document then gets (DOCPAT01–09).
DEPOSIT_TYPES: Final = {
    "SYNTHESE": "DOCPAT01",
    "ORD_SOIN": "DOCPAT02",
    "CPT_REND": "DOCPAT03",
    "RADIO_SC": "DOCPAT04",
    "BIOLOGIE": "DOCPAT05",
    "DEPISTAG": "DOCPAT06",
    "CERT_MED": "DOCPAT07",
    "DOC_ADM": "DOCPAT09",
    OTHER: "EXPPAT_2",
}


def category_of(type_code: str) -> str:
    """Return the category's code; a type that we do not know stands among the others."""
    return _CATEGORY_OF.get(type_code, OTHER)
