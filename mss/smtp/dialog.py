"""The relay's side of a dialogue, sans-IO: what we ask of the peer, and what its answers mean (RFC 5321, 3461, 6531).

It holds no connection and decides no retry. Its rules:

- An answer that cannot be understood is temporary: a bug must not bounce a letter.
- A letter goes to a peer that can take it as it is; to one that cannot, converted or not at all.
- What the peer says is cleaned before it is kept: it is shown to senders and operators.
- A letter with a bare CR, a bare LF or a NUL never leaves, whatever brought it here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mss.config import Limits
from mss.errors import Malformed
from mss.mail import convert, mime, scan
from mss.mail.convert import CannotError, Reason
from mss.model.address import Address
from mss.model.delivery import Delivery, Outcome, OutcomeKind
from mss.model.envelope import Notify, Ret
from mss.policy import retry

TEXT_MAX: Final = 500
_LINE_MAX_OCTETS: Final = 4096
_ANSWER_MAX_OCTETS: Final = 32 * 1024
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
REQUIRETLS: Final = "REQUIRETLS"
_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?:\s+|\Z)")


@dataclass(frozen=True, slots=True)
class Answer:
    """One reply of the peer: its code, and its text with lines joined by newlines."""

    code: int
    text: str


class Answers:
    """The peer's octets, cut into answers."""

    def __init__(self) -> None:
        self._buffer = b""
        self._lines: list[str] = []
        self._octets = 0

    @property
    def empty(self) -> bool:
        """Whether every octet so far was part of a whole answer."""
        return not self._buffer and not self._lines

    def feed(self, octets: bytes) -> list[Answer]:
        """Return the answers that are complete now; Malformed when it is no SMTP (any more)."""
        *lines, self._buffer = (self._buffer + octets).split(b"\n")
        found = [answer for line in lines if (answer := self._line(line)) is not None]
        if len(self._buffer) > _LINE_MAX_OCTETS:
            raise Malformed("a line of the peer does not end")
        return found

    def _line(self, line: bytes) -> Answer | None:
        self._octets += len(line)
        if len(line) > _LINE_MAX_OCTETS or self._octets > _ANSWER_MAX_OCTETS:
            raise Malformed("an answer of the peer does not end")
        code = line[:3]
        if not (len(code) == 3 and code.isdigit()) or line[3:4] not in (b"-", b" ", b"\r", b""):
            raise Malformed("the peer does not speak SMTP")
        self._lines.append(line[4:].strip(b" \t\r").decode("utf-8", "replace"))
        if line[3:4] == b"-":
            return None
        answer = Answer(int(code), "\n".join(self._lines))
        self._lines, self._octets = [], 0
        return answer


@dataclass(frozen=True, slots=True)
class Offer:
    """What the peer can do. `size_max_octets` is None when it names no limit."""

    host: str
    extensions: frozenset[str]
    size_max_octets: int | None = None

    def __contains__(self, extension: str) -> bool:
        return extension in self.extensions


@dataclass(frozen=True, slots=True)
class Letter:
    """One transaction: the deliveries of one letter to one destination, with what they have in common."""

    deliveries: tuple[Delivery, ...]

    @property
    def first(self) -> Delivery:
        """Any of the deliveries: sender, wishes and octets are the same for all."""
        return self.deliveries[0]

    @property
    def has_utf8_address(self) -> bool:
        """Whether an address of the envelope travels by SMTPUTF8 only."""
        addresses = [delivery.recipient for delivery in self.deliveries]
        return not all(a.is_ascii for a in (*addresses, *filter(None, [self.first.reverse_path])))


@dataclass(frozen=True, slots=True)
class Parcel:
    """A letter made ready for one peer, and the octets that go over; only `pack` makes it."""

    letter: Letter
    octets: bytes
    smtputf8: bool = False


def group(deliveries: Sequence[Delivery], recipients_max: int) -> list[Letter]:
    """Put together the deliveries that can travel in one transaction, in order of the oldest of each."""
    together: dict[object, list[Delivery]] = {}
    for delivery in deliveries:
        together.setdefault(_shared(delivery), []).append(delivery)
    return [
        Letter(tuple(same[start : start + recipients_max]))
        for same in together.values()
        for start in range(0, len(same), recipients_max)
    ]


def _shared(delivery: Delivery) -> tuple[object, ...]:
    sender = delivery.reverse_path.key if delivery.reverse_path else None
    wishes = (delivery.ret, delivery.envid, delivery.smtputf8, delivery.eight_bit, delivery.require_tls)
    return (delivery.destination, delivery.object_id, delivery.source_box_id, sender, *wishes)


def offer(host: str, answer: Answer) -> Offer:
    """Read an answer to EHLO: keywords (in any letter case) and their parameters, after the greeting's line."""
    lines = (line.partition(" ") for line in answer.text.split("\n")[1:])
    names = {name.upper(): value.strip() for name, _, value in lines if name}
    size = names.get("SIZE", "")
    limit = int(size) if size.isascii() and size.isdigit() and len(size) <= 20 else 0
    return Offer(host, frozenset(names), limit or None)


