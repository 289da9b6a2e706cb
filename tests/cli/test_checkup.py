"""`mss check`: a sound operator has nothing wrong, and each fault is found and says what to do."""

from __future__ import annotations

import shutil
import socket
import threading
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from mss import checkpeers, checkup, instance, pki
from mss.checkup import Finding
from mss.clock import system_clock
from mss.commands.settings import effective
from mss.config import MIB, Config, StoreConfig
from mss.errors import Unavailable
from mss.model.audit import AuditEvent
from mss.store import schema
from mss.store.keys import make_master_key
from mss.tls import certificate_expiry
from tests.cli.cli_world import Desk, one_line, typed

NOW = system_clock()


@pytest.fixture
def quiet(desk: Desk) -> Desk:
    """An operator that listens nowhere: its check opens no socket."""
    desk.close_doors()
    return desk


def found(desk: Desk, now: datetime = NOW, config: Config | None = None) -> tuple[Finding, ...]:
    return checkup.run(config or desk.config, lambda: now)


def wrong(desk: Desk, now: datetime = NOW, config: Config | None = None) -> dict[str, str]:
    """Return what is wrong: subject → text and remedy."""
    return {f"{one.subject}": f"{one.text} → {one.remedy}" for one in found(desk, now, config) if one.level == "wrong"}


def levels(desk: Desk, subject: str, now: datetime = NOW) -> set[str]:
    return {one.level for one in found(desk, now) if one.subject == subject}


def test_signing_keys_are_tried(quiet: Desk) -> None:
    assert levels(quiet, "signatures") == set()
    setting = quiet.does("dkim", "keygen", "hopital.example", "--selector", "s1").splitlines()[-1]
    with quiet.toml.open("a", encoding="utf-8") as file:
        file.write(f"\n[dkim]\nkeys = [{setting}]\n")
    assert levels(quiet, "signatures") == {"ok"}
    assert levels(quiet, "signatures", NOW - timedelta(days=2)) == {"warning"}
    (quiet.folder / "keys/dkim-hopital.example-s1.pem").write_bytes(b"garbage")
    assert "is no RSA private key" in wrong(quiet)["signatures"]


def test_nothing_is_wrong_with_a_new_operator(quiet: Desk) -> None:
    assert wrong(quiet) == {}
    assert checkup.is_well(found(quiet))


def test_everything_was_looked_at(quiet: Desk) -> None:
    subjects = {one.subject for one in found(quiet)}
    assert subjects >= {
        *("domain", "postmaster", "certificate", "handshake", "revocation", "revocation lists", "trust list"),
        *("trust list in use", "master key", "store", "clock", "blobs", "disk", "test identities"),
    }


def test_every_fault_says_what_to_do(quiet: Desk) -> None:
    shutil.rmtree(quiet.folder / "certs")
    shutil.rmtree(quiet.folder / "keys")
    faults = [one for one in found(quiet) if one.level == "wrong"]
    assert len(faults) > 4
    assert all(one.remedy for one in faults)


# Certificates -----------------------------------------------------------------------------------------------------


def _ends(desk: Desk) -> datetime:
    return certificate_expiry(desk.folder / "certs" / "operator.pem")


@pytest.mark.parametrize(
    ("before_the_end", "level"),
    [
        (timedelta(days=30, seconds=1), "ok"),
        (timedelta(days=30), "ok"),
        (timedelta(days=30) - timedelta(seconds=1), "warning"),
        (timedelta(seconds=1), "warning"),
        (timedelta(0), "wrong"),
        (timedelta(days=-1), "wrong"),
    ],
)
def test_a_certificate_is_renewed_in_time(quiet: Desk, before_the_end: timedelta, level: str) -> None:
    path = quiet.folder / "certs" / "operator.pem"
    assert checkpeers._expiry("certificate", path, _ends(quiet) - before_the_end).level == level


def test_an_expired_certificate_is_found(quiet: Desk) -> None:
    late = _ends(quiet) + timedelta(days=1)
    faults = wrong(quiet, late)
    assert "it ended on" in faults["certificate"]
    assert "outside its dates" in faults["revocation lists"]


