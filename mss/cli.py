"""The words of the command line: names, options, help. What they do is in `commands`, `instance`, `checkup`, `app`.

With the groups in `commands` it knows typer. Each command imports what it needs when it runs: help and a typing mistake
wait for no store. It holds one error map: a clear line on standard error that says what to do, exit code 2 for what was
typed or configured wrongly, 1 for a no, and an incident number for surprises; never a traceback.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from mss.clock import system_clock
from mss.commands.audit import audit_app
from mss.commands.dkim import dkim_app
from mss.commands.dossier import dossier_app
from mss.commands.importing import import_boxes
from mss.commands.keys import keys_app
from mss.commands.lifecycle import register as register_lifecycle
from mss.commands.mailboxes import account_quota, mailbox_app
from mss.commands.mishaps import surprise
from mss.commands.moving import export_app, import_app
from mss.commands.nodes import migrate, node_app
from mss.commands.operator import operator_app
from mss.commands.options import HERE, Addresses, ConfigFile, Json, Limit, group, settings
from mss.commands.queue import queue_app
from mss.commands.safe import backup, restore
from mss.commands.signing import certificate_app, delegate_app, subject_app
from mss.commands.storing import store_app
from mss.commands.words import Kind
from mss.commands.xdm import xdm_app
from mss.config import BASE_PORT
from mss.errors import Misconfigured, MssError, Unavailable
from mss.model.account import BoxState, DelegationKind
from mss.model.rights import Purpose
from mss.settings import load


class _Careful(TyperGroup):
    """The group of all commands, with the error map around it."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run a command and end the process with its exit code."""
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except TyperException as error:
            _fail(f"{error.format_message()} ({_help_of(error)})", error.exit_code)
        except typer.Abort:
            _fail("stopped", 1)
        except Unavailable as error:
            _fail(f"{error}: try again", 1)
        except MssError as error:
            _fail(str(error), 2 if isinstance(error, Misconfigured) else 1)
        except OSError as error:
            where = f": {error.filename}" if error.filename else ""
            _fail(f"{error.strerror or type(error).__name__}{where}", 1)
        except Exception as error:  # noqa: BLE001 - the map of this door: no traceback reaches a tired person.
            _fail(surprise(error), 1)
        sys.exit(code if isinstance(code, int) else 0)


def _fail(text: str, code: int) -> NoReturn:
    from mss.commands.output import complain

    complain(f"mss: {text}")
    sys.exit(code)


def _help_of(error: TyperException) -> str:
    context = getattr(error, "ctx", None)
    return f"see {context.command_path if context else 'mss'} --help"


app = typer.Typer(
    cls=_Careful,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Plain help: Rich's boxes cost more time than all of ours.
    rich_markup_mode=None,
    help="An MSSanté operator: secure mail between health professionals and patients.",
    epilog="Begin with: mss init my-operator",
)


account_app = group("Create accounts and boxes, say who acts for which box.")
policy_app = group("Ask why a letter would be taken or refused.")
directory_app = group("Import and search the national directory.")
for _name, _sub in {
    "account": account_app,
    "queue": queue_app,
    "mailbox": mailbox_app,
    "policy": policy_app,
    "directory": directory_app,
    "operator": operator_app,
    "dkim": dkim_app,
    "dossier": dossier_app,
    "node": node_app,
    "audit": audit_app,
    "keys": keys_app,
    "store": store_app,
    "export": export_app,
    "import": import_app,
    "xdm": xdm_app,
}.items():
    app.add_typer(_sub, name=_name)

for _name, _sub in {"certificate": certificate_app, "subject": subject_app, "delegate": delegate_app}.items():
    account_app.add_typer(_sub, name=_name)

register_lifecycle(account_app)

Box = Annotated[str, typer.Argument(metavar="BOX", help="The box's mail address.")]
Login = Annotated[str, typer.Argument(metavar="LOGIN", help="Who signs in.")]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input; otherwise one is made.")
]

