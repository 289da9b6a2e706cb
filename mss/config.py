"""Frozen settings and limits from one TOML file; an unknown key is an error that names its line.

Secrets are only given as files (`…_file`). Relative paths count from the TOML's own folder. Every field is
explained in `config/mss.toml`; a test compares the two.
"""

from __future__ import annotations

import math
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final, Literal

from mss.errors import Misconfigured

# The first of the ports where a new operator listens.
BASE_PORT: Final = 12500
KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class OperatorConfig:
    """Who we are. `hostname` is what the MX greets with; `postmaster` gets what nobody else does."""

    name: str
    hostname: str
    postmaster: str = ""


@dataclass(frozen=True, slots=True)
class DomainConfig:
    """A domain that we host."""

    name: str
    kind: Literal["professional", "patient"]


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """Where everything is kept. `keys_url` stays out of the backups of `url`."""

    url: str = "sqlite:///data/store.sqlite"
    keys_url: str = "sqlite:///keys/keys.sqlite"
    master_key_file: Path = Path("keys/master.key")
    blobs_dir: Path = Path("data/blobs")
    inline_max_octets: int = 128 * KIB
    readers: int = 4
    writers: int = 8


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """Certificates. `ca_file` holds all CAs that peers may chain to, roots and intermediates.

    Revocation lists come from files, and by http(s) into `crl_dir`. OCSP adds a no, never a yes: `soft` lets the lists
    decide when a responder is silent, `hard` defers.
    """

    certificate_file: Path = Path("certs/operator.pem")
    key_file: Path = Path("certs/operator.key")
    ca_file: Path = Path("certs/ca.pem")
    reload_s: int = 60
    crl_files: tuple[Path, ...] = ()
    crl_urls: tuple[str, ...] = ()
    crl_from_certificates: bool = True
    crl_dir: Path = Path("data/crl")
    crl_fetch_s: int = 3600
    crl_grace_s: int = 4 * 3600
    ocsp: Literal["off", "soft", "hard"] = "soft"
    ocsp_timeout_s: int = 5
    client_facing_certificate_file: Path | None = None
    client_facing_key_file: Path | None = None


@dataclass(frozen=True, slots=True)
class SmtpConfig:
    """Listening addresses, `host:port`; an empty list closes the door."""

    mx_listen: tuple[str, ...] = ()
    submission_listen: tuple[str, ...] = ()
    submissions_listen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImapConfig:
    """Listening addresses: `listen` speaks STARTTLS, `imaps_listen` implicit TLS."""

    listen: tuple[str, ...] = ()
    imaps_listen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WebmailConfig:
    """The patient webmail. `base_url` is what the browser shows; TLS with our own certificate unless `plain`.

    Behind a proxy that speaks TLS: `plain`, an https `base_url`, and the proxy's address in `trusted_proxies`.
    """

    listen: tuple[str, ...] = ()
    base_url: str = ""
    plain: bool = False
    session_idle_s: int = 15 * 60
    session_max_s: int = 8 * 3600
    default_locale: Literal["fr", "en"] = "fr"
    time_zone: str = "Europe/Paris"
    trusted_proxies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OpsConfig:
    """The operator's own port: /livez, /readyz, /metrics. Worker n listens n ports further."""

    listen: str = ""


@dataclass(frozen=True, slots=True)
class TrustListConfig:
    """The liste blanche, from a `file` or an https `url`. Past `max_age_s` since its last good reading every peer is
    deferred."""

    file: Path | None = None
    refresh_s: int = 300
    url: str = ""
    url_ca_file: Path | None = None
    url_certificate: bool = False
    fetch_s: int = 3600
    signer_file: Path | None = None
    max_age_s: int = 3 * 86400
    shrink_max_share: float = 0.2
    history_max: int = 100


@dataclass(frozen=True, slots=True)
class DirectoryConfig:
    """The national directory extraction (31 columns, pipe separated), read when the file changes."""

    extraction_file: Path | None = None
    refresh_s: int = 3600


