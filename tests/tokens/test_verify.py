"""Tokens: every reason not to take one, and the ones that are taken. No network, no clock of its own."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import OctKey

from mss.config import TokensConfig
from mss.errors import Malformed
from mss.tokens import jose, verify
from mss.tokens.verify import Fault, Token
from tests.tokens.tokens_world import CONFIG, DOCTOR, NOW, claims, ec, published, rsa, signed

KEYS = jose.keys_of(published(rsa(), ec()), 10)


def outcome(
    token: bytes, config: TokensConfig = CONFIG, *, keys: tuple[jose.Key, ...] = KEYS, thumbprint: str = ""
) -> Token | Fault:
    read = verify.read(token, 8192, config.algorithms)
    if isinstance(read, Fault):
        return read
    key = verify.key_for(read, keys)
    return Fault.UNKNOWN_KEY if key is None else verify.judge(read, key, config, thumbprint=thumbprint, now=NOW)


def b64(octets: bytes) -> bytes:
    return urlsafe_b64encode(octets).rstrip(b"=")


@pytest.mark.parametrize(
    ("token", "algorithm"),
    [(signed(), "RS256"), (signed(alg="PS256"), "PS256"), (signed(key=ec(), alg="ES256"), "ES256")],
    ids=["RS256", "PS256", "ES256"],
)
def test_a_good_token_names_its_account(token: bytes, algorithm: str) -> None:
    found = outcome(token)
    assert isinstance(found, Token)
    assert (found.subject, found.expires_at) == (DOCTOR, NOW.timestamp() + 240 + CONFIG.leeway_s)
    assert outcome(token, replace(CONFIG, algorithms=("ES384",))) is Fault.ALGORITHM


def test_a_token_without_signature_alg_none() -> None:
    header = b64(b'{"alg":"none","typ":"JWT"}')
    assert outcome(header + b"." + b64(json.dumps(claims()).encode()) + b".") is Fault.ALGORITHM
    for spelling in ("None", "NONE", "nOnE", ""):
        header = b64(json.dumps({"alg": spelling}).encode())
        assert outcome(header + b"." + b64(json.dumps(claims()).encode()) + b".") is Fault.ALGORITHM


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_a_token_signed_with_the_public_key_as_a_secret(algorithm: str) -> None:
    """The attack on libraries that let the token choose: the issuer's public key taken as an HMAC secret."""
    public = rsa().as_pem(private=False)
    forged = signed(key=OctKey(public, public), alg=algorithm, kid="r1")
    assert outcome(forged) is Fault.ALGORITHM


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"iss": "https://id.example/realms/other"}, Fault.ISSUER),
        ({"iss": "https://id.example/realms/staff/"}, Fault.ISSUER),
        ({"iss": None}, Fault.ISSUER),
        ({"iss": ["https://id.example/realms/staff"]}, Fault.ISSUER),
        ({"aud": "another"}, Fault.AUDIENCE),
        ({"aud": ["another", "third"]}, Fault.AUDIENCE),
        ({"aud": None}, Fault.AUDIENCE),
        ({"aud": {"mss": 1}}, Fault.AUDIENCE),
        ({"exp": None}, Fault.UNDATED),
        ({"exp": "tomorrow"}, Fault.UNDATED),
        ({"exp": True}, Fault.UNDATED),
        ({"exp": 10**400}, Fault.UNDATED),
        ({"nbf": "now"}, Fault.UNDATED),
        ({"preferred_username": None}, Fault.NAMELESS),
        ({"preferred_username": ""}, Fault.NAMELESS),
        ({"preferred_username": "  "}, Fault.NAMELESS),
        ({"preferred_username": 7}, Fault.NAMELESS),
        ({"preferred_username": "x" * 321}, Fault.NAMELESS),
        ({"cnf": {"x5t#S256": "abc"}}, Fault.BOUND),
        ({"cnf": {"jkt": "abc"}}, Fault.BOUND),
        ({"cnf": "abc"}, Fault.BOUND),
    ],
)
def test_what_a_token_claims_wrongly(changed: dict[str, Any], fault: Fault) -> None:
    assert outcome(signed(claims(**changed))) is fault


