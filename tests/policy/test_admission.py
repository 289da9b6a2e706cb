"""Promise 3: a peer speaks only for the domains its certificate is listed for, in the envelope and in From."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from mss.model.address import Address
from mss.model.peer import DN, Peer, TrustList
from mss.policy.admission import (
    CLOCK_SKEW_S,
    admit,
    may_author,
    may_speak_for,
    sender_field_may_name,
    sender_may_use,
)
from mss.policy.decision import Verdict
from tests.policy.facts import (
    COLLEAGUE,
    DESK,
    DOCTOR,
    HOSPITAL_DN,
    HOSPITAL_PEER,
    NOW,
    NURSE,
    SECOND_DN,
    STRANGER_DN,
    TRUST_LIST,
    address,
    names_nobody,
)

MAX_AGE_S = 3 * 86400


def _aged(seconds: int) -> TrustList:
    return replace(TRUST_LIST, fetched_at=NOW - timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("peer", "trust_list", "verdict", "rule"),
    [
        (HOSPITAL_PEER, TRUST_LIST, Verdict.ACCEPT, "peer.listed"),
        (replace(HOSPITAL_PEER, subject=SECOND_DN), TRUST_LIST, Verdict.ACCEPT, "peer.listed"),
        (None, TRUST_LIST, Verdict.REJECT, "peer.no-certificate"),
        (None, None, Verdict.REJECT, "peer.no-certificate"),
        (replace(HOSPITAL_PEER, revocation="revoked"), TRUST_LIST, Verdict.REJECT, "peer.revoked"),
        (replace(HOSPITAL_PEER, revocation="revoked"), None, Verdict.REJECT, "peer.revoked"),
        (replace(HOSPITAL_PEER, revocation="stale"), TRUST_LIST, Verdict.DEFER, "peer.revocation-stale"),
        (replace(HOSPITAL_PEER, revocation="unknown"), TRUST_LIST, Verdict.DEFER, "peer.revocation-unknown"),
        (replace(HOSPITAL_PEER, revocation="expired"), TRUST_LIST, Verdict.REJECT, "peer.expired"),
        (replace(HOSPITAL_PEER, revocation="?"), TRUST_LIST, Verdict.DEFER, "peer.revocation-unknown"),
        (HOSPITAL_PEER, None, Verdict.DEFER, "peer.no-trust-list"),
        (HOSPITAL_PEER, _aged(MAX_AGE_S - 1), Verdict.ACCEPT, "peer.listed"),
        (HOSPITAL_PEER, _aged(MAX_AGE_S), Verdict.ACCEPT, "peer.listed"),
        (HOSPITAL_PEER, _aged(MAX_AGE_S + 1), Verdict.DEFER, "peer.stale-trust-list"),
        # The clock went back since the list was read: nobody knows how old it is.
        (HOSPITAL_PEER, _aged(-CLOCK_SKEW_S), Verdict.ACCEPT, "peer.listed"),
        (HOSPITAL_PEER, _aged(-CLOCK_SKEW_S - 1), Verdict.DEFER, "peer.clock-back"),
        (replace(HOSPITAL_PEER, subject=STRANGER_DN), TRUST_LIST, Verdict.REJECT, "peer.not-listed"),
        # An old list says nothing about strangers either: they are deferred, not refused.
        (replace(HOSPITAL_PEER, subject=STRANGER_DN), _aged(MAX_AGE_S + 1), Verdict.DEFER, "peer.stale-trust-list"),
    ],
)
def test_a_peer_is_admitted_only_when_good_and_listed(
    peer: Peer | None, trust_list: TrustList | None, verdict: Verdict, rule: str
) -> None:
    decision = admit(peer, trust_list, now=NOW, max_age_s=MAX_AGE_S)
    assert (decision.verdict, decision.rule.name) == (verdict, rule)


def test_an_admission_tells_how_many_domains_the_peer_has_and_which_list_said_so() -> None:
    assert admit(HOSPITAL_PEER, TRUST_LIST, now=NOW, max_age_s=1).facts == {"domains": 2, "list_version": 7}


@pytest.mark.parametrize(
    ("subject", "reverse_path", "rule"),
    [
        (HOSPITAL_DN, DOCTOR, "sender.listed"),
        (HOSPITAL_DN, DESK, "sender.listed"),
        (SECOND_DN, DOCTOR, "sender.listed"),
        (SECOND_DN, DESK, "sender.foreign-domain"),
        (HOSPITAL_DN, COLLEAGUE, "sender.foreign-domain"),
        (HOSPITAL_DN, address("a@sub.chu.mssante.test"), "sender.foreign-domain"),
        (HOSPITAL_DN, address("a@mssante.test"), "sender.foreign-domain"),
        (HOSPITAL_DN, address("a@out"), "sender.foreign-domain"),
        (HOSPITAL_DN, None, "sender.null-reverse-path"),
    ],
)
def test_a_peer_speaks_only_for_its_domains_in_the_envelope(
    subject: DN, reverse_path: Address | None, rule: str
) -> None:
    decision = may_speak_for(replace(HOSPITAL_PEER, subject=subject), TRUST_LIST, reverse_path)
    assert decision.rule.name == rule
    assert decision.accepted is (rule != "sender.foreign-domain")
    assert names_nobody(decision)


@pytest.mark.parametrize(
    ("authors", "reverse_path", "rule"),
    [
        ([DOCTOR], DOCTOR, "author.listed"),
        ([DESK], DOCTOR, "author.listed"),
        ([DOCTOR, DOCTOR], DOCTOR, "author.listed"),
        ([DOCTOR, address("DOCTOR@chu")], DOCTOR, "author.listed"),
        ([], DOCTOR, "author.missing"),
        ([], None, "author.missing"),
        ([DOCTOR, NURSE], DOCTOR, "author.several"),
        ([COLLEAGUE], DOCTOR, "author.foreign-domain"),
        ([DOCTOR, COLLEAGUE], DOCTOR, "author.foreign-domain"),
        ([COLLEAGUE, DOCTOR], DOCTOR, "author.foreign-domain"),
        ([address("postmaster@chu")], None, "author.listed"),
        ([address("mailer-daemon@mx.chu.mssante.test")], None, "author.foreign-report"),
        ([COLLEAGUE], None, "author.foreign-report"),
    ],
)
def test_a_peer_speaks_only_for_its_domains_in_the_from_header(
    authors: list[Address], reverse_path: Address | None, rule: str
) -> None:
    decision = may_author(HOSPITAL_PEER, TRUST_LIST, authors, reverse_path=reverse_path)
    assert decision.rule.name == rule
    assert decision.verdict is (Verdict.ACCEPT if rule == "author.listed" else Verdict.REJECT)
    assert names_nobody(decision)


@pytest.mark.parametrize(
    ("sender", "rule"),
    [
        (DOCTOR, "sender.own"),
        (address("Doctor@chu"), "sender.own"),
        (NURSE, "sender.not-yours"),
        (address("doctor@clinic"), "sender.not-yours"),
        (None, "sender.null-reverse-path"),
    ],
)
def test_an_account_sends_only_from_its_own_addresses(sender: Address | None, rule: str) -> None:
    assert sender_may_use([DOCTOR, DESK], sender).rule.name == rule


def test_an_account_without_a_box_sends_from_nowhere() -> None:
    assert sender_may_use([], DOCTOR).verdict is Verdict.REJECT


@pytest.mark.parametrize("reverse_path", [DOCTOR, None])
def test_a_letter_without_an_author_is_told_apart_from_a_report_without_one(reverse_path: Address | None) -> None:
    decision = may_author(HOSPITAL_PEER, TRUST_LIST, [], reverse_path=reverse_path)
    assert decision.facts == {"report": reverse_path is None}


@pytest.mark.parametrize(
    ("named", "rule"),
    [
        ([], "sender.own"),
        ([DESK], "sender.own"),
        ([DESK, DOCTOR], "sender.own"),
        ([DESK, Address("other", DESK.domain)], "sender.field-not-yours"),
        ([None], "sender.field-not-yours"),
        ([DESK, None], "sender.field-not-yours"),
    ],
)
def test_sender_fields_name_the_account_s_own(named: list[Address | None], rule: str) -> None:
    assert sender_field_may_name([DOCTOR, DESK], named).rule.name == rule
