"""Languages, dates, sizes; and that every sentence of the webmail is said in both languages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import jinja2
import pytest
from babel.messages import pofile
from babel.messages.extract import extract_from_dir

from mss import webmail
from mss.policy import rules
from mss.web.pages import Pages, choose_locale, size
from mss.webmail import reasons
from mss.webmail.categories import CATEGORY_NAMES

ROOM = Path(webmail.__file__).parent
PARIS = ZoneInfo("Europe/Paris")


@pytest.mark.parametrize(
    ("chosen", "accepted", "expected"),
    [
        ("en", "fr", "en"),
        ("fr", "en", "fr"),
        ("", "en-GB,en;q=0.9", "en"),
        ("", "de,en;q=0.5", "en"),
        ("", "fr-CA", "fr"),
        ("", "de,zh", "fr"),
        ("", "", "fr"),
        ("", ";;;,,,=", "fr"),
        ("../..", "x" * 10_000, "fr"),
    ],
)
def test_the_language_is_chosen(chosen: str, accepted: str, expected: str) -> None:
    assert choose_locale(chosen, accepted, "fr") == expected


@pytest.mark.parametrize(
    ("octets", "french", "english"),
    [
        (0, "0 ko", "0 kB"),
        (70, "0,1 ko", "0.1 kB"),
        (1_000, "1 ko", "1 kB"),
        (999_999, "1 000 ko", "1,000 kB"),
        (4_600_000, "4,6 Mo", "4.6 MB"),
        (18_000_000, "18 Mo", "18 MB"),
        (5_000_000_000, "5 Go", "5 GB"),
    ],
)
def test_sizes_are_written_as_people_read_them(octets: int, french: str, english: str) -> None:
    assert size(octets, "fr").replace("\u202f", " ").replace("\xa0", " ") == french
    assert size(octets, "en").replace("\xa0", " ") == english


def pages(folder: Path, template: str) -> Pages:
    (folder / "templates").mkdir()
    (folder / "templates" / "x.html").write_text(template, encoding="utf-8")
    return Pages(folder, PARIS)


def test_dates_are_told_where_the_patients_are(tmp_path: Path) -> None:
    at = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)
    made = pages(tmp_path, "{{ at|day }} | {{ at|moment }} | {{ on|day }} | {{ iso(at) }}")
    french = made.text("x.html", "fr", at=at, on=date(2026, 11, 22))
    assert french == "23 novembre 2026 | 23 novembre 2026, 00:30 | 22 novembre 2026 | 2026-11-23T00:30+01:00"
    assert made.text("x.html", "en", at=at, on=date(2026, 11, 22)).startswith(
        "November 23, 2026 | 23 November 2026, 00:30"
    )


def test_values_are_escaped_and_missing_ones_are_faults(tmp_path: Path) -> None:
    made = pages(tmp_path, "{{ value }}")
    assert made.text("x.html", "fr", value="<b>&") == "&lt;b&gt;&amp;"
    with pytest.raises(jinja2.UndefinedError):
        made.text("x.html", "fr")


def sentences() -> Iterator[tuple[str, str | tuple[str, ...]]]:
    """Yield (file, key) of everything that the webmail says."""
    methods = [("**.py", "python"), ("templates/**.html", "jinja2.ext:babel_extract")]
    keywords = {"_": None, "mark": None, "gettext": None, "ngettext": (1, 2)}
    options = {"templates/**.html": {"newstyle_gettext": "true"}}
    for file, _line, key, _comments, _context in extract_from_dir(ROOM, methods, options, keywords):
        yield file, key


def catalogue() -> dict[str | tuple[str, ...], str | tuple[str, ...]]:
    with (ROOM / "locale" / "fr.po").open("rb") as file:
        catalog = pofile.read_po(file, abort_invalid=True)
    assert not [one for one in catalog if one.fuzzy and one.id], "fuzzy translations are not said"
    return {_whole(one.id): _whole(one.string) for one in catalog if one.id}


def _whole(text: str | Sequence[str] | None) -> str | tuple[str, ...]:
    return text if isinstance(text, str) else tuple(text or ())


def placeholders(text: str | tuple[str, ...]) -> set[str]:
    return set(re.findall(r"%\((\w+)\)s", text if isinstance(text, str) else " ".join(text)))


def test_every_sentence_has_both_languages() -> None:
    french = catalogue()
    said = {key for _, key in sentences()}
    assert len(said) > 200
    assert said - set(french) == set()
    assert set(french) - said == set(), "translations of what nobody says"


def test_translations_are_whole_and_keep_their_values() -> None:
    for key, text in catalogue().items():
        assert text, key
        assert all(text), key
        assert placeholders(text) == placeholders(key), key
        assert isinstance(text, str) or len(text) == 2, key
        assert set(re.findall(r"<[^>]+>", str(text))) == set(re.findall(r"<[^>]+>", str(key))), key


def test_french_typography_has_its_spaces() -> None:
    for text in catalogue().values():
        for one in (text,) if isinstance(text, str) else text:
            plain = re.sub(r"<[^>]*>", "", one)
            assert not re.search(r"[^\u00a0\u202f][:;!?»](?!\d)|«[^\u00a0\u202f]|'", plain), one


def test_every_rule_that_a_patient_can_meet_has_its_sentence() -> None:
    met = {name for name, rule in rules.RULES.items() if rule.patient_text_key}
    assert met - set(reasons.SENTENCES) == set()
    assert set(reasons.SENTENCES) - met == set(), "sentences of rules that are no more"


def test_every_category_has_a_name() -> None:
    from mss.dossier.categories import CATEGORIES

    assert set(CATEGORY_NAMES) == set(CATEGORIES)


def test_no_template_has_a_script_or_a_style_of_its_own() -> None:
    for template in (ROOM / "templates").glob("*.html"):
        source = template.read_text(encoding="utf-8")
        assert not re.search(r"<script|\sstyle=|<style|\son[a-z]+=|javascript:", source), template.name


def test_nothing_unescaped_but_what_was_made_harmless() -> None:
    marked = [
        (template.name, found)
        for template in (ROOM / "templates").glob("*.html")
        for found in re.findall(r"{{ (\w+)\|safe }}", template.read_text(encoding="utf-8"))
    ]
    assert sorted(marked) == [("application.html", "picture"), ("frame.html", "body"), ("set_up.html", "picture")]
