"""`mss operator …`: the trust list and the operators in it. Like `cli`, it knows typer; what is done is in `trust` and
`peering`, brought in when a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mss.clock import system_clock
from mss.commands.options import HERE, ConfigFile, Json, Limit, group, settings

operator_app = group("Read and show the trust list, and test the operators in it.")


@operator_app.command("list", epilog="Example: mss operator list gip")
def operator_list(
    words: Annotated[list[str] | None, typer.Argument(metavar="WORDS", help="Words of a name or a domain.")] = None,
    config: ConfigFile = HERE,
    json: Json = False,
) -> None:
    """List the operators of the trust space and how many domains each one carries."""
    from mss.commands import shown_trust, trust

    listed = trust.current(settings(config), system_clock)
    shown_trust.operators(listed, trust.by_operator(listed, " ".join(words or ())), json=json)


@operator_app.command("show", epilog="Example: mss operator show patient.mssante.fr")
def operator_show(
    domain: Annotated[str, typer.Argument(metavar="DOMAIN", help="A domain of the trust space.")],
    config: ConfigFile = HERE,
    json: Json = False,
) -> None:
    """Show which certificates may carry letters for a domain."""
    from mss.commands import shown_trust, trust

    found = trust.subjects_of(trust.current(settings(config), system_clock), domain)
    shown_trust.subjects(domain, found, json=json)


@operator_app.command("read", epilog="Example: mss operator read listeblanchemssante.xml")
def operator_read(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The trust list, in XML.")],
    config: ConfigFile = HERE,
    accept_loss: Annotated[bool, typer.Option("--accept-loss", help="Take it though many domains are gone.")] = False,
    clock_is_right: Annotated[
        bool, typer.Option("--clock-is-right", help="Take it though the last one was read later than now.")
    ] = False,
) -> None:
    """Read a trust list and use it from now on; a bad one is refused and the one in use stays."""
    from mss.commands import trust
    from mss.commands.output import say, when

    new = trust.read_list(settings(config), system_clock, file, accept_loss=accept_loss, clock_is_right=clock_is_right)
    say(f"Version {new.version} is in use: {len(new.domains)} domains, made {when(new.generated_at)}.")


@operator_app.command("history", epilog="Example: mss operator history")
def operator_history(config: ConfigFile = HERE, limit: Limit = 30, json: Json = False) -> None:
    """List the last readings of the trust list: when, which (SHA-256), taken or refused and why."""
    from mss.commands import shown_trust, trust

    shown_trust.readings(trust.history(settings(config), system_clock, limit), json=json)


@operator_app.command("diff", epilog="Example: mss operator diff 3 5")
def operator_diff(
    older: Annotated[int | None, typer.Argument(metavar="A", help="A version; the one before B if left out.")] = None,
    newer: Annotated[int | None, typer.Argument(metavar="B", help="A version; the one in use if left out.")] = None,
    config: ConfigFile = HERE,
    json: Json = False,
) -> None:
    """Show which domains came, went or changed hands between two versions of the trust list."""
    from mss.commands import shown_trust, trust

    old, new = trust.versions(settings(config), system_clock, older, newer)
    shown_trust.differences(old, new, json=json)


@operator_app.command("test", epilog="Example: mss operator test patient.mssante.fr")
def operator_test(
    domain: Annotated[str, typer.Argument(metavar="DOMAIN", help="A domain of the trust space.")],
    config: ConfigFile = HERE,
    json: Json = False,
) -> None:
    """Open a TLS session to a domain's mail server and explain every check; no letter is sent."""
    from mss.commands import peering, shown_trust

    steps = []
    for step in peering.test(settings(config), system_clock, domain):
        if not json:
            shown_trust.step(step)  # As it is made: a server that is slow to answer keeps nobody in the dark.
        steps.append(step)
    if json:
        shown_trust.steps(steps)
    if not all(step.well for step in steps):
        raise typer.Exit(1)
