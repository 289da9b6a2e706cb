"""`mss account close|reopen|keep|channel|notices|erase`: the end of boxes. Like `cli`, it knows typer; what is done is
in `ending`, brought in when a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mss.clock import system_clock
from mss.commands.options import HERE, ConfigFile, Json, Limit, settings

Box = Annotated[str, typer.Argument(metavar="BOX", help="The box's mail address.")]


def close(box: Box, config: ConfigFile = HERE) -> None:
    """Close a box: it takes no letter any more, and is an archive until it is opened again or its time is over."""
    from mss.commands import ending
    from mss.commands.output import say

    before = ending.close(settings(config), system_clock, box)
    say(f"The {before.kind} box was {before.state} and is now closed.")


def reopen(box: Box, config: ConfigFile = HERE) -> None:
    """Open a closed box again, with all that was in it."""
    from mss.commands import ending
    from mss.commands.output import say

    before = ending.reopen(settings(config), system_clock, box)
    say(f"The {before.kind} box is open again.")


def keep(box: Box, config: ConfigFile = HERE) -> None:
    """Note that the holder of an unused box opposes its closing: its time begins anew."""
    from mss.commands import ending
    from mss.commands.output import say

    ending.keep(settings(config), system_clock, box)
    say("The box stays open.")


def channel(
    box: Box,
    where: Annotated[str, typer.Argument(metavar="WHERE", help="As the holder chose it: mailto:…, tel:…, post.")],
    config: ConfigFile = HERE,
) -> None:
    """Note where the holder of a box wants to be told, besides the box itself, before it is closed."""
    from mss.commands import ending
    from mss.commands.output import say

    ending.set_channel(settings(config), system_clock, box, where)
    say("It is noted: mss account notices shows it when there is something to tell.")


def notices(config: ConfigFile = HERE, limit: Limit = 1000, as_json: Json = False) -> None:
    """List the holders who were told that their box will be closed, to tell them by their own channel, too."""
    from mss.commands import ending
    from mss.commands.output import say_json, table, when

    found = ending.notices(settings(config), limit)
    if as_json:
        for one in found:
            told, closes = one.told_at.isoformat(), one.closes_at.isoformat()
            say_json({"box": one.address, "channel": one.channel, "told_at": told, "closes_at": closes})
        return
    rows = [(one.address, one.channel, when(one.told_at), when(one.closes_at)) for one in found]
    table(("BOX", "CHANNEL", "TOLD", "CLOSES"), rows, nothing="Nobody has to be told.")


def erase(
    box: Box,
    certificate: Annotated[Path, typer.Option(help="The new file for the signed certificate.")],
    config: ConfigFile = HERE,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask again.")] = False,
) -> None:
    """Erase a box for ever, here and in every backup, and certify what was erased. Others keep their own copies."""
    from mss.commands import ending
    from mss.commands.output import say_marked

    if not yes:
        typer.confirm("Nothing of this box can be brought back. Erase it?", abort=True)
    said = ending.erase(settings(config), system_clock, box, certificate)
    counts = ", ".join(f"{value} {name}" for name, value in said["counts"].items())
    say_marked("✓", f"{said['box']} is erased: {counts}; the certificate is in {certificate}")


def register(group: typer.Typer) -> None:
    """Add the commands to a group."""
    for command, example in (
        (close, "close marie@hopital.example"),
        (reopen, "reopen marie@hopital.example"),
        (keep, "keep marie@hopital.example"),
        (channel, "channel marie@hopital.example tel:+33123456789"),
        (notices, "notices --json"),
        (erase, "erase marie@hopital.example --certificate erased.json"),
    ):
        group.command(command.__name__, epilog=f"Example: mss account {example}")(command)
