"""One patient operator on a real store, letters from a hospital, and a browser that reads pages as people do."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import httpx2
import pyotp
from lxml import html

from mss import passwords
from mss.config import Config, DomainConfig, Limits, OperatorConfig, PolicyConfig, StoreConfig, WebmailConfig
from mss.dossier import cda, xdm
from mss.dossier.make import make_cda
from mss.mail.compose import Attachment, Correspondent, Draft, compose
from mss.model.account import Account, AccountKind, Box, Delegation, DelegationKind
from mss.model.address import Address, Domain
from mss.model.document import AttachedDocument, Author, PatientIdentity
from mss.model.envelope import Envelope, Recipient
from mss.model.ins import INS, OID_NIR_TEST, Traits
from mss.model.party import BoxKind
from mss.model.secret import Secret
from mss.services import accounts, house, receive
from mss.services.accounts import NewBox, Try, WebSession
from mss.services.house import Hosted
from mss.services.reading import read_letter
from mss.services.receive import Origin, Receipt
from mss.services.submit import Outside
from mss.signin import SignIn
from mss.store import Store, Uow
from mss.store.store import create
from mss.web.sessions import Cookies, hash_of, new_token
from mss.webmail.app import build

START = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
PASSWORD = "un cheval correct"
PASSWORD_HASH = passwords.hash_password(PASSWORD)
TOTP = Secret.of("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")
HOSPITAL = Domain("chu.mssante.fr")
PATIENTS = Domain("patient.mssante.fr")
DOCTOR = Correspondent(Address.parse("claire.martin@chu.mssante.fr"), "Dr Claire MARTIN – CHU de Test")
WARD = Correspondent(Address.parse("cardiologie@chu.mssante.fr"), "Service de cardiologie – CHU de Test")
PAUL = INS.parse("279035121518989", OID_NIR_TEST)
CHILD = INS.parse("277076322082910", OID_NIR_TEST)
SOURCE, DEVICE = "192.0.2.7", "Chrome – Linux"
CHROMIUM = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0 Safari/537.36"


class Hands:
    """A clock whose hands the test moves."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def move(self, **span: float) -> None:
        """Let time pass."""
        self.now += timedelta(**span)


def config_of(root: Path) -> Config:
    """The configuration of the patients' operator."""
    return Config(
        operator=OperatorConfig("Espace de test", "mx.patient.mssante.fr"),
        domains=(DomainConfig(str(PATIENTS), "patient"),),
        store=StoreConfig(readers=2),
        webmail=WebmailConfig(default_locale="fr"),
        policy=PolicyConfig(test_identities=True),
        root=root,
    )


def make_template(folder: Path) -> Path:
    """Make an empty store to be copied: making one takes a second, copying a millisecond."""
    (folder / "data").mkdir()
    (folder / "keys").mkdir()
    create(config_of(folder), lambda: START)
    return folder


@dataclass
class World:
    """The operator, its clock, and its webmail."""

    root: Path
    config: Config
    store: Store
    hands: Hands
    sign_in: SignIn
    app: Any
    letters: int = 0
    reachable: frozenset[str] = frozenset({str(HOSPITAL)})
    logins: dict[str, Account] = field(default_factory=dict)

    def outside(self) -> Outside:
        return Outside(self.reachable, 86400)

    @property
    def hosted(self) -> Hosted:
        return house.hosted(self.config)

    async def box(self, ins: INS, name: str, traits: Traits | None = None) -> Box:
        new = NewBox(Address(ins.matricule, PATIENTS), BoxKind.PATIENT, name, ins=ins, traits=traits)
        return await self.store.write(accounts.create_box, new, "test", self.hands.now)

    async def account(
        self, login: str, box: Box, *, kind: DelegationKind = DelegationKind.OWNER, second_factor: bool = True
    ) -> Account:
        now = self.hands.now

        def make(uow: Uow) -> Account:
            made = accounts.create_account(
                uow, login, AccountKind.PATIENT, box.display_name, PASSWORD_HASH, "test", now
            )
            accounts.delegate(uow, Delegation(made.id, box.id, kind), "test", now)
            if second_factor:
                accounts.set_second_factor(uow, made.id, TOTP, (), now)
                accounts.use_code(uow, made.id, 1, now)
            return made

        self.logins[login] = await self.store.write(make)
        return self.logins[login]

    async def receive(self, draft: Draft, *recipients: Address) -> Receipt:
        """Let a letter from the hospital come in."""
        reading = read_letter(compose(draft), self.config.limits, documents=True)
        to = recipients or tuple(one.address for one in draft.to)
        envelope = Envelope(draft.sender.address, tuple(Recipient(one) for one in to))
        origin = Origin("peer:chu.test", frozenset({HOSPITAL}))
        return await self.store.write(receive.accept, self.hosted, origin, envelope, reading, self.hands.now)

    def letter(self, box: Box, subject: str = "Votre consultation", text: str = "Bonjour.", **values: Any) -> Draft:
        """Return a letter from the doctor to a patient, to be changed by `values`."""
        self.letters += 1
        message_id = f"<letter-{self.letters}@chu.mssante.fr>"
        to = (Correspondent(box.address, box.display_name),)
        return replace(Draft(DOCTOR, to, subject, self.hands.now, message_id, text), **values)

    def browser(self, **headers: str) -> Browser:
        return Browser(self, headers)


