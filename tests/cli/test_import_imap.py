"""Letters come in from another IMAP server, a real Dovecot over TLS: folders, flags, dates; a second time none."""

from __future__ import annotations

import imaplib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mss.model.address import Address
from mss.services import accounts, mailbox
from mss.services.mailbox import Columns
from mss.store import Uow
from tests.cli.cli_world import DOCTOR, Desk

pytestmark = [pytest.mark.journey, pytest.mark.slow]

PATIENCE_S = 30.0
_UID = 5000
_SETTINGS = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
listen = 127.0.0.1
protocols = imap
ssl = required
ssl_cert = <{folder}/cert.pem
ssl_key = <{folder}/key.pem
first_valid_uid = 500
mail_location = maildir:~/Maildir
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid={uid} gid={uid} home={folder}/mail/%u allow_all_users=yes
}}
namespace inbox {{
  inbox = yes
  separator = .
  mailbox Gesendet {{
    special_use = \\Sent
    auto = create
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {port}
    ssl = yes
  }}
}}
"""
LETTERS = [
    ("INBOX", b"Subject: one\r\n\r\nFrom here\r\n", r"(\Seen $Forwarded)", "29-Feb-2024 23:59:58 +0000"),
    ("INBOX", b"Subject: two\r\n\r\n\xe9\r\n", "()", "01-Jan-2025 00:00:00 +0000"),
    (
        "Archive.2024",
        b"Subject: large\r\n\r\n" + b"a long line\r\n" * 20_000,
        r"(\Flagged)",
        "01-Jul-2024 03:02:03 +0200",
    ),
    ("Gesendet", b"Subject: sent\r\n\r\nx\r\n", r"(\Answered)", "01-Jul-2023 00:00:00 +0000"),
]
EXPECTED = [
    ("Archive/2024", 260_018, ("\\Flagged",), datetime(2024, 7, 1, 1, 2, 3, tzinfo=UTC)),
    ("INBOX", 19, (), datetime(2025, 1, 1, tzinfo=UTC)),
    ("INBOX", 27, ("$Forwarded", "\\Seen"), datetime(2024, 2, 29, 23, 59, 58, tzinfo=UTC)),
    ("Sent", 20, ("\\Answered",), datetime(2023, 7, 1, tzinfo=UTC)),
]


@pytest.fixture
def dovecot(staffed: Desk) -> Iterator[int]:
    """A Dovecot of its own folder, with the desk's certificate; gives its port. Ended by its own pid."""
    if shutil.which("dovecot") is None:
        pytest.fail("dovecot is missing: sudo apt-get install -y --no-install-recommends dovecot-imapd")
    folder = Path(tempfile.mkdtemp(prefix="mss-dovecot-"))
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    folder.chmod(0o755)
    (folder / "mail").mkdir()
    os.chown(folder / "mail", _UID, _UID)
    shutil.copy(staffed.folder / "certs" / "operator.pem", folder / "cert.pem")
    shutil.copy(staffed.folder / "certs" / "operator.key", folder / "key.pem")
    settings = folder / "dovecot.conf"
    settings.write_text(_SETTINGS.format(folder=folder, port=port, uid=_UID), encoding="utf-8")
    process = subprocess.Popen(["dovecot", "-F", "-c", str(settings)], stderr=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)
        shutil.rmtree(folder, ignore_errors=True)


def _connected(port: int, authorities: Path) -> imaplib.IMAP4_SSL:
    end = time.monotonic() + PATIENCE_S
    context = ssl.create_default_context(cafile=str(authorities))
    while True:
        with suppress(ConnectionRefusedError):
            return imaplib.IMAP4_SSL("localhost", port, ssl_context=context, timeout=PATIENCE_S)
        assert time.monotonic() < end, "Dovecot does not listen"
        time.sleep(0.05)


def _content(uow: Uow) -> list[tuple[str, int, tuple[str, ...], datetime]]:
    now = datetime.now(UTC)
    box = accounts.box_by_address(uow, Address.parse(DOCTOR), now)
    assert box is not None
    found = []
    for folder in mailbox.mailboxes(uow, box.id, now):
        for row in mailbox.rows(uow, folder.id, ((1, 9999),), Columns.PLAIN, now):
            at = datetime.fromtimestamp(row.internal_date_us / 1e6, UTC)
            found.append(
                (folder.name, row.size_octets, tuple(sorted(mailbox.flag_names(folder.keywords, row.flags))), at)
            )
    return sorted(found)


def test_a_mailbox_of_dovecot_comes_in_whole_and_once(staffed: Desk, dovecot: int, tmp_path: Path) -> None:
    authorities = staffed.folder / "certs" / "ca.pem"
    with _connected(dovecot, authorities) as client:
        client.login("marie", "secret")
        client.create("Archive.2024")
        for folder, octets, flags, at in LETTERS:
            assert client.append(folder, flags, f'"{at}"', octets)[0] == "OK"
    password = tmp_path / "password"
    password.write_text("secret\n")
    words = ("import", "imap", DOCTOR, f"localhost:{dovecot}", "--login", "marie", "--ca-file", str(authorities))
    said = staffed.does(*words, "--password-file", str(password))
    assert "4 letters came in, 0 were here" in said
    assert staffed.in_store(lambda store: store.read(_content)) == EXPECTED
    assert "0 letters came in, 4 were here" in staffed.does(*words, "--password-file", str(password))
    assert staffed.in_store(lambda store: store.read(_content)) == EXPECTED
    password.write_text("wrong\n")
    assert "refused" in staffed.fails(*words, "--password-file", str(password))