@dataclass(frozen=True, slots=True)
class RelayConfig:
    """Outgoing letters. `routes` maps a domain to `host:port`; others go by MX records.

    `concurrency` counts the connections of one worker, `concurrency_per_destination_max` those to one domain.
    """

    routes: Mapping[str, str] = field(default_factory=dict)
    retry_s: tuple[int, ...] = (60, 300, 900, 1800, 3600, 7200, 14400)
    expire_s: int = 2 * 86400
    delay_notice_s: int = 4 * 3600
    lease_s: int = 300
    concurrency: int = 40
    concurrency_per_destination_max: int = 20
    backoff_first_s: int = 10
    backoff_max_s: int = 300
    timeout_s: int = 60
    poll_s: int = 30


@dataclass(frozen=True, slots=True)
class DkimKeyConfig:
    """A key that a domain of ours signs with, on the days from `since` up to, not including, `until` (UTC)."""

    domain: str
    selector: str
    key_file: Path
    since: date | None = None
    until: date | None = None


@dataclass(frozen=True, slots=True)
class DkimConfig:
    """Signatures: `keys` for outgoing letters; `resolvers` are asked for the keys of incoming ones, none: no check."""

    keys: tuple[DkimKeyConfig, ...] = ()
    resolvers: tuple[str, ...] = ()
    timeout_s: int = 5


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """`test_identities` lets test and demonstration OIDs through; never in production. `patient_domains` are those
    of other operators' patients: who writes from there is a patient."""

    profile: Literal["thread", "contact"] = "thread"
    test_identities: bool = False
    reply_to_foreign: bool = False
    habilitations_file: Path | None = None
    patient_domains: tuple[str, ...] = ("patient.mssante.fr",)


@dataclass(frozen=True, slots=True)
class Limits:
    """Every limit of the house. Octets, seconds or counts, as the name says."""

    message_max_octets: int = 25 * MIB
    recipients_max: int = 100
    header_max_octets: int = 1 * MIB
    header_fields_max: int = 1000
    mime_parts_max: int = 500
    mime_depth_max: int = 50
    mime_parameters_max: int = 100
    addresses_max: int = 1000
    received_max: int = 50
    index_in_process_max_octets: int = 256 * KIB
    smtp_line_max_octets: int = 2048
    smtp_errors_max: int = 10
    smtp_commands_max: int = 1000
    smtp_connections_max: int = 500
    smtp_connections_per_peer_max: int = 50
    smtp_timeout_s: int = 300
    smtp_receive_buffer_max_octets: int = 64 * KIB
    smtp_memory_max_octets: int = 16 * MIB
    smtp_spool_max_octets: int = 4096 * MIB
    smtp_slowest_octets_per_s: int = 4 * KIB
    peer_letters_per_minute_max: int = 100_000
    sender_letters_per_minute_max: int = 60_000
    unknown_recipients_per_hour_max: int = 1000
    imap_line_max_octets: int = 64 * KIB
    imap_literal_before_login_max_octets: int = 4 * KIB
    imap_nesting_max: int = 20
    imap_arguments_max: int = 2000
    imap_errors_max: int = 20
    imap_connections_max: int = 2000
    imap_unauthenticated_max: int = 200
    imap_login_timeout_s: int = 60
    imap_idle_timeout_s: int = 1800
    login_failures_max: int = 5
    login_window_s: int = 300
    login_strangers_failures_max: int = 20
    login_failures_per_source_max: int = 50
    login_waiting_max: int = 200
    argon2_threads: int = 2
    zip_entries_max: int = 200
    zip_uncompressed_max_octets: int = 100 * MIB
    zip_ratio_max: int = 100
    zip_depth_max: int = 6
    cda_max_octets: int = 20 * MIB
    xml_depth_max: int = 200
    filing_max_octets: int = 5_000_000
    trust_list_max_octets: int = 50 * MIB
    fetch_timeout_s: int = 60
    crl_max_octets: int = 50 * MIB
    crl_points_max: int = 50
    ocsp_max_octets: int = 64 * KIB
    ocsp_cached_max: int = 10_000
    extraction_max_octets: int = 500 * MIB
    search_results_max: int = 50
    http_body_max_octets: int = 30 * MIB
    http_connections_max: int = 1000
    http_connections_per_source_max: int = 100
    http_head_timeout_s: int = 30
    http_timeout_s: int = 600
    journal_segment_records: int = 1000
    write_queue_max: int = 1000
    relay_in_flight_max_octets: int = 64 * MIB


