"""`mss export …` and `mss import …`: the way out and the way in. Like `cli`, it knows typer; what is done is in
`leaving`, `arriving` and `sources`, brought in when a command runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mss.clock import system_clock
from mss.commands.options import HERE, ConfigFile, group, settings
from mss.commands.words import Form

if TYPE_CHECKING:
    from mss.commands.sources import Source

export_app = group("Take a mailbox or a dossier out in a common form.")
import_app = group("Bring a mailbox in; a second time brings only what is missing.")

Box = Annotated[str, typer.Argument(metavar="BOX", help="The box's mail address.")]


@export_app.command("mailbox", epilog="Example: mss export mailbox marie@hopital.example marie-maildir")
def export_mailbox(
    box: Box,
    target: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write to.")],
    config: ConfigFile = HERE,
    form: Annotated[Form, typer.Option("--form", help="A Maildir++, or one mbox file for each folder.")] = Form.MAILDIR,
) -> None:
    """Write all letters of a box with flags and dates; cut off: type it again, and it goes on."""
    from mss.commands import leaving
    from mss.commands.output import progress, say_marked

    with progress("Writing letters") as told:
        left = leaving.mailbox(settings(config), system_clock, box, target, form, told)
    say_marked("✓", f"{left.letters} letters of {left.folders} folders are in {target}, {left.new} of them new")


@export_app.command("dossier", epilog="Example: mss export dossier 279035121518989@patient.example IHE_XDM.zip")
def export_dossier(
    box: Box,
    target: Annotated[Path, typer.Argument(metavar="FILE", help="The archive to write.")],
    config: ConfigFile = HERE,
) -> None:
    """Write all documents of a patient into one IHE_XDM.zip."""
    from mss.commands import leaving
    from mss.commands.output import progress, say_marked

    with progress("Writing documents") as told:
        count = leaving.dossier(settings(config), system_clock, box, target, told)
    say_marked("✓", f"{count} documents are in {target}")


@import_app.command("maildir", epilog="Example: mss import maildir marie@hopital.example old/marie/Maildir")
def import_maildir(
    box: Box,
    source: Annotated[Path, typer.Argument(metavar="DIR", help="A Maildir or Maildir++.")],
    config: ConfigFile = HERE,
) -> None:
    """Bring the letters of a Maildir in, with folders, flags and dates."""
    from mss.commands import sources

    _bring(config, box, lambda: sources.maildir(source))


@import_app.command("mbox", epilog="Example: mss import mbox marie@hopital.example archive.mbox --folder Archive")
def import_mbox(
    box: Box,
    source: Annotated[Path, typer.Argument(metavar="FILE", help="An mbox file.")],
    config: ConfigFile = HERE,
    folder: Annotated[str, typer.Option(help="The folder that its letters go to.")] = "INBOX",
) -> None:
    """Bring the letters of an mbox file in, with flags and dates."""
    from mss.commands import sources

    _bring(config, box, lambda: sources.mbox(source, folder))


@import_app.command("imap", epilog="Example: mss import imap marie@hopital.example old.example:993 --login marie")
def import_imap(
    box: Box,
    server: Annotated[str, typer.Argument(metavar="HOST:PORT", help="The other server; TLS from the first octet.")],
    login: Annotated[str, typer.Option(help="Who signs in there.")],
    config: ConfigFile = HERE,
    password_file: Annotated[
        Path | None, typer.Option(help="The file of the password there; asked for when left out.")
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="Whom we believe to be that server (PEM); the system's when left out.")
    ] = None,
) -> None:
    """Bring the letters of a mailbox on another IMAP server in, with folders, flags and dates."""
    from mss.commands import sources

    if password_file is None:
        password = typer.prompt("Password there", hide_input=True)
    else:
        password = password_file.read_text(encoding="utf-8").rstrip("\r\n")
    _bring(config, box, lambda: sources.imap(server, login, password, ca_file))


def _bring(config: Path, box: str, source: Callable[[], Source]) -> None:
    from mss.commands import arriving
    from mss.commands.output import progress, say_marked

    with progress("Bringing letters") as told:
        done = arriving.bring(settings(config), system_clock, box, source, told)
    say_marked("✓", f"{done.new} letters came in, {done.known} were here already")
    if done.refused:
        say_marked("!", f"{done.refused} are larger than message_max_octets, or in folders with unfit names: left out")
