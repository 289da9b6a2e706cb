"""Hospital software gives orders to a real server: over MLLP with a certificate or from this machine, and by files."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from demo import clients
from demo.letters import SAMPLE, SAMPLE_TRAITS
from mss import instance, pki
from mss.clock import system_clock
from mss.config import Limits
from mss.dossier import er7
from mss.dossier.er7 import Er7
from mss.hl7.framing import Frames, framed
from mss.model.account import AccountKind, Delegation, DelegationKind
from mss.model.address import Address
from mss.model.document import PatientIdentity
from mss.services import accounts, proofs
from mss.store.store import Store
from tests.journeys.conftest import MakeSite
from tests.journeys.sites import BOX, PATIENCE_S, Certificate, Site
from tests.support.mdm import document, order

pytestmark = pytest.mark.journey

IDENTITY = PatientIdentity(((SAMPLE.matricule, SAMPLE.oid),), SAMPLE_TRAITS)


def about_the_patient(control_id: str = "1", **changes: object) -> bytes:
    facts: dict[str, object] = {
        "patient": (SAMPLE.matricule, SAMPLE.oid), "documents": [document(patient=IDENTITY)], "to": (BOX,),
        "meta": {"DESTMSSANTEPS": "Y", "DESTMSSANTEPAT": "Y"}, "control_id": control_id,
    }  # fmt: skip
    return order(**{**facts, **changes})  # type: ignore[arg-type]


def said(octets: bytes) -> tuple[str, str]:
    message = er7.parse(octets, Limits())
    msa = message.segments[1]
    return msa.component(1), msa.component(2)


def exchange(connection: socket.socket, *messages: bytes) -> list[Er7]:
    """Send messages and return what each was answered."""
    found: list[Er7] = []
    frames = Frames(100_000)
    for message in messages:
        connection.sendall(framed(message))
        answers: list[bytes] = []
        while not answers:
            octets = connection.recv(65536)
            assert octets, "the server hung up"
            answers = frames.feed(octets)
        found.append(er7.parse(answers[0], Limits()))
    return found


def codes(answers: list[Er7]) -> list[str]:
    return [answer.segments[1].component(1) for answer in answers]


def configured(site: Site, lines: str) -> None:
    path = site.operator.config_file
    path.write_text(path.read_text(encoding="utf-8") + f'\n[hl7]\nbox = "{BOX}"\n{lines}\n', encoding="utf-8")


def port(site: Site) -> int:
    return site.operator.base_port + 15


def wait_for(path: Path) -> bytes:
    end = time.monotonic() + PATIENCE_S
    while not path.exists():
        assert time.monotonic() < end, f"{path.name} is not there"
        time.sleep(0.05)
    return path.read_bytes()


def test_orders_from_this_machine_and_by_files(new_hospital: MakeSite) -> None:
    site = new_hospital()
    configured(site, f'mllp_listen = ["127.0.0.1:{port(site)}"]\nplain = true\nfolder = "orders"\npoll_s = 1')
    site.start(workers=2)
    with socket.create_connection(("127.0.0.1", port(site)), PATIENCE_S) as connection:
        answers = exchange(connection, about_the_patient(), order("T01"), about_the_patient("2", to=()))
        assert codes(answers) == ["AA", "AR", "AE"]
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert connection.recv(100) == b""
    folder = site.operator.folder / "orders"
    fresh = folder / "a.tmp"
    fresh.write_bytes(about_the_patient("3"))
    fresh.rename(folder / "a.hl7")
    assert said(wait_for(folder / "acks" / "a.hl7.ack")) == ("AA", "3")
    assert not (folder / "a.hl7").exists()
    with site.mailbox() as mailbox:
        assert mailbox.select("INBOX")[1] == [b"2"]


async def bind(store: Store, subject: str) -> None:
    """Make an account for a machine that acts for the box, and let its certificate sign it in."""
    now, actor = system_clock(), "system:journeys"
    make = accounts.create_account
    account = await store.write(make, "engine", AccountKind.APPLICATION, "Engine", "", actor, now)
    box = await store.read(lambda uow: uow.accounts.box_by_address(Address.own(BOX)))
    assert box is not None
    await store.write(accounts.delegate, Delegation(account.id, box.id, DelegationKind.MEMBER), actor, now)
    await store.write(proofs.bind_certificate, account.id, subject, "", actor, now)


def test_a_certificate_says_who_gives_orders(new_hospital: MakeSite) -> None:
    site = new_hospital()
    chain, key = pki.issue(
        site.folder / "engine", site.authority, {"C": "FR", "CN": "engine"}, ["engine"], now=system_clock()
    )
    robots = f'client_ca_file = "{site.ca_file}"\nclient_crl_files = ["{site.authority.crl_file}"]'
    site.set('ca_file = "certs/ca.pem"', f'ca_file = "certs/ca.pem"\n{robots}')
    configured(site, f'mllp_listen = ["127.0.0.1:{port(site)}"]')
    site.operator.with_store(lambda store: bind(store, str(instance.subject_of(chain))))
    stranger = pki.issue(
        site.folder / "other", site.authority, {"C": "FR", "CN": "other"}, ["other"], now=system_clock()
    )
    site.start()

    def ask(certificate: Certificate | None) -> list[str]:
        """Give an order and return what it is answered; nothing when the server hangs up."""
        context = clients.context(site.ca_file)
        if certificate is not None:
            context.load_cert_chain(*certificate)
        raw = socket.create_connection(("127.0.0.1", port(site)), PATIENCE_S)
        try:
            with context.wrap_socket(raw, server_hostname="localhost") as connection:
                return codes(exchange(connection, about_the_patient()))
        except (AssertionError, OSError):
            return []

    assert [ask(None), ask(stranger), ask((chain, key))] == [[], [], ["AA"]]
