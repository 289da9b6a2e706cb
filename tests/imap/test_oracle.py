"""SORT, THREAD, ESEARCH and SEARCHRES: the answers of Debian's Dovecot on the same letters, made from the grammar."""

from __future__ import annotations

import random
import re
import tempfile
from pathlib import Path

import pytest

from mss.model.account import Box
from tests.imap.dovecot import Dovecot
from tests.imap.imap_world import Client, World

pytestmark = pytest.mark.journey

LETTERS = 120
SUBJECTS = (
    "Compte rendu", "compte RENDU", "Re: Compte rendu", "Re[2]: Compte rendu", "RE : [labo] Compte rendu", "Fwd: Bilan",
    "[Fwd: Bilan]", "Bilan (fwd)", "[labo] Bilan", "[labo]", "re:", "", "=?utf-8?q?R=C3=A9sultats?=",
    "Re: =?iso-8859-1?Q?R=E9sultats?=", "=?utf-8?q?re=3A_R=C3=A9sultats?=", "Fw:  Bilan  (FWD) ",
    "[Fwd: [Fwd: Re: Bilan]]",
    "Réunion", "a", "Z", "été", "Etat", "zèbre", "ß", "straße",
)  # fmt: skip
PEOPLE = (
    "Zoe <a@pro.example>", "anne@pro.example", '"Bob, Dr" <bob@pro.example>', "=?utf-8?q?=C3=89lodie?= <c@pro.example>",
    "Bob@pro.example (carte)", "Équipe <equipe@pro.example>", '"" <z@pro.example>',
)  # fmt: skip
DATES = (
    "Sun, 22 Nov 2026 09:00:00 +0100", "Sun, 22 Nov 2026 08:30:00 +0000", "22 Nov 2026 01:00:00 -0800",
    "Mon, 23 Nov 2026 00:00:00 +0000", "Sat, 21 Nov 2026 23:59:59 GMT", "Tue, 1 Dec 2026 10:00:00 +0200",
)  # fmt: skip


def corpus(dice: random.Random) -> list[bytes]:
    """Return letters whose fields are drawn from those that matter; every fifth refers to none, some to none here."""
    letters = []
    for number in range(LETTERS):
        lines = [f"From: {dice.choice(PEOPLE)}", f"Subject: {dice.choice(SUBJECTS)}", f"Date: {dice.choice(DATES)}"]
        lines += [f"To: {dice.choice(PEOPLE)}"] if dice.random() < 0.9 else []
        lines += [f"Cc: {dice.choice(PEOPLE)}, {dice.choice(PEOPLE)}"] if dice.random() < 0.3 else []
        named = number if dice.random() < 0.95 else dice.randrange(LETTERS)
        lines += [f"Message-ID: <{named}@pro.example>"] if dice.random() < 0.95 else []
        others = [f"<{dice.randrange(LETTERS + 20)}@pro.example>" for _ in range(dice.randrange(4))]
        lines += [f"References: {' '.join(others)}"] if others and dice.random() < 0.6 else []
        lines += [f"In-Reply-To: {others[0]}"] if others and dice.random() < 0.4 else []
        body = "mot " * dice.randrange(1, 60) + dice.choice(("radio", "dossier", "bilan"))
        letters.append("\r\n".join([*lines, "", body, ""]).encode())
    return letters


async def both(world: World, inbox: Box, folder: Path, seed: int) -> tuple[Client, Dovecot]:
    """Return a session here and one of Dovecot, on the same letters."""
    peer = await Dovecot.start(folder)
    letters = corpus(random.Random(seed))
    client = await world.session()
    for number, letter in enumerate(letters):
        date = f'" {number % 9 + 1}-Nov-2026 10:00:{number % 60:02d} +0000"'
        flags = "(\\Seen)" if number % 3 else "()"
        assert (await client.append("INBOX", letter, f"{flags} {date} ")).startswith(b"OK")
        assert (await peer.ask(f"APPEND INBOX {flags} {date}", letter))[-1].startswith(b"OK")
    for session in (client, peer):
        assert (await session.ask("SELECT INBOX"))[-1].startswith(b"OK")
        for command in ("STORE 5,9:12,70 +FLAGS.SILENT (\\Deleted)", "EXPUNGE"):
            assert (await session.ask(command))[-1].startswith(b"OK")
    return client, peer


COMMANDS = [
    *(
        f"{uid}SORT ({criteria}) UTF-8 {program}"
        for criteria in ("ARRIVAL", "CC", "DATE", "FROM", "SIZE", "SUBJECT", "TO", "REVERSE DATE",
                         "SUBJECT REVERSE DATE",
                         "REVERSE FROM REVERSE SIZE", "DISPLAYFROM", "DISPLAYTO SUBJECT")
        for uid, program in (("", "ALL"), ("UID ", "SEEN"))
    ),
    *(f"{uid}THREAD {how} UTF-8 {program}" for how in ("ORDEREDSUBJECT", "REFERENCES")
      for uid, program in (("", "ALL"), ("UID ", "UNSEEN"), ("", "1:30"))),
    *(f"{uid}SEARCH RETURN ({options}) {program}" for uid in ("", "UID ")
      for options in ("", "MIN", "MAX", "COUNT", "ALL", "MIN MAX COUNT", "MIN MAX COUNT ALL")
      for program in ("SEEN", "BODY radio", "FROM bob", "KEYWORD none", "TEXT dossier", "SUBJECT bilan")),
    "SEARCH RETURN (SAVE) SEEN", "SEARCH $", "SEARCH RETURN (SAVE MIN) BODY radio", "UID SEARCH UID $",
    "FETCH $ (UID)", "SEARCH RETURN (SAVE COUNT) NOT SEEN", "SEARCH $ BODY bilan", "UID SEARCH RETURN (COUNT) NOT $",
    "SEARCH RETURN (PARTIAL 1:10) ALL", "SEARCH RETURN (PARTIAL 20:11) SEEN", "UID SEARCH RETURN (PARTIAL 900:999) ALL",
    "UID SORT RETURN (MIN MAX COUNT) (SUBJECT) UTF-8 ALL", "SORT RETURN (ALL) (SIZE) UTF-8 SEEN",
]  # fmt: skip


def plain(answers: list[bytes]) -> list[bytes]:
    """Return answers without what each server words its own way: tags, the text after OK, and the keywords of the
    mailbox, which Dovecot tells when SEARCH named a new one."""
    told = [line for line in answers[:-1] if not line.startswith((b"* FLAGS", b"* OK [PERMANENTFLAGS"))]
    return [re.sub(rb'\(TAG "[^"]*"\)', b"", line) for line in told] + [answers[-1][:2]]


@pytest.mark.parametrize("seed", range(3))
async def test_dovecot_gives_the_same_answers(world: World, inbox: Box, seed: int) -> None:
    # Not below pytest's own folder, which is closed to others.
    with tempfile.TemporaryDirectory(prefix="mss-oracle-") as folder:
        different = await differences(*await both(world, inbox, Path(folder), seed))
    assert not different


async def differences(client: Client, peer: Dovecot) -> dict[str, tuple[list[bytes], list[bytes]]]:
    """Return the commands that are answered differently, with both answers."""
    different = {}
    for command in COMMANDS:
        ours, theirs = await client.ask(command), await peer.ask(command)
        if plain(ours) != plain(theirs):
            different[command] = (plain(ours), plain(theirs))
    await peer.close()
    return different
