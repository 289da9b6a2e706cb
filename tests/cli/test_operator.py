"""`mss operator history|diff|test`: what was read, what changed, and why a session with an operator is well or not."""

from __future__ import annotations

import asyncio
import json
import smtplib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mss import pki
from mss.clock import system_clock
from mss.commands import peering
from mss.directory import trustlist
from mss.model.address import Domain
from mss.model.peer import DN, TrustList
from mss.smtp.reply import Reply
from mss.tls import TlsMaterial, dn_of
from tests.certs.responder import Responder, leaf_of
from tests.cli.cli_world import Desk
from tests.smtp.smtp_world import Recorder, serving
from tests.support.web import web

NOW = system_clock()
GIP, CHU = DN.parse("CN=mx.gip.example,O=GIP ESSAI,C=FR"), DN.parse("CN=mx.chu.example,O=CHU ESSAI,C=FR")
SUBJECT = [("C", "FR"), ("O", "GIP ESSAI"), ("CN", "mx.gip.example")]
PUBLISHED = next(
    (
        path
        for parent in Path(__file__).resolve().parents
        if (path := parent / "shared/data/liste-blanche/listeblanchemssante.xml").exists()
    ),
    None,
)


def write_list(path: Path, domains: dict[str, set[DN]], *, minutes_ago: int = 0) -> Path:
    listed = {Domain(name): frozenset(subjects) for name, subjects in domains.items()}
    path.write_bytes(trustlist.render(TrustList(NOW - timedelta(minutes=minutes_ago), listed, NOW)))
    return path


def ours(desk: Desk) -> DN:
    return dn_of(leaf_of(desk.folder / "certs/operator.pem"))


# History and differences


def test_the_history_tells_what_was_read_and_what_became_of_it(desk: Desk, tmp_path: Path) -> None:
    file = write_list(tmp_path / "list.xml", {"hopital.example": {CHU}, "patient.example": {CHU}}, minutes_ago=-1)
    desk.does("operator", "read", str(file))
    desk.does("operator", "read", str(file))
    cut = tmp_path / "cut.xml"
    cut.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    desk.fails("operator", "read", str(cut))
    head, refused, taken = desk.does("operator", "history").splitlines()
    assert head.split()[:3] == ["LAST", "READ", "FROM"]
    assert "command" in refused
    assert "refused" in refused
    assert "closing tag" in refused
    assert "taken as version 2" in taken
    assert "2 times since" in taken
    assert len(desk.does("operator", "history", "--limit", "1").splitlines()) == 2


def test_the_difference_of_two_versions(desk: Desk, tmp_path: Path) -> None:
    assert "0 domains came, 0 went, 0 changed" in desk.does("operator", "diff")
    base = {"hopital.example": {CHU}, "patient.example": {CHU}, "a.example": {CHU}, "b.example": {CHU}}
    base |= {f"{letter}.example": {CHU} for letter in "cdefgh"}
    desk.does("operator", "read", str(write_list(tmp_path / "1.xml", base, minutes_ago=-1)))
    second = {**base, "a.example": {CHU, GIP}, "new.example": {GIP}}
    del second["b.example"]
    desk.does("operator", "read", str(write_list(tmp_path / "2.xml", second, minutes_ago=-2)))
    lines = desk.does("operator", "diff").splitlines()
    assert lines[:3] == [
        f"+ a.example  {trustlist.written_dn(GIP)}",
        f"- b.example  {trustlist.written_dn(CHU)}",
        f"+ new.example  {trustlist.written_dn(GIP)}",
    ]
    assert lines[3] == "From version 2 to 3: 1 domains came, 1 went, 1 changed certificates."
    assert desk.does("operator", "diff", "2", "3") == "\n".join(lines) + "\n"
    assert "From version 3 to 2: 1 domains came, 1 went" in desk.does("operator", "diff", "3", "2")
    assert "version 9 is not kept: there are 1 to 3" in desk.fails("operator", "diff", "9")