@pytest.mark.parametrize("literal", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_dates_that_are_no_numbers(literal: bytes) -> None:
    body = json.dumps(claims(exp=1)).encode().replace(b'"exp": 1', b'"exp": ' + literal)
    assert outcome(signed(body)) is Fault.UNDATED


@pytest.mark.parametrize(
    ("name", "offset_s", "fault"),
    [
        ("exp", -30, Fault.EXPIRED),
        ("exp", -29, None),
        ("exp", 1, None),
        ("nbf", 30, None),
        ("nbf", 31, Fault.NOT_YET),
        ("iat", 30, None),
        ("iat", 31, Fault.NOT_YET),
    ],
)
def test_dates_are_judged_with_leeway(name: str, offset_s: int, fault: Fault | None) -> None:
    found = outcome(signed(claims(**{name: int(NOW.timestamp()) + offset_s})))
    assert found is fault if fault else isinstance(found, Token)


def test_nbf_and_iat_may_be_missing() -> None:
    assert isinstance(outcome(signed(claims(nbf=None, iat=None))), Token)


def test_the_client_that_asked_must_be_a_known_one() -> None:
    config = replace(CONFIG, clients=("thunderbird",))
    assert outcome(signed(), config) is Fault.CLIENT
    assert outcome(signed(claims(azp="other")), config) is Fault.CLIENT
    assert outcome(signed(claims(azp="thunderbird", client_id="other")), config) is Fault.CLIENT
    assert isinstance(outcome(signed(claims(azp="thunderbird")), config), Token)
    assert isinstance(outcome(signed(claims(client_id="thunderbird")), config), Token)


def test_a_token_bound_to_a_certificate_counts_from_its_holder() -> None:
    token = signed(claims(cnf={"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}))
    assert isinstance(outcome(token, thumbprint="bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"), Token)
    assert outcome(token, thumbprint="another") is Fault.BOUND
    assert outcome(token) is Fault.BOUND


def test_an_email_counts_only_when_the_issuer_verified_it() -> None:
    config = replace(CONFIG, claim="email")
    assert outcome(signed(claims(email=DOCTOR)), config) is Fault.NAMELESS
    assert outcome(signed(claims(email=DOCTOR, email_verified="true")), config) is Fault.NAMELESS
    assert isinstance(outcome(signed(claims(email=DOCTOR, email_verified=True)), config), Token)


@pytest.mark.parametrize("kind", ["logout+jwt", "dpop+jwt", "secevent+jwt"])
def test_tokens_of_another_kind(kind: str) -> None:
    assert outcome(signed(typ=kind)) is Fault.KIND


@pytest.mark.parametrize("kind", ["JWT", "at+jwt", "application/at+jwt", ""])
def test_tokens_of_the_right_kind(kind: str) -> None:
    assert isinstance(outcome(signed(typ=kind)), Token)


def test_a_wrong_kid_is_an_unknown_key() -> None:
    assert outcome(signed(kid="nobody")) is Fault.UNKNOWN_KEY
    assert outcome(signed(kid="e1")) is Fault.UNKNOWN_KEY


def test_without_kid_only_one_key_can_be_meant() -> None:
    two = jose.keys_of(published(rsa(), rsa("r2")), 10)
    assert outcome(signed(kid=""), keys=two) is Fault.UNKNOWN_KEY
    assert isinstance(outcome(signed(kid="")), Token)


def test_another_key_of_the_same_name_proves_nothing() -> None:
    assert outcome(signed(key=rsa("r2"), kid="r1")) is Fault.SIGNATURE


def test_claims_changed_after_signing() -> None:
    header, _, signature = signed().split(b".")
    forged = b64(json.dumps(claims(preferred_username="chief@chu.example")).encode())
    assert outcome(b".".join((header, forged, signature))) is Fault.SIGNATURE
    assert outcome(b".".join((header, b64(b"[]"), signature))) is Fault.SIGNATURE
    assert outcome(b".".join((header, b64(json.dumps(claims()).encode()), b""))) is Fault.SIGNATURE


@pytest.mark.parametrize("body", [b"[]", b"7", b"not json", b"\xff", b"[" * 5000], ids=repr)
def test_claims_that_are_no_object(body: bytes) -> None:
    assert outcome(signed(body)) is Fault.MALFORMED


def test_a_critical_header_that_we_do_not_know() -> None:
    header = b64(json.dumps({"alg": "RS256", "kid": "r1", "crit": ["x"], "x": 1}).encode())
    _, body, signature = signed().split(b".")
    assert outcome(b".".join((header, body, signature))) is Fault.MALFORMED


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b".",
        b"..",
        b"a.b",
        b"a.b.c.d",
        b"!!.!!.!!",
        b64(b'{"kid":"r1"}') + b".e30.AA",
        b64(b"[]") + b".e30.AA",
        b64(b'{"alg":7}') + b".e30.AA",
        b64(b'{"alg":"RS256","kid":{}}') + b".e30.AA",
        b64(b"[" * 2900) + b".e30.AA",
        b"\xff.\xff.\xff",
    ],
)
def test_what_is_no_token(token: bytes) -> None:
    assert outcome(token) is Fault.MALFORMED


@pytest.mark.parametrize(("extra", "fault"), [(-1, None), (0, None), (1, Fault.TOO_LARGE)])
def test_a_token_has_a_largest_size(extra: int, fault: Fault | None) -> None:
    token = signed()
    found = verify.read(token, len(token) - extra, CONFIG.algorithms)
    assert found is fault if fault else not isinstance(found, Fault)


@given(st.binary(max_size=200) | st.lists(st.binary(max_size=40), max_size=4).map(lambda p: b".".join(map(b64, p))))
def test_garbage_is_a_fault_and_never_a_surprise(token: bytes) -> None:
    assert isinstance(outcome(token), Fault)


@given(st.integers(0, len(signed()) - 1), st.integers(1, 255))
def test_any_octet_changed_makes_it_a_fault(at: int, by: int) -> None:
    token = bytearray(signed())
    token[at] ^= by
    assert isinstance(outcome(bytes(token)), Fault)


def test_the_mark_recognises_a_token_and_no_other() -> None:
    def mark(token: bytes, **changed: Any) -> bytes:
        found = outcome(token, replace(CONFIG, **changed))
        assert isinstance(found, Token)
        return found.mark

    assert mark(signed(alg="PS256")) == mark(signed(alg="PS256")) == mark(signed(claims(sub="other")))
    assert mark(signed(claims(jti="t-2"))) != mark(signed())
    bare = signed(claims(jti=None), alg="PS256")
    assert mark(bare) == mark(bare) != mark(signed(claims(jti=None, sub="other"), alg="PS256"))


# -- key sets --------------------------------------------------------------------------------------------------------


def test_keys_that_are_not_for_us_are_left_out() -> None:
    listed = json.loads(published(rsa(), ec()))["keys"]
    odd = [
        {"kty": "oct", "kid": "s", "k": "c2VjcmV0c2VjcmV0c2VjcmV0"},
        {**listed[0], "use": "enc", "kid": "enc"},
        {"kty": "RSA", "kid": "short", **_short()},
        {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
        {"kty": "RSA", "kid": "half"},
        {"kty": "EC", "kid": "curve", "crv": "P-1", "x": "AA", "y": "AA"},
        {"kty": "OKP", "kid": "okp", "crv": "Ed25519", "x": "AA"},
        "text",
        None,
    ]
    found = jose.keys_of(json.dumps({"keys": [*odd, *listed]}).encode(), 20)
    assert [key.kid for key in found] == ["r1", "e1"]


def _short() -> dict[str, Any]:
    with pytest.warns(match="Key size"):
        key = rsa("short", 1024)
    return {name: value for name, value in key.as_dict(private=False).items() if name in ("n", "e")}


def test_a_key_serves_its_own_algorithm_only() -> None:
    [for_ps] = jose.keys_of(published(rsa(), alg="PS256"), 10)
    assert for_ps.serves("PS256")
    assert not for_ps.serves("RS256")
    [curve] = jose.keys_of(published(ec()), 10)
    assert [name for name in ("ES256", "ES384", "RS256", "HS256", "none") if curve.serves(name)] == ["ES256"]


@pytest.mark.parametrize("octets", [b"", b"{}", b"[]", b'{"keys":{}}', b'{"keys":7}', b"\xff", b"[" * 100_000, b"null"])
def test_what_is_no_key_set(octets: bytes) -> None:
    with pytest.raises(Malformed):
        jose.keys_of(octets, 10)


@pytest.mark.parametrize(("keys_max", "taken"), [(3, True), (2, True), (1, False)])
def test_a_key_set_has_a_largest_count(keys_max: int, taken: bool) -> None:
    if taken:
        assert len(jose.keys_of(published(rsa(), ec()), keys_max)) == 2
    else:
        with pytest.raises(Malformed):
            jose.keys_of(published(rsa(), ec()), keys_max)


def test_time_going_on_ends_a_token() -> None:
    read = verify.read(signed(), 8192, CONFIG.algorithms)
    assert not isinstance(read, Fault)
    key = verify.key_for(read, KEYS)
    assert key is not None
    later = [NOW + timedelta(seconds=s) for s in (269, 270)]
    found = [verify.judge(read, key, CONFIG, thumbprint="", now=at) for at in later]
    assert isinstance(found[0], Token)
    assert found[1] is Fault.EXPIRED
