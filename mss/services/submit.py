"""Letters that our own people send: professionals and robots by submission, patients by the webmail."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from mss.mail.compose import Attachment as File
from mss.mail.compose import Correspondent, Draft, compose, message_id
from mss.mail.headers import message_ids
from mss.model.account import Account, Box, BoxState
from mss.model.address import Address, Domain
from mss.model.audit import AuditEvent
from mss.model.conversation import Direction, Letter, Participant, Role
from mss.model.delivery import Delivery
from mss.model.envelope import Envelope, Recipient
from mss.model.party import BoxKind
from mss.policy import access, admission, budget, conversing, exchange, routing, rules
from mss.policy.decision import Decision, reject
from mss.policy.decision import accept as accepted
from mss.services import deliver, deposits, receive, report
from mss.services.deliver import Incoming
from mss.services.house import Hosted
from mss.services.reading import Reading, read_letter
from mss.services.receive import Receipt, RecipientOutcome
from mss.services.replying import reply_facts, signature
from mss.store import Uow
from mss.store.conversations import NewLetter
from mss.store.objects import Stored


@dataclass(frozen=True, slots=True)
class Outside:
    """What may be reached beyond our own domains: the trust list's and the configured routes' domains."""

    reachable: frozenset[str]
    expire_s: int


def sender_addresses(uow: Uow, account_id: int, now: datetime) -> tuple[Address, ...]:
    """Return the addresses of all boxes that the account owns or acts for."""
    return tuple(box.address for box, _ in uow.accounts.delegations_of(account_id, now) if box.receives)


def names(uow: Uow, account_id: int, now: datetime) -> dict[str, str]:
    """Return what the account's boxes are called, by address key: as the directory says, else as we do."""
    found = {}
    for box, _ in uow.accounts.delegations_of(account_id, now):
        party = uow.parties.by_address(box.address)
        found[box.address.key] = (party.display_name if party else "") or box.display_name
    return found


@dataclass(frozen=True, slots=True)
class Handed:
    """What submission knows of a letter beside its reading.

    `local` is the letter as boxes here get it, with its Return-Path; None: as all others. `conformity` holds the
    result of each check, empty when nothing was measured. `per_hour_max` bounds the account's recipients; 0: nothing
    does.
    """

    local: Reading | None = None
    conformity: Mapping[str, str] = field(default_factory=dict)
    per_hour_max: int = 0

    def heavy(self) -> tuple[bytes, ...]:
        """Return the octets that the unit may have to store."""
        return self.local.heavy() if self.local else ()


def within_budget(uow: Uow, account_id: int, recipients: int, per_hour_max: int, now: datetime) -> Decision:
    """Say whether an account may write to so many recipients now."""
    return budget.may_spend(uow.accounts.budget_whole_at(account_id), recipients, per_hour_max, now)


def accept(
    uow: Uow,
    hosted: Hosted,
    outside: Outside,
    account_id: int,
    envelope: Envelope,
    reading: Reading,
    now: datetime,
    handed: Handed = Handed(),
) -> Receipt:
    """Take a submitted letter: local recipients at once, a delivery for each other one, journal.

    The octets are final (Message-ID and Date there, Bcc gone, Received added). Refused recipients are in the
    receipt with their decision; nothing is kept when none is accepted.
    """
    number = secrets.token_hex(8)
    source = uow.accounts.box_by_address(envelope.reverse_path) if envelope.reverse_path else None
    afar = _incoming(hosted, account_id, envelope, reading, source, uow.objects.put(reading.octets, now))
    here = afar
    if handed.local is not None:
        stored = uow.objects.put(handed.local.octets, now)
        here = _incoming(hosted, account_id, envelope, handed.local, source, stored)
    mine = _may_submit(uow, account_id, envelope, source, handed, now)

    def one(recipient: Recipient) -> RecipientOutcome:
        if not mine.accepted:
            return RecipientOutcome(recipient, mine)
        letter = here if recipient.address.domain in hosted.domains else afar
        return _send(uow, hosted, outside, letter, envelope, recipient, source, now)

    receipt = Receipt(number, receive.each_once(envelope, one))
    for letter, outcomes in _by_form(hosted, receipt, here, afar):
        part = replace(receipt, outcomes=outcomes)
        receive.journal(uow, part, letter, now)
        if not part.accepted:
            uow.objects.forget(letter.stored)
    if receipt.accepted:
        report.after_acceptance(uow, hosted.house, envelope, receipt.outcomes, reading, now)
        _count(uow, account_id, receipt, handed, now)
    return receipt


