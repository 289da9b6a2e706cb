"""`mss init`: what is made, what is refused, and that a refusal leaves nothing behind."""

from __future__ import annotations

import stat
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mss import checkup, instance, pki
from mss.clock import system_clock
from mss.config import Config, DomainConfig
from mss.directory import trustlist
from mss.errors import Misconfigured
from mss.instance import OwnFiles, Plan
from mss.model.address import Domain
from mss.model.peer import DN, TrustList
from mss.services import operators
from mss.settings import load
from tests.cli.cli_world import PLAN, Desk, one_line, typed

NOW = system_clock()
SUBJECT = [("C", "FR"), ("O", "CHU"), ("OU", "1330000001"), ("CN", "mx.chu.example")]


def test_a_new_operator_has_everything_that_it_needs(desk: Desk) -> None:
    for name in ("certs/operator.pem", "certs/operator.key", "certs/ca.pem", "certs/crl.pem", "trust-list.xml"):
        assert (desk.folder / name).is_file(), name
    for name in ("data/store.sqlite", "keys/keys.sqlite", "keys/master.key"):
        assert (desk.folder / name).is_file(), name


def test_secrets_are_for_their_owner_alone(desk: Desk) -> None:
    for name in ("certs/operator.key", "keys/master.key", "authority/root.key"):
        assert stat.S_IMODE((desk.folder / name).stat().st_mode) == 0o600, name
    for name in ("certs", "keys", "data", "authority"):
        assert stat.S_IMODE((desk.folder / name).stat().st_mode) == 0o700, name


def test_the_settings_say_what_was_asked_for(desk: Desk) -> None:
    config = desk.config
    assert config.operator.name == "Hôpital d'essai"
    assert config.operator.hostname == "localhost"
    assert config.operator.postmaster == "postmaster@hopital.example"
    assert config.domains == (
        DomainConfig("hopital.example", "professional"),
        DomainConfig("patient.example", "patient"),
    )
    assert config.relay.routes == PLAN.routes
    assert config.policy.test_identities
    assert config.trust_list.file == Path("trust-list.xml")


def test_every_door_has_a_port_of_its_own(desk: Desk) -> None:
    config = desk.config
    listening = (
        *(*config.smtp.mx_listen, *config.smtp.submission_listen, *config.smtp.submissions_listen),
        *(*config.imap.listen, *config.imap.imaps_listen, *config.webmail.listen, config.ops.listen),
    )
    assert [address.rpartition(":")[2] for address in listening] == [
        *("12500", "12501", "12502"),
        *("12503", "12504", "12505", "12510"),
    ]
    assert config.webmail.base_url == "https://localhost:12505"


def test_every_setting_is_explained(desk: Desk) -> None:
    """A comment stands above each key, or above the block of keys that it belongs to."""
    lines = desk.toml.read_text(encoding="utf-8").splitlines()
    explained = False
    for line in lines:
        if line.startswith("#"):
            explained = True
        elif not line:
            explained = False
        elif "=" in line and not line.startswith(('"', "[")):
            assert explained, line
        elif line.startswith("[["):
            explained = True


def test_the_folder_can_be_moved(desk: Desk, tmp_path: Path) -> None:
    moved = desk.folder.rename(tmp_path / "elsewhere")
    desk = Desk(moved)
    desk.close_doors()
    assert checkup.is_well(checkup.run(desk.config))


def test_the_first_trust_list_names_the_operator_only(desk: Desk) -> None:
    own = instance.subject_of(desk.folder / "certs" / "operator.pem")
    expected = {Domain("hopital.example"): frozenset({own}), Domain("patient.example"): frozenset({own})}
    octets = (desk.folder / "trust-list.xml").read_bytes()
    assert dict(trustlist.parse(octets, fetched_at=NOW, max_octets=10_000).domains) == expected
    stored = desk.in_store(lambda store: store.read(operators.trust_list, NOW))
    assert stored is not None
    assert dict(stored.domains) == expected


def test_any_real_trust_list_is_newer_than_the_first(desk: Desk) -> None:
    first = instance.first_list(desk.config)
    real = TrustList(NOW - timedelta(days=900), first.domains, NOW)
    assert trustlist.check_replacement(first, real, 0.2) is None


