"""Frame octets into commands: lines with their literals (RFC 3501 §4.3, RFC 7888, literal8 of RFC 3516).

It does not parse commands. Its rules:

- A line ends with CR LF. A line with a bare LF, a bare CR or a NUL is refused whole.
- What was refused is never read as a command: the octets of a non-synchronising literal are swallowed, or the
  connection ends (`Refused.fatal`). After a refused synchronising literal the client still owes nothing, so the
  next octet begins a command; a door that finds octets already there (`pending`) must close.
- Memory is bounded by `WireLimits`: nothing beyond the announced and accepted octets is kept. A large literal is
  told by `GoAhead` before it is read, also when the client does not wait (`waits` False, LITERAL+ after login).
- Any split of the stream gives the same events.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from mss.config import Limits

LITERAL_MINUS_MAX_OCTETS: Final = 4096
_LINE_BEFORE_LOGIN_MAX_OCTETS: Final = 8192
_LITERAL_NUMBER_MAX_DIGITS: Final = 18
_MARKER: Final = re.compile(rb"(~?)\{(\d+)(\+?)\}\Z")
_TAG_SEEN_OCTETS: Final = 256
_TAG: Final = re.compile(rb"([\x21\x23\x24\x26\x27\x2c-\x5b\x5d-\x7a\x7c-\x7e]{1,128}) ")
_APPEND: Final = re.compile(rb"[^ ]+ (?:APPEND|(?:UID )?REPLACE) ", re.IGNORECASE)
_TAIL_OCTETS: Final = 32


@dataclass(frozen=True, slots=True)
class WireLimits:
    """Octets that one command may cost: its text, its literals, and an APPEND's literals.

    `forgiving`: a too long line or literal is swallowed; otherwise it ends the connection. `unasked_max_octets`: the
    largest literal that may come without waiting (LITERAL- or LITERAL+).
    """

    line_max_octets: int
    literal_max_octets: int
    append_max_octets: int
    forgiving: bool
    unasked_max_octets: int = LITERAL_MINUS_MAX_OCTETS

    @classmethod
    def before_login(cls, limits: Limits) -> WireLimits:
        """Return what a stranger may cost."""
        line = min(limits.imap_line_max_octets, _LINE_BEFORE_LOGIN_MAX_OCTETS)
        literal = limits.imap_literal_before_login_max_octets
        return cls(line, literal, literal, forgiving=False)

    @classmethod
    def after_login(cls, limits: Limits) -> WireLimits:
        """Return what a known account may cost."""
        line = limits.imap_line_max_octets
        most = limits.message_max_octets
        return cls(line, line, most, forgiving=True, unasked_max_octets=max(line, most))


class Reason(Enum):
    """Why a frame was refused."""

    SYNTAX = auto()
    TOO_BIG = auto()


@dataclass(frozen=True, slots=True)
class Frame:
    """One command as framed: its text without the last CR LF; each `{n}` CR LF in it stands for the next literal."""

    text: bytes
    literals: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class GoAhead:
    """So many octets are about to come; `waits`: once the client has a continuation request."""

    size_octets: int
    waits: bool = True


@dataclass(frozen=True, slots=True)
class Refused:
    """A command that was not read; `tag` is "*" when there was none. `fatal`: say BYE and close."""

    tag: str
    reason: Reason
    text: str
    fatal: bool = False


Event = Frame | GoAhead | Refused


class _State(Enum):
    TEXT = auto()
    LITERAL = auto()
    SWALLOW_LITERAL = auto()
    SWALLOW_LINE = auto()
    DEAD = auto()


class Wire:
    """One direction of one connection. `limits` may be changed between two events."""

    __slots__ = (
        "_binary", "_buffer", "_declined", "_literals", "_need", "_refusal", "_scanned", "_state", "_tag", "_taken",
        "_text", "_unasked", "limits",
    )  # fmt: skip

    def __init__(self, limits: WireLimits) -> None:
        self.limits = limits
        self._buffer = bytearray()
        self._scanned = 0
        self._state = _State.TEXT
        self._forget()

    def _forget(self) -> None:
        """Begin a new command."""
        self._text = bytearray()
        self._literals: list[bytes] = []
        self._taken = 0
        self._need = 0
        self._tag = "*"
        self._refusal: Refused | None = None
        self._unasked = self._binary = self._declined = False

    @property
    def pending(self) -> int:
        """Octets that were fed and are not yet part of an event."""
        return len(self._buffer)

    @property
    def has_literals(self) -> bool:
        """Whether a command has begun that holds literals, and its last line is not there yet."""
        return bool(self._literals) or self._state is _State.LITERAL

    def decline(self) -> str:
        """Give up the command whose `GoAhead` was just returned; returns its tag.

        A client that does not wait sends its literal all the same: it is swallowed, with the rest of the command.
        """
        tag = self._tag
        if not self._unasked:
            self._start_over()
            return tag
        self._declined = True
        self._swallow(self._need)
        return tag

    def feed(self, octets: bytes) -> None:
        """Take octets from the peer; after a fatal refusal they are dropped."""
        if self._state is not _State.DEAD:
            self._buffer += octets

    def next(self) -> Event | None:
        """Return the next event, None when more octets are needed."""
        while True:
            before = self._state, len(self._buffer)
            event = self._step()
            if event is not None or before == (self._state, len(self._buffer)):
                return event

    def _step(self) -> Event | None:
        match self._state:
            case _State.TEXT:
                return self._read_text()
            case _State.SWALLOW_LINE:
                return self._swallow_line()
            case _State.LITERAL:
                self._read_literal()
            case _State.SWALLOW_LITERAL:
                self._swallow_literal()
            case _State.DEAD:
                pass
        return None

    # --- text ---

    def _read_text(self) -> Event | None:
        room = self.limits.line_max_octets - len(self._text)
        line = self._take_line()
        if line is None:
            return self._line_too_long(room) if len(self._buffer) > room else None
        # Beyond the limit nothing is looked at: whether it came already must not matter.
        self._note_tag(line[:room])
        if len(line) > room:
            self._refuse(Reason.TOO_BIG, "Line too long")
        return self._line(line)

    def _take_line(self) -> bytes | None:
        """Take the octets up to and with the next LF."""
        end = self._buffer.find(b"\n", self._scanned)
        if end < 0:
            self._scanned = len(self._buffer)
            return None
        self._scanned = 0
        return self._take(end + 1)

    def _take(self, count: int) -> bytes:
        with memoryview(self._buffer) as view:
            octets = bytes(view[:count])
        del self._buffer[:count]
        return octets

    def _note_tag(self, line: bytes) -> None:
        if not self._text and (match := _TAG.match(line)):
            self._tag = match.group(1).decode("ascii")

    def _line_too_long(self, room: int) -> Event | None:
        self._note_tag(bytes(self._buffer[: min(room, _TAG_SEEN_OCTETS)]))
        self._refuse(Reason.TOO_BIG, "Line too long")
        if not self.limits.forgiving:
            return self._die()
        self._state = _State.SWALLOW_LINE
        return None

    def _swallow_line(self) -> Event | None:
        line = self._take_line()
        if line is None:
            # The last octets are kept: they may end in a literal's marker.
            self._scanned = 0
            del self._buffer[: max(0, len(self._buffer) - _TAIL_OCTETS)]
            return None
        return self._line(line)

    def _line(self, line: bytes) -> Event | None:
        """Judge a line that ended: the end of a command, or the announcement of a literal."""
        text = line[:-2] if line.endswith(b"\r\n") else line[:-1]
        if len(text) + 2 != len(line) or b"\r" in text or b"\0" in text:
            self._refuse(Reason.SYNTAX, "Lines end with CR LF and hold neither CR, LF nor NUL")
        marker = _marker(text)
        if self._declined:
            return self._declined_line(marker)
        if self._refusal is not None:
            return self._refused_line(text, marker)
        if marker is None:
            return self._complete(text)
        self._text += line
        return self._announced(marker)

    def _complete(self, text: bytes) -> Frame:
        self._text += text
        frame = Frame(bytes(self._text), tuple(self._literals))
        self._start_over()
        return frame

    def _start_over(self) -> None:
        self._forget()
        self._state = _State.TEXT

    # --- literals ---

    def _announced(self, marker: re.Match[bytes]) -> Event | None:
        size, waits = _size(marker), not marker.group(3)
        is_append = _APPEND.match(self._text) is not None
        most = self.limits.append_max_octets if is_append else self.limits.literal_max_octets
        fits = self._taken + size <= most
        if fits and (waits or size <= self.limits.unasked_max_octets):
            self._need, self._binary, self._unasked = size, bool(marker.group(1)), not waits
            self._state = _State.LITERAL
            return GoAhead(size, waits) if waits or size > LITERAL_MINUS_MAX_OCTETS else None
        self._refuse(
            Reason.TOO_BIG, "Literal too large" if not fits else "Use a synchronising literal above 4096 octets"
        )
        return self._refused_line(b"", marker)

    def _refused_line(self, text: bytes, marker: re.Match[bytes] | None) -> Event | None:
        """Go on after a refused line: its literal must not be read as commands."""
        if not self.limits.forgiving or self._cannot_swallow(text, marker):
            return self._die()
        if marker is None or not marker.group(3):
            return self._answer_refusal()
        self._taken += _size(marker)
        self._swallow(_size(marker))
        return None

    def _swallow(self, octets: int) -> None:
        self._need = octets
        self._literals.clear()
        self._text = bytearray(b"{")
        self._state = _State.SWALLOW_LITERAL

    def _declined_line(self, marker: re.Match[bytes] | None) -> Event | None:
        """Go on after a declined literal: its command was answered, and ends here without another word."""
        if marker is None or not marker.group(3):
            self._start_over()
            return None
        self._taken += _size(marker)
        if self._taken > self.limits.append_max_octets:
            return self._die()
        self._swallow(_size(marker))
        return None

    def _cannot_swallow(self, text: bytes, marker: re.Match[bytes] | None) -> bool:
        """Whether the client may be about to send octets of which we do not know the end."""
        if marker is None:
            return text.endswith(b"+}")
        if not marker.group(3):
            return self._refusal is not None and self._refusal.reason is Reason.SYNTAX
        return self._taken + _size(marker) > self.limits.append_max_octets

    def _read_literal(self) -> None:
        if len(self._buffer) < self._need:
            return
        literal = self._take(self._need)
        self._taken += self._need
        self._state = _State.TEXT
        if b"\0" in literal and not self._binary:
            self._refuse(Reason.SYNTAX, "A literal holds a NUL")
        else:
            self._literals.append(literal)

    def _swallow_literal(self) -> None:
        taken = min(self._need, len(self._buffer))
        del self._buffer[:taken]
        self._need -= taken
        if not self._need:
            self._state = _State.TEXT

    # --- refusals ---

    def _refuse(self, reason: Reason, text: str) -> None:
        if self._refusal is None:
            self._refusal = Refused(self._tag, reason, text)

    def _answer_refusal(self) -> Event | None:
        refusal = self._refusal
        self._start_over()
        return refusal

    def _die(self) -> Refused | None:
        refusal = self._refusal
        self._forget()
        self._buffer.clear()
        self._scanned = 0
        self._state = _State.DEAD
        return refusal and Refused(refusal.tag, refusal.reason, refusal.text, fatal=True)


def _marker(text: bytes) -> re.Match[bytes] | None:
    """Return the announcement of a literal at the end of a line."""
    at = text.rfind(b"{")
    return _MARKER.match(text, at - 1 if text[at - 1 : at] == b"~" else max(0, at))


def _size(marker: re.Match[bytes]) -> int:
    digits = marker.group(2)
    return int(digits) if len(digits) <= _LITERAL_NUMBER_MAX_DIGITS else 1 << 62
