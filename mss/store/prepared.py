"""What is prepared of letters for SEARCH, SORT and THREAD: kept sealed under the box's key, asked for by mailbox.

A letter that nothing was prepared of is simply not among the answers: whoever asks makes it and keeps it here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from sqlalchemy import Connection, Table, and_, select

from mss.store import crypto
from mss.store.hot import Hot
from mss.store.keys import KeyRing
from mss.store.mailboxes import Runs, in_runs, slices
from mss.store.prepared_tables import search_texts, sort_forms
from mss.store.tables import messages

_TEXT: Final = b"search text"
_FORM: Final = b"sort form"
_KEEP_TEXT = Hot.new(search_texts)
_KEEP_FORM = Hot.new(sort_forms)


class Prepared:
    """Prepared texts and forms inside one unit."""

    def __init__(self, connection: Connection, keys: KeyRing) -> None:
        self._connection = connection
        self._keys = keys

    def texts(self, mailbox_id: int, box_id: int, runs: Runs) -> Iterator[tuple[int, bytes]]:
        """Yield (UID, search text) of those letters of a mailbox that have one."""
        return self._opened(search_texts, search_texts.c.text, _TEXT, (mailbox_id, box_id), runs)

    def forms(self, mailbox_id: int, box_id: int, runs: Runs) -> Iterator[tuple[int, bytes]]:
        """Yield (UID, sort form) of those letters of a mailbox that have one."""
        return self._opened(sort_forms, sort_forms.c.form, _FORM, (mailbox_id, box_id), runs)

    def _opened(
        self, table: Table, column: Any, purpose: bytes, where: tuple[int, int], runs: Runs
    ) -> Iterator[tuple[int, bytes]]:
        mailbox_id, box_id = where
        held = and_(table.c.box_id == box_id, table.c.object_id == messages.c.object_id)
        query = select(messages.c.uid, messages.c.object_id, column).join(table, held)
        unseal, key = crypto.unseal, self._keys.key(box_id)
        for some in slices(runs):
            rows = self._connection.execute(query.where(and_(messages.c.mailbox_id == mailbox_id, in_runs(some))))
            for uid, object_id, sealed in rows:
                yield uid, unseal(key, sealed, b"%b:%d:%d" % (purpose, box_id, object_id))

    def keep_texts(self, box_id: int, texts: Iterable[tuple[int, bytes]]) -> None:
        """Keep (object id, search text) of letters that the box holds; what is kept already stays."""
        key = self._keys.key(box_id)
        for object_id, text in texts:
            sealed = crypto.seal(key, text, b"%b:%d:%d" % (_TEXT, box_id, object_id))
            _KEEP_TEXT.run(self._connection, {"box_id": box_id, "object_id": object_id, "text": sealed})

    def keep_forms(self, box_id: int, forms: Iterable[tuple[int, bytes]]) -> None:
        """Keep (object id, sort form) of letters that the box holds; what is kept already stays."""
        key = self._keys.key(box_id)
        for object_id, form in forms:
            sealed = crypto.seal(key, form, b"%b:%d:%d" % (_FORM, box_id, object_id))
            _KEEP_FORM.run(self._connection, {"box_id": box_id, "object_id": object_id, "form": sealed})