# The instance -----------------------------------------------------------------------------------------------------


@app.command(
    short_help="Make a new operator: a folder that can be served.",
    epilog="Example: mss init my-operator --domain hopital.example=professional",
)
def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.")],
    name: Annotated[str, typer.Option(help="The operator's name; the folder's name when left out.")] = "",
    hostname: Annotated[str, typer.Option(help="The host name that other operators verify.")] = "localhost",
    domain: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=KIND", help="A domain to host, professional or patient; once for each."),
    ] = None,
    base_port: Annotated[int, typer.Option(help="The first of the ports to listen on.")] = BASE_PORT,
    standard_ports: Annotated[
        bool, typer.Option("--standard-ports", help="Listen on 25, 587, 465, 143, 993, 443 and 9180 instead.")
    ] = False,
    listen_host: Annotated[str, typer.Option(help="The address of this machine to listen on.")] = "127.0.0.1",
    authority: Annotated[
        Path | None, typer.Option(help="The folder of a development authority to share with other operators.")
    ] = None,
    certificate: Annotated[Path | None, typer.Option(help="Your own certificate with its chain (PEM).")] = None,
    key: Annotated[Path | None, typer.Option(help="Its key (PEM, not encrypted).")] = None,
    ca: Annotated[Path | None, typer.Option(help="All authorities that peers chain to (PEM).")] = None,
    crl: Annotated[list[Path] | None, typer.Option(help="A revocation list; once for each.")] = None,
    test_identities: Annotated[
        bool | None,
        typer.Option("--test-identities/--production", help="Whether test identities are let in."),
    ] = None,
    trust_list: Annotated[Path | None, typer.Option(help="The trust list file to follow.")] = None,
    route: Annotated[
        list[str] | None, typer.Option(metavar="DOMAIN=HOST:PORT", help="Where letters for a domain go.")
    ] = None,
    postmaster: Annotated[str, typer.Option(help="The mail address of the postmaster.")] = "",
) -> None:
    """Make a new operator. It gets settings, a store, certificates and a first trust list."""
    from mss import instance
    from mss.commands import making, shown

    own = making.own_files(certificate, key, ca, crl or [])
    plan = instance.Plan(
        name=name or directory.resolve().name,
        hostname=hostname,
        domains=tuple(making.pairs(domain or making.PLAYGROUND, "--domain")),
        base_port=base_port,
        authority=authority,
        own=own,
        test_identities=(own is None) if test_identities is None else test_identities,
        trust_list=trust_list,
        routes=dict(making.pairs(route or [], "--route")),
        postmaster=postmaster,
        host=listen_host,
        standard_ports=standard_ports,
    )
    shown.made(instance.make(directory, plan, system_clock), plan)


app.command(epilog="Example: mss migrate -c my-operator/mss.toml")(migrate)


@app.command(epilog="Example: mss serve -c my-operator/mss.toml --roles mx,imap --workers 2")
def serve(
    config: ConfigFile = HERE,
    roles: Annotated[str, typer.Option(help="What this process does, with commas; everything when left out.")] = "",
    workers: Annotated[int, typer.Option(min=1, max=64, help="How many processes share the work.")] = 1,
) -> None:
    """Run the operator until it is told to stop (Ctrl+C or SIGTERM)."""
    # Imported late: it brings every door with it, and the other commands need none.
    from mss import app as house

    wanted = frozenset(filter(None, (role.strip() for role in roles.split(",")))) or frozenset(house.ROLES)
    if unknown := sorted(wanted - set(house.ROLES)):
        raise Misconfigured(f"--roles {unknown[0]}: there are {', '.join(house.ROLES)}")
    raise typer.Exit(house.serve(load(config), roles=wanted, workers=workers))


