"""OAUTHBEARER and XOAUTH2: what clients send, in tables and as garbage; the error that they get."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.errors import Malformed
from mss.model.secret import Secret
from mss.tokens import sasl
from mss.tokens.sasl import Bearer

TOKEN = Secret(b"ey.J-_~+/9.z==")
AUTH = b"auth=Bearer ey.J-_~+/9.z==\x01"


@pytest.mark.parametrize(
    ("response", "read"),
    [
        (b"n,,\x01" + AUTH + b"\x01", Bearer(TOKEN)),
        (b"y,,\x01" + AUTH + b"\x01", Bearer(TOKEN)),
        (b"n,a=a@b.fr,\x01host=mx\x01port=587\x01" + AUTH + b"\x01", Bearer(TOKEN, "a@b.fr")),
        (b"n,a=x=2Cy=3Dz,\x01" + AUTH + b"\x01", Bearer(TOKEN, "x,y=z")),
        ("n,a=é@b.fr,\x01".encode() + AUTH + b"\x01", Bearer(TOKEN, "é@b.fr")),
        (b"n,,\x01AUTH=bearer  ey.J-_~+/9.z==\x01\x01", Bearer(TOKEN)),
        (b"n,,\x01auth=\x01\x01", Bearer(Secret(b""))),
        (b"n,,\x01\x01", Bearer(Secret(b""))),
    ],
)
def test_oauthbearer(response: bytes, read: Bearer) -> None:
    assert sasl.parse(sasl.OAUTHBEARER, response) == read


@pytest.mark.parametrize(
    ("response", "read"),
    [
        (b"user=a@b.fr\x01" + AUTH + b"\x01", Bearer(TOKEN, "a@b.fr")),
        (b"user=\x01" + AUTH + b"\x01", Bearer(TOKEN)),
    ],
)
def test_xoauth2(response: bytes, read: Bearer) -> None:
    assert sasl.parse(sasl.XOAUTH2, response) == read


BROKEN = [
    b"",
    b"\x01",
    AUTH + b"\x01",
    b"p=tls-unique,,\x01" + AUTH + b"\x01",
    b"x,,\x01" + AUTH + b"\x01",
    b"n,b=c,\x01" + AUTH + b"\x01",
    b"n,a=x=2,\x01" + AUTH + b"\x01",
    b"n,a=,\x01" + AUTH + b"\x01",
    b"n,a=" + b"x" * 1001 + b",\x01" + AUTH + b"\x01",
    b"n,a=\xff\xfe,\x01" + AUTH + b"\x01",
    b"n,,\x01" + AUTH,
    b"n,,\x01" + AUTH + b"\x01x",
    b"n,,\x01" + AUTH + AUTH + b"\x01",
    b"n,,\x01" + AUTH + b"k=v\x01" * 10 + b"\x01",
    b"n,,\x01" + b"".join(b"%c=v\x01" % c for c in b"abcdefghijk") + b"\x01",
    b"n,,\x01auth=Basic eyJ\x01\x01",
    b"n,,\x01auth=Bearer\x01\x01",
    b"n,,\x01auth=Bearer a b\x01\x01",
    b"n,,\x01auth=Bearer a\xff\x01\x01",
    b"n,,\x01noequals\x01\x01",
    b"n,,\x01k1=v\x01\x01",
    b"n,,\x01host=\x00\x01\x01",
    b"user=a\x01user=b\x01" + AUTH,
    b"user=\xff\x01" + AUTH + b"\x01",
    b"user=a\x00b\x01" + AUTH + b"\x01",
    b"USER=a\x01" + AUTH + b"\x01",
]


@pytest.mark.parametrize("mechanism", sasl.MECHANISMS)
@pytest.mark.parametrize("response", BROKEN)
def test_what_is_no_response(mechanism: str, response: bytes) -> None:
    with pytest.raises(Malformed):
        sasl.parse(mechanism, response)


def test_ten_pairs_are_read() -> None:
    pairs = AUTH + b"".join(b"%c=v\x01" % c for c in b"bcdefghij")
    assert sasl.parse(sasl.OAUTHBEARER, b"n,,\x01" + pairs + b"\x01").token == TOKEN


_pieces = st.lists(st.sampled_from([b"n,,", b"user=", b"a=x", b"\x01", b"auth=Bearer ", b"ey", b"=", b",", b"\xff"]))


@given(st.sampled_from(sasl.MECHANISMS), st.binary(max_size=50) | _pieces.map(b"".join))
def test_garbage_is_malformed_or_has_a_clean_token(mechanism: str, response: bytes) -> None:
    try:
        read = sasl.parse(mechanism, response)
    except Malformed:
        return
    assert read.token.octets.isascii()
    assert read.acting_as.isprintable() or not read.acting_as.isascii()


def test_a_response_cannot_be_printed() -> None:
    assert "ey" not in repr(sasl.parse(sasl.XOAUTH2, b"user=\x01" + AUTH + b"\x01"))


def test_the_error_that_clients_know() -> None:
    where = "https://id.example/.well-known/openid-configuration"
    assert json.loads(sasl.failure(sasl.OAUTHBEARER, where)) == {
        "status": "invalid_token",
        "schemes": "bearer",
        "scope": "mail",
        "openid-configuration": where,
    }
    assert sasl.failure(sasl.XOAUTH2, where) == b'{"status":"401","schemes":"bearer","scope":"mail"}'
