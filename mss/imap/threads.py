"""The two threading algorithms of THREAD (RFC 5256 §3). Pure: letters in, a response out; no recursion, for a
conversation may be as deep as the mailbox is large.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise

from mss.imap.sorting import Sortable


class Node:
    """A letter in its thread, or a dummy for one that is not here (`letter` None)."""

    __slots__ = ("children", "group", "letter", "parent")

    def __init__(self, letter: Sortable | None) -> None:
        self.letter = letter
        self.parent: Node | None = None
        self.children: list[Node] = []
        # Leads to a node of the same group: two nodes of different groups cannot be above one another.
        self.group: Node | None = None


# --- ORDEREDSUBJECT ---


def ordered_subject(letters: Sequence[Sortable]) -> list[Node]:
    """Return threads of letters with one base subject: the first sent above all others, threads by its date."""
    ordered = sorted(letters, key=lambda letter: (letter.form.subject, letter.sent_us, letter.number))
    threads = []
    for _, group in groupby(ordered, key=lambda letter: letter.form.subject):
        first, *others = map(Node, group)
        first.children = others
        threads.append(first)
    return sorted(threads, key=_by_date)


# --- REFERENCES ---


def references(letters: Sequence[Sortable]) -> list[Node]:
    """Return threads by what letters refer to, and by subject where that says nothing."""
    root = _pruned(_linked(letters))
    _sort(root)
    root = _gathered(root)
    _sort(root)
    return root


# Steps 1 and 2: link letters with what they refer to.


def _linked(letters: Sequence[Sortable]) -> list[Node]:
    """Return a node for each letter and for each that is only referred to, with their parents."""
    named: dict[str, Node] = {}
    every: list[Node] = []
    for letter in letters:
        node = _own(letter, named, every)
        chain = [_named(one, named, every) for one in letter.form.references]
        for parent, child in pairwise(chain):
            if child.parent is None and not _is_above(child, parent):
                _link(child, parent)
        # A parent found in somebody else's references was a guess: these are the letter's own.
        node.parent = None
        if chain and not _is_above(node, chain[-1]):
            _link(node, chain[-1])
    return every


def _own(letter: Sortable, named: dict[str, Node], every: list[Node]) -> Node:
    """Return a letter's node; a second letter with a Message-ID that is taken counts as one without."""
    message_id = letter.form.message_id
    node = named.get(message_id)
    if message_id and node is not None and node.letter is None:
        node.letter = letter
        return node
    fresh = Node(letter)
    every.append(fresh)
    if message_id and node is None:
        named[message_id] = fresh
    return fresh


def _named(message_id: str, named: dict[str, Node], every: list[Node]) -> Node:
    node = named.get(message_id)
    if node is None:
        node = named[message_id] = Node(None)
        every.append(node)
    return node


def _group(node: Node) -> Node:
    head = node
    while head.group is not None:
        head = head.group
    while node.group is not None:
        node.group, node = head, node.group
    return head


def _is_above(node: Node, other: Node) -> bool:
    """Say whether a node is another one or above it."""
    if _group(node) is not _group(other):
        return False
    at: Node | None = other
    while at is not None:
        if at is node:
            return True
        at = at.parent
    return False


def _link(child: Node, parent: Node) -> None:
    child.parent = parent
    ours, theirs = _group(child), _group(parent)
    if ours is not theirs:
        ours.group = theirs


# Step 3: dummies go, and their children take their place.


def _pruned(every: list[Node]) -> list[Node]:
    """Return the top of all threads; a dummy only stays there, above two or more."""
    root = []
    for node in every:
        if node.parent is None:
            root.append(node)
        else:
            node.parent.children.append(node)
    for node in reversed(_downwards(root)):
        node.children = [kept for child in node.children for kept in _kept(child)]
    return [kept for node in root for kept in ([node] if len(node.children) > 1 else _kept(node))]


def _kept(node: Node) -> list[Node]:
    return node.children if node.letter is None else [node]


def _downwards(root: Iterable[Node]) -> list[Node]:
    """Return all nodes, each before its children."""
    found = list(root)
    for node in found:
        found.extend(node.children)
    return found


# Steps 4 and 6: siblings by date.


def _first(node: Node) -> Sortable:
    """Return a node's letter; for a dummy that of its first child."""
    while node.letter is None:
        node = node.children[0]
    return node.letter


def _by_date(node: Node) -> tuple[int, int]:
    letter = _first(node)
    return letter.sent_us, letter.number


def _sort(root: list[Node]) -> None:
    for node in reversed(_downwards(root)):
        node.children.sort(key=_by_date)
    root.sort(key=_by_date)


# Step 5: threads with one subject come together.


def _gathered(root: list[Node]) -> list[Node]:
    table: dict[str, Node] = {}
    for node in root:
        subject = _first(node).form.subject
        if subject and (subject not in table or _speaks_better(node, table[subject])):
            table[subject] = node
    gathered: list[Node] = []
    below: set[int] = set()
    for node in root:
        known = table.get(_first(node).form.subject)
        gathered.append(node)
        if known is None or known is node or id(node) in below:
            continue
        below.add(id(node))
        if known.letter is None and node.letter is None:
            known.children += node.children
        elif known.letter is None or (_is_reply(node) and not _is_reply(known)):
            known.children.append(node)
        else:
            both = Node(None)
            both.children = [known, node]
            below.add(id(known))
            table[_first(node).form.subject] = both
            gathered.append(both)
    return [node for node in gathered if id(node) not in below]


def _is_reply(node: Node) -> bool:
    return node.letter is not None and node.letter.form.is_reply


def _speaks_better(node: Node, known: Node) -> bool:
    """Say whether a thread is the better one to stand for its subject: a dummy, or no reply."""
    return known.letter is not None and (node.letter is None or (_is_reply(known) and not _is_reply(node)))


# --- the response ---


def written(threads: Iterable[Node], *, uid: bool) -> bytes:
    """Return the THREAD response."""
    pieces: list[str] = []
    for thread in threads:
        pieces.extend(_pieces(thread, uid=uid))
    return f"* THREAD{' ' if pieces else ''}{''.join(pieces)}\r\n".encode("ascii")


def _pieces(thread: Node, *, uid: bool) -> Iterator[str]:
    """Yield one thread in parentheses; children stand after their parent, in parentheses where they are several."""
    waiting: list[Node | str] = [")", thread, "("]
    while waiting:
        at = waiting.pop()
        if isinstance(at, str):
            yield at
            continue
        if at.letter is not None:
            yield str(at.letter.row.uid if uid else at.letter.number)
            if at.children:
                yield " "
        if len(at.children) == 1:
            waiting.append(at.children[0])
        else:
            for child in reversed(at.children):
                waiting.extend((")", child, "("))