@app.command(
    short_help="Say what is wrong with the operator, and what to do.",
    epilog="Example: mss check -c my-operator/mss.toml",
)
def check(
    config: ConfigFile = HERE,
    live: Annotated[bool, typer.Option("--live", help="Only ask the running operator whether it lives.")] = False,
    ready: Annotated[bool, typer.Option("--ready", help="Only ask it whether it can do its work now.")] = False,
    printed: Annotated[
        bool, typer.Option("--settings/--no-settings", help="Print every setting first, without secrets.")
    ] = True,
) -> None:
    """Say what is wrong with the operator, and what to do. The exit code is 1 when something is."""
    from mss import checkup
    from mss.commands import shown
    from mss.commands.output import say
    from mss.commands.settings import effective

    found = settings(config)
    if live or ready:
        findings: tuple[checkup.Finding, ...] = (checkup.ready(found) if ready else checkup.live(found),)
    else:
        for name, value in effective(found) if printed else ():
            say(f"{name} = {value}")
        findings = checkup.run(found, system_clock)
    shown.findings(findings)
    if not checkup.is_well(findings):
        raise typer.Exit(1)


app.command(
    short_help="Copy all data, encrypted, while the operator serves.",
    epilog="Example: mss backup /safe/mss --verify --keep 30",
)(backup)
app.command(
    short_help="Bring a backup back into an empty store.",
    epilog="Example: mss restore /safe/mss -c new-operator/mss.toml",
)(restore)


# Accounts ---------------------------------------------------------------------------------------------------------


@account_app.command("add", epilog='Example: mss account add accueil@hopital.example --kind org --name "Accueil"')
def account_add(
    login: Annotated[str, typer.Argument(metavar="ADDRESS_OR_LOGIN", help="A mail address; a patient's own word.")],
    kind: Annotated[Kind, typer.Option(help="A person, an organisation, a robot, or a patient.")],
    config: ConfigFile = HERE,
    name: Annotated[str, typer.Option(help="What others see instead of the address.")] = "",
    box: Annotated[
        list[str] | None,
        typer.Option(metavar="BOX", help="A shared box to join; for a patient: the matricule INS or the address."),
    ] = None,
    ins_oid: Annotated[str, typer.Option(help="The authority of the INS: nir, nia, test, demo, or its OID.")] = "nir",
    birth_name: Annotated[str, typer.Option(help="The patient's birth name.")] = "",
    first_name: Annotated[str, typer.Option(help="The patient's first given name.")] = "",
    birth_date: Annotated[str, typer.Option(metavar="YYYYMMDD", help="The patient's birth date.")] = "",
    sex: Annotated[str, typer.Option(help="M, F or U.")] = "",
    red_list: Annotated[bool, typer.Option("--red-list", help="Do not publish the box in the directory.")] = False,
    password_stdin: PasswordStdin = False,
) -> None:
    """Create an account and its box; the password is printed once when it is made here."""
    from mss.commands import accounts
    from mss.commands.output import say
    from mss.model.ins import Traits

    traits = Traits(birth_name, first_name, birth_date, sex)
    wish = accounts.Wish(login, kind, name, tuple(box or ()), ins_oid, traits, red_list)
    password = _password(password_stdin)
    added = accounts.add(settings(config), system_clock, wish, password)
    made = "with a new box" if added.new_box else "for the box that was there"
    say(f"Created the account {added.account.login}, {made} of kind {added.box.kind} ({added.box.state}).")
    _say_password(password, password_stdin)


def _password(from_stdin: bool) -> str:
    from mss.commands import accounts

    return sys.stdin.readline().rstrip("\r\n") if from_stdin else accounts.new_password()


def _say_password(password: str, from_stdin: bool) -> None:
    from mss.commands.output import say

    if not from_stdin:
        say(f"Password, shown this once: {password}")


account_app.command("import", epilog="Example: mss account import patients.csv")(import_boxes)


