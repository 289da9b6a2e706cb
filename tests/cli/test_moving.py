"""The way out and the way in: what leaves comes back the same, once, whatever was cut off on the way."""

from __future__ import annotations

import mailbox as stdlib
import zipfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mss.commands import arriving, leaving, sources
from mss.commands.words import Form
from mss.config import Limits
from mss.dossier import xdm
from mss.model.address import Address
from mss.model.mailbox import INBOX
from mss.services import accounts, appending, mailbox
from mss.services.mailbox import Columns
from mss.services.reading import read_letter
from mss.store import Uow
from tests.cli.cli_world import DOCTOR, PATIENT, RECEPTION, Desk, cda

pytestmark = pytest.mark.slow

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
PLAIN = b"From: a@b.example\r\nSubject: one\r\nMessage-ID: <1@b.example>\r\n\r\nFrom here\r\n>From there\r\n"
LARGE = b"Subject: large\r\n\r\n" + b"a long line of a large letter\r\n" * 8000
LETTERS: list[tuple[str, bytes, tuple[str, ...], datetime]] = [
    (INBOX, PLAIN, ("\\Seen", "\\Answered"), datetime(2024, 2, 29, 23, 59, 58, tzinfo=UTC)),
    (INBOX, b"Subject: two\r\n\r\n\xe9\r\n", (), datetime(2025, 1, 1, tzinfo=UTC)),
    ("Archive/2024/Été.1", LARGE, ("\\Flagged", "$Forwarded"), datetime(2024, 7, 1, 1, 2, 3, tzinfo=UTC)),
    ("Sent", b"Subject: none", ("\\Draft", "\\Deleted"), datetime(2023, 7, 1, tzinfo=UTC)),
]


def _fill(desk: Desk, address: str = DOCTOR) -> None:
    def write(uow: Uow, folder: str, octets: bytes, flags: tuple[str, ...], at: datetime) -> None:
        box = accounts.box_by_address(uow, Address.parse(address), NOW)
        assert box is not None
        if uow.mailboxes.by_name(box.id, folder) is None:
            mailbox.create(uow, box.id, folder, "test", NOW)
        found = mailbox.find(uow, box.id, folder, NOW)
        appending.append(uow, found.id, read_letter(octets, Limits(), documents=False), flags, at, "test", NOW)

    def write_all(uow: Uow) -> None:
        for letter in LETTERS:
            write(uow, *letter)

    desk.in_store(lambda store: store.write(write_all))


def _content(desk: Desk, address: str) -> list[tuple[str, bytes, tuple[str, ...], datetime]]:
    """Return folder, octets, flags and date of every letter, in order."""

    def read(uow: Uow) -> list[tuple[str, bytes, tuple[str, ...], datetime]]:
        box = accounts.box_by_address(uow, Address.parse(address), NOW)
        assert box is not None
        found = []
        for folder in mailbox.mailboxes(uow, box.id, NOW):
            for row in mailbox.rows(uow, folder.id, ((1, 9999),), Columns.PLAIN, NOW):
                flags = tuple(sorted(mailbox.flag_names(folder.keywords, row.flags)))
                at = datetime.fromtimestamp(row.internal_date_us / 1e6, UTC)
                found.append((folder.name, uow.objects.get(box.id, row.object_id), flags, at))
        return sorted(found)

    return desk.in_store(lambda store: store.read(read))


EXPECTED = sorted((folder, octets, tuple(sorted(flags)), at) for folder, octets, flags, at in LETTERS)


def test_a_maildir_goes_out_and_comes_back_the_same_and_once(staffed: Desk, tmp_path: Path) -> None:
    _fill(staffed)
    out = tmp_path / "maildir"
    assert "4 letters of 8 folders are in" in staffed.does("export", "mailbox", DOCTOR, str(out))
    # Another program reads it, too.
    read = stdlib.Maildir(out, create=False)
    assert (len(read), sorted(read.list_folders())) == (
        2,
        sorted(["Archive", "Archive.2024", "Archive.2024.&AMk-t&AOk-&AC4-1", "Drafts", "Junk", "Sent", "Trash"]),
    )
    assert {"".join(sorted(one.get_flags())) for one in read} == {"RS", ""}
    assert "0 of them new" in staffed.does("export", "mailbox", DOCTOR, str(out))
    assert "4 letters came in, 0 were" in staffed.does("import", "maildir", RECEPTION, str(out))
    assert _content(staffed, RECEPTION) == EXPECTED
    assert "0 letters came in, 4 were" in staffed.does("import", "maildir", RECEPTION, str(out))
    assert _content(staffed, RECEPTION) == EXPECTED
    assert "every chain is whole" in staffed.does("audit", "verify")


def test_mbox_files_go_out_and_come_back_the_same_and_once(staffed: Desk, tmp_path: Path) -> None:
    _fill(staffed)
    out = tmp_path / "mbox"
    staffed.does("export", "mailbox", DOCTOR, str(out), "--form", "mbox")
    assert _letters_in(out / "INBOX.mbox") == 2
    pairs = {"INBOX.mbox": INBOX, "Archive.2024.&AMk-t&AOk-&AC4-1.mbox": "Archive/2024/Été.1", "Sent.mbox": "Sent"}
    for _ in range(2):
        for file, folder in pairs.items():
            staffed.does("import", "mbox", RECEPTION, str(out / file), "--folder", folder)
        # An mbox ends every letter with a line's end.
        whole = sorted((f, o if o.endswith(b"\n") else o + b"\r\n", flags, at) for f, o, flags, at in EXPECTED)
        assert _content(staffed, RECEPTION) == whole


