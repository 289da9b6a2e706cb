"""`SignIn` with tokens and certificates, without sockets: what it asks the store, counts, and slows down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from mss.config import Limits
from mss.model.account import Account, AccountKind
from mss.model.peer import DN, ClientCertificate
from mss.model.secret import Secret
from mss.services import proofs
from mss.services.proofs import NotProven
from mss.signin import MAIL_CLIENTS, ROBOTS, Reason, Refused, SignIn
from mss.store import Store
from mss.tokens.sasl import OAUTHBEARER, XOAUTH2, Bearer
from tests.tokens.tokens_world import DOCTOR, Hands, Web, claims, issuer, signed

ACCOUNT = Account(7, DOCTOR, AccountKind.PROFESSIONAL, "", "")
SHOWN = ClientCertificate(DN.parse("CN=lab"), "ab" * 32)
SOURCE = "192.0.2.1"


class Desk:
    """A store that answers each service by the test's own value, and what was counted."""

    def __init__(self) -> None:
        self.answers: dict[Callable[..., Any], Any] = {
            proofs.sign_in_by_token: ACCOUNT,
            proofs.sign_in_by_certificate: ACCOUNT,
            proofs.note_attempt: None,
        }
        self.asked: list[tuple[str, tuple[Any, ...]]] = []
        self.counted: list[tuple[str, str]] = []
        self.web, self.hands = Web(), Hands()

    async def write(self, service: Callable[..., Any], *args: Any) -> Any:
        self.asked.append((service.__name__, args))
        return self.answers[service]

    def signed_in(self, mechanism: str, outcome: str) -> None:
        self.counted.append((mechanism, outcome))

    def sign_in(self, **tokens: Any) -> SignIn:
        limits = Limits(login_failures_per_source_max=2)
        return SignIn(cast(Store, self), self.hands, limits, self, issuer(self.web, self.hands, **tokens))


@pytest.fixture
async def desk() -> Desk:
    return Desk()


def given(token: bytes = b"") -> Bearer:
    return Bearer(Secret(token or signed()))


async def test_a_good_token_asks_the_store_for_its_account(desk: Desk) -> None:
    assert await desk.sign_in(single_use=True).bearer(given(), "smtp-xoauth2", SOURCE) == ACCOUNT
    [(service, (token, proof, _))] = desk.asked
    assert (service, token.name, token.by_subject, token.single_use) == ("sign_in_by_token", DOCTOR, False, True)
    assert (proof.mechanism, proof.source, proof.kinds) == ("smtp-xoauth2", SOURCE, MAIL_CLIENTS)
    assert desk.counted == [("smtp-xoauth2", "ok")]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (NotProven.NOBODY, Reason.BAD_CREDENTIALS),
        (NotProven.DISABLED, Reason.BAD_CREDENTIALS),
        (NotProven.REPLAYED, Reason.BAD_CREDENTIALS),
        (NotProven.WRONG_DOOR, Reason.WRONG_DOOR),
    ],
)
async def test_the_client_learns_less_than_the_figures(desk: Desk, answer: NotProven, reason: Reason) -> None:
    desk.answers[proofs.sign_in_by_token] = answer
    assert await desk.sign_in().bearer(given(), "imap-xoauth2", SOURCE) == Refused(reason)
    assert desk.counted == [("imap-xoauth2", answer.value)]


async def test_a_bad_token_is_noted_and_slows_its_source_down(desk: Desk) -> None:
    sign_in = desk.sign_in()
    for _ in range(2):
        assert await sign_in.bearer(given(b"bad"), "m", SOURCE) == Refused(Reason.BAD_CREDENTIALS)
    assert [(name, args[1]) for name, args in desk.asked] == [("note_attempt", "token-malformed")] * 2
    slowed = await sign_in.bearer(given(), "m", SOURCE)
    assert isinstance(slowed, Refused)
    assert (slowed.reason, slowed.temporary) == (Reason.LOCKED, True)
    assert await sign_in.bearer(given(), "m", "192.0.2.2") == ACCOUNT
    assert desk.counted == [("m", "token-malformed")] * 2 + [("m", "locked"), ("m", "ok")]


async def test_an_issuer_that_is_down_is_temporary_and_nobody_s_fault(desk: Desk) -> None:
    desk.web.down = True
    sign_in = desk.sign_in()
    for _ in range(5):
        down = await sign_in.bearer(given(), "m", SOURCE)
        assert down == Refused(Reason.UNAVAILABLE)
        assert down.temporary
    assert desk.asked == []


async def test_without_an_issuer_there_are_no_tokens(desk: Desk) -> None:
    sign_in = SignIn(cast(Store, desk), desk.hands, Limits(), desk)
    assert sign_in.mechanisms(None) == ()
    assert sign_in.mechanisms(SHOWN) == ("EXTERNAL",)
    assert sign_in.challenge(XOAUTH2) == b""
    assert await sign_in.bearer(given(), "m", SOURCE) == Refused(Reason.BAD_CREDENTIALS)


async def test_what_is_offered_and_said_with_an_issuer(desk: Desk) -> None:
    sign_in = desk.sign_in()
    assert sign_in.mechanisms(None) == (OAUTHBEARER, XOAUTH2)
    assert sign_in.mechanisms(SHOWN) == ("EXTERNAL", OAUTHBEARER, XOAUTH2)
    assert b"openid-configuration" in sign_in.challenge(OAUTHBEARER)
    assert sign_in.challenge("PLAIN") == b""


async def test_a_certificate_asks_the_store_for_its_robot(desk: Desk) -> None:
    assert await desk.sign_in().certificate(SHOWN, "robot", "smtp-external", SOURCE) == ACCOUNT
    [(_, (shown, name, proof, _))] = desk.asked
    assert (shown, name, proof.kinds) == (SHOWN, "robot", ROBOTS)


@pytest.mark.parametrize(
    ("revocation", "reason", "noted"),
    [
        ("revoked", Reason.BAD_CREDENTIALS, ["certificate-revoked"]),
        ("stale", Reason.UNAVAILABLE, []),
        ("unknown", Reason.UNAVAILABLE, []),
    ],
)
async def test_a_certificate_is_asked_about_its_revocation(
    desk: Desk, revocation: str, reason: Reason, noted: list[str]
) -> None:
    shown = ClientCertificate(SHOWN.subject, SHOWN.fingerprint, revocation)
    assert await desk.sign_in().certificate(shown, "", "m", SOURCE) == Refused(reason)
    assert [args[1] for _, args in desk.asked] == noted


async def test_no_certificate_proves_nothing(desk: Desk) -> None:
    assert await desk.sign_in().certificate(None, "", "m", SOURCE) == Refused(Reason.BAD_CREDENTIALS)
    assert [args[1] for _, args in desk.asked] == ["no-certificate"]


async def test_a_token_bound_to_the_certificate_that_was_shown(desk: Desk) -> None:
    token = given(signed(claims(cnf={"x5t#S256": SHOWN.thumbprint})))
    assert await desk.sign_in().bearer(token, "m", SOURCE, SHOWN) == ACCOUNT
    assert await desk.sign_in().bearer(token, "m", SOURCE) == Refused(Reason.BAD_CREDENTIALS)
