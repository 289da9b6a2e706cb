"""Octets of letters and documents: stored once, sealed under a content key that is wrapped for each holder.

Below the inline limit they stand in the row, in the same transaction; above it in a file flushed before. The keyed
digest that recognises equal octets is the operator's own: nothing is shared between operators.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, func, select, update

from mss.clock import to_us
from mss.errors import Conflict
from mss.store import crypto
from mss.store.blobs import Blobs
from mss.store.hot import Hot
from mss.store.keys import KeyRing
from mss.store.opened import Listed, OpenedForms
from mss.store.tables import holdings, objects

_CONTENT_KEY = b"content key"
_ENVELOPE, _BODYSTRUCTURE, _PREVIEW = b"envelope", b"bodystructure", b"preview"

_PUT = Hot.new(objects, objects.c.id)
_HOLD = Hot.new(holdings)
_BY_DIGEST = Hot(select(objects.c.id).where(objects.c.digest == bindparam("digest")))
_ANY_HOLDING = Hot(
    select(holdings.c.box_id, holdings.c.content_key).where(holdings.c.object_id == bindparam("object_id")).limit(1)
)
_HELD = Hot(
    select(holdings.c.object_id).where(
        and_(holdings.c.box_id == bindparam("box_id"), holdings.c.object_id == bindparam("object_id"))
    )
)
_READ = Hot(
    select(objects.c.size, objects.c.file, holdings.c.content_key)
    .join(holdings, holdings.c.object_id == objects.c.id)
    .where(and_(holdings.c.box_id == bindparam("box_id"), holdings.c.object_id == bindparam("object_id")))
)
_INLINE = Hot(
    select(func.substr(objects.c.octets, bindparam("start"), bindparam("length"))).where(
        objects.c.id == bindparam("object_id")
    )
)
_FORMS = update(holdings).where(
    and_(holdings.c.box_id == bindparam("b_box_id"), holdings.c.object_id == bindparam("b_object_id"))
)
# A holding that is there is written to in any case: the collection of unused ones then sees that it is taken.
_TAKE = Hot(_FORMS.values(content_key=holdings.c.content_key))


@dataclass(frozen=True, slots=True)
class Staged:
    """Octets sealed before the unit that stores them begins: written aside as `file`, or else `sealed` for the row."""

    octets: bytes = field(repr=False)
    digest: bytes = field(repr=False)
    content_key: bytes = field(repr=False)
    file: str | None = None
    sealed: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Aside:
    """The files below one unit: those staged for it, the names of those that it wrote itself, and of those that a row
    of its own names for certain."""

    files: Blobs
    staged: Sequence[Staged]
    written: set[str]
    named: set[str]

    def find(self, octets: bytes) -> Staged | None:
        """Return what was staged of octets; the very same ones as a rule, so that they need not be looked at."""
        return next((one for one in self.staged if one.octets is octets or one.octets == octets), None)

    def put(self, sealed: bytes) -> str:
        """Write sealed octets aside inside the unit."""
        name = self.files.put((sealed,))
        self.written.add(name)
        return name

    def note(self, file: str | None) -> None:
        """Remember that a row names a file: once the unit is committed nobody needs to ask."""
        if file is not None:
            self.named.add(file)


@dataclass(frozen=True, slots=True)
class Forms:
    """What IMAP sends of a letter, computed once at delivery."""

    envelope: bytes
    bodystructure: bytes
    preview: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """An object just put: its id and the content key to wrap for its holders."""

    id: int
    content_key: bytes
    is_new: bool


def digest_of(keys: KeyRing, octets: bytes) -> bytes:
    """Return the keyed digest that recognises equal octets."""
    return crypto.keyed_digest(keys.digest_key, b"object", octets)


class Objects:
    """Octets inside one unit."""

    def __init__(
        self, connection: Connection, keys: KeyRing, aside: Aside, inline_max_octets: int, opened: OpenedForms
    ) -> None:
        self._connection = connection
        self._opened = opened
        self._keys = keys
        self._aside = aside
        self._inline_max_octets = inline_max_octets

    def digest(self, octets: bytes) -> bytes:
        """Return the keyed digest that recognises equal octets."""
        staged = self._aside.find(octets)
        return digest_of(self._keys, octets) if staged is None else staged.digest

    def put(self, octets: bytes, now: datetime, digest: bytes | None = None) -> Stored:
        """Store octets, or find them when they are here already.

        `digest` is what recognises them, where the caller has one that costs less than `digest` of all octets.
        """
        digest = digest or self.digest(octets)
        key, values = self._sealed(octets)
        row = {"digest": digest, "size": len(octets), "created_at": to_us(now), **values}
        new = _PUT.run(self._connection, row).fetchone()
        if new is None:
            return self._existing(digest, key, values)
        self._aside.note(values["file"])
        return Stored(new[0], key, is_new=True)

    def find(self, octets: bytes) -> int | None:
        """Return the number of octets that are here already."""
        found = _BY_DIGEST.run(self._connection, {"digest": self.digest(octets)}).fetchone()
        return None if found is None else int(found[0])

    def forget(self, stored: Stored) -> None:
        """Drop an object that was put in this unit and that nobody holds after all."""
        if stored.is_new:
            self._aside.named.clear()
            self._connection.execute(delete(objects).where(objects.c.id == stored.id))

    def _sealed(self, octets: bytes) -> tuple[bytes, dict[str, Any]]:
        staged = self._aside.find(octets)
        if staged is not None:
            return staged.content_key, {"file": staged.file, "octets": staged.sealed}
        key = crypto.new_key()
        sealed = crypto.seal_octets(key, octets)
        if len(octets) > self._inline_max_octets:
            return key, {"file": self._aside.put(sealed), "octets": None}
        return key, {"file": None, "octets": sealed}

    def _existing(self, digest: bytes, fresh_key: bytes, fresh_values: dict[str, Any]) -> Stored:
        found = _BY_DIGEST.run(self._connection, {"digest": digest}).fetchone()
        if found is None:
            raise Conflict("the octets were collected at this moment")
        object_id = found[0]
        for holder, wrapped in _ANY_HOLDING.run(self._connection, {"object_id": object_id}).fetchall():
            return Stored(object_id, self._unwrap(holder, object_id, wrapped), is_new=False)
        # Nobody holds it any more, so nobody can open it: it begins anew under a fresh key.
        begun = self._connection.execute(update(objects).where(objects.c.id == object_id).values(fresh_values))
        if begun.rowcount == 0:
            raise Conflict("the octets were collected at this moment")
        self._aside.note(fresh_values["file"])
        return Stored(object_id, fresh_key, is_new=False)

    def hold(self, box_id: int, stored: Stored, forms: Forms | None = None, thread_id: int | None = None) -> None:
        """Let a box hold an object: wrap its content key, seal its IMAP forms. Idempotent."""
        key = self._keys.key(box_id)
        context = b":%d:%d" % (box_id, stored.id)
        row: dict[str, object] = {
            "box_id": box_id,
            "object_id": stored.id,
            "content_key": crypto.seal(key, stored.content_key, _CONTENT_KEY + context),
        }
        sealed = _sealed_forms(key, forms, context) if forms else {}
        if thread_id is not None:
            sealed["thread_id"] = thread_id
        where = {"b_box_id": box_id, "b_object_id": stored.id}
        while _HOLD.run(self._connection, {**_NO_FORMS, **row, **sealed}).rowcount == 0:
            if self._take(where, sealed):
                return

    def _take(self, where: Mapping[str, object], sealed: Mapping[str, object]) -> bool:
        """Write to a holding that is there; says whether it still was."""
        if not sealed:
            return _TAKE.run(self._connection, where).rowcount > 0
        take = _FORMS.values({name: bindparam(name) for name in sealed})
        return self._connection.execute(take, {**where, **sealed}).rowcount > 0

    def hold_too(self, box_id: int, from_box_id: int, object_id: int) -> None:
        """Let a second box hold what a first one holds, IMAP forms included."""
        key = self.content_key(from_box_id, object_id)
        self.hold(box_id, Stored(object_id, key, is_new=False), self.forms(from_box_id, object_id))

    def named(self, files: Collection[str]) -> frozenset[str]:
        """Return those of some files of octets aside that a row names."""
        return frozenset(self._connection.execute(select(objects.c.file).where(objects.c.file.in_(files))).scalars())

    def email_name(self, object_id: int) -> str:
        """Return a letter's name to the outside: the same for equal octets, and it tells no number of ours."""
        return crypto.keyed_digest(self._keys.digest_key, b"email name", b"%d" % object_id).hex()[:24]

    def holds(self, box_id: int, object_id: int) -> bool:
        """Say whether a box holds an object."""
        return _HELD.run(self._connection, {"box_id": box_id, "object_id": object_id}).fetchone() is not None

    def content_key(self, box_id: int, object_id: int) -> bytes:
        """Return the content key through a holder; Damaged when the box holds no such object."""
        return self._unwrap(box_id, object_id, self._held(box_id, object_id)[2])

    def _held(self, box_id: int, object_id: int) -> tuple[int, str | None, bytes]:
        """Return (size, file, wrapped key) of an object that a box holds."""
        row: tuple[int, str | None, bytes] | None
        row = _READ.run(self._connection, {"box_id": box_id, "object_id": object_id}).fetchone()
        if row is None:
            raise crypto.Damaged("the box holds no such object")
        return row

    def _unwrap(self, box_id: int, object_id: int, wrapped: bytes) -> bytes:
        return crypto.unseal(self._keys.key(box_id), wrapped, _CONTENT_KEY + b":%d:%d" % (box_id, object_id))

    def size(self, box_id: int, object_id: int) -> int:
        """Return how many octets an object has."""
        return self._held(box_id, object_id)[0]

    def get(self, box_id: int, object_id: int, start: int = 0, end: int | None = None) -> bytes:
        """Return octets [start, end) of an object that a box holds; a range costs a range."""
        size, file, wrapped = self._held(box_id, object_id)
        end = size if end is None else min(end, size)
        if start >= end:
            return b""
        first, sealed_start, sealed_end = crypto.sealed_range(size, start, end)
        sealed = self._sealed_octets(object_id, file, sealed_start, sealed_end)
        if len(sealed) != sealed_end - sealed_start:
            raise crypto.Damaged("sealed octets are cut off")
        plain = crypto.open_segments(self._unwrap(box_id, object_id, wrapped), sealed, size, first)
        offset = first * crypto.SEGMENT_OCTETS
        return plain[start - offset : end - offset]

    def _sealed_octets(self, object_id: int, file: str | None, start: int, end: int) -> bytes:
        if file is not None:
            return self._aside.files.get(file, start, end)
        values = {"object_id": object_id, "start": start + 1, "length": end - start}
        (octets,) = _INLINE.run(self._connection, values).fetchone()
        return bytes(octets or b"")

    def forms(self, box_id: int, object_id: int) -> Forms | None:
        """Return the IMAP forms of a letter; None for an object that is no letter."""
        where = and_(holdings.c.box_id == box_id, holdings.c.object_id == object_id)
        row = self._connection.execute(
            select(holdings.c.envelope, holdings.c.bodystructure, holdings.c.preview).where(where)
        ).first()
        if row is None or row.envelope is None:
            return None
        key, context = self._keys.key(box_id), b":%d:%d" % (box_id, object_id)
        return Forms(
            crypto.unseal(key, row.envelope, _ENVELOPE + context),
            crypto.unseal(key, row.bodystructure, _BODYSTRUCTURE + context),
            crypto.unseal(key, row.preview, _PREVIEW + context).decode(),
        )

    def opened(self, box_id: int) -> Listed:
        """Return the forms of a box's letters that were opened lately, by object."""
        return self._opened.of(box_id)

    def keep_opened(self, box_id: int, listed: Listed) -> None:
        """Keep forms that were opened for the next who asks."""
        self._opened.keep(box_id, listed)

    def opener(self, box_id: int) -> Opener:
        """Return what opens many sealed forms of one box, the key looked up once."""
        return Opener(self._keys.key(box_id), box_id)


