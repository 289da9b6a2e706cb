"""The configuration: types, limits, errors that name their line, and `config/mss.toml`, which explains every field."""

from __future__ import annotations

import dataclasses
import re
import typing
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss import config, settings
from mss.config import Config, DkimKeyConfig, DomainConfig, Limits
from mss.errors import Misconfigured
from mss.settings import load, parse

MINIMAL = """
[operator]
name = "CHU"
hostname = "mx.chu.test"

[[domains]]
name = "chu.test"
kind = "professional"
"""
DKIM_KEY = "[[dkim.keys]]\ndomain = 'chu.test'\nselector = 's'\nkey_file = 'k'\n"
EXPLAINED = Path(__file__).parent.parent / "config" / "mss.toml"


def _parse(more: str = "", minimal: str = MINIMAL) -> Config:
    return parse(minimal + more, root=Path("/srv/mss"))


def test_operator_and_domains_are_enough() -> None:
    made = _parse()
    assert made.operator.name == "CHU"
    assert made.domains == (DomainConfig("chu.test", "professional"),)
    assert made == Config(made.operator, made.domains, root=Path("/srv/mss"))


def test_dkim_keys_are_read_with_their_days() -> None:
    [key] = _parse(DKIM_KEY + "since = 2027-01-01\nuntil = 2027-01-02\n").dkim.keys
    assert key == DkimKeyConfig("chu.test", "s", Path("k"), date(2027, 1, 1), date(2027, 1, 2))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("chu.test", "other.test", "names other.test, which is no domain of"),
        ("'s'", "'a b'", "“a b” can be no DKIM selector"),
        ("'s'", "'-s'", "“-s” can be no DKIM selector"),
        ("'k'", "'k'\nsince = 2027-01-02\nuntil = 2027-01-02", "the DKIM key s of chu.test ends before it begins"),
    ],
)
def test_a_dkim_key_that_cannot_be_used_is_refused(old: str, new: str, said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        _parse(DKIM_KEY.replace(old, new))


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("[trust_list]\nurl = 'http://list.test/list.xml'\n", "“trust_list.url” must begin with https://"),
        ("[trust_list]\nurl = 'https://list.test/a'\nfile = 'a.xml'\n", "a file and a url: keep one"),
        ("[tls]\ncrl_urls = ['ldap://crl.test/']\n", "ldap://crl.test/ is neither http:// nor https://"),
        ("[tls]\nocsp = 'perhaps'\n", "“tls.ocsp” must be one of 'off', 'soft', 'hard'"),
    ],
)
def test_places_to_fetch_from_that_cannot_be(more: str, reason: str) -> None:
    with pytest.raises(Misconfigured, match=re.escape(reason)):
        _parse(more)


def test_every_kind_of_value_is_read() -> None:
    made = _parse(
        """
[smtp]
mx_listen = ["127.0.0.1:2525", "[::1]:2525"]
[tls]
certificate_file = "a.pem"
crl_files = ["one.crl", "two.crl"]
[trust_list]
file = "list.xml"
shrink_max_share = 1
[relay]
retry_s = [1, 2]
[relay.routes]
"a.test" = "127.0.0.1:1"
b.test = "127.0.0.1:2"
[log]
json = false
level = "DEBUG"
""".replace("b.test", '"b.test"')
    )
    assert made.smtp.mx_listen == ("127.0.0.1:2525", "[::1]:2525")
    assert made.tls.crl_files == (Path("one.crl"), Path("two.crl"))
    assert made.tls.certificate_file == Path("a.pem")
    assert made.trust_list.file == Path("list.xml")
    assert (made.trust_list.shrink_max_share, type(made.trust_list.shrink_max_share)) == (1.0, float)
    assert made.relay.retry_s == (1, 2)
    assert made.relay.routes == {"a.test": "127.0.0.1:1", "b.test": "127.0.0.1:2"}
    assert made.log.json is False


