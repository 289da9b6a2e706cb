"""Handlers that bring letters in: APPEND of one or several, REPLACE (RFC 3501, 3502, 3516, 4315, 4469, 6855,
8508)."""

from __future__ import annotations

from typing import Final

from mss.imap import catenating, responses, units
from mss.imap import commands as c
from mss.imap.changing import READ_ONLY, settable
from mss.imap.folders import located
from mss.imap.reading import NO_SUCH_NUMBER, SOME_GONE
from mss.imap.session import UTF8, Answer, Session, done
from mss.mail import mime, transcode
from mss.policy.decision import Verdict
from mss.services.appending import NewLetter

_EMPTY: Final = Answer("NO", "A letter cannot be empty", "CANNOT")
_NOT_ENABLED: Final = Answer("BAD", "ENABLE UTF8=ACCEPT first")
_NUL: Final = Answer("NO", "NUL stands where no encoding helps", "UNKNOWN-CTE")


async def append(session: Session, command: c.Append) -> Answer:
    """Add letters to a mailbox, all or none."""
    place, name = located(session, command.mailbox, to_change=True)
    letters = list[NewLetter]()
    for letter in command.letters:
        read = await _read(session, letter)
        if isinstance(read, Answer):
            return read
        letters.append(read)
        if letter.pieces and sum(len(one.reading.octets) for one in letters) > session.house.limits.message_max_octets:
            # As large as the literals of one command may be in all, wherever the octets are from.
            return catenating.TOO_BIG
    placed = await session.write(
        units.append, units.Target(place.box.id, name), units.Letters(tuple(letters)), session.actor,
        session.house.clock(), session.reader_of(place),
    )  # fmt: skip
    return done(code=f"APPENDUID {placed.uidvalidity} {responses.runs(placed.target)}")


async def _read(session: Session, letter: c.Letter) -> NewLetter | Answer:
    """Read a letter as it will be stored, or say why it cannot be."""
    if letter.utf8 and UTF8 not in session.enabled:
        return _NOT_ENABLED
    brought = await catenating.Assembly(session).letter(letter.pieces) if letter.pieces else letter.octets
    if isinstance(brought, Answer):
        return brought
    if not brought:
        return _EMPTY
    octets: bytes | None = brought
    if b"\0" in brought:
        octets = transcode.without_nul(mime.index(brought, session.house.limits))
    if octets is None:
        return _NUL
    screened = await session.house.screen.judge(brought)
    if not screened.accepted:
        return Answer("NO", screened.public_text, "UNAVAILABLE" if screened.verdict is Verdict.DEFER else "CANNOT")
    return NewLetter(await session.house.read_letter(octets), settable(letter.flags), letter.internal_date)


async def replace(session: Session, command: c.Replace) -> Answer:
    """Put a letter in the place of another one: the new one is told before the old number goes (RFC 8508 §3.4)."""
    view = session.here.view
    runs = view.resolve(command.message, uid=command.uid)
    if runs is None:
        return NO_SUCH_NUMBER
    if view.read_only:
        return READ_ONLY
    if not runs or view.number_of(runs[0][0]) is None:
        return SOME_GONE
    place, name = located(session, command.mailbox, to_change=True)
    read = await _read(session, command.letter)
    if isinstance(read, Answer):
        return read
    target = units.Target(place.box.id, name)
    placed = await session.write(
        units.replace_letter, view.mailbox.id, runs[0][0], target, units.Letters((read,)), session.actor,
        session.house.clock(), session.reader_of(place),
    )  # fmt: skip
    code = f"APPENDUID {placed.uidvalidity} {responses.runs(placed.target)}"
    session.stream.write(responses.tagged("*", "OK", "Replaced", code))
    return done()
