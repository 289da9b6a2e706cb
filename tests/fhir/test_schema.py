"""schemathesis against the description that the interface gives of itself: what it allows is taken, what it forbids is
refused, and every answer is one that it tells of. The application itself answers, on the real store.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from mss.config import Config
from mss.fhir.routes import openapi
from mss.store.store import Store
from tests.fhir.fhir_world import BASE, Ward, configured, make_ward
from tests.store.store_world import MATRICULE

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
DESCRIBED = schemathesis.openapi.from_dict(openapi(BASE, "0"))
OPERATIONS: list[Any] = [found.ok() for found in DESCRIBED.get_all_operations() if isinstance(found, Ok)]


# Nothing can be wrong with a request that takes nothing.
RUNS = [
    (one, mode) for one in OPERATIONS for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or one.path not in ("/metadata", "/openapi.json")
]  # fmt: skip


@pytest.fixture
async def open_ward(sqlite_config: Config, tmp_path: Path) -> AsyncIterator[Ward]:
    store = Store(sqlite_config)
    await store.start()
    yield configured(await make_ward(store), tmp_path)
    await store.close()


@pytest.mark.slow
@pytest.mark.parametrize(("operation", "mode"), RUNS, ids=[f"{one.label} {mode}" for one, mode in RUNS])
@settings(derandomize=True, max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
async def test_what_is_described_is_what_is_done(
    open_ward: Ward, operation: Any, mode: GenerationMode, data: st.DataObject
) -> None:
    who = data.draw(st.sampled_from(["patient", "doctor", "robot"]))
    case = data.draw(operation.as_strategy(generation_mode=mode))
    if mode is GenerationMode.POSITIVE and data.draw(st.booleans()):
        await _aim(case, open_ward)
    sent = requests.Request(**case.as_transport_kwargs(base_url=BASE)).prepare()
    headers = {name: value for name, value in sent.headers.items() if name.lower() != "content-length"}
    response = await open_ward.ask(sent.method or "", sent.path_url, who, content=sent.body, headers=headers)
    case.validate_response(response, checks=CHECKS)
    assert response.status_code < 400 or MATRICULE not in response.text


async def _aim(case: Any, ward: Ward) -> None:
    """Let a request be about what is there: most would else end at an unknown patient."""
    if "patient" in (case.query or {}):
        case.query["patient"] = ward.patient
    if isinstance(case.body, dict) and case.media_type != "application/fhir+json":
        case.body = {"patient": ward.patient}
    if "id" in (case.path_parameters or {}):
        consent = case.path.startswith("/Consent")
        case.path_parameters["id"] = f"{ward.patient}.choices" if consent else await ward.document_id()
