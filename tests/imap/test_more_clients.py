"""More strangers that live in the mailbox: offlineimap, neomutt, and mbsync while others change what it copies."""

from __future__ import annotations

import asyncio
import random
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from mss.services import mailbox
from mss.services.mailbox import Columns
from tests.imap.imap_world import DOCTOR, LETTER, NOW, PASSWORD, Client
from tests.imap.test_clients import Reached, needed, reached, run

__all__ = ["reached"]

pytestmark = pytest.mark.journey

ALL = ((1, 1_000_000),)
NUMBER = re.compile(rb"Subject: n(\d+)")
FLAGS = {"\\Seen": "S", "\\Flagged": "F", "\\Answered": "R", "\\Draft": "D", "\\Deleted": "T"}


def numbered(number: int) -> bytes:
    """Return a letter that can be told from the others."""
    return LETTER.replace(b"Subject: Resultats", b"Subject: n%d" % number).replace(b"<1@", b"<n%d@" % number)


async def here(reached: Reached, name: str = "INBOX") -> dict[int, str]:
    """Return the letters of a mailbox by their numbers, with their flags in Maildir's spelling."""
    store = reached.world.store
    where = await store.read(mailbox.find, reached.box.id, name, NOW)
    found = {}
    for row in await store.read(mailbox.rows, where.id, ALL, Columns.PLAIN, NOW):
        head = await store.read(mailbox.octets, where.id, row.object_id, 0, 300, NOW)
        if match := NUMBER.search(head):
            names = mailbox.flag_names(where.keywords, row.flags)
            assert int(match.group(1)) not in found, "a letter came twice"
            found[int(match.group(1))] = "".join(sorted(FLAGS[each] for each in names if each in FLAGS))
    return found


def files(folder: Path) -> Iterator[tuple[int, Path]]:
    """Yield the letters of a Maildir by their numbers."""
    for path in sorted([*(folder / "new").iterdir(), *(folder / "cur").iterdir()]):
        if match := NUMBER.search(path.read_bytes()[:300]):
            yield int(match.group(1)), path


def there(folder: Path) -> dict[int, str]:
    """Return the letters of a Maildir with their flags."""
    found: dict[int, str] = {}
    for number, path in files(folder):
        assert number not in found, "a letter came twice"
        found[number] = path.name.partition(":2,")[2]
    return found


def change_files(folder: Path, dice: random.Random, new: int) -> None:
    """Flag some letters of a Maildir, throw one away, and put a new one in."""
    known = list(files(folder))
    for _, path in dice.sample(known, min(3, len(known))):
        letters = "".join(sorted(dice.sample("FRS", dice.randrange(4))))
        path.rename(folder / "cur" / f"{path.name.partition(':2,')[0]}:2,{letters}")
    if len(known) > 6:
        dice.choice(list(files(folder)))[1].unlink()
    (folder / "cur" / f"{new}.made:2,S").write_bytes(numbered(new).replace(b"\r\n", b"\n"))


async def change_here(client: Client, reached: Reached, dice: random.Random, new: int) -> None:
    """Flag some letters, expunge one, and let a new one come."""
    for _ in range(3):
        flag, sign = dice.choice(("\\Seen", "\\Flagged", "\\Answered")), dice.choice("+-")
        await client.ask(f"STORE {dice.randrange(1, 6)} {sign}FLAGS.SILENT ({flag})")
    if dice.random() < 0.5:
        await client.ask(f"STORE {dice.randrange(1, 5)} +FLAGS.SILENT (\\Deleted)")
        await client.ask("EXPUNGE")
    await reached.world.deliver(reached.box, numbered(new))


