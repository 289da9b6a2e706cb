"""A patient's browser, as simple as can be: cookies, links, forms; no JavaScript, as the webmail needs none."""

from __future__ import annotations

import html
import http.client
import re
import secrets
import ssl
from dataclasses import dataclass, field
from html.parser import HTMLParser

from demo.clients import StepFailedError, expect

_REDIRECTS = (301, 302, 303, 307)


@dataclass(slots=True)
class Form:
    """A form of a page: its action and the fields with their present values."""

    action: str
    fields: list[tuple[str, str]] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(values.get("action", "")))
        elif tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag == "textarea" and self.forms and "name" in values:
            self.forms[-1].fields.append((values["name"], ""))
        elif tag == "input" and self.forms and "name" in values and _counts(values):
            self.forms[-1].fields.append((values["name"], values.get("value", "")))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def _counts(values: dict[str, str]) -> bool:
    """Say whether a browser would send the field: boxes only when ticked."""
    return values.get("type") not in ("checkbox", "radio") or "checked" in values


@dataclass(frozen=True, slots=True)
class Page:
    """A page that was answered."""

    status: int
    path: str
    octets: bytes
    headers: dict[str, str]

    @property
    def source(self) -> str:
        """The page's source."""
        return self.octets.decode("utf-8", "replace")

    def _read(self) -> _Reader:
        reader = _Reader()
        reader.feed(self.source)
        return reader

    @property
    def text(self) -> str:
        """What a person reads, spaces folded."""
        return " ".join(html.unescape(" ".join(self._read().text)).split())

    def form(self, having: str = "") -> Form:
        """Return the first form that has a field of that name, or whose action holds it."""
        forms = self._read().forms
        for form in forms:
            if having in form.action or any(name == having for name, _ in form.fields):
                return form
        raise StepFailedError(f"the page {self.path} has no form “{having}”")

    def links(self, pattern: str) -> list[str]:
        """Return the addresses of links that match a pattern."""
        return [bare for link in self._read().links if re.fullmatch(pattern, bare := link.partition("#")[0])]


class Browser:
    """One visit: cookies are kept, redirects followed, every page seen is remembered.

    An answer that admits a fault of the server fails the step, unless `faults` are what is looked for.
    """

    def __init__(self, port: int, tls: ssl.SSLContext, *, faults: bool = False) -> None:
        self._faults = faults
        self._port = port
        self._tls = tls
        self._cookies: dict[str, str] = {}
        self.seen: list[Page] = []

    def get(self, path: str) -> Page:
        """Open a page."""
        return self._follow(self._ask("GET", path, b"", {}))

    def send(self, form: Form, files: list[tuple[str, str, str, bytes]] | None = None, **fields: str) -> Page:
        """Send a form with some fields filled in; `files` are (field, name, type, octets)."""
        body, headers = self._filled(form, files or [], fields)
        return self._follow(self._ask("POST", form.action, body, headers))

    def send_half(self, form: Form, files: list[tuple[str, str, str, bytes]], **fields: str) -> None:
        """Begin to send a form and hang up half-way."""
        body, headers = self._filled(form, files, fields)
        connection = http.client.HTTPSConnection("localhost", self._port, timeout=20, context=self._tls)
        try:
            headers |= {"Cookie": self._cookie_line(), "Content-Length": str(len(body))}
            connection.request("POST", form.action, body[: len(body) // 2], headers)
        finally:
            connection.close()

    def _filled(
        self, form: Form, files: list[tuple[str, str, str, bytes]], fields: dict[str, str]
    ) -> tuple[bytes, dict[str, str]]:
        values = [(name, value) for name, value in form.fields if name not in fields and not name.startswith("files")]
        values += list(fields.items())
        body, content_type = _multipart(values, files)
        headers = {
            "Content-Type": content_type,
            "Origin": f"https://localhost:{self._port}",
            "Sec-Fetch-Site": "same-origin",
        }
        return body, headers

    def _cookie_line(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self._cookies.items())

    def _follow(self, page: Page) -> Page:
        for _ in range(5):
            if page.status not in _REDIRECTS:
                break
            page = self._ask("GET", page.headers["location"], b"", {})
        self.seen.append(page)
        return page

    def _ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Page:
        connection = http.client.HTTPSConnection("localhost", self._port, timeout=20, context=self._tls)
        try:
            always = {"Cookie": self._cookie_line(), "Accept-Language": "fr"}
            connection.request(method, path, body or None, always | headers)
            answer = connection.getresponse()
            octets = answer.read()
        finally:
            connection.close()
        for name, value in answer.getheaders():
            if name.lower() == "set-cookie":
                self._keep_cookie(value)
        expect(answer.status < 500 or self._faults, f"{path} answered {answer.status}")
        return Page(answer.status, path, octets, {name.lower(): value for name, value in answer.getheaders()})

    def _keep_cookie(self, value: str) -> None:
        name, _, rest = value.partition("=")
        content = rest.split(";", 1)[0]
        if "max-age=0" in value.lower() or not content.strip('"'):
            self._cookies.pop(name, None)
        else:
            self._cookies[name] = content


def _multipart(fields: list[tuple[str, str]], files: list[tuple[str, str, str, bytes]]) -> tuple[bytes, str]:
    boundary = secrets.token_hex(16)
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields
    ]
    for name, filename, content_type, octets in files:
        disposition = f'Content-Disposition: form-data; name="{name}"; filename="{filename}"'
        head = f"--{boundary}\r\n{disposition}\r\nContent-Type: {content_type}\r\n\r\n"
        parts.append(head.encode() + octets + b"\r\n")
    parts.append(f"--{boundary}--\r\n".encode())
    return b"".join(parts), f"multipart/form-data; boundary={boundary}"
