"""Submission: letters that our own professionals and robots hand in, after signing in (RFC 6409, RFC 4954).

It takes no decision: `signin` judges the password, `policy.admission` the sender, `services.submit` the recipients.
Patients do not submit here: they write in the webmail.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, assert_never

from mss.clock import Clock
from mss.config import Limits
from mss.dossier import conformity
from mss.errors import Malformed, Unavailable
from mss.log import get_logger
from mss.mail import headers, mime, trace
from mss.model.account import Account
from mss.model.address import Address
from mss.model.document import Submission
from mss.model.envelope import Recipient
from mss.model.peer import ClientCertificate
from mss.policy import admission, rules
from mss.policy.decision import Decision, reject
from mss.screening import UNSCREENED, Screen
from mss.services import submit
from mss.services.reading import Reading
from mss.services.receive import Hosted
from mss.services.submit import Outside
from mss.signin import MAIL_CLIENTS, Refused, SignIn
from mss.smtp import reply
from mss.smtp.budgets import Budgets
from mss.smtp.commands import Credentials, External, Given
from mss.smtp.metrics import Metrics, Silence
from mss.smtp.mx import answer
from mss.smtp.readers import Preparation, Readers
from mss.smtp.reply import Challenged, Reply
from mss.smtp.session import Listener, Session, Transaction
from mss.store import Store
from mss.tokens.sasl import Bearer

_TRY_LATER: Final = Reply(454, "4.7.0", "Cannot sign in now, try again later")

_log = get_logger("smtp")


@dataclass(frozen=True, slots=True)
class SubmissionHouse:
    """What submission needs. `outside` returns what may be reached now, `certificate` what a TLS session's client
    showed."""

    store: Store
    sign_in: SignIn
    outside: Callable[[], Outside]
    hosted: Hosted
    limits: Limits
    clock: Clock
    readers: Readers
    metrics: Metrics = Silence()
    screen: Screen = UNSCREENED
    certificate: Callable[[object, datetime], ClientCertificate | None] = lambda _end, _now: None


class SubmissionDoor:
    """Judges and takes letters from our own accounts; shared by all connections of a listener."""

    mechanisms: tuple[str, ...] = ("PLAIN", "LOGIN")

    def __init__(self, house: SubmissionHouse, listener: Listener) -> None:
        self._house = house
        self.listener = listener
        self._budgets = Budgets(house.limits)

    async def secured(self, session: Session, end: object) -> Session | Reply:
        """Find out which certificate the client shows, if any, and with it how it may sign in."""
        shown = self._shown(session, end)
        mechanisms = (*self.mechanisms, *self._house.sign_in.mechanisms(shown))
        return replace(session, certificate=shown, mechanisms=mechanisms)

    def _shown(self, session: Session, end: object) -> ClientCertificate | None:
        try:
            return self._house.certificate(end, self._house.clock())
        except (Malformed, Unavailable) as error:
            # A password may still be right.
            _log.warning("smtp.certificate_unusable", session=session.id, ip=session.ip, reason=str(error))
            return None

    async def insecure(self, session: Session, reason: str) -> None:
        """Nothing more than the log line: no transaction was begun."""

    async def sign_in(self, session: Session, mechanism: str, given: Given) -> Session | Reply:
        """Check what was given; whoever it is may name a box that it acts for, as a mail program of that box does."""
        checked = await self._checked(session, f"smtp-{mechanism.lower()}", given)
        if isinstance(checked, Account) and await self._acts_as(checked, given.acting_as):
            return replace(session, account=checked)
        if isinstance(checked, Refused) and checked.temporary:
            return _TRY_LATER
        challenge = self._house.sign_in.challenge(mechanism)
        refusal = reply.BAD_CREDENTIALS
        return Challenged(refusal.code, refusal.enhanced, refusal.text, (), challenge) if challenge else refusal

    async def _checked(self, session: Session, mechanism: str, given: Given) -> Account | Refused:
        sign_in = self._house.sign_in
        match given:
            case Credentials():
                return await sign_in.check(given.login, given.password, mechanism, session.ip, kinds=MAIL_CLIENTS)
            case External():
                return await sign_in.certificate(session.certificate, given.acting_as, mechanism, session.ip)
            case Bearer():
                return await sign_in.bearer(given, mechanism, session.ip, session.certificate)
            case _ as never:
                assert_never(never)

    async def _acts_as(self, account: Account, name: str) -> bool:
        wanted = name.strip().lower()
        if wanted in ("", account.login.lower()):
            return True
        return wanted in {one.key for one in await self._addresses(account)}

    async def mail(self, session: Session, transaction: Transaction) -> Reply:
        """Judge whether the sender is one of the account's own addresses, and has anything left to send."""
        if session.account is None:
            return reply.AUTH_REQUIRED
        decision = admission.sender_may_use(await self._addresses(session.account), transaction.sender)
        if decision.accepted:
            account = f"account:{session.account.id}"
            flood = self._budgets.letter(account, account, transaction.began_at)
            decision = flood or await self._budget(session.account)
        transaction.note(decision)
        return reply.of_decision(decision, reply.SENDER_OK)

    async def _budget(self, account: Account) -> Decision:
        house, per_hour_max = self._house, self._house.limits.submission_recipients_per_hour_max
        return await house.store.read(submit.within_budget, account.id, 1, per_hour_max, house.clock())

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
        own = await house.store.read(submit.names, account.id, house.clock())
        letter = await self._read(transaction, own, octets)
        decision = self._author(await self._addresses(account), letter)
        if decision.accepted:
            decision = await house.screen.judge(octets)
        if not decision.accepted:
            transaction.note(decision)
            return reply.of_decision(decision)
        measured = self._measure(transaction, letter)
        letter = letter if self._to_patient(transaction) else replace(letter, submission=None)
        handed = submit.Handed(
            local=await self._form_for_here(transaction, letter),
            conformity=measured,
            per_hour_max=house.limits.submission_recipients_per_hour_max,
        )
        receipt = await house.store.write(
            submit.accept,
            house.hosted,
            house.outside(),
            account.id,
            transaction.envelope(),
            letter,
            house.clock(),
            handed,
        )
        if receipt.accepted:
            house.metrics.conformity(letter.software, measured)
        return answer(transaction, receipt)

    async def unfit(self, session: Session, transaction: Transaction, decision: Decision) -> Reply:
        """Refuse a letter for the form in which it came."""
        transaction.note(decision)
        return reply.of_decision(decision)

    async def _read(self, transaction: Transaction, own: Mapping[str, str], octets: bytes) -> Reading:
        house, now = self._house, self._house.clock()
        # Where our people sit is nobody's business; the log joins the id to the client's address.
        hop = trace.Hop("client", "hidden", protocol="UTF8SMTPSA" if transaction.mail.smtputf8 else "ESMTPSA")
        received = trace.received(hop, by=house.hosted.hostname, queue_id=transaction.id, at=now)
        message_id = f"<{transaction.id}.{int(now.timestamp())}@{house.hosted.hostname}>"
        # The last server writes the Return-Path, and no other may (RFC 5321 §4.4).
        top = (trace.return_path(transaction.sender), received) if all(self._here(transaction)) else (received,)
        return await house.readers.read(
            octets, Preparation(top, message_id, now, house.hosted.hostname, own), documents=True
        )

    def _here(self, transaction: Transaction) -> list[bool]:
        return [one.address.domain in self._house.hosted.domains for one in transaction.recipients]

    def _to_patient(self, transaction: Transaction) -> bool:
        return any(self._house.hosted.domains.get(r.address.domain) == "patient" for r in transaction.recipients)

    async def _form_for_here(self, transaction: Transaction, letter: Reading) -> Reading | None:
        """Return the form that our own boxes get of a letter that also goes elsewhere; None when one form will do."""
        here = self._here(transaction)
        if all(here) or not any(here):
            return None
        top = (trace.return_path(transaction.sender),)
        to_patient = self._to_patient(transaction)
        return await self._house.readers.read(letter.octets, Preparation(top), documents=to_patient)

    def _measure(self, transaction: Transaction, letter: Reading) -> Mapping[str, str]:
        """Measure how the letter keeps to the rules; nothing that happens here may keep it from going."""
        try:
            found = conformity.measure(letter.message, letter.submission or Submission())
        except Exception as error:  # noqa: BLE001  # A measure is never a reason to lose a letter.
            _log.error("submission.not_measured", transaction=transaction.id, kind=type(error).__name__)
            return {}
        return {check.value: result.value for check, result in found.items()}

    def _author(self, own: tuple[Address, ...], letter: Reading) -> Decision:
        """Judge who the letter says wrote it: one mailbox in From and each in Sender, all the account's own."""
        house = self._house
        if not mime.header_is_whole(letter.message):
            # A second From behind the limit would be read by mail programs, and by nobody here.
            return reject(rules.LETTER_HEADER_TOO_LARGE, fields=len(letter.message.structure.root.fields))
        if trace.has_loop(letter.message, house.hosted.hostname, house.limits):
            return reject(rules.LETTER_LOOP, hops=trace.count_received(letter.message))
        authors = {named.address.key: named.address for named in letter.author}
        if not authors:
            return reject(rules.AUTHOR_MISSING, report=False)
        if len(authors) > 1 or len(letter.message.headers("from")) > 1:
            return reject(rules.AUTHOR_SEVERAL, authors=len(authors))
        decision = admission.sender_may_use(own, next(iter(authors.values())))
        named = _sender_field(letter, house.limits)
        return admission.sender_field_may_name(own, named) if decision.accepted and named else decision


def _sender_field(letter: Reading, limits: Limits) -> list[Address | None]:
    """Return whom the Sender fields name; None for each that names nobody readable."""
    found: list[Address | None] = []
    for raw in letter.message.headers("sender"):
        for _, spec in headers.addresses(raw, limits) or [("", "")]:
            try:
                found.append(Address.parse(spec))
            except Malformed:
                found.append(None)
    return found
