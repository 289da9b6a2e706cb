"""What the interface says of itself is what it does; and no request in its table makes it fail or tell a secret."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mss.config import Limits
from mss.fhir import reading
from mss.fhir.outcome import Refusal
from mss.fhir.routes import INTERACTIONS
from tests.fhir.fhir_world import BASE, FHIR, FORM, Ward, bundle, configured, inside
from tests.services.services_world import document
from tests.store.store_world import MATRICULE


@pytest.fixture
def open_ward(ward: Ward, tmp_path: Path) -> Ward:
    return configured(ward, tmp_path)


async def test_the_capability_statement_is_true_to_the_routes(open_ward: Ward) -> None:
    said = (await open_ward.get("/metadata", "")).json()
    rest = said["rest"][0]
    offered = {(one["type"], inner["code"]) for one in rest["resource"] for inner in one["interaction"]}
    offered |= {("", one["code"]) for one in rest["interaction"]}
    assert offered == {(one.resource, one.code) for one in INTERACTIONS}
    assert (said["fhirVersion"], said["implementation"]["url"]) == ("4.0.1", BASE)
    for one in rest["resource"]:
        known = {parameter for other in INTERACTIONS if other.resource == one["type"] for parameter in other.parameters}
        assert {parameter["name"] for parameter in one.get("searchParam", [])} == known - {"_count"}


async def test_the_openapi_description_is_true_to_the_routes(open_ward: Ward) -> None:
    said = (await open_ward.get("/openapi.json", "")).json()
    described = {(method.upper(), path) for path, methods in said["paths"].items() for method in methods}
    here = {(one.method, one.path) for one in INTERACTIONS}
    assert described == here | {("GET", "/metadata"), ("GET", "/openapi.json")}
    ids = [operation["operationId"] for methods in said["paths"].values() for operation in methods.values()]
    assert len(ids) == len(set(ids))
    assert "patient.identifier" not in str(
        [one.get("parameters") for path in said["paths"].values() for one in path.values()]
    )


@pytest.mark.parametrize("one", INTERACTIONS, ids=lambda one: f"{one.method} {one.path}")
async def test_every_search_parameter_that_is_told_of_is_taken(open_ward: Ward, one: Any) -> None:
    if one.code != "search-type":
        return
    values = {"patient": open_ward.patient, "date": "2026-01-01", "_count": "5", "status": "current", "code": "folder"}
    for name in one.parameters - {"patient", "patient.identifier"}:
        asked = f"patient={open_ward.patient}&{name}={values.get(name, 'x')}"
        if one.method == "GET":
            response = await open_ward.get(f"{one.path}?{asked}", "patient")
        else:
            response = await open_ward.ask("POST", one.path, "patient", content=asked, headers=FORM)
        assert response.status_code == 200, (name, response.text)


_LEAVES = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["Patient/1-0", "#p", "current"])
)
_NAMES = st.sampled_from(
    ["resourceType", "type", "entry", "resource", "request", "content", "identifier", "provision", "code"]
)
_VALUES = st.recursive(_LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4))


def _twisted(value: Any, path: list[int], by: Any) -> Any:
    """Replace what stands somewhere in a resource, as far as a path of turns leads."""
    if path and isinstance(value, dict) and value:
        key = sorted(value)[path[0] % len(value)]
        return value | {key: _twisted(value[key], path[1:], by)}
    if path and isinstance(value, list) and value:
        at = path[0] % len(value)
        return [*value[:at], _twisted(value[at], path[1:], by), *value[at + 1 :]]
    return by


_GOOD = [("/", bundle(document("1.2.3"))), ("/DocumentReference", inside(document("1.2.3")))]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
async def test_no_request_of_the_table_makes_it_fail(open_ward: Ward, data: st.DataObject) -> None:
    one = data.draw(st.sampled_from(INTERACTIONS))
    name = data.draw(st.sampled_from([open_ward.patient, f"{open_ward.patient}.choices", "0-0", "é", "1-" + "0" * 32]))
    who = data.draw(st.sampled_from(["patient", "doctor", "robot"]))
    body = data.draw(_VALUES)
    if data.draw(st.booleans()):
        good = data.draw(st.sampled_from(_GOOD))[1]
        body = _twisted(good, data.draw(st.lists(st.integers(0, 9), max_size=7)), body)
    asked: dict[str, Any] = {}
    if one.method in ("POST", "PUT"):
        asked = {"content": json.dumps(body).encode(), "headers": FHIR}
    if one.path.endswith("_search"):
        asked = {"content": data.draw(st.text(max_size=30)).encode(), "headers": FORM}
    response = await open_ward.ask(one.method, one.path.replace("{id}", name), who, **asked)
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert response.json()["resourceType"] == "OperationOutcome"
        assert MATRICULE not in response.text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(_GOOD), st.lists(st.integers(0, 9), min_size=1, max_size=8), _VALUES)
async def test_a_resource_with_one_thing_changed_is_filed_or_refused(
    open_ward: Ward, good: tuple[str, Any], turns: list[int], by: Any
) -> None:
    path, resource = good
    response = await open_ward.ask(
        "POST", path, content=json.dumps(_twisted(resource, turns, by)).encode(), headers=FHIR
    )
    assert response.status_code in (200, 201, 400, 403, 409, 413, 422), response.text
    assert MATRICULE not in response.text


@given(
    st.binary(max_size=80)
    | st.recursive(_LEAVES, lambda inner: st.lists(inner)).map(lambda one: json.dumps(one).encode())
)
def test_garbage_is_refused_or_an_object(octets: bytes) -> None:
    found: Any = None
    with suppress(Refusal):
        found = reading.parse(octets, Limits())
    assert found is None or isinstance(found, dict)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026", "2026-01-01T00:00:00+00:00"), ("2026-02", "2026-02-01T00:00:00+00:00"),
        ("2026-02-03", "2026-02-03T00:00:00+00:00"), ("2026-02-03T04:05:06+01:00", "2026-02-03T04:05:06+01:00"),
    ],
)  # fmt: skip
def test_instants(written: str, read: str) -> None:
    found = reading.moment(written)
    assert found is not None
    assert found.isoformat() == read


@pytest.mark.parametrize("written", ["x", "2026-13", "2026-02-30", "2026-02-03T04:05:06"])
def test_what_is_no_instant(written: str) -> None:
    with pytest.raises(Refusal):
        reading.moment(written)