@pytest.mark.parametrize("exists", [False, True])
def test_the_command_makes_an_operator_and_says_what_to_do_next(tmp_path: Path, exists: bool) -> None:
    folder = tmp_path / "a" / "clinique"
    if exists:
        folder.mkdir(parents=True)
    result = typed("init", str(folder))
    assert result.exit_code == 0, result.output
    toml = folder / "mss.toml"
    assert [f"mss check -c {toml}", f"mss serve -c {toml}"] == [
        line.strip() for line in result.stdout.splitlines()[-2:]
    ]
    assert "master.key elsewhere" in result.stdout
    config = load(toml)
    assert config.operator.name == "clinique"
    assert {domain.kind for domain in config.domains} == {"professional", "patient"}


def test_the_command_takes_every_option(tmp_path: Path) -> None:
    folder = tmp_path / "op"
    result = typed(
        *(
            "init",
            str(folder),
            "--name",
            'Le "CHU"',
            "--hostname",
            "mx.chu.example",
            "--domain",
            "chu.example=professional",
        ),
        *("--base-port", "20000", "--listen-host", "::1", "--production", "--postmaster", "admin@chu.example"),
        *("--route", "patient.mssante.fr=localhost:25"),
    )
    assert result.exit_code == 0, result.output
    config = load(folder / "mss.toml")
    assert config.operator.name == 'Le "CHU"'
    assert config.operator.postmaster == "admin@chu.example"
    assert config.smtp.mx_listen == ("[::1]:20000",)
    assert config.webmail.base_url == "https://mx.chu.example:20005"
    assert config.relay.routes == {"patient.mssante.fr": "localhost:25"}
    assert not config.policy.test_identities


def test_production_listens_where_everybody_expects_it(tmp_path: Path) -> None:
    folder = tmp_path / "op"
    assert typed("init", str(folder), "--standard-ports", "--listen-host", "0.0.0.0").exit_code == 0
    config = load(folder / "mss.toml")
    assert (*config.smtp.mx_listen, *config.smtp.submission_listen, *config.smtp.submissions_listen) == (
        *("0.0.0.0:25", "0.0.0.0:587", "0.0.0.0:465"),
    )
    assert (*config.imap.listen, *config.imap.imaps_listen) == ("0.0.0.0:143", "0.0.0.0:993")
    assert (*config.webmail.listen, config.ops.listen) == ("0.0.0.0:443", "0.0.0.0:9180")
    assert config.webmail.base_url == "https://localhost"