@dataclass(frozen=True, slots=True)
class LogConfig:
    """`json` unset: JSON on a pipe, columns on a terminal."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    json: bool | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """One operator."""

    operator: OperatorConfig
    domains: tuple[DomainConfig, ...]
    store: StoreConfig = StoreConfig()
    tls: TlsConfig = TlsConfig()
    smtp: SmtpConfig = SmtpConfig()
    imap: ImapConfig = ImapConfig()
    webmail: WebmailConfig = WebmailConfig()
    ops: OpsConfig = OpsConfig()
    trust_list: TrustListConfig = TrustListConfig()
    directory: DirectoryConfig = DirectoryConfig()
    relay: RelayConfig = RelayConfig()
    dkim: DkimConfig = DkimConfig()
    policy: PolicyConfig = PolicyConfig()
    limits: Limits = Limits()
    log: LogConfig = LogConfig()
    root: Path = Path()

    def path(self, path: Path) -> Path:
        """Return a configured path, counted from the TOML's folder."""
        return path if path.is_absolute() else self.root / path

    def sqlite_url(self, url: str) -> str:
        """Return the URL with a relative SQLite path made absolute; other URLs as they are."""
        prefix = "sqlite:///"
        if not url.startswith(prefix) or url.startswith(prefix + "/"):
            return url
        return prefix + str((self.root / url.removeprefix(prefix)).resolve())


