"""One session's numbering of its mailbox: a snapshot of UIDs, and what has not been told yet (RFC 3501 §5.5, §7.4).

A view is a cursor over the mailbox's change log: `apply` takes what happened since `modseq`, `tell_…` turn it into
responses when the standard lets them out. It never asks the store. Rules:

- Sequence numbers only change when an EXPUNGE or EXISTS has been told.
- UIDs stay ascending: a new letter's UID is above all that the mailbox ever gave.
- What this session itself changed and was answered for is not told again.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import islice

from mss.imap import responses
from mss.imap.options import SequenceSet
from mss.model.mailbox import Change, ChangeKind, Mailbox
from mss.services.mailbox import merged

Runs = tuple[tuple[int, int], ...]


class View:
    """The numbering of one selected mailbox. `uids` is what the client believes (its length is EXISTS)."""

    __slots__ = ("_added", "_gone", "_own", "_stale", "mailbox", "read_only", "recent", "saved", "uids")

    def __init__(self, mailbox: Mailbox, uids: Iterable[int], *, read_only: bool, recent: bool = True) -> None:
        self.mailbox = mailbox
        self.read_only = read_only
        # RFC 9051 knows no RECENT.
        self.recent = recent
        self.uids = array("I", uids)
        # What "$" means (RFC 5182); UIDs that are gone may stand in it, for they name nothing any more.
        self.saved: Runs = ()
        self._added: list[int] = []
        self._gone: set[int] = set()
        # UID → (modseq, flags) not yet told.
        self._stale: dict[int, tuple[int, int]] = {}
        self._own: set[int] = set()

    # --- numbers ---

    @property
    def exists(self) -> int:
        """How many letters the client believes in."""
        return len(self.uids)

    def number_of(self, uid: int) -> int | None:
        """Return the sequence number of a UID that the client knows."""
        at = bisect_left(self.uids, uid)
        return at + 1 if at < len(self.uids) and self.uids[at] == uid else None

    def numbered(self, runs: Runs) -> Iterator[tuple[int, int]]:
        """Yield (number, UID) of all known UIDs in the runs."""
        for first, last in runs:
            at = bisect_left(self.uids, first)
            end = bisect_right(self.uids, last)
            for index in range(at, end):
                yield index + 1, self.uids[index]

    def chunks(self, runs: Runs, size: int) -> Iterator[list[tuple[int, int]]]:
        """Yield (number, UID) of all known UIDs in the runs, so many at a time."""
        numbered = self.numbered(runs)
        while chunk := list(islice(numbered, size)):
            yield chunk

    def slices(self, runs: Runs, size: int) -> Iterator[Runs]:
        """Yield the runs cut to known UIDs, so many letters at a time."""
        for chunk in self.chunks(runs, size):
            yield responses.as_runs(uid for _, uid in chunk)

    def resolve(self, wanted: SequenceSet, *, uid: bool) -> Runs | None:
        """Return the runs of UIDs that a set means, merged and ascending; None when a number is out of range.

        Unknown UIDs are left out silently, sequence numbers are an error (RFC 3501 §6.4.8).
        """
        if wanted.saved:
            return self._known(self.saved)
        if uid:
            return self._known(merged(self._uid_range(first, last) for first, last in wanted.ranges))
        indexes = merged(run for first, last in wanted.ranges for run in self._number_range(first, last))
        if indexes and indexes[-1][1] > len(self.uids):
            return None
        return merged(run for first, last in indexes for run in self._uid_runs(first, last))

    def _uid_range(self, first: int, last: int) -> tuple[int, int]:
        """Return a UID range; "*" is the highest UID, and a range that names it always means it too."""
        highest = self.uids[-1] if self.uids else 0
        return _ordered(first or highest, last or highest)

    def _number_range(self, first: int, last: int) -> Runs:
        """Return a range of numbers; one that names "*" is cut to what there is, for clients guess."""
        highest = len(self.uids)
        if first and last:
            return (_ordered(first, last),)
        return (_ordered(min(first or highest, highest), min(last or highest, highest)),) if highest else ()

    def _uid_runs(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Yield the UIDs of a range of numbers; gaps between them hold no letter that the client may reach."""
        uids = self.uids
        start = first - 1
        if uids[last - 1] - uids[start] == last - first:
            yield uids[start], uids[last - 1]
            return
        yield from responses.as_runs(uids[start:last])

    def _known(self, runs: Runs) -> Runs:
        """Return the runs cut to UIDs that the client knows, so that untold letters are out of reach."""
        if not self.uids:
            return ()
        lowest, highest = self.uids[0], self.uids[-1]
        return tuple(
            (max(first, lowest), min(last, highest)) for first, last in runs if first <= highest and last >= lowest
        )

    def named(self, wanted: SequenceSet) -> Runs:
        """Return the runs of UIDs that a set of UIDs means, letters that are gone included; "*" is the last UID ever
        given where that is more than the last letter's."""
        if wanted.saved:
            return self.saved
        last = max(self.mailbox.uidnext - 1, self.uids[-1] if self.uids else 0)
        return merged(_ordered(first or last, end or last) for first, end in wanted.ranges)

    # --- changes ---

    def own(self, modseq: int) -> None:
        """Note that this session made the change of that MODSEQ and tells it itself."""
        self._own.add(modseq)

    def apply(self, mailbox: Mailbox, log: Iterable[Change], flags: Iterable[tuple[int, int, int]]) -> None:
        """Take what happened since the last time; nothing is told yet.

        A letter whose flags somebody else changed is told, even when this session changed it after that.
        """
        foreign: list[tuple[int, int]] = []
        for change in log:
            self._apply_change(change)
            if change.kind is ChangeKind.FLAGS and change.modseq not in self._own:
                foreign.append((change.uid_first, change.uid_last))
        if foreign:
            known = {uid for _, uid in self.numbered(merged(foreign))}
            self._stale.update((uid, (modseq, bits)) for uid, modseq, bits in flags if uid in known)
        self.mailbox = mailbox
        self._own = {modseq for modseq in self._own if modseq > mailbox.modseq}

    def _apply_change(self, change: Change) -> None:
        match change.kind:
            case ChangeKind.ADDED:
                highest = self._added[-1] if self._added else (self.uids[-1] if self.uids else 0)
                self._added.extend(range(max(change.uid_first, highest + 1), change.uid_last + 1))
            case ChangeKind.EXPUNGED:
                self._expunged(change.uid_first, change.uid_last)
            case ChangeKind.FLAGS:
                pass

    def _expunged(self, first: int, last: int) -> None:
        self._gone.update(uid for _, uid in self.numbered(((first, last),)))
        if self._added and self._added[-1] >= first:
            self._added = [uid for uid in self._added if not first <= uid <= last]

    def forget_flags(self, uids: Iterable[int]) -> None:
        """Drop untold flags of letters whose flags were just told."""
        for uid in uids:
            self._stale.pop(uid, None)

    # --- telling ---

    def tell(self, *, expunges: bool, condstore: bool, vanished: bool = False) -> list[bytes]:
        """Return the untagged responses that are due; EXPUNGE only when `expunges`, as VANISHED when `vanished`."""
        told = self._tell_expunges(vanished=vanished) if expunges else []
        # After VANISHED the count is told besides: imapflow does not count down by itself, and would take the next
        # letter's EXISTS, the same number again, for no news.
        told += self._tell_added(anyway=vanished and bool(told))
        return told + self._tell_flags(condstore=condstore)

    def _tell_expunges(self, *, vanished: bool) -> list[bytes]:
        """Tell from the last to the first: each number is then right whatever was told before."""
        if not self._gone:
            return []
        gone = sorted(self._gone, reverse=True)
        if vanished:
            told = [responses.vanished(responses.as_runs(reversed(gone)))]
        else:
            told = [b"* %d EXPUNGE\r\n" % (self.number_of(uid) or 0) for uid in gone]
        self.uids = array("I", [uid for uid in self.uids if uid not in self._gone])
        self.forget_flags(gone)
        self._gone.clear()
        return told

    def _tell_added(self, *, anyway: bool) -> list[bytes]:
        if not self._added and not anyway:
            return []
        self.uids.extend(self._added)
        self._added.clear()
        return [b"* %d EXISTS\r\n" % len(self.uids) + (b"* 0 RECENT\r\n" if self.recent else b"")]

    def _tell_flags(self, *, condstore: bool) -> list[bytes]:
        stale, self._stale = self._stale, {}
        return [
            responses.flag_update(
                self.number_of(uid) or 0,
                uid,
                modseq if condstore else None,
                responses.flags(bits, self.mailbox.keywords),
            )
            for uid, (modseq, bits) in sorted(stale.items())
            if uid not in self._gone
        ]


def _ordered(first: int, last: int) -> tuple[int, int]:
    return (first, last) if first <= last else (last, first)


def within(runs: Runs, wanted: Runs) -> Runs:
    """Return what two sets of ascending runs have in common."""
    found: list[tuple[int, int]] = []
    at = 0
    for first, last in runs:
        while at < len(wanted) and wanted[at][1] < first:
            at += 1
        index = at
        while index < len(wanted) and wanted[index][0] <= last:
            found.append((max(first, wanted[index][0]), min(last, wanted[index][1])))
            index += 1
    return tuple(found)
