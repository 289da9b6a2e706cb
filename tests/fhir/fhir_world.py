"""A dossier with a document, those who ask for it, and a client that speaks FHIR with the application itself."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx2

from mss.config import Config, FhirConfig, Limits, PolicyConfig
from mss.fhir.app import build
from mss.fhir.outcome import Json
from mss.model.account import Account, AccountKind, Box, Delegation, DelegationKind
from mss.model.audit import AuditEvent
from mss.model.document import AttachedDocument
from mss.model.ins import OID_NIR
from mss.model.party import BoxKind, Party
from mss.model.rights import Grantee, GrantKind
from mss.policy.decision import Decision, accept
from mss.screening import Screen
from mss.services import accounts, governing, operators, software
from mss.services.governing import Wish
from mss.services.rights import Book
from mss.signin import Reason, Refused
from mss.store.store import Store
from mss.tokens.sasl import Bearer
from tests.services.services_world import archive, arrive, document, letter
from tests.store.store_world import MATRICULE, NOW, account_for, clinic_box, config_in, patient_box

BASE = "https://fhir.clinic.example"
SYSTEM = f"urn:oid:{OID_NIR}"
TOKEN = f"{SYSTEM}|{MATRICULE}"
PERSON = "899700000001"
FHIR = {"Content-Type": "application/fhir+json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MATRIX = "code,label,10,60|69\n34112-3,CR,X,\n11502-2,Biologie,X,X\n"


class Doorman:
    """Stands where tokens and certificates are proven: a token is the login of its account."""

    def __init__(self, people: dict[str, Account]) -> None:
        self.people = people
        self.refusal: Refused | None = None

    async def bearer(self, given: Bearer, *_: object, **__: object) -> Account | Refused:
        known = self.people.get(given.token.octets.decode("latin-1"), Refused(Reason.BAD_CREDENTIALS))
        return self.refusal or known

    async def certificate(self, shown: Any, *_: object) -> Account | Refused:
        return self.people.get(shown, Refused(Reason.BAD_CREDENTIALS))


@dataclass
class Virus(Screen):
    """An antivirus that says what the test wants."""

    decision: Decision
    seen: list[bytes] = field(default_factory=list)

    async def judge(self, octets: bytes) -> Decision:
        self.seen.append(octets)
        return self.decision


@dataclass
class Ward:
    """A patient with one document, a doctor of the directory, a robot; and the interface."""

    store: Store
    box: Box
    config: Config
    doorman: Doorman
    patient: str = ""
    app: Any = None
    shown: Any = None

    def moved(self, store: Store) -> Ward:
        """Return the same people in a copy of their store."""
        return Ward(store, self.box, config_in(Path()), Doorman(dict(self.doorman.people)), self.patient)

    def opens(self, screen: Screen | None = None, **limits: Any) -> None:
        """Build the application anew."""
        config = replace(self.config, limits=replace(Limits(), **limits))
        more = {"screen": screen} if screen is not None else {}
        self.app = build(
            self.store, config, lambda: NOW, self.doorman, shown=lambda _end, _now: self.shown, **more  # type: ignore[arg-type]
        )  # fmt: skip

    async def ask(self, method: str, path: str, who: str = "doctor", **more: Any) -> httpx2.Response:
        """Send a request as somebody; "" is nobody."""
        headers = {"Authorization": f"Bearer {who}"} if who else {}
        transport = httpx2.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url=BASE) as client:
            return await client.request(method, path, headers=headers | more.pop("headers", {}), **more)

    async def get(self, path: str, who: str = "doctor", **headers: str) -> httpx2.Response:
        return await self.ask("GET", path, who, headers=headers)

    async def search(self, resource: str, who: str = "doctor", extra: str = "", token: str = TOKEN) -> httpx2.Response:
        """Search by the patient's matricule, in the body."""
        content = f"patient.identifier={token}{extra}"
        return await self.ask("POST", f"/{resource}/_search", who, content=content, headers=FORM)

    async def post(self, path: str, resource: Json, who: str = "doctor") -> httpx2.Response:
        return await self.ask("POST", path, who, json=resource, headers=FHIR)

    async def grants(self, kind: GrantKind, **more: Any) -> None:
        wish = Wish(kind, Grantee("Dr Doctor", person_id=PERSON), **more)
        owner = self.doorman.people["patient"]
        assert (await self.store.write(governing.set_grant, Book(), owner.id, self.box.id, wish, NOW)).accepted

    async def written(self, action: str) -> list[AuditEvent]:
        found = await self.store.read(lambda uow: uow.journal.newest(1000, action))
        return [one.event for one in reversed(found)]

    async def document_id(self) -> str:
        [found] = await self.store.read(lambda uow: uow.dossiers.list(self.box.id))
        return software.document_id(found)


