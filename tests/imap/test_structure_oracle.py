"""ENVELOPE and BODYSTRUCTURE of broken letters: Debian's Dovecot as an oracle, each difference of a known kind."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest

from mss.imap.structure import Node, read_tree, string
from mss.model.account import Box
from tests.imap.dovecot import Dovecot
from tests.imap.imap_world import NESTED, Client, World

pytestmark = pytest.mark.journey

LETTERS = 200
SIMPLE = (
    b"Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\nFrom: Terry Gray <gray@pro.example>\r\n"
    b"Subject: IMAP4rev1 WG mtg summary and minutes\r\nTo: imap@pro.example\r\n"
    b"cc: minutes@pro.example, John Klensin <KLENSIN@pro.example>\r\nMessage-Id: <B27397@pro.example>\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n\r\nBonjour\r\nA demain\r\n"
)
RICH = (
    b'From: "Labo, Dr" <labo@pro.example> (carte)\r\nSender: secretariat@pro.example\r\n'
    b"Reply-To: Groupe: a@pro.example, B <b@pro.example>;\r\nTo: =?utf-8?q?J=C3=A9?= <j@pro.example>,\r\n"
    b" docteur@pro.example\r\nBcc: z@pro.example\r\nIn-Reply-To: <0@pro.example>\r\nSubject: XDM/1.0/DDM\r\n"
    b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n boundary="----=_a(b)"; type="text/xml"\r\n\r\n'
    b"preamble\r\n------=_a(b)\r\nContent-Type: multipart/alternative; boundary=in\r\n\r\n--in\r\n\r\n"
    b"Bonjour\r\n--in\r\n"
    b"Content-Type: text/html; charset=utf-8; format=flowed\r\nContent-Transfer-Encoding: quoted-printable\r\n"
    b"Content-Language: fr, en\r\n\r\n<p>=C3=A9</p>\r\n--in--\r\n------=_a(b)\r\n"
    b'Content-Type: application/zip; name="IHE_XDM.ZIP"\r\nContent-Transfer-Encoding: base64\r\n'
    b"Content-ID: <doc@pro.example>\r\nContent-Description: documents\r\nContent-MD5: Q2hlY2s=\r\n"
    b'Content-Disposition: attachment; filename="IHE_XDM.ZIP"\r\n\r\nUEsDBA==\r\n'
    b"------=_a(b)\r\nContent-Type: message/rfc822\r\n\r\n" + SIMPLE + b"\r\n------=_a(b)--\r\nepilogue\r\n"
)
ORIGINALS = (SIMPLE, RICH, NESTED)
PIECES = (
    b"\r\n", b"\r\n\r\n", b" ", b";", b":", b'"', b"(", b")", b"<", b">", b",", b"=", b"--", b"\\", b"@", b"\xe9",
    b"\t", b"\xc3\xa9", b"\r\n ", b"=?utf-8?q?=C3=A9?=", b"*", b"'", b"/", b"--b", b"--in--\r\n", b"x" * 300,
    b"boundary=",
)  # fmt: skip


def mutated(dice: random.Random) -> bytes:
    """Return one of the letters with up to three slips in it."""
    letter = dice.choice(ORIGINALS)
    for _ in range(dice.randrange(1, 4)):
        at = dice.randrange(len(letter))
        end = min(len(letter), at + dice.choice((1, 2, 5, 20)))
        match dice.randrange(4):
            case 0:
                letter = letter[:at] + dice.choice(PIECES) + letter[at:]
            case 1:
                letter = letter[:at] + letter[end:]
            case 2:
                letter = letter[:at] + dice.choice(PIECES) + letter[end:]
            case _:
                letter = letter[:at] + letter[at:end] * 2 + letter[end:]
    return letter.replace(b"\r\n", b"\n").replace(b"\r", b"").replace(b"\n", b"\r\n")


# Why we differ, and from which letters on (Debian's Dovecot 2.3.19); docs/decisions/imap.md says why each is right.
KNOWN = {
    "a type that cannot be read is text/plain, or what can be read of it; Dovecot's is empty": (
        5, 34, 37, 54, 55, 78, 82, 92, 106, 109, 125, 138, 142, 162, 183, 189, 194,
    ),
    "after a slip in an address we read on; Dovecot gives up the address, or all that follow": (
        0, 1, 29, 46, 80, 81, 90, 100, 101, 121, 130, 137, 145, 177, 192,
    ),
    "after a slip in a parameter we read on and keep what is written; Dovecot stops": (
        0, 6, 72, 76, 82, 83, 114, 141, 176, 188, 198,
    ),
    "of a field that stands there twice the first one counts; Dovecot takes the last": (38, 43, 45, 173),
    "a boundary is the whole line (RFC 2046 §5.1.1); Dovecot takes a longer line for it too": (79, 119, 171),
    "an encoding that nobody knows is told as written; Dovecot says 7bit": (23, 156),
    "a line that is no field ends no header": (56,),
    "a tab inside a field stays; Dovecot makes it a space": (68,),
}  # fmt: skip

Plain = list["Plain | bytes | None"]


def plain(node: Node) -> Plain:
    """Return a tree whose strings are their octets in small letters: Dovecot makes some of its words so."""
    return [plain(child) if isinstance(child, list) else (string(child) or b"").lower() or None for child in node]


def items(told: bytes) -> tuple[Plain, Plain]:
    """Return ENVELOPE and BODYSTRUCTURE of a FETCH response."""
    tree = read_tree(told[told.index(b"(") :])
    words = {child.upper(): tree[at + 1] for at, child in enumerate(tree) if isinstance(child, bytes)}
    both = words[b"ENVELOPE"], words[b"BODYSTRUCTURE"]
    assert all(isinstance(each, list) for each in both), told
    return plain(both[0]), plain(both[1])  # type: ignore[arg-type]


async def test_broken_letters_look_as_they_do_at_dovecot(world: World, inbox: Box) -> None:
    dice = random.Random(0)
    letters = [mutated(dice) for _ in range(LETTERS)]
    with tempfile.TemporaryDirectory(prefix="mss-oracle-") as folder:
        peer, client = await Dovecot.start(Path(folder)), await world.session()
        for letter in letters:
            assert (await peer.ask("APPEND INBOX", letter))[-1].startswith(b"OK")
            told = await client.ask(b"APPEND INBOX {%d+}\r\n%b" % (len(letter), letter))
            assert told[-1].startswith(b"OK")
        ours, theirs = await forms(client), await forms(peer)
        await peer.close()
    different = {number for number in range(LETTERS) if ours[number] != theirs[number]}
    assert different == {number for numbers in KNOWN.values() for number in numbers}


async def forms(session: Client | Dovecot) -> list[tuple[Plain, Plain]]:
    """Return ENVELOPE and BODYSTRUCTURE of all letters."""
    await session.ask("SELECT INBOX")
    told = await session.ask("FETCH 1:* (ENVELOPE BODYSTRUCTURE)")
    assert told[-1].startswith(b"OK")
    found = [items(line) for line in told[:-1] if b" FETCH (" in line]
    assert len(found) == LETTERS
    return found
