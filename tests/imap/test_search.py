"""Plans of search programs: three-valued truth, and what must be read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.config import Limits
from mss.imap import commands as c
from mss.imap import search
from mss.imap.view import View
from mss.mail import mime, searchtext
from mss.model.mailbox import Mailbox
from mss.services.mailbox import Row
from tests.imap.imap_world import LETTER

VIEW = View(Mailbox(1, 1, "INBOX", 1, 9, 1), [1, 2, 3], read_only=False)
ROW = Row(2, 5, 1, 0, 100, 1)
TRUE, FALSE = c.All(True), c.All(False)
UNKNOWN = c.BodyHas("bonjour", header=False)


def truth(key: c.Key) -> bool | None:
    """Return what rows alone say."""
    plan = search.plan(key, VIEW)
    assert plan is not None
    return plan.test(ROW)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (TRUE, True),
        (FALSE, False),
        (UNKNOWN, None),
        (c.Not(UNKNOWN), None),
        (c.Not(TRUE), False),
        (c.And((TRUE, UNKNOWN)), None),
        (c.And((UNKNOWN, FALSE)), False),
        (c.And((UNKNOWN, TRUE)), None),
        (c.Or(UNKNOWN, TRUE), True),
        (c.Or(TRUE, UNKNOWN), True),
        (c.Or(UNKNOWN, FALSE), None),
        (c.Or(FALSE, UNKNOWN), None),
        (c.Or(FALSE, FALSE), False),
        (c.HeaderHas("x-odd", ""), None),
        (c.HeaderHas("subject", "x"), False),
    ],
)
def test_truth_from_rows(key: c.Key, expected: bool | None) -> None:
    assert truth(key) is expected


LEAF = st.sampled_from([TRUE, FALSE, UNKNOWN, c.BodyHas("absent", True), c.HasFlag("\\Seen"), c.Larger(100)])
KEY = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.builds(c.Not, inner),
        st.builds(c.Or, inner, inner),
        st.builds(lambda keys: c.And(tuple(keys)), st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=8,
)


@given(KEY)
def test_what_rows_decide_octets_would_decide_the_same(key: c.Key) -> None:
    plan = search.plan(key, VIEW)
    assert plan is not None
    message = mime.index(LETTER, Limits())
    whole = search.decide(plan, ROW, searchtext.prepare(message), message)
    assert plan.test(ROW) in (None, whole)


@pytest.mark.parametrize(
    ("key", "rows", "envelope", "body"),
    [
        (TRUE, False, False, False),
        (c.Numbers(c.SequenceSet(((1, 2),)), uid=False), False, False, False),
        (c.HasFlag("\\Seen"), True, False, False),
        (c.HeaderHas("from", "x"), True, True, False),
        (c.HeaderHas("x-odd", "x"), True, False, False),
        (c.Not(c.BodyHas("x", header=True)), True, False, True),
    ],
)
def test_what_a_plan_needs(key: c.Key, rows: bool, envelope: bool, body: bool) -> None:
    plan = search.plan(key, VIEW)
    assert plan is not None
    assert (plan.needs_rows, plan.needs_envelope, plan.needs_body) == (rows, envelope, body)


def test_candidates_are_what_a_number_set_leaves() -> None:
    some = c.Numbers(c.SequenceSet(((2, 3),)), uid=False)
    for key, expected in (
        (TRUE, ((1, 3),)),
        (some, ((2, 3),)),
        (c.And((TRUE, some)), ((2, 3),)),
        (c.Not(some), ((1, 3),)),
    ):
        plan = search.plan(key, VIEW)
        assert plan is not None
        assert plan.candidates == expected
    assert search.plan(c.And((c.Numbers(c.SequenceSet(((4, 4),)), uid=False),)), VIEW) is None
    empty = search.plan(TRUE, View(VIEW.mailbox, [], read_only=False))
    assert empty is not None
    assert empty.candidates == ()


def test_many_ranges_are_looked_up_in_a_set() -> None:
    wanted = c.Numbers(c.SequenceSet(tuple((uid, uid) for uid in range(1, 40, 2))), uid=True)
    view = View(VIEW.mailbox, range(1, 41), read_only=False)
    plan = search.plan(c.Not(wanted), view)
    assert plan is not None
    found = [uid for uid in view.uids if plan.test(Row(uid, 0, 0, 0, 0, 0))]
    assert found == list(range(2, 41, 2))
