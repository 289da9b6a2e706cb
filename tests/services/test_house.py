"""What units of work get of the configuration: all of it from one place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mss.config import DomainConfig, PolicyConfig
from mss.model.address import Domain
from mss.services.house import House, hosted
from tests.store.store_world import CLINIC, PATIENTS, config_in


def test_what_is_hosted_is_what_is_configured() -> None:
    config = config_in(Path(), message_max_octets=1234)
    policy = PolicyConfig(profile="contact", patient_domains=("patient.elsewhere.test",))
    known = hosted(replace(config, policy=policy))
    assert known.domains == {PATIENTS: "patient", CLINIC: "professional"}
    assert (known.hostname, known.policy, known.limits) == (config.operator.hostname, policy, config.limits)
    assert known.message_max_octets == 1234
    assert known.patient_domains == {PATIENTS, Domain("patient.elsewhere.test")}
    assert known.house == House(config.operator.hostname, known.domains, config.limits)


def test_domains_are_compared_as_addresses_write_them() -> None:
    config = replace(config_in(Path()), domains=(DomainConfig("Hôpital.Example", "professional"),))
    assert hosted(config).domains == {Domain("xn--hpital-ixa.example"): "professional"}