async def make_ward(store: Store) -> Ward:
    box = await patient_box(store)
    clinic, desk = await clinic_box(store), await clinic_box(store, "lab", kind=BoxKind.APP)
    people = {"patient": await account_for(store, box), "doctor": await account_for(store, clinic)}
    other = await clinic_box(store, "other")
    people["other"] = await account_for(store, other)
    make = accounts.create_account
    people["robot"] = await store.write(make, "robot", AccountKind.APPLICATION, "Lab", "hash", "cli", NOW)
    await store.write(accounts.delegate, Delegation(people["robot"].id, desk.id, DelegationKind.OWNER), "cli", NOW)
    party = Party(clinic.address, BoxKind.PER, "DOCTOR", "Jo", person_id=PERSON, profession_code="10")
    generation = await store.write(operators.begin_directory, NOW)
    await store.write(operators.add_parties, generation, (party,), NOW)
    await store.write(operators.publish_directory, generation, NOW)
    await arrive(store, letter(attachments=(archive(document(type_code="34112-3")),)))
    ward = Ward(store, box, config_in(Path()), Doorman(people))
    ward.patient = await store.read(software.patient_id, box.id)
    return ward


def configured(ward: Ward, folder: Path) -> Ward:
    """Load the published matrix, and open the door."""
    (folder / "matrix.csv").write_text(MATRIX, encoding="utf-8")
    policy = PolicyConfig(habilitations_file=folder / "matrix.csv")
    ward.config = replace(ward.config, policy=policy, fhir=FhirConfig(base_url=BASE))
    ward.opens()
    return ward


def record(one: AttachedDocument, url: str = "urn:uuid:binary", **more: Any) -> Json:
    """Return the DocumentReference of a document, as PDSM writes it."""
    return {
        "resourceType": "DocumentReference",
        "status": "current",
        "masterIdentifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:oid:{one.entry.unique_id}"},
        "type": {"coding": [{"system": "http://loinc.org", "code": "11502-2", "display": "Biologie"}]},
        "contained": [
            {
                "resourceType": "Patient",
                "id": "p",
                "identifier": [{"system": SYSTEM, "value": MATRICULE}],
                "name": [{"use": "official", "family": "PAT-TROIS", "given": ["DOMINIQUE"]}],
                "gender": "female",
                "birthDate": "1979-03-28",
            },
            {
                "resourceType": "Practitioner",
                "id": "a",
                "identifier": [{"system": "urn:oid:1.2.250.1.71.4.2.1", "value": PERSON}],
                "name": [{"family": "MARTIN", "given": ["JEAN"]}],
            },
        ],
        "subject": {"reference": "#p"},
        "author": [{"reference": "#a"}],
        "securityLabel": [{"coding": [{"code": "N"}]}],
        "content": [{"attachment": {"contentType": "text/xml", "url": url, "title": "Analyses"}}],
    } | more


def inside(one: AttachedDocument, octets: bytes | None = None, **more: Any) -> Json:
    """Return a DocumentReference with its octets inside, as the simplified publication has it."""
    data = base64.b64encode(one.octets if octets is None else octets).decode()
    return record(one, **more) | {"content": [{"attachment": {"data": data, "title": "Analyses"}}]}


def entry(url: str, resource: Json) -> Json:
    request = {"method": "POST", "url": resource["resourceType"]}
    return {"fullUrl": url, "resource": resource, "request": request}


def bundle(*documents: AttachedDocument) -> Json:
    """Return the transaction that provides documents."""
    records = [(f"urn:uuid:r{n}", record(one, f"urn:uuid:b{n}")) for n, one in enumerate(documents)]
    binaries = [
        (
            f"urn:uuid:b{n}",
            {"resourceType": "Binary", "contentType": "text/xml", "data": base64.b64encode(one.octets).decode()},
        )
        for n, one in enumerate(documents)
    ]
    submission = {
        "resourceType": "List",
        "status": "current",
        "mode": "working",
        "code": {"coding": [{"code": "submissionset"}]},
        "identifier": [{"value": "urn:uuid:11111111-2222-3333-4444-555555555555"}],
        "entry": [{"item": {"reference": url}} for url, _ in records],
    }
    parts = [("urn:uuid:set", submission), *records, *binaries]
    return {"resourceType": "Bundle", "type": "transaction", "entry": [entry(*one) for one in parts]}


def issue(response: httpx2.Response) -> tuple[int, str]:
    """Return the status and the code of an OperationOutcome."""
    body = response.json()
    assert body["resourceType"] == "OperationOutcome", body
    return response.status_code, body["issue"][0]["code"]


def matches(response: httpx2.Response) -> list[Json]:
    """Return the resources that a search found."""
    assert response.status_code == 200, response.text
    found = response.json().get("entry", [])
    return [one["resource"] for one in found if one["search"]["mode"] == "match"]


def told(response: httpx2.Response) -> str:
    """Return the rule that a search without finds tells of."""
    [one] = [one["resource"] for one in response.json()["entry"] if one["search"]["mode"] == "outcome"]
    return str(one["issue"][0].get("details", {}).get("coding", [{"code": ""}])[0]["code"])


CLEAN = accept