def _by_form(
    hosted: Hosted, receipt: Receipt, here: Incoming, afar: Incoming
) -> tuple[tuple[Incoming, tuple[RecipientOutcome, ...]], ...]:
    """Return the outcomes by the form of the letter that their recipients were to get."""
    if here is afar:
        return ((afar, receipt.outcomes),)
    local = tuple(one for one in receipt.outcomes if one.recipient.address.domain in hosted.domains)
    others = tuple(one for one in receipt.outcomes if one.recipient.address.domain not in hosted.domains)
    return ((here, local), (afar, others))


def _may_submit(
    uow: Uow, account_id: int, envelope: Envelope, source: Box | None, handed: Handed, now: datetime
) -> Decision:
    """Say again, in the unit that writes, whether the account may send in this name, and so much; patients write in
    the webmail."""
    if source is not None and source.kind is BoxKind.PATIENT:
        return reject(rules.ACCOUNT_WEB_ONLY, account=account_id)
    mine = admission.sender_may_use(sender_addresses(uow, account_id, now), envelope.reverse_path)
    if not mine.accepted or not handed.per_hour_max:
        return mine
    return within_budget(uow, account_id, len(envelope.recipients), handed.per_hour_max, now)


def _count(uow: Uow, account_id: int, receipt: Receipt, handed: Handed, now: datetime) -> None:
    """Note what an accepted letter used of its account's budget, and how well it kept to the rules of software."""
    if handed.per_hour_max:
        recipients = sum(outcome.decision.accepted for outcome in receipt.outcomes)
        before = uow.accounts.budget_whole_at(account_id)
        uow.accounts.spend_budget(account_id, budget.spent(before, recipients, handed.per_hour_max, now))
    if handed.conformity:
        event = AuditEvent(
            f"account:{account_id}", "letter.conformity", f"receipt:{receipt.number}", facts=dict(handed.conformity)
        )
        uow.journal.write(event, now)


def _incoming(
    hosted: Hosted, account_id: int, envelope: Envelope, reading: Reading, source: Box | None, stored: Stored
) -> Incoming:
    own = frozenset({source.address.domain}) if source else frozenset[Domain]()
    return Incoming(
        reading=reading,
        stored=stored,
        reverse_path=envelope.reverse_path,
        envelope=tuple(one.address for one in envelope.recipients),
        origin_domains=own,
        patient_domains=hosted.patient_domains,
        reply_to_foreign=hosted.policy.reply_to_foreign,
        actor=f"account:{account_id}",
    )


def judge(
    uow: Uow,
    hosted: Hosted,
    outside: Outside,
    sender: Address | None,
    recipient: Address,
    size_octets: int | None,
    now: datetime,
) -> Decision:
    """Say at RCPT whether a submitted letter may go to a recipient."""
    way = routing.route_within(recipient, hosted.domains, outside.reachable)
    if not way.decision.accepted:
        return way.decision
    if way.destination is not routing.Destination.RELAY:
        return receive.judge(uow, hosted, sender, recipient, size_octets, now)[0]
    facts = exchange.RecipientFacts(
        recipient=recipient,
        sender=sender,
        patient_domains=hosted.patient_domains,
        hosted=False,
        size_octets=size_octets,
        size_max_octets=hosted.message_max_octets,
        test_identities=hosted.policy.test_identities,
    )
    return exchange.may_deliver(facts)


def _send(
    uow: Uow,
    hosted: Hosted,
    outside: Outside,
    letter: Incoming,
    envelope: Envelope,
    recipient: Recipient,
    source: Box | None,
    now: datetime,
) -> RecipientOutcome:
    """Deliver or queue for one recipient."""
    size = len(letter.reading.octets)
    decision = judge(uow, hosted, outside, letter.reverse_path, recipient.address, size, now)
    if not decision.accepted:
        return RecipientOutcome(recipient, decision)
    if recipient.address.domain in hosted.domains:
        return _locally(uow, hosted, letter, recipient, now)
    test = hosted.policy.test_identities
    facts = deliver.letter_facts(letter, recipient.address, hosted.message_max_octets, test_identities=test)
    content = exchange.may_contain(facts)
    if not content.accepted:
        return RecipientOutcome(recipient, content)
    queue(uow, outside, letter, envelope, recipient, source, now)
    return RecipientOutcome(recipient, decision)


def _locally(uow: Uow, hosted: Hosted, letter: Incoming, recipient: Recipient, now: datetime) -> RecipientOutcome:
    box = uow.accounts.box_by_address(recipient.address)
    if box is None:
        return RecipientOutcome(recipient, reject(rules.RECIPIENT_UNKNOWN, domain=recipient.address.domain))
    verdict = receive.filing_of(box, letter.reading, hosted.policy)
    content = receive.judge_content(uow, letter, box, verdict, hosted, now)
    if content.accepted:
        deliver.deliver(uow, box, letter, verdict, hosted.message_max_octets, now)
        report.about_filing(uow, hosted.house, box, letter, verdict, now)
        if hosted.policy.unopened_notice and box.state is BoxState.UNOPENED:
            report.about_unopened(uow, hosted.house, box, letter, now)
        deposits.prove(uow, hosted.house, box, letter, now)
        return RecipientOutcome(recipient, accepted(rules.BOX_RECEIVES, box=box.id), box.id)
    return RecipientOutcome(recipient, content, box.id)


