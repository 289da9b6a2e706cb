"""The relay's side of a dialogue, sans-IO: what we ask of the peer, and what its answers mean (RFC 5321, 3461, 6531).

It holds no connection and decides no retry. Its rules:

- An answer that cannot be understood is temporary: a bug must not bounce a letter.
- What the peer says is cleaned before it is kept: it is shown to senders and operators.
- A letter with a bare CR, a bare LF or a NUL never leaves, whatever brought it here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mss.mail import scan
from mss.model.address import Address
from mss.model.delivery import Delivery, Outcome, OutcomeKind
from mss.model.envelope import Notify, Ret
from mss.policy import retry

TEXT_MAX: Final = 500
REQUIRETLS: Final = "REQUIRETLS"
_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?:\s+|\Z)")


@dataclass(frozen=True, slots=True)
class Answer:
    """One reply of the peer: its code, and its text with lines joined by newlines."""

    code: int
    text: str


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
    def needs_smtputf8(self) -> bool:
        """Whether an address, or the header as it came, needs SMTPUTF8."""
        first = self.first
        addresses = [delivery.recipient for delivery in self.deliveries]
        return first.smtputf8 or not all(a.is_ascii for a in (*addresses, *filter(None, [first.reverse_path])))


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


def offer(host: str, extensions: Mapping[str, str]) -> Offer:
    """Read an answer to EHLO: keywords (in any letter case) and their parameters."""
    names = {name.upper(): value for name, value in extensions.items()}
    size = names.get("SIZE", "")
    limit = int(size) if size.isascii() and size.isdigit() and len(size) <= 20 else 0
    return Offer(host, frozenset(names), limit or None)


def obstacle(letter: Letter, octets: bytes, peer: Offer) -> Outcome | None:
    """Return why the letter cannot be given to this peer at all; None when it can."""
    if scan.smtp_safe(octets):
        return Outcome(OutcomeKind.PERMANENT, 550, "5.6.0", "The letter has a bare CR, a bare LF or a NUL", peer.host)
    if letter.first.require_tls and REQUIRETLS not in peer:
        text = "The other operator does not promise to encrypt onward, as this letter requires"
        return Outcome(OutcomeKind.PERMANENT, 550, "5.7.30", text, peer.host)
    if letter.needs_smtputf8 and "SMTPUTF8" not in peer:
        text = "The other operator does not take internationalised addresses"
        return Outcome(OutcomeKind.PERMANENT, 553, "5.6.7", text, peer.host)
    if letter.first.eight_bit and "8BITMIME" not in peer:
        return Outcome(OutcomeKind.PERMANENT, 554, "5.6.3", "The other operator does not take 8-bit letters", peer.host)
    if peer.size_max_octets is not None and len(octets) > peer.size_max_octets:
        return Outcome(OutcomeKind.PERMANENT, 552, "5.3.4", "The letter is too large for the other operator", peer.host)
    return None


def mail_options(letter: Letter, size_octets: int, peer: Offer) -> tuple[str, ...]:
    """Return the parameters of MAIL."""
    first = letter.first
    options = []
    if "SIZE" in peer:
        options.append(f"SIZE={size_octets}")
    if first.eight_bit and "8BITMIME" in peer:
        options.append("BODY=8BITMIME")
    if letter.needs_smtputf8:
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
