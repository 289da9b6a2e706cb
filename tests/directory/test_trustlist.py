"""The liste blanche: what is read, what is refused whole and why, what may replace what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.directory import trustlist
from mss.errors import Malformed
from mss.model.address import Domain
from mss.model.peer import DN, TrustList

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
_BESIDE = "shared/data/liste-blanche/listeblanchemssante.xml"
_FOUND = (parent / _BESIDE for parent in Path(__file__).resolve().parents)
PUBLISHED = next((path for path in _FOUND if path.exists()), Path(_BESIDE))
HOSPITAL = "CN=mx.chu.example,OU=1330000001,O=CHU ESSAI,ST=Gironde (33),C=FR"
REGION = "CN=mx.gip.example,OU=318310021300028,O=GIP ESSAI,ST=Bouches-du-Rhône (13),C=FR"


def entry(name: str = "chu.mssante.fr", dn: str = HOSPITAL, date: str = "2025-03-13T14:54:10Z", more: str = "") -> str:
    return (
        f"<Domaine><Nom>{name}</Nom><Description>CHU</Description><DNCertificatOperateur>{dn}</DNCertificatOperateur>"
        f"<ResponsableContact>x</ResponsableContact><SupportContact/><DateMAJ>{date}</DateMAJ>{more}</Domaine>"
    )


def document(
    *entries: str,
    generated: str = "2025-03-13T14:54:10Z",
    namespace: str = trustlist.NAMESPACE,
    end: str = "</ListeBlancheMSSante>",
) -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><ListeBlancheMSSante xmlns="{namespace}">'
        f"<DateDeGeneration>{generated}</DateDeGeneration>"
        f"<ListeDomaines>{''.join(entries)}</ListeDomaines>{end}"
    ).encode()


def parse(octets: bytes, *, max_octets: int = 1_000_000) -> TrustList:
    return trustlist.parse(octets, fetched_at=NOW, max_octets=max_octets)


def listed(*names: str, at: datetime = NOW) -> TrustList:
    return TrustList(at, {Domain(name): frozenset({DN.parse(HOSPITAL)}) for name in names}, NOW)


def test_domains_and_the_names_of_their_certificates() -> None:
    octets = document(
        entry("CHU.mssante.fr"), entry("chu.mssante.fr", REGION), entry("gip.mssante.fr", REGION),
        entry("interop-mssante.apicrypt.org"), entry("interop-mssante.apicrypt.org"),
    )  # fmt: skip
    found = parse(octets)
    assert found.generated_at == datetime(2025, 3, 13, 14, 54, 10, tzinfo=UTC)
    assert (found.fetched_at, found.version) == (NOW, 0)
    assert found.domains == {
        "chu.mssante.fr": {DN.parse(HOSPITAL), DN.parse(REGION)},
        "gip.mssante.fr": {DN.parse(REGION)},
        "interop-mssante.apicrypt.org": {DN.parse(HOSPITAL)},
    }


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2025-03-13T14:54:10Z", datetime(2025, 3, 13, 14, 54, 10, tzinfo=UTC)),
        ("2025-03-13T14:54:10.123456Z", datetime(2025, 3, 13, 14, 54, 10, 123456, tzinfo=UTC)),
        ("2025-03-13T14:54:10+02:00", datetime(2025, 3, 13, 12, 54, 10, tzinfo=UTC)),
        (" 2025-03-13T14:54:10Z\n", datetime(2025, 3, 13, 14, 54, 10, tzinfo=UTC)),
    ],
)
def test_dates_have_a_time_zone(written: str, read: datetime) -> None:
    assert parse(document(entry(), generated=written)).generated_at == read


BAD_DATES = [
    "", "2025-03-13", "2025-03-13T14:54:10", "20250313T145410Z", "2025-13-13T14:54:10Z", "2025-02-30T14:54:10Z",
    "2025-03-13T14:54Z", "13/03/2025", "2025-03-13 14:54:10Z", "2025-W11-4T14:54:10Z", "٢٠٢٥-03-13T14:54:10Z",
    "0001-01-01T00:00:00+01:00",
]  # fmt: skip


@pytest.mark.parametrize("date", BAD_DATES)
def test_a_bad_date_refuses_the_list(date: str) -> None:
    with pytest.raises(Malformed, match="<DateDeGeneration> is not a date with its time zone"):
        parse(document(entry(), generated=date))
    with pytest.raises(Malformed, match="<DateMAJ> of <Domaine> number 2 is not a date with its time zone"):
        parse(document(entry(), entry(date=date)))


def test_an_entry_may_be_younger_than_its_list() -> None:
    assert len(parse(document(entry(date="2030-01-01T00:00:00Z"))).domains) == 1


@pytest.mark.parametrize(
    "name", ["", "a b.mssante.fr", "-.mssante.fr", "localhost", "x" * 64 + ".fr", "a..fr", "@a.fr"]
)
def test_a_bad_domain_refuses_the_list(name: str) -> None:
    with pytest.raises(Malformed, match="<Nom> of <Domaine> number 2 is not a domain name"):
        parse(document(entry(), entry(name)))


@pytest.mark.parametrize("dn", ["", "mx.chu.example", "O=CHU,C=FR", "CN=,O=CHU", "CN=mx.chu.example,O=", "=x", ",,"])
def test_a_bad_name_refuses_the_list(dn: str) -> None:
    with pytest.raises(Malformed, match="<DNCertificatOperateur> of <Domaine> number 2"):
        parse(document(entry(), entry(dn=dn)))


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        pytest.param(document(entry(), end=""), "its closing tag </ListeBlancheMSSante> is missing", id="not closed"),
        pytest.param(document(entry())[:300], "its closing tag </ListeBlancheMSSante> is missing", id="cut"),
        pytest.param(document(entry()) + b"<more/>", "cannot be read: not well-formed", id="something after"),
        pytest.param(document(entry("a&b.fr")), "cannot be read: not well-formed", id="a bare ampersand"),
        pytest.param(b"", "cannot be read", id="empty"),
        pytest.param(b"<html><body>503</body></html>", "<html> in the document is not in the namespace", id="HTML"),
        pytest.param(b"<html>503", "cannot be read: not well-formed", id="half HTML"),
        pytest.param(document(entry(), namespace="urn:x"), "is not in the namespace https://liste", id="namespace"),
        pytest.param(
            document(entry()).replace(b"?>", b"?><!DOCTYPE x [<!ENTITY e 'x'>]>", 1), "cannot be read", id="DTD"
        ),
        pytest.param(
            document(entry()).replace(b"ListeBlancheMSSante", b"Autre"), "unexpected <Autre> in the document", id="root"
        ),
        pytest.param(document(), "names no domain", id="no domain"),
        pytest.param(document("<Nom/>"), "unexpected <Nom> in <ListeDomaines>", id="no entry"),
        pytest.param(document('<Domaine xmlns="urn:x"/>'), "is not in the namespace", id="foreign entry"),
        pytest.param(document(entry(more="<Autre/>")), "unexpected <Autre> in <Domaine> number 1", id="field"),
        pytest.param(document(entry(more='<Nom xmlns=""/>')), "unexpected <Nom> in <Domaine>", id="foreign field"),
        pytest.param(document(entry(more="<Nom>b.fr</Nom>")), "<Nom> stands twice in <Domaine> number 1", id="twice"),
        pytest.param(document(entry("a.fr<b/>")), "<Nom> of <Domaine> number 1", id="markup in a text"),
        pytest.param(
            document(entry().replace("<Nom>chu.mssante.fr</Nom>", "")), "<Nom> is missing in <Domaine>", id="no name"
        ),
        pytest.param(
            document(entry()).replace(b"DateDeGeneration", b"Date"),
            "unexpected <Date> in <ListeBlancheMSSante>",
            id="unknown date",
        ),
        pytest.param(
            document(entry()).replace(b"<DateDeGeneration>2025-03-13T14:54:10Z</DateDeGeneration>", b""),
            "<DateDeGeneration> is missing",
            id="no date",
        ),
        pytest.param(
            document(entry(more="<a>" * 10 + "</a>" * 10)), "nested deeper than the limit", id="too deep"
        ),
        pytest.param(document(entry(), generated="2026-11-23T12:00:01Z"), "dated in the future", id="ahead"),
    ],
)  # fmt: skip
def test_what_refuses_the_whole_list(octets: bytes, reason: str) -> None:
    with pytest.raises(Malformed) as refused:
        parse(octets)
    assert reason in str(refused.value)


def test_a_list_may_be_a_day_ahead_of_our_clock() -> None:
    ahead = parse(document(entry(), generated="2026-11-23T12:00:00Z"))
    assert ahead.generated_at == NOW + timedelta(days=1)


def test_the_size_of_a_list_is_limited() -> None:
    octets = document(entry())
    for max_octets in (len(octets), len(octets) + 1):
        assert len(parse(octets, max_octets=max_octets).domains) == 1
    for end in ("</ListeBlancheMSSante>", ""):
        octets = document(entry(), end=end)
        with pytest.raises(Malformed, match="larger than the limit"):
            parse(octets, max_octets=len(octets) - 1)


def test_refusals_repeat_nothing_that_the_list_holds() -> None:
    for octets in (document(entry("someone@secret.fr")), document(entry(dn="secret")), document(entry(date="secret"))):
        with pytest.raises(Malformed) as refused:
            parse(octets)
        assert "secret" not in str(refused.value)


@given(st.binary(max_size=300), st.integers(0, 600))
def test_garbage_inside_a_list_is_malformed_or_changes_nothing_else(garbage: bytes, at: int) -> None:
    octets = document(entry())
    try:
        found = parse(octets[:at] + garbage + octets[at:])
    except Malformed:
        return
    assert len(found.domains) == 1


@given(st.integers(0, len(document(entry(), entry("b.fr", REGION))) - 1))
def test_no_prefix_of_a_list_is_a_list(length: int) -> None:
    with pytest.raises(Malformed):
        parse(document(entry(), entry("b.fr", REGION))[:length])


# Replacing


@pytest.mark.parametrize(
    ("gone", "share", "refused"),
    [(0, 0.2, 0), (2, 0.2, 0), (3, 0.2, 1), (10, 1.0, 0), (1, 0.0, 1), (0, 0.0, 0)],
)  # fmt: skip
def test_a_list_that_shrank_too_much_is_not_taken(gone: int, share: float, refused: int) -> None:
    names = [f"d{n}.fr" for n in range(10)]
    # New domains do not hide that others are gone.
    new = listed(*names[gone:], *(f"new{n}.fr" for n in range(10)))
    reason = trustlist.check_replacement(listed(*names), new, share)
    assert (reason is not None) is bool(refused)
    if reason:
        assert f"{gone} of 10 domains would be gone at once" in reason


@pytest.mark.parametrize(("seconds", "refused"), [(-1, True), (0, False), (1, False)])
def test_an_older_list_is_not_taken(seconds: int, refused: bool) -> None:
    new = listed("a.fr", at=NOW + timedelta(seconds=seconds))
    reason = trustlist.check_replacement(listed("a.fr"), new, 0.2)
    assert (reason is not None) is refused
    assert reason is None or "is older than" in reason


def test_the_first_list_replaces_nothing() -> None:
    assert trustlist.check_replacement(None, listed("a.fr"), 0.0) is None


# Writing

values = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
kinds = st.sampled_from(["OU", "O", "L", "ST", "C", "SERIALNUMBER", "1.2.250.1.71"])
names = st.builds(
    lambda cn, more: DN.of([("CN", cn), *more]), values, st.lists(st.tuples(kinds, values), max_size=4)
).filter(lambda dn: all(value for _, value in dn.attributes))
labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
domains = st.builds(lambda *parts: Domain(".".join(parts)), labels, labels)


@given(st.dictionaries(domains, st.frozensets(names, min_size=1, max_size=3), min_size=1, max_size=4))
def test_what_is_written_is_read_the_same(written: dict[Domain, frozenset[DN]]) -> None:
    original = TrustList(NOW, written, NOW)
    assert parse(trustlist.render(original)) == original


def test_a_name_is_written_in_the_order_of_certificates() -> None:
    assert trustlist.written_dn(DN.parse("C=FR,O=A\\, B,1.2.3=x,CN=#1")) == "CN=\\#1,O=a\\, b,C=fr,1.2.3=x"


# The published list

published = pytest.mark.skipif(not PUBLISHED.exists(), reason="the published list is not beside this checkout")


@published
def test_the_published_list_is_refused_as_it_was_found() -> None:
    with pytest.raises(Malformed, match="its closing tag </ListeBlancheMSSante> is missing"):
        parse(PUBLISHED.read_bytes())


@published
def test_the_published_list_is_read_once_its_tag_is_closed() -> None:
    found = parse(PUBLISHED.read_bytes() + b"</ListeBlancheMSSante>")
    assert len(found.domains) == 516
    assert len({subject for subjects in found.domains.values() for subject in subjects}) == 35
    assert sum(len(subjects) > 1 for subjects in found.domains.values()) == 75
    assert len(found.subjects_of(Domain("15-20.mssante.fr"))) == 5
    assert parse(trustlist.render(found)) == found
