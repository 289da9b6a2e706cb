"""`mss mailbox` and `mss account quota`: letters put back, what boxes may hold, who has seen what.

Like `cli`, it knows typer; what is done is in `keeping`, brought in when a command runs.
"""

from __future__ import annotations

from typing import Annotated

import typer

from mss.clock import system_clock
from mss.commands.options import HERE, ConfigFile, Json, Limit, group, settings
from mss.commands.words import QuotaKind

mailbox_app = group("Put expunged letters back; say whose reading counts.")

Box = Annotated[str, typer.Argument(metavar="BOX", help="The box's mail address.")]
Mailbox = Annotated[str, typer.Option("--mailbox", metavar="NAME", help="Only those of this mailbox, such as INBOX.")]
Since = Annotated[str, typer.Option("--since", metavar="AGE", help="Only those expunged since: 90s, 15min, 2h, 3d.")]


@mailbox_app.command("expunged", epilog="Example: mss mailbox expunged accueil@hopital.example --since 2h")
def mailbox_expunged(
    box: Box, config: ConfigFile = HERE, mailbox: Mailbox = "", since: Since = "", limit: Limit = 100,
    json: Json = False,
) -> None:  # fmt: skip
    """List the letters of a box that were expunged and can be put back; never what they say."""
    from mss.commands import keeping
    from mss.commands.output import say_json, table, when

    found = keeping.expunged(settings(config), system_clock, box, mailbox, since, limit)
    if json:
        for one in found:
            values = {"id": one.id, "mailbox": one.mailbox, "expunged_at": when(one.expunged_at)}
            say_json({**values, "arrived_at": when(one.internal_date), "size_octets": one.size_octets})
        return
    rows = [
        (str(one.id), one.mailbox, when(one.expunged_at), when(one.internal_date), str(one.size_octets))
        for one in found
    ]
    table(("NUMBER", "MAILBOX", "EXPUNGED", "ARRIVED", "OCTETS"), rows, nothing="Nothing can be put back.")


@mailbox_app.command("restore", epilog="Example: mss mailbox restore accueil@hopital.example --since 2h")
def mailbox_restore(
    box: Box,
    number: Annotated[list[int] | None, typer.Argument(metavar="[NUMBER]", help="Only these letters.")] = None,
    config: ConfigFile = HERE,
    mailbox: Mailbox = "",
    since: Since = "",
) -> None:
    """Put expunged letters back where they were, as new ones; a mailbox that is gone is made again."""
    from mss.commands import keeping
    from mss.commands.output import say

    count = keeping.restore(settings(config), system_clock, box, mailbox, since, tuple(number or ()))
    say(f"{count} letters are back where they were.")


@mailbox_app.command("erase", epilog="Example: mss mailbox erase accueil@hopital.example --since 2h")
def mailbox_erase(box: Box, config: ConfigFile = HERE, mailbox: Mailbox = "", since: Since = "") -> None:
    """Drop expunged letters before their time, because the box's owner asked for it: they never come back."""
    from mss.commands import keeping
    from mss.commands.output import say

    count = keeping.erase(settings(config), system_clock, box, mailbox, since)
    say(f"{count} letters can no longer be put back.")


@mailbox_app.command("seen", epilog="Example: mss mailbox seen accueil@hopital.example --own")
def mailbox_seen(
    box: Box,
    own: Annotated[bool, typer.Option("--own/--common", help="Each reader's own marks, or one for all.")],
    config: ConfigFile = HERE,
) -> None:
    """Say whether a letter that one reader of a shared box has read is read for the others too."""
    from mss.commands import keeping
    from mss.commands.output import say

    keeping.set_own_seen(settings(config), system_clock, box, own=own)
    say("Each reader has their own marks now." if own else "What one has read is read for all now.")


def account_quota(
    box: Annotated[str, typer.Argument(metavar="[BOX]", help="The box's mail address; or give --kind.")] = "",
    config: ConfigFile = HERE,
    kind: Annotated[QuotaKind | None, typer.Option(help="All boxes of this kind.")] = None,
    size: Annotated[str, typer.Option(metavar="SIZE", help="What it may hold at most: 500M, 2G.")] = "",
    letters: Annotated[int, typer.Option(min=0, help="How many letters at most; 0 for no limit.")] = 0,
    none: Annotated[bool, typer.Option("--none", help="Drop the quota; a box then has its kind's.")] = False,
    json: Json = False,
) -> None:
    """Show or set how much boxes may hold. Without --size, --letters or --none nothing is changed."""
    from mss.commands import keeping
    from mss.commands.output import say, say_json, table

    found = settings(config)
    if size or letters or none:
        keeping.set_quota(found, system_clock, box, kind, size, letters, none=none)
        say("The quota is changed.")
        return
    rows = keeping.quotas(found, system_clock, box, kind)
    if json:
        for row in rows:
            say_json(row.values())
        return
    table(("FOR", "OCTETS", "AT MOST", "LETTERS", "AT MOST"), [row.cells() for row in rows], nothing="No quota is set.")