async def open_world(root: Path, **changes: Any) -> World:
    """Open the store in a folder that was copied from the template, with a webmail on it."""
    hands = Hands()
    config = replace(config_of(root), **changes)
    store = Store(config)
    await store.start()
    sign_in = SignIn(store, hands, config.limits)
    world = World(root, config, store, hands, sign_in, None)
    world.app = build(store, config, hands, sign_in, lambda: world.outside())
    return world


def copy_of(template: Path, to: Path) -> Path:
    """Copy the template's files."""
    shutil.copytree(template, to, dirs_exist_ok=True)
    return to


@dataclass
class Page:
    """An answer, and its elements when it is a page."""

    response: httpx2.Response

    @property
    def status(self) -> int:
        return self.response.status_code

    @property
    def path(self) -> str:
        return self.response.url.path

    @property
    def source(self) -> str:
        return self.response.text

    @property
    def tree(self) -> Any:
        return html.fromstring(self.response.text)

    @property
    def text(self) -> str:
        """What stands on the page, as one line (form fields included)."""
        return " ".join(self.tree.text_content().split())

    @property
    def title(self) -> str:
        return " ".join(str(self.tree.findtext(".//title")).split())

    def links(self) -> list[tuple[str, str]]:
        """(text, href) of all links."""
        return [(" ".join(a.text_content().split()), a.get("href")) for a in self.tree.iter("a")]

    def link(self, text: str) -> str:
        """Return where the first link leads whose text begins so."""
        return next(href for name, href in self.links() if name.startswith(text))


class Browser:
    """Follows links and sends forms as a browser without scripts does: cookies, hidden fields, Sec-Fetch-Site."""

    def __init__(self, world: World, headers: dict[str, str]) -> None:
        transport = httpx2.ASGITransport(world.app, client=(SOURCE, 5000))
        self.world = world
        self.client = httpx2.AsyncClient(
            transport=transport,
            base_url="https://espace.test",
            follow_redirects=True,
            headers={"User-Agent": CHROMIUM, "Accept-Language": "fr-FR,fr;q=0.9"} | headers,
        )
        self.page = Page(httpx2.Response(200, request=httpx2.Request("GET", "https://espace.test/")))

    async def get(self, path: str, **headers: str) -> Page:
        self.page = Page(await self.client.get(path, headers={"Sec-Fetch-Site": "same-origin"} | headers))
        return self.page

    async def follow(self, text: str) -> Page:
        """Follow the first link whose text begins so."""
        return await self.get(urljoin(str(self.page.response.url), self.page.link(text)))

    def form(self, button: str) -> tuple[Any, Any]:
        """Return the form with a button of this text, and the button."""
        for one in self.page.tree.iter("button"):
            if " ".join(one.text_content().split()).startswith(button):
                return next(one.iterancestors("form")), one
        raise AssertionError(f"no button “{button}” on {self.page.path}: {self.page.text[:500]}")

    def fields_of(self, button: str) -> list[tuple[str, str]]:
        """Return what a browser would send when the button is pressed."""
        form, pressed = self.form(button)
        fields = list(_fields(form))
        if pressed.get("name"):
            fields.append((pressed.get("name"), pressed.get("value") or ""))
        return fields

    async def press(
        self,
        button: str,
        fill: Mapping[str, str | list[str]] | None = None,
        *,
        files: tuple[tuple[str, bytes], ...] = (),
        headers: dict[str, str] | None = None,
        **values: str | list[str],
    ) -> Page:
        """Fill in a form and press its button."""
        form, _ = self.form(button)
        values |= fill or {}
        fields = [(name, value) for name, value in self.fields_of(button) if name not in values]
        for name, value in values.items():
            fields += [(name, one) for one in ([value] if isinstance(value, str) else value)]
        action = urljoin(str(self.page.response.url), form.get("action") or str(self.page.response.url))
        return await self.send(form.get("method", "get"), action, fields, files, headers or {}, form.get("enctype"))

    async def send(
        self,
        method: str,
        action: str,
        fields: list[tuple[str, str]],
        files: tuple[tuple[str, bytes], ...] = (),
        headers: dict[str, str] | None = None,
        enctype: str | None = None,
    ) -> Page:
        """Send a form's fields."""
        sent = {"Sec-Fetch-Site": "same-origin", "Origin": "https://espace.test"} | (headers or {})
        sent = {name: value for name, value in sent.items() if value}
        if method.lower() == "get":
            self.page = Page(await self.client.get(f"{action}?{urlencode(fields)}", headers=sent))
        elif enctype == "multipart/form-data":
            content, kind = multipart(fields, files)
            self.page = Page(await self.client.post(action, content=content, headers=sent | {"Content-Type": kind}))
        else:
            kind = "application/x-www-form-urlencoded"
            content = urlencode(fields).encode()
            self.page = Page(await self.client.post(action, content=content, headers=sent | {"Content-Type": kind}))
        return self.page

    async def sign_in(self, login: str, password: str = PASSWORD) -> Page:
        """Sign in with password and code."""
        await self.get("/sign-in")
        await self.press("Continuer", login=login, password=password)
        assert urlsplit(self.page.path).path == "/sign-in/code", self.page.text
        return await self.press("Se connecter", code=self.code())

    async def enter(self, login: str) -> str:
        """Be signed in, as after password and code, without the pages that lead there: it takes a tenth of the time.

        Returns what the cookie holds.
        """
        world, account = self.world, self.world.logins[login]
        begun_at, token = world.hands.now, new_token()
        world.hands.move(seconds=30)
        now = world.hands.now
        boxes = await world.store.read(accounts.boxes_of, account.id, now)
        session = WebSession(hash_of(token), account.id, boxes[0].box.id, new_token(), begun_at, now, True, DEVICE)
        tried = Try(login, account.id, "totp", SOURCE, code=True)

        def signed_in(uow: Uow) -> None:
            accounts.record_login(uow, tried, True, now)
            accounts.open_session(uow, session, now)

        await world.store.write(signed_in)
        self.keep(token)
        return token

    def keep(self, token: str) -> None:
        """Keep the cookie of a session."""
        self.client.cookies.set(Cookies(secure=True).session, token)

    def code(self) -> str:
        """The code of the present time step; a step later after each use, as the clock is moved on."""
        self.world.hands.move(seconds=30)
        return pyotp.TOTP(TOTP.text()).at(int(self.world.hands.now.timestamp()))


