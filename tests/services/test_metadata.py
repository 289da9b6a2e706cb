"""Notes about mailboxes, on both engines: whose they are, all or nothing, and until when they stay."""

from __future__ import annotations

import pytest

from mss.services import mailbox, metadata
from mss.services.metadata import Subject, TooManyAnnotations, Wished
from mss.store.store import Store
from tests.services.services_world import House
from tests.store.store_world import NOW

ALL = Wished(("/private", "/shared"), None)


async def write(store: Store, subject: Subject, most: int = 10, **values: bytes | None) -> None:
    changes = tuple((name.replace("_", "/"), value) for name, value in values.items())
    await store.write(metadata.write, subject, changes, most, "test", NOW)


async def test_whose_notes_are_whose_and_how_they_change(store: Store, house: House) -> None:
    mine, yours = (Subject(house.clinician.id, "INBOX", account) for account in (7, 8))
    await write(store, mine, _private_a=b"mine", _shared_a=b"ours")
    await write(store, yours, _private_a=b"yours", _shared_b=b"\0")
    assert await store.read(metadata.read, mine, ALL, NOW) == {
        "/private/a": b"mine", "/shared/a": b"ours", "/shared/b": b"\0"
    }  # fmt: skip
    await write(store, yours, _private_a=None, _shared_a=b"all of ours", _shared_none=None)
    assert await store.read(metadata.read, yours, Wished(("/private/a", "/shared/a")), NOW) == {
        "/private/a": None, "/shared/a": b"all of ours"
    }  # fmt: skip
    with pytest.raises(TooManyAnnotations):
        await write(store, mine, 2, _shared_a=b"x", _shared_c=b"x")
    assert (await store.read(metadata.read, mine, ALL, NOW))["/shared/a"] == b"all of ours"
    other = Subject(house.patient.id, "INBOX", 7)
    assert await store.read(metadata.read, other, ALL, NOW) == {}


async def test_a_mark_changes_with_its_note(store: Store, house: House) -> None:
    subject = Subject(house.clinician.id, "INBOX", 7)
    found = await store.read(mailbox.find, house.clinician.id, "INBOX", NOW)

    async def marks() -> dict[tuple[int, str], int]:
        return await store.read(lambda uow: uow.annotations.marks(house.clinician.id, 7))

    await write(store, subject, _private_a=b"x", _shared_a=b"x")
    await write(store, Subject(house.clinician.id, "INBOX", 8), _private_b=b"x")
    before = await marks()
    assert before.keys() == {(found.id, "/private/a"), (found.id, "/shared/a")}
    await write(store, subject, _private_a=b"y")
    after = await marks()
    assert after[(found.id, "/private/a")] != before[(found.id, "/private/a")]
    assert after[(found.id, "/shared/a")] == before[(found.id, "/shared/a")]


async def test_notes_go_with_their_mailbox_and_with_their_box(store: Store, house: House) -> None:
    made = await store.write(mailbox.create, house.clinician.id, "a", "test", NOW)
    await write(store, Subject(house.clinician.id, "a", 7), _private_a=b"x", _shared_a=b"x")
    await write(store, Subject(house.clinician.id, "INBOX", 7), _private_a=b"x")
    await write(store, Subject(house.clinician.id, "", 7), _private_a=b"x")
    await store.write(mailbox.rename, house.clinician.id, "a", "b", "test", NOW)
    assert len(await store.read(metadata.read, Subject(house.clinician.id, "b", 7), ALL, NOW)) == 2
    await store.write(mailbox.delete, house.clinician.id, "b", "test", NOW)
    assert await store.read(lambda uow: uow.annotations.count((house.clinician.id, made.id, 0))) == 0
    while await store.write(lambda uow: uow.lives.erase_some(house.clinician.id, 100)):
        pass
    assert await store.read(lambda uow: uow.annotations.marks(house.clinician.id, 7)) == {}
