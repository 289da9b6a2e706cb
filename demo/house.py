"""The three operators: their folders, certificates, people, and the processes that serve them."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from demo.clients import Login, expect
from mss import instance, pki
from mss.clock import system_clock
from mss.config import Config
from mss.directory import trustlist
from mss.directory.refresh import read_trust_list
from mss.model.account import AccountKind, BoxState, Delegation, DelegationKind
from mss.model.address import Address, parse_domain
from mss.model.ins import INS, Traits
from mss.model.party import BoxKind
from mss.model.peer import DN, TrustList
from mss.passwords import hash_password
from mss.services import accounts
from mss.settings import load
from mss.store.store import Store

T = TypeVar("T")

HOSPITAL, REGION, PATIENTS = "hopital-demo.mssante.fr", "region-demo.mssante.fr", "patient.mssante.fr"
START_PATIENCE_S = 20.0


@dataclass(slots=True)
class Operator:
    """One operator of the demonstration: its folder, configuration and process."""

    key: str
    title: str
    domain: str
    kind: str
    base_port: int
    folder: Path
    config_file: Path = Path()
    process: subprocess.Popen[bytes] | None = None

    @property
    def config(self) -> Config:
        """The configuration, as the server reads it."""
        return load(self.config_file)

    def port(self, door: str) -> int:
        """Return the port of a door."""
        return self.base_port + instance.PORTS[door]

    @property
    def subject(self) -> DN:
        """The subject of the operator's certificate, as the trust list names it."""
        config = self.config
        return instance.subject_of(config.path(config.tls.certificate_file))

    def start(self, *, workers: int = 1, under: Sequence[str] = ()) -> None:
        """Start the server, perhaps under another program that becomes it; its log goes to a file in its folder."""
        log = (self.folder / "server.log").open("ab")
        command = [*under, sys.executable, "-m", "mss", "serve", "-c", str(self.config_file), "--workers", str(workers)]
        self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)  # noqa: S603
        log.close()

    def wait_until_ready(self, patience_s: float = START_PATIENCE_S) -> None:
        """Wait until /readyz says so."""
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            expect(self.process and self.process.poll() is None, f"{self.title} ended: see {self.folder}/server.log")
            if self.is_ready():
                return
            time.sleep(0.05)
        expect(False, f"{self.title} is not ready after {patience_s:.0f} s: see {self.folder}/server.log")

    def is_ready(self) -> bool:
        """Say whether /readyz says so."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port("ops"), timeout=2)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def stop(self) -> int:
        """Ask the server to end, and wait; returns its exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def with_store(self, work: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
        """Look into the operator's store from outside its process, as an auditor would."""

        async def run() -> T:
            store = Store(self.config)
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(run())


@dataclass(slots=True)
class People:
    """Who takes part, and how they sign in."""

    hospital: Login
    doctor: Login
    patient: Login
    other_patient: Login
    ins: INS
    other_ins: INS
    traits: Traits
    other_traits: Traits


@dataclass(slots=True)
class World:
    """The trust space of the demonstration."""

    folder: Path
    authority: pki.Authority
    hospital: Operator
    region: Operator
    patients: Operator
    people: People
    timings: dict[str, float] = field(default_factory=dict)

    @property
    def operators(self) -> tuple[Operator, Operator, Operator]:
        """All three."""
        return self.hospital, self.region, self.patients

    @property
    def ca_file(self) -> Path:
        """What clients trust."""
        return self.authority.ca_file

    def start(self) -> None:
        """Start all three and wait until they are ready."""
        for operator in self.operators:
            operator.start()
        for operator in self.operators:
            operator.wait_until_ready()

    def close(self) -> list[int]:
        """Stop everything; returns the exit codes."""
        return [operator.stop() for operator in self.operators]


def make_world(folder: Path, people: People, base_port: int) -> World:
    """Make three operators that list each other; nothing runs yet."""
    now = system_clock()
    authority = pki.make_authority(folder / "authority", now=now, name="DEMONSTRATION")
    hospital = Operator("hospital", "Hospital", HOSPITAL, "professional", base_port, folder / "hospital")
    region = Operator("region", "Region", REGION, "professional", base_port + 20, folder / "region")
    patients = Operator("patients", "Patient service", PATIENTS, "patient", base_port + 40, folder / "patients")
    world = World(folder, authority, hospital, region, patients, people)
    for operator in world.operators:
        _make(operator, world, now)
    _list_each_other(world, now)
    _make_people(world)
    return world


def _make(operator: Operator, world: World, now: Any) -> None:
    routes = {
        other.domain: f"localhost:{other.base_port}" for other in world.operators if other.domain != operator.domain
    }
    plan = instance.Plan(
        name=f"{operator.title} (demonstration)",
        hostname=f"mx.{operator.domain}",
        domains=((operator.domain, operator.kind),),
        base_port=operator.base_port,
        authority=world.authority.directory,
        test_identities=True,
        routes=routes,
    )
    operator.config_file = instance.make(operator.folder, plan, system_clock)


def _list_each_other(world: World, now: Any) -> None:
    domains = {parse_domain(one.domain): frozenset({one.subject}) for one in world.operators}
    octets = trustlist.render(TrustList(now - timedelta(minutes=1), domains, now))
    for operator in world.operators:
        file = operator.config.trust_list.file
        expect(file is not None, "an instance names its trust list")
        if file is not None:
            path = operator.config.path(file)
            fresh = path.with_suffix(".new")
            fresh.write_bytes(octets)
            os.replace(fresh, path)
            # A server that has just started reads its file a moment after it opens its doors.
            read = partial(read_trust_list, config=operator.config, clock=system_clock, path=path)
            refused = operator.with_store(read).reason
            expect(not refused, f"the trust list is refused: {refused}")


def _make_people(world: World) -> None:
    people = world.people
    world.hospital.with_store(
        lambda store: _professional(
            store, f"accueil@{HOSPITAL}", BoxKind.ORG, "Hôpital de la Démonstration", people.hospital
        )
    )
    world.region.with_store(
        lambda store: _professional(store, f"camille.durand@{REGION}", BoxKind.PER, "Dr Camille DURAND", people.doctor)
    )
    world.patients.with_store(lambda store: _patient(store, people.patient, people.ins, people.traits))
    world.patients.with_store(
        lambda store: _patient(store, people.other_patient, people.other_ins, people.other_traits)
    )


async def _professional(store: Store, address: str, kind: BoxKind, name: str, login: Login) -> None:
    now = system_clock()
    new = accounts.NewBox(Address.own(address), kind, name)
    box = await store.write(accounts.create_box, new, "system:demo", now)
    hashed = hash_password(login.password)
    account = await store.write(
        accounts.create_account, login.login, AccountKind.PROFESSIONAL, name, hashed, "system:demo", now
    )
    await store.write(accounts.delegate, Delegation(account.id, box.id, DelegationKind.OWNER), "system:demo", now)


async def _patient(store: Store, login: Login, ins: INS, traits: Traits) -> None:
    now = system_clock()
    name = f"{traits.first_name.title()} {traits.birth_name}"
    address = Address(ins.matricule, parse_domain(PATIENTS))
    new = accounts.NewBox(address, BoxKind.PATIENT, name, BoxState.UNOPENED, ins=ins, traits=traits)
    box = await store.write(accounts.create_box, new, "system:demo", now)
    hashed = hash_password(login.password)
    account = await store.write(
        accounts.create_account, login.login, AccountKind.PATIENT, name, hashed, "system:demo", now
    )
    await store.write(accounts.delegate, Delegation(account.id, box.id, DelegationKind.OWNER), "system:demo", now)
