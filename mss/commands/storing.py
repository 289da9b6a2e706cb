"""`mss store …`: the store looked over. Like `cli`, it knows typer; what is done is in `looking`, brought in when a
command runs."""

from __future__ import annotations

from typing import Annotated

import typer

from mss.commands.options import HERE, ConfigFile, Json, group, settings

store_app = group("Look the store over.")


@store_app.command("check", epilog="Example: mss store check --repair -c my-operator/mss.toml")
def store_check(
    config: ConfigFile = HERE,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended; what cannot be is named.")] = False,
    octets: Annotated[
        bool, typer.Option("--octets/--no-octets", help="Read all letters and compare their digests, too.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Look for rows, octets and counters that do not fit, while the operator serves; exit code 1 when some stay."""
    from mss.commands import looking
    from mss.commands.output import progress, say_json, say_marked

    with progress("Looking") as told:
        found = looking.over(settings(config), octets=octets, repair=repair, told=told)
    for one in found:
        finding = one.finding
        if as_json:
            row = {"kind": finding.kind, "where": finding.where, "mendable": finding.mendable, "mended": one.mended}
            say_json(row)
        else:
            mark = "✓" if one.mended else "!" if finding.kind in looking.HARMLESS else "✗"
            say_marked(mark, f"{finding.where}: {looking.words(one)}")
    left = looking.left(found)
    if not as_json:
        say_marked("✗" if left else "✓", f"{left} things do not fit" if left else "everything fits")
    if left:
        raise typer.Exit(1)