def test_a_client_facing_certificate_of_its_own_is_looked_at(quiet: Desk) -> None:
    authority = pki.load_authority(quiet.folder / "authority")
    pki.issue(quiet.folder / "facing", authority, [("CN", "web.example")], ["web.example"], now=NOW, days=10)
    lines = 'client_facing_certificate_file = "facing/operator.pem"\nclient_facing_key_file = "facing/operator.key"\n'
    quiet.change('ca_file = "certs/ca.pem"\n', f'ca_file = "certs/ca.pem"\n{lines}')
    assert levels(quiet, "client-facing certificate") == {"warning"}


def test_robots_without_a_revocation_list_are_warned_of(quiet: Desk) -> None:
    quiet.change('ca_file = "certs/ca.pem"\n', 'ca_file = "certs/ca.pem"\nclient_ca_file = "certs/ca.pem"\n')
    assert levels(quiet, "robots' certificates") == {"warning"}
    quiet.change('client_ca_file = "certs/ca.pem"\n', 'client_ca_file = "certs/none.pem"\n')
    assert "none.pem" in wrong(quiet)["certificate"]


@pytest.mark.parametrize(
    ("issuer", "said"),
    [("http://id.example", "only https"), ("https://id.example", "no keys can be had")],
)
def test_an_issuer_of_tokens_that_cannot_be_asked_is_found(
    quiet: Desk, monkeypatch: pytest.MonkeyPatch, issuer: str, said: str
) -> None:
    async def nobody(*_args: object, **_named: object) -> bytes:
        raise Unavailable("nobody there")

    monkeypatch.setattr("mss.tokens.issuer.fetch", nobody)
    with quiet.toml.open("a", encoding="utf-8") as file:
        file.write(f'\n[tokens]\nissuer = "{issuer}"\naudiences = ["mss"]\n')
    [finding] = [one for one in found(quiet) if one.subject == "tokens"]
    assert said in finding.text
    assert finding.level == ("wrong" if "https" in said else "warning")


def test_a_key_of_another_certificate_is_found(quiet: Desk) -> None:
    authority = pki.load_authority(quiet.folder / "authority")
    _, key = pki.issue(quiet.folder / "x", authority, [("CN", "x.example")], ["x.example"], now=NOW)
    shutil.copy(key, quiet.folder / "certs" / "operator.key")
    assert "cannot use" in wrong(quiet)["certificate"]


def test_a_certificate_for_another_host_is_found(quiet: Desk) -> None:
    quiet.change('hostname = "localhost"', 'hostname = "mx.hopital.example"')
    assert "mx.hopital.example" in wrong(quiet)["handshake"]


def test_a_certificate_of_an_unknown_authority_is_found(quiet: Desk, tmp_path: Path) -> None:
    foreign = pki.make_authority(tmp_path / "foreign", now=NOW)
    pki.publish(foreign, quiet.folder / "certs")
    faults = wrong(quiet)
    assert "peers would refuse" in faults["handshake"]
    assert "revocation lists" in faults


def test_a_revoked_certificate_is_found(quiet: Desk) -> None:
    authority = pki.load_authority(quiet.folder / "authority")
    pki.revoke(authority, quiet.folder / "certs" / "operator.pem", now=NOW)
    pki.publish(authority, quiet.folder / "certs")
    assert "revoked" in wrong(quiet)["revocation"]


def test_old_revocation_lists_are_found(quiet: Desk) -> None:
    assert "past its date" in wrong(quiet, NOW + timedelta(days=366))["revocation"]


def test_a_missing_revocation_list_is_found(quiet: Desk) -> None:
    (quiet.folder / "certs" / "crl.pem").unlink()
    faults = wrong(quiet)
    assert "crl.pem" in faults["revocation lists"]
    assert "no usable list" in faults["revocation"]


def test_an_operator_without_revocation_lists_is_told(quiet: Desk) -> None:
    quiet.change('crl_files = ["certs/crl.pem"]', "crl_files = []")
    assert "none is configured" in wrong(quiet)["revocation lists"]