async def test_mbsync_while_others_change_the_mailbox(reached: Reached, tmp_path: Path) -> None:
    near = tmp_path / "mail"
    near.mkdir()
    (tmp_path / "rc").write_text(
        f'IMAPStore far\nHost localhost\nPort {reached.tls_port}\nUser {DOCTOR}\nPass "{PASSWORD}"\nSSLType IMAPS\n'
        f"CertificateFile {reached.ca_file}\n\nMaildirStore near\nPath {near}/\nInbox {near}/INBOX\n\n"
        "Channel all\nFar :far:\nNear :near:\nPatterns INBOX\nCreate Both\nExpunge Both\nSyncState *\n"
    )
    command = (needed("mbsync", "isync"), "-q", "-c", str(tmp_path / "rc"), "all")
    dice = random.Random(9)
    for number in range(8):
        await reached.world.deliver(reached.box, numbered(number))
    client = await reached.world.session("INBOX")
    await run(*command)
    for turn in range(5):
        change_files(near / "INBOX", dice, 100 + turn)
        async with asyncio.TaskGroup() as both:
            both.create_task(run(*command))
            for step in range(4):
                await change_here(client, reached, dice, 200 + 10 * turn + step)
    for _ in range(2):
        await run(*command)
    ours, theirs = await here(reached), there(near / "INBOX")
    assert ours == theirs
    assert {104, 243} <= ours.keys()


async def test_offlineimap_keeps_both_sides_the_same(reached: Reached, tmp_path: Path) -> None:
    near, dice = tmp_path / "mail", random.Random(3)
    (tmp_path / "rc").write_text(
        f"[general]\naccounts = a\nmetadata = {tmp_path}/state\n[Account a]\nlocalrepository = near\n"
        f"remoterepository = far\n[Repository near]\ntype = Maildir\nlocalfolders = {near}\n[Repository far]\n"
        f"type = IMAP\nremotehost = localhost\nremoteport = {reached.tls_port}\nssl = yes\n"
        f"sslcacertfile = {reached.ca_file}\nremoteuser = {DOCTOR}\nremotepass = {PASSWORD}\n"
        "folderfilter = lambda name: name in ('INBOX', 'Été')\n"
    )
    command = (needed("offlineimap", "offlineimap3"), "-o", "-1", "-u", "quiet", "-c", str(tmp_path / "rc"))
    for number in range(8):
        await reached.world.deliver(reached.box, numbered(number))
    client = await reached.world.session("INBOX")
    await run(*command)
    assert await here(reached) == there(near / "INBOX")
    for turn in range(2):
        change_files(near / "INBOX", dice, 100 + turn)
        await change_here(client, reached, dice, 200 + turn)
        await run(*command)
        await run(*command)
        assert await here(reached) == there(near / "INBOX"), turn
    assert {101, 201} <= (await here(reached)).keys()


def mutt(reached: Reached, folder: Path) -> Path:
    """Write neomutt's configuration."""
    base = f"imaps://localhost:{reached.tls_port}/"
    (folder / "rc").write_text(
        f"set imap_user={DOCTOR}\nset imap_pass={PASSWORD!r}\nset folder={base}\nset spoolfile=+INBOX\n"
        f"set ssl_ca_certificates_file={reached.ca_file}\nset certificate_file={reached.ca_file}\nset record=''\n"
        "set delete=yes quit=yes confirmappend=no confirmcreate=no wait_key=no mark_old=no imap_authenticators=plain\n"
    )
    return folder / "rc"


async def press(configuration: Path, keys: str) -> None:
    """Let neomutt do what keys say, on a terminal of its own."""
    command = [needed("neomutt", "neomutt"), "-n", "-F", str(configuration), "-e", f'push "{keys}"']
    home = f"env HOME={configuration.parent} TERM=xterm LC_ALL=C.UTF-8 "
    told = await run(needed("script", "bsdutils"), "-qec", home + shlex.join(command), "/dev/null")
    assert "rror" not in told, told


async def test_neomutt_flags_copies_searches_and_deletes(reached: Reached, tmp_path: Path) -> None:
    for number in range(4):
        octets = numbered(number).replace(b"Bonjour", b"mot rare" if number == 2 else b"Bonjour")
        await reached.world.deliver(reached.box, octets)
    configuration = mutt(reached, tmp_path)
    # The server searches bodies; what it finds is flagged, and copied.
    search = "<limit>=b 'mot rare'<enter><flag-message><copy-message>=Archive<enter>"
    await press(configuration, search + "<limit>all<enter><quit>")
    assert await here(reached, "Archive") == {2: "F"}
    everything = "<tag-pattern>~s n[13]<enter><tag-prefix><save-message>=Archive<enter><sync-mailbox><quit>"
    await press(configuration, everything)
    await press(configuration, "<limit>~s n0<enter><flag-message><limit>all<enter><quit>")
    assert (await here(reached, "Archive")).keys() == {1, 2, 3}
    assert await here(reached) == {0: "F", 2: "F"}