@pytest.mark.parametrize(
    ("more", "line", "reason"),
    [
        ("[smpt]\n", 9, "unknown key “smpt”"),
        ("[smtp]\nmx_lisen = []\n", 10, "unknown key “smtp.mx_lisen”"),
        ("smtp.mx_lisen = []\n", 9, "unknown key “domains.smtp”"),
        ("[limits]\n\nrecipients_max = '9'\n", 11, "“limits.recipients_max” must be a whole number"),
        ("[limits]\nrecipients_max = true\n", 10, "“limits.recipients_max” must be a whole number"),
        ("[limits]\nrecipients_max = 1.5\n", 10, "“limits.recipients_max” must be a whole number"),
        ("[limits]\nrecipients_max = -1\n", 10, "“limits.recipients_max” must not be negative"),
        ("[limits]\nrecipients_max = 0\n", 10, "“limits.recipients_max” must be at least 1"),
        ("[relay]\nretry_s = [60, 0]\n", 10, "“relay.retry_s” must be at least 1"),
        ("[relay]\nretry_s = [60, 'x']\n", 10, "“relay.retry_s” must be a whole number"),
        ("[relay]\nretry_s = 60\n", 10, "“relay.retry_s” must be a list"),
        ("[relay]\n# retry_s = 1\nroutes = []\n", 11, "“relay.routes” must be a table"),
        ('[relay.routes]\n"a.test" = \'x\'\n"b.test" = 25\n', 11, "“relay.routes.b.test” must be a text"),
        ("[trust_list]\nshrink_max_share = -0.1\n", 10, "“trust_list.shrink_max_share” must not be negative"),
        ("[life]\nfull_notice_share = 0\n", 10, "“life.full_notice_share” must be above 0"),
        ("[trust_list]\nshrink_max_share = nan\n", 10, "“trust_list.shrink_max_share” must be a number"),
        ("[trust_list]\nshrink_max_share = inf\n", 10, "“trust_list.shrink_max_share” must be a number"),
        ("[trust_list]\nshrink_max_share = true\n", 10, "“trust_list.shrink_max_share” must be a number"),
        ("[trust_list]\nfile = 3\n", 10, "“trust_list.file” must be a text"),
        ("[webmail]\nplain = 1\n", 10, "“webmail.plain” must be true or false"),
        ("[policy]\nprofile = 'free'\n", 10, "“policy.profile” must be one of 'thread', 'contact'"),
        ("[log]\njson = 'yes'\n", 10, "“log.json” must be true or false"),
        ("[smtp]\nmx_listen = '127.0.0.1:25'\n", 10, "“smtp.mx_listen” must be a list"),
        ("[[domains]]\nname = 'b'\nkind = 'patients'\n", 11, "“domains.kind” must be one of 'professional', 'patient'"),
        ("[[domains]]\nname = 'b'\n\n[log]\nlevel = 'INFO'\n", 9, "“domains.kind” is missing"),
        ("[[domains]]\nname = 'b'\nkind = 'patient'\nsort = 1\n", 12, "unknown key “domains.sort”"),
        ("[operator.extra]\na = 1\n", 9, "unknown key “operator.extra”"),
        ("[dkim]\nkeys = 3\n", 10, "“dkim.keys” must be a list"),
        ("[[dkim.keys]]\ndomain = 'chu.test'\nselector = 's'\n", 9, "“dkim.keys.key_file” is missing"),
        (DKIM_KEY + "since = 'now'\n", 13, "“dkim.keys.since” must be a day, such as 2027-01-31"),
        (DKIM_KEY + "until = 2027-01-31T00:00:00Z\n", 13, "“dkim.keys.until” must be a day, such as 2027-01-31"),
        ("[log]\n  'level'  = 'LOUD'\n", 10, "“log.level” must be one of 'DEBUG', 'INFO', 'WARNING', 'ERROR'"),
    ],
)
def test_an_error_names_its_line_and_what_to_mend(more: str, line: int, reason: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        _parse(more)
    assert str(caught.value) == f"mss.toml, line {line}: {reason}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "mss.toml, line 1: “operator” is missing"),
        ("root = '/'\n" + MINIMAL, "mss.toml, line 1: unknown key “root”"),
        ("log = 3\n" + MINIMAL, "mss.toml, line 1: “log” must be a table"),
        ("log.levle = 'INFO'\n" + MINIMAL, "mss.toml, line 1: unknown key “log.levle”"),
        ("log = {level = 'LOUD'}\n" + MINIMAL, "mss.toml, line 1: “log.level” must be one of"),
        ("[operator]\nname = 'a'\n", "mss.toml, line 1: “domains” is missing"),
        ("domains = []\n[operator]\nname = 'a'\n", "mss.toml, line 2: “operator.hostname” is missing"),
        ("domains = []\n[operator]\nname = 'a'\nhostname = 'b'\n", "mss.toml: no [[domains]]"),
        (
            "domains = [{name = 'a', kind = 'x'}]\n[operator]\nname = 'a'\nhostname = 'b'\n",
            "mss.toml, line 1: “domains.kind”",
        ),
        ("[operator\n", "mss.toml: not TOML"),
        (MINIMAL + "[[domains]]\nname = 'CHU.test'\nkind = 'patient'\n", "mss.toml: the domain chu.test stands twice"),
    ],
)
def test_what_is_missing_or_twice_is_said(text: str, reason: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        parse(text, root=Path())
    assert str(caught.value).startswith(reason)


@pytest.mark.parametrize("name", sorted(settings._MAY_BE_ZERO))
def test_zero_means_none_where_that_makes_sense(name: str) -> None:
    owner = next(spec for spec in dataclasses.fields(Config) for one in _fields(spec.name) if one.name == name)
    made = _parse(f"[{owner.name}]\n{name} = 0\n")
    assert getattr(getattr(made, owner.name), name) == 0


def _fields(section: str) -> tuple[dataclasses.Field[Any], ...]:
    hint = typing.get_type_hints(Config)[section]
    return dataclasses.fields(hint) if dataclasses.is_dataclass(hint) else ()


@pytest.mark.parametrize("spec", dataclasses.fields(Limits), ids=lambda spec: spec.name)
def test_every_limit_is_above_nothing_and_named_with_its_unit(spec: dataclasses.Field[Any]) -> None:
    assert isinstance(spec.default, int)
    assert spec.default > 0
    assert re.search(r"_(max|max_octets|s|threads|records)$", spec.name)


def test_load_reads_a_file_and_counts_paths_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "mss.toml").write_text("\ufeff" + MINIMAL, encoding="utf-8")
    made = load(tmp_path / "mss.toml")
    assert made.root == tmp_path.resolve()
    assert made.path(made.store.blobs_dir) == tmp_path.resolve() / "data/blobs"
    assert made.path(Path("/etc/mss.key")) == Path("/etc/mss.key")
    assert made.sqlite_url(made.store.url) == f"sqlite:///{tmp_path.resolve()}/data/store.sqlite"


