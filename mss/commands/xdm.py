"""`mss xdm …`: archives of clinical documents, made and explained. Like `cli`, it knows typer; the work is in
`archives`, brought in when a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mss.clock import system_clock
from mss.commands.options import Json, group

xdm_app = group("Make and explain IHE_XDM archives of clinical documents.")

Documents = Annotated[list[Path], typer.Argument(metavar="DOCUMENT...", help="CDA files; or PDFs, with the options.")]
Out = Annotated[Path, typer.Argument(metavar="ARCHIVE", help="The archive to write; it must not exist.")]


@xdm_app.command("build", epilog="Example: mss xdm build IHE_XDM.ZIP report.xml --twin report.pdf")
def xdm_build(
    archive: Out,
    documents: Documents,
    twin: Annotated[list[Path] | None, typer.Option(help="The readable PDF of each CDA, in order.")] = None,
    source: Annotated[str, typer.Option(metavar="DOMAIN", help="Who submits: a mail domain.")] = "localhost",
    software: Annotated[str, typer.Option(metavar="NUMBER", help="The product number (X-MSS-NIL).")] = "",
    ins: Annotated[str, typer.Option(help="For a PDF: the patient's matricule INS.")] = "",
    oid: Annotated[str, typer.Option(help="For a PDF: the INS's OID, when it is not a NIR.")] = "",
    birth_name: Annotated[str, typer.Option(help="For a PDF: the patient's birth name.")] = "",
    first_name: Annotated[str, typer.Option(help="For a PDF: the patient's first given name.")] = "",
    birth_date: Annotated[str, typer.Option(metavar="YYYYMMDD", help="For a PDF: the birth date.")] = "",
    sex: Annotated[str, typer.Option(metavar="M|F|U", help="For a PDF: the sex.")] = "",
    title: Annotated[str, typer.Option(help="For a PDF: the document's title.")] = "",
    type_code: Annotated[str, typer.Option(metavar="CODE", help="For a PDF: the type (JDV_J07).")] = "",
    type_label: Annotated[str, typer.Option(help="For a PDF: what the type is called.")] = "",
    author: Annotated[str, typer.Option(help="For a PDF: who wrote it.")] = "",
    organisation: Annotated[str, typer.Option(help="For a PDF: the author's organisation.")] = "",
) -> None:
    """Make an archive; prints the subject and the X-MSS fields of the letter that carries it."""
    from mss.commands import archives
    from mss.commands.output import say

    about = archives.About(
        ins, oid, birth_name, first_name, birth_date, sex, title, type_code, type_label, author, organisation
    )
    made = archives.build(documents, twin or (), about, source, software, system_clock())
    with archive.open("xb") as file:
        file.write(made.octets)
    say(f"Subject: {made.subject}")
    for name, value in made.fields:
        say(f"{name}: {value}")
    for name, octets in made.beside.items():
        say(f"Attach beside {archive.name} as {name}: a readable PDF of {len(octets)} octets")


@xdm_app.command("show", epilog="Example: mss xdm show IHE_XDM.ZIP")
def xdm_show(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An archive, or a CDA alone.")], json: Json = False
) -> None:
    """Explain an archive: each document's facts, and what is wrong; exit code 1 when something is."""
    from mss.commands import archives
    from mss.commands.output import say, say_json, say_marked

    found = archives.read(file)
    documents = [archives.facts(one) for one in found.documents]
    if json:
        say_json({"submission": found.unique_id, "documents": documents, "problems": list(found.problems)})
    else:
        say(f"Submission set {found.unique_id or 'without an identifier'}, {len(documents)} document(s)")
        for one in documents:
            say()
            for name, value in one.items():
                say(f"{name + ':':<17}{value}")
        for problem in found.problems:
            say_marked("!", problem)
    if found.problems:
        raise typer.Exit(1)
