"""`mss audit`: the journal, looked through, checked, anchored, exported. Like `cli`, it knows typer; what is done is in
`journal` and `tracing`.

It is brought in when a command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mss.clock import system_clock
from mss.commands.options import HERE, ConfigFile, Json, Limit, group, settings
from mss.commands.words import TraceForm

Since = Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="Only from this day on.")]

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


@audit_app.command("about", epilog="Example: mss audit about '<20261130.7@hopital.example>'")
def audit_about(
    what: Annotated[
        str,
        typer.Argument(help="A Message-ID, a box's address, a login, or letter:12, document:3, box:4, account:7."),
    ],
    config: ConfigFile = HERE,
    limit: Limit = 200,
    json: Json = False,
) -> None:
    """Say who did what to a letter, a document, a box or an account, newest first."""
    from mss.commands import journal, shown_journal

    shown_journal.records(journal.about(settings(config), what, limit), json=json)


@audit_app.command("verify", epilog="Example: mss audit verify --anchors /mnt/other-machine/heads.jsonl")
def audit_verify(
    config: ConfigFile = HERE,
    anchors: Annotated[
        Path | None, typer.Option(help="The file of anchored heads; that of [journal] when left out.")
    ] = None,
) -> None:
    """Check that no record of the journal was changed or taken away; exit code 1 when one was."""
    from mss.commands import journal
    from mss.commands.output import say_marked

    checked = journal.verify(settings(config), anchors)
    for writer, number in checked.broken:
        say_marked("✗", f"record {number} of {writer} does not follow from the one before")
    for writer, number in checked.unanchored:
        say_marked("✗", f"record {number} of {writer} is not the one that was anchored outside")
    if checked.broken or checked.unanchored:
        raise typer.Exit(1)
    heads = f", {checked.anchors} anchored heads stand" if checked.anchors else ""
    say_marked("✓", f"{checked.records} records, every chain is whole{heads}")


@audit_app.command("anchor", epilog="Example: mss audit anchor --to /mnt/other-machine/heads.jsonl")
def audit_anchor(
    config: ConfigFile = HERE,
    to: Annotated[Path | None, typer.Option(help="The file to append to; that of [journal] when left out.")] = None,
) -> None:
    """Write the heads of all chains into the file outside now; the operator does it on schedule, too."""
    from mss.commands import journal
    from mss.commands.output import say_marked

    count, file = journal.anchor(settings(config), system_clock, to)
    say_marked("✓", f"{count} heads are anchored in {file}")


@audit_app.command(
    "export", epilog="Example: mss audit export --form syslog --to tls://siem.example:6514 --state pos.json"
)
def audit_export(
    config: ConfigFile = HERE,
    form: Annotated[TraceForm, typer.Option(help="JSON Lines, or syslog (RFC 5424).")] = TraceForm.JSONL,
    to: Annotated[str, typer.Option(help="“-” for standard output, a file to append to, or tls://host:port.")] = "-",
    since: Since = "",
    state: Annotated[
        Path | None, typer.Option(help="A file that remembers how far the last run came: only what is new goes out.")
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="Whom we believe to be that server (PEM); the system's when left out.")
    ] = None,
) -> None:
    """Write the journal for another system, chain by chain; at least once each when a run is cut off."""
    from mss.commands import tracing
    from mss.commands.output import complain

    order = tracing.Order(form, to, since, state, ca_file)
    count = tracing.export(settings(config), order)
    if to != "-":
        complain(f"{count} records went to {to}")
