"""Boxes made in bulk are as those made one by one; what is there stays; an import that was cut off is begun again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mss.model.account import BoxState
from mss.model.address import Address
from mss.model.ins import INS, OID_NIR
from mss.model.party import BoxKind
from mss.services import accounts, provisioning
from mss.services.accounts import NewBox
from mss.services.provisioning import Provisioned
from mss.store.store import Store, Uow
from tests.store.store_fixtures import config, postgres_template, store, store_template
from tests.store.store_world import CLINIC, MATRICULE, NOW, OTHER_MATRICULE, OTHER_TRAITS, PATIENTS, TRAITS

__all__ = ["config", "postgres_template", "store", "store_template"]


def patient(matricule: str = MATRICULE) -> NewBox:
    traits = TRAITS if matricule == MATRICULE else OTHER_TRAITS
    ins = INS(matricule, OID_NIR)
    return NewBox(
        Address(matricule, PATIENTS),
        BoxKind.PATIENT,
        "Zoé É. 🙂",
        BoxState.UNOPENED,
        red_list=True,
        ins=ins,
        traits=traits,
    )


def staff(number: int) -> NewBox:
    return NewBox(Address(f"dr{number}", CLINIC), BoxKind.PER, f"Dr {number}")


async def test_a_box_of_many_is_as_one_made_alone(store: Store) -> None:
    alone = await store.write(accounts.create_box, patient(OTHER_MATRICULE), "cli", NOW)
    made = await store.write(provisioning.add_boxes, (patient(), staff(1)), "cli", NOW)
    assert made == Provisioned(2, 0)
    found = await store.read(lambda uow: accounts.box_by_address(uow, patient().address, NOW))
    assert found is not None
    assert found == replace(
        alone, id=found.id, address=patient().address, ins=patient().ins, traits=TRAITS, display_name="Zoé É. 🙂"
    )

    def folders(uow: Uow, box_id: int) -> list[object]:
        return [replace(one, id=0, box_id=0) for one in uow.mailboxes.all_of(box_id)]

    assert await store.read(folders, found.id) == await store.read(folders, alone.id)
    uidvalidity = await store.write(lambda uow: uow.mailboxes.by_id(uow.mailboxes.create(found.id, "New", "", NOW)))
    assert uidvalidity is not None
    seen = await store.read(lambda uow: [one.uidvalidity for one in uow.mailboxes.all_of(found.id)])
    assert len(set(seen)) == len(seen) == 7


async def test_what_is_there_stays_as_it_is(store: Store) -> None:
    first = await store.write(accounts.create_box, staff(1), "cli", NOW)
    some = (replace(staff(1), display_name="Another"), staff(2), staff(2), staff(3))
    assert await store.write(provisioning.add_boxes, some, "cli", NOW) == Provisioned(2, 2)
    assert await store.read(lambda uow: uow.accounts.box_by_id(first.id)) == first
    assert await store.write(provisioning.add_boxes, some, "cli", NOW) == Provisioned(0, 4)
    after = await store.write(accounts.create_box, staff(4), "cli", NOW)
    assert after.id not in {first.id}, "the count goes on behind those made in bulk"


async def test_the_journal_says_who_made_which_boxes(store: Store) -> None:
    await store.write(provisioning.add_boxes, tuple(staff(n) for n in range(200)), "cli:uid0", NOW)
    [record] = await store.read(lambda uow: uow.journal.newest(5, "box.import"))
    first, last = record.event.facts["first"], record.event.facts["last"]
    assert record.event.actor == "cli:uid0"
    assert isinstance(first, int)
    assert record.event.facts["boxes"] == 200
    assert last == first + 199


async def test_a_slice_that_was_cut_off_is_made_again(store: Store) -> None:
    def cut_off(uow: Uow) -> None:
        provisioning.add_boxes(uow, (patient(), staff(1)), "cli", NOW)
        raise ValueError("power was lost")

    with pytest.raises(ValueError):
        await store.write(cut_off)
    assert await store.write(provisioning.add_boxes, (staff(1), patient()), "cli", NOW) == Provisioned(2, 0)
    found = await store.read(lambda uow: accounts.box_by_address(uow, patient().address, NOW))
    assert found is not None
    assert found.traits == TRAITS
