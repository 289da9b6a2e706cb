"""What is remembered of field values: short ones, as they were read, and no more than so many."""

from __future__ import annotations

from mss.mail.remembered import VALUE_MAX_OCTETS, VALUES_MAX, remembered


def test_a_short_value_is_read_once_and_a_long_one_each_time() -> None:
    asked: list[tuple[int, int]] = []

    @remembered
    def read(value: bytes, limit: int) -> int:
        asked.append((len(value), limit))
        return len(value) + limit

    for length in (1, VALUE_MAX_OCTETS, VALUE_MAX_OCTETS + 1):
        assert [read(b"x" * length, 7) for _ in range(2)] == [length + 7] * 2
    assert asked == [(1, 7), (VALUE_MAX_OCTETS, 7), *[(VALUE_MAX_OCTETS + 1, 7)] * 2]
    assert read(b"x", 8) == 9, "another limit is another question"


def test_what_was_not_asked_for_lately_is_forgotten() -> None:
    asked: list[bytes] = []

    @remembered
    def read(value: bytes, limit: int) -> None:
        asked.append(value)

    for number in range(VALUES_MAX + 1):
        read(b"%d" % number, 1)
    read(b"0", 1)
    assert asked.count(b"0") == 2
