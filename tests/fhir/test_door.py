"""Documents through the interface for software: read, searched, provided; who may, and what is written down of it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import structlog

from mss.model.rights import GrantKind, NoticeKind
from mss.policy import rules
from mss.policy.decision import reject
from mss.services import governing
from mss.signin import Reason, Refused
from tests.fhir.fhir_world import (
    BASE,
    FHIR,
    FORM,
    SYSTEM,
    TOKEN,
    Virus,
    Ward,
    bundle,
    configured,
    inside,
    issue,
    matches,
    record,
    told,
)
from tests.services.services_world import document
from tests.store.store_world import MATRICULE, NOW, OTHER_MATRICULE


@pytest.fixture
def open_ward(ward: Ward, tmp_path: Path) -> Ward:
    return configured(ward, tmp_path)


# -- who asks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/DocumentReference?patient=1-0", "/Binary/1-0", "/List/1", "/Consent/1", "/AuditEvent"]
)
async def test_nobody_is_told_anything_without_a_proof(open_ward: Ward, path: str) -> None:
    response = await open_ward.get(path, "")
    assert issue(response) == (401, "login")
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert issue(await open_ward.get(path, "stranger")) == (401, "login")


async def test_a_source_that_fails_too_often_waits(open_ward: Ward) -> None:
    open_ward.doorman.refusal = Refused(Reason.LOCKED, 30)
    response = await open_ward.get("/Binary/1-0")
    assert (issue(response), response.headers["retry-after"]) == ((429, "throttled"), "30")
    open_ward.doorman.refusal = Refused(Reason.UNAVAILABLE)
    assert issue(await open_ward.get("/Binary/1-0")) == (503, "transient")


async def test_a_robot_comes_with_its_certificate_provides_and_reads_nothing(open_ward: Ward) -> None:
    open_ward.shown = "robot"
    assert (await open_ward.post("/", bundle(document("1.2.3")), "")).status_code == 200
    assert told(await open_ward.search("DocumentReference", "")) == "access.wrong-kind"
    assert issue(await open_ward.get(f"/Binary/{await newest(open_ward)}", "")) == (403, "forbidden")
    assert [event.rule for event in await open_ward.written("dossier.read")] == ["access.wrong-kind"]


async def newest(ward: Ward) -> str:
    found = await ward.store.read(lambda uow: uow.dossiers.list(ward.box.id))
    return f"{ward.box.id:x}-{found[0].logical_id}"


async def test_a_purpose_that_is_none_is_refused(open_ward: Ward) -> None:
    response = await open_ward.get("/Binary/1-0", **{"X-Purpose-Of-Use": "CURIOSITY"})
    assert issue(response) == (400, "code-invalid")


# -- reading ---------------------------------------------------------------------------------------------------------


async def test_a_care_team_reads_and_the_patient_sees_it(open_ward: Ward) -> None:
    await open_ward.grants(GrantKind.CARE_TEAM)
    [found] = matches(await open_ward.search("DocumentReference"))
    assert found["type"]["coding"][0]["code"] == "34112-3"
    assert found["subject"] == {"reference": f"Patient/{open_ward.patient}"}
    assert found["masterIdentifier"]["value"] == "urn:oid:1.2.250.1.999.1"
    assert MATRICULE not in str(found)
    assert (await open_ward.get(f"/DocumentReference/{found['id']}")).json() == found
    binary = await open_ward.get("/" + found["content"][0]["attachment"]["url"])
    assert binary.content == document(type_code="34112-3").octets
    assert binary.headers["content-type"].startswith("text/xml")
    as_json = (await open_ward.get(f"/Binary/{found['id']}", Accept="application/fhir+json")).json()
    assert base64.b64decode(as_json["data"]) == binary.content
    read = await open_ward.written("dossier.read")
    assert [(event.decision, event.rule) for event in read] == [("accept", "document.care-team")] * 3
    assert [event.rule for event in await open_ward.written("dossier.list")] == ["document.care-team"]
    traces = matches(await open_ward.search("AuditEvent", "patient"))
    whose = [one["agent"][0]["who"]["display"] for one in traces if one["subtype"][0]["code"].startswith("dossier.")]
    assert whose == ["Dr Doctor"] * 4


async def test_who_has_no_consent_is_told_why_and_given_nothing(open_ward: Ward) -> None:
    response = await open_ward.search("DocumentReference")
    assert (matches(response), told(response)) == ([], "document.no-consent")
    name = await open_ward.document_id()
    for path in (f"/DocumentReference/{name}", f"/Binary/{name}"):
        assert issue(await open_ward.get(path)) == (403, "forbidden")
    assert {event.rule for event in await open_ward.written("dossier.read")} == {"document.no-consent"}
    assert issue(await open_ward.get(f"/Binary/{name[:-1]}0")) in ((404, "not-found"), (403, "forbidden"))


async def test_an_emergency_opens_and_is_told_to_the_patient(open_ward: Ward) -> None:
    name = await open_ward.document_id()
    response = await open_ward.get(f"/DocumentReference/{name}", **{"X-Purpose-Of-Use": "BTG"})
    assert response.status_code == 200
    owner = open_ward.doorman.people["patient"]
    notices = await open_ward.store.read(governing.notices, owner.id, open_ward.box.id, NOW)
    assert [one.kind for one in notices] == [NoticeKind.EMERGENCY_ACCESS]


async def test_a_masked_document_is_nowhere_and_its_mask_is_not_told(open_ward: Ward) -> None:
    await open_ward.grants(GrantKind.CARE_TEAM)
    owner, [found] = (
        open_ward.doorman.people["patient"],
        await open_ward.store.read(lambda uow: uow.dossiers.list(open_ward.box.id)),
    )
    await open_ward.store.write(governing.mask, owner.id, open_ward.box.id, found.id, True, NOW)
    response = await open_ward.search("DocumentReference")
    assert (matches(response), told(response)) == ([], "")
    assert matches(await open_ward.search("List")) == []
    assert len(matches(await open_ward.search("DocumentReference", "patient"))) == 1


async def test_a_patient_reads_the_own_dossier_and_no_other(open_ward: Ward) -> None:
    [found] = matches(await open_ward.search("DocumentReference", "patient"))
    assert (await open_ward.get(f"/Binary/{found['id']}", "patient")).status_code == 200
    other = await open_ward.search("DocumentReference", "patient", token=f"{SYSTEM}|{OTHER_MATRICULE}")
    assert (matches(other), told(other)) == ([], "access.no-delegation")
    # Nobody knows what the profession of somebody outside the directory may read: ask again once it is known.
    assert issue(await open_ward.get(f"/Binary/{found['id']}", "other")) == (503, "transient")


# -- searching -------------------------------------------------------------------------------------------------------


async def test_a_matricule_never_stands_in_a_url(open_ward: Ward) -> None:
    with structlog.testing.capture_logs() as lines:
        response = await open_ward.get(f"/DocumentReference?patient.identifier={TOKEN}")
    assert issue(response) == (400, "security")
    assert MATRICULE not in str(lines) + response.text
    posted = await open_ward.ask(
        "POST", f"/DocumentReference/_search?patient.identifier={TOKEN}", content="_count=1", headers=FORM
    )
    assert posted.status_code == 400


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ("", 1), ("&type=34112-3", 1), ("&type=http://loinc.org|34112-3,11502-2", 1), ("&type=11502-2", 0),
        ("&category=CPT_REND", 1), ("&category=BIOLOGIE", 0), ("&status=current", 1), ("&status=superseded", 0),
        ("&date=2026-11-22", 1), ("&date=ge2026-01-01&date=lt2026-11-22", 0), ("&date=ne2026-11-22", 0),
        ("&author=899700000001", 0),
    ],
)  # fmt: skip
async def test_filters(open_ward: Ward, filters: str, count: int) -> None:
    assert len(matches(await open_ward.search("DocumentReference", "patient", filters))) == count


@pytest.mark.parametrize(
    "wrong",
    [
        "&foo=1",
        "&status=draft",
        "&date=yesterday",
        "&_count=0",
        "&_count=x",
        "&type=a&type=b",
        "&date=2026-13-01",
        "&a",
    ],
)
async def test_what_cannot_be_searched_for_is_said(open_ward: Ward, wrong: str) -> None:
    status, code = issue(await open_ward.search("DocumentReference", "patient", wrong))
    assert (status, code in ("invalid", "not-supported")) == (400, True)


@pytest.mark.parametrize("token", ["", MATRICULE, f"{SYSTEM}|1", f"urn:oid:1.2|{MATRICULE}"])
async def test_an_identifier_that_is_no_ins(open_ward: Ward, token: str) -> None:
    response = await open_ward.search("DocumentReference", "patient", token=token)
    assert response.status_code == 400
    assert MATRICULE not in response.text


async def test_pages_follow_by_links_that_say_nothing(open_ward: Ward) -> None:
    for number in range(4):
        assert (await open_ward.post("/", bundle(document(f"1.2.3.{number}")))).status_code == 200
    seen, path = [], f"/DocumentReference?patient={open_ward.patient}&_count=2&status=current"
    for _ in range(3):
        response = await open_ward.get(path, "patient")
        seen += [one["id"] for one in matches(response)]
        links = {one["relation"]: one["url"] for one in response.json()["link"]}
        if "next" not in links:
            break
        assert links["next"].startswith(f"{BASE}/DocumentReference?_page=")
        path = links["next"].removeprefix(BASE)
        assert "current" not in path
        assert open_ward.patient not in path
    assert (len(seen), len(set(seen))) == (5, 5)


async def test_a_link_is_its_owner_s_and_ends(open_ward: Ward) -> None:
    await open_ward.post("/", bundle(document("1.2.3")))
    first = await open_ward.get(f"/DocumentReference?patient={open_ward.patient}&_count=1", "patient")
    link = next(one["url"] for one in first.json()["link"] if one["relation"] == "next")
    path = urlsplit(link).path + "?" + urlsplit(link).query
    assert len(matches(await open_ward.get(path, "patient"))) == 1
    assert issue(await open_ward.get(path, "doctor")) == (410, "expired")
    assert issue(await open_ward.get(path[:-4] + "AAAA", "patient")) == (410, "expired")
    assert issue(await open_ward.get(path.replace("DocumentReference", "List"), "patient")) == (410, "expired")
    open_ward.opens(fhir_page_valid_s=-1)
    again = await open_ward.get(f"/DocumentReference?patient={open_ward.patient}&_count=1", "patient")
    stale = next(one["url"] for one in again.json()["link"] if one["relation"] == "next")
    assert issue(await open_ward.get(stale.removeprefix(BASE), "patient")) == (410, "expired")


@pytest.mark.parametrize(("most", "found"), [(1, 1), (2, 2), (3, 2)])
async def test_a_page_holds_no_more_than_the_limit(open_ward: Ward, most: int, found: int) -> None:
    await open_ward.post("/", bundle(document("1.2.3")))
    open_ward.opens(fhir_count_max=most)
    assert len(matches(await open_ward.search("DocumentReference", "patient", "&_count=3"))) == found


async def test_a_request_looks_through_so_many_and_links_to_the_rest(open_ward: Ward) -> None:
    await open_ward.post("/", bundle(document("1.2.3", type_code="11502-2")))
    open_ward.opens(fhir_looked_through_max=1)
    response = await open_ward.search("DocumentReference", "patient", "&type=34112-3")
    link = next(one["url"] for one in response.json()["link"] if one["relation"] == "next")
    assert matches(response) == []
    assert len(matches(await open_ward.get(link.removeprefix(BASE), "patient"))) == 1


async def test_submission_sets_say_what_came_together(open_ward: Ward) -> None:
    await open_ward.post("/", bundle(document("1.2.3"), document("1.2.4")))
    lists = matches(await open_ward.search("List", "patient", "&code=submissionset"))
    assert sorted(len(one["entry"]) for one in lists) == [1, 2]
    assert (await open_ward.get(f"/List/{lists[0]['id']}", "patient")).json() == lists[0]
    assert issue(await open_ward.get(f"/List/{lists[0]['id']}", "other")) == (404, "not-found")
    assert issue(await open_ward.get("/List/zz-1", "patient")) == (404, "not-found")


# -- providing -------------------------------------------------------------------------------------------------------


async def test_a_transaction_files_all_its_documents_once(open_ward: Ward) -> None:
    both = bundle(document("1.2.3"), document("1.2.4"))
    first = await open_ward.post("/", both)
    statuses = [one["response"]["status"] for one in first.json()["entry"]]
    assert statuses == ["200 OK", "201 Created", "201 Created", "200 OK", "200 OK"]
    again = await open_ward.post("/", both)
    places = [[one["response"].get("location") for one in answer.json()["entry"]] for answer in (first, again)]
    assert places[0] == places[1]
    assert "201 Created" not in again.text
    events = await open_ward.written("document.provide")
    assert [(event.decision, event.rule, event.facts["documents"]) for event in events] == [
        ("accept", "access.granted", 2)
    ] * 2


async def test_one_record_with_its_octets_inside_is_filed(open_ward: Ward) -> None:
    pdf = document("1.2.5").companion_pdf
    assert pdf is not None
    response = await open_ward.post("/DocumentReference", inside(document("1.2.5"), pdf), "robot")
    assert response.status_code == 201, response.text
    place = response.headers["location"].removeprefix(BASE)
    found = (await open_ward.get(place, "patient")).json()
    assert found["contained"][0]["identifier"][0]["value"] == "899700000001"
    assert found["content"][0]["attachment"]["contentType"] == "application/pdf"
    assert (await open_ward.get(place)).status_code == 200, "its author reads it"


async def test_a_new_version_replaces(open_ward: Ward) -> None:
    pdf = document("1.2.5").companion_pdf
    relation = [{"code": "replaces", "target": {"identifier": {"value": "urn:oid:1.2.250.1.999.1"}}}]
    response = await open_ward.post("/DocumentReference", inside(document("1.2.5"), pdf, relatesTo=relation))
    assert response.status_code == 201
    [old] = matches(await open_ward.search("DocumentReference", "patient", "&status=superseded"))
    assert old["id"] == (await open_ward.get(f"/DocumentReference/{old['id']}", "patient")).json()["id"]


@pytest.mark.parametrize(
    ("document_changes", "status", "code", "rule"),
    [
        ({"matricule": OTHER_MATRICULE}, 422, "not-found", "access.no-delegation"),
        ({"matricule": ""}, 422, "not-found", "access.no-delegation"),
    ],
)
async def test_documents_of_nobody_here(
    open_ward: Ward, document_changes: dict[str, Any], status: int, code: str, rule: str
) -> None:
    response = await open_ward.post("/", bundle(document("1.2.3", **document_changes)))
    assert issue(response) == (status, code)
    assert [event.rule for event in await open_ward.written("document.provide")] == [rule]
    assert MATRICULE not in response.text


async def test_a_document_of_another_is_not_filed_here(open_ward: Ward) -> None:
    mine = record(document("1.2.3"), subject={"reference": f"Patient/{open_ward.patient}"})
    data = base64.b64encode(document("1.2.3", matricule=OTHER_MATRICULE).octets).decode()
    mine["content"] = [{"attachment": {"data": data}}]
    response = await open_ward.post("/DocumentReference", mine)
    assert issue(response) == (422, "business-rule")
    assert response.json()["issue"][0]["diagnostics"].startswith("904")


async def test_other_octets_under_a_known_id_are_a_conflict(open_ward: Ward) -> None:
    assert (await open_ward.post("/", bundle(document("1.2.3")))).status_code == 200
    assert issue(await open_ward.post("/", bundle(document("1.2.3", title="Autre")))) == (409, "duplicate")


async def test_patients_provide_nothing(open_ward: Ward) -> None:
    assert issue(await open_ward.post("/", bundle(document("1.2.3")), "patient")) == (403, "forbidden")
    assert [event.rule for event in await open_ward.written("document.provide")] == ["access.wrong-kind"]


async def test_the_antivirus_looks_at_all_octets_first(open_ward: Ward) -> None:
    virus = Virus(reject(rules.CONTENT_INFECTED))
    open_ward.opens(virus)
    assert issue(await open_ward.post("/", bundle(document("1.2.3")))) == (403, "forbidden")
    assert virus.seen == [document("1.2.3").octets]
    [event] = await open_ward.written("document.provide")
    assert (event.rule, event.decision, event.subject_box_id) == ("content.infected", "reject", open_ward.box.id)
    open_ward.opens(Virus(reject(rules.CONTENT_NOT_SCANNED)))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400), (b"[]", 400), (b'{"a":1,"a":2}', 400), (b'{"resourceType":"Bundle","x":NaN}', 400), (b"\xff", 400),
        (b'{"x":"\\ud800"}', 400), (b'{"resourceType":"Patient"}', 400), (b'{"x":' + b"9" * 40 + b"}", 400),
        (b'{"resourceType":"Bundle","type":"batch"}', 400), (b'{"resourceType":"Bundle","type":"transaction"}', 422),
        (b'{"x":' + b"[" * 41 + b"]" * 41 + b"}", 400), (b'{"x":"' + b'\\"' * 500_000, 400), (b'{"x":"\\', 400),
    ],
)  # fmt: skip
async def test_bodies_that_cannot_be_read(open_ward: Ward, body: bytes, status: int) -> None:
    response = await open_ward.ask("POST", "/", content=body, headers=FHIR)
    assert issue(response)[0] == status


@pytest.mark.parametrize(("limit", "status"), [(-1, 413), (0, 200), (1, 200)])
async def test_the_limit_of_a_body(open_ward: Ward, limit: int, status: int) -> None:
    sent = bundle(document("1.2.3"))
    octets = len((await open_ward.ask("POST", "/", json=sent, headers=FHIR)).request.content)
    open_ward.opens(fhir_body_max_octets=octets + limit)
    assert (await open_ward.post("/", sent)).status_code == status


@pytest.mark.parametrize(("most", "status"), [(1, 413), (2, 200), (3, 200)])
async def test_the_limit_of_documents(open_ward: Ward, most: int, status: int) -> None:
    open_ward.opens(fhir_documents_max=most)
    assert (await open_ward.post("/", bundle(document("1.2.3"), document("1.2.4")))).status_code == status


@pytest.mark.parametrize(("deepest", "status"), [(8, 400), (9, 200), (10, 200)])
async def test_the_limit_of_nesting(open_ward: Ward, deepest: int, status: int) -> None:
    open_ward.opens(fhir_nesting_max=deepest)
    assert (await open_ward.post("/", bundle(document("1.2.3")))).status_code == status


@pytest.mark.parametrize(("most", "status"), [(1, 400), (2, 200), (3, 200)])
async def test_the_limit_of_parameters(open_ward: Ward, most: int, status: int) -> None:
    open_ward.opens(fhir_parameters_max=most)
    assert (await open_ward.search("DocumentReference", "patient", "&_count=1")).status_code == status


@pytest.mark.parametrize(("authors", "status"), [(49, 201), (50, 201), (51, 413)])
async def test_the_limit_of_authors(open_ward: Ward, authors: int, status: int) -> None:
    one = document("1.2.6")
    sent = inside(one, one.companion_pdf, author=[{"reference": "#a"}] * authors)
    assert (await open_ward.post("/DocumentReference", sent)).status_code == status


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"type": {}}, "required"),
        ({"masterIdentifier": {}}, "invalid"),
        ({"status": "entered-in-error"}, "invalid"),
        ({"securityLabel": [{"coding": [{"code": "SECRET"}]}]}, "code-invalid"),
        ({"relatesTo": [{"code": "appends"}]}, "not-supported"),
        ({"subject": {}}, "not-found"),
    ],
)
async def test_records_that_cannot_be_filed(open_ward: Ward, changes: dict[str, Any], code: str) -> None:
    one = document("1.2.6")
    assert issue(await open_ward.post("/DocumentReference", inside(one, one.companion_pdf, **changes))) == (422, code)


async def test_a_title_may_hold_any_space(open_ward: Ward) -> None:
    one = document("1.2.6")
    sent = inside(one, one.companion_pdf)
    sent["content"][0]["attachment"]["title"] = "Analyses\u00a0:\u202fsang"
    place = (await open_ward.post("/DocumentReference", sent)).headers["location"].removeprefix(BASE)
    found = (await open_ward.get(place, "patient")).json()
    assert found["content"][0]["attachment"]["title"] == "Analyses : sang"


async def test_what_is_not_offered_is_an_outcome_too(open_ward: Ward) -> None:
    assert issue(await open_ward.get("/Patient/1")) == (404, "not-found")
    assert issue(await open_ward.ask("DELETE", "/DocumentReference/1")) == (405, "not-supported")
    assert issue(await open_ward.ask("POST", "/", content=b"{}", headers={"Content-Type": "text/plain"}))[0] == 415


# -- a record changed ------------------------------------------------------------------------------------------------

MASK = {"coding": [{"code": "MASQUE_PS"}]}


async def _changed(ward: Ward, who: str = "patient", **more: Any) -> Any:
    path = f"/DocumentReference/{await ward.document_id()}"
    known = (await ward.get(path, "patient")).json()
    return await ward.ask("PUT", path, who, json=known | more, headers=FHIR)


async def test_a_patient_masks_a_document_and_shows_it_again(open_ward: Ward) -> None:
    await open_ward.grants(GrantKind.CARE_TEAM)
    plain = [{"coding": [{"code": "N"}]}]
    before = (await _changed(open_ward)).json()
    response = await _changed(open_ward, securityLabel=[*plain, MASK])
    assert response.status_code == 200, response.text
    after = response.json()
    assert [one["coding"][0]["code"] for one in after["securityLabel"]] == ["N", "MASQUE_PS"]
    # Another entryUUID at each change of metadata, the same logical id.
    assert after["id"] == before["id"]
    assert after["identifier"] != before["identifier"]
    assert issue(await open_ward.get(f"/DocumentReference/{after['id']}"))[0] in (403, 404)
    # The same once more changes nothing.
    assert (await _changed(open_ward, securityLabel=[*plain, MASK])).json()["identifier"] == after["identifier"]
    assert (await _changed(open_ward, securityLabel=plain)).json()["securityLabel"] == before["securityLabel"]
    assert [len(await open_ward.written(action)) for action in ("document.mask", "document.unmask")] == [1, 1]
    assert (await open_ward.get(f"/DocumentReference/{after['id']}")).status_code == 200


@pytest.mark.parametrize(
    "more",
    [
        {"securityLabel": []},
        {"securityLabel": [{"coding": [{"code": "R"}]}]},
        {"securityLabel": [{"coding": [{"code": "N"}]}, {"coding": [{"code": "INVISIBLE_PATIENT"}]}]},
        {"status": "superseded"},
        {"subject": {"reference": "Patient/1-0"}},
        {"id": "1-0"},
        {"resourceType": "Binary"},
        {"description": "new"},
    ],
)
async def test_all_else_in_a_record_stays_as_it_is(open_ward: Ward, more: dict[str, Any]) -> None:
    assert issue(await _changed(open_ward, **more)) == (422, "not-supported")
    assert await open_ward.written("document.mask") == []


@pytest.mark.parametrize("who", ["doctor", "other", "robot"])
async def test_only_those_who_govern_a_dossier_mask(open_ward: Ward, who: str) -> None:
    await open_ward.grants(GrantKind.CARE_TEAM)
    response = await _changed(open_ward, who, securityLabel=[{"coding": [{"code": "N"}]}, MASK])
    assert issue(response)[0] == 403
    assert await open_ward.written("document.mask") == []


async def test_what_its_author_masked_is_not_shown_by_its_patient(open_ward: Ward) -> None:
    label = [{"coding": [{"code": "N"}]}, MASK]
    assert (await open_ward.post("/DocumentReference", inside(masked_text(), b"text", securityLabel=label))).is_success
    found = matches(await open_ward.search("DocumentReference", "patient"))
    [mine] = [one for one in found if one["masterIdentifier"]["value"].endswith("1.2.77")]
    path = f"/DocumentReference/{mine['id']}"
    put = mine | {"securityLabel": label[:1]}
    assert issue(await open_ward.ask("PUT", path, "patient", json=put, headers=FHIR)) == (422, "not-supported")
    assert (await open_ward.ask("PUT", path, "patient", json=mine, headers=FHIR)).status_code == 200


def masked_text() -> Any:
    return document("1.2.77")
