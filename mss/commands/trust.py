"""Trust list and directory from the command line: read, import, search, show."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from mss.clock import Clock
from mss.commands.house import in_store, read
from mss.config import Config
from mss.directory import refresh
from mss.directory.refresh import Imported
from mss.errors import Malformed, Misconfigured
from mss.model.address import Domain, parse_domain
from mss.model.party import Party
from mss.model.peer import DN, ListReading, TrustList
from mss.services import operators
from mss.services.operators import DirectoryQuery
from mss.store import Store


def import_file(config: Config, clock: Clock, path: Path) -> Imported:
    """Import a directory extraction; it becomes visible at its end or not at all."""
    _readable(path)
    return in_store(config, lambda store: refresh.import_extraction(store, config, clock, path))


def _readable(path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise Misconfigured(f"cannot read {path}: {error.strerror}") from error


def search(config: Config, clock: Clock, query: DirectoryQuery, limit: int) -> tuple[Party, ...]:
    """Search the imported directory; red-list entries are not found."""
    if not any((query.text, query.address, query.profession, query.town)):
        raise Malformed("say what to search for: words, --profession, --town or --address")
    return read(config, lambda uow: operators.search(uow, query, min(limit, config.limits.search_results_max), clock()))


def read_list(
    config: Config, clock: Clock, path: Path, *, accept_loss: bool, clock_is_right: bool = False
) -> TrustList:
    """Read a trust list strictly and make it the current one; Malformed says why it was refused."""
    _readable(path)
    share = 1.0 if accept_loss else config.trust_list.shrink_max_share
    lenient = replace(config, trust_list=replace(config.trust_list, shrink_max_share=share))

    async def work(store: Store) -> TrustList:
        result = await refresh.read_trust_list(
            store, lenient, clock, path, source="command", clock_is_right=clock_is_right
        )
        if result.trust_list is None:
            hint = " (--accept-loss takes it)" if "at once" in result.reason else ""
            hint = " (--clock-is-right takes it)" if "the clock went back" in result.reason else hint
            raise Malformed(f"the list was refused and the one in use stays: {result.reason}{hint}")
        return result.trust_list

    return in_store(config, work)


def current(config: Config, clock: Clock) -> TrustList:
    """Return the trust list in use; Misconfigured before the first."""
    found = read(config, lambda uow: operators.trust_list(uow, clock()))
    if found is None:
        raise Misconfigured("no trust list was read yet: mss operator read FILE")
    return found


def history(config: Config, clock: Clock, limit: int) -> tuple[ListReading, ...]:
    """Return the newest readings of the trust list, newest first."""
    return read(config, lambda uow: operators.readings(uow, limit, clock()))


def versions(config: Config, clock: Clock, older: int | None, newer: int | None) -> tuple[TrustList, TrustList]:
    """Return two versions of the trust list: by number, or the one in use and the one before it."""
    kept = read(config, lambda uow: operators.trust_list_versions(uow, clock()))
    if not kept:
        raise Misconfigured("no trust list was read yet: mss operator read FILE")
    to = newer if newer is not None else kept[-1]
    before = [version for version in kept if version < to]
    since = older if older is not None else (before[-1] if before else to)
    return _version(config, clock, since, kept), _version(config, clock, to, kept)


def _version(config: Config, clock: Clock, version: int, kept: tuple[int, ...]) -> TrustList:
    found = read(config, lambda uow: operators.trust_list_of(uow, version, clock()))
    if found is None:
        raise Malformed(f"version {version} is not kept: there are {kept[0]} to {kept[-1]}")
    return found


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator's name and its domains."""

    subject: DN
    domains: tuple[Domain, ...]


def by_operator(trust_list: TrustList, words: str) -> tuple[Operator, ...]:
    """Return the operators by name, with the domains that they carry; only those with all words when given."""
    subjects = {subject for some in trust_list.domains.values() for subject in some}
    found = (Operator(one, tuple(sorted(trust_list.domains_of(one)))) for one in sorted(subjects, key=str))
    wanted = words.casefold().split()
    return tuple(one for one in found if all(word in _text(one) for word in wanted))


def _text(operator: Operator) -> str:
    return f"{operator.subject} {' '.join(operator.domains)}"


def subjects_of(trust_list: TrustList, domain: str) -> tuple[DN, ...]:
    """Return the names that may carry letters for a domain; Malformed when it is not listed."""
    found = trust_list.subjects_of(parse_domain(domain))
    if not found:
        raise Malformed(f"{domain} is not in the trust list: no letter goes there or comes from there")
    return tuple(sorted(found, key=str))
