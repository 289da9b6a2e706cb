"""Frozen settings and limits, as nouns; `settings` reads them from one TOML file.

Secrets are only given as files (`…_file`). Relative paths count from the TOML's own folder. Every field is
explained in `config/mss.toml`; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final, Literal

# The first of the ports where a new operator listens.
BASE_PORT: Final = 12500
KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class OperatorConfig:
    """Who we are. `hostname` is what the MX greets with; `postmaster` gets what is nobody's; `node` is this machine."""

    name: str
    hostname: str
    postmaster: str = ""
    node: str = ""


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
    blobs: str = "file"
    blobs_dir: Path = Path("data/blobs")
    s3_endpoint: str = ""
    s3_region: str = "us-east-1"
    s3_access_key_file: Path | None = None
    s3_secret_key_file: Path | None = None
    s3_timeout_s: int = 20
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
    client_ca_file: Path | None = None
    client_crl_files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class BalancerConfig:
    """The addresses, or networks, that TCP balancers connect from; they say who is behind them (PROXY protocol)."""

    addresses: tuple[str, ...] = ()


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


Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]


@dataclass(frozen=True, slots=True)
class TokensConfig:
    """Signed tokens of one OpenID provider, for submission and IMAP; no `issuer`: not offered.

    `claim` names the account: by its login, or (`account_by` "subject") by what `mss account subject` bound to it.
    """

    issuer: str = ""
    jwks_url: str = ""
    ca_file: Path | None = None
    audiences: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()
    algorithms: tuple[Algorithm, ...] = ("RS256", "PS256", "ES256")
    claim: str = "preferred_username"
    account_by: Literal["login", "subject"] = "login"
    single_use: bool = False
    leeway_s: int = 30
    refresh_s: int = 3600
    keys_max_age_s: int = 86400
    timeout_s: int = 5


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
    """The operator's own port: /livez, /readyz, /metrics. Worker n listens n ports further. `pages` adds those that
    explain decisions, for people on this machine: `listen` must be a loopback address then."""

    listen: str = ""
    pages: bool = False


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
    of other operators' patients: who writes from there is a patient. `emergency_permits` are the emergency switches
    of a patient who chose nothing; `unopened_notice` tells senders that a patient never opened the box."""

    profile: Literal["thread", "contact"] = "thread"
    test_identities: bool = False
    reply_to_foreign: bool = False
    habilitations_file: Path | None = None
    patient_domains: tuple[str, ...] = ("patient.mssante.fr",)
    emergency_permits: tuple[Literal["ETREAT", "BTG", "MASKED"], ...] = ("ETREAT", "BTG")
    consent_hours: int = 24
    invitation_days: int = 14
    unopened_notice: bool = False


@dataclass(frozen=True, slots=True)
class NotifyConfig:
    """The program that tells holders by e-mail that there is a notice, with its arguments; none: nobody is told so.
    It reads one line of JSON on standard input, and has `timeout_s` to end with 0."""

    command: tuple[str, ...] = ()
    timeout_s: int = 30


@dataclass(frozen=True, slots=True)
class FolderRuleConfig:
    """How long letters stay in the folders of one name, since they were put there."""

    mailbox: str
    keep_days: int


@dataclass(frozen=True, slots=True)
class LifeConfig:
    """When unused boxes are closed, and how long closed ones are an archive. `folders`: rules for folders by name.

    A holder is told once a box has come to `full_notice_share` of its quota (1: when it is full).
    """

    full_notice_share: float = 0.9
    close_inactive: bool = True
    inactive_days: int = 365
    notice_days: int = 30
    archive_days: int = 3653
    professional_archive_days: int = 3653
    folders: tuple[FolderRuleConfig, ...] = ()


@dataclass(frozen=True, slots=True)
class JournalConfig:
    """How long traces are kept, and where the heads of the journal's chains are anchored (unset: nowhere): a file, and
    an address that gets them by letter."""

    traces_keep_days: int = 183
    dossier_traces_keep_days: int = 3653
    anchors_file: Path | None = None
    anchors_to: str = ""
    anchors_every_s: int = 86_400


@dataclass(frozen=True, slots=True)
class Hl7Config:
    """Orders to send documents, as HL7 v2 messages: over MLLP, or dropped into a folder. `box` sends the letters."""

    mllp_listen: tuple[str, ...] = ()
    plain: bool = False
    folder: Path | None = None
    poll_s: int = 2
    box: str = ""
    software: str = ""


@dataclass(frozen=True, slots=True)
class FhirConfig:
    """The interface for software (FHIR R4 over https). `base_url`: how clients reach it behind a balancer."""

    listen: tuple[str, ...] = ()
    base_url: str = ""


@dataclass(frozen=True, slots=True)
class AntivirusConfig:
    """clamd, by `host:port` or the path of its socket; "off": there is none. Unset, no door opens."""

    clamd: str = ""
    timeout_s: int = 60
    scans_at_once: int = 10
    database_max_age_s: int = 3 * 86400


@dataclass(frozen=True, slots=True)
class Limits:
    """Every limit of the house. Octets, seconds or counts, as the name says."""

    message_max_octets: int = 25 * MIB
    recipients_max: int = 100
    dossier_grants_max: int = 200
    unopened_notices_per_hour_max: int = 200
    header_max_octets: int = 1 * MIB
    header_fields_max: int = 1000
    mime_parts_max: int = 500
    mime_depth_max: int = 50
    mime_parameters_max: int = 100
    addresses_max: int = 1000
    received_max: int = 50
    index_in_process_max_octets: int = 256 * KIB
    proxy_header_max_octets: int = 4 * KIB
    proxy_header_timeout_s: int = 5
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
    imap_search_text_max_octets: int = MIB
    imap_annotation_max_octets: int = 16 * KIB
    imap_annotations_max: int = 100
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
    token_max_octets: int = 8 * KIB
    token_keys_max_octets: int = 512 * KIB
    submission_recipients_per_hour_max: int = 2000
    zip_entries_max: int = 200
    zip_uncompressed_max_octets: int = 100 * MIB
    zip_ratio_max: int = 100
    zip_depth_max: int = 6
    cda_max_octets: int = 20 * MIB
    xml_depth_max: int = 300
    filing_max_octets: int = 5_000_000
    hl7_message_max_octets: int = 40 * MIB
    hl7_segments_max: int = 1000
    hl7_fields_max: int = 200
    hl7_connections_max: int = 50
    hl7_idle_s: int = 600
    fhir_body_max_octets: int = 40 * MIB
    fhir_nesting_max: int = 40
    fhir_documents_max: int = 20
    fhir_count_max: int = 100
    fhir_looked_through_max: int = 1000
    fhir_parameters_max: int = 50
    fhir_transfers_max: int = 4
    fhir_page_valid_s: int = 900
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
    balancer: BalancerConfig = BalancerConfig()
    smtp: SmtpConfig = SmtpConfig()
    imap: ImapConfig = ImapConfig()
    tokens: TokensConfig = TokensConfig()
    webmail: WebmailConfig = WebmailConfig()
    ops: OpsConfig = OpsConfig()
    trust_list: TrustListConfig = TrustListConfig()
    directory: DirectoryConfig = DirectoryConfig()
    relay: RelayConfig = RelayConfig()
    dkim: DkimConfig = DkimConfig()
    policy: PolicyConfig = PolicyConfig()
    life: LifeConfig = LifeConfig()
    journal: JournalConfig = JournalConfig()
    notify: NotifyConfig = NotifyConfig()
    antivirus: AntivirusConfig = AntivirusConfig()
    hl7: Hl7Config = Hl7Config()
    fhir: FhirConfig = FhirConfig()
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