def pack(letter: Letter, octets: bytes, peer: Offer, limits: Limits) -> Parcel | Outcome:
    """Return the letter ready to go to this peer, or why it cannot go there at all.

    Only a peer that leaves no choice gets other octets than ours: parts in seven bits where it lacks 8BITMIME.
    """
    if scan.smtp_safe(octets):
        return _refusal(550, "5.6.0", "The letter has a bare CR, a bare LF or a NUL", peer)
    if letter.first.require_tls and REQUIRETLS not in peer:
        text = "The other operator does not promise to encrypt onward, as this letter requires"
        return _refusal(550, "5.7.30", text, peer)
    takes_utf8 = "SMTPUTF8" in peer
    if not takes_utf8 and (letter.has_utf8_address or (letter.first.smtputf8 and _needs_utf8(octets, limits))):
        return _refusal(553, "5.6.7", "The other operator does not take internationalised addresses or headers", peer)
    if "8BITMIME" not in peer and not octets.isascii():
        try:
            octets = convert.seven_bit(mime.index(octets, limits))
        except CannotError as error:
            return _refusal(554, *_CANNOT[error.reason], peer)
    if peer.size_max_octets is not None and len(octets) > peer.size_max_octets:
        return _refusal(552, "5.3.4", "The letter is too large for the other operator", peer)
    return Parcel(letter, octets, takes_utf8 and (letter.first.smtputf8 or letter.has_utf8_address))


_CANNOT: Final = {
    Reason.HEADER: ("5.6.7", "The other operator does not take internationalised headers"),
    Reason.SIGNED: ("5.6.3", "The other operator takes no 8-bit letters, and this one is signed"),
    Reason.OPAQUE: ("5.6.3", "The other operator takes no 8-bit letters, and this one cannot be converted"),
}


def _needs_utf8(octets: bytes, limits: Limits) -> bool:
    return not octets.isascii() and convert.needs_utf8(mime.index(octets, limits))


def _refusal(code: int, enhanced: str, text: str, peer: Offer) -> Outcome:
    return Outcome(OutcomeKind.PERMANENT, code, enhanced, text, peer.host)


def opening(parcel: Parcel, peer: Offer) -> list[bytes]:
    """Return the commands that begin a transaction, each without its line end: MAIL, RCPT for each recipient, DATA."""
    sender = parcel.letter.first.reverse_path
    mail = _command(f"MAIL FROM:<{sender.spec if sender else ''}>", mail_options(parcel, peer))
    recipients = [
        _command(f"RCPT TO:<{one.recipient.spec}>", rcpt_options(one, peer)) for one in parcel.letter.deliveries
    ]
    return [mail, *recipients, b"DATA"]


def _command(command: str, options: Sequence[str]) -> bytes:
    line = " ".join((command, *options)).encode()
    if _CONTROL.search(line):
        raise Malformed("a command holds a control character")
    return line


def mail_options(parcel: Parcel, peer: Offer) -> tuple[str, ...]:
    """Return the parameters of MAIL."""
    first = parcel.letter.first
    options = []
    if "SIZE" in peer:
        options.append(f"SIZE={len(parcel.octets)}")
    if not parcel.octets.isascii() and "8BITMIME" in peer:
        options.append("BODY=8BITMIME")
    if parcel.smtputf8:
        options.append("SMTPUTF8")
    if first.require_tls:
        options.append(REQUIRETLS)
    if "DSN" in peer:
        options += [f"RET={Ret(first.ret)}"] if first.ret else []
        options += [f"ENVID={first.envid}"] if first.envid else []
    return tuple(options)


def rcpt_options(delivery: Delivery, peer: Offer) -> tuple[str, ...]:
    """Return the parameters of RCPT; ORCPT is added where the sender gave none but asked for reports."""
    if "DSN" not in peer:
        return ()
    options = []
    if delivery.notify:
        options.append("NOTIFY=" + ",".join(wish for wish in Notify if wish in delivery.notify))
    original = delivery.orcpt or (_orcpt(delivery.recipient) if delivery.notify else None)
    return (*options, f"ORCPT={original}") if original else tuple(options)


def _orcpt(address: Address) -> str | None:
    """Return the address as an original recipient, in xtext (RFC 3461 §4.2); None when it is not ASCII."""
    if not address.is_ascii:
        return None
    return "rfc822;" + "".join(c if "!" <= c <= "~" and c not in "+=" else f"+{ord(c):02X}" for c in address.spec)


def outcome(answer: Answer, peer: str, *, dsn: bool = False) -> Outcome:
    """Return what an answer to RCPT or to the letter means for a recipient."""
    text = _clean(answer.text)
    match = _ENHANCED.match(text)
    enhanced = f"{match[1]}.{int(match[2])}.{int(match[3])}" if match else ""
    kind = retry.classify(answer.code, enhanced)
    spoken = text[match.end() :] if match else text
    return Outcome(
        kind, answer.code, enhanced or _default(kind), spoken[:TEXT_MAX], peer, dsn and kind is OutcomeKind.RELAYED
    )


def _clean(text: str) -> str:
    """Return the text on one line, without the enhanced code repeated on each, printable."""
    lines = text.split("\n")
    first = _ENHANCED.match(lines[0])
    if first:
        lines[1:] = [line.removeprefix(first[0]) for line in lines[1:]]
    return " ".join("".join(c if c.isprintable() else "?" for c in line).strip() for line in lines).strip()


def _default(kind: OutcomeKind) -> str:
    return {OutcomeKind.PERMANENT: "5.0.0", OutcomeKind.TEMPORARY: "4.0.0"}.get(kind, "2.0.0")


def settle(recipients: Sequence[Outcome | None], last: Outcome) -> tuple[Outcome, ...]:
    """Return each recipient's outcome: its own refusal at RCPT, else what the letter as a whole came to."""
    return tuple(own or last for own in recipients)


def temporary(enhanced: str, text: str, peer: str = "") -> Outcome:
    """Return the outcome of something that no answer tells: the connection, TLS, name servers, ourselves."""
    return Outcome(OutcomeKind.TEMPORARY, 0, enhanced, text, peer)


def permanent(enhanced: str, text: str, peer: str = "") -> Outcome:
    """Return the outcome of something that no other try can change."""
    return Outcome(OutcomeKind.PERMANENT, 0, enhanced, text, peer)
