"""The trust space as stored: the last good trust list; and the directory of parties, by generations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mss.model.address import Address
from mss.model.audit import AuditEvent
from mss.model.party import Party
from mss.model.peer import ListReading, TrustList
from mss.model.search import search_key
from mss.store import Uow
from mss.store.parties import words_of


def trust_list(uow: Uow, now: datetime) -> TrustList | None:
    """Return the last good trust list; None before the first."""
    return uow.parties.trust_list()


def replace_trust_list(uow: Uow, new: TrustList, now: datetime) -> TrustList:
    """Make a checked list the current one (its version counts up); an unchanged list only gets its reading time."""
    before, _ = uow.parties.trust_list_mark()
    version = uow.parties.replace_trust_list(new)
    if version != before:
        facts = {"version": version, "domains": len(new.domains)}
        event = AuditEvent("system:trust-list", "trust-list.read", f"trust-list:{version}", facts=facts)
        uow.journal.write(event, now)
    uow.wake("trust-list")
    return replace(new, version=version)


def take_trust_list(uow: Uow, new: TrustList, reading: ListReading, keep: int, now: datetime) -> TrustList:
    """Make a checked list the current one, and remember the reading among the last `keep`."""
    taken = replace_trust_list(uow, new, now)
    uow.parties.note_reading(replace(reading, version=taken.version), keep)
    return taken


def refuse_trust_list(uow: Uow, reading: ListReading, keep: int, now: datetime) -> bool:
    """Remember a reading that came to nothing; in the journal when it is news. Returns whether it is."""
    if not uow.parties.note_reading(reading, keep):
        return False
    facts: dict[str, str | int | bool | None] = {
        "source": reading.source,
        "digest": reading.digest,
        "reason": reading.reason,
        "domains": reading.domains,
    }
    rule = f"trust-list.{reading.verdict}"
    event = AuditEvent("system:trust-list", "trust-list.refuse", "trust-list", "reject", rule, facts=facts)
    uow.journal.write(event, now)
    return True


def readings(uow: Uow, limit: int, now: datetime) -> tuple[ListReading, ...]:
    """Return the newest readings of the trust list, newest first."""
    return uow.parties.readings(limit)


def trust_list_versions(uow: Uow, now: datetime) -> tuple[int, ...]:
    """Return the versions of the trust list that are kept, oldest first."""
    return uow.parties.trust_list_versions()


def trust_list_of(uow: Uow, version: int, now: datetime) -> TrustList | None:
    """Return the trust list of a version; None when it is not kept."""
    return uow.parties.trust_list_of(version)


def trust_list_mark(uow: Uow, now: datetime) -> tuple[int, int]:
    """Return (version, reading time) of the current list, cheaply: equal marks mean an equal list."""
    return uow.parties.trust_list_mark()


def take_lease(uow: Uow, name: str, owner: str, length_s: int, now: datetime) -> bool:
    """Take or renew a named piece of scheduled work; False while another worker has it."""
    return uow.parties.lease(name, owner, timedelta(seconds=length_s), now)


def directory_published(uow: Uow, now: datetime) -> datetime | None:
    """Return when the visible directory was published; None before the first."""
    found = uow.parties.current()
    return found[1] if found is not None else None


def begin_directory(uow: Uow, now: datetime) -> int:
    """Open a new, invisible generation of the directory and return its number."""
    return uow.parties.begin(now)


def add_parties(uow: Uow, generation: int, parties: tuple[Party, ...], now: datetime) -> None:
    """Add a slice to an unpublished generation (a few hundred at a time; a unit lasts 20 ms at most)."""
    uow.parties.add(generation, parties)


def publish_directory(uow: Uow, generation: int, now: datetime) -> int:
    """Make a generation the visible one; returns how many parties it holds."""
    count = uow.parties.publish(generation, now)
    event = AuditEvent("system:directory", "directory.publish", f"generation:{generation}", facts={"parties": count})
    uow.journal.write(event, now)
    return count


def sweep_directory(uow: Uow, limit: int, now: datetime) -> int:
    """Drop rows of old or abandoned generations, so many at a time; returns how many went."""
    return uow.parties.sweep(limit, now - timedelta(days=1))


@dataclass(frozen=True, slots=True)
class DirectoryQuery:
    """All given words must match: `text` in name, structure, service or address; the others by prefix or code."""

    text: str = ""
    profession: str = ""
    town: str = ""
    address: str = ""


def search(uow: Uow, query: DirectoryQuery, limit: int, now: datetime) -> tuple[Party, ...]:
    """Return matching parties that are not on the red list, best first, without accents and case."""
    words = words_of(f"{query.text} {query.address}")
    if not (words or search_key(query.profession) or search_key(query.town)):
        return ()
    return uow.parties.search(words, query.profession, query.town, limit)


def party_of(uow: Uow, address: Address, now: datetime) -> Party | None:
    """Return the directory's entry of an address, red list included: for names in letters, never for a search."""
    return uow.parties.by_address(address)
