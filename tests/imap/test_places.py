"""Names of boxes in a session's namespaces."""

from __future__ import annotations

import pytest

from mss.imap.places import Place, arrange
from mss.model.account import Box, BoxState
from mss.model.address import Address
from mss.model.party import BoxKind


def box(number: int, spec: str) -> Box:
    """Return a box."""
    return Box(number, Address.parse(spec), BoxKind.PER, BoxState.OPEN)


OWN, SERVICE, SLASHED, UNDERSCORED = (
    box(1, "own@a.b"), box(2, "Service@a.b"), box(3, "x/y@a.b"), box(4, "x_y@a.b"),
)  # fmt: skip
ALL = [Place(OWN), Place(SERVICE), Place(SLASHED), Place(UNDERSCORED, writable=False)]


@pytest.mark.parametrize(
    ("name", "box_id", "inner"),
    [
        ("INBOX", 1, "INBOX"),
        ("Sharedness", 1, "Sharedness"),
        ("Shared/service@a.b/inbox", 2, "INBOX"),
        ("Shared/service@a.b/a/b", 2, "a/b"),
        ("Shared/x_y@a.b/INBOX", 3, "INBOX"),
        ("Shared/x_y@a.b 4/INBOX", 4, "INBOX"),
    ],
)
def test_names_lead_to_boxes_and_back(name: str, box_id: int, inner: str) -> None:
    found = arrange(ALL).locate(name)
    assert found is not None
    assert (found[0].box.id, found[1]) == (box_id, inner)
    assert found[0].outside(inner).lower() == name.lower()


@pytest.mark.parametrize(
    "name", ["Shared", "Shared/", "Shared/none@a.b/INBOX", "Shared/service@a.b", "Shared/service@a.b/"]
)
def test_names_of_nothing(name: str) -> None:
    assert arrange(ALL).locate(name) is None
    assert arrange([]).locate(name) is None
    assert arrange([]).locate("INBOX") is None


def test_the_box_that_was_asked_for_is_the_personal_one() -> None:
    places = arrange(ALL, personal_box_id=2)
    assert places.all[0].box is SERVICE
    assert places.all[1].prefix == "Shared/own@a.b/"
    assert places.has_shared
    assert not arrange(ALL[:1]).has_shared
    assert places.by_box(4) is places.all[3]
    assert not places.all[3].writable
    assert places.by_box(9) is None