@dataclass(frozen=True, slots=True)
class Opener:
    """Opens the sealed IMAP forms of one box's letters."""

    key: bytes
    box_id: int

    def envelope(self, object_id: int, sealed: bytes) -> bytes:
        """Open a sealed ENVELOPE."""
        return crypto.unseal(self.key, sealed, b"envelope:%d:%d" % (self.box_id, object_id))

    def bodystructure(self, object_id: int, sealed: bytes) -> bytes:
        """Open a sealed BODYSTRUCTURE."""
        return crypto.unseal(self.key, sealed, b"bodystructure:%d:%d" % (self.box_id, object_id))

    def preview(self, object_id: int, sealed: bytes) -> str:
        """Open a sealed preview."""
        return crypto.unseal(self.key, sealed, b"preview:%d:%d" % (self.box_id, object_id)).decode()


_NO_FORMS: dict[str, object] = {"envelope": None, "bodystructure": None, "preview": None, "thread_id": None}


def _sealed_forms(key: bytes, forms: Forms, context: bytes) -> dict[str, object]:
    return {
        "envelope": crypto.seal(key, forms.envelope, _ENVELOPE + context),
        "bodystructure": crypto.seal(key, forms.bodystructure, _BODYSTRUCTURE + context),
        "preview": crypto.seal(key, forms.preview.encode("utf-8", "replace"), _PREVIEW + context),
    }


__all__ = ["Forms", "Objects", "Opener", "Staged", "Stored"]
