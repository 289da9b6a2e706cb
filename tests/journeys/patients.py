"""A patient of a site in front of the webmail: signs in, answers a letter with a file."""

from __future__ import annotations

import re
from typing import Final

import pyotp

from demo.browser import Browser, Page
from demo.clients import context
from tests.journeys.sites import PASSWORDS, PATIENT, SECRET, SPOKEN, Site, letter, new_id

_KEY: Final = re.compile(r'class="key"><code>([A-Z2-7 ]+)</code>')
_INCIDENT: Final = re.compile(r"<strong>([0-9a-f]{8})</strong>")


class Patient:
    """One visit of the site's patient, from the first sign-in on, with one conversation open."""

    def __init__(self, site: Site) -> None:
        assert site.deliver(letter(new_id(), to=PATIENT), to=PATIENT)[0] == 250
        self.browser = Browser(site.port("webmail"), context(site.ca_file), faults=True)
        self._sign_in(site)
        self.thread = self.browser.get("/conversations").links(r"/conversations/\d+")[0]
        self._form = self.browser.get(self.thread).form("text")

    def _sign_in(self, site: Site) -> None:
        """Sign in for the first time, which sets up the codes."""
        page = self.browser.get("/sign-in")
        page = self.browser.send(page.form("password"), login=site.patient.login, password=site.patient.password)
        key = _KEY.search(page.source)
        assert key, page.text
        PASSWORDS.add(key[1].replace(" ", ""))
        page = self.browser.send(page.form("code"), code=pyotp.TOTP(key[1].replace(" ", "")).now())
        assert page.status == 200, page.text

    def look_again(self) -> None:
        """Open the conversation as it is now."""
        self._form = self.browser.get(self.thread).form("text")

    def answer(self, text: str, octets: bytes) -> Page:
        """Send an answer with a file, in the form that was open before anything happened."""
        SPOKEN.add(text)
        return self.browser.send(self._form, files=[_file(octets)], text=text, do="send")

    def answer_cut_short(self, text: str, octets: bytes) -> None:
        """Begin to send an answer with a file, and hang up in the middle of the file."""
        self.browser.send_half(self._form, files=[_file(octets)], text=text, do="send")

    def sees(self, text: str) -> int:
        """Return how often a text stands in the conversation."""
        return self.browser.get(self.thread).text.count(text)


def _file(octets: bytes) -> tuple[str, str, str, bytes]:
    return "files", "releve.txt", "text/plain", SECRET.encode() + octets


def incident_on(page: Page) -> str:
    """Return the incident number that a page shows."""
    found = _INCIDENT.search(page.source)
    assert found, page.text
    return found[1]
