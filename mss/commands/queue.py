"""`mss queue`: letters on their way to other operators, looked at and steered. Like `cli`, it knows typer; what is done
is in `letters`, brought in when a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from mss.clock import system_clock
from mss.commands.options import HERE, Addresses, ConfigFile, Json, Limit, group, settings
from mss.errors import Misconfigured
from mss.model.delivery import DeliveryState

queue_app = group("Look at the letters that go to other operators, and steer them.")

Ids = Annotated[list[int] | None, typer.Argument(metavar="ID", help="Their numbers, as `mss queue list` shows them.")]
ToDomain = Annotated[str, typer.Option("--to-domain", metavar="DOMAIN", help="Only those for this domain.")]
FromDomain = Annotated[str, typer.Option("--from-domain", metavar="DOMAIN", help="Only those sent from this domain.")]
Older = Annotated[str, typer.Option("--older", metavar="AGE", help="Only those queued longer ago: 90s, 15min, 2h, 3d.")]
Younger = Annotated[str, typer.Option("--younger", metavar="AGE", help="Only those queued more recently than that.")]
MessageId = Annotated[str, typer.Option("--message-id", metavar="ID", help="Only those with this Message-ID.")]
State = Annotated[list[DeliveryState] | None, typer.Option("--state", help="Only these; once for each.")]
_WORDS: Final = {
    "hold": "held back",
    "release": "released",
    "retry": "due now",
    "bounce": "given back to their senders",
}


@queue_app.command("list", epilog="Example: mss queue list --to-domain chu.mssante.fr --older 2h")
def queue_list(
    config: ConfigFile = HERE,
    state: State = None,
    to_domain: ToDomain = "",
    from_domain: FromDomain = "",
    older: Older = "",
    younger: Younger = "",
    message_id: MessageId = "",
    limit: Limit = 100,
    addresses: Addresses = False,
    json: Json = False,
) -> None:
    """List letters on their way to other operators, oldest first: those that wait, unless --state says otherwise."""
    from mss.commands import letters, shown_queue
    from mss.commands.letters import Filters

    states = frozenset(state or letters.WAITING)
    filters = Filters((), states, to_domain, from_domain, older, younger, message_id)
    entries, summary = letters.queue(settings(config), system_clock, filters, limit)
    shown_queue.entries(entries, summary, system_clock(), addresses=addresses, json=json)


@queue_app.command("show", epilog="Example: mss queue show 12 --addresses")
def queue_show(
    number: Annotated[int, typer.Argument(metavar="ID", help="The number that `mss queue list` shows.")],
    config: ConfigFile = HERE,
    addresses: Addresses = False,
    json: Json = False,
) -> None:
    """Show one letter on its way, with every attempt and what the other side answered; never its content."""
    from mss.commands import letters, shown_queue

    entry = letters.one(settings(config), system_clock, number)
    shown_queue.entry(entry, system_clock(), addresses=addresses, json=json)


@queue_app.command("hold", epilog="Example: mss queue hold --to-domain chu.mssante.fr")
def queue_hold(
    ids: Ids = None,
    config: ConfigFile = HERE,
    to_domain: ToDomain = "",
    from_domain: FromDomain = "",
    older: Older = "",
    younger: Younger = "",
    message_id: MessageId = "",
    json: Json = False,
) -> None:
    """Keep letters back until `mss queue release`: they are neither tried nor given up meanwhile."""
    _act("hold", config, (ids, to_domain, from_domain, older, younger, message_id), json=json)


@queue_app.command("release", epilog="Example: mss queue release --to-domain chu.mssante.fr")
def queue_release(
    ids: Ids = None,
    config: ConfigFile = HERE,
    to_domain: ToDomain = "",
    from_domain: FromDomain = "",
    older: Older = "",
    younger: Younger = "",
    message_id: MessageId = "",
    json: Json = False,
) -> None:
    """Let letters go that were held back; they are tried at once."""
    _act("release", config, (ids, to_domain, from_domain, older, younger, message_id), json=json)


@queue_app.command("retry", epilog="Example: mss queue retry --to-domain chu.mssante.fr")
def queue_retry(
    ids: Ids = None,
    config: ConfigFile = HERE,
    to_domain: ToDomain = "",
    from_domain: FromDomain = "",
    older: Older = "",
    younger: Younger = "",
    message_id: MessageId = "",
    json: Json = False,
) -> None:
    """Try letters now instead of at their next time, for instance when the other operator says that it is back."""
    _act("retry", config, (ids, to_domain, from_domain, older, younger, message_id), json=json)


@queue_app.command("bounce", epilog="Example: mss queue bounce 12 13")
def queue_bounce(
    ids: Ids = None,
    config: ConfigFile = HERE,
    to_domain: ToDomain = "",
    from_domain: FromDomain = "",
    older: Older = "",
    younger: Younger = "",
    message_id: MessageId = "",
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it for all that the options name; it cannot be undone.")
    ] = False,
    json: Json = False,
) -> None:
    """Give letters back to their senders now, with a report; it cannot be undone."""
    words = (ids, to_domain, from_domain, older, younger, message_id)
    if not ids and not yes:
        _refuse(config, words)
    _act("bounce", config, words, json=json)


_Words = tuple[list[int] | None, str, str, str, str, str]


def _refuse(config: Path, words: _Words) -> NoReturn:
    """Say what a bounce of all that the options name would do, instead of doing it."""
    from mss.commands import letters

    count = letters.count(settings(config), system_clock, letters.Filters.of(*words))
    raise Misconfigured(f"this would give {count} letters back to their senders: add --yes to do it")


def _act(verb: str, config: Path, words: _Words, *, json: bool) -> None:
    from mss.commands import letters, shown_queue

    filters = letters.Filters.of(*words)
    results = letters.act(settings(config), system_clock, verb, filters)
    shown_queue.results(_WORDS[verb], results, json=json)
    if filters.ids and not shown_queue.all_done(results):
        raise typer.Exit(1)


@queue_app.command("trace", epilog='Example: mss queue trace "<5f2c@hopital.example>"')
def queue_trace(
    message_id: Annotated[str, typer.Argument(metavar="MESSAGE-ID", help="The letter's Message-ID; < and > may go.")],
    config: ConfigFile = HERE,
    addresses: Addresses = False,
    json: Json = False,
) -> None:
    """Tell a letter's whole story: received, judged, filed, queued, each attempt with its answer, reports sent."""
    from mss.commands import letters, shown_queue
    from mss.commands.output import say

    happenings = letters.trace(settings(config), system_clock, message_id)
    if not happenings and not json:
        say("No letter with this Message-ID was ever accepted or refused here after its text was sent.")
        raise typer.Exit(1)
    shown_queue.story(happenings, addresses=addresses, json=json)
