"""`mss dossier list | show`: a patient's dossier as a professional would read it, for operators' support.

Every look is journalled under the operator's own name with the professional's rights, and the patient reads it. Like
`cli`, it knows typer; what is done is in `dossiers`, brought in when a command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mss.clock import system_clock
from mss.commands.options import HERE, ConfigFile, Json, Limit, group, settings
from mss.model.rights import Purpose

Patient = Annotated[str, typer.Argument(metavar="PATIENT", help="The patient's mail address.")]
As = Annotated[str, typer.Option("--as", metavar="LOGIN", help="The professional whose rights are used.")]
Why = Annotated[Purpose, typer.Option("--purpose", help="Care (TREAT), regulation centre (ETREAT), break-glass (BTG).")]

dossier_app = group("Read a dossier with a professional's rights.")


@dossier_app.command(
    "list", epilog="Example: mss dossier list 279035121518989@patient.example --as marie@hopital.example"
)
def dossier_list(
    patient: Patient,
    reader: As,
    purpose: Why = Purpose.TREATMENT,
    config: ConfigFile = HERE,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """List what a professional may read of a dossier, and how many documents each rule allowed or refused."""
    from mss.commands import dossiers

    dossiers.show_list(settings(config), system_clock, patient, reader, purpose, limit, as_json=as_json)


@dossier_app.command(
    "show", epilog="Example: mss dossier show 279035121518989@patient.example 12 --as marie@hopital.example"
)
def dossier_show(
    patient: Patient,
    document: Annotated[int, typer.Argument(metavar="NUMBER", help="The document's number in the list.")],
    reader: As,
    purpose: Why = Purpose.TREATMENT,
    config: ConfigFile = HERE,
    save: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the document into a new file.")] = None,
    as_json: Json = False,
) -> None:
    """Open one document with a professional's rights: the decision, its facts, and what the document says of itself."""
    from mss.commands import dossiers

    if not dossiers.show_one(settings(config), system_clock, patient, document, reader, purpose, save, as_json=as_json):
        raise typer.Exit(1)