def _fields(form: Any) -> Iterator[tuple[str, str]]:
    for one in form.iter("input", "select", "textarea"):
        name, kind = one.get("name"), one.get("type", "text")
        if not name or kind in ("file", "submit"):
            continue
        if one.tag == "textarea":
            yield name, re.sub(r"\A\n", "", one.text or "").replace("\n", "\r\n")
        elif one.tag == "select":
            chosen = [o for o in one.iter("option") if o.get("selected") is not None] or list(one.iter("option"))[:1]
            yield from ((name, o.get("value", "")) for o in chosen)
        elif kind != "checkbox" or one.get("checked") is not None:
            yield name, one.get("value", "")


def multipart(fields: list[tuple[str, str]], files: tuple[tuple[str, bytes], ...]) -> tuple[bytes, str]:
    """Return a multipart/form-data body as browsers write it, and its type; no file gives one empty part."""
    parts = [
        f'--limit\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields
    ]
    for name, octets in files or (("", b""),):
        head = f'--limit\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
        parts.append(head.encode() + b"Content-Type: application/octet-stream\r\n\r\n" + octets + b"\r\n")
    return b"".join(parts) + b"--limit--\r\n", "multipart/form-data; boundary=limit"


PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)


def file(name: str, octets: bytes, kind: str = "application/octet-stream") -> Attachment:
    """A file for a letter."""
    return Attachment(name, kind, octets)


def identity(ins: INS = PAUL) -> PatientIdentity:
    """Who the documents are about."""
    return PatientIdentity(((ins.matricule, ins.oid),), Traits("DUPONT", "PAUL", "19790312", "M"))


def level_1(title: str = "Compte rendu de séjour", ins: INS = PAUL, unique_id: str = "1.2.250.1.999.1") -> bytes:
    """A clinical document whose body is a PDF."""
    author = Author("Dr Claire MARTIN", organisation="CHU de Test")
    return make_cda(patient=identity(ins), unique_id=unique_id, title=title, created_at=START, author=author)


def level_3(sections: str, ins: INS = PAUL, unique_id: str = "1.2.250.1.999.3") -> bytes:
    """A clinical document with sections; `sections` is what stands inside structuredBody."""
    document = level_1("Compte rendu structuré", ins, unique_id).decode()
    head, _, tail = document.partition("<nonXMLBody>")
    tail = tail.partition("</nonXMLBody>")[2]
    return f"{head}<structuredBody>{sections}</structuredBody>{tail}".encode()


def section(title: str, text: str) -> str:
    """A section of a structured body."""
    return f"<component><section><title>{title}</title><text>{text}</text></section></component>"


def archive(*documents: bytes) -> Attachment:
    """An IHE_XDM archive."""
    limits = Limits()
    attached = tuple(AttachedDocument(*cda.read_whole(octets, limits)[:1], octets) for octets in documents)
    octets = xdm.build(attached, unique_id="1.2.250.1.999.9", source_id="1.2.250.1.999", submitted_at=START)
    return Attachment("IHE_XDM.ZIP", "application/zip", octets)
