"""The figures of one process, for Prometheus. The only module that names prometheus-client.

The doors know small protocols; the classes here fit them. No label carries a person: a value that does not look like
a static word of ours becomes "other".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import accumulate
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from mss.model.audit import AuditEvent

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
OTHER: Final = "other"

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9 _-]{0,30}(?:\.[a-z][a-z0-9-]{0,30})?\Z", re.ASCII)
# The numbers that declared software has: letters, then digits. A matricule begins with a digit.
_NUMBER = re.compile(r"[A-Za-z]{2,8}-?[0-9]{1,10}\Z", re.ASCII)
_NUMBERS_MAX: Final = 200
_FAST: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SLOW: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_LETTER: Final = (2**10, 2**12, 2**14, 2**16, 2**18, 2**20, 2**22, 2**23, 2**24, 25 * 2**20)
_INCOMING: Final = "mx"
_FILED: Final = {"document.file": "filed", "document.known": "known", "document.unfiled": "unfiled"}
_CHILDREN_MAX: Final = 200


def word(value: str) -> str:
    """Return a label's value when it is a word of ours; `other` for all else."""
    return value if _WORD.match(value) else OTHER


class _Children:
    """The series of one metric by their labels' values, so that each is looked up once."""

    def __init__(self, metric: Any) -> None:
        self._metric = metric
        self._known: dict[tuple[str, ...], Any] = {}

    def of(self, *values: str) -> Any:
        """Return the series of these values."""
        child = self._known.get(values)
        if child is None:
            child = self._metric.labels(*map(word, values))
            if len(self._known) < _CHILDREN_MAX:
                self._known[values] = child
        return child


class SmtpCounts:
    """What the SMTP doors and the relay count."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._sessions = Counter(
            "mss_smtp_sessions", "SMTP connections that ended.", ("listener", "outcome"), registry=registry
        )
        self._open = Gauge("mss_smtp_sessions_open", "SMTP connections open now.", ("listener",), registry=registry)
        self._commands = Histogram(
            "mss_smtp_command_seconds",
            "Time to answer a command.",
            ("listener", "verb"),
            buckets=_FAST,
            registry=registry,
        )
        self._command_series = _Children(self._commands)
        self._refused = Counter(
            "mss_messages_refused", "Refusals by stage and rule.", ("stage", "rule"), registry=registry
        )
        self._accepted = Counter(
            "mss_messages_accepted", "Letters accepted from outside (in) or from our people (out).", ("direction",),
            registry=registry,
        )  # fmt: skip
        self._letters = Counter(
            "mss_smtp_letters", "Letters answered after DATA.", ("listener", "outcome"), registry=registry
        )
        self._letter_series = _Children(self._letters)
        self._octets = Histogram(
            "mss_message_octets", "Sizes of the letters answered.", ("direction",), buckets=_LETTER, registry=registry
        )
        self._attempts = Counter("mss_delivery_attempts", "Deliveries tried.", ("outcome",), registry=registry)
        self._delivery = Histogram(
            "mss_delivery_seconds", "Time of one try.", ("outcome",), buckets=_SLOW, registry=registry
        )

        self._conformity = Counter(
            "mss_submission_conformity", "Submitted letters by check and result.", ("check", "result"),
            registry=registry,
        )  # fmt: skip
        self._software = Counter(
            "mss_submission_software", "Submitted letters by the software's number (X-MSS-NIL).", ("number",),
            registry=registry,
        )  # fmt: skip
        self._numbers: set[str] = set()

    def conformity(self, software: str, results: Mapping[str, str]) -> None:
        """A submitted letter was accepted. Only so many numbers get a series of their own: senders choose them."""
        number = software.upper() if _NUMBER.match(software) else OTHER if software else "none"
        if number not in self._numbers and len(self._numbers) < _NUMBERS_MAX:
            self._numbers.add(number)
        self._software.labels(number if number in self._numbers else OTHER).inc()
        for check, result in results.items():
            self._conformity.labels(word(check), word(result)).inc()

    def session_opened(self, listener: str) -> None:
        """A connection was taken."""
        self._open.labels(word(listener)).inc()

    def session_closed(self, listener: str, outcome: str) -> None:
        """A connection ended."""
        self._open.labels(word(listener)).dec()
        self._sessions.labels(word(listener), word(outcome)).inc()

    def command(self, listener: str, verb: str, seconds: float) -> None:
        """A known command was answered."""
        self._command_series.of(listener, verb).observe(seconds)

    def refused(self, stage: str, rule: str) -> None:
        """Something was refused."""
        self._refused.labels(word(stage), word(rule)).inc()

    def letter(self, listener: str, outcome: str, octets: int) -> None:
        """A letter was answered."""
        direction = "in" if listener == _INCOMING else "out"
        self._letter_series.of(listener, outcome).inc()
        self._octets.labels(direction).observe(octets)
        if outcome == "accepted":
            self._accepted.labels(direction).inc()

    def auth(self, mechanism: str, outcome: str) -> None:
        """A sign-in at an SMTP door, as its protocol has it; `signed_in` counts the same one in `mss_auth_total`."""

    def attempt(self, outcome: str, seconds: float) -> None:
        """A delivery was tried."""
        self._attempts.labels(word(outcome)).inc()
        self._delivery.labels(word(outcome)).observe(seconds)


class ImapCounts:
    """What the IMAP door counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._opened = Counter("mss_imap_connections", "IMAP connections taken.", registry=registry)
        self._closed = Counter(
            "mss_imap_connections_closed", "IMAP connections that ended.", ("outcome",), registry=registry
        )
        self._states = Gauge("mss_imap_sessions", "IMAP sessions by state.", ("state",), registry=registry)
        self._commands = Histogram(
            "mss_imap_command_seconds", "Time to answer a command.", ("command", "condition"), buckets=_FAST,
            registry=registry,
        )  # fmt: skip

    def session_opened(self) -> None:
        """A connection was taken."""
        self._opened.inc()

    def session_closed(self, outcome: str) -> None:
        """A connection ended."""
        self._closed.labels(word(outcome)).inc()

    def state(self, before: str, after: str) -> None:
        """A session went from one state to another; an empty name means none."""
        if before:
            self._states.labels(word(before)).dec()
        if after:
            self._states.labels(word(after)).inc()

    def command(self, name: str, condition: str, seconds: float) -> None:
        """A command was answered."""
        self._commands.labels(word(name), word(condition)).observe(seconds)