@pytest.mark.parametrize(
    "url", ["sqlite:////var/lib/mss.sqlite", "sqlite://", "postgresql+psycopg://mss@db/mss", "sqlite+x:///a"]
)
def test_only_relative_sqlite_files_move(url: str) -> None:
    assert _parse().sqlite_url(url) == url


def test_load_says_what_is_wrong_with_the_file(tmp_path: Path) -> None:
    missing, binary = tmp_path / "missing.toml", tmp_path / "binary.toml"
    binary.write_bytes(b"name = '\xe9'")
    with pytest.raises(Misconfigured, match=r"cannot read .*missing.toml: No such file"):
        load(missing)
    with pytest.raises(Misconfigured, match=r"binary.toml is not UTF-8 text: save it as UTF-8"):
        load(binary)
    with pytest.raises(Misconfigured, match="cannot read"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        ('issuer = "https://id.example"', "say whom a token must be made for"),
        ('issuer = "https://id.example"\naudiences = ["mss"]\nalgorithms = []', "algorithms is empty"),
        ('issuer = "https://id.example"\naudiences = ["mss"]\nalgorithms = ["none"]', "must be one of"),
        ('issuer = "https://id.example"\naudiences = ["mss"]\nalgorithms = ["HS256"]', "must be one of"),
    ],
)
def test_tokens_that_anybody_could_make_are_not_configured(tokens: str, said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        parse(f"{MINIMAL}\n[tokens]\n{tokens}\n", root=Path())


@given(st.text())
def test_garbage_is_misconfigured_and_never_a_surprise(text: str) -> None:
    with pytest.raises(Misconfigured):
        parse(text, root=Path())


_scalars = st.one_of(st.booleans(), st.integers(-5, 5), st.floats(), st.text(st.characters(codec="ascii"), max_size=5))
_sections = st.sampled_from([spec.name for spec in dataclasses.fields(Config)])


@given(section=_sections, value=st.one_of(_scalars, st.lists(_scalars, max_size=3)), index=st.integers(0, 80))
def test_a_value_of_any_kind_is_taken_or_its_line_is_named(section: str, value: Any, index: int) -> None:
    names = [spec.name for spec in _fields(section)] or ["name"]
    name = names[index % len(names)]
    text = f"[{section}]\n{name} = {_toml(value)}\n" + ("" if section in ("operator", "domains") else MINIMAL)
    refused = ""
    try:
        made = parse(text, root=Path())
    except Misconfigured as error:
        refused = str(error)
    assert re.match(r"mss\.toml(, line \d+)?: ", refused) if refused else made.operator.name == "CHU"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(f"\\u{ord(char):04x}" for char in value) + '"'
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return repr(value)


# -- config/mss.toml -------------------------------------------------------------------------------------------------


def _sections_of(cls: type[Any]) -> list[tuple[str, str, dataclasses.Field[Any]]]:
    hints = typing.get_type_hints(cls)
    found = []
    for spec in dataclasses.fields(cls):
        hint = DomainConfig if spec.name == "domains" else hints[spec.name]
        if spec.name != "root":
            found += [(f"{spec.name}.{one.name}", spec.name, one) for one in dataclasses.fields(hint)]
    return found


def _section_texts() -> dict[str, str]:
    text = EXPLAINED.read_text(encoding="utf-8")
    pieces = re.split(r"^\[\[?([\w.]+)\]\]?$", text, flags=re.MULTILINE)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


@pytest.mark.parametrize(
    ("section", "spec"), [one[1:] for one in _sections_of(Config)], ids=[x[0] for x in _sections_of(Config)]
)
def test_every_setting_stands_in_the_explained_configuration(section: str, spec: dataclasses.Field[Any]) -> None:
    texts = _section_texts()
    assert re.search(rf"^(# )?{spec.name} = ", texts[section], re.MULTILINE) or f"{section}.{spec.name}" in texts


def test_the_explained_configuration_holds_the_defaults_and_nothing_else() -> None:
    made = load(EXPLAINED)
    assert made == Config(made.operator, made.domains, root=made.root)
    assert made.operator.postmaster == config.OperatorConfig("a", "b").postmaster


def test_what_is_unset_there_is_valid_once_set() -> None:
    text = EXPLAINED.read_text(encoding="utf-8")
    unset = re.findall(r"^# ((?:[\w]+|\"[\w.]+\") = .*)$", text, re.MULTILINE)
    assert len(unset) == 17
    made = parse(re.sub(r"^# ((?:[\w]+|\"[\w.]+\") = )", r"\1", text, flags=re.MULTILINE), root=Path())
    assert made.relay.routes == {"region.mssante.test": "127.0.0.1:2525"}
    assert made.policy.habilitations_file == Path("habilitations.csv")
    assert made.log.json is True


def test_every_setting_there_is_explained_above_it() -> None:
    lines = EXPLAINED.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if re.match(r"(# )?\w+ = ", line):
            above = number - 1
            while re.match(r"(# )?[\w\"]+ = ", lines[above]):
                above -= 1
            assert lines[above].startswith(("# ", "[")), f"line {number + 1} is not explained"
        assert len(line) <= 130
