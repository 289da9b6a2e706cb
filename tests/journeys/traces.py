"""What an operator leaves behind, its log and the files of its store: none may name the patient or hold content."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from demo.letters import OTHER, OTHER_TRAITS, SAMPLE, SAMPLE_TRAITS
from demo.steps import ANSWER
from tests.journeys.sites import BOX, DOCTOR, SECRET

# Identities: never in a log. Whole words of them, so that a host's name is none.
IDENTITIES: Final = (
    BOX,
    DOCTOR,
    "@hopital-demo",
    "@region-demo",
    "@patient.mssante",
    SAMPLE.matricule,
    SAMPLE.matricule[:13],
    OTHER.matricule,
    SAMPLE_TRAITS.birth_name,
    SAMPLE_TRAITS.first_name,
    OTHER_TRAITS.birth_name,
    "Durand",
    "l'Hôpital",
)
# Subjects and texts of the letters of demonstration and journeys: neither in a log nor, in plain, in the store.
CONTENT: Final = (
    SECRET,
    ANSWER,
    "Merci docteur",
    "compte rendu de votre consultation",
    "Paracetamol 1 g",
    "ordonnance.txt",
    "Encore une question",
    "Nos échanges sont terminés",
    "XDM/1.0/DDM+",
    "PAT-TROIS",
)


def told_in_logs(root: Path, also: Iterable[str] = ()) -> list[str]:
    """Return which logs below a folder hold what none may, and how often."""
    words = [word.casefold() for word in (*IDENTITIES, *CONTENT, *also)]
    found = []
    for path in sorted(root.rglob("server*.log")):
        text = path.read_text(encoding="utf-8", errors="replace").casefold()
        found += [f"{path.parent.name}: “{word}” {count}×" for word in words if (count := text.count(word))]
    return found


def plain_in_stores(root: Path) -> list[str]:
    """Return which files of the stores below a folder (databases, WAL, octets aside) hold content in plain."""
    patterns = [(word, pattern) for word in CONTENT for pattern in _written(word)]
    found = []
    for path in store_files(root):
        octets = path.read_bytes()
        found += [f"{path.name}: “{word}”" for word, pattern in patterns if pattern in octets]
    return sorted(set(found))


def store_files(root: Path) -> list[Path]:
    """Return the files of all stores below a folder."""
    folders = [folder for name in ("data", "keys") for folder in root.rglob(name) if folder.is_dir()]
    return sorted({path for folder in folders for path in folder.rglob("*") if path.is_file()})


def _written(word: str) -> Iterator[bytes]:
    """Yield the ways in which a word would stand in a file: UTF-8, Latin-1, UTF-16, and inside base64."""
    for charset in ("utf-8", "latin-1", "utf-16-le"):
        yield word.encode(charset)
    octets = word.encode()
    for shift in range(3):
        # What stands before the word moves its base64; the ends depend on the neighbours and are left out.
        encoded = base64.b64encode(bytes(shift) + octets).rstrip(b"=")
        yield encoded[-(-shift * 8 // 6) : -2]
