"""One-time codes by RFC 6238's own vectors, their window and their picture; recovery codes."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pyotp
import pytest

from mss.model.secret import Secret
from mss.webmail import secondfactor

# RFC 6238, appendix B: the secret of the SHA-1 vectors; the last six of their eight digits.
RFC_SECRET = Secret.of("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")
VECTORS = [
    (59, "287082"),
    (1111111109, "081804"),
    (1111111111, "050471"),
    (1234567890, "005924"),
    (2000000000, "279037"),
]


@pytest.mark.parametrize(("at", "code"), VECTORS)
def test_the_vectors_of_the_standard(at: int, code: str) -> None:
    now = datetime.fromtimestamp(at, UTC)
    assert secondfactor.step_of(RFC_SECRET, code, now, -1) == at // 30


@pytest.mark.parametrize(("steps", "accepted"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_clock_may_differ_by_one_step(steps: int, accepted: bool) -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    code = pyotp.TOTP(RFC_SECRET.text()).at(now + timedelta(seconds=30 * steps))
    assert (secondfactor.step_of(RFC_SECRET, code, now, -1) is not None) is accepted


@pytest.mark.parametrize(("after", "accepted"), [(-1, True), (0, False), (1, False)])
def test_a_step_that_was_used_is_not_accepted_again(after: int, accepted: bool) -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    step = int(now.timestamp()) // 30
    code = pyotp.TOTP(RFC_SECRET.text()).at(now)
    assert (secondfactor.step_of(RFC_SECRET, code, now, step + after) == step) is accepted


@pytest.mark.parametrize("typed", [" 287 082 ", "287082\n", "\u00a0287\u202f082"])
def test_spaces_do_not_matter(typed: str) -> None:
    assert secondfactor.step_of(RFC_SECRET, typed, datetime.fromtimestamp(59, UTC), -1) == 1


@pytest.mark.parametrize("typed", ["", "28708", "2870820", "28708a", "٢٨٧٠٨٢", "0x1234"])
def test_what_is_no_code(typed: str) -> None:
    assert secondfactor.step_of(RFC_SECRET, typed, datetime.fromtimestamp(59, UTC), -1) is None


def test_secrets_are_long_and_new_each_time() -> None:
    secrets = {secondfactor.new_secret().text() for _ in range(20)}
    assert len(secrets) == 20
    assert all(re.fullmatch("[A-Z2-7]{32}", one) for one in secrets)
    assert secondfactor.grouped(RFC_SECRET) == "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ"


def test_the_picture_is_an_svg_without_styles_scripts_or_the_secret_as_text() -> None:
    address = secondfactor.uri(RFC_SECRET, "paul dupont", "Opérateur & Cie")
    assert address.startswith("otpauth://totp/Op%C3%A9rateur%20%26%20Cie:paul%20dupont?secret=")
    svg = secondfactor.picture(address)
    names = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(svg).iter()}
    assert names <= {"svg", "g", "path"}
    assert "style" not in svg
    assert RFC_SECRET.text() not in svg


def test_recovery_codes_are_many_and_hard_to_mistake() -> None:
    codes = secondfactor.new_recovery_codes()
    assert len(set(codes)) == secondfactor.RECOVERY_CODES
    assert not set("".join(codes)) & set("01OILU")


@pytest.mark.parametrize("typed", ["abcd-efgh-2345", " ABCD EFGH 2345", "ABCDEFGH2345", "abcd.efgh/2345"])
def test_a_recovery_code_is_the_same_however_typed(typed: str) -> None:
    assert secondfactor.recovery_hash(typed, 7) == secondfactor.recovery_hash("ABCD-EFGH-2345", 7)


def test_a_recovery_code_belongs_to_one_account() -> None:
    assert secondfactor.recovery_hash("ABCD-EFGH-2345", 7) != secondfactor.recovery_hash("ABCD-EFGH-2345", 8)
