"""The answers of the commands as lines and tables. It decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from mss import checkup, instance
from mss.commands import letters
from mss.commands.output import say, say_marked, table
from mss.model.account import Account
from mss.model.party import BoxKind, Party
from mss.services.accounts import BoxAccess

_MARKS: Final = {"ok": "✓", "warning": "!", "wrong": "✗"}


def made(toml: Path, plan: instance.Plan) -> None:
    """Say what `mss init` made, what to keep, and the next two commands."""
    say(f"Made the operator “{plan.name}” in {toml.parent}")
    certificates = "your own, copied" if plan.own else "from a development authority, not for production"
    say(f"  {toml.name:<16} its settings, explained line by line")
    say(f"  {'certs/':<16} its certificate, {certificates}")
    say(f"  {'data/, keys/':<16} its store, and the keys that open it")
    if plan.trust_list is None:
        say(f"  {instance.TRUST_LIST:<16} a trust list that names this operator only")
    _escrow(toml)
    say("Next:")
    say(f"  mss check -c {toml}")
    say(f"  mss serve -c {toml}")


def _escrow(toml: Path) -> None:
    """Say what has to be kept elsewhere, and where not."""
    key = toml.parent / "keys" / "master.key"
    say_marked("!", f"Keep a copy of {key} elsewhere, under lock (escrow): without it every letter is lost.")
    say("  Print it or put it on two media, in two safes, each opened by two people; try one of them once a year:")
    say(f"  mss keys status -c {toml} tells the fingerprint that the copy must have.")
    say("  Never beside a backup of the data: whoever has both reads everything. Copy the owners' keys apart, too:")
    say(f"  mss keys backup FILE -c {toml}, every day; throw old copies away, for a dropped key lives on in them.")


def findings(found: Iterable[checkup.Finding]) -> None:
    """Print a line for each finding, with what to do."""
    for one in found:
        remedy = f" → {one.remedy}" if one.remedy else ""
        say_marked(_MARKS[one.level], f"{one.subject}: {one.text}{remedy}")


def accounts(everybody: Iterable[tuple[Account, Sequence[BoxAccess]]], *, addresses: bool) -> None:
    """Print the accounts with their boxes; a patient's box by number unless addresses are asked for."""
    rows = [
        (
            account.login,
            account.kind.value,
            account.display_name,
            "yes" if account.totp_confirmed else "no",
            "; ".join(_box_words(one, addresses) for one in boxes) or "none",
        )
        for account, boxes in everybody
    ]
    titles = ("LOGIN", "KIND", "NAME", "SECOND FACTOR", "BOXES")
    table(titles, rows, nothing="There is no account yet: mss account add --help")


def _box_words(access: BoxAccess, addresses: bool) -> str:
    box = access.box
    hidden = box.kind is BoxKind.PATIENT and not addresses
    name = f"box {box.id} at {box.address.domain}" if hidden else box.address.spec
    return f"{name} ({box.kind}, {box.state}, {access.kind})"


def sent(letter: letters.Sent) -> None:
    """Print what became of each recipient's copy, and the number to ask for it later."""
    for outcome in letter.receipt.outcomes:
        decision = outcome.decision
        told = "" if decision.accepted else f": {decision.rule.text}"
        say_marked("✓" if decision.accepted else "✗", f"{decision.rule.name}{told}")
    if letter.unreadable:
        say_marked("!", f"{letter.unreadable} documents came without a readable PDF: give one with --twin")
    say(f"Receipt {letter.receipt.number}")


def parties(found: Iterable[Party]) -> None:
    """Print entries of the directory."""
    rows = [(one.display_name, one.profession or one.speciality, one.town, one.address.spec) for one in found]
    table(("NAME", "PROFESSION", "TOWN", "ADDRESS"), rows, nothing="Nobody was found: try fewer or shorter words.")