def test_programs_read_the_same_in_json(desk: Desk, tmp_path: Path) -> None:
    base = {"hopital.example": {CHU}, "patient.example": {CHU}}
    desk.does("operator", "read", str(write_list(tmp_path / "1.xml", base, minutes_ago=-1)))
    desk.does("operator", "read", str(write_list(tmp_path / "2.xml", {**base, "new.example": {GIP}}, minutes_ago=-2)))
    gip, chu = trustlist.written_dn(GIP), trustlist.written_dn(CHU)
    listed = json.loads(desk.does("operator", "list", "--json"))
    assert (listed["version"], listed["domains"]) == (3, 3)
    assert {one["subject"]: one["domains"] for one in listed["operators"]} == {gip: ["new.example"], chu: sorted(base)}
    assert json.loads(desk.does("operator", "show", "new.example", "--json"))["subjects"] == [gip]
    changed = json.loads(desk.does("operator", "diff", "--json"))
    assert changed == {"from": 2, "to": 3, "changes": [{"domain": "new.example", "gone": [], "come": [gip]}]}
    newest, *_ = json.loads(desk.does("operator", "history", "--json"))
    assert (newest["verdict"], newest["version"], newest["domains"], len(newest["digest"])) == ("taken", 3, 3, 64)
    assert newest["last_at"] == newest["first_at"]


