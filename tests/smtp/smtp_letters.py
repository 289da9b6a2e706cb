"""Deliveries and trust lists for the tests of the relay's side."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from mss.model.address import Address, Domain
from mss.model.delivery import Delivery
from mss.model.peer import DN, TrustList
from tests.smtp.smtp_world import subject

THEN = datetime(2026, 1, 1, tzinfo=UTC)


def delivery(number: int = 1, recipient: str | Address = "b@gip.example", **changes: object) -> Delivery:
    """Return a due delivery; its destination is its recipient's domain."""
    address = recipient if isinstance(recipient, Address) else Address.parse(recipient)
    made = Delivery(
        id=number,
        object_id=1,
        destination=address.domain,
        reverse_path=Address.parse("a@chu.example"),
        recipient=address,
        message_id="<1@chu.example>",
        size_octets=30,
        created_at=THEN,
        expires_at=THEN + timedelta(days=2),
        next_attempt_at=THEN,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def trust_list(now: datetime, *names: str, **others: str) -> TrustList:
    """Return a list where each operator named may speak for `<name>.example`, and others for what is given."""
    listed = {name: name for name in names} | others
    return TrustList(
        generated_at=now,
        domains={
            Domain(f"{domain}.example"): frozenset({DN.of(list(subject(name).items()))})
            for domain, name in listed.items()
        },
        fetched_at=now,
        version=1,
    )
