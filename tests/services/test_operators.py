"""The trust list with its versions, the directory by generations, and named leases."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from mss.model.address import Address, parse_domain
from mss.model.party import BoxKind, Party
from mss.model.peer import DN, TrustList
from mss.services import operators
from mss.services.operators import DirectoryQuery
from mss.store.store import Store
from tests.store.store_world import HOSPITAL, NOW, REGION, later

ONE, TWO = DN.parse("CN=mx.chu,O=CHU,ST=Puy-de-Dôme (63),C=FR"), DN.parse("CN=mx2.chu,O=CHU,C=FR")
LIST = TrustList(later(days=-1), {HOSPITAL: frozenset({ONE, TWO}), REGION: frozenset({TWO})}, NOW)


# -- trust list --------------------------------------------------------------------------------------------------------


async def test_the_last_good_list_is_given_back_whole(store: Store) -> None:
    assert await store.read(operators.trust_list, NOW) is None
    assert await store.read(operators.trust_list_mark, NOW) == (0, 0)
    ear = store.subscribe("trust-list")
    stored = await store.write(operators.replace_trust_list, LIST, NOW)
    assert await ear.wait(30)
    assert stored.version == 1
    found = await store.read(operators.trust_list, NOW)
    assert found == stored
    assert found is not None
    assert found.domains_of(TWO) == {HOSPITAL, REGION}


async def test_an_unchanged_list_only_gets_its_reading_time(store: Store) -> None:
    await store.write(operators.replace_trust_list, LIST, NOW)
    before = await store.read(operators.trust_list_mark, NOW)
    again = await store.write(operators.replace_trust_list, replace(LIST, fetched_at=later(hours=1)), NOW)
    after = await store.read(operators.trust_list_mark, NOW)
    assert (again.version, before[0], after[0]) == (1, 1, 1)
    assert after != before
    found = await store.read(operators.trust_list, NOW)
    assert found is not None
    assert found.fetched_at == later(hours=1)


async def test_versions_count_up_and_the_old_ones_are_kept_for_a_while(store: Store) -> None:
    for number in range(40):
        domain = parse_domain(f"d{number}.mssante.test")
        new = replace(LIST, domains={**LIST.domains, domain: frozenset({ONE})})
        assert (await store.write(operators.replace_trust_list, new, NOW)).version == number + 1
    kept = await store.read(
        lambda uow: uow.parties._connection.execute(text("SELECT count(*) FROM trust_lists")).scalar()
    )
    assert kept == 30
    found = await store.read(operators.trust_list, NOW)
    assert found is not None
    assert domain in found.domains


async def test_a_list_of_another_date_is_another_list(store: Store) -> None:
    await store.write(operators.replace_trust_list, LIST, NOW)
    newer = replace(LIST, generated_at=NOW)
    assert (await store.write(operators.replace_trust_list, newer, NOW)).version == 2


# -- directory ---------------------------------------------------------------------------------------------------------


def party(local: str, name: str = "MARTIN", first: str = "Anne", **more: object) -> Party:
    facts = {"town": "Clermont-Ferrand", "profession": "Médecin", "profession_code": "10", **more}
    return Party(Address(local, REGION), BoxKind.PER, name, first, "Dr", **facts)  # type: ignore[arg-type]


PARTIES = (
    party("anne.martin"),
    party("aline.martinez", "MARTINEZ", "Aline", town="Saint-Étienne"),
    party("zoe.lefevre", "LEFÈVRE", "Zoé", profession="Sage-femme", profession_code="50"),
    party("cache", "SECRET", "Rouge", red_list=True),
    replace(party("labo", "", ""), kind=BoxKind.ORG, structure="Laboratoire Œuvre d'Été", service="Biologie"),
)


async def publish(store: Store, *parties: Party) -> int:
    generation = await store.write(operators.begin_directory, NOW)
    for one in parties:
        await store.write(operators.add_parties, generation, (one,), NOW)
    await store.write(operators.publish_directory, generation, NOW)
    return generation


async def found(store: Store, limit: int = 50, text: str = "", **query: str) -> list[str]:
    parties = await store.read(operators.search, DirectoryQuery(text, **query), limit, NOW)
    return [one.address.local for one in parties]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"text": "martin"}, ["aline.martinez", "anne.martin"]),
        ({"text": "Martin Anne"}, ["anne.martin"]),
        ({"text": "lefevre"}, ["zoe.lefevre"]),
        ({"text": "LEFÈVRE zoe"}, ["zoe.lefevre"]),
        ({"text": "oeuvre"}, ["labo"]),
        ({"text": "œuvre été"}, ["labo"]),
        ({"text": "biolo"}, ["labo"]),
        ({"text": "artin"}, []),
        ({"text": "martin", "town": "saint etienne"}, ["aline.martinez"]),
        ({"text": "martin", "town": "saint"}, ["aline.martinez"]),
        ({"town": "clermont ferrand", "profession": "sage femme"}, ["zoe.lefevre"]),
        ({"profession": "50"}, ["zoe.lefevre"]),
        ({"address": "zoe.lefevre@region.mssante.test"}, ["zoe.lefevre"]),
        ({"text": "secret"}, []),
        ({"text": "rouge"}, []),
        ({"address": "cache@region"}, []),
        ({}, []),
        ({"text": "  '%_ "}, []),
        ({"text": "%"}, []),
        ({"town": "%"}, []),
        ({"text": "a" * 3000}, []),
    ],
)
async def test_the_directory_is_searched_by_beginnings_without_accents(
    store: Store, query: dict[str, str], expected: list[str]
) -> None:
    await publish(store, *PARTIES)
    parties = await store.read(operators.search, DirectoryQuery(**query), 50, NOW)
    assert sorted(one.address.local for one in parties) == sorted(expected)


async def test_a_search_gives_so_many_at_most(store: Store) -> None:
    await publish(store, *(party(f"m{n}") for n in range(12)))
    assert [len(await found(store, limit, text="martin")) for limit in (1, 11, 12, 13)] == [1, 11, 12, 12]


async def test_the_red_list_is_known_by_address_and_never_found(store: Store) -> None:
    await publish(store, *PARTIES)
    hidden = await store.read(operators.party_of, Address("Cache", REGION), NOW)
    assert hidden == PARTIES[3]
    assert await store.read(operators.party_of, Address("nobody", REGION), NOW) is None


async def test_a_generation_appears_whole_and_at_once(store: Store) -> None:
    assert await found(store, text="martin") == []
    await publish(store, PARTIES[0])
    generation = await store.write(operators.begin_directory, NOW)
    await store.write(operators.add_parties, generation, PARTIES[1:3], NOW)
    assert await found(store, text="martin") == ["anne.martin"]
    assert await found(store, text="lefevre") == []
    await store.write(operators.add_parties, generation, (PARTIES[1], PARTIES[4]), NOW)
    assert await store.write(operators.publish_directory, generation, NOW) == 3
    assert await found(store, text="martin") == ["aline.martinez"]
    assert await found(store, text="lefevre") == ["zoe.lefevre"]
    current = await store.read(lambda uow: uow.parties.current())
    assert current == (generation, NOW, 3)


async def test_the_sweep_takes_old_generations_so_many_at_a_time(store: Store) -> None:
    await publish(store, *PARTIES)
    abandoned = await store.write(operators.begin_directory, NOW)
    await store.write(operators.add_parties, abandoned, PARTIES, NOW)
    await publish(store, *PARTIES[:2])
    being_written = await store.write(operators.begin_directory, later(days=3))
    await store.write(operators.add_parties, being_written, PARTIES[:1], NOW)
    assert await store.write(operators.sweep_directory, 3, later(hours=1)) == 3
    gone = 3
    while went := await store.write(operators.sweep_directory, 3, later(days=3)):
        gone += went
        assert went <= 3
    assert gone == 10

    def left(uow: object) -> tuple[int, set[int]]:
        connection = uow.parties._connection  # type: ignore[attr-defined]
        words = {row[0] for row in connection.execute(text("SELECT generation FROM party_words"))}
        return connection.execute(text("SELECT count(*) FROM parties")).scalar(), words

    count, generations = await store.read(left)
    assert count == 3
    assert generations == {being_written - 1, being_written}
    assert await found(store, text="martin") == ["aline.martinez", "anne.martin"]


# -- leases ------------------------------------------------------------------------------------------------------------


async def test_a_lease_is_one_workers_at_a_time(store: Store) -> None:
    assert await store.write(operators.take_lease, "trust-list", "a", 60, NOW)
    assert not await store.write(operators.take_lease, "trust-list", "b", 60, later(seconds=59))
    assert await store.write(operators.take_lease, "directory", "b", 60, NOW)
    assert await store.write(operators.take_lease, "trust-list", "a", 60, later(seconds=30)), "renewed"
    assert not await store.write(operators.take_lease, "trust-list", "b", 60, later(seconds=89))
    assert await store.write(operators.take_lease, "trust-list", "b", 60, later(seconds=90))
    assert not await store.write(operators.take_lease, "trust-list", "a", 60, later(seconds=91))


async def test_of_many_who_ask_at_once_one_gets_it(store: Store) -> None:
    for moment in (NOW, NOW + timedelta(minutes=5)):
        asked = (store.write(operators.take_lease, "sweep", f"w{n}", 60, moment) for n in range(10))
        assert sum(await asyncio.gather(*asked)) == 1