def test_a_clock_that_went_back_is_overruled_by_hand(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_list(tmp_path / "list.xml", {"hopital.example": {CHU}, "patient.example": {CHU}}, minutes_ago=-1)
    desk.does("operator", "read", str(file))
    monkeypatch.setattr("mss.commands.operator.system_clock", lambda: NOW - timedelta(hours=1))
    assert "--clock-is-right takes it" in desk.fails("operator", "read", str(file))
    desk.does("operator", "read", str(file), "--clock-is-right")


@pytest.mark.skipif(PUBLISHED is None, reason="the published list is not beside this checkout")
def test_the_published_list_is_refused_as_it_is_and_taken_once_it_is_whole(desk: Desk, tmp_path: Path) -> None:
    assert PUBLISHED is not None
    assert "closing tag" in desk.fails("operator", "read", str(PUBLISHED))
    whole = tmp_path / "whole.xml"
    whole.write_bytes(PUBLISHED.read_bytes().rstrip() + b"</ListeBlancheMSSante>")
    assert "2 of 2 domains would be gone at once" in desk.fails("operator", "read", str(whole))
    assert "516 domains" in desk.does("operator", "read", str(whole), "--accept-loss")
    assert len(desk.does("operator", "list").splitlines()) == 35 + 2
    assert len(desk.does("operator", "show", "15-20.mssante.fr").splitlines()) == 5
    assert "516 domains came, 2 went" in desk.does("operator", "diff")


# A session, step by step


class Other:
    """Another operator, and the trust list in which it may stand."""

    def __init__(self, desk: Desk, tmp_path: Path) -> None:
        self.desk, self.folder = desk, tmp_path / "other"
        self.authority = pki.load_authority(desk.folder / "authority")

    def issue(self, authority: pki.Authority | None = None, **more: object) -> Path:
        names = more.pop("names", ["mx.gip.example"])
        path, _ = pki.issue(self.folder, authority or self.authority, SUBJECT, names, now=NOW, **more)  # type: ignore[arg-type]
        return path

    def list(self, *domains: str) -> None:
        others = {domain: {GIP} for domain in domains}
        file = write_list(
            self.folder.parent / "list.xml",
            {"hopital.example": {ours(self.desk)}, "patient.example": {ours(self.desk)}, **others},
            minutes_ago=-1,
        )
        self.desk.does("operator", "read", str(file))

    def material(self) -> TlsMaterial:
        config = self.desk.config
        tls = replace(
            config.tls,
            certificate_file=self.folder / "operator.pem",
            key_file=self.folder / "operator.key",
            crl_files=(self.authority.crl_file,),
        )
        return TlsMaterial(replace(config, tls=tls))

    async def tested(self, door: Recorder | None = None, host: str = "localhost") -> dict[str, peering.Step]:
        async with serving(door or Recorder(), self.material()) as (_, port):
            config = self.desk.config
            routes = {"region.example": f"{host}:{port}"}
            config = replace(config, relay=replace(config.relay, routes=routes))
            steps = await asyncio.to_thread(list, peering.test(config, system_clock, "region.example"))
        return {step.subject: step for step in steps}


@pytest.fixture
def other(desk: Desk, tmp_path: Path) -> Other:
    return Other(desk, tmp_path)


@pytest.mark.journey
async def test_a_session_that_is_well(other: Other) -> None:
    other.issue()
    await asyncio.to_thread(other.list, "region.example")
    steps = await other.tested()
    assert list(steps) == [
        "trust list", "domain", "route", "connection", "STARTTLS", "TLS", "chain", "host name", "dates", "subject",
        "revocation lists", "responder (OCSP)", "extensions", "our certificate",
    ]  # fmt: skip
    assert [step.subject for step in steps.values() if not step.well] == []
    assert "TLSv1.3" in steps["TLS"].text
    assert "listed for region.example" in steps["subject"].text


@pytest.mark.journey
@pytest.mark.parametrize(
    ("kind", "bad", "text", "remedy"),
    [
        ("foreign", "handshake", "unable to get local issuer", "authority of [tls] ca_file"),
        ("expired", "handshake", "certificate has expired", "must renew"),
        ("name", "handshake", "mismatch", "its certificate must name"),
        ("revoked", "revocation lists", "is revoked", "another certificate"),
        ("unlisted", "subject", "listed for no domain", "the list wants"),
        ("elsewhere", "subject", "listed for 1 other domains only", "the list wants none"),
    ],
)
async def test_a_session_that_is_not(other: Other, tmp_path: Path, kind: str, bad: str, text: str, remedy: str) -> None:
    foreign = pki.make_authority(tmp_path / "foreign", now=NOW, name="ETRANGERE")
    path = other.issue(foreign if kind == "foreign" else None, days=-1 if kind == "expired" else 30)
    await asyncio.to_thread(other.list, *{"unlisted": (), "elsewhere": ("gip.example",)}.get(kind, ("region.example",)))
    if kind == "revoked":
        pki.revoke(other.authority, path, now=NOW)
        pki.publish(other.authority, other.desk.folder / "certs")
    if kind == "unlisted":
        remedy = "the list wants none"
    steps = await other.tested(host="127.1" if kind == "name" else "localhost")
    assert not steps[bad].well
    assert text in steps[bad].text
    assert remedy in steps[bad].remedy
    wrong = {step.subject for step in steps.values() if not step.well}
    expected = {bad} | ({"dates"} if kind == "expired" else set()) | ({"domain"} if bad == "subject" else set())
    assert wrong == expected


@pytest.mark.journey
@pytest.mark.parametrize(("revoked", "well", "text"), [(False, True, "says good"), (True, False, "says revoked")])
async def test_a_session_whose_responder_speaks(other: Other, revoked: bool, well: bool, text: str) -> None:
    with web() as served:
        leaf = leaf_of(other.issue(ocsp_url=served.url("/ocsp")))
        served.pages["/ocsp"] = Responder(
            other.authority, [leaf], {leaf.serial_number} if revoked else set(), clock=system_clock
        )
        await asyncio.to_thread(other.list, "region.example")
        step = (await other.tested())["responder (OCSP)"]
    assert (step.well, text in step.text) == (well, True)


@pytest.mark.journey
async def test_an_operator_that_does_not_know_us(other: Other) -> None:
    other.issue()
    await asyncio.to_thread(other.list, "region.example")
    steps = await other.tested(Recorder(answers={"mail": Reply(550, "5.7.1", "Who are you")}))
    assert not steps["our certificate"].well
    assert "550 5.7.1 Who are you" in steps["our certificate"].text


@pytest.mark.journey
def test_the_command_prints_a_line_for_each_check_and_fails_when_one_does(desk: Desk) -> None:
    result = desk.run("operator", "test", "region.example")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert [line[0] for line in lines] == ["✓", "✗", "✓", "✗"]
    assert lines[1] == "✗ domain: region.example is not in the trust list → no letter may go there: check the spelling"
    assert "connection: 127.0.0.1:1: Connection refused → see that a firewall" in lines[3]
    assert desk.run("operator", "test", "a b").stdout.startswith("✗ domain: ")
    told = desk.run("operator", "test", "region.example", "--json")
    assert told.exit_code == 1
    assert [(one["subject"], one["well"]) for one in json.loads(told.stdout)][1] == ("domain", False)


@pytest.mark.journey
async def test_no_encryption_is_said(other: Other, monkeypatch: pytest.MonkeyPatch) -> None:
    other.issue()
    await asyncio.to_thread(other.list, "region.example")
    monkeypatch.setattr(smtplib.SMTP, "has_extn", lambda _self, _name: False)
    steps = await other.tested()
    assert list(steps)[-1] == "STARTTLS"
    assert not steps["STARTTLS"].well
