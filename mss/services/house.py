"""What units of work need of the configuration: who we are, what we host, under which policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mss.config import PolicyConfig
from mss.model.address import Domain
from mss.policy import routing


@dataclass(frozen=True, slots=True)
class House:
    """Our host name and the hosted domains (→ "professional" or "patient")."""

    hostname: str
    domains: Mapping[Domain, str]


@dataclass(frozen=True, slots=True)
class Hosted:
    """What the unit needs of the configuration: hosted domain → "professional" or "patient"; our host name."""

    domains: dict[Domain, str]
    hostname: str
    policy: PolicyConfig
    message_max_octets: int

    @property
    def patient_domains(self) -> frozenset[Domain]:
        """All domains whose boxes are patients', ours and others'."""
        return routing.patient_domains(self.domains, self.policy.patient_domains)

    @property
    def house(self) -> House:
        """What reports need."""
        return House(self.hostname, self.domains)
