"""`mss node` and `mss migrate`: which programs run on which nodes; tables brought to this program's form.

Like `cli`, it knows typer.
"""

from __future__ import annotations

from typing import Annotated

import typer

from mss.clock import system_clock
from mss.commands.options import HERE, ConfigFile, Json, group, settings

node_app = group("Show the nodes that run, and with which program.")


@node_app.command("list", epilog="Example: mss node list")
def node_list(config: ConfigFile = HERE, json: Json = False) -> None:
    """List the worker processes that were heard of within a day; those that are silent for a minute are marked."""
    from mss.commands.house import read, seconds_ago
    from mss.commands.output import say_json, table
    from mss.services import nodes

    now = system_clock()
    found = read(settings(config), lambda uow: nodes.listed(uow, now))
    rows = [
        {
            "node": one.node,
            "worker": one.name,
            "program": one.program,
            "form": one.form,
            "roles": one.roles,
            "started": one.started_at.isoformat(),
            "seen": one.seen_at.isoformat(),
            "alive": one.alive(now),
        }
        for one in found
    ]
    if json:
        say_json(rows)
        return
    seen = [(*(str(row[key]) for key in ("node", "worker", "program", "form", "roles")),) for row in rows]
    lines = [
        (*words, f"{seconds_ago(one.seen_at, now)} ago" if one.alive(now) else "silent")
        for words, one in zip(seen, found, strict=True)
    ]
    table(("NODE", "WORKER", "PROGRAM", "FORM", "ROLES", "SEEN"), lines, nothing="No node runs.")


def migrate(
    config: ConfigFile = HERE,
    show: Annotated[bool, typer.Option("--show", help="Only say how tables and program go together.")] = False,
) -> None:
    """Bring the tables to this program's form.

    Nodes of the older form go on running where they can. It is refused while a node runs whose program could not bear
    the new form.
    """
    from mss.commands.output import say_marked
    from mss.store.schema import HEAD, Fit
    from mss.store.store import fit, upgrade

    found = settings(config)
    before = fit(found) if show else upgrade(found)
    if not show and before in (Fit.OLDER, Fit.NONE):
        say_marked("✓", f"the tables are of form {HEAD} now")
        return
    say_marked("✓" if before is Fit.CURRENT else "!" if before.may_run else "✗", before.said)
    if not before.may_run:
        raise typer.Exit(1)
