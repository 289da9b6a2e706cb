"""What units of work need of the configuration: who we are, what we host, under which policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mss.config import Config, Limits, PolicyConfig
from mss.model.address import Domain, parse_domain
from mss.policy import routing


@dataclass(frozen=True, slots=True)
class House:
    """Our host name, the hosted domains (→ "professional" or "patient"), how far letters are read, what signs."""

    hostname: str
    domains: Mapping[Domain, str]
    limits: Limits = Limits()
    seal: Callable[[bytes], bytes] | None = None


@dataclass(frozen=True, slots=True)
class Hosted:
    """What the unit needs of the configuration: hosted domain → "professional" or "patient"; our host name."""

    domains: dict[Domain, str]
    hostname: str
    policy: PolicyConfig
    limits: Limits = Limits()
    seal: Callable[[bytes], bytes] | None = None

    @property
    def message_max_octets(self) -> int:
        """The largest letter that goes in or out."""
        return self.limits.message_max_octets

    @property
    def patient_domains(self) -> frozenset[Domain]:
        """All domains whose boxes are patients', ours and others'."""
        return routing.patient_domains(self.domains, self.policy.patient_domains)

    @property
    def house(self) -> House:
        """What reports need."""
        return House(self.hostname, self.domains, self.limits, self.seal)


def hosted(config: Config) -> Hosted:
    """Return what units of work need of the configuration."""
    domains = {parse_domain(domain.name): str(domain.kind) for domain in config.domains}
    return Hosted(domains, config.operator.hostname, config.policy, config.limits)
