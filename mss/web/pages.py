"""Pages from templates, in French and English; dates and sizes as each language writes them.

The sentences in the code and templates are English and are the keys of `locale/fr.po`. The only module that names
Jinja2 and Babel.
"""

from __future__ import annotations

import gettext
import io
from collections.abc import Callable
from datetime import date, datetime, tzinfo
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, TypeGuard

import jinja2
from babel import Locale as BabelLocale
from babel import dates, numbers
from babel.core import negotiate_locale
from babel.messages import mofile, pofile
from starlette.requests import Request
from starlette.responses import HTMLResponse

Locale = Literal["fr", "en"]
LOCALES: Final[tuple[Locale, ...]] = ("fr", "en")
_STAMPS: Final = {"fr": "dd/MM/y HH:mm", "en": "d MMM y HH:mm"}
_UNITS: Final = {"fr": ("ko", "Mo", "Go"), "en": ("kB", "MB", "GB")}


def is_locale(text: str) -> TypeGuard[Locale]:
    """Say whether we speak this language."""
    return text in LOCALES


def choose_locale(chosen: str, accepted: str, default: Locale) -> Locale:
    """Return the language that was chosen, else the best of an Accept-Language field, else the default."""
    if is_locale(chosen):
        return chosen
    wanted = [entry.partition(";")[0].strip().replace("-", "_") for entry in accepted.split(",")[:20]]
    best = negotiate_locale(wanted, LOCALES)
    return best if best is not None and is_locale(best) else default


def mark(sentence: str) -> str:
    """Mark a sentence for translation where it is written; the page translates it."""
    return sentence


class Pages:
    """The templates of one room and their languages."""

    def __init__(self, room: Path, zone: tzinfo) -> None:
        self._environments = {locale: _environment(room, locale, zone) for locale in LOCALES}

    def text(self, name: str, locale: Locale, **values: Any) -> str:
        """Return a template filled with values."""
        return self._environments[locale].get_template(name).render(locale=locale, **values)

    def sentence(self, key: str, locale: Locale, **values: str | int) -> str:
        """Return a sentence in a language, as plain text."""
        translate: Callable[[str], str] = self._environments[locale].globals["plain_gettext"]  # type: ignore[assignment]
        return translate(key) % values if values else translate(key)

    def page(self, name: str, locale: Locale, status: int = 200, **values: Any) -> HTMLResponse:
        """Return an answer with a template filled with values."""
        headers = {"Content-Language": locale, "Vary": "Accept-Language, Cookie"}
        return HTMLResponse(self.text(name, locale, **values), status, headers)


@cache
def pages_of(room: Path, zone: tzinfo) -> Pages:
    """Return the pages of a room, made once for a process: compiling them takes a while."""
    return Pages(room, zone)


def _environment(room: Path, locale: Locale, zone: tzinfo) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(room / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    translations = _translations(room / "locale" / f"{locale}.po")
    environment.install_gettext_translations(translations, newstyle=True)  # type: ignore[attr-defined]
    environment.globals["plain_gettext"] = translations.gettext
    environment.filters |= {
        "day": lambda value: _day(value, locale, zone),
        "moment": lambda value: _moment(value, locale, zone),
        "stamp": lambda value: _stamp(value, locale, zone),
        "size": lambda octets: size(octets, locale),
    }
    environment.globals["iso"] = lambda value: value.astimezone(zone).isoformat(timespec="minutes")
    return environment


def _translations(catalogue: Path) -> gettext.NullTranslations:
    """Return a catalogue compiled at load; a language without one speaks the keys (English)."""
    if not catalogue.exists():
        return gettext.NullTranslations()
    with catalogue.open("rb") as file:
        catalog = pofile.read_po(file, abort_invalid=True)
    compiled = io.BytesIO()
    mofile.write_mo(compiled, catalog)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def _day(value: date | datetime, locale: Locale, zone: tzinfo) -> str:
    local = value.astimezone(zone).date() if isinstance(value, datetime) else value
    return dates.format_date(local, "long", locale)


def _moment(value: datetime, locale: Locale, zone: tzinfo) -> str:
    return dates.format_datetime(value.astimezone(zone), "d MMMM y, HH:mm", locale=locale)


def _stamp(value: datetime, locale: Locale, zone: tzinfo) -> str:
    """Return a short date and time, for tables."""
    return dates.format_datetime(value.astimezone(zone), _STAMPS[locale], locale=locale)


def size(octets: int, locale: Locale) -> str:
    """Return a size as people read it (units of 1,000)."""
    amount, unit, *larger = max(octets, 1) / 1000, *_UNITS[locale]
    while amount >= 1000 and larger:
        amount, unit = amount / 1000, larger.pop(0)
    shown = numbers.format_decimal(amount, "#,##0.#" if amount < 10 else "#,##0", locale=BabelLocale(locale))
    return f"{shown}\u00a0{unit}"


def locale_of(request: Request, cookie: str, default: Locale) -> Locale:
    """Return the language of a request: its cookie's, else what the browser accepts."""
    return choose_locale(request.cookies.get(cookie, ""), request.headers.get("accept-language", ""), default)
