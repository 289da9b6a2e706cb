"""Signing in by token and by certificate at submission and IMAP: real sockets, store, certificates and issuer."""

from __future__ import annotations

import asyncio
import ssl
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import OctKey

from mss.config import Limits
from mss.model.account import DelegationKind
from mss.model.party import BoxKind
from mss.model.peer import ClientCertificate
from mss.revocation import read_certificates
from mss.robots import dn_of, fingerprint_of
from mss.services import accounts, proofs
from tests.smtp.smtp_world import Talk
from tests.tokens.signing_world import (
    DESK,
    DOCTOR,
    OTHER_ROBOT,
    PASSWORD,
    ROBOT,
    Signing,
    b64,
    now,
    oauthbearer,
    signing,
    told,
    xoauth2,
)
from tests.tokens.tokens_world import claims, ec, rsa, signed

pytestmark = pytest.mark.journey

SIGNED_IN = "235 2.7.0 Signed in"
REFUSED = "535 5.7.8 Authentication credentials invalid"
LATER = "454 4.7.0 Cannot sign in now, try again later"


async def by_smtp(house: Signing, words: bytes, certificate: str = "") -> str:
    """Sign in at submission; an error's challenge is answered with nothing."""
    async with house.smtp(certificate) as (talk, _):
        answer = await talk.say(b"AUTH " + words)
        return await talk.say(b"AQ==") if answer.startswith("334") else answer


async def ask(talk: Talk, words: bytes) -> str:
    """Send one IMAP command and return its tagged answer, without the tag and what is announced in it."""
    talk.writer.write(b"a " + words + b"\r\n")
    return await tagged(talk)


async def tagged(talk: Talk) -> str:
    while True:
        async with asyncio.timeout(30):
            line = (await talk.reader.readline()).decode().strip()
        if line.startswith("+") or not line:
            return line
        if line.startswith("a "):
            head, bracket, tail = line.removeprefix("a ").partition("[CAPABILITY")
            return head + tail.partition("] ")[2] if bracket else head


async def by_imap(house: Signing, words: bytes, certificate: str = "") -> str:
    async with house.imap(certificate) as (talk, _):
        answer = await ask(talk, b"AUTHENTICATE " + words)
        if not answer.startswith("+"):
            return answer
        talk.writer.write(b"\r\n")
        return await tagged(talk)


# -- what is offered ---------------------------------------------------------------------------------------------------


async def test_mechanisms_are_offered_only_where_they_can_work(house: Signing) -> None:
    async with house.smtp() as (_, offered):
        assert "AUTH PLAIN LOGIN OAUTHBEARER XOAUTH2" in offered
        assert "EXTERNAL" not in offered
    async with house.smtp("lab", implicit_tls=True) as (_, offered):
        assert "AUTH PLAIN LOGIN EXTERNAL OAUTHBEARER XOAUTH2" in offered
    async with house.imap() as (_, greeting):
        assert "AUTH=PLAIN AUTH=OAUTHBEARER AUTH=XOAUTH2]" in greeting
    async with house.imap("lab") as (_, greeting):
        assert "AUTH=PLAIN AUTH=EXTERNAL AUTH=OAUTHBEARER AUTH=XOAUTH2]" in greeting


async def test_nothing_is_offered_where_nothing_is_configured(authorities: Path, tmp_path: Path) -> None:
    async with signing(authorities, tmp_path / "operator", issuer="") as house:
        async with house.smtp() as (talk, offered):
            assert "AUTH PLAIN LOGIN" in offered
            assert "BEARER" not in offered
            for words in (b"OAUTHBEARER", b"XOAUTH2 AA==", b"EXTERNAL ="):
                assert (await talk.say(b"AUTH " + words)).startswith("504")
        assert await by_imap(house, b"XOAUTH2 AA==") == "NO [CANNOT] Unsupported mechanism"
        assert await by_imap(house, b"EXTERNAL =") == "NO [CANNOT] Unsupported mechanism"


async def test_no_mechanism_before_tls(house: Signing) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", house.ports["submission"])
    talk = Talk(reader, writer)
    await talk.reply()
    assert "AUTH" not in await talk.say(b"EHLO client.example")
    assert (await talk.say(b"AUTH XOAUTH2 " + xoauth2(house.issuer.token()))).startswith("530 5.7.0")
    writer.transport.abort()