# Trust list -------------------------------------------------------------------------------------------------------


def test_a_damaged_trust_list_is_found(quiet: Desk) -> None:
    path = quiet.folder / "trust-list.xml"
    path.write_bytes(path.read_bytes().replace(b"</ListeBlancheMSSante>", b""))
    assert "cut short" in wrong(quiet)["trust list file"]


def test_a_trust_list_that_does_not_name_us_is_found(quiet: Desk) -> None:
    quiet.change('name = "hopital.example"', 'name = "clinique.example"')
    assert "does not list our certificate for clinique.example" in wrong(quiet)["trust list"]
    assert "CN=localhost" in wrong(quiet)["trust list"]


def test_a_missing_trust_list_is_found_and_none_at_all_is_a_warning(quiet: Desk) -> None:
    (quiet.folder / "trust-list.xml").unlink()
    assert "trust-list.xml" in wrong(quiet)["trust list file"]
    quiet.change('file = "trust-list.xml"\n', "")
    assert levels(quiet, "trust list") == {"warning"}


@pytest.mark.parametrize(("more_s", "level"), [(-60, "ok"), (60, "wrong")])
def test_a_trust_list_that_was_not_read_for_long_is_found(quiet: Desk, more_s: int, level: str) -> None:
    age = timedelta(seconds=quiet.config.trust_list.max_age_s + more_s)
    assert levels(quiet, "trust list in use", system_clock() + age) == {level}


# Store ------------------------------------------------------------------------------------------------------------


def test_a_master_key_that_others_may_read_is_found(quiet: Desk) -> None:
    (quiet.folder / "keys" / "master.key").chmod(0o640)
    assert "chmod 600" in wrong(quiet)["master key"]


def test_a_lost_master_key_is_found(quiet: Desk) -> None:
    (quiet.folder / "keys" / "master.key").unlink()
    faults = wrong(quiet)
    assert "master.key" in faults["master key"]
    assert "cannot be read" in faults["store"]


def test_the_master_key_of_another_operator_is_found(quiet: Desk) -> None:
    path = quiet.folder / "keys" / "master.key"
    path.unlink()
    make_master_key(path)
    assert "store" in wrong(quiet)


def test_lost_databases_are_found_and_not_made_anew(quiet: Desk) -> None:
    (quiet.folder / "keys" / "keys.sqlite").unlink()
    assert "backup" in wrong(quiet)["keys"]
    assert not (quiet.folder / "keys" / "keys.sqlite").exists()
    shutil.copy(quiet.folder / "data" / "store.sqlite", quiet.folder / "keys" / "keys.sqlite")
    (quiet.folder / "data" / "store.sqlite").unlink()
    assert "mss init" in wrong(quiet)["store"]


def test_tables_of_an_older_form_are_found(quiet: Desk) -> None:
    schema.downgrade(quiet.config.sqlite_url(StoreConfig().url), "base")
    assert "mss serve" in wrong(quiet)["store"]
    assert "mss serve" in quiet.fails("account", "list", code=2)


def test_a_store_that_is_no_database_is_found(quiet: Desk) -> None:
    (quiet.folder / "data" / "store.sqlite").write_bytes(b"not a database" * 100)
    assert "no SQLite database" in wrong(quiet)["store"]


@pytest.mark.parametrize(("minutes", "level"), [(4, "ok"), (6, "wrong")])
def test_a_clock_that_went_back_is_found(quiet: Desk, minutes: int, level: str) -> None:
    event = AuditEvent("test", "test", "test")
    moment = NOW + timedelta(minutes=minutes)
    quiet.in_store(lambda store: store.write(lambda uow: uow.journal.write(event, moment)))
    assert levels(quiet, "clock") == {level}


def test_a_clock_that_was_never_set_is_found(quiet: Desk) -> None:
    assert "NTP" in wrong(quiet, datetime(1970, 1, 2, tzinfo=UTC))["clock"]


# Machine ----------------------------------------------------------------------------------------------------------

