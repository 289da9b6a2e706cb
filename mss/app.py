"""The composition root: Config → store, doors, loops; roles; workers. The only place that builds things.

The parent binds every listening socket once; workers inherit them, so that a worker can be replaced without a gap. It
holds no rule of the domain.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial

import uvloop

from mss import dns
from mss.accepting import Share
from mss.balancer import balancers_of
from mss.clock import Clock, system_clock
from mss.config import Config
from mss.console import app as console
from mss.console.metrics import Metrics
from mss.directory.refresh import Refresher
from mss.errors import Misconfigured, Unavailable
from mss.fhir import app as fhir
from mss.hl7.desk import Desk
from mss.hl7.folder import Drop
from mss.hl7.mllp import Mllp
from mss.imap import server as imap
from mss.log import configure, get_logger
from mss.memory import give_large_blocks_back
from mss.model.address import Domain, parse_domain
from mss.model.peer import TrustList
from mss.notify import Notifier
from mss.parent import STOP_SIGNALS, Parent
from mss.policy.routing import reachable_domains
from mss.presence import Presence
from mss.screening import Screen, clamd_of, require
from mss.seal import seal_of
from mss.services import operators
from mss.services.house import hosted
from mss.services.outbound import Plan
from mss.services.submit import Outside
from mss.signin import SignIn
from mss.smtp import relay, signing
from mss.smtp import server as smtp
from mss.smtp.aside import Aside
from mss.smtp.door import Door
from mss.smtp.mx import MxDoor, MxHouse
from mss.smtp.readers import Readers
from mss.smtp.session import Listener
from mss.smtp.spool import Spool
from mss.smtp.submission import SubmissionDoor, SubmissionHouse
from mss.sockets import Sockets, bind, bind_one
from mss.store.store import Store, Subscription, upgrade
from mss.tls import TlsMaterial
from mss.tokens.issuer import issuer_of
from mss.upkeep import Upkeep
from mss.watch import Watch
from mss.web import serving
from mss.webmail import app as webmail

ROLES = ("mx", "submission", "imap", "webmail", "relay", "directory", "hl7", "fhir", "ops")
_TRUST_POLL_S = 5
# What stays for a worker's life is never looked at again; a letter's own objects rarely form cycles.
_GC_THRESHOLDS = (20_000, 20, 50)

_log = get_logger("app")


class TrustHolder:
    """The trust list in use by one process, read again when the store has another one."""

    def __init__(self, store: Store, config: Config, clock: Clock) -> None:
        self._store = store
        self._config = config
        self._clock = clock
        self._mark = (0, 0)
        self._list: TrustList | None = None
        self._outside = Outside(frozenset(), config.relay.expire_s)
        self._subscription: Subscription | None = None

    def current(self) -> TrustList | None:
        """Return the list in use, at once."""
        return self._list

    def outside(self) -> Outside:
        """Return what may be reached beyond our own domains now."""
        return self._outside

    async def refresh(self) -> None:
        """Read the list when it changed."""
        now = self._clock()
        mark = await self._store.read(operators.trust_list_mark, now)
        if mark == self._mark and self._list is not None:
            return
        self._list = await self._store.read(operators.trust_list, now)
        self._mark = mark
        reachable = reachable_domains(self._list, self._config.relay.routes)
        self._outside = Outside(reachable, self._config.relay.expire_s)

    async def begin(self) -> None:
        """Listen, then read the list that is there: one that comes while the doors are being opened is heard of."""
        self._subscription = self._store.subscribe("trust-list")
        await self.refresh()

    async def run(self) -> None:
        """Follow the store for ever, once begun."""
        assert self._subscription is not None
        try:
            while True:
                await self._subscription.wait(_TRUST_POLL_S)
                await _supervised("trust-list", self.refresh)
        finally:
            self._subscription.close()


async def _supervised(name: str, work: Callable[[], Awaitable[None]]) -> None:
    try:
        await work()
    except Exception as error:  # noqa: BLE001  # A loop's supervisor: the next round tries again.
        _log.error("loop.failed", loop=name, kind=type(error).__name__)


@dataclass(slots=True)
class Running:
    """What a worker has to end, in the order it was begun."""

    ends: list[Callable[[], Awaitable[object]]] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def loop(self, work: Awaitable[None], name: str) -> None:
        """Begin a loop that lives as long as the worker."""
        self.tasks.append(asyncio.ensure_future(_named(work)))
        self.tasks[-1].set_name(name)

    async def end(self) -> None:
        """End everything, doors first."""
        for end in self.ends:
            await end()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def _named(work: Awaitable[None]) -> None:
    await work


class Worker:
    """One process of an operator: a store, its doors and loops."""

    def __init__(self, config: Config, roles: frozenset[str], sockets: Sockets, index: int, clock: Clock) -> None:
        self._config = config
        self._roles = roles
        self._sockets = sockets
        self._shares = sockets.shares.of(index)
        self._index = index
        self._clock = clock
        self._store = Store(config)
        self._metrics = Metrics()
        self._store.tell(self._metrics.noted)
        self._material = TlsMaterial(config, self._metrics.responder_said)
        self._watch = Watch(self._material, config, clock)
        self._refresher: Refresher | None = None
        self._trust = TrustHolder(self._store, config, clock)
        self._sign_in = SignIn(self._store, clock, config.limits, self._metrics, issuer_of(config, clock))
        self._readers = Readers(config.limits)
        self._spool = Spool(config.limits, config.path(config.store.blobs_dir).parent / "spool")
        self._signatures = Aside(patience_s=config.dkim.timeout_s)
        self._clamd = clamd_of(config)
        self._screen = Screen(self._clamd, self._metrics.scanned)
        self._hosted = replace(hosted(config), seal=seal_of(config))
        self._home = parse_domain(config.domains[0].name)
        self._balancers = balancers_of(config)
        self._running = Running()

    async def start(self) -> None:
        """Begin everything; returns once all doors are open."""
        await self._store.start()
        await self._trust.begin()
        if "directory" in self._roles:
            await self._begin_directory()
        await self._begin_smtp()
        await self._begin_imap()
        await self._begin_web()
        await self._begin_fhir()
        if "hl7" in self._roles:
            await self._begin_hl7()
        if "relay" in self._roles:
            self._begin_relay()
        self._begin_upkeep()
        if self._config.notify.command:
            self._begin_notifier()
        self._running.loop(self._trust.run(), "trust")
        self._running.loop(self._watch.run(), "certificates")
        if "ops" in self._roles and self._config.ops.listen:
            await self._begin_console()
        _log.info("worker.started", index=self._index, roles=sorted(self._roles), store=self._store.name)

    def look_now(self) -> None:
        """Read certificates, lists and the trust list again, at once (SIGHUP)."""
        _log.info("worker.looks", index=self._index)
        self._watch.look_now()
        if self._refresher is not None:
            self._refresher.look_now()

    async def stop(self) -> None:
        """End everything; letters under way are answered first."""
        await self._running.end()
        self._readers.close()
        self._spool.close()
        self._signatures.close()
        self._sign_in.close()
        await self._store.close()
        _log.info("worker.stopped", index=self._index)

    async def _begin_directory(self) -> None:
        self._refresher = Refresher(self._store, self._config, self._clock)
        self._running.loop(self._refresher.run(), "directory")
        self._running.ends.append(self._refresher.stop)

    async def _begin_smtp(self) -> None:
        config, clock = self._config, self._clock
        mx = MxDoor(
            MxHouse(
                store=self._store,
                material=self._material,
                trust=self._trust.current,
                trust_max_age_s=config.trust_list.max_age_s,
                hosted=self._hosted,
                limits=config.limits,
                clock=clock,
                readers=self._readers,
                verifier=signing.verifier(config, self._signatures),
                screen=self._screen,
            )
        )
        await self._serve_smtp(self._sockets.mx, mx, lambda: self._material.mx_server, self._shares.mx)
        house = SubmissionHouse(
            store=self._store,
            sign_in=self._sign_in,
            outside=self._trust.outside,
            hosted=self._hosted,
            limits=config.limits,
            clock=clock,
            readers=self._readers,
            metrics=self._metrics.smtp,
            certificate=self._material.robots.shown,
            screen=self._screen,
        )
        context = lambda: self._material.mail_clients  # noqa: E731
        starttls = SubmissionDoor(house, Listener.SUBMISSION)
        await self._serve_smtp(self._sockets.submission, starttls, context, self._shares.submission)
        implicit = SubmissionDoor(house, Listener.SUBMISSIONS)
        shares = self._shares
        await self._serve_smtp(self._sockets.submissions, implicit, context, shares.submissions, implicit_tls=True)

    async def _serve_smtp(
        self,
        sockets: tuple[socket.socket, ...],
        door: Door,
        context: Callable[[], ssl.SSLContext],
        share: Share,
        *,
        implicit_tls: bool = False,
    ) -> None:
        if not sockets:
            return
        served = await smtp.serve(
            sockets,
            door,
            context,
            hostname=self._config.operator.hostname,
            home=self._home,
            limits=self._config.limits,
            clock=self._clock,
            metrics=self._metrics.smtp,
            spool=self._spool,
            implicit_tls=implicit_tls,
            share=share,
            balancers=self._balancers,
        )
        self._running.ends.append(served.close)

    async def _begin_imap(self) -> None:
        if not (self._sockets.imap or self._sockets.imaps):
            return
        served = await imap.serve(
            self._store,
            self._sign_in,
            lambda: self._material.mail_clients,
            limits=self._config.limits,
            clock=self._clock,
            metrics=self._metrics.imap,
            starttls_sockets=self._sockets.imap,
            implicit_tls_sockets=self._sockets.imaps,
            certificate=self._material.robots.shown,
            share=self._shares.imap,
            screen=self._screen,
            balancers=self._balancers,
        )
        self._running.ends.append(served.close)

    async def _begin_web(self) -> None:
        config = self._config
        tls = None if config.webmail.plain else self._material.client_facing
        for sock in self._sockets.webmail:
            application = webmail.build(
                self._store, config, self._clock, self._sign_in, self._trust.outside, self._screen
            )
            served = await serving.serve(
                application,
                sock,
                config.limits,
                tls=tls,
                trusted_proxies=config.webmail.trusted_proxies,
                share=self._shares.webmail,
                balancers=self._balancers,
            )
            self._running.ends.append(served.stop)

    async def _begin_fhir(self) -> None:
        for sock in self._sockets.fhir:
            application = fhir.build(
                self._store, self._config, self._clock, self._sign_in, self._screen, self._material.robots.shown
            )
            tls, share = self._material.software, self._shares.fhir
            served = await serving.serve(
                application, sock, self._config.limits, tls=tls, share=share, balancers=self._balancers
            )
            self._running.ends.append(served.stop)

    async def _begin_hl7(self) -> None:
        config = self._config
        folder = config.hl7.folder
        if not self._sockets.hl7 and folder is None:
            return
        desk = Desk(
            self._store,
            config.hl7,
            self._hosted,
            self._trust.outside,
            config.limits,
            self._clock,
            self._screen,
            self._metrics.hl7,
        )
        if folder is not None:
            drop = Drop(config.path(folder), desk, config.hl7.poll_s, config.limits.hl7_message_max_octets)
            self._running.loop(drop.run(), "hl7-folder")
            self._running.ends.append(drop.stop)
        context = None if config.hl7.plain else lambda: self._material.mail_clients
        shown = self._material.robots.shown
        listening = Mllp(desk, config.limits, self._clock, self._sign_in, shown, context, self._balancers)
        await listening.listen(self._sockets.hl7)
        self._running.ends.append(listening.close)

    def _begin_relay(self) -> None:
        config = self._config
        resolver = dns.make_resolver()

        async def look_up(domain: Domain) -> list[tuple[int, str]]:
            return await dns.mx(domain, resolver)

        house = relay.RelayHouse(
            store=self._store,
            material=self._material,
            trust=self._trust.current,
            trust_max_age_s=config.trust_list.max_age_s,
            look_up=look_up,
            plan=Plan(config.relay, config.operator.hostname, self._hosted.domains, limits=config.limits),
            limits=config.limits,
            clock=self._clock,
            metrics=self._metrics.smtp,
            worker=self._store.name,
            sign=signing.signer(config, self._signatures, self._clock),
        )
        running = relay.Relay(house)
        self._running.loop(running.run(), "relay")
        self._running.ends.append(running.stop)

    def _begin_upkeep(self) -> None:
        keeping = Upkeep(self._store, self._config, self._clock, self._metrics)
        self._running.loop(keeping.run(), "upkeep")
        self._running.ends.append(keeping.stop)
        presence = Presence(self._store, self._store.node, self._roles, self._clock)
        self._running.loop(presence.run(), "presence")
        self._running.ends.append(presence.stop)

    def _begin_notifier(self) -> None:
        notifier = Notifier(self._store, self._config, self._clock)
        self._running.loop(notifier.run(), "notify")
        self._running.ends.append(notifier.stop)

    async def _begin_console(self) -> None:
        application = console.build(
            self._store, self._config, self._clock, self._metrics, self._trust.current, self._material, self._clamd
        )
        sock = bind_one(self._config.ops.listen, self._index)
        served = await serving.serve(application, sock, self._config.limits)
        self._running.ends.append(served.stop)


async def _work(config: Config, roles: frozenset[str], sockets: Sockets, index: int, parent: int | None) -> None:
    worker = Worker(config, roles, sockets, index, system_clock)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stopping.set)
    loop.add_signal_handler(signal.SIGHUP, worker.look_now)
    if parent is not None:
        loop.add_reader(parent, _orphaned, parent, index, stopping)
    try:
        await worker.start()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        await stopping.wait()
    finally:
        await worker.stop()


def _orphaned(parent: int, index: int, stopping: asyncio.Event) -> None:
    """The parent was killed: end in good order, and leave the ports to the next one."""
    asyncio.get_running_loop().remove_reader(parent)
    _log.error("worker.orphaned", index=index)
    stopping.set()


def _run_worker(config: Config, roles: frozenset[str], sockets: Sockets, index: int, parent: int | None = None) -> int:
    give_large_blocks_back()
    try:
        uvloop.run(_work(config, roles, sockets, index, parent))
    except Misconfigured as error:
        _log.error("worker.misconfigured", reason=str(error))
        return 2
    except Unavailable as error:
        _log.error("worker.unavailable", reason=str(error))
        return 1
    return 0


def serve(config: Config, *, roles: frozenset[str] = frozenset(ROLES), workers: int = 1) -> int:
    """Run an operator until SIGTERM or SIGINT; returns the exit code. Tables are brought to their newest form first."""
    configure(level=config.log.level, json=config.log.json)
    # Whoever asks us to look again must not end us while we begin.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    require(config)
    upgrade(config)
    sockets = bind(config, roles, workers)
    if workers <= 1:
        return _run_worker(config, roles, sockets, 0)
    return Parent(partial(_run_worker, config, roles, sockets), workers).run()
