"""A client that comes back is told what it missed (QRESYNC, RFC 7162 §3.2): VANISHED (EARLIER), then flags.

The change log of a mailbox forgets nothing, so what is told is exact; the pairs of numbers and UIDs that a client may
send to help a forgetful server are not needed.
"""

from __future__ import annotations

from mss.imap import commands as c
from mss.imap import responses
from mss.imap.options import Resync
from mss.imap.session import Session
from mss.imap.view import View, within
from mss.services import opening
from mss.services.mailbox import merged
from mss.services.opening import Missed


def tell_missed(session: Session, resync: Resync, missed: Missed) -> None:
    """Tell at SELECT what was removed and changed, among the UIDs that the client knows when it says which."""
    view = session.here.view
    wanted = ((1, view.mailbox.uidnext),) if resync.known is None else view.named(resync.known)
    gone = within(missed.gone, wanted)
    told = [responses.vanished(gone, earlier=True)] if gone else []
    keywords, number_of = view.mailbox.keywords, view.number_of
    changed = within_runs(missed, wanted)
    told += [
        responses.flag_update(number_of(uid) or 0, uid, modseq, responses.flags(bits, keywords))
        for uid, modseq, bits in changed
    ]
    session.stream.write(b"".join(told))


def within_runs(missed: Missed, wanted: responses.Runs) -> list[tuple[int, int, int]]:
    """Return the changed letters whose UIDs are among the wanted."""
    found = within(responses.as_runs(uid for uid, _, _ in missed.flags), wanted)
    chosen = {uid for first, last in found for uid in range(first, last + 1)}
    return [row for row in missed.flags if row[0] in chosen]


async def changed_since(session: Session, command: c.Fetch, runs: responses.Runs) -> responses.Runs:
    """Return which UIDs of a FETCH with CHANGEDSINCE changed; with VANISHED those that were removed are told first."""
    view = session.here.view
    missed = await session.read(opening.missed, view.mailbox.id, command.changed_since or 0, session.house.clock())
    if command.vanished:
        _tell_vanished(session, view, command, missed)
    return within(responses.as_runs(uid for uid, _, _ in missed.flags), runs)


def _tell_vanished(session: Session, view: View, command: c.Fetch, missed: Missed) -> None:
    """Tell what was removed earlier; a letter that this session still counts is told as removed now, after FETCH."""
    gone = within(missed.gone, view.named(command.messages))
    still = responses.as_runs(uid for _, uid in view.numbered(gone))
    earlier = without(gone, still)
    if earlier:
        session.stream.write(responses.vanished(earlier, earlier=True))
    session.changed = session.changed or bool(still)


def without(runs: responses.Runs, others: responses.Runs) -> responses.Runs:
    """Return runs less others."""
    found: list[tuple[int, int]] = []
    for first, last in merged(runs):
        for start, end in within(((first, last),), others):
            if start > first:
                found.append((first, start - 1))
            first = end + 1
        if first <= last:
            found.append((first, last))
    return tuple(found)
