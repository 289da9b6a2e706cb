"""What a responder may say, who may sign it, how long it counts; and what a responder costs that says nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp as protocol
from hypothesis import given
from hypothesis import strategies as st

from mss import ocsp, pki, tls
from mss.errors import Malformed
from mss.model.peer import Peer
from mss.tls import TlsMaterial
from tests.certs.responder import (
    FOR_OCSP,
    FOR_SERVERS,
    GOOD,
    REVOKED,
    UNKNOWN,
    Responder,
    Signer,
    leaf_of,
    named,
    response,
    signer_of,
)
from tests.certs.world import HOSPITAL, HOUR, NOW, REGION, World, leaf_der, make_world
from tests.support.web import Web, web

SECOND = timedelta(seconds=1)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@dataclass
class Case:
    leaf: x509.Certificate
    issuer: Signer
    root: Signer

    def read(self, octets: bytes, now: datetime = NOW, **more: Any) -> ocsp.Answer:
        return ocsp.read(octets, self.leaf, self.issuer[0], now, **more)

    def said(self, **more: Any) -> bytes:
        return response(self.leaf, self.issuer[0], more.pop("signer", self.issuer), **more)


@pytest.fixture
def case(world: World) -> Case:
    return Case(
        leaf_of(world.root / "gip" / "operator.pem"), signer_of(world.authority), signer_of(world.authority, "root")
    )


# What an answer says


@pytest.mark.parametrize(("status", "said"), [(GOOD, "good"), (REVOKED, "revoked"), (UNKNOWN, "unknown")])
def test_the_issuer_answers(case: Case, status: protocol.OCSPCertStatus, said: str) -> None:
    ends = NOW.replace(microsecond=0) + HOUR
    assert case.read(case.said(status=status, ends=ends)) == ocsp.Answer(said, ends)  # type: ignore[arg-type]


@pytest.mark.parametrize("name_hash", [hashes.SHA1(), hashes.SHA256(), hashes.SHA384()])
def test_certificates_are_named_by_any_hash(case: Case, name_hash: hashes.HashAlgorithm) -> None:
    assert case.read(case.said(name_hash=name_hash)).status == "good"


@pytest.mark.parametrize(
    ("begins", "ends", "reason"),
    [
        (-HOUR, HOUR, None),
        (ocsp.SKEW, HOUR, None),
        (ocsp.SKEW + SECOND, HOUR, "not valid yet"),
        (-2 * HOUR, -ocsp.SKEW, None),
        (-2 * HOUR, -ocsp.SKEW - SECOND, "out of date"),
        (-HOUR, None, None),
        (timedelta(days=-7), None, None),
        (timedelta(days=-7) - SECOND, None, "out of date"),
    ],
)
def test_answers_have_dates(case: Case, begins: timedelta, ends: timedelta | None, reason: str | None) -> None:
    now = NOW.replace(microsecond=0)
    octets = case.said(begins=now + begins, ends=None if ends is None else now + ends)
    if reason is None:
        assert case.read(octets, now).status == "good"
    else:
        with pytest.raises(Malformed, match=reason):
            case.read(octets, now)


def test_an_answer_counts_until_its_end_and_for_a_week_at_most(case: Case) -> None:
    now = NOW.replace(microsecond=0)
    assert case.read(case.said(ends=now + timedelta(days=6)), now).until == now + timedelta(days=6)
    assert case.read(case.said(ends=now + timedelta(days=60)), now).until == now + timedelta(days=7)
    assert case.read(case.said(ends=None), now).until == now + timedelta(minutes=5)


def test_an_answer_about_another_certificate_does_not_count(world: World, case: Case) -> None:
    other = leaf_of(world.root / "chu" / "operator.pem")
    with pytest.raises(Malformed, match="about another certificate"):
        case.read(response(other, case.issuer[0], case.issuer))
    foreign = signer_of(world.foreign)
    with pytest.raises(Malformed, match="about another certificate"):
        case.read(response(case.leaf, foreign[0], case.issuer))


# Who may sign it


@pytest.mark.parametrize(
    ("extensions", "days", "fine"),
    [
        ((FOR_OCSP,), 30, True),
        ((FOR_OCSP, x509.OCSPNoCheck()), 30, True),
        ((FOR_OCSP,), -1, False),
        ((FOR_SERVERS,), 30, False),
        ((), 30, False),
    ],
)
def test_a_responder_that_the_issuer_named_answers(
    case: Case, extensions: tuple[x509.ExtensionType, ...], days: int, fine: bool
) -> None:
    signer = named(case.issuer, *extensions, days=days)
    octets = case.said(signer=signer, certificates=[signer[0]])
    if fine:
        assert case.read(octets).status == "good"
    else:
        with pytest.raises(Malformed, match="not signed by the issuer"):
            case.read(octets)


@pytest.mark.parametrize(("exempted", "fine"), [(True, True), (False, False)])
def test_a_revoked_responder_does_not_count_unless_it_is_exempted(case: Case, exempted: bool, fine: bool) -> None:
    signer = named(case.issuer, FOR_OCSP, *((x509.OCSPNoCheck(),) if exempted else ()))
    octets = case.said(signer=signer, certificates=[signer[0]])
    if fine:
        assert case.read(octets, is_revoked=lambda _: True).status == "good"
    else:
        with pytest.raises(Malformed, match="own certificate is revoked"):
            case.read(octets, is_revoked=lambda _: True)


def test_nobody_else_may_sign(world: World, case: Case) -> None:
    strangers = [
        signer_of(world.foreign),
        case.root,
        named(signer_of(world.foreign), FOR_OCSP),
        named(case.root, FOR_OCSP),
    ]
    for signer in strangers:
        with pytest.raises(Malformed, match="not signed by the issuer"):
            case.read(case.said(signer=signer, certificates=[signer[0]]))
    # A named responder's certificate beside somebody else's signature proves nothing.
    honest = named(case.issuer, FOR_OCSP)
    with pytest.raises(Malformed, match="not signed by the issuer"):
        case.read(case.said(signer=strangers[0], certificates=[honest[0]]))


@pytest.mark.parametrize("status", [one for one in protocol.OCSPResponseStatus if one.name != "SUCCESSFUL"])
def test_an_error_of_the_responder_is_no_answer(case: Case, status: protocol.OCSPResponseStatus) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding

    octets = protocol.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER)
    with pytest.raises(Malformed, match="the responder says"):
        case.read(octets)


@given(cut=st.integers(0, 400), octet=st.integers(0, 255))
def test_a_damaged_answer_is_malformed(damaged: tuple[Case, bytes], cut: int, octet: int) -> None:
    case, whole = damaged
    place = cut % len(whole)
    broken = whole[:place] + bytes([octet]) + whole[place + 1 :]
    for octets in (whole[:place], broken):
        try:
            answer = case.read(octets)
        except Malformed:
            continue
        assert octets == whole or answer == case.read(whole)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, bytes]:
    made = make_world(tmp_path_factory.mktemp("damaged"))
    leaf, issuer = leaf_of(made.root / "gip" / "operator.pem"), signer_of(made.authority)
    case = Case(leaf, issuer, signer_of(made.authority, "root"))
    return case, case.said()


# What a certificate names, and what asking costs


def test_the_responder_that_a_certificate_names(world: World) -> None:
    assert ocsp.responder_of(leaf_of(world.root / "gip" / "operator.pem")) is None
    for url, found in (("http://ocsp.example/", "http://ocsp.example/"), ("ldap://ocsp.example/", None)):
        path, _ = pki.issue(world.root / "ocsp", world.authority, REGION, [], now=NOW, ocsp_url=url)
        assert ocsp.responder_of(leaf_of(path)) == found


@pytest.fixture
def served() -> Iterator[Web]:
    with web() as running:
        yield running


def asking(
    world: World, served: Web, mode: Literal["off", "soft", "hard"] = "soft", **tls_settings: Any
) -> TlsMaterial:
    """An operator whose peer `gip` names the responder."""
    pki.issue(world.root / "gip", world.authority, REGION, [], now=NOW, ocsp_url=served.url("/ocsp"))
    return TlsMaterial(world.config("chu", ocsp=mode, ocsp_timeout_s=1, **tls_settings))


def responding(world: World, served: Web) -> Responder:
    responder = Responder(world.authority, [leaf_of(world.root / "gip" / "operator.pem")])
    served.pages["/ocsp"] = responder
    return responder


async def met(world: World, material: TlsMaterial, now: datetime = NOW) -> Peer:
    return await material.met(leaf_der(world.root / "gip" / "operator.pem"), ip="::1", now=now)


@pytest.mark.journey
async def test_a_responder_s_no_comes_before_the_next_list(world: World, served: Web) -> None:
    material = asking(world, served)
    responder = responding(world, served)
    responder.revoked.add(responder.leaves[0].serial_number)
    assert material.peer(leaf_der(world.root / "gip" / "operator.pem"), ip="::1", now=NOW).revocation == "good"
    assert (await met(world, material)).revocation == "revoked"


@pytest.mark.journey
async def test_an_answer_is_remembered_until_it_ends(world: World, served: Web) -> None:
    material = asking(world, served)
    responder = responding(world, served)
    peers = await asyncio.gather(*(met(world, material) for _ in range(5)))
    assert {peer.revocation for peer in peers} == {"good"}
    assert served.count("/ocsp") == 1
    responder.revoked.add(responder.leaves[0].serial_number)
    end = NOW.replace(microsecond=0) + HOUR
    assert (await material.met_again(peers[0], end)).revocation == "good"
    assert served.count("/ocsp") == 1
    assert (await material.met_again(peers[0], end + SECOND)).revocation == "revoked"
    assert served.count("/ocsp") == 2


@pytest.mark.journey
@pytest.mark.parametrize(
    ("mode", "verdict", "asked"), [("soft", "good", 1), ("hard", "unknown", 1), ("off", "good", 0)]
)
@pytest.mark.parametrize("how", ["dead", "refusing", "lying"])
async def test_a_responder_that_says_nothing_costs_one_wait(
    world: World, served: Web, capfd: pytest.CaptureFixture[str], mode: Any, verdict: str, asked: int, how: str
) -> None:
    material = asking(world, served, mode)
    match how:
        case "dead":
            served.held.add("/ocsp")
        case "refusing":
            served.pages["/ocsp"] = 503
        case _:
            served.pages["/ocsp"] = b"nothing that counts"
    began = asyncio.get_running_loop().time()
    peers = await asyncio.gather(*(met(world, material) for _ in range(5)))
    assert asyncio.get_running_loop().time() - began < 30
    assert {peer.revocation for peer in peers} == {verdict}
    assert (await material.met_again(peers[0], NOW + 59 * SECOND)).revocation == verdict
    assert served.count("/ocsp") == asked
    assert (await material.met_again(peers[0], NOW + 61 * SECOND)).revocation == verdict
    assert served.count("/ocsp") == 2 * asked
    log = capfd.readouterr().err
    assert ("ocsp.no_answer" in log) is bool(asked)
    assert ("ocsp.soft_pass" in log) is (mode == "soft")


@pytest.mark.journey
async def test_a_wrong_answer_about_one_certificate_silences_nobody_else(world: World, served: Web) -> None:
    material = asking(world, served, "hard")
    honest = responding(world, served)
    pki.issue(world.root / "evil", world.authority, HOSPITAL, [], now=NOW, ocsp_url=served.url("/ocsp"))
    served.pages["/ocsp"] = lambda asked: (
        honest(asked) if protocol.load_der_ocsp_request(asked).serial_number == honest.leaves[0].serial_number else b"?"
    )
    evil = await material.met(leaf_der(world.root / "evil" / "operator.pem"), ip="::1", now=NOW)
    assert evil.revocation == "unknown"
    assert (await met(world, material)).revocation == "good"


@pytest.mark.journey
async def test_lists_that_say_no_or_nothing_are_not_overruled(world: World, served: Web) -> None:
    material = asking(world, served)
    responding(world, served)
    pki.revoke(world.authority, world.root / "gip" / "operator.pem", now=NOW)
    material.reload()
    assert (await met(world, material)).revocation == "revoked"
    assert (await met(world, material, NOW + timedelta(days=366))).revocation == "revoked"
    assert served.count("/ocsp") == 0


@pytest.mark.journey
@pytest.mark.parametrize(("octets", "verdict"), [(0, "good"), (1, "unknown")])
async def test_an_answer_has_a_limit(world: World, served: Web, octets: int, verdict: str) -> None:
    material = asking(world, served, "hard")
    honest = responding(world, served)
    size = len(honest(ocsp.question(honest.leaves[0], signer_of(world.authority)[0])))
    bounds = ocsp.Bounds(5, size - octets, 10)
    material._responders = ocsp.Responders(bounds)
    # Signatures on curves vary by an octet or two: the same answer is given each time.
    fixed = next(
        said
        for said in (honest(ocsp.question(honest.leaves[0], signer_of(world.authority)[0])) for _ in range(50))
        if len(said) == size
    )
    served.pages["/ocsp"] = fixed
    assert (await met(world, material)).revocation == verdict


@pytest.mark.journey
async def test_so_many_answers_are_remembered(world: World, served: Web) -> None:
    material = asking(world, served)
    responding(world, served)
    material._responders = ocsp.Responders(ocsp.Bounds(5, 10_000, 1))
    await met(world, material)
    pki.issue(world.root / "other", world.authority, HOSPITAL, [], now=NOW, ocsp_url=served.url("/other"))
    served.pages["/other"] = Responder(world.authority, [leaf_of(world.root / "other" / "operator.pem")])
    await material.met(leaf_der(world.root / "other" / "operator.pem"), ip="::1", now=NOW)
    await met(world, material)
    assert served.count("/ocsp") == 2


# Peers that are met again


async def test_a_certificate_that_ends_while_the_session_lasts_is_expired(world: World) -> None:
    material = TlsMaterial(world.config("chu"))
    peer = await met(world, material)
    assert await material.met_again(peer, NOW + HOUR) is peer
    end = NOW + timedelta(days=pki.LEAF_DAYS)
    pki.make_crl(world.authority, now=end, days=10)
    material.reload()
    assert (await material.met_again(peer, end - HOUR)).revocation == "good"
    assert (await material.met_again(peer, end + SECOND)).revocation == "expired"


async def test_a_list_read_while_the_session_lasts_counts(world: World) -> None:
    material = TlsMaterial(world.config("chu"))
    peer = await met(world, material)
    pki.revoke(world.authority, world.root / "gip" / "operator.pem", now=NOW)
    assert (await material.met_again(peer, NOW)).revocation == "good"
    material.reload()
    assert (await material.met_again(peer, NOW)).revocation == "revoked"


async def test_an_authority_taken_away_while_the_session_lasts_counts(world: World) -> None:
    ca_file = world.root / "ca.pem"
    ca_file.write_bytes(world.authority.ca_file.read_bytes())
    material = TlsMaterial(world.config("chu", ca_file=ca_file))
    peer = await met(world, material)
    ca_file.write_bytes(world.foreign.ca_file.read_bytes())
    material.reload(forced=True)
    assert (await material.met_again(peer, NOW)).revocation == "unknown"


def test_material_makes_its_fetching_context_once(world: World) -> None:
    material = TlsMaterial(world.config("chu"))
    assert material.fetching is material.fetching
    assert isinstance(tls.fetching_context(world.config("chu")), type(material.fetching))
