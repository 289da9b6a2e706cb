"""A terminal in front of an operator: words in, lines and exit code out."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from typer import testing
from typer.main import get_command
from typer.testing import CliRunner, Result

from mss.cli import app
from mss.config import Config
from mss.dossier import make
from mss.instance import Plan
from mss.model.document import Author, PatientIdentity
from mss.model.ins import OID_NIR_TEST, Traits
from mss.settings import load
from mss.store import Store

T = TypeVar("T")

# The tree of commands is built once, not for every command typed.
vars(testing)["_get_command"] = functools.cache(get_command)

MATRICULE = "279035121518989"
OTHER_MATRICULE = "277076322082910"
RECEPTION = "accueil@hopital.example"
DOCTOR = "marie.durand@hopital.example"
PATIENT = f"{MATRICULE}@patient.example"
PASSWORD = "correct horse battery staple"
TRAITS = Traits("PAT-TROIS", "DOMINIQUE", "19790328", "F")
PLAN = Plan(
    name="Hôpital d'essai",
    domains=(("hopital.example", "professional"), ("patient.example", "patient")),
    # Nobody listens there: letters stay in the queue.
    routes={"region.example": "127.0.0.1:1", "patient.mssante.fr": "127.0.0.1:1"},
)

_DOORS = re.compile(r'^(\w*listen) = (\[.*\]|".*")$', re.MULTILINE)


@dataclass(frozen=True)
class Desk:
    """Types commands for one operator."""

    folder: Path

    @property
    def toml(self) -> Path:
        return self.folder / "mss.toml"

    @property
    def config(self) -> Config:
        return load(self.toml)

    def run(self, *words: str, stdin: str = "") -> Result:
        """Type a command that takes -c."""
        return typed(*words, "-c", str(self.toml), stdin=stdin)

    def does(self, *words: str, stdin: str = "") -> str:
        """Type a command that succeeds, and return what it prints."""
        result = self.run(*words, stdin=stdin)
        assert result.exit_code == 0, result.output
        assert result.stderr == ""
        return result.stdout

    def fails(self, *words: str, code: int = 1, stdin: str = "") -> str:
        """Type a command that fails, and return its one line on standard error."""
        result = self.run(*words, stdin=stdin)
        assert result.exit_code == code, result.output
        return one_line(result)

    def change(self, old: str, new: str) -> None:
        """Change the settings."""
        text = self.toml.read_text(encoding="utf-8")
        assert old in text
        self.toml.write_text(text.replace(old, new), encoding="utf-8")

    def close_doors(self) -> None:
        """Listen nowhere, so that a check needs no socket."""
        text = self.toml.read_text(encoding="utf-8")
        closed = _DOORS.sub(lambda door: f"{door[1]} = " + ("[]" if door[2].startswith("[") else '""'), text)
        self.toml.write_text(closed, encoding="utf-8")

    def staff(self) -> None:
        """Create a reception, a doctor who is its member, and a patient."""
        self.add(RECEPTION, "--kind", "org", "--name", "Accueil de l'hôpital")
        self.add(DOCTOR, "--kind", "per", "--name", "Dr Marie DURAND", "--box", RECEPTION)
        self.add("dominique", *patient_words())

    def add(self, *words: str) -> str:
        """Create an account with the usual password."""
        return self.does("account", "add", *words, "--password-stdin", stdin=PASSWORD + "\n")

    def in_store(self, work: Callable[[Store], Awaitable[T]]) -> T:
        """Look into the store."""

        async def run() -> T:
            store = Store(self.config)
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(run())


def typed(*words: str, stdin: str = "") -> Result:
    """Type a command."""
    return CliRunner().invoke(app, list(words), input=stdin, prog_name="mss")


def one_line(result: Result) -> str:
    """Return the one line on standard error: no traceback, nothing else."""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.output
    assert lines[0].startswith("mss: ")
    assert "Traceback" not in result.output
    return lines[0]


def patient_words(matricule: str = MATRICULE, oid: str = "test") -> tuple[str, ...]:
    """Return the options that create the patient."""
    return (
        *("--kind", "patient", "--box", matricule, "--ins-oid", oid),
        *("--birth-name", TRAITS.birth_name, "--first-name", TRAITS.first_name),
        *("--birth-date", TRAITS.birth_date, "--sex", TRAITS.sex),
    )


def cda(
    unique_id: str = "2.25.1", *, matricule: str = MATRICULE, traits: Traits = TRAITS, label: str = "CR de biologie"
) -> bytes:
    """Return a clinical document about a patient."""
    return make.make_cda(
        patient=PatientIdentity(((matricule, OID_NIR_TEST),), traits),
        unique_id=unique_id,
        title="Compte rendu",
        created_at=datetime(2026, 3, 5, 9, 30, tzinfo=UTC),
        author=Author("Dr Marie DURAND", organisation="Hôpital d'essai"),
        type_code="11502-2",
        type_label=label,
    )
