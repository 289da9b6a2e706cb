"""`mss audit`: the journal, looked through and checked. Like `cli`, it knows typer; what is done is in `journal`.

It is brought in when a command runs.
"""

from __future__ import annotations

from typing import Annotated

import typer

from mss.clock import system_clock
from mss.commands.options import HERE, ConfigFile, Json, Limit, group, settings

audit_app = group("Read and check the journal: who did what, decided how.")


@audit_app.command("list", epilog="Example: mss audit list --action letter.refuse --who mx.chu.mssante.fr --younger 2h")
def audit_list(
    config: ConfigFile = HERE,
    action: Annotated[str, typer.Option(help="Only these, such as letter or letter.refuse.")] = "",
    rule: Annotated[str, typer.Option(help="Only what this rule decided: peer.not-listed, or peer for all.")] = "",
    who: Annotated[str, typer.Option(help="Only what this one did: account:7, mx.chu.mssante.fr, an IP.")] = "",
    younger: Annotated[str, typer.Option(metavar="AGE", help="Only what is more recent: 90s, 15min, 2h, 3d.")] = "",
    limit: Limit = 50,
    json: Json = False,
) -> None:
    """List the newest records of the journal."""
    from mss.commands import journal, shown_journal

    found = journal.newest(settings(config), system_clock, journal.Filters(action, rule, who, younger), limit)
    shown_journal.records(found, json=json)


@audit_app.command("receipt", epilog="Example: mss audit receipt 3f9c2a7b11d04e58")
def audit_receipt(
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="What stood after “250” when the letter was taken.")],
    config: ConfigFile = HERE,
    json: Json = False,
) -> None:
    """Say what became of a letter, by its receipt number."""
    from mss.commands import journal, shown_journal

    shown_journal.records(journal.of_receipt(settings(config), number), json=json)


@audit_app.command("verify", epilog="Example: mss audit verify")
def audit_verify(config: ConfigFile = HERE) -> None:
    """Check that no record of the journal was changed or taken away; exit code 1 when one was."""
    from mss.commands import journal
    from mss.commands.output import say_marked

    checked = journal.verify(settings(config))
    for writer, number in checked.broken:
        say_marked("✗", f"record {number} of {writer} does not follow from the one before")
    if checked.broken:
        raise typer.Exit(1)
    say_marked("✓", f"{checked.records} records, every chain is whole")
