"""Promise 2: nothing leaves to anyone outside the trust space, and we relay for nobody."""

from __future__ import annotations

import pytest

from mss.model.address import Domain
from mss.model.peer import TrustList
from mss.policy.decision import Verdict
from mss.policy.routing import (
    Destination,
    may_enter,
    patient_domains,
    reachable_domains,
    route,
    route_within,
)
from tests.policy.facts import HOSPITAL, HOSPITAL_DN, NOW, PATIENTS, REGION, TRUST_LIST, address

HOSTED = {HOSPITAL: "professional", PATIENTS: "patient"}
ROUTES = {"region.mssante.test": "127.0.0.1:2525", "pinned.test": "127.0.0.1:2626", "chu.mssante.test": "127.0.0.1:1"}


@pytest.mark.parametrize(
    ("recipient", "destination", "rule", "next_hop"),
    [
        ("doctor@chu", Destination.LOCAL_PROFESSIONAL, "route.local-professional", ""),
        ("279035121518989@patient", Destination.LOCAL_PATIENT, "route.local-patient", ""),
        ("a@clinic", Destination.RELAY, "route.relay", ""),
        ("a@region", Destination.RELAY, "route.relay", "127.0.0.1:2525"),
        ("a@pinned.test", Destination.RELAY, "route.relay", "127.0.0.1:2626"),
        ("a@out", Destination.NOWHERE, "route.outside", ""),
        ("a@sub.region.mssante.test", Destination.NOWHERE, "route.outside", ""),
    ],
)
def test_a_letter_goes_home_to_a_listed_operator_or_nowhere(
    recipient: str, destination: Destination, rule: str, next_hop: str
) -> None:
    way = route(address(recipient), HOSTED, TRUST_LIST, ROUTES)
    assert (way.destination, way.decision.rule.name, way.next_hop) == (destination, rule, next_hop)
    assert way.domain == address(recipient).domain
    assert way.decision.accepted is (destination is not Destination.NOWHERE)
    within = route_within(address(recipient), HOSTED, reachable_domains(TRUST_LIST, ROUTES))
    assert (within.destination, within.decision) == (destination, way.decision)


def test_without_a_trust_list_only_other_domains_wait() -> None:
    assert route(address("a@chu"), HOSTED, None, {}).destination is Destination.LOCAL_PROFESSIONAL
    assert route(address("a@region"), HOSTED, None, ROUTES).destination is Destination.RELAY
    waiting = route(address("a@clinic"), HOSTED, None, ROUTES)
    assert (waiting.destination, waiting.decision.verdict) == (Destination.NOWHERE, Verdict.DEFER)


def test_a_domain_listed_without_a_subject_is_outside() -> None:
    hollow = TrustList(NOW, {REGION: frozenset(), HOSPITAL: frozenset({HOSPITAL_DN})}, NOW)
    assert route(address("a@region"), {}, hollow, {}).destination is Destination.NOWHERE
    assert reachable_domains(hollow, {}) == {HOSPITAL}
    assert reachable_domains(None, ROUTES) == set(ROUTES)


@pytest.mark.parametrize(
    ("recipient", "rule"),
    [
        ("doctor@chu", "route.local-professional"),
        ("279035121518989@patient", "route.local-patient"),
        ("a@region", "route.not-here"),
        ("a@out", "route.not-here"),
    ],
)
def test_another_operator_reaches_only_our_own_boxes(recipient: str, rule: str) -> None:
    decision = may_enter(route(address(recipient), HOSTED, TRUST_LIST, ROUTES))
    assert decision.rule.name == rule
    assert decision.accepted is (rule != "route.not-here")


def test_patient_domains_are_ours_and_those_configured() -> None:
    assert patient_domains(HOSTED) == {PATIENTS}
    assert patient_domains(HOSTED, ["Patient.MSSante.fr"]) == {PATIENTS, Domain("patient.mssante.fr")}
    assert patient_domains({HOSPITAL: "professional"}) == frozenset()