_Usage = namedtuple("_Usage", "total used free")


@pytest.mark.parametrize(
    ("free_octets", "level"),
    [
        (100 * MIB - 1, "wrong"),
        (100 * MIB, "warning"),
        (1024 * MIB - 1, "warning"),
        (1024 * MIB, "ok"),
    ],
)
def test_a_full_disk_is_found(quiet: Desk, monkeypatch: pytest.MonkeyPatch, free_octets: int, level: str) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: _Usage(0, 0, free_octets))
    assert levels(quiet, "disk") == {level}


def test_a_blobs_folder_that_cannot_be_written_is_found(quiet: Desk) -> None:
    # A file in its place: the administrator, who runs tests in containers, may write to any folder.
    (quiet.folder / "data" / "blobs").write_text("")
    assert "blobs" in wrong(quiet)["files"]


def test_files_that_are_configured_must_be_readable(quiet: Desk) -> None:
    quiet.change("[policy]\n", '[policy]\nhabilitations_file = "habilitations.csv"\n')
    assert "habilitations.csv" in wrong(quiet)["files"]
    (quiet.folder / "habilitations.csv").write_text("code\n")
    assert levels(quiet, "habilitations") == {"ok"}


@pytest.mark.parametrize(("text", "subject"), [("hôpital.example", "domain"), ("Hopital.example", "domain")])
def test_a_domain_that_is_read_otherwise_is_a_warning(quiet: Desk, text: str, subject: str) -> None:
    config = replace(quiet.config, domains=(replace(quiet.config.domains[0], name=text),))
    assert "warning" in {one.level for one in found(quiet, config=config) if one.subject == subject}


def test_a_domain_that_is_none_is_found(quiet: Desk) -> None:
    config = replace(quiet.config, domains=(replace(quiet.config.domains[0], name="a b"),))
    assert "domain" in wrong(quiet, config=config)


@pytest.mark.parametrize(
    ("postmaster", "level"), [("", "ok"), ("nobody", "wrong"), ("postmaster@hopital.example", "ok")]
)
def test_a_postmaster_is_named(quiet: Desk, postmaster: str, level: str) -> None:
    quiet.change('postmaster = "postmaster@hopital.example"', f'postmaster = "{postmaster}"')
    assert levels(quiet, "postmaster") == {level}
    assert levels(quiet, "store") == {"ok"}


def test_the_postmaster_has_a_box(quiet: Desk) -> None:
    (finding,) = (one for one in found(quiet) if one.subject == "postmaster's box")
    assert finding.level == "warning"
    quiet.does(*finding.remedy.removeprefix("mss ").split())
    assert levels(quiet, "postmaster's box") == {"ok"}
    quiet.does("account", "state", "postmaster@hopital.example", "closed")
    assert levels(quiet, "postmaster's box") == {"warning"}


def test_a_postmaster_elsewhere_is_none_of_our_boxes(quiet: Desk) -> None:
    quiet.change('postmaster = "postmaster@hopital.example"', 'postmaster = "postmaster@region.example"')
    assert levels(quiet, "postmaster's box") == set()


@pytest.mark.parametrize(
    ("base_url", "plain", "level"),
    [
        ("https://web.example", False, "ok"),
        ("https://web.example", True, "ok"),
        ("", False, "wrong"),
        ("http://web.example", False, "wrong"),
        ("http://web.example", True, "warning"),
    ],
)
def test_the_webmail_needs_https(quiet: Desk, base_url: str, plain: bool, level: str) -> None:
    config = quiet.config
    webmail = replace(config.webmail, listen=("127.0.0.1:1",), base_url=base_url, plain=plain)
    assert {one.level for one in checkup._webmail(replace(config, webmail=webmail), NOW)} == {level}


# Ports ------------------------------------------------------------------------------------------------------------


@contextmanager
def _answering(status: int, text: str = "", only: str | None = None) -> Iterator[int]:
    """Serve an operator's port that always answers the same; `only` on one path, and 404 elsewhere."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if only in (None, self.path) else 404)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def taken() -> Iterator[str]:
    """The address of a port that another program listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def _with_doors(desk: Desk, mx: str, ops: str = "") -> Config:
    config = desk.config
    return replace(config, smtp=replace(config.smtp, mx_listen=(mx,)), ops=replace(config.ops, listen=ops))