# -- tokens ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [oauthbearer, xoauth2])
async def test_a_token_signs_in(house: Signing, wrap: Any) -> None:
    name = b"OAUTHBEARER " if wrap is oauthbearer else b"XOAUTH2 "
    assert await by_smtp(house, name + wrap(house.issuer.token(), DOCTOR)) == SIGNED_IN
    assert await by_imap(house, name + wrap(house.issuer.token(), DOCTOR)) == "OK Logged in"
    assert house.issuer.asked == 2
    [smtp, imap] = await house.journal("login.ok")
    assert smtp.event.actor == imap.event.actor == f"account:{house.people[DOCTOR].id}"
    assert smtp.event.facts["mechanism"] == "smtp-" + name.decode().strip().lower()


@pytest.mark.parametrize(("alg", "key"), [("RS256", rsa), ("PS256", rsa), ("ES256", ec)])
async def test_every_allowed_algorithm_signs_in(house: Signing, alg: str, key: Any) -> None:
    assert await by_smtp(house, b"XOAUTH2 " + xoauth2(house.issuer.token(key(), alg))) == SIGNED_IN


async def test_the_response_may_come_after_the_challenge(house: Signing) -> None:
    async with house.smtp() as (talk, _):
        assert await talk.say(b"AUTH XOAUTH2") == "334 "
        assert await talk.say(xoauth2(house.issuer.token(), DOCTOR)) == SIGNED_IN
    async with house.imap() as (talk, _):
        assert await ask(talk, b"AUTHENTICATE OAUTHBEARER") == "+"
        talk.writer.write(oauthbearer(house.issuer.token()) + b"\r\n")
        assert await tagged(talk) == "OK Logged in"


async def test_a_letter_goes_out_after_a_token(house: Signing) -> None:
    async with house.smtp() as (talk, _):
        assert await talk.say(b"AUTH XOAUTH2 " + xoauth2(house.issuer.token(), DOCTOR)) == SIGNED_IN
        for line in (b"MAIL FROM:<a@chu.example>", b"RCPT TO:<accueil@chu.example>", b"DATA"):
            assert (await talk.say(line))[0] in "23"
        assert (await talk.say(b"From: a@chu.example\r\n\r\nBonjour\r\n.")).startswith("250 2.0.0 Accepted")


async def test_the_334_error_json_comes_before_the_refusal(house: Signing) -> None:
    expired = house.issuer.token(exp=int(time.time()) - 60)
    async with house.smtp() as (talk, _):
        challenge = await talk.say(b"AUTH OAUTHBEARER " + oauthbearer(expired))
        assert told(challenge)["status"] == "invalid_token"
        assert told(challenge)["openid-configuration"] == house.issuer.url + "/.well-known/openid-configuration"
        assert await talk.say(b"AQ==") == REFUSED
        challenge = await talk.say(b"AUTH XOAUTH2 " + xoauth2(expired))
        assert told(challenge) == {"status": "401", "schemes": "bearer", "scope": "mail"}
        assert await talk.say(b"") == REFUSED
        await talk.say(b"AUTH XOAUTH2 " + xoauth2(expired))
        assert await talk.say(b"*") == "501 5.7.0 Authentication cancelled"
        assert await talk.say(b"AUTH XOAUTH2 " + xoauth2(house.issuer.token())) == SIGNED_IN
    async with house.imap() as (talk, _):
        assert told(await ask(talk, b"AUTHENTICATE XOAUTH2 " + xoauth2(expired)))["status"] == "401"
        talk.writer.write(b"\r\n")
        assert await tagged(talk) == "NO [AUTHENTICATIONFAILED] Wrong user name or password"


async def test_asking_what_is_wanted_with_an_empty_token(house: Signing) -> None:
    """RFC 7628 §4.3: a client without a token learns where to get one."""
    async with house.smtp() as (talk, _):
        challenge = await talk.say(b"AUTH OAUTHBEARER " + b64(b"n,,\x01auth=\x01\x01"))
        assert told(challenge)["openid-configuration"].startswith(house.issuer.url)
        assert await talk.say(b"AQ==") == REFUSED


