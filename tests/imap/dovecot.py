"""Debian's Dovecot as an oracle: one session on its standard input and output, without a listener."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
from pathlib import Path

_PROGRAM = "/usr/lib/dovecot/imap"
_PATIENCE_S = 30
_NOBODY = 65534


def command_of(folder: Path) -> str:
    """Return the command that serves a folder's mailbox on a pipe. It serves no mail as root: then it is nobody."""
    config = folder / "dovecot.conf"
    if not config.exists():
        user = (_NOBODY, _NOBODY) if os.getuid() == 0 else (os.getuid(), os.getgid())
        ids = f"mail_uid = {user[0]}\nmail_gid = {user[1]}\nfirst_valid_uid = 1\nfirst_valid_gid = 1\n"
        places = f"base_dir = {folder}/run\nstate_dir = {folder}/run\nlog_path = {folder}/log\nmail_home = {folder}\n"
        config.write_text(f"{ids}{places}mail_location = maildir:{folder}/Maildir\nssl = no\nmail_plugins =\n")
        (folder / "run").mkdir()
        if os.getuid() == 0:
            os.chown(folder, *user)
    return f"env USER=oracle HOME={folder} {_PROGRAM} -c {config}"


class Dovecot:
    """One signed-in session of a mailbox in a folder."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._number = 0

    @classmethod
    async def start(cls, folder: Path) -> Dovecot:
        """Begin a session of the mailbox in a folder of Dovecot's own."""
        command, pipe = shlex.split(command_of(folder)), asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=1 << 24)
        session = cls(process)
        assert (await session._line()).startswith(b"* PREAUTH")
        return session

    async def _line(self) -> bytes:
        assert self._process.stdout is not None
        async with asyncio.timeout(_PATIENCE_S):
            return await self._process.stdout.readline()

    async def _response(self) -> bytes:
        whole = await self._line()
        while match := re.search(rb"\{(\d+)\}\r\n\Z", whole):
            assert self._process.stdout is not None
            whole += await self._process.stdout.readexactly(int(match.group(1))) + await self._line()
        return whole.removesuffix(b"\r\n")

    async def ask(self, command: str, literal: bytes | None = None) -> list[bytes]:
        """Send a command and return its responses, the last one without its tag."""
        self._number += 1
        tag = b"t%d " % self._number
        assert self._process.stdin is not None
        tail = b" {%d+}\r\n%b" % (len(literal), literal) if literal is not None else b""
        self._process.stdin.write(tag + command.encode() + tail + b"\r\n")
        found = [await self._response()]
        while not found[-1].startswith(tag):
            assert found[-1], "Dovecot went away"
            found.append(await self._response())
        return [*found[:-1], found[-1].removeprefix(tag)]

    async def close(self) -> None:
        """End the session."""
        await self.ask("LOGOUT")
        await self._process.wait()