@account_app.command("grant", epilog="Example: mss account grant marie@hopital.example accueil@hopital.example")
def account_grant(
    login: Login,
    box: Box,
    config: ConfigFile = HERE,
    kind: Annotated[DelegationKind, typer.Option("--as", help="On what ground.")] = DelegationKind.MEMBER,
) -> None:
    """Let an account act for a further box."""
    from mss.commands import accounts
    from mss.commands.output import say

    granted = accounts.grant(settings(config), system_clock, login, box, kind)
    say(f"The account may now act for the {granted.kind} box, as {kind}.")


@account_app.command("list", epilog="Example: mss account list -c my-operator/mss.toml")
def account_list(config: ConfigFile = HERE, addresses: Addresses = False) -> None:
    """List who signs in and for which boxes they act; patients' addresses only with --addresses."""
    from mss.commands import accounts, shown

    everybody = accounts.everybody(settings(config), system_clock)
    shown.accounts(everybody, addresses=addresses)


@account_app.command("passwd", epilog="Example: mss account passwd marie@hopital.example")
def account_passwd(login: Login, config: ConfigFile = HERE, password_stdin: PasswordStdin = False) -> None:
    """Give an account a new password and end its web sessions."""
    from mss.commands import accounts
    from mss.commands.output import say

    password = _password(password_stdin)
    accounts.set_password(settings(config), system_clock, login, password)
    say("The password is changed, and every web session of the account has ended.")
    _say_password(password, password_stdin)


@account_app.command("oppose", epilog="Example: mss account oppose marie@hopital.example")
def account_oppose(
    box: Box,
    config: ConfigFile = HERE,
    lift: Annotated[bool, typer.Option("--lift", help="Take the opposition back.")] = False,
) -> None:
    """Note an opposition: a professional's to letters from patients, a patient's to having a mailbox."""
    from mss.commands import accounts
    from mss.commands.output import say

    say(accounts.oppose(settings(config), system_clock, box, lift=lift))


@account_app.command("state", epilog="Example: mss account state accueil@hopital.example closed")
def account_state(
    box: Box,
    state: Annotated[BoxState, typer.Argument(help="open, closed, or for patients opposed, unopened.")],
    config: ConfigFile = HERE,
) -> None:
    """Open or close a box, or note that its patient opposed it."""
    from mss.commands import accounts
    from mss.commands.output import say

    before = accounts.set_state(settings(config), system_clock, box, state)
    say(f"The {before.kind} box was {before.state} and is now {state}.")


account_app.command("quota", epilog="Example: mss account quota accueil@hopital.example --size 2G")(account_quota)


# Letters ----------------------------------------------------------------------------------------------------------


@app.command(
    short_help="Send a patient a first letter with documents.",
    epilog="Example: mss welcome --from accueil@hopital.example --to 279035121518989 --document cda.xml",
)
def welcome(
    sender: Annotated[str, typer.Option("--from", metavar="BOX", help="The professional box that writes.")],
    to: Annotated[str, typer.Option("--to", metavar="INS", help="The patient's matricule INS or address.")],
    document: Annotated[list[Path], typer.Option(help="A clinical document (CDA R2); once for each.")],
    config: ConfigFile = HERE,
    twin: Annotated[list[Path] | None, typer.Option(help="Its readable PDF, when the CDA holds none.")] = None,
    text: Annotated[str, typer.Option(help="What the letter says; a French default when left out.")] = "",
    reply_to: Annotated[str, typer.Option(metavar="BOX", help="Where the patient's answer goes.")] = "",
    software: Annotated[str, typer.Option(metavar="NIL", help="Your product's number (X-MSS-NIL).")] = "",
    no_answer: Annotated[bool, typer.Option("--no-answer", help="Forbid an answer to this letter.")] = False,
) -> None:
    """Send a patient a first letter with documents. It has the structured form (XDM and PDF)."""
    from mss.commands import letters, shown

    order = letters.WelcomeOrder(
        sender, to, tuple(document), tuple(twin or ()), text, reply_to, not no_answer, software
    )
    sent = letters.send_welcome(settings(config), system_clock, order)
    shown.sent(sent)
    if not sent.receipt.accepted:
        raise typer.Exit(1)


