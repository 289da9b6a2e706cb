"""The style sheet's own promises: contrast in light and dark (WCAG 1.4.3, 1.4.11), and nothing from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mss import webmail

CSS = (Path(webmail.__file__).parent / "static" / "app.css").read_text(encoding="utf-8")
TEXT, GRAPHIC = 4.5, 3.0
PAIRS = [
    ("ink", "paper", TEXT),
    ("ink", "ground", TEXT),
    ("ink", "tint", TEXT),
    ("ink", "note-tint", TEXT),
    ("ink", "ok-tint", TEXT),
    ("ink", "warn-tint", TEXT),
    ("soft", "paper", TEXT),
    ("soft", "ground", TEXT),
    ("soft", "tint", TEXT),
    ("accent", "paper", TEXT),
    ("accent", "ground", TEXT),
    ("accent", "tint", TEXT),
    ("accent-ink", "accent", TEXT),
    ("warn", "paper", TEXT),
    ("warn", "warn-tint", TEXT),
    ("note", "paper", TEXT),
    ("soft", "paper", GRAPHIC),
    ("warn", "paper", GRAPHIC),
]


def palettes() -> dict[str, dict[str, str]]:
    """The colours by name, in light and in dark."""
    light, dark = re.findall(r":root \{([^}]*--paper[^}]*)\}", CSS)
    return {name: dict(re.findall(r"--([\w-]+): (#\w+)", text)) for name, text in (("light", light), ("dark", dark))}


def luminance(colour: str) -> float:
    """Relative luminance of sRGB (WCAG 2.2)."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_the_measure_is_the_standards() -> None:
    assert contrast("#000", "#fff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("looks", ["light", "dark"])
@pytest.mark.parametrize(("front", "back", "least"), PAIRS)
def test_what_is_written_can_be_read(looks: str, front: str, back: str, least: float) -> None:
    palette = palettes()[looks]
    assert contrast(palette[front], palette[back]) >= least, (front, back)


def test_colours_are_named_once() -> None:
    rules = re.sub(r":root \{[^}]*\}", "", CSS)
    assert set(re.findall(r"#[0-9a-f]{3,6}\b", rules)) <= {"#fff", "#000"}


def test_nothing_is_hidden_from_the_keyboard() -> None:
    assert "outline: 3px solid var(--focus)" in CSS
    removed = re.findall(r"([^{}]+)\{[^}]*outline: none", CSS)
    assert [one.strip() for one in removed] == ["main:focus, .problems:focus"], "only where focus is put by ourselves"


def test_nothing_is_asked_of_other_places() -> None:
    assert not re.search(r"url\(|@import|@font-face|https?:", CSS)
