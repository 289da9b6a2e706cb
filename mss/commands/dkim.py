"""`mss dkim …`: the keys that outgoing letters are signed with. Like `cli`, it knows typer; what is done is in
`signatures`, brought in when a command runs."""

from __future__ import annotations

from typing import Annotated

import typer

from mss.clock import system_clock
from mss.commands.options import HERE, ConfigFile, group, settings

dkim_app = group("Make and show the keys that outgoing letters are signed with.")


@dkim_app.command("keygen", epilog="Example: mss dkim keygen hopital.example")
def dkim_keygen(
    domain: Annotated[str, typer.Argument(metavar="DOMAIN", help="A domain of ours.")],
    config: ConfigFile = HERE,
    selector: Annotated[str, typer.Option(help="The key's name in DNS; made of today's date when left out.")] = "",
    bits: Annotated[int, typer.Option(help="The key's length.")] = 2048,
) -> None:
    """Make a key for a domain; prints the DNS record to publish first and the setting to add then."""
    from mss.commands import signatures
    from mss.commands.output import say

    made = signatures.keygen(settings(config), domain, selector, bits, system_clock().date())
    say(made.record)
    say(f"Key: {made.path}. Publish the record above, then add to the keys of [dkim] in {config}:")
    say(made.setting)


@dkim_app.command("list", epilog="Example: mss dkim list")
def dkim_list(config: ConfigFile = HERE) -> None:
    """List the configured keys, since when or until when each signs, and the DNS record of each."""
    from mss.commands import signatures
    from mss.commands.output import say

    for one in signatures.configured(settings(config), system_clock().date()):
        say(f"{one.key.domain} {one.key.selector}: {one.state}")
        say(f"  {one.record}")