def forged(house: Signing) -> dict[str, bytes]:
    """Return bad tokens by the reason that the journal gives."""
    at, issuer = int(time.time()), house.issuer
    secret = rsa().as_pem(private=False)
    good = {"iss": issuer.url, "preferred_username": DOCTOR, "iat": at, "nbf": at, "exp": at + 240}
    none = b64encode(b'{"alg":"none"}').rstrip(b"=") + b".e30."
    return {
        "token-issuer": issuer.token(iss="https://other.example"),
        "token-expired": issuer.token(exp=at - 60),
        "token-not-yet": issuer.token(nbf=at + 120),
        "token-audience": issuer.token(aud="other"),
        "token-algorithm": none,
        "token-signature": signed(claims(**good), rsa("r2"), kid="r1"),
        "token-unknown-key": signed(claims(**good), rsa("r2")),
        "token-malformed": b"garbage",
        "nobody": issuer.token(preferred_username="stranger@chu.example"),
        "token-algorithm/hs256": signed(claims(**good), OctKey(secret, secret), alg="HS256", kid="r1"),
    }


@pytest.mark.parametrize(
    "reason",
    [
        "token-issuer", "token-expired", "token-not-yet", "token-audience", "token-algorithm", "token-signature",
        "token-unknown-key", "token-malformed", "nobody", "token-algorithm/hs256",
    ],
)  # fmt: skip
async def test_a_bad_token_is_refused_and_the_journal_says_why(house: Signing, reason: str) -> None:
    token = forged(house)[reason]
    assert await by_smtp(house, b"XOAUTH2 " + xoauth2(token, DOCTOR)) == REFUSED
    assert await by_imap(house, b"XOAUTH2 " + xoauth2(token, DOCTOR)) == (
        "NO [AUTHENTICATIONFAILED] Wrong user name or password"
    )
    found = [record.event for record in await house.journal("login.failed")]
    assert [event.facts["reason"] for event in found] == [reason.partition("/")[0]] * 2
    assert not any(DOCTOR in str(event) for event in found)


async def test_a_token_used_twice_is_refused_where_each_counts_once(authorities: Path, tmp_path: Path) -> None:
    async with signing(authorities, tmp_path / "operator", single_use=True) as house:
        token = house.issuer.token(jti="once")
        assert await by_smtp(house, b"XOAUTH2 " + xoauth2(token)) == SIGNED_IN
        assert await by_smtp(house, b"OAUTHBEARER " + oauthbearer(token)) == REFUSED
        assert (await by_imap(house, b"XOAUTH2 " + xoauth2(token))).startswith("NO")
        assert [r.event.facts["reason"] for r in await house.journal("login.failed")] == ["token-replayed"] * 2
        assert await by_smtp(house, b"XOAUTH2 " + xoauth2(house.issuer.token(jti="other"))) == SIGNED_IN


async def test_a_token_may_open_several_connections_otherwise(house: Signing) -> None:
    token = house.issuer.token(jti="many")
    assert [await by_smtp(house, b"XOAUTH2 " + xoauth2(token)) for _ in range(3)] == [SIGNED_IN] * 3


