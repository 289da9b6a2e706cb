"""What an operator leaves behind, its log and the files of its store: none may name the patient or hold content."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from demo.letters import OTHER, OTHER_TRAITS, SAMPLE, SAMPLE_TRAITS
from demo.steps import ANSWER
from tests.journeys.sites import BOX, DOCTOR, PASSWORDS, SECRET, SPOKEN

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


class Watch:
    """Reads the logs below a folder as they grow, and says what they tell of what this process of tests said."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._read: dict[Path, int] = {}

    def told(self) -> list[str]:
        """Return which words, of all that may be in no log, came into which log since the last time."""
        words = {word.casefold() for word in (*IDENTITIES, *CONTENT, *SPOKEN, *PASSWORDS)}
        words |= {form.decode() for word in PASSWORDS for form in _in_base64(word.encode())}
        found = []
        for path in sorted(self._root.rglob("server*.log")):
            new = self._new(path)
            text = new.casefold()
            found += [f"{path.parent.name}: “{word}”" for word in sorted(words) if word in text or word in new]
        return found

    def _new(self, path: Path) -> str:
        """Return the whole lines that were not read yet."""
        with path.open("rb") as file:
            file.seek(self._read.get(path, 0))
            octets = file.read()
        whole = octets[: octets.rfind(b"\n") + 1]
        self._read[path] = self._read.get(path, 0) + len(whole)
        return whole.decode("utf-8", "replace")


@contextmanager
def watched(watch: Watch) -> Iterator[None]:
    """Fail when the logs told of anything meanwhile."""
    yield
    told = watch.told()
    assert told == [], f"a log holds what none may hold: {told}"


def plain_in_stores(root: Path) -> list[str]:
    """Return which files of the stores below a folder (databases, WAL, octets aside) hold content in plain."""
    patterns = [(word, pattern) for word in CONTENT for pattern in _written(word)]
    found = []
    files, wanted = store_files(root), [pattern for _, pattern in patterns]
    for path in (one for n in range(0, len(files), 1000) for one in _holding(wanted, files[n : n + 1000])):
        octets = path.read_bytes()
        found += [f"{path.name}: “{word}”" for word, pattern in patterns if pattern in octets]
    return sorted(set(found))


def _holding(patterns: Iterable[bytes], files: list[Path]) -> list[Path]:
    """Return the files that hold any of the patterns: grep looks for all of them at once, a gigabyte takes a second."""
    command = ["grep", "--text", "--fixed-strings", "--files-with-matches", "--null", "--file=-", "--", "/dev/null"]
    done = subprocess.run(
        [*command, *map(str, files)],
        input=b"\n".join(patterns),
        env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
        capture_output=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr.decode(errors="replace")
    return [Path(os.fsdecode(name)) for name in done.stdout.split(b"\0")[:-1]]


def store_files(root: Path) -> list[Path]:
    """Return the files of all stores below a folder."""
    folders = [folder for name in ("data", "keys") for folder in root.rglob(name) if folder.is_dir()]
    return sorted({path for folder in folders for path in folder.rglob("*") if path.is_file()})


def _written(word: str) -> Iterator[bytes]:
    """Yield the ways in which a word would stand in a file: UTF-8, Latin-1, UTF-16, and inside base64."""
    for charset in ("utf-8", "latin-1", "utf-16-le"):
        yield word.encode(charset)
    yield from _in_base64(word.encode())


def _in_base64(octets: bytes) -> Iterator[bytes]:
    for shift in range(3):
        # What stands before the word moves its base64; the ends depend on the neighbours and are left out.
        encoded = base64.b64encode(bytes(shift) + octets).rstrip(b"=")
        yield encoded[-(-shift * 8 // 6) : -2]
