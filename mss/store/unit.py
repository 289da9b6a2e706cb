"""One unit of work: the rooms of the store inside one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection

from mss.model.audit import AuditEvent
from mss.store.accounts import Accounts
from mss.store.annotations import Annotations
from mss.store.blobs import Blobs
from mss.store.chains import Chains
from mss.store.collection import Collection
from mss.store.conversations import Conversations
from mss.store.dossiers import Dossiers
from mss.store.expunged import ExpungedLetters
from mss.store.inspection import Inspection
from mss.store.journal import Chain, Journal
from mss.store.keys import KeyRing
from mss.store.lives import Lives
from mss.store.mailboxes import Mailboxes
from mss.store.nodes import Nodes
from mss.store.objects import Aside, Objects, Staged
from mss.store.opened import OpenedForms
from mss.store.parties import Parties
from mss.store.prepared import Prepared
from mss.store.proofs import Proofs
from mss.store.queue import Queue
from mss.store.quotas import Quotas
from mss.store.rights import RightsRoom
from mss.store.sealing import Sealing
from mss.store.seen import Seen
from mss.store.threads import Threads


@dataclass(frozen=True, slots=True)
class Shared:
    """What all units of one store share."""

    keys: KeyRing
    files: Blobs
    inline_max_octets: int
    segment_records: int
    opened: OpenedForms


T = TypeVar("T")


class _Once(Generic[T]):
    """A room made when it is first asked for. Python's own way takes a lock each time, and a unit has one thread."""

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make

    def __get__(self, uow: Any, _kind: type) -> T:
        room = uow.__dict__[self._make.__name__] = self._make(uow)
        return room


class Uow:
    """The rooms of the store inside one transaction. Never kept beyond it."""

    def __init__(self, connection: Connection, shared: Shared, chain: Chain | None, staged: Sequence[Staged]) -> None:
        self._connection = connection
        self._shared = shared
        self._chain = chain
        self._staged = staged
        self.hints: set[tuple[str, int]] = set()
        self.written: set[str] = set()
        self.named: set[str] = set()
        self.noted: list[AuditEvent] = []

    def wake(self, channel: str, key: int = 0) -> None:
        """Publish a wake-up once this unit is committed: ("mailbox", box id) or ("queue", 0)."""
        self.hints.add((channel, key))

    @_Once
    def sealing(self) -> Sealing:
        """Sealing and keyed digests."""
        return Sealing(self._shared.keys)

    @_Once
    def objects(self) -> Objects:
        """Octets of letters and documents."""
        shared = self._shared
        aside = Aside(shared.files, self._staged, self.written, self.named)
        return Objects(self._connection, shared.keys, aside, shared.inline_max_octets, shared.opened)

    @_Once
    def mailboxes(self) -> Mailboxes:
        """Mailboxes and their messages."""
        return Mailboxes(self._connection)

    @_Once
    def threads(self) -> Threads:
        """Threads of professionals' boxes."""
        return Threads(self._connection, self.sealing)

    @_Once
    def quotas(self) -> Quotas:
        """How much boxes hold and may hold."""
        return Quotas(self._connection)

    @_Once
    def annotations(self) -> Annotations:
        """What clients noted about mailboxes."""
        return Annotations(self._connection, self.sealing)

    @_Once
    def expunged(self) -> ExpungedLetters:
        """Letters that can still be put back."""
        return ExpungedLetters(self._connection)

    @_Once
    def seen(self) -> Seen:
        """Who has seen what, where each has an own \\Seen."""
        return Seen(self._connection)

    @_Once
    def prepared(self) -> Prepared:
        """What is prepared of letters for searching and sorting."""
        return Prepared(self._connection, self._shared.keys)

    @_Once
    def queue(self) -> Queue:
        """Deliveries and attempts; letters recognised when they come again."""
        return Queue(self._connection)

    @_Once
    def accounts(self) -> Accounts:
        """Boxes, accounts, delegations, sessions."""
        return Accounts(self._connection, self.sealing)

    @_Once
    def proofs(self) -> Proofs:
        """What signs in besides passwords: certificates, names in tokens."""
        return Proofs(self._connection, self.sealing)

    @_Once
    def conversations(self) -> Conversations:
        """Conversations, contacts, drafts."""
        return Conversations(self._connection, self.sealing)

    @_Once
    def dossiers(self) -> Dossiers:
        """Documents of patients."""
        return Dossiers(self._connection, self.sealing)

    @_Once
    def rights(self) -> RightsRoom:
        """What patients set about their dossiers; notices to them; invitations."""
        return RightsRoom(self._connection, self.sealing)

    @_Once
    def parties(self) -> Parties:
        """The directory and the trust list."""
        return Parties(self._connection)

    @_Once
    def nodes(self) -> Nodes:
        """Which workers run."""
        return Nodes(self._connection)

    @_Once
    def journal(self) -> Journal:
        """Who did what."""
        return Journal(self._connection, self._chain, self._shared.segment_records, self.noted)

    @_Once
    def chains(self) -> Chains:
        """The journal's chains: their ends, their pages, what is over."""
        return Chains(self._connection)

    @_Once
    def lives(self) -> Lives:
        """The life of boxes, and their erasure."""
        return Lives(self._connection, self.sealing)

    @_Once
    def collection(self) -> Collection:
        """Octets that nobody needs any more."""
        return Collection(self._connection)

    @_Once
    def inspection(self) -> Inspection:
        """What does not fit together, and its repair."""
        return Inspection(self._connection, self.objects, self._shared.keys, self._shared.files)
