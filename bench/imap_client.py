"""A client that costs little: it counts octets and FETCH responses and only looks for the tagged answer."""

from __future__ import annotations

import asyncio
import base64
import random
import ssl
from typing import Final

WORDS: Final = (
    "dossier", "bilan", "labo", "radio", "patient", "compte", "rendu", "ordonnance", "courrier", "avis", "suite",
    "examen", "service",
)  # fmt: skip
PASSWORD: Final = "secret"
_PATIENCE_S: Final = 300


class Client:
    """One connection; commands go one after another."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._number = 0
        self.octets = 0
        self.fetched = 0
        # The last octets before the tagged answer.
        self.told = b""

    @classmethod
    async def open(cls, port: int, context: ssl.SSLContext, user: str = "") -> Client:
        """Connect under TLS, and sign in when a user is named."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname="localhost", limit=1 << 20
        )
        client = cls(reader, writer)
        await reader.readline()
        if user:
            await client.ask(f'LOGIN {user} "{PASSWORD}"')
        return client

    async def ask(self, command: str, *, may_fail: bool = False) -> bytes:
        """Send a command; returns the tagged answer. `octets` and `fetched` count what came before it."""
        self._number += 1
        tag = b"x%d" % self._number
        self._writer.write(tag + b" " + command.encode() + b"\r\n")
        return await self._until(tag, may_fail=may_fail)

    async def append(self, mailbox: str, letter: bytes) -> None:
        """Append a letter with a synchronising literal."""
        self._number += 1
        tag = b"x%d" % self._number
        self._writer.write(tag + f" APPEND {mailbox} {{{len(letter)}}}\r\n".encode())
        while not (await self._reader.readline()).startswith(b"+"):
            pass
        self._writer.write(letter + b"\r\n")
        await self._until(tag, may_fail=False)

    async def _until(self, tag: bytes, *, may_fail: bool) -> bytes:
        self.octets = self.fetched = 0
        mark, tail = b"\r\n" + tag + b" ", b"\r\n"
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                some = await self._reader.read(1 << 20)
                if not some:
                    raise ConnectionError("the server went away")
                seen = tail + some
                self.octets += len(some)
                self.fetched += seen.count(b" FETCH (") - tail.count(b" FETCH (")
                at = seen.rfind(mark)
                if at >= 0 and seen.endswith(b"\r\n") and at + len(mark) < len(seen):
                    self.told, answer = seen[:at], seen[at + len(mark) : -2]
                    if not may_fail and not answer.startswith(b"OK"):
                        raise RuntimeError(answer.decode("latin-1"))
                    return answer
                tail = seen[-400:]

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


def letter(number: int, size_octets: int, dice: random.Random) -> bytes:
    """Return a letter with a text, its HTML form and an attachment that fills it up."""
    text = "\r\n".join(" ".join(dice.choices(WORDS, k=9)) for _ in range(12))
    subject = f"{dice.choice(('', 'Re: ', 'Fwd: '))}courrier {number // 3} {' '.join(dice.choices(WORDS, k=3))}"
    head = (
        f'From: "Service {number % 97}" <service{number % 97}@example.test>\r\nTo: Bench <user0@example.test>\r\n'
        f"Subject: {subject}\r\nDate: Mon, 5 Jan 2026 {number // 3600 % 24:02d}:{number // 60 % 60:02d}:"
        f"{number % 60:02d} +0000\r\nMessage-ID: <{number}@example.test>\r\n"
        f"In-Reply-To: <{number - number % 3}@example.test>\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/mixed; boundary="outer"\r\n\r\n--outer\r\n'
        'Content-Type: multipart/alternative; boundary="inner"\r\n\r\n--inner\r\n'
        f"Content-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n--inner\r\n"
        f"Content-Type: text/html; charset=utf-8\r\n\r\n<p>{text}</p>\r\n--inner--\r\n--outer\r\n"
        'Content-Type: application/pdf; name="a.pdf"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
    )
    left = max(78, size_octets - len(head) - 15)
    filling = base64.b64encode(dice.randbytes(left * 3 // 4)).decode()
    lines = "\r\n".join(filling[at : at + 76] for at in range(0, len(filling), 76))[:left].rstrip()
    return f"{head}{lines}\r\n--outer--\r\n".encode()
