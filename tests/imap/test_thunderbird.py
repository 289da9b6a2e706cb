"""Thunderbird on a screen of its own: an account set up, the password typed, the inbox read, both ways.

Its profile holds what its account set-up writes (server, port, TLS, user name); the operator's authority is in its own
certificate store. What it shows is proven by what it keeps on disk and by what the store learns; the screenshot
(`screen.png` in the test's folder) is for somebody to look at: pytest keeps it after a failure, and always with
`-o tmp_path_retention_policy=all`.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from mss.services import mailbox
from tests.imap.imap_world import DOCTOR, LETTER, NOW, PASSWORD
from tests.imap.test_clients import Reached, needed, reached

__all__ = ["reached"]

pytestmark = [pytest.mark.journey, pytest.mark.slow]

PATIENCE_S = 60
# The certificate's name leads to loopback; nothing is asked of the network, and no page of welcome is in the way.
_PREFERENCES = """
user_pref("network.dns.localDomains", "imap.pro.example");
user_pref("network.connectivity-service.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("toolkit.telemetry.enabled", false);
user_pref("services.settings.server", "data:,");
user_pref("app.update.enabled", false);
user_pref("extensions.update.enabled", false);
user_pref("mail.rights.version", 1);
user_pref("mail.shell.checkDefaultClient", false);
user_pref("mail.spotlight.firstRunDone", true);
user_pref("mailnews.start_page.enabled", false);
user_pref("mailnews.start_page_override.mstone", "ignore");
user_pref("mail.accountmanager.accounts", "account1");
user_pref("mail.accountmanager.defaultaccount", "account1");
user_pref("mail.account.account1.identities", "id1");
user_pref("mail.account.account1.server", "server1");
user_pref("mail.identity.id1.fullName", "Docteur");
user_pref("mail.identity.id1.useremail", "%(login)s");
user_pref("mail.identity.id1.valid", true);
user_pref("mail.server.server1.type", "imap");
user_pref("mail.server.server1.name", "mss");
user_pref("mail.server.server1.hostname", "imap.pro.example");
user_pref("mail.server.server1.port", %(port)d);
user_pref("mail.server.server1.socketType", 3);
user_pref("mail.server.server1.authMethod", 3);
user_pref("mail.server.server1.userName", "%(login)s");
user_pref("mail.server.server1.login_at_startup", true);
"""


@dataclass
class Desk:
    """A screen, and the folder of the person who sits before it."""

    folder: Path
    display: str

    @property
    def environment(self) -> dict[str, str]:
        """What programs on this screen see."""
        return {"HOME": str(self.folder), "DISPLAY": self.display, "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}

    async def run(self, *command: str) -> str:
        """Run a program on the screen to its end."""
        process = await asyncio.create_subprocess_exec(
            *command, env=self.environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(PATIENCE_S):
            told, faults = await process.communicate()
        assert process.returncode == 0, faults.decode()
        return told.decode()

    async def window(self, title: str) -> None:
        """Wait until a window of this title is seen; a window that closes under its eyes makes xdotool fail, too."""
        command = (needed("xdotool", "xdotool"), "search", "--onlyvisible", "--name", title)
        async with asyncio.timeout(PATIENCE_S):
            while True:
                look = await asyncio.create_subprocess_exec(
                    *command, env=self.environment, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
                )
                if not await look.wait():
                    return
                await asyncio.sleep(0.05)

    async def press(self, *keys: str) -> None:
        """Press keys."""
        await self.run("xdotool", "key", *keys)

    async def picture(self) -> Path:
        """Keep what the screen shows."""
        await self.run(needed("import", "imagemagick"), "-window", "root", str(self.folder / "screen.png"))
        return self.folder / "screen.png"


@asynccontextmanager
async def started(*command: str, env: dict[str, str] | None = None) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program, with all its children, while a block lasts."""
    process = await asyncio.create_subprocess_exec(
        *command, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        await process.communicate()


@asynccontextmanager
async def screen(folder: Path) -> AsyncIterator[Desk]:
    """Have a screen while a block lasts."""
    size = ("-screen", "0", "1200x800x24")
    async with started(needed("Xvfb", "xvfb"), "-displayfd", "1", *size, "-nolisten", "tcp") as server:
        assert server.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            number = (await server.stdout.readline()).decode().strip()
        assert number, "Xvfb does not start"
        yield Desk(folder, f":{number}")


async def profile(desk: Desk, reached: Reached) -> Path:
    """Write what Thunderbird's account set-up leaves behind, and trust the operator's authority."""
    made = desk.folder / "profile"
    made.mkdir()
    (made / "user.js").write_text(_PREFERENCES % {"login": DOCTOR, "port": reached.tls_port})
    certutil, store = needed("certutil", "libnss3-tools"), f"sql:{made}"
    await desk.run(certutil, "-N", "-d", store, "--empty-password")
    await desk.run(certutil, "-A", "-d", store, "-n", "operator", "-t", "C,,", "-i", str(reached.ca_file))
    return made


async def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for something that only a look can tell."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(what) from None


async def unseen(reached: Reached) -> int:
    """Return how many letters of the inbox nobody has read."""
    read = reached.world.store.read
    inbox = await read(mailbox.find, reached.box.id, "INBOX", NOW)
    return (await read(mailbox.status, inbox.id, NOW)).unseen


async def test_thunderbird_shows_the_inbox_and_hears_of_a_new_letter(reached: Reached, tmp_path: Path) -> None:
    async with screen(tmp_path) as desk:
        made = await profile(desk, reached)
        command = (needed("thunderbird", "thunderbird"), "--no-remote", "--profile", str(made))
        async with started(*command, env=desk.environment):
            await desk.window(f"Enter your password for {DOCTOR}")
            await desk.run("xdotool", "type", PASSWORD)
            await desk.press("Return")
            await desk.window("Inbox - ")
            kept = made / "ImapMail" / "imap.pro.example" / "INBOX"

            def holds(*texts: bytes) -> Callable[[], bool]:
                return lambda: kept.exists() and all(text in kept.read_bytes() for text in texts)

            await until(holds(b"Subject: Resultats", b"JVBERg=="), "Thunderbird does not keep the letters")
            await reached.world.deliver(reached.box, LETTER.replace(b"Resultats", b"Une suite"))
            await until(holds(b"Subject: Une suite"), "Thunderbird does not hear of a new letter")
            assert await unseen(reached) == 3
            # The key of "next unread message" opens one, which the server then knows to be read.
            await desk.press("n")
            async with asyncio.timeout(PATIENCE_S):
                while await unseen(reached) == 3:
                    await asyncio.sleep(0.05)
            assert (await desk.picture()).stat().st_size > 10_000
    names = {name for name, condition in reached.world.count.commands if condition == "OK"}
    assert {"select", "fetch", "list"} <= names
    refused = [told for told in reached.world.count.commands if told[1] != "OK"]
    assert refused == []
    assert "incident" not in reached.world.count.closed