def _port(config: Config) -> list[Finding]:
    return [one for one in checkup._ports(config, NOW) if one.subject == "door mx"]


@pytest.mark.journey
def test_a_free_port_is_well(quiet: Desk) -> None:
    assert [one.level for one in _port(_with_doors(quiet, "127.0.0.1:0"))] == ["ok"]


@pytest.mark.journey
def test_a_port_of_another_program_is_found(quiet: Desk, taken: str) -> None:
    (finding,) = _port(_with_doors(quiet, taken))
    assert (finding.level, finding.text) == ("wrong", f"{taken} is taken by another program")


@pytest.mark.journey
def test_a_port_of_the_running_operator_is_well(quiet: Desk, taken: str) -> None:
    with _answering(200) as port:
        (finding,) = _port(_with_doors(quiet, taken, f"127.0.0.1:{port}"))
    assert (finding.level, finding.text) == ("ok", f"{taken} is in use: the operator is running")


@pytest.mark.journey
@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:x", "127.0.0.1:70000", "203.0.113.1:1"])
def test_an_address_that_cannot_be_listened_on_is_found(quiet: Desk, address: str) -> None:
    (finding,) = _port(_with_doors(quiet, address))
    assert finding.level == "wrong"
    assert address in finding.text


@pytest.mark.journey
def test_a_port_for_the_administrator_is_found(quiet: Desk) -> None:
    finding = checkup._taken("mx", "0.0.0.0:25", PermissionError(13, "Permission denied"), running=False)
    assert (finding.level, "ip_unprivileged_port_start" in finding.remedy) == ("wrong", True)


def test_a_closed_door_is_a_warning(quiet: Desk) -> None:
    assert levels(quiet, "door mx") == {"warning"}


# Live -------------------------------------------------------------------------------------------------------------


def _at(desk: Desk, listen: str) -> Config:
    config = desk.config
    return replace(config, ops=replace(config.ops, listen=listen))


@pytest.mark.journey
@pytest.mark.parametrize(("ask", "path"), [(checkup.live, "/livez"), (checkup.ready, "/readyz")])
def test_an_operator_that_is_well_says_so(quiet: Desk, ask: Callable[[Config], Finding], path: str) -> None:
    with _answering(200, only=path) as port:
        assert ask(_at(quiet, f"127.0.0.1:{port}")).level == "ok"
        assert ask(_at(quiet, f"0.0.0.0:{port}")).level == "ok"


@pytest.mark.journey
def test_an_operator_that_is_not_ready_says_why(quiet: Desk) -> None:
    with _answering(503, "store: away") as port:
        finding = checkup.ready(_at(quiet, f"127.0.0.1:{port}"))
    assert (finding.level, finding.text) == ("wrong", "it is not ready (503): store: away")


@pytest.mark.journey
def test_an_operator_that_is_too_busy_to_answer_is_there(
    quiet: Desk, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkup, "LIVE_TIMEOUT_S", 0.01)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        listen = f"127.0.0.1:{silent.getsockname()[1]}"
        finding = checkup.live(_at(quiet, listen))
        (door,) = _port(_with_doors(quiet, taken, listen))
    assert (finding.level, finding.text) == ("wrong", f"{listen} does not answer within 0.01 s")
    assert (door.level, door.text) == ("ok", f"{taken} is in use: the operator is running")


@pytest.mark.journey
@pytest.mark.parametrize("ask", [checkup.live, checkup.ready])
def test_nobody_there_is_not_well(quiet: Desk, ask: Callable[[Config], Finding]) -> None:
    assert ask(_at(quiet, "127.0.0.1:1")).level == "wrong"


def test_an_operator_without_its_port_cannot_be_asked(quiet: Desk) -> None:
    assert "[ops] listen" in checkup.live(_at(quiet, "")).remedy


