"""DKIM through dkimpy: what we sign verifies, every other case has its verdict, nothing raises on verification."""

from __future__ import annotations

import base64
from functools import cache

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from mss.errors import Malformed, Misconfigured, Unavailable
from mss.mail import dkim
from mss.mail.dkim import Verdict

LETTER = b"From: a@region.fr\r\nTo: b@x.fr\r\nSubject: x\r\nDate: y\r\n\r\nbody\r\n"
PASS = Verdict("pass", "region.fr", "s1")


@cache
def keys() -> tuple[bytes, bytes]:
    """Return a private key in PEM and the TXT record of its public half."""
    private = rsa.generate_private_key(65537, 2048)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return pem, b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)


def record(name: str) -> bytes | None:
    return keys()[1] if name == "s1._domainkey.region.fr" else None


def signed(letter: bytes = LETTER) -> bytes:
    return dkim.sign(letter, "s1", "region.fr", keys()[0]) + letter


def test_what_we_sign_verifies() -> None:
    octets = signed()
    assert octets.startswith(b"DKIM-Signature: ")
    assert dkim.verify(octets, record) == PASS


def test_a_field_put_before_does_not_spoil_it() -> None:
    assert dkim.verify(b"Received: from x by y; z\r\n" + signed(), record) == PASS


@pytest.mark.parametrize("change", [(b"body", b"bodY"), (b"Subject: x", b"Subject: z"), (b"From: a@", b"From: z@")])
def test_a_changed_letter_fails(change: tuple[bytes, bytes]) -> None:
    verdict = dkim.verify(signed().replace(*change), record)
    assert verdict.result in ("fail", "permerror")


def test_a_second_from_field_fails() -> None:
    assert dkim.verify(b"From: evil@x.fr\r\n" + signed(), record).result != "pass"


def test_an_unsigned_letter() -> None:
    assert dkim.verify(LETTER, record) == Verdict("none")


def test_a_key_that_is_not_there() -> None:
    assert dkim.verify(signed(), lambda _: None) == Verdict("permerror", "region.fr", "s1")
    assert dkim.verify(signed(), lambda _: b"").result == "permerror"


@pytest.mark.parametrize(
    "key", [b"garbage", b"v=DKIM1; k=rsa; p=AAAA", b"v=DKIM1; k=ed25519; p=AAAA", b"v=X; p=", b"\xff"]
)
def test_a_key_that_is_none(key: bytes) -> None:
    assert dkim.verify(signed(), lambda _: key).result in ("fail", "permerror")


def test_a_look_up_that_cannot_tell() -> None:
    def away(_: str) -> bytes | None:
        raise Unavailable("dns")

    assert dkim.verify(signed(), away) == Verdict("temperror")


def test_the_first_signature_that_passes_counts() -> None:
    broken = b"DKIM-Signature: v=1; a=rsa-sha256; d=evil.fr; s=s1; h=from; bh=AAAA; b=AAAA\r\n"
    assert dkim.verify(broken + signed(), record) == PASS
    assert dkim.verify(broken * 2 + signed(), record) == PASS
    assert dkim.verify(broken * dkim.SIGNATURES_MAX + signed(), record).result == "permerror"
    assert dkim.verify(broken + LETTER, record).result == "permerror"


def test_a_signature_over_a_part_of_the_body_is_not_enough() -> None:
    import dkim as dkimpy

    header = dkimpy.DKIM(LETTER).sign(b"s1", b"region.fr", keys()[0], length=True)
    assert dkim.verify(header + LETTER + b"appended\r\n", record) == Verdict("policy", "region.fr", "s1")


def test_signing_needs_a_key_and_a_from_field() -> None:
    with pytest.raises(Misconfigured):
        dkim.sign(LETTER, "s1", "region.fr", b"garbage")
    with pytest.raises(Malformed):
        dkim.sign(b"To: x\r\n\r\n", "s1", "region.fr", keys()[0])
    with pytest.raises(Malformed):
        dkim.sign(b" starts folded\r\n\r\n", "s1", "region.fr", keys()[0])


_TAGS = st.lists(
    st.sampled_from([b"v=1", b"a=rsa-sha256", b"a=x", b"d=x.fr", b"s=s1", b"h=from", b"bh=AA=A", b"b=A", b"b=!",
                     b"l=-1",
                     b"l=x", b"t=9", b"x=1", b"i=@x", b"c=a/b", b"=", b"\xff"])
).map(b"; ".join)  # fmt: skip


