"""Submission: letters that our own professionals and robots hand in, after signing in (RFC 6409, RFC 4954).

It takes no decision: `signin` judges the password, `policy.admission` the sender, `services.submit` the recipients.
Patients do not submit here: they write in the webmail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from mss.clock import Clock
from mss.config import Limits
from mss.mail import trace
from mss.model.account import Account
from mss.model.address import Address
from mss.model.envelope import Recipient
from mss.policy import admission, rules
from mss.policy.decision import Decision, reject
from mss.services import submit
from mss.services.reading import Reading
from mss.services.receive import Hosted
from mss.services.submit import Outside
from mss.signin import MAIL_CLIENTS, Refused, SignIn
from mss.smtp import reply
from mss.smtp.budgets import Budgets
from mss.smtp.commands import Credentials
from mss.smtp.mx import answer
from mss.smtp.readers import Preparation, Readers
from mss.smtp.reply import Reply
from mss.smtp.session import Listener, Session, Transaction
from mss.store import Store

_TRY_LATER: Final = Reply(454, "4.7.0", "Too many attempts, try again later")


@dataclass(frozen=True, slots=True)
class SubmissionHouse:
    """What submission needs. `outside` returns what may be reached now."""

    store: Store
    sign_in: SignIn
    outside: Callable[[], Outside]
    hosted: Hosted
    limits: Limits
    clock: Clock
    readers: Readers


class SubmissionDoor:
    """Judges and takes letters from our own accounts; shared by all connections of a listener."""

    mechanisms: tuple[str, ...] = ("PLAIN", "LOGIN")

    def __init__(self, house: SubmissionHouse, listener: Listener) -> None:
        self._house = house
        self.listener = listener
        self._budgets = Budgets(house.limits)

    async def secured(self, session: Session, end: object) -> Session | Reply:
        """Nothing to learn: clients show no certificate."""
        return session

    async def insecure(self, session: Session, reason: str) -> None:
        """Nothing more than the log line: no transaction was begun."""

    async def sign_in(self, session: Session, mechanism: str, given: Credentials) -> Session | Reply:
        """Check the password; acting as somebody else is not a thing of submission."""
        if given.acting_as not in ("", given.login):
            return reply.BAD_CREDENTIALS
        checked = await self._house.sign_in.check(
            given.login, given.password, f"smtp-{mechanism.lower()}", session.ip, kinds=MAIL_CLIENTS
        )
        if isinstance(checked, Refused):
            return _TRY_LATER if checked.temporary else reply.BAD_CREDENTIALS
        return replace(session, account=checked)

    async def mail(self, session: Session, transaction: Transaction) -> Reply:
        """Judge whether the sender is one of the account's own addresses."""
        if session.account is None:
            return reply.AUTH_REQUIRED
        decision = admission.sender_may_use(await self._addresses(session.account), transaction.sender)
        if decision.accepted:
            account = f"account:{session.account.id}"
            decision = self._budgets.letter(account, account, transaction.began_at) or decision
        transaction.note(decision)
        return reply.of_decision(decision, reply.SENDER_OK)

    async def _addresses(self, account: Account) -> tuple[Address, ...]:
        return await self._house.store.read(submit.sender_addresses, account.id, self._house.clock())

    async def rcpt(self, session: Session, transaction: Transaction, recipient: Recipient) -> Reply:
        """Judge a recipient on what is stored now; the unit that writes judges again."""
        house, size = self._house, transaction.mail.size_octets
        decision = await house.store.read(
            submit.judge, house.hosted, house.outside(), transaction.sender, recipient.address, size, house.clock()
        )
        transaction.note(decision)
        return reply.of_decision(decision, reply.RECIPIENT_OK)

    async def data(self, session: Session, transaction: Transaction, octets: bytes) -> Reply:
        """Complete the letter, judge its author, and store it: the reply is the receipt."""
        house, account = self._house, session.account
        if account is None:
            return reply.AUTH_REQUIRED
        letter = await self._read(transaction, octets)
        decision = _author(await self._addresses(account), letter)
        if not decision.accepted:
            transaction.note(decision)
            return reply.of_decision(decision)
        receipt = await house.store.write(
            submit.accept,
            house.hosted,
            house.outside(),
            account.id,
            transaction.envelope(),
            letter,
            house.clock(),
        )
        return answer(transaction, receipt)

    async def unfit(self, session: Session, transaction: Transaction, decision: Decision) -> Reply:
        """Refuse a letter for the form in which it came."""
        transaction.note(decision)
        return reply.of_decision(decision)

    async def _read(self, transaction: Transaction, octets: bytes) -> Reading:
        house, now = self._house, self._house.clock()
        # Where our people sit is nobody's business; the log joins the id to the client's address.
        hop = trace.Hop("client", "hidden", protocol="UTF8SMTPSA" if transaction.mail.smtputf8 else "ESMTPSA")
        received = trace.received(hop, by=house.hosted.hostname, queue_id=transaction.id, at=now)
        message_id = f"<{transaction.id}.{int(now.timestamp())}@{house.hosted.hostname}>"
        to_patient = any(house.hosted.domains.get(r.address.domain) == "patient" for r in transaction.recipients)
        return await house.readers.read(
            octets, Preparation((received,), message_id, now, house.hosted.hostname), documents=to_patient
        )


def _author(own: tuple[Address, ...], letter: Reading) -> Decision:
    """Judge the From field: one mailbox, and one of the account's own."""
    authors = {named.address.key: named.address for named in letter.author}
    if not authors:
        return reject(rules.AUTHOR_MISSING, report=False)
    if len(authors) > 1:
        return reject(rules.AUTHOR_SEVERAL, authors=len(authors))
    return admission.sender_may_use(own, next(iter(authors.values())))