def test_a_folder_that_is_not_empty_is_left_alone(desk: Desk) -> None:
    before = desk.toml.read_bytes()
    result = typed("init", str(desk.folder))
    assert result.exit_code == 2
    assert "is not empty: name a new folder" in one_line(result)
    assert desk.toml.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = typed("init", str(tmp_path / "file" / "op"))
    assert result.exit_code == 2
    assert "cannot make" in one_line(result)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--domain", "chu.example"), "NAME=VALUE"),
        (("--domain", "chu.example=hospital"), "professional or patient"),
        (("--domain", "chu=professional"), "needs a dot"),
        (("--domain", "c hu.example=professional"), "not a domain name"),
        (("--domain", "a.example=professional", "--domain", "A.example=patient"), "twice"),
        (("--hostname", "mx_!"), "not a domain name"),
        (("--base-port", "0"), "base port"),
        (("--base-port", "65526"), "base port"),
        (("--route", "region.example"), "NAME=VALUE"),
        (("--postmaster", "nobody"), "mail address"),
        (("--name", "a\nb"), "printable"),
        (("--certificate", "x.pem"), "all of --certificate, --key, --ca and --crl"),
        (("--authority", "/nowhere/authority"), "no complete authority"),
        (("--trust-list", "/nowhere/list.xml"), "cannot read the trust list"),
    ],
)
def test_what_cannot_work_is_refused_and_leaves_nothing(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    folder = tmp_path / "op"
    result = typed("init", str(folder), *words)
    assert result.exit_code == 2, result.output
    assert said in one_line(result)
    assert not folder.exists()


def test_a_refusal_empties_the_folder_that_was_there(tmp_path: Path) -> None:
    folder = tmp_path / "op"
    folder.mkdir()
    assert typed("init", str(folder), "--trust-list", "/nowhere/list.xml").exit_code == 2
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("port", [1, 65525])
def test_the_base_port_may_be_the_first_and_the_last(port: int) -> None:
    instance.check(replace(PLAN, base_port=port))


def test_an_authority_or_own_files_but_not_both(tmp_path: Path) -> None:
    own = OwnFiles(tmp_path, tmp_path, tmp_path, (tmp_path,))
    with pytest.raises(Misconfigured, match="not both"):
        instance.check(replace(PLAN, own=own, authority=tmp_path))


def test_the_postmaster_lives_in_a_patient_domain_when_there_is_no_other(tmp_path: Path) -> None:
    plan = Plan("Patients", domains=(("patient.example", "patient"),))
    assert "postmaster@patient.example" in instance.settings(plan, tmp_path)


def test_two_operators_under_one_authority_trust_each_other(tmp_path: Path) -> None:
    authority = pki.make_authority(tmp_path / "authority", now=NOW)
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        plan = replace(PLAN, name=folder.name, authority=authority.directory)
        instance.make(folder, plan)
        assert not (folder / "authority").exists()
    first, second = (folder / "certs" for folder in folders)
    assert (first / "ca.pem").read_bytes() == (second / "ca.pem").read_bytes()
    assert instance.subject_of(first / "operator.pem") != instance.subject_of(second / "operator.pem")


def _own(tmp_path: Path) -> OwnFiles:
    authority = pki.make_authority(tmp_path / "authority", now=NOW)
    chain, key = pki.issue(tmp_path / "chu", authority, SUBJECT, ["mx.chu.example"], now=NOW)
    return OwnFiles(chain, key, authority.ca_file, (authority.crl_file,))


def _own_words(own: OwnFiles) -> list[str]:
    crls = [word for path in own.crls for word in ("--crl", str(path))]
    return ["--certificate", str(own.certificate), "--key", str(own.key), "--ca", str(own.ca), *crls]


def test_own_certificates_are_copied_and_mean_production(tmp_path: Path) -> None:
    own, folder = _own(tmp_path), tmp_path / "op"
    result = typed("init", str(folder), "--hostname", "mx.chu.example", *_own_words(own))
    assert result.exit_code == 0, result.output
    assert "your own, copied" in result.stdout
    assert instance.subject_of(folder / "certs" / "operator.pem") == DN.of(SUBJECT)
    assert stat.S_IMODE((folder / "certs" / "operator.key").stat().st_mode) == 0o600
    assert not (folder / "authority").exists()
    assert not load(folder / "mss.toml").policy.test_identities


def test_several_revocation_lists_are_all_copied(tmp_path: Path) -> None:
    own = _own(tmp_path)
    plan = replace(PLAN, own=replace(own, crls=(own.crls[0], own.crls[0])))
    config: Config = load(instance.make(tmp_path / "op", plan))
    assert config.tls.crl_files == (Path("certs/crl-1.pem"), Path("certs/crl-2.pem"))


def test_a_key_that_does_not_belong_to_the_certificate_is_refused(tmp_path: Path) -> None:
    own, folder = _own(tmp_path), tmp_path / "op"
    _, other = pki.issue(tmp_path / "x", pki.load_authority(tmp_path / "authority"), SUBJECT, ["x.example"], now=NOW)
    result = typed("init", str(folder), *_own_words(replace(own, key=other)))
    assert result.exit_code == 2
    assert "cannot use" in one_line(result)
    assert not folder.exists()


def test_an_own_file_that_is_missing_is_named(tmp_path: Path) -> None:
    own = replace(_own(tmp_path), ca=tmp_path / "missing.pem")
    with pytest.raises(Misconfigured, match=r"missing\.pem"):
        instance.make(tmp_path / "op", replace(PLAN, own=own))


def test_a_trust_list_is_followed_where_it_is(tmp_path: Path, made_once: Path) -> None:
    folder, listed = tmp_path / "op", tmp_path / "liste.xml"
    listed.write_bytes((made_once / "trust-list.xml").read_bytes())
    config = load(instance.make(folder, replace(PLAN, trust_list=listed)))
    assert config.trust_list.file == listed
    assert not (folder / "trust-list.xml").exists()


def test_a_trust_list_inside_the_folder_moves_with_it(tmp_path: Path) -> None:
    text = instance.settings(replace(PLAN, trust_list=tmp_path / "op" / "liste.xml"), tmp_path / "op")
    assert '\nfile = "liste.xml"\n' in text


def test_a_damaged_trust_list_is_refused(tmp_path: Path, made_once: Path) -> None:
    listed = tmp_path / "liste.xml"
    listed.write_bytes((made_once / "trust-list.xml").read_bytes().replace(b"</ListeBlancheMSSante>", b""))
    with pytest.raises(Misconfigured, match="cut short"):
        instance.make(tmp_path / "op", replace(PLAN, trust_list=listed))
    assert not (tmp_path / "op").exists()
