"""Traces and consents through the interface for software: the patient's own, and nobody else's."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from mss.fhir.outcome import Json
from mss.model.rights import GrantKind
from tests.fhir.fhir_world import BASE, FHIR, PERSON, Ward, configured, issue, matches, told
from tests.store.store_world import NOW


@pytest.fixture
def open_ward(ward: Ward, tmp_path: Path) -> Ward:
    return configured(ward, tmp_path)


def consent(patient: str, kind: str = "care-team", how: str = "permit") -> Json:
    reference = {"identifier": {"system": "urn:oid:1.2.250.1.71.4.2.1", "value": PERSON}, "display": "Dr Doctor"}
    return {
        "resourceType": "Consent",
        "status": "active",
        "patient": {"reference": f"Patient/{patient}"},
        "category": [{"coding": [{"system": "urn:mss:grant", "code": kind}]}],
        "provision": {"type": how, "actor": [{"reference": reference}]},
    }


async def test_a_patient_lets_a_professional_read_and_takes_it_back(open_ward: Ward) -> None:
    made = await open_ward.post("/Consent", consent(open_ward.patient), "patient")
    assert made.status_code == 201, made.text
    assert len(matches(await open_ward.search("DocumentReference"))) == 1
    place = made.headers["location"].removeprefix(BASE)
    kept = (await open_ward.get(place, "patient")).json()
    assert kept["provision"]["actor"][0]["reference"]["identifier"]["value"] == PERSON
    assert kept in matches(await open_ward.search("Consent", "patient"))
    assert (await open_ward.ask("DELETE", place, "patient")).status_code == 204
    assert told(await open_ward.search("DocumentReference")) == "document.no-consent"
    assert issue(await open_ward.get(place, "patient")) == (404, "not-found")


async def test_a_consent_bound_to_categories_and_a_block(open_ward: Ward) -> None:
    bound = consent(open_ward.patient, "each-time")
    bound["provision"]["class"] = [{"code": "BIOLOGIE"}]
    assert (await open_ward.post("/Consent", bound, "patient")).status_code == 201
    assert matches(await open_ward.search("DocumentReference")) == []
    assert (await open_ward.post("/Consent", consent(open_ward.patient, "block", "deny"), "patient")).status_code == 201
    assert told(await open_ward.search("DocumentReference")) == "document.blocked"


async def test_professionals_neither_read_nor_write_what_a_patient_set(open_ward: Ward) -> None:
    await open_ward.grants(GrantKind.CARE_TEAM)
    assert issue(await open_ward.post("/Consent", consent(open_ward.patient, "each-time"))) == (403, "forbidden")
    for resource in ("Consent", "AuditEvent"):
        response = await open_ward.search(resource)
        assert (matches(response), told(response)) == ([], "access.wrong-kind")
    name = f"{open_ward.patient}.choices"
    for method in ("GET", "PUT", "DELETE"):
        asked = await open_ward.ask(method, f"/Consent/{name}", content=b"{}", headers=FHIR)
        assert issue(asked) == (403, "forbidden")
    assert {event.decision for event in await open_ward.written("rights.read")} == {"reject"}


async def test_the_emergency_switches_are_set(open_ward: Ward) -> None:
    path = f"/Consent/{open_ward.patient}.choices"
    known = (await open_ward.get(path, "patient")).json()
    for one in known["provision"]["provision"]:
        one["type"] = "deny"
    assert (await open_ward.ask("PUT", path, "patient", json=known, headers=FHIR)).status_code == 200
    assert (await open_ward.get(path, "patient")).json()["provision"] == known["provision"]
    name = await open_ward.document_id()
    refused = await open_ward.get(f"/Binary/{name}", **{"X-Purpose-Of-Use": "BTG"})
    assert issue(refused) == (403, "forbidden")
    assert issue(await open_ward.ask("DELETE", path, "patient")) == (405, "not-supported")
    del known["provision"]["provision"][0]
    assert issue(await open_ward.ask("PUT", path, "patient", json=known, headers=FHIR)) == (422, "invalid")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"status": "draft"}, "invalid"),
        ({"category": []}, "code-invalid"),
        ({"category": [{"coding": [{"code": "block"}]}]}, "code-invalid"),
        ({"provision": {"type": "permit", "actor": []}}, "invalid"),
        ({"provision": {"type": "permit", "actor": [{"reference": {}}]}}, "required"),
        ({"patient": {"reference": "Patient/1-000000000000000000000000"}}, "not-found"),
        ({"provision": {"type": "permit", "class": [{"code": "X"}], "actor": [{}]}}, "code-invalid"),
    ],
)
async def test_consents_that_cannot_be_kept(open_ward: Ward, changes: Json, code: str) -> None:
    assert issue(await open_ward.post("/Consent", consent(open_ward.patient) | changes, "patient")) == (422, code)


@pytest.mark.parametrize("name", ["1", "1-0.choices", "zz.g1", "1-000000000000000000000000.g1"])
async def test_names_of_nothing(open_ward: Ward, name: str) -> None:
    assert issue(await open_ward.get(f"/Consent/{name}", "patient")) == (404, "not-found")


async def test_traces_come_in_pages(open_ward: Ward) -> None:
    for _ in range(3):
        await open_ward.search("DocumentReference", "patient")
    response = await open_ward.search("AuditEvent", "patient", "&_count=2")
    link = next(one["url"] for one in response.json()["link"] if one["relation"] == "next")
    ids = {one["id"] for one in matches(response) + matches(await open_ward.get(link.removeprefix(BASE), "patient"))}
    assert len(ids) >= 3


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("date={today}", True), ("date=eq{today}", True), ("date=ne{today}", False), ("date=ge{today}", True),
        ("date=gt{today}", False), ("date=gt{before}", True), ("date=le{today}", True), ("date=lt{today}", False),
        ("date=lt{after}", True), ("date={before}", False), ("date=ge{before}&date=lt{after}", True),
        ("date=ge{after}&date=le{after}", False),
    ],
)  # fmt: skip
async def test_traces_are_searched_by_day(open_ward: Ward, asked: str, found: bool) -> None:
    await open_ward.search("DocumentReference", "patient")
    days = {
        name: (NOW + timedelta(days=n)).date().isoformat() for name, n in (("before", -1), ("today", 0), ("after", 1))
    }
    response = await open_ward.search("AuditEvent", "patient", "&" + asked.format(**days))
    assert bool(matches(response)) is found


async def test_a_day_goes_on_through_the_pages(open_ward: Ward) -> None:
    for _ in range(3):
        await open_ward.search("DocumentReference", "patient")
    response = await open_ward.search("AuditEvent", "patient", f"&_count=1&date=le{NOW.date().isoformat()}")
    link = next(one["url"] for one in response.json()["link"] if one["relation"] == "next")
    assert len(matches(await open_ward.get(link.removeprefix(BASE), "patient"))) == 1


@pytest.mark.parametrize("written", ["x", "2026-13-01", "eqeq2026-01-01", "sa2026-01-01"])
async def test_what_is_no_day(open_ward: Ward, written: str) -> None:
    assert issue(await open_ward.search("AuditEvent", "patient", f"&date={written}")) == (400, "invalid")