# The command ------------------------------------------------------------------------------------------------------


def test_the_command_prints_settings_and_findings(quiet: Desk) -> None:
    lines = quiet.does("check").splitlines()
    assert "limits.message_max_octets = 26214400" in lines
    assert "store.url = sqlite:///data/store.sqlite" in lines
    assert "✓ domain: hopital.example (professional)" in lines
    assert any(line.startswith("! test identities: ") for line in lines)


def test_the_command_can_leave_the_settings_out(quiet: Desk) -> None:
    assert " = 26214400" not in quiet.does("check", "--no-settings")


def test_the_command_ends_with_1_when_something_is_wrong(quiet: Desk) -> None:
    (quiet.folder / "trust-list.xml").unlink()
    result = quiet.run("check")
    assert result.exit_code == 1
    assert "✗ trust list file: " in result.stdout
    assert " → " in result.stdout


def test_the_command_names_the_line_of_a_bad_setting(quiet: Desk) -> None:
    quiet.change('level = "INFO"', 'levle = "INFO"')
    result = quiet.run("check")
    assert result.exit_code == 2
    assert "unknown key “log.levle”" in one_line(result)


def test_live_asks_only_the_operator_s_port(quiet: Desk) -> None:
    for option, what in (("--live", "live"), ("--ready", "ready")):
        result = quiet.run("check", option)
        assert result.exit_code == 1
        assert result.stdout.splitlines() == [
            f"✗ {what}: there is no operator's port to ask → name one: [ops] listen",
        ]


def test_settings_that_are_missing_are_named() -> None:
    result = typed("check", "-c", "/nowhere/mss.toml")
    assert result.exit_code == 2
    assert "/nowhere/mss.toml" in one_line(result)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+psycopg://mss:secret@db/mss", "postgresql+psycopg://mss:…@db/mss"),
        ("postgresql+psycopg://mss@db/mss?password=secret&x=1", "postgresql+psycopg://mss@db/mss?password=…&x=1"),
        ("postgresql+psycopg:///mss", "postgresql+psycopg:///mss"),
        ("sqlite:///data/store.sqlite", "sqlite:///data/store.sqlite"),
    ],
)
def test_a_password_inside_a_url_is_not_printed(quiet: Desk, url: str, shown: str) -> None:
    config = replace(quiet.config, store=replace(quiet.config.store, url=url))
    assert dict(effective(config))["store.url"] == shown


def test_every_setting_is_printed(quiet: Desk) -> None:
    names = dict(effective(quiet.config))
    assert names["relay.routes"] == "patient.mssante.fr → 127.0.0.1:1, region.example → 127.0.0.1:1"
    assert names["webmail.plain"] == "false"
    assert names["log.json"] == "none"
    assert len(names) > 90


def test_instance_and_checkup_read_the_same_list(quiet: Desk) -> None:
    config = quiet.config
    listed = instance.read_list(config, quiet.folder / "trust-list.xml", NOW)
    assert len(list(checkpeers._own_entries(config, listed))) == len(config.domains)


# Peers: fetched lists, late lists, lists by https ------------------------------------------------------------------


def test_a_late_list_counts_for_a_while(quiet: Desk) -> None:
    authority = pki.load_authority(quiet.folder / "authority")
    now = system_clock()
    pki.make_crl(authority, now=now, days=1)
    pki.publish(authority, quiet.folder / "certs")
    found = {}
    for name, after in {
        "before": timedelta(hours=20),
        "grace": timedelta(hours=27),
        "after": timedelta(hours=29),
    }.items():
        findings = checkup.run(quiet.config, lambda after=after: now + after)  # type: ignore[misc]
        found[name] = {(one.subject, one.level) for one in findings if one.subject.startswith("revocation")}
    assert found["before"] == {("revocation", "ok"), ("revocation lists", "ok")}
    assert found["grace"] == {("revocation", "ok"), ("revocation lists", "warning")}
    assert found["after"] == {("revocation", "wrong")}


