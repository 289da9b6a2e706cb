"""The base subject by which letters are sorted and threaded (RFC 5256 §2.1): without "Re:", "[list]", "(fwd)"."""

from __future__ import annotations

import re
from typing import Final

# The removals below go over the text again and again: a hostile subject must not make that long.
SUBJECT_MAX_CHARACTERS: Final = 1000

_SPACES = re.compile(r"[ \t\r\n]+")
_BLOB = re.compile(r"\[[^\[\]]*\] *")
_LEADER = re.compile(r"(?:\[[^\[\]]*\] *)*(?:re|fwd?) *(?:\[[^\[\]]*\] *)?:|( )", re.IGNORECASE | re.ASCII)
_TRAILER = "(fwd)"
_FORWARD_HEADER, _FORWARD_TRAILER = "[fwd:", "]"


def base_subject(decoded: str) -> tuple[str, bool]:
    """Return the base of a subject whose encoded words are decoded, and whether it told of a reply or forward."""
    text = _SPACES.sub(" ", decoded[:SUBJECT_MAX_CHARACTERS])
    is_reply = False
    while True:
        text, trailed = _without_trailers(text)
        text, led = _without_leaders(text)
        is_reply = is_reply or trailed or led
        if not (text[: len(_FORWARD_HEADER)].lower() == _FORWARD_HEADER and text.endswith(_FORWARD_TRAILER)):
            return text, is_reply
        text, is_reply = text[len(_FORWARD_HEADER) : -len(_FORWARD_TRAILER)], True


def _without_trailers(text: str) -> tuple[str, bool]:
    removed = False
    text = text.rstrip(" ")
    while text[-len(_TRAILER) :].lower() == _TRAILER:
        text, removed = text[: -len(_TRAILER)].rstrip(" "), True
    return text, removed


def _without_leaders(text: str) -> tuple[str, bool]:
    at, removed = 0, False
    while True:
        if leader := _LEADER.match(text, at):
            at, removed = leader.end(), removed or leader.group(1) is None
        elif (blob := _BLOB.match(text, at)) and blob.end() < len(text):
            at = blob.end()
        else:
            return text[at:], removed