@policy_app.command("explain", epilog="Example: mss policy explain --from a@region.example --to b@hopital.example")
def policy_explain(
    sender: Annotated[str, typer.Option("--from", metavar="ADDRESS", help='Who writes; "Name <address>" too.')] = "",
    to: Annotated[str, typer.Option("--to", metavar="ADDRESS", help="Whom to; with --document the patient.")] = "",
    config: ConfigFile = HERE,
    subject: Annotated[str, typer.Option(help="The letter's subject, for instance [FIN].")] = "Question",
    header: Annotated[
        list[str] | None, typer.Option(metavar="FIELD", help='A header field, such as "X-MSS-MES: FIN".')
    ] = None,
    peer_domain: Annotated[str, typer.Option(metavar="DOMAIN", help="Whose operator brings the letter.")] = "",
    document: Annotated[int, typer.Option(metavar="NUMBER", help="A document of the patient --to, not a letter.")] = 0,
    reader: Annotated[str, typer.Option("--as", metavar="LOGIN", help="The professional who would read it.")] = "",
    purpose: Annotated[Purpose, typer.Option(help="Why: care, regulation centre, break-glass.")] = Purpose.TREATMENT,
    receipt: Annotated[str, typer.Option(metavar="NUMBER", help="A letter that came, by its receipt.")] = "",
) -> None:
    """Say which decisions a letter or a document would meet, on which facts, and what would change them."""
    from mss.commands import explain
    from mss.commands.output import say

    found = settings(config)
    if receipt:
        lines = explain.explain_letter(found, receipt)
    elif document:
        lines = explain.explain_document(found, system_clock, reader, to, document, purpose)
    else:
        question = explain.Question(sender, to, subject, tuple(header or ()), peer_domain)
        lines = explain.explain(found, system_clock, question)
    for line in lines:
        say(line)


@policy_app.command("rules", epilog="Example: mss policy rules --markdown > docs/rules.md")
def policy_rules(
    markdown: Annotated[bool, typer.Option("--markdown", help="As the page of the documentation.")] = False,
    as_json: Json = False,
) -> None:
    """List all rules: name, reply, sentences, and what would change the answer."""
    from mss.commands import rulelist

    rulelist.show(markdown=markdown, as_json=as_json)


# Directory -------------------------------------------------------------------------------------------------------


@directory_app.command("import", epilog="Example: mss directory import Extraction_Correspondance_MSSante.txt")
def directory_import(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The extraction: UTF-8, | between fields.")],
    config: ConfigFile = HERE,
) -> None:
    """Import the national directory's extraction; the old one is searched until the new one is complete."""
    from mss.commands import trust
    from mss.commands.output import say

    imported = trust.import_file(settings(config), system_clock, file)
    say(f"Imported {imported.parties} entries; {imported.bad_rows} lines could not be read and were left out.")


@directory_app.command("search", epilog="Example: mss directory search durand --town bordeaux")
def directory_search(
    words: Annotated[list[str] | None, typer.Argument(metavar="WORDS", help="Beginnings of names.")] = None,
    config: ConfigFile = HERE,
    profession: Annotated[str, typer.Option(help="A profession or its code.")] = "",
    town: Annotated[str, typer.Option(help="The beginning of a town's name.")] = "",
    address: Annotated[str, typer.Option(help="Words of the mail address.")] = "",
    limit: Limit = 50,
) -> None:
    """Search professionals and organisations by name, profession, town or address."""
    from mss.commands import shown, trust
    from mss.services.operators import DirectoryQuery

    query = DirectoryQuery(" ".join(words or ()), profession, town, address)
    found = trust.search(settings(config), system_clock, query, limit)
    shown.parties(found)