def test_lists_that_are_fetched_only(quiet: Desk) -> None:
    quiet.change('crl_files = ["certs/crl.pem"]', 'crl_files = []\ncrl_urls = ["http://127.0.0.1:1/a.crl"]')
    assert "none was fetched yet" in wrong(quiet)["revocation lists"]
    folder = quiet.folder / "data" / "crl"
    folder.mkdir()
    shutil.copy(quiet.folder / "certs" / "crl.pem", folder / "fetched.crl")
    assert "revocation lists" not in wrong(quiet)


def test_a_list_by_https_is_named_by_its_host(quiet: Desk) -> None:
    text = quiet.toml.read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.startswith("file = "))
    quiet.change(line, 'url = "https://list.example/list.xml"')
    [finding] = [one for one in checkup.run(quiet.config) if one.subject == "trust list"]
    assert finding.text == "it is fetched from list.example every 3600 s and its signature is not looked at"


def test_a_refused_list_is_a_warning_until_one_is_taken(quiet: Desk, tmp_path: Path) -> None:
    cut = tmp_path / "cut.xml"
    whole = (quiet.folder / "trust-list.xml").read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    assert levels(quiet, "trust list, last reading") == set()
    quiet.fails("operator", "read", str(cut))
    assert levels(quiet, "trust list, last reading") == {"warning"}
    quiet.does("operator", "read", str(quiet.folder / "trust-list.xml"))
    assert levels(quiet, "trust list, last reading") == set()


def test_a_list_read_later_than_now_says_that_the_clock_went_back(quiet: Desk) -> None:
    quiet.does("operator", "read", str(quiet.folder / "trust-list.xml"))
    assert levels(quiet, "trust list in use", system_clock() - timedelta(minutes=10)) == {"wrong"}


# Orders -----------------------------------------------------------------------------------------------------------

RECEPTION = "accueil@hopital.example"


def _takes_orders(desk: Desk) -> Path:
    with desk.toml.open("a", encoding="utf-8") as file:
        file.write(f'\n[hl7]\nfolder = "orders"\nbox = "{RECEPTION}"\n')
    return desk.folder / "orders"


def test_where_no_orders_are_taken_nothing_is_said_of_them(quiet: Desk) -> None:
    assert not {"orders (HL7)", "orders' folder", "door hl7"} & {one.subject for one in found(quiet)}


def test_somebody_must_be_able_to_send_what_is_ordered(quiet: Desk) -> None:
    _takes_orders(quiet)
    assert "nobody may send" in wrong(quiet)["orders (HL7)"]
    quiet.does("account", "add", RECEPTION, "--kind", "org", "--name", "Accueil")
    assert levels(quiet, "orders (HL7)") == {"ok"}
    quiet.does("account", "state", RECEPTION, "closed")
    assert "nobody may send" in wrong(quiet)["orders (HL7)"]
    quiet.change(f'box = "{RECEPTION}"', 'box = "nowhere"')
    assert "no address" in wrong(quiet)["orders (HL7)"]


def test_the_folder_of_orders_is_looked_at(quiet: Desk) -> None:
    folder = _takes_orders(quiet)
    assert levels(quiet, "orders' folder") == {"warning"}
    (folder / "error").mkdir(parents=True)
    assert levels(quiet, "orders' folder") == {"ok"}
    (folder / "new.hl7").write_bytes(b"MSH")
    (folder / "notes.txt").write_bytes(b"")
    assert levels(quiet, "orders' folder") == {"ok"}
    [left] = (one for one in found(quiet, NOW + timedelta(minutes=20)) if one.subject == "orders' folder")
    assert (left.level, left.text) == ("warning", "1 orders wait for longer than ten minutes")
    (folder / "error" / "old.er7").write_bytes(b"MSH")
    assert "1 orders were refused" in {one.text for one in found(quiet) if one.subject == "orders' folder"}


def test_a_folder_of_orders_that_cannot_be_used_is_found(quiet: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    _takes_orders(quiet).mkdir()
    monkeypatch.setattr("mss.checkorders.os.access", lambda *_: False)
    assert "chown" in wrong(quiet)["orders' folder"]
