"""SEARCH, SORT and THREAD on the real store, told as transcripts."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from mss.model.account import Box
from mss.store import Uow
from mss.store.prepared_tables import search_texts, sort_forms
from tests.imap.imap_world import LETTER, NESTED, NOW, Client, World, running, with_limits


async def kept(world: World) -> tuple[int, int]:
    """Return how many search texts and sort forms the store keeps."""

    def count(uow: Uow) -> tuple[int, int]:
        texts, forms = (
            uow.prepared._connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (search_texts, sort_forms)
        )
        return texts, forms

    return await world.store.read(count)


def written(subject: str, number: int, *fields: str, body: str = "mot") -> bytes:
    """Return a letter."""
    lines = [f"Subject: {subject}", f"Message-ID: <{number}@x>", f"Date: {number} Nov 2026 10:00:00 +0000", *fields]
    return "\r\n".join([*lines, "", body, ""]).encode()


@pytest.fixture
async def client(world: World, inbox: Box) -> Client:
    """A client of an INBOX of five letters."""
    await world.deliver(inbox, written("Bilan", 3, "From: zoe@x"))
    await world.deliver(inbox, written("Re: Bilan", 4, "From: anne@x", "References: <3@x>"), ("\\Seen",))
    await world.deliver(inbox, written("Autre", 2, "From: Bob <bob@x>", body="Écho de l'ÉTÉ"))
    await world.deliver(inbox, NESTED, ("\\Seen",))
    await world.deliver(inbox, LETTER)
    return await world.session("INBOX")


async def test_result_options(client: Client) -> None:
    table = {
        "SEARCH RETURN () SEEN": b'* ESEARCH (TAG "%b") ALL 2,4',
        "UID SEARCH RETURN (MIN MAX COUNT) ALL": b'* ESEARCH (TAG "%b") UID MIN 1 MAX 5 COUNT 5',
        "SEARCH RETURN (COUNT) KEYWORD none": b'* ESEARCH (TAG "%b") COUNT 0',
        "SEARCH RETURN (MIN) KEYWORD none": b'* ESEARCH (TAG "%b")',
        "SEARCH RETURN (PARTIAL -1:-2) ALL": b'* ESEARCH (TAG "%b") PARTIAL (-1:-2 4:5)',
        "SORT RETURN (ALL MIN) (SUBJECT) UTF-8 1:3": b'* ESEARCH (TAG "%b") MIN 3 ALL 3,1:2',
        "UID SEARCH RETURN (ALL) MODSEQ 3": b'* ESEARCH (TAG "%b") UID ALL 2:5 MODSEQ 6',
        "SEARCH RETURN (MIN) MODSEQ 3": b'* ESEARCH (TAG "%b") MIN 2 MODSEQ 3',
    }
    for number, (command, expected) in enumerate(table.items(), 3):
        assert await client.ask(command) == [expected % b"t%d" % number, b"OK Done"], command


async def test_search_answers_with_esearch_once_rev2_is_enabled(world: World, client: Client) -> None:
    (session,) = world.server._sessions
    session.enabled.add("IMAP4REV2")
    assert await client.ask("SEARCH SEEN") == [b'* ESEARCH (TAG "t3") ALL 2,4', b"OK Done"]


async def test_a_saved_result_is_named_again(client: Client) -> None:
    assert await client.ask("FETCH $ UID") == [b"OK Done"]
    assert await client.ask("SEARCH RETURN (SAVE) SEEN") == [b"OK Done"]
    assert await client.ask("FETCH $ UID") == [b"* 2 FETCH (UID 2)", b"* 4 FETCH (UID 4)", b"OK Done"]
    assert await client.ask("SEARCH NOT $") == [b"* SEARCH 1 3 5", b"OK Done"]
    assert (await client.ask("SEARCH RETURN (SAVE MIN) $"))[0].endswith(b" MIN 2")
    assert await client.ask("UID STORE $ +FLAGS.SILENT (\\Deleted)") == [b"OK Done"]
    assert await client.ask("SEARCH DELETED") == [b"* SEARCH 2", b"OK Done"]
    # What does not parse leaves it as it is; letters that are gone are in it no more; another mailbox empties it.
    assert (await client.ask("SEARCH RETURN (SAVE) 99"))[-1].startswith(b"BAD")
    assert await client.ask("SEARCH $") == [b"* SEARCH 2", b"OK Done"]
    assert await client.ask("UID EXPUNGE $") == [b"* 2 EXPUNGE", b"OK Done"]
    assert await client.ask("SEARCH $") == [b"* SEARCH", b"OK Done"]
    await client.ask("SEARCH RETURN (SAVE) ALL")
    assert await client.ask("UID COPY $ Trash") != [b"OK Nothing to do"]
    await client.ask("SELECT INBOX")
    assert await client.ask("SEARCH $") == [b"* SEARCH", b"OK Done"]


async def test_a_search_that_fails_saves_nothing(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    await client.ask("SEARCH RETURN (SAVE) ALL")

    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr("mss.imap.searching._found", fail)
        assert (await client.ask("SEARCH RETURN (SAVE) $ SEEN"))[-1].startswith(b"NO [UNAVAILABLE]")
    assert await client.ask("SEARCH $") == [b"* SEARCH", b"OK Done"]


async def test_within(world: World, client: Client) -> None:
    world.clock.at = NOW + timedelta(seconds=100)
    for command, expected in (
        ("OLDER 100", b"* SEARCH 1 2 3 4 5"), ("OLDER 101", b"* SEARCH"), ("YOUNGER 100", b"* SEARCH"),
        ("YOUNGER 101", b"* SEARCH 1 2 3 4 5"), ("OLDER 4294967295", b"* SEARCH"),
    ):  # fmt: skip
        assert (await client.ask(f"SEARCH {command}"))[0] == expected, command


async def test_sort(client: Client) -> None:
    for command, expected in (
        ("SORT (DATE) UTF-8 1:3", b"* SORT 3 1 2"),
        ("UID SORT (REVERSE DATE) UTF-8 1:3", b"* SORT 2 1 3"),
        ("SORT (SUBJECT) UTF-8 1:3", b"* SORT 3 1 2"),
        ("SORT (FROM) UTF-8 1:3", b"* SORT 2 3 1"),
        ("SORT (REVERSE SIZE) UTF-8 SEEN", b"* SORT 4 2"),
        ("SORT (DISPLAYFROM) UTF-8 1:3", b"* SORT 2 3 1"),
        ("SORT (ARRIVAL) UTF-8 MODSEQ 4", b"* SORT 3 4 5 (MODSEQ 6)"),
        ("SORT (DATE) UTF-8 KEYWORD none", b"* SORT"),
    ):
        assert await client.ask(command) == [expected, b"OK Done"], command
    assert (await client.ask("SORT (DATE) latin1 ALL"))[-1].startswith(b"NO [BADCHARSET (US-ASCII UTF-8)]")
    assert await client.ask("SORT (DATE) UTF-8 9") == [b"BAD No such message number"]
    assert await client.ask("THREAD REFERENCES UTF-8 9") == [b"BAD No such message number"]


async def test_threads(client: Client) -> None:
    assert await client.ask("THREAD REFERENCES UTF-8 1:3") == [b"* THREAD (3)(1 2)", b"OK Done"]
    assert await client.ask("UID THREAD ORDEREDSUBJECT UTF-8 1:3") == [b"* THREAD (3)(1 2)", b"OK Done"]
    assert await client.ask("THREAD REFERENCES UTF-8 KEYWORD none") == [b"* THREAD", b"OK Done"]


async def test_partial_fetch(client: Client) -> None:
    for modifier, expected in (
        ("PARTIAL 2:3", [2, 3]), ("PARTIAL -1:-2", [4, 5]), ("PARTIAL 6:9", []),
        ("CHANGEDSINCE 4 PARTIAL 1:1", [4]), ("PARTIAL -1:-1 CHANGEDSINCE 2", [5]),
    ):  # fmt: skip
        told = await client.ask(f"UID FETCH 1:* (UID) ({modifier})")
        assert [int(line.split()[1]) for line in told[:-1]] == expected, modifier


async def test_texts_are_prepared_once_and_answer_the_same(world: World, client: Client) -> None:
    programs = (
        'BODY "été"', 'TEXT "ÉCHO"', "BODY bonjour", "TEXT subject", "BODY subject", "NOT BODY mot", 'TEXT "caché"',
        'OR BODY "été" FROM zoe', "BODY mot SEEN", "TEXT dedans", 'BODY ""',
    )  # fmt: skip
    first = [
        await client.ask(f"SEARCH {program.replace(' été', ' {5+}!été').replace('!', chr(13) + chr(10))}")
        for program in programs
    ]
    assert first[0] == [b"* SEARCH 3", b"OK Done"]
    assert (await kept(world))[0] == 5
    again = [
        await client.ask(f"SEARCH {program.replace(' été', ' {5+}!été').replace('!', chr(13) + chr(10))}")
        for program in programs
    ]
    assert again == first


async def test_forms_are_prepared_once(world: World, client: Client) -> None:
    first = await client.ask("SORT (SUBJECT DATE) UTF-8 ALL")
    assert await kept(world) == (5, 5)
    assert await client.ask("SORT (SUBJECT DATE) UTF-8 ALL") == first
    assert await client.ask("SORT (SIZE) UTF-8 ALL")


@pytest.mark.parametrize(("limit", "kept_texts"), [(19, 0), (20, 1), (21, 1)])
async def test_a_long_text_is_read_each_time(imap_template: Path, tmp_path: Path, limit: int, kept_texts: int) -> None:
    limits = with_limits(imap_search_text_max_octets=limit)
    async with running(imap_template, tmp_path / "operator", limits) as world:
        box = await world.box("docteur@pro.example")
        await world.account("docteur@pro.example", box)
        await world.deliver(box, b"Subject: abc\r\n\r\nBonjour")
        client = await world.session("INBOX")
        for _ in range(2):
            assert await client.ask("SEARCH BODY bonjour") == [b"* SEARCH 1", b"OK Done"]
        assert (await kept(world))[0] == kept_texts