def queue(
    uow: Uow,
    outside: Outside,
    letter: Incoming,
    envelope: Envelope,
    recipient: Recipient,
    source: Box | None,
    now: datetime,
) -> int:
    """Queue a letter for one recipient elsewhere; its octets are held by the sender's box."""
    holder = source.id if source else 0
    if not uow.objects.holds(holder, letter.stored.id):
        uow.objects.hold(holder, letter.stored)
    delivery = Delivery(
        id=0,
        object_id=letter.stored.id,
        destination=recipient.address.domain,
        reverse_path=envelope.reverse_path,
        recipient=recipient.address,
        message_id=letter.reading.message_id,
        size_octets=len(letter.reading.octets),
        created_at=now,
        expires_at=now + timedelta(seconds=outside.expire_s),
        next_attempt_at=now,
        source_box_id=source.id if source else None,
        notify=recipient.notify,
        ret=envelope.ret,
        orcpt=recipient.orcpt,
        envid=envelope.envid,
        smtputf8=envelope.smtputf8,
        eight_bit=not letter.reading.octets.isascii(),
        require_tls=envelope.require_tls,
    )
    uow.wake("queue")
    return uow.queue.add(delivery, holder)


# -- patients' answers -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with a patient's letter; `name` and `mime_type` already checked by sniffing."""

    name: str
    mime_type: str
    octets: bytes


