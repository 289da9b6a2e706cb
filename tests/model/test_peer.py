"""Distinguished names compare by attributes; the trust list answers both ways."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.errors import Malformed
from mss.model.address import Domain
from mss.model.peer import DN, ClientCertificate, ListChange, Operator, Peer, TrustList, changes

REAL = "CN=medimail-asip.mipih.fr,OU=318310021300028,O=GIP MIPIH,ST=Haute-Garonne (31),C=FR"
NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        REAL,
        "C=FR, ST=Haute-Garonne (31), O=GIP MIPIH, OU=318310021300028, CN=medimail-asip.mipih.fr",
        "cn=Medimail-ASIP.mipih.fr;ou=318310021300028;o=gip  mipih;st=haute-garonne (31);c=fr",
        "commonName=medimail-asip.mipih.fr + OU=318310021300028,O = GIP MIPIH ,S=Haute-Garonne (31),C=FR",
        "2.5.4.3=medimail-asip.mipih.fr,OU=318310021300028,oid.2.5.4.10=GIP MIPIH,S=Haute-Garonne (31),OID.2.5.4.6=FR",
        'CN=medimail-asip.mipih.fr,OU=318310021300028,O="GIP MIPIH",ST=Haute\\-Garonne \\2831\\29,C=FR,',
    ],
)
def test_one_subject_has_many_spellings(text: str) -> None:
    assert DN.parse(text) == DN.parse(REAL)
    assert hash(DN.parse(text)) == hash(DN.parse(REAL))


@pytest.mark.parametrize(
    "text",
    [
        "CN=medimail-asip.mipih.fr,OU=318310021300028,O=GIP MIPIH,ST=Haute-Garonne (31)",
        "CN=medimail-asip.mipih.fr,OU=318310021300029,O=GIP MIPIH,ST=Haute-Garonne (31),C=FR",
        REAL + ",O=GIP MIPIH",
        REAL + ",L=Toulouse",
        REAL.replace("O=GIP MIPIH", "O=GIPMIPIH"),
        REAL.replace("OU=318310021300028", "OU=318310021300028\\,O=x"),
    ],
)
def test_another_subject_is_another(text: str) -> None:
    assert DN.parse(text) != DN.parse(REAL)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"O=Centre\, Nord", "centre, nord"),
        (r'O="Centre, Nord"', "centre, nord"),
        (r"O=Bouches-du-Rh\C3\B4ne", "bouches-du-rhône"),
        ("O=Bouches-du-Rho\u0302ne", "bouches-du-rhône"),
        ("O=BOUCHES-DU-RHÔNE", "bouches-du-rhône"),
        (r"O=a\+b", "a+b"),
        (r"O=a\ ", "a"),
        (r"O=\ a", "a"),
        (r"O=a\\", "a\\"),
        ("O=a=b", "a=b"),
        ("O=", ""),
        ("O=a\u00a0\t b", "a b"),
        ('O="', '"'),
        ("O=a\\", "a\\"),
        ("O=#0C03616263", "abc"),
        ("O= #0c0452c3b46e ", "rôn"),
        ("O=#1302616B", "ak"),
        ("O=#1E0400610062", "ab"),
        ("O=#0C04616263", "#0c04616263"),
        ("O=#0C02FFFE", "#0c02fffe"),
        ("O=#0202616B", "#0202616b"),
        ("O=#0C", "#0c"),
        ("O=#1 rue", "#1 rue"),
        (r"O=\#0C03616263", "#0c03616263"),
        ('O="#0C03616263"', "#0c03616263"),
    ],
)
def test_values_are_unescaped_and_normalised(text: str, value: str) -> None:
    assert DN.parse(text).attributes == (("O", value),)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("CN=a+OU=b,O=c", "O=c,CN=a,OU=b", True),
        ("OU=b + CN=a,O=c", "CN=a+OU=b+O=c", True),
        ("CN=a,OU=x,OU=y", "OU=y,CN=a,OU=x", True),
        ("CN=a,OU=x,OU=x", "CN=a,OU=x", False),
        (r"CN=a\+OU=b,O=c", "CN=a+OU=b,O=c", False),
        ("CN=a,O=b", "CN=b,O=a", False),
        ("CN=a;O=b", "CN=a,O=b", True),
    ],
)
def test_attributes_compare_as_a_set_whatever_the_rdns(one: str, other: str, same: bool) -> None:
    assert (DN.parse(one) == DN.parse(other)) is same


@pytest.mark.parametrize("text", ["", " ", ",", "CHU", "=CHU", "CN", "CN=a,CHU", "C N=a", "2.5.=a", "é=a"])
def test_what_is_no_name_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        DN.parse(text)


def test_a_name_of_pairs_is_the_name_of_the_text() -> None:
    pairs = [
        ("countryName", "FR"),
        ("2.5.4.10", "CHU  de Clermont"),
        ("CN", "MX.chu.fr"),
        ("oid.2.5.4.11", "1630013605"),
    ]
    assert DN.of(pairs) == DN.parse("CN=mx.chu.fr,OU=1630013605,O=CHU de Clermont,C=FR")


_values = st.one_of(st.text(max_size=12), st.text(',;+"\\<>=# aé', max_size=8))
_types = st.sampled_from(["CN", "OU", "O", "ST", "C", "L", "1.2.3.4", "SERIALNUMBER"])


@given(st.lists(st.tuples(_types, _values), min_size=1, max_size=5))
def test_the_text_of_a_name_reads_back(pairs: list[tuple[str, str]]) -> None:
    name = DN.of([(kind, value.encode("utf-8", "replace").decode()) for kind, value in pairs])
    assert DN.parse(str(name)) == name
    assert DN.of(list(name.attributes)) == name


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_garbage_is_malformed_or_a_name(text: str) -> None:
    try:
        name = DN.parse(text)
    except Malformed:
        return
    assert DN.parse(str(name)) == name


def test_a_lone_surrogate_is_a_name_like_another() -> None:
    assert DN.parse("O=\ud800").attributes == (("O", "?"),)


CHU, CLINIC, REGION = Domain("chu.fr"), Domain("clinic.fr"), Domain("region.fr")
ONE, TWO = DN.parse("CN=one"), DN.parse("CN=two")


def test_a_trust_list_answers_by_domain_and_by_subject() -> None:
    listed = TrustList(NOW, {CHU: frozenset({ONE, TWO}), CLINIC: frozenset({ONE}), REGION: frozenset()}, NOW)
    assert listed.subjects_of(CHU) == {ONE, TWO}
    assert listed.subjects_of(REGION) == listed.subjects_of(Domain("x.fr")) == frozenset()
    assert listed.domains_of(ONE) == {CHU, CLINIC}
    assert listed.domains_of(TWO) == {CHU}
    assert listed.domains_of(DN.parse("CN=three")) == frozenset()
    assert listed == TrustList(NOW, dict(listed.domains), NOW)
    assert "by_subject" not in repr(listed)


@given(
    st.dictionaries(
        st.sampled_from([CHU, CLINIC, REGION]), st.frozensets(st.sampled_from([ONE, TWO, DN.parse("CN=three")]))
    )
)
def test_both_answers_of_a_trust_list_agree(domains: dict[Domain, frozenset[DN]]) -> None:
    listed = TrustList(NOW, domains, NOW)
    for subject in (ONE, TWO):
        assert listed.domains_of(subject) == {name for name in domains if subject in listed.subjects_of(name)}


def test_a_peer_is_good_unless_told_otherwise() -> None:
    assert Peer(ONE, "one", "01", "127.0.0.1").revocation == "good"
    assert Operator(CHU, "CHU", frozenset({ONE})).subjects == {ONE}


def test_what_became_of_each_domain_between_two_lists() -> None:
    three = DN.parse("CN=three")
    old = TrustList(NOW, {CHU: frozenset({ONE, TWO}), CLINIC: frozenset({ONE}), REGION: frozenset({TWO})}, NOW)
    new = TrustList(
        NOW, {CHU: frozenset({TWO, three}), REGION: frozenset({TWO}), Domain("a.fr"): frozenset({ONE})}, NOW
    )
    assert changes(old, new) == (
        ListChange(Domain("a.fr"), frozenset(), frozenset({ONE})),
        ListChange(CHU, frozenset({ONE}), frozenset({three})),
        ListChange(CLINIC, frozenset({ONE}), frozenset()),
    )
    assert changes(old, old) == ()


def test_a_thumbprint_is_the_fingerprint_as_tokens_write_it() -> None:
    # The confirmation of RFC 8705, §3.1, from its octets.
    fingerprint = "03021dfb9a3a2e6a4df73a4b2f2a9a1f6c5b4d3e2f1a0b9c8d7e6f5a4b3c2d1e"
    shown = ClientCertificate(DN.of([("2.5.4.3", "robot")]), fingerprint)
    assert shown.thumbprint == "AwId-5o6LmpN9zpLLyqaH2xbTT4vGgucjX5vWks8LR4"
    assert len(shown.thumbprint) == 43
