"""Quotas at delivery, and the keywords that the house sets on professionals' letters."""

from __future__ import annotations

import pytest

from mss.model.mailbox import INBOX, Quota
from mss.model.party import BoxKind
from mss.policy import keywords, rules
from mss.services import appending, mailbox, quotas, threads
from mss.services.mailbox import Columns
from mss.store import Store
from tests.services.services_world import CLINICIAN, DESK, PATIENT, House, arrive, letter
from tests.store.store_world import NOW

ALL = ((1, 1_000_000),)


@pytest.mark.parametrize(("most", "taken"), [(1, False), (2, True), (3, True)])
async def test_a_full_box_defers_letters_with_a_named_rule(house: House, most: int, taken: bool) -> None:
    await arrive(house.store, letter(to=[CLINICIAN]), CLINICIAN)
    await house.store.write(quotas.set_for_kind, BoxKind.PER, Quota(letters_max=most), "test", NOW)
    [outcome] = (await arrive(house.store, letter(to=[CLINICIAN]), CLINICIAN)).outcomes
    assert outcome.decision.accepted is taken
    if not taken:
        assert outcome.decision.rule is rules.BOX_FULL
        assert outcome.decision.rule.code == 452
    # A box's own quota takes the place of its kind's.
    await house.store.write(quotas.set_for_box, house.clinician.id, Quota(letters_max=9), "test", NOW)
    assert (await arrive(house.store, letter(to=[CLINICIAN]), CLINICIAN)).accepted


async def words(store: Store, box_id: int, name: str = INBOX) -> list[tuple[str, ...]]:
    """Return the flags of a mailbox's letters."""
    where = await store.read(mailbox.find, box_id, name, NOW)
    rows = await store.read(mailbox.rows, where.id, ALL, Columns.PLAIN, NOW)
    return [mailbox.flag_names(where.keywords, row.flags) for row in rows]


async def test_a_patient_s_letter_has_its_keyword(house: House) -> None:
    await arrive(house.store, letter(to=[CLINICIAN, PATIENT]), CLINICIAN)
    await arrive(house.store, letter(to=[CLINICIAN]), CLINICIAN)
    assert await words(house.store, house.clinician.id) == [(keywords.PATIENT,), ()]


async def test_a_closed_exchange_is_marked_on_its_letters(house: House) -> None:
    first = letter(to=[CLINICIAN, PATIENT])
    await arrive(house.store, first, CLINICIAN)
    await arrive(house.store, letter(to=[CLINICIAN, PATIENT]), CLINICIAN)
    last = letter("[FIN]", to=[CLINICIAN, PATIENT], references=(first.message_id,), in_reply_to=first.message_id)
    await arrive(house.store, last, CLINICIAN)
    closed = [keywords.CLOSED in one for one in await words(house.store, house.clinician.id)]
    assert closed == [True, False, True]


@pytest.mark.parametrize("copy_first", [True, False])
async def test_a_filed_document_is_marked_on_the_sender_s_copy(house: House, copy_first: bool) -> None:
    sent = await house.store.read(mailbox.find, house.clinician.id, "Sent", NOW)
    copy = letter(sender=CLINICIAN, to=[PATIENT])

    async def keep_copy() -> None:
        await house.store.write(appending.append, sent.id, copy, ("\\Seen",), NOW, "test", NOW)

    if copy_first:
        await keep_copy()
    await house.store.write(threads.note_filed, CLINICIAN, copy.message_id, NOW)
    if not copy_first:
        await keep_copy()
    assert await words(house.store, house.clinician.id, "Sent") == [("\\Seen", keywords.PATIENT, keywords.FILED)]
    await house.store.write(threads.note_filed, DESK, copy.message_id, NOW)
    await house.store.write(threads.note_filed, None, copy.message_id, NOW)
