"""Which letters have their text prepared for SEARCH as they come in: the short ones, up to the limit."""

from __future__ import annotations

import pytest

from mss.config import Limits
from mss.services.reading import PREPARED_AT_ONCE_MAX_OCTETS, read_letter

_HEAD = b"Subject: Bilan\r\n\r\n"


@pytest.mark.parametrize(("more", "prepared"), [(-1, True), (0, True), (1, False)])
def test_a_text_is_prepared_at_once_up_to_the_limit(more: int, prepared: bool) -> None:
    # What is prepared is the header without its end, a NUL, and the text.
    text = b"x" * (PREPARED_AT_ONCE_MAX_OCTETS - len(_HEAD.rstrip()) - 1 + more)
    reading = read_letter(_HEAD + text, Limits(), documents=False)
    assert bool(reading.search_text) is prepared