def _letters_in(path: Path) -> int:
    """Count letters as another program does."""
    with closing(stdlib.mbox(path, create=False)) as read:
        return len(read)


@pytest.mark.parametrize("form", list(Form))
@pytest.mark.parametrize("after", [1, 3])
def test_an_export_cut_off_goes_on(staffed: Desk, tmp_path: Path, form: Form, after: int) -> None:
    _fill(staffed)
    out = tmp_path / "out"

    def cut(done: int, total: int) -> None:
        if done == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        leaving.mailbox(staffed.config, lambda: NOW, DOCTOR, out, form, cut)
    staffed.does("export", "mailbox", DOCTOR, str(out), "--form", form)
    assert not list(out.rglob("*.part"))
    count = len(list(out.rglob("cur/*"))) if form is Form.MAILDIR else sum(map(_letters_in, out.glob("*.mbox")))
    assert count == 4


def test_an_import_cut_off_goes_on_without_doubles(staffed: Desk, tmp_path: Path) -> None:
    _fill(staffed)
    out = tmp_path / "out"
    staffed.does("export", "mailbox", DOCTOR, str(out))

    def cut(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        arriving.bring(staffed.config, lambda: NOW, RECEPTION, lambda: sources.maildir(out), cut)
    assert 0 < len(_content(staffed, RECEPTION)) < 4
    staffed.does("import", "maildir", RECEPTION, str(out))
    assert _content(staffed, RECEPTION) == EXPECTED


def test_flags_that_changed_are_brought_up_to_date_outside(staffed: Desk, tmp_path: Path) -> None:
    _fill(staffed)
    out = tmp_path / "out"
    staffed.does("export", "mailbox", DOCTOR, str(out))

    def unflag(uow: Uow) -> None:
        box = accounts.box_by_address(uow, Address.parse(DOCTOR), NOW)
        assert box is not None
        inbox = mailbox.find(uow, box.id, INBOX, NOW)
        action = mailbox.FlagAction.REPLACE
        mailbox.store_flags(uow, inbox.id, ((1, 2),), action, ("\\Flagged",), None, "test", NOW)

    staffed.in_store(lambda store: store.write(unflag))
    staffed.does("export", "mailbox", DOCTOR, str(out))
    assert {one.get_flags() for one in stdlib.Maildir(out, create=False)} == {"F"}


def test_a_letter_that_is_too_large_is_left_out_and_said(staffed: Desk, tmp_path: Path) -> None:
    staffed.toml.write_text(staffed.toml.read_text() + "\n[limits]\nmessage_max_octets = 100\n")
    box = tmp_path / "one.mbox"
    box.write_bytes(b"From x Mon Jan  1 00:00:00 2024\n" + b"y" * 98 + b"\n\nFrom x\n" + b"y" * 101 + b"\n")
    said = staffed.does("import", "mbox", DOCTOR, str(box))
    assert "1 letters came in" in said
    assert "1 are larger" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("import", "maildir", PATIENT, "."), "by delivery only"),
        (("import", "maildir", "nobody@hopital.example", "."), "no box of ours"),
        (("import", "maildir", DOCTOR, "nowhere"), "no Maildir"),
        (("import", "mbox", DOCTOR, __file__), "no mbox"),
        (("import", "imap", DOCTOR, "there", "--login", "x", "--password-file", __file__), "host:port"),
        (("export", "mailbox", "nobody@hopital.example", "out"), "no box of ours"),
        (("export", "dossier", DOCTOR, "out.zip"), "only patients have a dossier"),
    ],
)
def test_what_cannot_be_is_said(staffed: Desk, words: tuple[str, ...], said: str) -> None:
    assert said in staffed.fails(*words)


def test_a_dossier_goes_out_as_an_archive_that_comes_back(staffed: Desk, tmp_path: Path) -> None:
    for number in (1, 2):
        file = tmp_path / f"{number}.xml"
        file.write_bytes(cda(f"2.25.{number}"))
        staffed.does("welcome", "--from", RECEPTION, "--to", PATIENT, "--document", str(file))
    target = tmp_path / "IHE_XDM.zip"
    assert "2 documents are in" in staffed.does("export", "dossier", PATIENT, str(target))
    read = xdm.read(target.read_bytes(), Limits())
    assert {one.entry.unique_id for one in read.documents} == {"2.25.1", "2.25.2"}
    assert {one.octets for one in read.documents} == {cda("2.25.1"), cda("2.25.2")}
    assert (read.problems, {one.defect for one in read.documents}) == ((), {""})
    assert zipfile.ZipFile(target).testzip() is None
    assert "dossier.export" in staffed.does("audit", "list", "--action", "dossier")


def test_a_backup_is_made_proven_and_brought_back(staffed: Desk, tmp_path: Path) -> None:
    _fill(staffed)
    safe = tmp_path / "safe"
    assert "brought back: whole" in staffed.does("backup", str(safe), "--verify")
    name = staffed.does("restore", str(safe), "--list").strip()
    assert "has boxes already" in staffed.fails("restore", str(safe))
    for file in (*staffed.folder.glob("data/store.sqlite*"), *staffed.folder.glob("data/blobs/??/*")):
        file.unlink()
    assert f"{name}: " in staffed.does("restore", str(safe))
    assert _content(staffed, DOCTOR) == EXPECTED
    assert "everything fits" in staffed.does("store", "check")