@given(_TAGS, st.binary(max_size=30))
def test_any_signature_has_a_verdict(tags: bytes, rest: bytes) -> None:
    verdict = dkim.verify(b"DKIM-Signature: " + tags + b"\r\n" + LETTER + rest, record)
    assert verdict.result in ("none", "pass", "fail", "policy", "temperror", "permerror")


@given(st.binary(max_size=60))
def test_any_octets_have_a_verdict(octets: bytes) -> None:
    assert dkim.verify(octets, record).result in ("none", "permerror")


# Limits -------------------------------------------------------------------------------------------------------------


@cache
def record_of(bits: int, exponent: int = 65537) -> bytes:
    """Return the record of a made-up key of so many bits; only its size matters."""
    numbers = rsa.RSAPublicNumbers(exponent, (1 << (bits - 1)) | 1)
    der = numbers.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return b"v=DKIM1; k=rsa; p=" + base64.b64encode(der)


@pytest.mark.parametrize(
    ("bits", "refused"),
    [
        (dkim.KEY_BITS_MIN - 1, True),
        (dkim.KEY_BITS_MIN, False),
        (dkim.KEY_BITS_MAX, False),
        (dkim.KEY_BITS_MAX + 1, True),
    ],
)
def test_keys_have_a_shortest_and_a_longest_length(bits: int, refused: bool) -> None:
    assert dkim.is_weak_or_huge(record_of(bits)) is refused
    expected = "policy" if refused else "fail"
    assert dkim.verify(signed(), lambda _: record_of(bits)) == Verdict(expected, "region.fr", "s1")


def test_an_exponent_that_costs_is_not_worked_with() -> None:
    assert not dkim.is_weak_or_huge(record_of(2048, (1 << 32) + 1))
    assert dkim.is_weak_or_huge(record_of(2048, (1 << 33) + 1))


@pytest.mark.parametrize(("octets", "refused"), [(dkim.RECORD_MAX_OCTETS, False), (dkim.RECORD_MAX_OCTETS + 1, True)])
def test_a_record_has_a_longest_form(octets: int, refused: bool) -> None:
    assert dkim.is_weak_or_huge(keys()[1].ljust(octets)) is refused


def test_a_signature_by_sha1_proves_nothing() -> None:
    import dkim as dkimpy

    header = dkimpy.DKIM(LETTER).sign(b"s1", b"region.fr", keys()[0], signature_algorithm=b"rsa-sha1")
    assert dkim.verify(header + LETTER, record) == Verdict("policy", "region.fr", "s1")


@pytest.mark.parametrize(
    ("octets", "names"),
    [
        (LETTER, ()),
        (signed(), ("s1._domainkey.region.fr",)),
        (b"dkim-signature : s = S1 ;\r\n\td=Region.FR; b=x\r\n\r\n", ("s1._domainkey.region.fr",)),
        (b"DKIM-Signature: s=a b; d=x\r\n", ()),
        (b"DKIM-Signature: s=a; d=" + b"x" * 300 + b"\r\n", ()),
        (b"\r\nDKIM-Signature: s=a; d=x\r\n", ("a._domainkey.x",)),
        (b"Subject: x\r\n\r\nDKIM-Signature: s=a; d=x\r\n", ()),
        (b"DKIM-Signature: s=a; d=x\r\n" * 4, ("a._domainkey.x",)),
        (
            b"".join(b"DKIM-Signature: s=s%d; d=x\r\n" % n for n in range(4)),
            tuple(f"s{n}._domainkey.x" for n in range(3)),
        ),
    ],
)
def test_the_names_that_verification_asks_for(octets: bytes, names: tuple[str, ...]) -> None:
    assert dkim.key_names(octets) == names


@given(_TAGS, st.binary(max_size=30))
def test_no_other_name_is_ever_asked_for(tags: bytes, rest: bytes) -> None:
    octets = b"DKIM-Signature: " + tags + b"\r\n" + LETTER + rest
    asked: list[str] = []

    def look_up(name: str) -> bytes | None:
        asked.append(name)
        return None

    dkim.verify(octets, look_up)
    assert set(asked) <= set(dkim.key_names(octets))
    assert dkim.is_signed(octets)