async def test_a_rotated_key_signs_in_at_once(authorities: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("mss.tokens.issuer.REFRESH_MIN_S", 0)
    async with signing(authorities, tmp_path / "operator") as house:
        assert await by_smtp(house, b"XOAUTH2 " + xoauth2(house.issuer.token())) == SIGNED_IN
        house.issuer.keys = (rsa("r2"),)
        assert await by_smtp(house, b"XOAUTH2 " + xoauth2(house.issuer.token(rsa("r2")))) == SIGNED_IN
        assert await by_smtp(house, b"XOAUTH2 " + xoauth2(house.issuer.token(ec(), "ES256"))) == REFUSED


async def test_an_issuer_that_is_down_is_temporary_and_cached_keys_go_on(house: Signing) -> None:
    house.issuer.down = True
    assert await by_smtp(house, b"XOAUTH2 " + xoauth2(house.issuer.token())) == LATER
    assert (await by_imap(house, b"XOAUTH2 " + xoauth2(house.issuer.token()))).startswith("NO [UNAVAILABLE]")


async def test_cached_keys_go_on_while_the_issuer_is_down(house: Signing) -> None:
    assert await by_smtp(house, b"XOAUTH2 " + xoauth2(house.issuer.token())) == SIGNED_IN
    house.issuer.down = True
    assert await by_smtp(house, b"XOAUTH2 " + xoauth2(house.issuer.token())) == SIGNED_IN


async def test_an_account_is_found_by_the_name_that_was_bound(authorities: Path, tmp_path: Path) -> None:
    async with signing(authorities, tmp_path / "operator", claim="sub", account_by="subject") as house:
        token = xoauth2(house.issuer.token(sub="899700218896"))
        assert await by_smtp(house, b"XOAUTH2 " + token) == REFUSED
        doctor = house.people[DOCTOR].id
        await house.store.write(proofs.bind_subject, doctor, house.issuer.url, "899700218896", "t", now())
        assert await by_smtp(house, b"XOAUTH2 " + token) == SIGNED_IN
        assert await by_smtp(house, b"XOAUTH2 " + xoauth2(house.issuer.token(sub=DOCTOR))) == REFUSED
        await house.store.write(proofs.unbind_subject, doctor, house.issuer.url, "899700218896", "t", now())
        assert await by_smtp(house, b"XOAUTH2 " + token) == REFUSED


@pytest.mark.parametrize(
    ("name", "smtp", "imap"),
    [
        ("", "235", "OK"),
        (DOCTOR.upper(), "235", "OK"),
        (DESK, "235", "OK"),
        (ROBOT, "535", "NO"),
        ("nobody@chu.example", "535", "NO"),
    ],
)
async def test_a_token_s_user_may_name_a_box_that_it_acts_for(house: Signing, name: str, smtp: str, imap: str) -> None:
    """ORG boxes are reached through nominative accounts: mail programs give the box's address as the user."""
    words = b"XOAUTH2 " + xoauth2(house.issuer.token(), name)
    assert (await by_smtp(house, words)).startswith(smtp)
    assert (await by_imap(house, words)).startswith(imap)


async def test_disabled_and_patient_accounts_do_not_come_in(house: Signing) -> None:
    await house.person("b@chu.example", BoxKind.PER)
    await house.store.write(lambda uow: uow.accounts._update(house.people["b@chu.example"].id, enabled=False))
    token = house.issuer.token(preferred_username="b@chu.example")
    assert await by_smtp(house, b"XOAUTH2 " + xoauth2(token)) == REFUSED
    await house.store.write(lambda uow: uow.accounts._update(house.people[DOCTOR].id, kind="patient"))
    assert await by_smtp(house, b"XOAUTH2 " + xoauth2(house.issuer.token())) == REFUSED
    assert await by_imap(house, b"XOAUTH2 " + xoauth2(house.issuer.token())) == (
        "NO [AUTHORIZATIONFAILED] This account is for the web only"
    )


async def test_bad_tokens_slow_their_source_down_and_lock_nobody(authorities: Path, tmp_path: Path) -> None:
    limits = Limits(login_failures_per_source_max=3)
    async with signing(authorities, tmp_path / "operator", limits=limits) as house:
        for _ in range(3):
            assert await by_smtp(house, b"XOAUTH2 " + xoauth2(b"garbage", DOCTOR)) == REFUSED
        assert await by_smtp(house, b"XOAUTH2 " + xoauth2(house.issuer.token())) == LATER
        known = await house.store.read(accounts.credentials, DOCTOR, "127.0.0.1", Limits(login_failures_max=1), now())
        assert known.locked_until is None


@pytest.mark.parametrize("words", [b"OAUTHBEARER !!!!", b"XOAUTH2 AAA", b"OAUTHBEARER AAAA", b"XOAUTH2 ="])
async def test_what_is_no_response_is_a_bad_command(house: Signing, words: bytes) -> None:
    assert (await by_smtp(house, words)).startswith("501")
    assert (await by_imap(house, words)).startswith("BAD")


# -- certificates ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [("subject",), ("fingerprint",), ("subject", "fingerprint")])
async def test_a_bound_certificate_signs_a_robot_in(house: Signing, by: tuple[str, ...]) -> None:
    await house.bind(ROBOT, "lab", by=by)
    assert await by_smtp(house, b"EXTERNAL =", "lab") == SIGNED_IN
    assert await by_smtp(house, b"EXTERNAL " + b64(ROBOT.encode()), "lab") == SIGNED_IN
    assert await by_imap(house, b"EXTERNAL =", "lab") == "OK Logged in"
    # Another certificate of the same subject is another fingerprint.
    assert (await by_smtp(house, b"EXTERNAL =", "lab2")) == (SIGNED_IN if by == ("subject",) else REFUSED)


async def test_without_initial_response_an_empty_line_is_enough(house: Signing) -> None:
    await house.bind(ROBOT, "lab")
    async with house.smtp("lab") as (talk, _):
        assert await talk.say(b"AUTH EXTERNAL") == "334 "
        assert await talk.say(b"") == SIGNED_IN
    assert await by_imap(house, b"EXTERNAL", "lab") == "OK Logged in"


async def test_an_unbound_certificate_signs_nobody_in(house: Signing) -> None:
    await house.bind(ROBOT, "lab")
    assert await by_smtp(house, b"EXTERNAL =", "unbound") == REFUSED
    assert await by_smtp(house, b"EXTERNAL " + b64(ROBOT.encode()), "unbound") == REFUSED
    assert [r.event.facts["reason"] for r in await house.journal("login.failed")] == ["nobody"] * 2


async def test_a_revoked_certificate_signs_nobody_in(house: Signing) -> None:
    await house.bind(ROBOT, "revoked")
    assert await by_smtp(house, b"EXTERNAL =", "revoked") == REFUSED
    assert [r.event.facts["reason"] for r in await house.journal("login.failed")] == ["certificate-revoked"]


async def test_without_a_revocation_list_nobody_can_say_and_the_robot_comes_back(
    authorities: Path, tmp_path: Path
) -> None:
    async with signing(authorities, tmp_path / "operator", crl=False) as house:
        await house.bind(ROBOT, "lab")
        assert await by_smtp(house, b"EXTERNAL =", "lab") == LATER


@pytest.mark.parametrize("certificate", ["foreign", "expired"])
async def test_a_certificate_of_nobody_or_of_the_past_ends_the_handshake(house: Signing, certificate: str) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        async with house.smtp(certificate) as (_, offered):
            assert "AUTH" in offered


async def test_one_certificate_may_serve_several_robots_that_say_who_they_are(house: Signing) -> None:
    await house.bind(ROBOT, "lab")
    await house.bind(OTHER_ROBOT, "lab")
    assert await by_smtp(house, b"EXTERNAL =", "lab") == REFUSED
    for robot in (ROBOT, OTHER_ROBOT):
        assert await by_smtp(house, b"EXTERNAL " + b64(robot.encode()), "lab") == SIGNED_IN
    assert await by_smtp(house, b"EXTERNAL " + b64(DOCTOR.encode()), "lab") == REFUSED
    who = [record.event.actor for record in await house.journal("login.ok")]
    assert who == [f"account:{house.people[robot].id}" for robot in (ROBOT, OTHER_ROBOT)]


async def test_only_robots_sign_in_by_certificate(house: Signing) -> None:
    await house.bind(DOCTOR, "lab")
    assert await by_smtp(house, b"EXTERNAL =", "lab") == REFUSED


async def test_a_robot_sends_and_reads_for_boxes_that_it_acts_for_only(house: Signing) -> None:
    await house.bind(ROBOT, "lab")
    await house.delegate(ROBOT, DESK, DelegationKind.MEMBER)
    assert await by_smtp(house, b"EXTERNAL " + b64(DESK.encode()), "lab") == SIGNED_IN
    assert await by_imap(house, b"EXTERNAL " + b64(DESK.encode()), "lab") == "OK Logged in"
    assert await by_smtp(house, b"EXTERNAL " + b64(DOCTOR.encode()), "lab") == REFUSED
    assert (await by_imap(house, b"EXTERNAL " + b64(DOCTOR.encode()), "lab")).startswith("NO")


async def test_a_certificate_does_not_keep_a_password_out(house: Signing) -> None:
    plain = b64(f"\0{DOCTOR}\0{PASSWORD}".encode())
    assert await by_smtp(house, b"PLAIN " + plain, "unbound") == SIGNED_IN


async def test_an_unbound_certificate_after_removal(house: Signing) -> None:
    await house.bind(ROBOT, "lab")
    [binding] = await house.store.read(proofs.certificates_of, house.people[ROBOT].id, now())
    assert await house.store.write(proofs.unbind_certificate, house.people[ROBOT].id, binding.id, "t", now())
    assert await by_smtp(house, b"EXTERNAL =", "lab") == REFUSED


async def test_a_token_bound_to_a_certificate_works_with_that_certificate_only(house: Signing) -> None:
    [leaf, *_] = read_certificates(house.root / "lab" / "operator.pem")
    thumbprint = ClientCertificate(dn_of(leaf), fingerprint_of(leaf)).thumbprint
    token = house.issuer.token(cnf={"x5t#S256": thumbprint})
    assert await by_smtp(house, b"XOAUTH2 " + xoauth2(token), "lab") == SIGNED_IN
    assert await by_smtp(house, b"XOAUTH2 " + xoauth2(token)) == REFUSED
    assert await by_smtp(house, b"XOAUTH2 " + xoauth2(token), "unbound") == REFUSED
