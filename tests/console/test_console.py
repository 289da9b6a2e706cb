"""The operator's port: alive, ready, well; and figures without persons."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest

from mss.clamd import Clamd
from mss.clock import from_us
from mss.console import app as console
from mss.console.metrics import OTHER, ImapCounts, Metrics, SmtpCounts, word
from mss.errors import Unavailable
from mss.imap.metrics import Metrics as ImapProtocol
from mss.model.audit import AuditEvent
from mss.model.peer import TrustList
from mss.services import operators
from mss.signin import SignIn, SignInMetrics
from mss.smtp.metrics import Metrics as SmtpProtocol
from mss.store import Uow
from mss.store.schema import Fit
from mss.tls import TlsMaterial
from tests.webmail.webmail_world import PAUL, START, World, copy_of, make_template, open_world


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("console-template"))


@pytest.fixture
async def world(template: Path, tmp_path: Path) -> AsyncIterator[World]:
    opened = await open_world(copy_of(template, tmp_path / "operator"))
    yield opened
    opened.sign_in.close()
    await opened.store.close()


class Port:
    """The operator's port and what it looks at."""

    def __init__(self, world: World) -> None:
        self.metrics = Metrics()
        self.trust: TrustList | None = TrustList(START, {}, START)
        self.app = console.build(world.store, world.config, world.hands, self.metrics, lambda: self.trust)

    async def get(self, path: str) -> httpx2.Response:
        transport = httpx2.ASGITransport(self.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get(path)


@pytest.fixture
def port(world: World, monkeypatch: pytest.MonkeyPatch) -> Port:
    monkeypatch.setattr(console, "certificate_expiry", lambda _path: START + timedelta(days=100))
    return Port(world)


@pytest.fixture
def broken_store(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_args: object) -> Any:
        raise Unavailable("the store is away")

    monkeypatch.setattr(world.store, "read", away)
    monkeypatch.setattr(world.store, "fit", away)


async def test_a_process_that_answers_is_alive(port: Port) -> None:
    response = await port.get("/livez")
    assert (response.status_code, response.text) == (200, "ok\n")


async def test_a_store_that_answers_in_its_newest_form_is_ready(port: Port) -> None:
    response = await port.get("/readyz")
    assert (response.status_code, response.text) == (200, "store: ok\nmigrations: ok\n")


@pytest.mark.usefixtures("broken_store")
async def test_without_its_store_a_node_lives_and_is_not_ready(port: Port) -> None:
    assert (await port.get("/livez")).status_code == 200
    response = await port.get("/readyz")
    assert (response.status_code, response.text) == (503, "store: not ok\nmigrations: not ok\n")
    figures = (await port.get("/metrics")).text
    assert "mss_store_up 0.0" in figures


async def test_an_older_form_of_the_store_is_not_ready(
    port: Port, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def older() -> Fit:
        return Fit.OLDER

    monkeypatch.setattr(world.store, "fit", older)
    assert (await port.get("/readyz")).text == "store: ok\nmigrations: not ok\n"


async def test_all_is_well(port: Port) -> None:
    response = await port.get("/healthz")
    assert response.status_code == 200
    assert response.json()["ok"]
    assert response.json()["checks"]["certificate-operator"] == {"ok": True, "value": "100 days left"}


@pytest.mark.parametrize(("days", "well"), [(13.9, False), (14, False), (14.1, True)])
async def test_a_certificate_that_ends_soon_needs_care(
    port: Port, monkeypatch: pytest.MonkeyPatch, days: float, well: bool
) -> None:
    monkeypatch.setattr(console, "certificate_expiry", lambda _path: START + timedelta(days=days))
    response = await port.get("/healthz")
    assert response.status_code == (200 if well else 503)
    assert response.json()["checks"]["certificate-operator"]["ok"] is well


async def test_a_certificate_that_cannot_be_read_needs_care(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    response = await port.get("/healthz")
    assert response.json()["checks"]["certificate-operator"]["value"] == "0 days left"


@pytest.mark.parametrize(("over_s", "well"), [(-1, True), (0, True), (1, False)])
async def test_a_trust_list_past_its_age_needs_care(port: Port, world: World, over_s: int, well: bool) -> None:
    world.hands.move(seconds=world.config.trust_list.max_age_s + over_s)
    response = await port.get("/healthz")
    assert response.json()["checks"]["trust-list"]["ok"] is well


async def test_no_trust_list_needs_care(port: Port) -> None:
    port.trust = None
    response = await port.get("/healthz")
    assert (response.status_code, response.json()["checks"]["trust-list"]["value"]) == (503, "none")
    assert "mss_whitelist_age_seconds NaN" in (await port.get("/metrics")).text


class Lists:
    """What the port looks at of the certificates in use."""

    def __init__(self, due_s: float | None, problems: tuple[str, ...] = ()) -> None:
        self.problems, self.revocation = problems, self
        self.next_update = None if due_s is None else START + timedelta(seconds=due_s)


@pytest.mark.parametrize(
    ("lists", "lists_well", "files_well", "figures"),
    [
        (Lists(3600.0), True, True, ("mss_revocation_lists_left_seconds 3600.0", "mss_certificate_problems 0.0")),
        (Lists(1.0), True, True, ("mss_revocation_lists_left_seconds 1.0",)),
        (Lists(0.0), False, True, ("mss_revocation_lists_left_seconds 0.0",)),
        (Lists(-60.0, ("a", "b")), False, False, ("left_seconds -60.0", "mss_certificate_problems 2.0")),
        (Lists(None), False, True, ("mss_revocation_lists_left_seconds NaN",)),
    ],
)
async def test_late_lists_and_bad_files_need_care(
    world: World, monkeypatch: pytest.MonkeyPatch, lists: Lists, lists_well: bool, files_well: bool, figures: Any
) -> None:
    monkeypatch.setattr(console, "certificate_expiry", lambda _path: START + timedelta(days=100))
    port = Port(world)
    port.app = console.build(
        world.store, world.config, world.hands, port.metrics, lambda: port.trust, cast(TlsMaterial, lists)
    )
    port.metrics.responder_said("revoked")
    checks = (await port.get("/healthz")).json()["checks"]
    assert (checks["revocation-lists"]["ok"], checks["certificate-files"]["ok"]) == (lists_well, files_well)
    text = (await port.get("/metrics")).text
    assert all(figure in text for figure in (*figures, 'mss_ocsp_answers_total{status="revoked"} 1.0'))


async def test_the_figures_have_their_names(port: Port, world: World) -> None:
    world.hands.move(seconds=7)
    port.metrics.smtp.session_opened("mx")
    port.metrics.smtp.command("mx", "MAIL", 0.002)
    port.metrics.smtp.letter("mx", "accepted", 2000)
    port.metrics.smtp.letter("submission", "refused", 2000)
    port.metrics.smtp.refused("rcpt", "patient.unknown")
    port.metrics.smtp.attempt("relayed", 0.2)
    port.metrics.smtp.session_closed("mx", "quit")
    port.metrics.imap.session_opened()
    port.metrics.imap.state("", "selected")
    port.metrics.imap.state("selected", "idle")
    port.metrics.imap.command("UID FETCH", "OK", 0.01)
    port.metrics.imap.session_closed("logout")
    port.metrics.signed_in("PLAIN", "bad-credentials")
    port.metrics.kept_up("sessions", 3, from_us(90_000_000))
    response = await port.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    for line in (
        'mss_smtp_sessions_total{listener="mx",outcome="quit"} 1.0',
        'mss_smtp_sessions_open{listener="mx"} 0.0',
        'mss_smtp_command_seconds_count{listener="mx",verb="MAIL"} 1.0',
        'mss_messages_accepted_total{direction="in"} 1.0',
        'mss_messages_refused_total{rule="patient.unknown",stage="rcpt"} 1.0',
        'mss_delivery_attempts_total{outcome="relayed"} 1.0',
        'mss_delivery_seconds_count{outcome="relayed"} 1.0',
        'mss_imap_sessions{state="idle"} 1.0',
        'mss_imap_sessions{state="selected"} 0.0',
        'mss_imap_command_seconds_count{command="UID FETCH",condition="OK"} 1.0',
        'mss_auth_total{mechanism="PLAIN",outcome="bad-credentials"} 1.0',
        "mss_queue_oldest_seconds 0.0",
        "mss_whitelist_age_seconds 7.0",
        'mss_certificate_expiry_seconds{name="operator"}',
        'mss_upkeep_removed_total{job="sessions"} 3.0',
        'mss_upkeep_done_timestamp_seconds{job="sessions"} 90.0',
        "mss_store_up 1.0",
        "mss_build_info{version=",
    ):
        assert line in response.text, line
    assert 'mss_messages_accepted_total{direction="out"}' not in response.text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("quit", "quit"),
        ("UID FETCH", "UID FETCH"),
        ("box.closed", "box.closed"),
        ("claire.martin@chu.fr", OTHER),
        ("279035121518989", OTHER),
        ("", OTHER),
        ("x" * 31, "x" * 31),
        ("x" * 32, OTHER),
        ('a"b', OTHER),
        ("a\nb", OTHER),
        ("é", OTHER),
    ],
)
def test_a_label_is_a_word_of_ours(value: str, shown: str) -> None:
    assert word(value) == shown


async def test_no_label_carries_a_person(port: Port) -> None:
    person = "279035121518989@patient.mssante.fr"
    port.metrics.smtp.session_opened(person)
    port.metrics.smtp.session_closed(person, person)
    port.metrics.smtp.command(person, person, 1)
    port.metrics.smtp.refused(person, person)
    port.metrics.smtp.letter(person, person, 1)
    port.metrics.smtp.attempt(person, 1)
    port.metrics.imap.session_closed(person)
    port.metrics.imap.state(person, person)
    port.metrics.imap.command(person, person, 1)
    port.metrics.signed_in(person, person)
    port.metrics.smtp.conformity(person, {person: person})
    port.metrics.kept_up(person, 1, from_us(0))
    text = (await port.get("/metrics")).text
    assert "patient.mssante" not in text
    assert not re.search(r"\d{13}", text)


async def test_software_is_counted_by_its_number_and_only_so_many(port: Port) -> None:
    smtp = port.metrics.smtp
    for software in ("DEV935997", "dev935997", "", "Logiciel de Paul"):
        smtp.conformity(software, {"software": "good", "ins": "none"})
    for n in range(300):
        smtp.conformity(f"AB{n:07}", {})
    text = (await port.get("/metrics")).text
    assert 'mss_submission_software_total{number="DEV935997"} 2.0' in text
    assert 'mss_submission_software_total{number="none"} 1.0' in text
    assert 'mss_submission_conformity_total{check="ins",result="none"} 4.0' in text
    assert "Paul" not in text
    assert text.count("mss_submission_software_total{") <= 201


def test_the_counts_fit_what_the_doors_ask_for() -> None:
    metrics = Metrics()
    smtp: SmtpProtocol = metrics.smtp
    imap: ImapProtocol = metrics.imap
    signing_in: SignInMetrics = metrics
    assert isinstance(smtp, SmtpCounts)
    assert isinstance(imap, ImapCounts)
    assert signing_in is metrics


async def test_sign_ins_are_counted_once(world: World, port: Port) -> None:
    from mss.model.secret import Secret

    sign_in = SignIn(world.store, world.hands, world.config.limits, port.metrics)
    await sign_in.check("personne", Secret.of("x"), "PLAIN", "192.0.2.1")
    sign_in.close()
    assert 'mss_auth_total{mechanism="PLAIN",outcome="bad-credentials"} 1.0' in (await port.get("/metrics")).text


@pytest.mark.parametrize(
    ("path", "method", "status"), [("/", "GET", 404), ("/metrics", "POST", 405), ("/x", "GET", 404)]
)
async def test_there_is_nothing_else(port: Port, path: str, method: str, status: int) -> None:
    transport = httpx2.ASGITransport(port.app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        assert (await client.request(method, path)).status_code == status


async def test_probes_leave_no_lines_until_something_is_wrong(
    port: Port, capsys: pytest.CaptureFixture[str], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await port.get("/livez")
    assert "http.request" not in "".join(capsys.readouterr())
    port.trust = None
    await port.get("/healthz")
    assert "http.request" in "".join(capsys.readouterr())


# -- the page that explains -------------------------------------------------------------------------------------------


class Pages(Port):
    """The operator's port with its page, on a loopback address."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        config = replace(world.config, ops=replace(world.config.ops, listen="127.0.0.1:0", pages=True))
        self.app = console.build(world.store, config, world.hands, self.metrics, lambda: self.trust)

    async def ask(self, *, host: str = "127.0.0.1", site: str = "same-origin", **fields: str) -> httpx2.Response:
        transport = httpx2.ASGITransport(self.app)
        async with httpx2.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
            return await client.post("/explain", data=fields, headers={"Sec-Fetch-Site": site})


async def test_there_is_no_page_unless_configured(port: Port) -> None:
    assert (await port.get("/explain")).status_code == 404


async def test_a_letter_that_might_be_is_explained_in_both_languages(world: World) -> None:
    pages = Pages(world)
    assert (await pages.get("/explain")).status_code == 200
    box = await world.box(PAUL, "Paul DUPONT")
    answer = await pages.ask(sender="dr@nowhere.example", to=box.address.spec, subject="x")
    assert answer.status_code == 200
    assert "peer.no-trust-list" in answer.text
    assert "La liste blanche n’a pas encore été lue." in answer.text
    assert "Would change with: a trust list" in answer.text


async def test_a_letter_that_came_is_explained_by_its_receipt(world: World) -> None:
    pages, box = Pages(world), await world.box(PAUL, "Paul DUPONT")
    receipt = await world.receive(world.letter(box))
    answer = await pages.ask(receipt=receipt.number)
    assert "letter.accept: accept by box.receives" in answer.text
    assert (await pages.ask(receipt="0")).status_code == 422


@pytest.mark.parametrize(
    "fields",
    [
        {"sender": "x", "to": "y"},
        {"document": "1", "to": "a@b.example", "reader": "x", "purpose": "TREAT"},
        {"document": "x", "to": "a@b.example", "purpose": "TREAT"},
        {"document": "1", "to": "a@b.example", "purpose": "no"},
    ],
)
async def test_what_cannot_be_asked_is_said(world: World, fields: dict[str, str]) -> None:
    answer = await Pages(world).ask(**fields)
    assert answer.status_code == 422
    assert "This cannot be asked" in answer.text


async def test_no_other_site_and_no_other_name_reaches_the_page(world: World) -> None:
    pages = Pages(world)
    assert (await pages.ask(site="cross-site")).status_code == 403
    assert (await pages.ask(host="evil.example")).status_code == 421
    assert (await pages.get("/explain")).headers["content-security-policy"].startswith("default-src 'none'")


# -- what comes into the journal ---------------------------------------------------------------------------------------


def _note(uow: Uow, *events: AuditEvent) -> None:
    for event in events:
        uow.journal.write(event, START)


EVENTS = (
    AuditEvent("peer:mx", "letter.accept", "receipt:1", "accept", "box.receives"),
    AuditEvent("peer:mx", "letter.refuse", "receipt:2", "reject", "peer.not-listed"),
    AuditEvent("system:report", "report.send", "delivery:1", facts={"kind": "failed"}),
    AuditEvent("system:report", "report.send", "box:1", facts={"kind": "disposition-903"}),
    AuditEvent("peer:mx", "document.file", "document:1", facts={"letter": 3, "by": "letter"}),
    AuditEvent("peer:mx", "document.unfiled", "box:1", facts={"reason": "no-ins", "code": 903}),
    AuditEvent("peer:mx", "document.unfiled", "box:1", facts={"reason": "Dominique PAT-TROIS, 1979", "code": 906}),
)


async def test_what_comes_into_the_journal_is_counted_once_it_is_on_disk(port: Port, world: World) -> None:
    world.store.tell(port.metrics.noted)
    await world.store.write(_note, *EVENTS)
    with pytest.raises(RuntimeError):
        await world.store.write(_note_and_fail)
    figures = (await port.get("/metrics")).text
    for line in (
        'mss_policy_decisions_total{decision="accept",rule="box.receives"} 1.0',
        'mss_policy_decisions_total{decision="reject",rule="peer.not-listed"} 1.0',
        'mss_dsn_total{kind="failed"} 1.0',
        'mss_dsn_total{kind="disposition-903"} 1.0',
        'mss_filing_total{outcome="filed",reason="letter"} 1.0',
        'mss_filing_total{outcome="unfiled",reason="no-ins"} 1.0',
        f'mss_filing_total{{outcome="unfiled",reason="{OTHER}"}} 1.0',
    ):
        assert line in figures
    assert "PAT-TROIS" not in figures


def _note_and_fail(uow: Uow) -> None:
    _note(uow, *EVENTS)
    raise RuntimeError


async def test_the_age_of_the_directory(port: Port, world: World) -> None:
    assert "mss_directory_sync_age_seconds NaN" in (await port.get("/metrics")).text
    generation = await world.store.write(operators.begin_directory, START)
    await world.store.write(operators.publish_directory, generation, START)
    world.hands.move(minutes=2)
    assert "mss_directory_sync_age_seconds 120.0" in (await port.get("/metrics")).text


class Asked(Clamd):
    """An antivirus that says when its signatures were made, or nothing."""

    def __init__(self, answer: datetime | Exception | None) -> None:
        self.answer = answer

    async def database_at(self) -> datetime | None:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "well", "said", "age"),
    [
        (START - timedelta(hours=5), True, "signatures 5 h old", "18000.0"),
        (START - timedelta(days=4), False, "signatures 96 h old", "345600.0"),
        (None, True, "signatures of unknown age", "NaN"),
        (Unavailable("away"), False, "no answer", "NaN"),
    ],
)
async def test_the_antivirus_is_looked_at(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    answer: datetime | Exception | None,
    well: bool,
    said: str,
    age: str,
) -> None:
    monkeypatch.setattr(console, "certificate_expiry", lambda _path: START + timedelta(days=100))
    port = Port(world)
    port.app = console.build(
        world.store, world.config, world.hands, port.metrics, lambda: port.trust, clamd=Asked(answer)
    )
    found = (await port.get("/healthz")).json()["checks"]["antivirus"]
    assert found == {"ok": well, "value": said}
    port.metrics.scanned("clean")
    figures = (await port.get("/metrics")).text
    assert 'mss_av_scans_total{verdict="clean"} 1.0' in figures
    assert f"mss_av_database_age_seconds {age}" in figures


def test_orders_have_figures_of_their_own() -> None:
    metrics = Metrics()
    metrics.hl7.order("mllp", "done", "", 0.2)
    metrics.hl7.order("folder", "refused", "hl7.unreadable", 0.01)
    metrics.hl7.session_opened()
    metrics.hl7.session_opened()
    metrics.hl7.session_closed("not MLLP: a message begins with VT")
    figures = metrics.text().decode()
    for line in (
        'mss_hl7_orders_total{outcome="done",rule="none",way="mllp"} 1.0',
        'mss_hl7_orders_total{outcome="refused",rule="hl7.unreadable",way="folder"} 1.0',
        'mss_hl7_order_seconds_count{way="mllp"} 1.0',
        "mss_hl7_sessions_open 1.0",
        'mss_hl7_sessions_total{outcome="other"} 1.0',
    ):
        assert line in figures
