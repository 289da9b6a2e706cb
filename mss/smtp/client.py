"""One connection to another operator: the only module that names aiosmtplib (RFC 5321, RFC 3207).

Nothing is said in clear but EHLO and STARTTLS; after TLS the peer must be the one that the caller pins. Every
failure is a value: an `Outcome`, temporary unless the peer said a final no to this letter. It neither chooses hosts
nor repeats.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import aiosmtplib

from mss.mail import scan
from mss.model.delivery import Outcome, OutcomeKind
from mss.smtp import dialog
from mss.smtp.dialog import Answer, Letter, Offer

if TYPE_CHECKING:
    import ssl

# A letter may take its time on a slow line: a second for so many octets, beyond the usual patience.
_SLOWEST_OCTETS_PER_S: Final = 16 * 1024
_QUIT_TIMEOUT_S: Final = 5

Pin = Callable[[object], str | None]
"""Given the SSL object, says why this peer must not have the letter; None when it may."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """How we show ourselves and whom we trust: the context, what to do when a connection ends well, and the pin."""

    context: ssl.SSLContext
    remember: Callable[[object], None]
    pin: Pin


class Channel:
    """An open, verified connection, until `close`."""

    def __init__(self, smtp: aiosmtplib.SMTP, peer: Offer, end: object, secrets: Secrets, timeout_s: float) -> None:
        self.peer = peer
        self._smtp, self._end, self._secrets, self._timeout_s = smtp, end, secrets, timeout_s

    @property
    def alive(self) -> bool:
        """Whether another letter may be tried."""
        return self._smtp.is_connected

    @property
    def end(self) -> object:
        """The SSL object of the connection, for asking again who is there."""
        return self._end

    async def send(self, letter: Letter, octets: bytes) -> tuple[Outcome, ...]:
        """Give one letter over; returns one outcome for each of its deliveries, in their order."""
        refusal = dialog.obstacle(letter, octets, self.peer)
        if refusal:
            return tuple(refusal for _ in letter.deliveries)
        try:
            return await self._send(letter, octets)
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            self._smtp.close()
            lost = _lost(error, self.peer.host)
            return tuple(lost for _ in letter.deliveries)

    async def _send(self, letter: Letter, octets: bytes) -> tuple[Outcome, ...]:
        sender = letter.first.reverse_path
        mail = await self._command(
            b"MAIL FROM:<" + (sender.spec.encode() if sender else b"") + b">",
            dialog.mail_options(letter, len(octets), self.peer),
        )
        if mail.kind is not OutcomeKind.RELAYED:
            await self._reset()
            return tuple(mail for _ in letter.deliveries)
        refused = [await self._recipient(letter, number) for number in range(len(letter.deliveries))]
        if all(refused):
            await self._reset()
            return tuple(own for own in refused if own)
        return dialog.settle(refused, await self._data(octets))

    async def _recipient(self, letter: Letter, number: int) -> Outcome | None:
        """Return why a recipient was refused; None when it was not."""
        delivery = letter.deliveries[number]
        answer = await self._command(
            b"RCPT TO:<" + delivery.recipient.spec.encode() + b">", dialog.rcpt_options(delivery, self.peer)
        )
        return None if answer.kind is OutcomeKind.RELAYED else answer

    async def _command(self, command: bytes, options: tuple[str, ...]) -> Outcome:
        response = await self._smtp.execute_command(command, *(option.encode() for option in options))
        return self._outcome(response)

    async def _data(self, octets: bytes) -> Outcome:
        begun = await self._smtp.execute_command(b"DATA")
        if begun.code != 354:
            outcome = self._outcome(begun)
            await self._reset()
            return outcome if outcome.kind is not OutcomeKind.RELAYED else _unexpected(self.peer.host)
        protocol = self._smtp.protocol
        if protocol is None:
            raise aiosmtplib.SMTPServerDisconnected("Connection lost")
        protocol.write(scan.dot_stuff(octets) + b".\r\n")
        patience_s = self._timeout_s + len(octets) / _SLOWEST_OCTETS_PER_S
        return self._outcome(await protocol.read_response(timeout=patience_s))

    async def _reset(self) -> None:
        if self._smtp.is_connected:
            await self._smtp.execute_command(b"RSET")

    def _outcome(self, response: aiosmtplib.SMTPResponse) -> Outcome:
        answer = Answer(response.code, response.message)
        if response.code == 421:
            self._smtp.close()
        return dialog.outcome(answer, self.peer.host, dsn="DSN" in self.peer)

    async def close(self) -> None:
        """Say goodbye, keep the TLS session for the next connection, and close."""
        try:
            if self._smtp.is_connected:
                await self._smtp.quit(timeout=_QUIT_TIMEOUT_S)
                self._secrets.remember(self._end)
        except (aiosmtplib.SMTPException, OSError):
            pass  # The letters have their outcomes; how the connection ends changes nothing.
        finally:
            self._smtp.close()


async def connect(host: str, port: int, secrets: Secrets, *, hostname: str, timeout_s: float) -> Channel | Outcome:
    """Open a connection by STARTTLS with our certificate and check who answers; an Outcome says why it failed."""
    smtp = aiosmtplib.SMTP(
        hostname=host,
        port=port,
        local_hostname=hostname,
        timeout=timeout_s,
        start_tls=False,
        tls_context=secrets.context,
    )
    try:
        async with asyncio.timeout(3 * timeout_s):
            return await _open(smtp, host, secrets, timeout_s)
    except TimeoutError as error:
        smtp.close()
        return _lost(error, host)
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        smtp.close()
        return _lost(error, host)


async def _open(smtp: aiosmtplib.SMTP, host: str, secrets: Secrets, timeout_s: float) -> Channel | Outcome:
    await smtp.connect()
    await smtp.ehlo()
    if not smtp.supports_extension("STARTTLS"):
        await smtp.quit(timeout=_QUIT_TIMEOUT_S)
        return dialog.temporary("4.7.4", "The other operator offers no encryption", host)
    await smtp.starttls()
    end = smtp.get_transport_info("ssl_object")
    reason = secrets.pin(end)
    if reason:
        smtp.close()
        return not_pinned(reason, host)
    await smtp.ehlo()
    return Channel(smtp, dialog.offer(host, smtp.esmtp_extensions), end, secrets, timeout_s)


def not_pinned(reason: str, host: str) -> Outcome:
    """Return the outcome of a peer that must not have the letter: it waits."""
    return dialog.temporary("4.7.5", f"The other operator's certificate is not the listed one ({reason})", host)


def _unexpected(host: str) -> Outcome:
    return dialog.temporary("4.5.0", "The other operator answered out of turn", host)


def _lost(error: Exception, host: str) -> Outcome:
    """Return the outcome of a connection that failed or broke: temporary, with the peer's own words if it had any."""
    if isinstance(error, aiosmtplib.SMTPResponseException):
        told = dialog.outcome(Answer(error.code, error.message), host)
        # Said to the connection, not to a letter: another time may be better.
        said = told.enhanced[:1] == "4" and told.enhanced != "4.0.0"
        return dialog.temporary(told.enhanced if said else "4.3.2", told.text, host)
    if isinstance(error, TimeoutError):
        return dialog.temporary("4.4.2", "The connection timed out", host)
    if getattr(error, "verify_message", None) or getattr(error, "library", None) == "SSL":
        why = getattr(error, "verify_message", None) or getattr(error, "reason", None) or "no reason given"
        return dialog.temporary("4.7.5", f"The encrypted connection could not be made ({why})", host)
    if isinstance(error, aiosmtplib.SMTPConnectError):
        return dialog.temporary("4.4.1", "The other operator cannot be reached", host)
    return dialog.temporary("4.4.2", "The connection broke", host)
