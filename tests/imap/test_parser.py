"""From frames to commands: every command's grammar, and what is no command."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.config import Limits
from mss.imap import commands as c
from mss.imap.options import Algorithm, Criterion, Resync, Returns, SortField
from mss.imap.parser import parse
from mss.imap.wire import Frame
from mss.model.secret import Secret
from mss.services.metadata import Wished

LIMITS = Limits(imap_nesting_max=5, imap_arguments_max=10)


def command(text: bytes, *literals: bytes) -> c.Command:
    """Parse what must be a command."""
    found = parse(Frame(b"a1 " + text, literals), LIMITS)
    assert isinstance(found, c.Request), found
    assert found.tag == "a1"
    return found.command


def bad(text: bytes, *literals: bytes) -> str:
    """Parse what must not be one."""
    found = parse(Frame(b"a1 " + text, literals), LIMITS)
    assert isinstance(found, c.Bad), found
    assert found.tag == "a1"
    return found.text


def seq(*ranges: tuple[int, int]) -> c.SequenceSet:
    """Return a sequence set."""
    return c.SequenceSet(ranges)


ONE = seq((1, 1))
SAVED = c.SequenceSet((), saved=True)
F = c.Item
S = c.Selection

COMMANDS: list[tuple[bytes, c.Command]] = [
    (b"CAPABILITY", c.Capability()),
    (b"noop", c.Noop()),
    (b"CHECK", c.Check()),
    (b"LOGOUT", c.Logout()),
    (b"STARTTLS", c.StartTls()),
    (b"IDLE", c.Idle()),
    (b"NAMESPACE", c.Namespace()),
    (b"CLOSE", c.Close(expunge=True)),
    (b"UNSELECT", c.Close(expunge=False)),
    (b"EXPUNGE", c.Expunge()),
    (b"UID EXPUNGE 1:3,7", c.Expunge(seq((1, 3), (7, 7)))),
    (b"ID NIL", c.Id()),
    (b'ID ("name" "mbsync" "version" NIL)', c.Id()),
    (b'LOGIN joe "a \\"quoted\\" \\\\ word"', c.Login(b"joe", Secret(b'a "quoted" \\ word'))),
    (b"LOGIN jo]e p#]", c.Login(b"jo]e", Secret(b"p#]"))),
    (b"AUTHENTICATE PLAIN", c.Authenticate("PLAIN")),
    (b"AUTHENTICATE plain AGpvZQB4", c.Authenticate("PLAIN", b"AGpvZQB4")),
    (b"AUTHENTICATE PLAIN =", c.Authenticate("PLAIN", b"=")),
    (b"ENABLE CONDSTORE x-good", c.Enable(("CONDSTORE", "X-GOOD"))),
    (b'LIST "" *', c.List(("*",))),
    (b'LIST "" "%"', c.List(("%",))),
    (b'LIST "a/" %', c.List(("a/%",))),
    (b'LIST "" ""', c.List(())),
    (b'LIST "a/" ("b" "c/%")', c.List(("a/b", "a/c/%"))),
    (b'LIST () "" * RETURN ()', c.List(("*",))),
    (
        b'LIST (SUBSCRIBED RECURSIVEMATCH) "" % RETURN (CHILDREN SPECIAL-USE)',
        c.List(("%",), S.SUBSCRIBED | S.RECURSIVEMATCH, c.Wanted.CHILDREN | c.Wanted.SPECIAL_USE),
    ),
    (
        b'LIST (SPECIAL-USE REMOTE) "" * RETURN (STATUS (MESSAGES SIZE) SUBSCRIBED)',
        c.List(
            ("*",), S.SPECIAL_USE | S.REMOTE, c.Wanted.SUBSCRIBED, (c.StatusItem.MESSAGES, c.StatusItem.SIZE)
        ),
    ),
    (b"CREATE a (USE (\\Sent))", c.Create("a", ("\\Sent",))),
    (b"CREATE a/ (USE ())", c.Create("a")),
    (
        b"STATUS a (SIZE DELETED DELETED-STORAGE MAILBOXID APPENDLIMIT)",
        c.Status("a", tuple(map(c.StatusItem, ("SIZE", "DELETED", "DELETED-STORAGE", "MAILBOXID", "APPENDLIMIT")))),
    ),
    (b'GETQUOTA ""', c.GetQuota(b"")),
    (b"GETQUOTAROOT inbox", c.GetQuotaRoot("INBOX")),
    (b"GETACL a", c.GetAcl("a")),
    (b"MYRIGHTS a", c.MyRights("a")),
    (b"LISTRIGHTS a joe", c.ListRights("a", b"joe")),
    (b"SETACL a joe +lrs", c.SetAcl("a", b"joe", "+lrs")),
    (b"DELETEACL a joe", c.SetAcl("a", b"joe")),
    (b"FETCH 1 (PREVIEW (LAZY) SAVEDATE)", c.Fetch(ONE, F.PREVIEW | F.SAVEDATE)),
    (b"FETCH 1 PREVIEW", c.Fetch(ONE, F.PREVIEW)),
    (b"FETCH 1 (EMAILID THREADID)", c.Fetch(ONE, F.EMAILID | F.THREADID)),
    (
        b"FETCH 1 (BINARY[1.2]<2.3> BINARY.PEEK[] BINARY.SIZE[1])",
        c.Fetch(
            ONE,
            F.NONE,
            (
                c.Section(b"BINARY[1.2]<2>", (1, 2), start=2, count=3, binary=c.Binary.CONTENT),
                c.Section(b"BINARY[]", peek=True, binary=c.Binary.CONTENT),
                c.Section(b"BINARY.SIZE[1]", (1,), peek=True, binary=c.Binary.SIZE),
            ),
        ),
    ),
    (
        b"SEARCH SAVEDBEFORE 1-Feb-2026 EMAILID Mab THREADID T9 SAVEDATESUPPORTED",
        c.Search(
            c.And(
                (
                    c.Saved(c.Order.BEFORE, date(2026, 2, 1)),
                    c.Named("Mab", thread=False),
                    c.Named("T9", thread=True),
                    c.All(),
                )
            )
        ),
    ),
    (b'LSUB "" "*"', c.Lsub("*")),
    (b"SUBSCRIBE Envoy&AOk-s", c.Subscribe("Envoyés", wanted=True)),
    (b"UNSUBSCRIBE inbox", c.Subscribe("INBOX", wanted=False)),
    (b"CREATE a/b/", c.Create("a/b")),
    (b"DELETE a", c.Delete("a")),
    (b'RENAME a "b c"', c.Rename("a", "b c")),
    (b"STATUS INBOX (MESSAGES UNSEEN messages)", c.Status("INBOX", (c.StatusItem.MESSAGES, c.StatusItem.UNSEEN))),
    (b"STATUS INBOX (HIGHESTMODSEQ)", c.Status("INBOX", (c.StatusItem.HIGHESTMODSEQ,))),
    (b"SELECT inbox", c.Select("INBOX")),
    (b"SELECT INBOX (CONDSTORE)", c.Select("INBOX", condstore=True)),
    (b"EXAMINE x", c.Select("x", read_only=True)),
    (b"FETCH 1 FLAGS", c.Fetch(ONE, F.FLAGS)),
    (b"FETCH 1 FAST", c.Fetch(ONE, F.FLAGS | F.INTERNALDATE | F.SIZE)),
    (b"FETCH 1 ALL", c.Fetch(ONE, F.FLAGS | F.INTERNALDATE | F.SIZE | F.ENVELOPE)),
    (b"FETCH 1 FULL", c.Fetch(ONE, F.FLAGS | F.INTERNALDATE | F.SIZE | F.ENVELOPE | F.BODY)),
    (b"UID FETCH 1:* (FLAGS)", c.Fetch(seq((1, 0)), F.FLAGS | F.UID, uid=True)),
    (b"FETCH *:4,2 UID", c.Fetch(seq((0, 4), (2, 2)), F.UID)),
    (b"FETCH 1 (FLAGS) (CHANGEDSINCE 7)", c.Fetch(ONE, F.FLAGS | F.MODSEQ, changed_since=7)),
    (b"FETCH 1 BODY[]", c.Fetch(ONE, F.NONE, (c.Section(b"BODY[]"),))),
    (b"FETCH 1 body.peek[]<0.100>", c.Fetch(ONE, F.NONE, (c.Section(b"BODY[]<0>", start=0, count=100, peek=True),))),
    (b"FETCH 1 BODY[1.2.MIME]", c.Fetch(ONE, F.NONE, (c.Section(b"BODY[1.2.MIME]", (1, 2), c.Text.MIME),))),
    (b"FETCH 1 BODY[2.header]", c.Fetch(ONE, F.NONE, (c.Section(b"BODY[2.HEADER]", (2,), c.Text.HEADER),))),
    (b"FETCH 1 (RFC822.SIZE RFC822.HEADER)",
     c.Fetch(ONE, F.SIZE, (c.Section(b"RFC822.HEADER", text=c.Text.HEADER, peek=True),))),
    (b'FETCH 1 (BODY.PEEK[HEADER.FIELDS (From "To")])',
     c.Fetch(ONE, F.NONE, (c.Section(b"BODY[HEADER.FIELDS (From To)]", text=c.Text.HEADER_FIELDS,
                                     fields=frozenset({b"from", b"to"}), peek=True),))),
    (b'FETCH 1 (BODY[HEADER.FIELDS ("x\\"y" {1}\r\n)])',
     c.Fetch(ONE, F.NONE, (c.Section(b'BODY[HEADER.FIELDS ("x\\"y" z)]', text=c.Text.HEADER_FIELDS,
                                     fields=frozenset({b'x"y', b"z"})),))),
    (b"FETCH 1 (BODY.PEEK[] BODY[])", c.Fetch(ONE, F.NONE, (c.Section(b"BODY[]"),))),
    (b"FETCH 1 (BODY[] BODY.PEEK[])", c.Fetch(ONE, F.NONE, (c.Section(b"BODY[]"),))),
    (b"STORE 1 FLAGS ()", c.Store(ONE, c.StoreMode.REPLACE, ())),
    (b"STORE 1 +FLAGS.SILENT (\\Seen $Junk)", c.Store(ONE, c.StoreMode.ADD, ("\\Seen", "$Junk"), silent=True)),
    (b"UID STORE 1 -flags \\Seen \\Deleted",
     c.Store(ONE, c.StoreMode.REMOVE, ("\\Seen", "\\Deleted"), uid=True)),
    (b"STORE 1 (UNCHANGEDSINCE 5) FLAGS (x)", c.Store(ONE, c.StoreMode.REPLACE, ("x",), unchanged_since=5)),
    (b"COPY 1:2 Trash", c.Copy(seq((1, 2)), "Trash")),
    (b"UID MOVE 1:2 Trash", c.Copy(seq((1, 2)), "Trash", move=True, uid=True)),
    (b"SEARCH ALL", c.Search(c.All())),
    (b"UID SEARCH UNSEEN DELETED",
     c.Search(c.And((c.Not(c.HasFlag("\\Seen")), c.HasFlag("\\Deleted"))), uid=True)),
    (b"SEARCH CHARSET utf-8 SUBJECT \xc3\xa9t\xc3\xa9" .replace(b"\xc3\xa9t\xc3\xa9", b'"\xc3\xa9t\xc3\xa9"'),
     c.Search(c.HeaderHas("subject", "été"))),
    (b"SEARCH OR FROM a NOT (TO b 1:3)",
     c.Search(c.Or(c.HeaderHas("from", "a"), c.Not(c.And((c.HeaderHas("to", "b"), c.Numbers(seq((1, 3)), False))))))),
    (b"SEARCH HEADER Message-ID <x@y>", c.Search(c.HeaderHas("message-id", "<x@y>"))),
    (b"SEARCH SINCE 1-Feb-2026 BEFORE \"03-mar-2026\"",
     c.Search(c.And((c.Arrived(c.Order.SINCE, date(2026, 2, 1)), c.Arrived(c.Order.BEFORE, date(2026, 3, 3)))))),
    (b"SEARCH SENTON 1-Feb-2026 LARGER 5 SMALLER 9",
     c.Search(c.And((c.Sent(c.Order.ON, date(2026, 2, 1)), c.Larger(5), c.Smaller(9))))),
    (b"SEARCH BODY x TEXT y", c.Search(c.And((c.BodyHas("x", False), c.BodyHas("y", True))))),
    (b"SEARCH KEYWORD $Junk UNKEYWORD b", c.Search(c.And((c.HasFlag("$Junk"), c.Not(c.HasFlag("b")))))),
    (b"SEARCH UID 5:* NEW OLD RECENT",
     c.Search(c.And((c.Numbers(seq((5, 0)), True), c.All(False), c.All(True), c.All(False))))),
    (b"SELECT INBOX (QRESYNC (7 9))", c.Select("INBOX", resync=Resync(7, 9))),
    (b"EXAMINE x (condstore qresync (7 9 1:5,8 (1,3 2,4)))",
     c.Select("x", read_only=True, condstore=True, resync=Resync(7, 9, seq((1, 5), (8, 8))))),
    (b"SELECT x (QRESYNC (7 9 (1,3 2,4)))", c.Select("x", resync=Resync(7, 9))),
    (b"SELECT x (QRESYNC (7 9 4))", c.Select("x", resync=Resync(7, 9, seq((4, 4))))),
    (b"UID FETCH 1 FLAGS (VANISHED CHANGEDSINCE 7 PARTIAL -1:-30)",
     c.Fetch(ONE, F.FLAGS | F.UID | F.MODSEQ, changed_since=7, uid=True, vanished=True, partial=(-1, -30))),
    (b"UID FETCH 1 FLAGS (partial 30:1)", c.Fetch(ONE, F.FLAGS | F.UID, uid=True, partial=(1, 30))),
    (b"FETCH $ FLAGS", c.Fetch(SAVED, F.FLAGS)),
    (b"UID MOVE $ Trash", c.Copy(SAVED, "Trash", move=True, uid=True)),
    (b"SEARCH $ SEEN", c.Search(c.And((c.Numbers(SAVED, False), c.HasFlag("\\Seen"))))),
    (b"SEARCH RETURN () ALL", c.Search(c.All(), returns=Returns(all=True))),
    (b"SEARCH return (min MAX Count) CHARSET UTF-8 ALL",
     c.Search(c.All(), returns=Returns(min=True, max=True, count=True))),
    (b"UID SEARCH RETURN (SAVE PARTIAL 1:10) UID $",
     c.Search(c.Numbers(SAVED, True), uid=True, returns=Returns(save=True, partial=(1, 10)))),
    (b"SEARCH OLDER 60 YOUNGER 5", c.Search(c.And((c.Within(60, older=True), c.Within(5, older=False))))),
    (b"SORT (SUBJECT REVERSE DATE) UTF-8 SEEN",
     c.Sort((Criterion(SortField.SUBJECT), Criterion(SortField.DATE, reverse=True)), c.HasFlag("\\Seen"))),
    (b"UID SORT RETURN (ALL COUNT) (DISPLAYFROM) us-ascii MODSEQ 4",
     c.Sort((Criterion(SortField.DISPLAYFROM),), c.ModseqFrom(4), True, True, Returns(all=True, count=True))),
    (b"THREAD references utf-8 ALL", c.Thread(Algorithm.REFERENCES, c.All())),
    (b'UID THREAD ORDEREDSUBJECT "UTF-8" ALL', c.Thread(Algorithm.ORDEREDSUBJECT, c.All(), uid=True)),
    (b"GETMETADATA INBOX /shared/comment", c.GetMetadata("INBOX", Wished(("/shared/comment",)))),
    (b"SETMETADATA INBOX (/shared/comment NIL)", c.SetMetadata("INBOX", (("/shared/comment", None),))),
    (b"SEARCH MODSEQ 9", c.Search(c.ModseqFrom(9), modseq=True)),
    (b'SEARCH NOT MODSEQ "/flags/\\\\draft" all 9', c.Search(c.Not(c.ModseqFrom(9)), modseq=True)),
    (b"SEARCH 2,4:7 UNDRAFT", c.Search(c.And((c.Numbers(seq((2, 2), (4, 7)), False), c.Not(c.HasFlag("\\Draft")))))),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), COMMANDS)
def test_commands(text: bytes, expected: c.Command) -> None:
    assert command(text, b"z") == expected


def test_every_command_of_the_grammar_is_in_the_table() -> None:
    seen = {type(expected) for _, expected in COMMANDS} | {c.Append, c.Replace}
    assert seen == set(c.Command.__args__)


def test_literals_stand_where_strings_may() -> None:
    assert command(b"LOGIN {3}\r\n {2+}\r\n", b"joe", b"pw") == c.Login(b"joe", Secret(b"pw"))
    assert command(b"SELECT {5}\r\n", b"inbox") == c.Select("INBOX")


def test_append() -> None:
    at = datetime(2026, 3, 1, 7, 30, 5, tzinfo=UTC)
    assert command(b"APPEND INBOX {2}\r\n", b"hi") == c.Append("INBOX", (c.Letter(b"hi"),))
    text = b'APPEND "INBOX" (\\Seen $x) " 1-Mar-2026 09:30:05 +0200" {2}\r\n'
    assert command(text, b"hi") == c.Append("INBOX", (c.Letter(b"hi", ("\\Seen", "$x"), at),))
    assert command(b"APPEND INBOX () {2}\r\n", b"hi") == c.Append("INBOX", (c.Letter(b"hi"),))
    assert bad(b'APPEND INBOX "quoted"') == "Expected a date-time"


def test_append_of_several_letters_binary_and_utf8() -> None:
    found = command(b"APPEND a (x) {1}\r\n ~{2}\r\n UTF8 (~{3+}\r\n)", b"1", b"22", b"333")
    letters = (c.Letter(b"1", ("x",)), c.Letter(b"22", binary=True), c.Letter(b"333", utf8=True))
    assert found == c.Append("a", letters)
    assert bad(b"APPEND a UTF8 ({1}\r\n)", b"x")
    assert bad(b"APPEND a {1}\r\n{1}\r\n", b"x", b"y")


def test_replace() -> None:
    assert command(b"REPLACE 4 a {1}\r\n", b"x") == c.Replace(seq((4, 4)), "a", c.Letter(b"x"))
    assert command(b"UID REPLACE * a (k) {1}\r\n", b"x") == c.Replace(seq((0, 0)), "a", c.Letter(b"x", ("k",)), True)
    for text in (b"REPLACE 1:2 a {1}\r\n", b"REPLACE 1,2 a {1}\r\n", b"REPLACE 1 a", b"REPLACE 1 a {1}\r\n {1}\r\n"):
        assert bad(text, b"x", b"y")


@pytest.mark.parametrize("enabled", [{"UTF8=ACCEPT"}, {"IMAP4REV2"}])
def test_names_are_in_utf8_once_that_was_enabled(enabled: set[str]) -> None:
    frame = Frame(b'a SELECT "R&AOk-sultats \xc3\xa9"')
    assert isinstance(parse(frame, LIMITS), c.Request)
    found = parse(frame, LIMITS, frozenset(enabled))
    assert isinstance(found, c.Request)
    assert found.command == c.Select("R&AOk-sultats é")


def test_a_charset_is_refused_where_all_is_utf8() -> None:
    frame = Frame(b"a SEARCH CHARSET UTF-8 ALL")
    assert isinstance(parse(frame, LIMITS, frozenset({"UTF8=ACCEPT"})), c.Bad)
    assert isinstance(parse(frame, LIMITS, frozenset({"IMAP4REV2"})), c.Request)


@pytest.mark.parametrize(
    "text",
    [
        b"SELECT x ()", b"SELECT x (QRESYNC)", b"SELECT x (QRESYNC ())", b"SELECT x (QRESYNC (0 1))",
        b"SELECT x (QRESYNC (1 0))", b"SELECT x (QRESYNC (1 1 *))", b"SELECT x (QRESYNC (1 1 $))",
        b"SELECT x (QRESYNC (1 1 1:2 1:2))", b"SELECT x (QRESYNC (1 1 1 (1)))", b"SELECT x (QRESYNC (1 1 (1 2) 3))",
        b"SELECT x (QRESYNC (1 1)) ", b"SELECT x (QRESYNC (1 1) QRESYNC (1 1))", b"SELECT x (CONDSTORE CONDSTORE)",
        b"SELECT x (QRESYNC (1 9999999999999999999))", b"SELECT x (QRESYNC (1 1 ))", b"SELECT x (QRESYNC (1 1 1 ))",
        b"FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)", b"UID FETCH 1 FLAGS (VANISHED)", b"FETCH 1 FLAGS (PARTIAL 1:2)",
        b"UID FETCH 1 FLAGS (CHANGEDSINCE 1 CHANGEDSINCE 1)", b"UID FETCH 1 FLAGS (X)", b"UID FETCH 1 FLAGS ()",
        b"UID FETCH 1 FLAGS (PARTIAL)", b"UID FETCH 1 FLAGS (PARTIAL 0:1)", b"UID FETCH 1 FLAGS (PARTIAL -1:2)",
        b"UID FETCH 1 FLAGS (PARTIAL 1:*)", b"UID FETCH 1 FLAGS (PARTIAL 1:4294967296)", b"FETCH $:2 FLAGS",
        b"FETCH 1,$ FLAGS", b"SEARCH RETURN (X) ALL", b"SEARCH RETURN MIN ALL", b"SEARCH RETURN (MIN)ALL",
        b"SEARCH RETURN (ALL PARTIAL 1:2) ALL", b"SEARCH RETURN (PARTIAL 5) ALL", b"SEARCH OLDER 0",
        b"SEARCH YOUNGER x", b"SEARCH OLDER", b"SORT", b"SORT (DATE) ALL", b"SORT () UTF-8 ALL",
        b"SORT (REVERSE) UTF-8 ALL",
        b"SORT (REVERSE REVERSE DATE) UTF-8 ALL", b"SORT (X) UTF-8 ALL", b"SORT DATE UTF-8 ALL", b"THREAD X UTF-8 ALL",
        b"THREAD REFERENCES ALL", b"THREAD REFERENCES UTF-8", b"UID ESEARCH ALL",
        b"", b"NOOP ", b"NOOP x", b"XYZZY", b"UID NOOP", b"UID", b"LOGIN", b"LOGIN a", b"LOGIN a b c", b"LOGIN a  b",
        b'LOGIN "a', b"LOGIN (a) b", b"AUTHENTICATE", b"ENABLE", b"ID", b"ID (", b"LIST", b'LIST ""', b"SELECT",
        b"SELECT INBOX (X)", b"SELECT INBOX ()", b"SELECT &AGE-", b'SELECT ""', b"STATUS INBOX", b"STATUS INBOX ()",
        b"STATUS INBOX (X)", b"FETCH 0 FLAGS", b"FETCH 1", b"FETCH 1 ()", b"FETCH 1 (FLAGS", b"FETCH 1 (ALL FLAGS)",
        b"FETCH 4294967296 FLAGS", b"FETCH 1: FLAGS", b"FETCH 1,,2 FLAGS", b"FETCH 1 BODY[0]", b"FETCH 1 BODY[1.]",
        b"FETCH 1 BODY[MIME]", b"FETCH 1 BODY[1HEADER]", b"FETCH 1 BODY[X]", b"FETCH 1 BODY[]<0.0>", b"FETCH 1 BODY[",
        b"FETCH 1 BODY[HEADER.FIELDS]", b"FETCH 1 BODY[HEADER.FIELDS ()]", b"FETCH 1 BODY[HEADER.FIELDS (a:b)]",
        b"FETCH 1 FLAGS (CHANGEDSINCE)", b"FETCH 1 FLAGS (CHANGEDSINCE 9223372036854775808)", b"FETCH 1 RFC822[]",
        b"STORE 1 FLAGS", b"STORE 1 FLAGS (a", b"STORE 1 +FLAG (a)", b"STORE 1 FLAGS (\\*)", b"STORE 1 FLAGS (a(b)",
        b"COPY 1", b"COPY x INBOX", b"SEARCH", b"SEARCH NOT", b"SEARCH OR a", b"SEARCH ()", b"SEARCH (ALL",
        b"SEARCH SINCE 31-Feb-2026", b"SEARCH SINCE 1-Foo-2026", b"SEARCH SINCE 1-Feb-0000", b"SEARCH LARGER x",
        b'SEARCH SUBJECT "\xff"', b"SEARCH ALL ", b"APPEND INBOX", b'APPEND INBOX "99-Feb-2026 00:00:00 +0000" {1}',
        b'LIST (X) "" *', b'LIST (RECURSIVEMATCH) "" *', b'LIST "" ()', b'LIST "" * RETURN', b'LIST "" * RETURN (X)',
        b'LIST "" * RETURN (STATUS ())', b"CREATE a (USE)", b"CREATE a (X)", b"CREATE a (USE (\\Sent)", b"GETQUOTA",
        b"SETACL a b C", b"SETACL a b", b"LISTRIGHTS a", b"FETCH 1 BINARY", b"FETCH 1 BINARY[TEXT]",
        b"FETCH 1 BINARY[0]",
        b"FETCH 1 BINARY.SIZE[1]<0.1>", b"FETCH 1 BINARY[1]<0.0>", b"FETCH 1 BINARY[1.HEADER]", b"SEARCH EMAILID",
        b"FETCH 1 BINARY[" + b".".join([b"1"] * 101) + b"]", b"SEARCH SAVEDON x",
        b'SEARCH MODSEQ "/flags/x" other 1', b"ID (" + b" ".join([b"NIL"] * 9) + b" x)",
        b"FETCH 1 BODY[" + b".".join([b"1"] * 101) + b"]", b"UID EXPUNGE", b"CREATE /", b"CREATE", b"RENAME a",
    ],
)  # fmt: skip
def test_what_is_no_command(text: bytes) -> None:
    assert bad(text)


@pytest.mark.parametrize("text", [b"", b"+ NOOP", b"( NOOP", b"\xe9 NOOP", b"x" * 129 + b" NOOP", b"{1} NOOP"])
def test_without_a_legible_tag_the_answer_is_untagged(text: bytes) -> None:
    found = parse(Frame(text), LIMITS)
    assert isinstance(found, c.Bad)
    assert found.tag in ("*", "x" * 128)


def test_an_unknown_charset_says_which_are_known() -> None:
    found = parse(Frame(b"a SEARCH CHARSET KOI8-R ALL"), LIMITS)
    assert found == c.Bad("a", "Unknown charset", "BADCHARSET (US-ASCII UTF-8)")


@pytest.mark.parametrize(("depth", "fits"), [(4, True), (5, True), (6, False)])
def test_nesting_is_limited(depth: int, fits: bool) -> None:
    for text in (b"(" * depth + b"ALL" + b")" * depth, b"NOT " * depth + b"ALL"):
        found = parse(Frame(b"a SEARCH " + text), LIMITS)
        assert isinstance(found, c.Request) is fits


def test_the_fields_of_id_are_limited() -> None:
    for pairs, fits in ((29, True), (30, True), (31, False)):
        text = b"ID (" + b" ".join([b'"k" NIL'] * pairs) + b")"
        assert isinstance(parse(Frame(b"a " + text), Limits()), c.Request) is fits


@pytest.mark.parametrize(("count", "fits"), [(9, True), (10, True), (11, False)])
def test_arguments_are_limited(count: int, fits: bool) -> None:
    for text in (
        b"STORE 1 FLAGS (" + b" ".join([b"k"] * count) + b")",
        b"SEARCH " + b" ".join([b"ALL"] * count),
        b"FETCH 1 (" + b" ".join([b"UID"] * count) + b")",
        b"ENABLE " + b" ".join([b"X"] * count),
    ):
        assert isinstance(parse(Frame(b"a " + text), LIMITS), c.Request) is fits


def test_unbounded_parentheses_before_login_are_refused_cheaply() -> None:
    """The attack of CVE-2026-27857: the depth is limited before anything is built."""
    found = parse(Frame(b"a SEARCH " + b"(" * 60_000), Limits())
    assert found == c.Bad("a", "Nested too deeply")
    assert isinstance(parse(Frame(b"a ID " + b"(" * 60_000), Limits()), c.Bad)


def test_an_eight_bit_user_name_is_taken_as_octets() -> None:
    """The attack of CVE-2019-10691."""
    assert command(b'LOGIN "\xff\xfe" x') == c.Login(b"\xff\xfe", Secret(b"x"))
    assert bad(b"LOGIN \xff\xfe x") == "Expected an atom or a string"


def test_the_second_of_sixty_is_no_error() -> None:
    found = command(b'APPEND INBOX " 1-Jan-2026 00:00:60 +0000" {1}\r\n', b"x")
    assert isinstance(found, c.Append)
    assert found.letters[0].internal_date == datetime(2026, 1, 1, 0, 0, 59, tzinfo=UTC)


def test_commands_with_secrets_do_not_print_them() -> None:
    assert "secret" not in repr(command(b"LOGIN joe secret"))
    assert "AGpv" not in repr(command(b"AUTHENTICATE PLAIN AGpvZQB4"))


WORDS = st.sampled_from(
    [text.split(b" ")[0] for text, _ in COMMANDS]
    + [b"UID", b"FETCH", b"SEARCH", b"1:*", b"(", b")", b"BODY[", b"]", b"<0.1>", b'"x"', b"{1}\r\n", b"NOT", b"OR"]
    + [b"FLAGS", b"\\Seen", b"INBOX", b"NIL", b"1", b"0", b"*", b"HEADER.FIELDS", b"CHARSET", b"SINCE", b"1-Feb-2026"]
)


@given(st.lists(WORDS, max_size=12), st.sampled_from([b" ", b""]), st.lists(st.binary(max_size=5), max_size=12))
def test_words_in_any_order_are_a_command_or_bad(words: list[bytes], glue: bytes, literals: list[bytes]) -> None:
    text = b"a " + glue.join(words)
    missing = [b"x"] * text.count(b"{1}\r\n")
    assert isinstance(parse(Frame(text, (*literals, *missing)), LIMITS), c.Request | c.Bad)


@given(st.binary(max_size=80))
def test_garbage_is_bad_or_a_command(octets: bytes) -> None:
    assert isinstance(parse(Frame(octets.replace(b"{", b"(")), LIMITS), c.Request | c.Bad)