class JournalCounts:
    """What is counted as it comes into the journal: decisions of the policy, reports, documents filed and left out."""

    def __init__(self, registry: CollectorRegistry) -> None:
        decisions = Counter(
            "mss_policy_decisions", "Decisions that stand in the journal.", ("rule", "decision"), registry=registry
        )
        self._decisions = _Children(decisions)
        self._reports = Counter("mss_dsn", "Reports and receipts sent, by what they say.", ("kind",), registry=registry)
        self._filing = Counter(
            "mss_filing", "Documents filed, known already, or left out with the reason.", ("outcome", "reason"),
            registry=registry,
        )  # fmt: skip

    def count(self, event: AuditEvent) -> None:
        """Count one record."""
        if event.rule and event.decision:
            self._decisions.of(event.rule, event.decision).inc()
        if event.action == "report.send":
            self._reports.labels(word(str(event.facts.get("kind", "")))).inc()
        elif outcome := _FILED.get(event.action):
            reason = event.facts.get("reason" if outcome == "unfiled" else "by", "")
            self._filing.labels(outcome, word(str(reason))).inc()


class _Units(Collector):
    """The store counts its units by itself: the figures are taken over as they are."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.found: tuple[Sequence[float], Sequence[int], float] = ((), (0,), 0.0)
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """Give the histogram."""
        bounds, counts, seconds = self.found
        sums = list(accumulate(counts))
        buckets = [(str(bound), float(sums[at])) for at, bound in enumerate((*bounds, "+Inf"))]
        text = "How long write units lasted, without their commits."
        yield HistogramMetricFamily("mss_store_unit_seconds", text, buckets=buckets, sum_value=seconds)


class OrderCounts:
    """What the door for orders (HL7 v2) counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._orders = Counter(
            "mss_hl7_orders",
            "Orders answered, by way, outcome and rule.",
            ("way", "outcome", "rule"),
            registry=registry,
        )
        self._seconds = Histogram(
            "mss_hl7_order_seconds", "Time to answer an order.", ("way",), buckets=_SLOW, registry=registry
        )
        self._sessions = Counter("mss_hl7_sessions", "MLLP connections that ended.", ("outcome",), registry=registry)
        self._open = Gauge("mss_hl7_sessions_open", "MLLP connections open now.", registry=registry)

    def order(self, way: str, outcome: str, rule: str, seconds: float) -> None:
        """An order was answered."""
        self._orders.labels(word(way), word(outcome), word(rule) if rule else "none").inc()
        self._seconds.labels(word(way)).observe(seconds)

    def session_opened(self) -> None:
        """A connection was taken."""
        self._open.inc()

    def session_closed(self, outcome: str) -> None:
        """A connection ended."""
        self._open.dec()
        self._sessions.labels(word(outcome)).inc()


