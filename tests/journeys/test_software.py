"""Software at the real door: over TLS with a token, and with a client certificate; nothing of it is in the log."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from demo import clients
from demo.letters import SAMPLE, SAMPLE_TRAITS
from mss import instance, pki
from mss.clock import system_clock
from mss.dossier.make import make_cda
from mss.model.account import AccountKind, Delegation, DelegationKind
from mss.model.address import Address
from mss.model.document import Author, PatientIdentity
from mss.services import accounts, proofs
from mss.store.store import Store
from tests.journeys.conftest import MakeSite
from tests.journeys.sites import BOX, PATIENCE_S, Site
from tests.support.web import web
from tests.tokens.tokens_world import claims, published, rsa, signed

pytestmark = pytest.mark.journey

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_UNIQUE_ID = "1.2.250.1.999.4242"


def provision() -> dict[str, Any]:
    """Return a transaction with a document about the patient."""
    identity = PatientIdentity(((SAMPLE.matricule, SAMPLE.oid),), SAMPLE_TRAITS)
    octets = make_cda(
        patient=identity, unique_id=_UNIQUE_ID, title="Analyses", created_at=system_clock(), author=Author("Lab"),
        type_code="11502-2",
    )  # fmt: skip
    record = {
        "resourceType": "DocumentReference", "status": "current",
        "masterIdentifier": {"value": f"urn:oid:{_UNIQUE_ID}"}, "content": [{"attachment": {"url": "urn:uuid:b"}}],
    }  # fmt: skip
    submission = {
        "resourceType": "List", "code": {"coding": [{"code": "submissionset"}]},
        "identifier": [{"value": "urn:uuid:11111111-2222-3333-4444-555555555555"}],
        "entry": [{"item": {"reference": "urn:uuid:r"}}],
    }  # fmt: skip
    binary = {"resourceType": "Binary", "contentType": "text/xml", "data": base64.b64encode(octets).decode()}
    parts: dict[str, dict[str, Any]] = {"urn:uuid:s": submission, "urn:uuid:r": record, "urn:uuid:b": binary}
    entries = [
        {"fullUrl": url, "resource": one, "request": {"method": "POST", "url": one["resourceType"]}}
        for url, one in parts.items()
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


async def bind(store: Store, subject: str) -> None:
    """Make an account for a laboratory's machine, and let its certificate sign it in."""
    now, actor = system_clock(), "system:journeys"
    account = await store.write(accounts.create_account, "lab", AccountKind.APPLICATION, "Lab", "", actor, now)
    box = await store.read(lambda uow: uow.accounts.box_by_address(Address.own(BOX)))
    assert box is not None
    await store.write(accounts.delegate, Delegation(account.id, box.id, DelegationKind.MEMBER), actor, now)
    await store.write(proofs.bind_certificate, account.id, subject, "", actor, now)


def client(site: Site, port: int, certificate: tuple[Path, Path] | None = None, token: str = "") -> httpx2.Client:
    context = clients.context(site.ca_file)
    if certificate is not None:
        context.load_cert_chain(*certificate)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx2.Client(verify=context, base_url=f"https://localhost:{port}", headers=headers, timeout=PATIENCE_S)


def test_a_robot_provides_and_the_patient_s_software_reads(new_hospital: MakeSite) -> None:
    site = new_hospital()
    port = site.operator.base_port + 16
    chain = pki.issue(site.folder / "lab", site.authority, {"C": "FR", "CN": "lab"}, ["lab"], now=system_clock())
    robots = f'client_ca_file = "{site.ca_file}"\nclient_crl_files = ["{site.authority.crl_file}"]'
    site.set('ca_file = "certs/ca.pem"', f'ca_file = "certs/ca.pem"\n{robots}')
    site.operator.with_store(lambda store: bind(store, str(instance.subject_of(chain[0]))))
    with web(host="127.0.0.1") as issuer:
        url = issuer.url("")
        issuer.pages["/.well-known/openid-configuration"] = json.dumps({"issuer": url, "jwks_uri": url + "/k"}).encode()
        issuer.pages["/k"] = published(rsa())
        path = site.operator.config_file
        settings = f'\n[tokens]\nissuer = "{url}"\naudiences = ["mss"]\n\n[fhir]\nlisten = ["127.0.0.1:{port}"]\n'
        path.write_text(path.read_text(encoding="utf-8") + settings, encoding="utf-8")
        site.start(workers=2)
        at = int(time.time())
        dates = {"iat": at, "nbf": at, "exp": at + 240, "jti": None}
        token = signed(claims(**dates, iss=url, preferred_username=site.patient.login)).decode()
        with client(site, port, chain) as robot:
            sent = provision()
            provided = robot.post("/", json=sent, headers={"Content-Type": "application/fhir+json"})
            assert provided.status_code == 200, provided.text
            asked = f"patient.identifier=urn:oid:{SAMPLE.oid}|{SAMPLE.matricule}"
            assert "access.wrong-kind" in robot.post("/DocumentReference/_search", content=asked, headers=_FORM).text
        with client(site, port) as nobody:
            assert nobody.get("/metadata").json()["resourceType"] == "CapabilityStatement"
            assert nobody.post("/DocumentReference/_search", content=asked, headers=_FORM).status_code == 401
            assert nobody.get(f"/DocumentReference?{asked}").status_code == 401
        with client(site, port, token=token) as patient:
            assert patient.get(f"/DocumentReference?{asked}").json()["issue"][0]["code"] == "security"
            found = patient.post("/DocumentReference/_search", content=asked, headers=_FORM)
            [entry] = found.json()["entry"]
            assert entry["resource"]["masterIdentifier"]["value"] == f"urn:oid:{_UNIQUE_ID}"
            octets = patient.get("/" + entry["resource"]["content"][0]["attachment"]["url"]).content
            assert octets == base64.b64decode(sent["entry"][2]["resource"]["data"])
    site.until_logged("http.request", room="fhir", status=200)
