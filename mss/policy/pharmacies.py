"""Which entries of the directory are a pharmacy that a patient may write to first (MSSANTE.md §4.2).

The extraction names no kind of establishment: a dispensing pharmacy is known by its name. Pharmacies inside hospitals
serve no public and are left out, and so is whoever stands on the red list. It searches nothing.
"""

from __future__ import annotations

import re
from typing import Final

from mss.model.party import BoxKind, Party
from mss.model.search import search_key

_WORDS: Final = frozenset({"pharmacie", "pharmacies", "officine"})
_INSIDE: Final = re.compile(r"\b(usage interieur|pui|hopital|hopitaux|hospitaliere?|chu|chru|chr|ch|clinique|ehpad)\b")


def is_pharmacy(party: Party) -> bool:
    """Say whether an entry is a dispensing pharmacy's: its organisation's box, or that of a pharmacist in one."""
    name = search_key(f"{party.structure} {party.service}")
    if party.red_list or _INSIDE.search(name) or _WORDS.isdisjoint(name.split()):
        return False
    return party.kind is BoxKind.ORG or (party.kind is BoxKind.PER and party.profession_code == "21")
