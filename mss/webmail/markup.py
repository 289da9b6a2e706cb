"""The HTML of a letter made harmless: no script, style, form or remote picture; its own pictures brought inside.

The page that shows it stands in a sandboxed frame besides. The only module that names nh3.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

import nh3

_TAGS: Final = set(nh3.ALLOWED_TAGS) - {"area", "map", "details", "summary"}
_ATTRIBUTES: Final = {
    tag: set(names) - {"cite", "datetime"} for tag, names in nh3.ALLOWED_ATTRIBUTES.items() if tag in _TAGS
} | {"a": {"href"}, "img": {"src", "alt", "width", "height"}, "*": {"dir", "lang"}}
_HIDDEN: Final = {"script", "style", "title", "head", "noscript", "template", "object", "iframe", "svg", "math"}
_PICTURES: Final = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"))
PICTURES_MAX_OCTETS: Final = 4 * 1024 * 1024
_NUMBER = re.compile(r"\d{1,4}%?\Z", re.ASCII)


def harmless(markup: str, pictures: Mapping[str, bytes]) -> str:
    """Return HTML that asks nothing of any other place; `pictures` are the letter's own by Content-ID."""
    left = PICTURES_MAX_OCTETS

    def attribute(tag: str, name: str, value: str) -> str | None:
        nonlocal left
        if tag == "img" and name == "src":
            inside = _inside(value, pictures, left)
            left -= len(inside or "")
            return inside
        if name in ("width", "height"):
            return value if _NUMBER.match(value) else None
        return value

    return nh3.clean(
        markup,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        clean_content_tags=_HIDDEN,
        attribute_filter=attribute,
        url_schemes={"https", "http", "cid"},
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )


def _inside(address: str, pictures: Mapping[str, bytes], room: int) -> str | None:
    """Return a picture of the letter as a data address; None when it is none, or too large."""
    scheme, _, content_id = address.partition(":")
    octets = pictures.get(unquote(content_id)) if scheme.lower() == "cid" else None
    if octets is None or len(octets) * 4 // 3 > room:
        return None
    kind = next((kind for sign, kind in _PICTURES if octets.startswith(sign)), None)
    return f"data:{kind};base64,{base64.b64encode(octets).decode()}" if kind else None


def asks_outside(markup: str) -> bool:
    """Say whether the letter wanted pictures from elsewhere, which are not shown."""
    return bool(re.search(r"<img\b[^>]{0,2000}?\bsrc\s*=\s*[\"']?\s*https?:", markup, re.IGNORECASE))
