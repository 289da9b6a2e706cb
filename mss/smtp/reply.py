"""What we answer: a code, an enhanced code and a constant sentence (RFC 5321 §4.2, RFC 3463).

It does not decide anything: policy does. A reply never holds what the peer sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, assert_never

from mss.policy import rules
from mss.policy.decision import Decision, Verdict, defer, reject

TEXT_MAX_OCTETS = 500


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply. `enhanced` is empty where the standard has none (220 greeting, 334, 354); `more` are the
    further lines of EHLO."""

    code: int
    enhanced: str
    text: str
    more: tuple[str, ...] = ()

    @property
    def positive(self) -> bool:
        """Whether it says yes, or go on."""
        return self.code < 400

    @property
    def temporary(self) -> bool:
        """Whether the peer should try again later."""
        return 400 <= self.code < 500

    def encode(self) -> bytes:
        """Return the octets that go out."""
        if not self.more:
            return self._line(self.text, " ")
        lines = (self.text, *self.more)
        last = len(lines) - 1
        return b"".join(self._line(line, " " if number == last else "-") for number, line in enumerate(lines))

    def _line(self, text: str, separator: str) -> bytes:
        enhanced = f"{self.enhanced} " if self.enhanced else ""
        return f"{self.code}{separator}{enhanced}{_printable(text)}".encode("ascii")[:TEXT_MAX_OCTETS] + b"\r\n"


@dataclass(frozen=True, slots=True)
class Challenged(Reply):
    """A refusal of a sign-in that its client hears after a challenge, which it answers with nothing (RFC 7628)."""

    challenge: bytes = b""


def _printable(text: str) -> str:
    """Return the text with all but printable ASCII replaced: a reply is one line whatever a rule's author wrote."""
    return text if text.isascii() and text.isprintable() else "".join(c if " " <= c <= "~" else "?" for c in text)


OK: Final = Reply(250, "2.0.0", "OK")
SENDER_OK: Final = Reply(250, "2.1.0", "Sender OK")
RECIPIENT_OK: Final = Reply(250, "2.1.5", "Recipient OK")
BYE: Final = Reply(221, "2.0.0", "Bye")
START_TLS: Final = Reply(220, "2.0.0", "Ready to start TLS")
CHUNK_OK: Final = Reply(250, "2.0.0", "Chunk received")
START_DATA: Final = Reply(354, "", "End data with <CR><LF>.<CR><LF>")
CANNOT_VERIFY: Final = Reply(252, "2.1.5", "Cannot verify, will take letters")
HELP: Final = Reply(214, "2.0.0", "See RFC 5321")
SIGNED_IN: Final = Reply(235, "2.7.0", "Signed in")

CLOSING: Final = Reply(421, "4.3.2", "Going down, try again soon")
TIMED_OUT: Final = Reply(421, "4.4.2", "Timeout, closing")
TOO_MANY_CONNECTIONS: Final = Reply(421, "4.7.0", "Too many connections, try again later")
TOO_MANY_ERRORS: Final = Reply(421, "4.7.0", "Too many errors, closing")
TOO_MANY_COMMANDS: Final = Reply(421, "4.7.0", "Too many commands without a letter, closing")

TEMPORARY_FAULT: Final = Reply(451, "4.3.0", "Temporary fault on our side, try again later")

LINE_TOO_LONG: Final = Reply(500, "5.5.6", "Line too long")
BAD_SYNTAX: Final = Reply(500, "5.5.2", "Syntax error")
UNKNOWN_COMMAND: Final = Reply(500, "5.5.1", "Command not recognised")
BAD_ARGUMENT: Final = Reply(501, "5.5.4", "Bad argument")
BAD_CHUNK: Final = Reply(501, "5.5.4", "Cannot read the size of the chunk, closing")
BAD_BASE64: Final = Reply(501, "5.5.2", "Cannot decode base64")
AUTH_CANCELLED: Final = Reply(501, "5.7.0", "Authentication cancelled")
NOT_IMPLEMENTED: Final = Reply(502, "5.5.1", "Command not implemented")
BAD_SEQUENCE: Final = Reply(503, "5.5.1", "Bad sequence of commands")
HELLO_FIRST: Final = Reply(503, "5.5.1", "Send EHLO first")
ALREADY_SIGNED_IN: Final = Reply(503, "5.5.1", "Already signed in")
NO_RECIPIENTS: Final = Reply(554, "5.5.1", "No valid recipients")
UNKNOWN_MECHANISM: Final = Reply(504, "5.5.4", "Unrecognised authentication mechanism")
TLS_REQUIRED: Final = Reply(530, "5.7.0", "Must issue a STARTTLS command first")
AUTH_REQUIRED: Final = Reply(530, "5.7.0", "Authentication required")
BAD_CREDENTIALS: Final = Reply(535, "5.7.8", "Authentication credentials invalid")
BAD_ADDRESS: Final = Reply(553, "5.1.3", "Malformed address")
BAD_SENDER: Final = Reply(553, "5.1.7", "Malformed sender address")
NEEDS_SMTPUTF8: Final = Reply(553, "5.6.7", "A non-ASCII address needs SMTPUTF8")
UNKNOWN_PARAMETER: Final = Reply(555, "5.5.4", "Parameter not recognised or not implemented")


def greeting(hostname: str) -> Reply:
    """Return the banner: our name, no product, no version."""
    return Reply(220, "", f"{hostname} ESMTP")


def hello(hostname: str, extensions: Iterable[str] = ()) -> Reply:
    """Return the answer to HELO, or to EHLO with its extensions."""
    return Reply(250, "", hostname, tuple(extensions))


def accepted(receipt: str) -> Reply:
    """Return the 250 that ends a letter: only after the commit is on disk."""
    return Reply(250, "2.0.0", f"Accepted, receipt {receipt}")


def of_decision(decision: Decision, positive: Reply = OK) -> Reply:
    """Return what a decision says to the peer; `positive` is what acceptance looks like at this stage."""
    rule = decision.rule
    match decision.verdict:
        case Verdict.ACCEPT | Verdict.QUARANTINE:
            return positive
        case Verdict.DEFER:
            return Reply(rule.code if 400 <= rule.code < 500 else 451, _class(rule.enhanced, "4"), decision.public_text)
        case Verdict.REJECT:
            return Reply(rule.code if rule.code >= 500 else 550, _class(rule.enhanced, "5"), decision.public_text)
        case _:
            assert_never(decision.verdict)


def _class(enhanced: str, wanted: str) -> str:
    """Return the enhanced code with the class that its reply has: 550 4.x.x would contradict itself."""
    return wanted + enhanced[1:] if enhanced[1:2] == "." else f"{wanted}.0.0"


def of_decisions(decisions: Iterable[Decision], positive: Reply) -> Reply:
    """Return one reply for all recipients of a letter: yes if any is accepted, else later if any may be, else no."""
    replies = [of_decision(decision, positive) for decision in decisions]
    return min(replies, key=lambda reply: (not reply.positive, not reply.temporary), default=NO_RECIPIENTS)


# What the policy's table says, where the listener alone knows that it applies.
TOO_LARGE: Final = of_decision(reject(rules.LETTER_TOO_LARGE))
TOO_MANY_RECIPIENTS: Final = of_decision(defer(rules.RECIPIENT_TOO_MANY))
