"""Passwords: right, wrong, normalised, hostile."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mss import passwords
from mss.errors import Malformed
from tests.support.cheap import dear_passwords


@pytest.fixture(scope="module", autouse=True)
def _real_parameters() -> Iterator[None]:
    """The parameters of the program: those of the other tests are cheap."""
    with dear_passwords():
        yield


@pytest.fixture(scope="module")
def encoded() -> str:
    return passwords.hash_password("correct horse é battery")


def test_the_right_password_is_verified(encoded: str) -> None:
    assert passwords.verify(encoded, "correct horse é battery")


@pytest.mark.parametrize(
    "wrong", ["", "correct horse é batter", "Correct horse é battery", "x" * 1024, "x" * 5000, "\udcff"]
)
def test_a_wrong_password_is_not(encoded: str, wrong: str) -> None:
    assert not passwords.verify(encoded, wrong)


def test_accents_typed_on_another_keyboard_are_the_same(encoded: str) -> None:
    assert passwords.verify(encoded, "correct horse e\u0301 battery")


def test_two_hashes_of_one_password_differ(encoded: str) -> None:
    assert passwords.hash_password("correct horse é battery") != encoded
    assert encoded.startswith("$argon2id$")


@pytest.mark.parametrize("unreadable", ["", "!", "$argon2id$broken", "$2b$12$abcdefghijklmnopqrstuv"])
def test_an_unreadable_hash_matches_nothing(unreadable: str) -> None:
    assert not passwords.verify(unreadable, "correct horse é battery")
    assert passwords.needs_rehash(unreadable)


def test_a_hash_of_the_reference_library_is_still_right() -> None:
    made = "$argon2id$v=19$m=19456,t=2,p=1$LqJHJmyS31kM+R+pEOAhrg$OIvR4h6dyIeuXDxWaSSf58uJqTaPQaCTAz4+E4yA6kI"
    assert passwords.verify(made, "correct horse battery")
    assert not passwords.verify(made, "correct horse batterie")
    assert not passwords.needs_rehash(made)


def test_nobody_has_no_password() -> None:
    assert not passwords.verify_nothing()


def test_old_parameters_want_a_new_hash(encoded: str) -> None:
    old = passwords.Hasher(passes=1, memory_kib=8).hash("correct horse é battery".encode())
    assert passwords.verify(old, "correct horse é battery")
    assert passwords.needs_rehash(old)
    assert not passwords.needs_rehash(encoded)


@pytest.mark.parametrize("fine", ["twelve chars", "ab" * 512, "é" * 6 + "ab" * 3])
def test_a_strong_enough_password_passes(fine: str) -> None:
    passwords.check_strength(fine)


@pytest.mark.parametrize(
    ("weak", "why"),
    [("eleven char", "at least 12"), ("ab" * 512 + "c", "at most 1024"), ("a" * 12, "different")],
)
def test_a_weak_one_is_refused_with_the_reason(weak: str, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        passwords.check_strength(weak)
