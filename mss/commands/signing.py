"""`mss account certificate | subject | delegate`: who may act for whom, and signing in without a password.

Like `cli`, it knows typer; what is done is in `proofs`, brought in when a command runs.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from mss.clock import system_clock
from mss.commands.options import HERE, ConfigFile, group, settings
from mss.commands.words import By
from mss.model.account import DelegationKind

Login = Annotated[str, typer.Argument(metavar="LOGIN", help="Who signs in.")]
Box = Annotated[str, typer.Argument(metavar="BOX", help="The box's mail address.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="What stands in the token, in the configured claim.")]


certificate_app = group("Say which client certificates sign a robot in.")
subject_app = group("Say what the issuer of tokens calls an account.")
delegate_app = group("Say who may act for a box: send in its name, read it.")


@certificate_app.command("add", epilog="Example: mss account certificate add robot@hopital.example robot.pem")
def certificate_add(
    login: Login,
    file: Annotated[Path | None, typer.Argument(metavar="[PEM]", help="The certificate's file.")] = None,
    config: ConfigFile = HERE,
    by: Annotated[By, typer.Option(help="What of the file's certificate has to fit.")] = By.BOTH,
    subject: Annotated[str, typer.Option(metavar="DN", help="Without a file: the subject, as RFC 4514 has it.")] = "",
    fingerprint: Annotated[str, typer.Option(metavar="HEX", help="Without a file: the SHA-256 fingerprint.")] = "",
) -> None:
    """Let a client certificate sign a robot in; with --by subject its renewals, too."""
    from mss.commands import proofs
    from mss.commands.output import say

    fit = proofs.fit_of_file(file, by) if file else proofs.fit_of_words(subject, fingerprint)
    found = settings(config)
    made = proofs.add_certificate(found, system_clock, login, fit)
    say(f"Binding {made.id}: such a certificate signs the account in (EXTERNAL).")
    if found.tls.client_ca_file is None:
        say("No certificate is asked for yet: set client_ca_file in [tls].")


@certificate_app.command("list", epilog="Example: mss account certificate list robot@hopital.example")
def certificate_list(login: Login, config: ConfigFile = HERE) -> None:
    """List the certificates that sign a robot in."""
    from mss.commands import proofs
    from mss.commands.output import table

    found = proofs.certificates(settings(config), system_clock, login)
    rows = [(str(one.id), one.subject or "any", one.fingerprint or "any") for one in found]
    table(("NUMBER", "SUBJECT", "FINGERPRINT"), rows, nothing="No certificate signs this account in.")


@certificate_app.command("remove", epilog="Example: mss account certificate remove robot@hopital.example 1")
def certificate_remove(
    login: Login,
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="As listed.")],
    config: ConfigFile = HERE,
) -> None:
    """Let a certificate sign a robot in no longer; connections that are open stay so."""
    from mss.commands import proofs
    from mss.commands.output import say

    proofs.remove_certificate(settings(config), system_clock, login, number)
    say(f"Binding {number} is gone.")


@subject_app.command("add", epilog="Example: mss account subject add marie@hopital.example 899700218896")
def subject_add(login: Login, name: Name, config: ConfigFile = HERE) -> None:
    """Let what the issuer calls somebody mean an account (account_by = "subject")."""
    from mss.commands import proofs
    from mss.commands.output import say

    proofs.add_subject(settings(config), system_clock, login, name)
    say("Tokens with this name sign the account in.")


@subject_app.command("list", epilog="Example: mss account subject list marie@hopital.example")
def subject_list(login: Login, config: ConfigFile = HERE) -> None:
    """List what issuers call an account."""
    from mss.commands import proofs
    from mss.commands.output import table

    found = proofs.subjects(settings(config), system_clock, login)
    table(("ISSUER", "NAME"), found, nothing="No name in a token means this account.")


@subject_app.command("remove", epilog="Example: mss account subject remove marie@hopital.example 899700218896")
def subject_remove(login: Login, name: Name, config: ConfigFile = HERE) -> None:
    """Let a name in tokens mean an account no longer."""
    from mss.commands import proofs
    from mss.commands.output import say

    proofs.remove_subject(settings(config), system_clock, login, name)
    say("Tokens with this name sign nobody in.")


@delegate_app.command("add", epilog="Example: mss account delegate add marie@hopital.example accueil@hopital.example")
def delegate_add(
    login: Login,
    box: Box,
    config: ConfigFile = HERE,
    kind: Annotated[DelegationKind, typer.Option("--as", help="On what ground.")] = DelegationKind.MEMBER,
    until: Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="The last day; for ever when left out.")] = "",
) -> None:
    """Let an account act for a box: a person sends as the service, and reads its letters."""
    from mss.commands import accounts, proofs
    from mss.commands.output import say, when

    ends_at = proofs.end_of(until)
    granted = accounts.grant(settings(config), system_clock, login, box, kind, ends_at)
    last = f" until {when(ends_at)}" if ends_at else ""
    say(f"The account may now act for the {granted.kind} box, as {kind}{last}.")


@delegate_app.command("list", epilog="Example: mss account delegate list accueil@hopital.example")
def delegate_list(box: Box, config: ConfigFile = HERE) -> None:
    """List who may act for a box."""
    from mss.commands import proofs
    from mss.commands.output import table

    found = proofs.delegations(settings(config), box)
    rows = [(account.login, right.kind.value, _until(right.ends_at)) for account, right in found]
    table(("LOGIN", "AS", "UNTIL"), rows, nothing="Nobody may act for this box.")


def _until(ends_at: datetime | None) -> str:
    from mss.commands.output import when

    if ends_at is None:
        return "for ever"
    return when(ends_at) + (" (ended)" if ends_at <= system_clock() else "")


@delegate_app.command(
    "remove", epilog="Example: mss account delegate remove marie@hopital.example accueil@hopital.example"
)
def delegate_remove(login: Login, box: Box, config: ConfigFile = HERE) -> None:
    """Let an account act for a box no longer."""
    from mss.commands import proofs
    from mss.commands.output import say

    proofs.end_delegation(settings(config), system_clock, login, box)
    say("The account may no longer act for the box; its open connections to it end within a minute.")