def load(path: Path) -> Config:
    """Read one TOML file; Misconfigured says which line to mend."""
    try:
        # Some editors begin a file with a byte order mark.
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise Misconfigured(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Misconfigured(f"{path} is not UTF-8 text: save it as UTF-8") from error
    return parse(text, root=path.resolve().parent, name=str(path))


def parse(text: str, *, root: Path, name: str = "mss.toml") -> Config:
    """Read the TOML text; `root` is where relative paths count from."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"{name}: not TOML: {error}") from error
    try:
        if "root" in table:
            raise _BadKeyError(("root",), "unknown key “root”")
        config: Config = _build(Config, {**table, "root": root}, ())
    except _BadKeyError as bad:
        line = _line_of(text, bad.path)
        raise Misconfigured(f"{name}, line {line}: {bad.reason}") from bad
    _check(config, name)
    return config


# Where a value stands: keys, and numbers (from 0) inside lists.
_Path = tuple[str | int, ...]


class _BadKeyError(Exception):
    def __init__(self, path: _Path, reason: str) -> None:
        super().__init__(reason)
        self.path, self.reason = path, reason


def _bad(path: _Path, must: str) -> _BadKeyError:
    return _BadKeyError(path, f"“{_dotted(path)}” {must}")


def _dotted(path: _Path) -> str:
    return ".".join(part for part in path if isinstance(part, str))


def _build(cls: type[Any], table: Mapping[str, Any], path: _Path) -> Any:
    hints = typing.get_type_hints(cls)
    known = {f.name: f for f in fields(cls)}
    for key in table:
        if key not in known:
            raise _BadKeyError((*path, key), f"unknown key “{_dotted((*path, key))}”")
    for key, spec in known.items():
        if key not in table and spec.default is MISSING and spec.default_factory is MISSING:
            raise _BadKeyError(path, f"“{_dotted((*path, key))}” is missing")
    return cls(**{key: _convert(hints[key], value, (*path, key)) for key, value in table.items()})


def _convert(hint: Any, value: Any, path: _Path) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _convert(next(a for a in args if a is not type(None)), value, path)
    if is_dataclass(hint):
        return _build(typing.cast(type[Any], hint), _expect(dict, value, path), path)
    if origin is tuple:
        return tuple(_convert(args[0], item, (*path, n)) for n, item in enumerate(_expect(list, value, path)))
    if origin is Literal:
        if value not in args:
            raise _bad(path, f"must be one of {', '.join(map(repr, args))}")
        return value
    if origin is not None:  # Mapping[str, str]
        return {key: _expect(args[1], item, (*path, key)) for key, item in _expect(dict, value, path).items()}
    if hint is date:
        if type(value) is not date:  # A moment is a date to Python, and another thing to us.
            raise _bad(path, "must be a day, such as 2027-01-31")
        return value
    if hint is Path:
        return value if isinstance(value, Path) else Path(_expect(str, value, path))
    return _number(hint, value, path) if hint in (int, float) else _expect(hint, value, path)


_KINDS = {str: "a text", bool: "true or false", list: "a list", dict: "a table"}

# Zero of these means "none" or "at once"; of any other number it would stop the house or make it spin.
_MAY_BE_ZERO = frozenset({"crl_grace_s", "delay_notice_s", "inline_max_octets", "shrink_max_share"})


def _expect(kind: type[Any], value: Any, path: _Path) -> Any:
    if not isinstance(value, kind):
        raise _bad(path, f"must be {_KINDS[kind]}")
    return value


def _number(kind: type[Any], value: Any, path: _Path) -> int | float:
    whole = kind is int
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not math.isfinite(value):
        raise _bad(path, "must be a whole number" if whole else "must be a number")
    if value < 0:
        raise _bad(path, "must not be negative")
    if value == 0 and not _MAY_BE_ZERO & set(path):
        raise _bad(path, "must be at least 1" if whole else "must be above 0")
    return value if whole else float(value)


_TABLE = re.compile(r"\s*(\[\[?)([^\]]+)\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_KEY_PART = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")


def _line_of(text: str, path: _Path) -> int:
    """Return the line (from 1) of the key, or of what holds it: the nearest key or table above it, else 1."""
    table: _Path = ()
    lists: dict[_Path, int] = {}
    best, depth = 1, 0
    for number, line in enumerate(text.splitlines(), 1):
        here = table
        if header := _TABLE.match(line):
            here = table = _keys(header.group(2))
            if header.group(1) == "[[":
                lists[here] = lists.get(here, -1) + 1
                here = table = (*here, lists[here])
        elif key := _KEY.match(line):
            here = (*table, *_keys(key.group(1)))
        shared = min(len(here), len(path))
        if shared > depth and here[:shared] == path[:shared]:
            best, depth = number, shared
    return best


def _keys(dotted: str) -> _Path:
    return tuple(part.strip("\"'") for part in _KEY_PART.findall(dotted))


_SELECTOR = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,61}[A-Za-z0-9])?\Z")


def _check(config: Config, name: str) -> None:
    if not config.domains:
        raise Misconfigured(f"{name}: no [[domains]]: say which domains this operator hosts")
    seen = [domain.name.lower() for domain in config.domains]
    for domain in sorted(set(seen)):
        if seen.count(domain) > 1:
            raise Misconfigured(f"{name}: the domain {domain} stands twice")
    for key in config.dkim.keys:
        if key.domain.lower() not in seen:
            raise Misconfigured(f"{name}: [[dkim.keys]] names {key.domain}, which is no domain of [[domains]]")
        if not _SELECTOR.match(key.selector):
            raise Misconfigured(f"{name}: “{key.selector}” can be no DKIM selector: letters, digits, hyphens and dots")
        if key.since and key.until and key.since >= key.until:
            raise Misconfigured(f"{name}: the DKIM key {key.selector} of {key.domain} ends before it begins")
    listed = config.trust_list
    if listed.url and not listed.url.startswith("https://"):
        raise Misconfigured(f"{name}: “trust_list.url” must begin with https://: the list says who may enter")
    if listed.url and listed.file is not None:
        raise Misconfigured(f"{name}: [trust_list] names a file and a url: keep one")
    for url in config.tls.crl_urls:
        if not url.startswith(("http://", "https://")):
            raise Misconfigured(f"{name}: “tls.crl_urls”: {url[:100]} is neither http:// nor https://")