class Metrics:
    """All figures of one process; `smtp` and `imap` are what the doors get, itself what signing in gets."""

    def __init__(self) -> None:
        # When each series began is of no use to anybody and doubles the text.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self.smtp = SmtpCounts(self._registry)
        self.imap = ImapCounts(self._registry)
        self.hl7 = OrderCounts(self._registry)
        self._auth = Counter("mss_auth", "Sign-ins.", ("mechanism", "outcome"), registry=self._registry)
        self._queue = Gauge("mss_queue_messages", "Deliveries by state.", ("state",), registry=self._registry)
        self._oldest = Gauge("mss_queue_oldest_seconds", "Age of the oldest due delivery.", registry=self._registry)
        self._list_age = Gauge(
            "mss_whitelist_age_seconds", "Since the trust list was last read well.", registry=self._registry
        )
        self._expiry = Gauge(
            "mss_certificate_expiry_seconds", "Until the certificate ends.", ("name",), registry=self._registry
        )
        self._lists_left = Gauge(
            "mss_revocation_lists_left_seconds",
            "Until the first revocation list is due to be replaced; negative when it is late.",
            registry=self._registry,
        )
        self._problems = Gauge(
            "mss_certificate_problems",
            "Files of certificates, keys and lists that cannot be used: what worked before is in use.",
            registry=self._registry,
        )
        self._scans = Counter("mss_av_scans", "What the antivirus said.", ("verdict",), registry=self._registry)
        self._signatures_age = Gauge(
            "mss_av_database_age_seconds", "Age of the antivirus's signatures, where it says it.",
            registry=self._registry,
        )  # fmt: skip
        self._directory_age = Gauge(
            "mss_directory_sync_age_seconds", "Since the directory was last imported.", registry=self._registry
        )
        self._facts = JournalCounts(self._registry)
        self._ocsp = Counter("mss_ocsp_answers", "What responders said.", ("status",), registry=self._registry)
        self._removed = Counter("mss_upkeep_removed", "What the upkeep threw away.", ("job",), registry=self._registry)
        self._kept_up = Gauge(
            "mss_upkeep_done_timestamp_seconds", "When this process did a job of the upkeep last.", ("job",),
            registry=self._registry,
        )  # fmt: skip
        self._up = Gauge("mss_store_up", "Whether the store answers.", registry=self._registry)
        self._units = _Units(self._registry)
        self._waiting = Gauge("mss_store_units_waiting", "Write units that wait.", registry=self._registry)
        self._blobs_up = Gauge(
            "mss_blobs_up",
            "Whether the place of large octets answered when it was last asked.",
            registry=self._registry,
        )
        build = Gauge("mss_build_info", "Always 1.", ("version",), registry=self._registry)
        build.labels(_version()).set(1)

    def signed_in(self, mechanism: str, outcome: str) -> None:
        """Count one sign-in."""
        self._auth.labels(word(mechanism), word(outcome)).inc()

    def store(self, *, up: bool, blobs_well: bool = True) -> None:
        """Say whether the store answered when it was asked, and the place of large octets the last time."""
        self._up.set(up)
        self._blobs_up.set(blobs_well)

    def units(self, bounds: Sequence[float], counts: Sequence[int], seconds: float, waiting: int) -> None:
        """Say how long write units lasted: how many up to each bound, and longer; and how many wait."""
        self._units.found = (bounds, tuple(counts), seconds)
        self._waiting.set(waiting)

    def queue(self, counts: dict[str, int], oldest_s: float) -> None:
        """Say how many deliveries wait in which state."""
        self._queue.clear()
        for state, count in counts.items():
            self._queue.labels(word(state)).set(count)
        self._oldest.set(oldest_s)

    def trust_list_age(self, seconds: float) -> None:
        """Say how old the trust list is; not a number before there is one."""
        self._list_age.set(seconds)

    def directory_age(self, seconds: float) -> None:
        """Say how old the directory is; not a number before there is one."""
        self._directory_age.set(seconds)

    def noted(self, events: Iterable[AuditEvent]) -> None:
        """Count what came into the journal."""
        for event in events:
            self._facts.count(event)

    def certificate(self, name: str, seconds_left: float) -> None:
        """Say how long a certificate of ours lasts."""
        self._expiry.labels(word(name)).set(seconds_left)

    def scanned(self, verdict: str) -> None:
        """Count one scan of the antivirus."""
        self._scans.labels(word(verdict)).inc()

    def antivirus_age(self, seconds: float) -> None:
        """Say how old the antivirus's signatures are; not a number when it does not say."""
        self._signatures_age.set(seconds)

    def responder_said(self, status: str) -> None:
        """Count what a responder said of a certificate (OCSP): good, revoked, unknown, or nothing (silent)."""
        self._ocsp.labels(word(status)).inc()

    def revocation(self, left_s: float, problems: int) -> None:
        """Say how long the revocation lists last (not a number without any), and how many files cannot be used."""
        self._lists_left.set(left_s)
        self._problems.set(problems)

    def kept_up(self, job: str, removed: int, now: datetime) -> None:
        """Note that a job of the upkeep was done."""
        self._removed.labels(word(job)).inc(removed)
        self._kept_up.labels(word(job)).set(now.timestamp())

    def text(self) -> bytes:
        """Return all figures in Prometheus' text form."""
        return generate_latest(self._registry)


def _version() -> str:
    try:
        return version("mss-server")
    except PackageNotFoundError:
        return "unknown"