@dataclass(frozen=True, slots=True)
class PatientReply:
    """A patient's answer. `participants` are the numbers that `records.thread` gave to those who may be written
    to (never addresses); empty: the default of the newest letter. `conversation_id` 0 begins a conversation under
    `subject`, where the profile lets patients do so."""

    conversation_id: int
    text: str
    participants: tuple[int, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    subject: str = ""

    @property
    def size_octets(self) -> int:
        """How large the letter will be, about: base64 makes four octets of three."""
        return len(self.text.encode()) + sum(len(one.octets) * 4 // 3 + 500 for one in self.attachments)

    def heavy(self) -> tuple[bytes, ...]:
        """Return nothing: the letter is composed inside the unit."""
        return ()


def reply(
    uow: Uow, hosted: Hosted, outside: Outside, account_id: int, box_id: int, answer: PatientReply, now: datetime
) -> tuple[Decision, Receipt | None]:
    """Send a patient's answer inside its conversation, or begin one: Sent copy, deliveries, journal, draft dropped.

    The decision is taken here, in the unit that writes; when it refuses, nothing changes (the draft stays).
    """
    account, box = uow.accounts.by_id(account_id), uow.accounts.box_by_id(box_id)
    if account is None or box is None:
        return reject(rules.ACCESS_NONE), None
    begins = answer.conversation_id == 0
    letters = () if begins else uow.conversations.letters_of(box_id, answer.conversation_id)
    facts = reply_facts(uow, hosted, box, letters, answer.size_octets)
    recipients = _recipients(uow, box_id, answer, facts)
    decision = reject(rules.CONVERSATION_NEVER_OPENED, recipients=len(answer.participants))
    if recipients is not None:
        facts = replace(facts, recipients=tuple(one.address for one in recipients))
        decision = _may(uow, account, box, facts, now, begins=begins)
        if decision.accepted:
            decision = _unreachable(uow, hosted, outside, box, recipients, facts.size_octets, now) or decision
    if recipients is None or not decision.accepted:
        _note(uow, account_id, box_id, answer, decision, now)
        return decision, None
    answer = replace(answer, text=answer.text + signature(uow, account, box))
    octets = _compose(uow, hosted, box, letters, recipients, answer, now)
    if begins:
        # The draft of what was to be begun stands under 0.
        uow.conversations.drop_draft(box_id, 0)
        answer = replace(answer, conversation_id=uow.conversations.create(box_id, answer.subject, now))
    receipt = _dispatch(uow, hosted, outside, account_id, box, recipients, answer, octets, now)
    _note(uow, account_id, box_id, answer, decision, now)
    return decision, receipt


def _unreachable(
    uow: Uow,
    hosted: Hosted,
    outside: Outside,
    box: Box,
    recipients: tuple[Participant, ...],
    size_octets: int,
    now: datetime,
) -> Decision | None:
    """Return why the first recipient that no letter can reach now cannot be; the fact `participant` is its number."""
    for one in recipients:
        way = judge(uow, hosted, outside, box.address, one.address, size_octets, now)
        if not way.accepted:
            number = uow.conversations.contact_number(box.id, one.address) or 0
            return replace(way, facts={**way.facts, "participant": number})
    return None


def _may(
    uow: Uow, account: Account, box: Box, facts: conversing.ReplyFacts, now: datetime, *, begins: bool = False
) -> Decision:
    delegations = uow.accounts.delegations_to(account.id, box.id)
    acts = access.may_act(account, delegations, box, access.Action.SEND_LETTERS, now)
    if not acts.accepted:
        return acts
    if not facts.letters and not begins:
        # A conversation of another box has no letters here: that is a stranger's, not a new one.
        return reject(rules.CONVERSATION_NEVER_OPENED)
    answers = conversing.may_answer(facts)
    return conversing.may_reply(facts) if facts.recipients or answers.accepted else answers


def _recipients(
    uow: Uow, box_id: int, answer: PatientReply, facts: conversing.ReplyFacts
) -> tuple[Participant, ...] | None:
    """Return whom an answer goes to; None when it names a number that stands for nobody in this box."""
    if not answer.participants:
        return conversing.default_recipients(facts)
    named = {one.address.key: one for letter in facts.letters for one in letter.authorises}
    chosen = []
    for number in dict.fromkeys(answer.participants):
        contact = uow.conversations.contact_by_number(box_id, number)
        if contact is None:
            return None
        role = named[contact.address.key].role if contact.address.key in named else Role.TO
        chosen.append(Participant(contact.address, contact.name, role))
    return tuple(chosen)


def _compose(
    uow: Uow,
    hosted: Hosted,
    box: Box,
    letters: tuple[Letter, ...],
    recipients: tuple[Participant, ...],
    answer: PatientReply,
    now: datetime,
) -> bytes:
    conversation = uow.conversations.get(box.id, answer.conversation_id)
    subject = conversation.subject if conversation else answer.subject
    ids = _message_ids(uow, hosted, box.id, letters)
    draft = Draft(
        sender=Correspondent(box.address, box.display_name),
        to=tuple(Correspondent(one.address, one.name) for one in recipients),
        subject=subject if conversation is None or subject.lower().startswith("re:") else f"Re: {subject}",
        date=now,
        message_id=message_id(secrets.token_hex(16), box.address.domain),
        text=answer.text,
        in_reply_to=ids[-1] if ids else "",
        references=ids,
        attachments=tuple(File(one.name, one.mime_type, one.octets) for one in answer.attachments),
    )
    return compose(draft)


def _message_ids(uow: Uow, hosted: Hosted, box_id: int, letters: tuple[Letter, ...]) -> tuple[str, ...]:
    """Return the Message-IDs of the newest letters, oldest first, from their own headers."""
    found: list[str] = []
    for letter in letters[-10:]:
        head = read_letter(uow.objects.get(box_id, letter.email_id, 0, 16_384), hosted.limits, documents=False)
        found += message_ids(head.message.header("message-id") or b"")[:1]
    return tuple(f"<{one.strip('<>')}>" for one in dict.fromkeys(found))


def _dispatch(
    uow: Uow,
    hosted: Hosted,
    outside: Outside,
    account_id: int,
    box: Box,
    recipients: tuple[Participant, ...],
    answer: PatientReply,
    octets: bytes,
    now: datetime,
) -> Receipt:
    envelope = Envelope(box.address, tuple(Recipient(one.address) for one in recipients))
    reading = read_letter(octets, hosted.limits, documents=False)
    letter = _incoming(hosted, account_id, envelope, reading, box, uow.objects.put(octets, now))
    sent = deliver.send_copy(uow, box.id, letter, now)
    new = NewLetter(
        object_id=letter.stored.id,
        mailbox_id=sent.mailbox_id,
        uid=sent.uid,
        direction=Direction.SENT,
        message_id=reading.message_id,
        answerable=True,
        closing=False,
        has_attachment=bool(answer.attachments),
        unread=False,
        sender=None,
        authorises=recipients,
    )
    uow.conversations.add_letter(box.id, answer.conversation_id, new, now)
    outcomes = receive.each_once(
        envelope, lambda recipient: _send(uow, hosted, outside, letter, envelope, recipient, box, now)
    )
    uow.conversations.drop_draft(box.id, answer.conversation_id)
    receipt = Receipt(secrets.token_hex(8), outcomes)
    receive.journal(uow, receipt, letter, now)
    report.after_acceptance(uow, hosted.house, envelope, outcomes, reading, now)
    return receipt


def _note(uow: Uow, account_id: int, box_id: int, answer: PatientReply, decision: Decision, now: datetime) -> None:
    event = AuditEvent(
        f"account:{account_id}",
        "conversation.answer",
        f"conversation:{answer.conversation_id}",
        decision.verdict.value,
        decision.rule.name,
        box_id,
        {"recipients": len(answer.participants)},
    )
    uow.journal.write(event, now)
