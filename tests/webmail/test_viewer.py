"""What is shown of letters that nobody wrote by hand: broken, huge, disguised; and the small pure tools beside."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.config import Limits
from mss.errors import Malformed
from mss.webmail import files, markup, narrative, viewer
from mss.webmail.files import Kind
from mss.webmail.veil import make_veil
from tests.webmail.webmail_world import PNG, level_1, level_3, section

LIMITS = Limits()
VEIL = make_veil("[masquée]", {"chu.test"})


@given(st.binary(max_size=2000))
def test_any_octets_are_a_letter_that_can_be_shown(octets: bytes) -> None:
    view = viewer.look(octets, LIMITS, VEIL)
    assert view.height in ("s", "m", "l", "xl")
    for one in view.files:
        found = viewer.file_of(octets, one.number, LIMITS, VEIL)
        assert (found is None) is one.is_letter


@pytest.mark.parametrize(("characters", "shortened"), [(200_000, False), (200_001, True)])
def test_an_endless_text_is_cut_and_the_page_can_say_so(characters: int, shortened: bool) -> None:
    view = viewer.look(b"Subject: x\r\n\r\n" + b"x" * characters, LIMITS, VEIL)
    assert (len(view.text), view.shortened) == (200_000, shortened)


@pytest.mark.parametrize(
    ("octets", "is_letter"),
    [
        (b"From: a@b.fr\r\nSubject: x\r\n\r\n", True),
        (b"Received: from x\r\n by y\r\nX-A: b\r\nReply-To: <a@b.fr>\r\n\r\n", True),
        (b"From someone Thu\nTo: a@b.fr\n\n", True),
        (b"Date: 3 mars\nObjet: bilan\n", False),
        (b"Cher confrere, ecrivez a a@b.fr", False),
        (b"\n\nFrom: a@b.fr\n", False),
    ],
)
def test_a_letter_is_told_by_how_it_begins(octets: bytes, is_letter: bool) -> None:
    assert bool(viewer._LETTER_BEGINS.match(octets)) is is_letter


def test_a_picture_of_the_layout_is_shown_inside_it_and_not_among_the_files() -> None:
    letter = (
        b"MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=b\r\n\r\n"
        b'--b\r\nContent-Type: text/html\r\n\r\n<p>x<img src="cid:logo@x" alt="Logo"></p>\r\n'
        b"--b\r\nContent-Type: image/png; name=logo.png\r\nContent-ID: <logo@x>\r\n"
        b"Content-Disposition: inline\r\n\r\n" + PNG + b"\r\n--b--\r\n"
    )
    assert viewer.look(letter, LIMITS, VEIL).files == ()
    found = viewer.layout_of(letter, LIMITS)
    assert found is not None
    assert 'src="data:image/png;base64,' in markup.harmless(*found)


# -- HTML ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ('<img src="http://evil.test/x.png" alt="a">', '<img alt="a">'),
        ('<img src="//evil.test/x.png">', "<img>"),
        ('<img src="cid:unknown">', "<img>"),
        ('<img src="data:image/svg+xml,x">', "<img>"),
        ('<a href="javascript:alert(1)">x</a>', '<a target="_blank" rel="noopener noreferrer nofollow">x</a>'),
        ('<a href=" java\tscript:alert(1)">x</a>', '<a target="_blank" rel="noopener noreferrer nofollow">x</a>'),
        ('<a href="mailto:a@chu.test">x</a>', '<a target="_blank" rel="noopener noreferrer nofollow">x</a>'),
        ('<p style="background:url(http://evil.test)" class="x" id="main">y</p>', "<p>y</p>"),
        ("<table background=http://evil.test><tr><td>1</table>", "<table><tbody><tr><td>1</td></tr></tbody></table>"),
        ('<img width="100000000" height="expression(1)" alt="x">', '<img alt="x">'),
        ("<svg><script>alert(1)</script></svg>z", "z"),
        ("<math><mtext></mtext></math>z", "z"),
        ("<object data=http://evil.test>x</object>z", "z"),
        ("<style>@import 'http://evil.test'</style>z", "z"),
        ("<blockquote cite='http://evil.test'>q</blockquote>", "<blockquote>q</blockquote>"),
        ("<noscript><p title='</noscript><img src=x onerror=alert(1)>'>", "<img>'&gt;"),
    ],
)
def test_html_is_harmless(written: str, kept: str) -> None:
    assert markup.harmless(written, {}) == kept


@given(st.text(alphabet="<>/=\"' abcdhijklmnoprstuvxscriptonerrorsrcimgstyle:&;#\t\n", max_size=300))
def test_no_markup_gets_a_script_or_another_place_through(written: str) -> None:
    cleaned = markup.harmless(written, {})
    tags = re.findall(r"<[^>]*>", cleaned)
    assert not any(re.match(r"<(?:script|style|iframe|object|form|link|meta|base|svg)\b", tag) for tag in tags)
    assert not any(re.search(r"\s(?:on\w+|style|background)=", tag) for tag in tags)
    assert markup.harmless(cleaned, {}) == cleaned


@pytest.mark.parametrize(("octets", "shown"), [(PNG, True), (b"<svg/>", False), (b"GIF89a", True), (b"", False)])
def test_only_pictures_come_inside(octets: bytes, shown: bool) -> None:
    assert ("data:image" in markup.harmless('<img src="cid:a%20b">', {"a b": octets})) is shown


def test_pictures_come_inside_up_to_a_limit() -> None:
    large = PNG + b"x" * (markup.PICTURES_MAX_OCTETS // 2)
    cleaned = markup.harmless('<img src="cid:a"><img src="cid:a">', {"a": large})
    assert cleaned.count("data:image/png") == 1


@pytest.mark.parametrize(
    ("written", "asks"),
    [
        ("<img src=http://x>", True),
        ('<IMG alt="" SRC = "https://x">', True),
        ("<img src=cid:x>", False),
        ("http://x", False),
    ],
)
def test_what_asks_for_pictures_elsewhere(written: str, asks: bool) -> None:
    assert markup.asks_outside(written) is asks


# -- addresses -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("claire@chu.test", "[masquée]"),
        ("<claire.martin@chu.test>, merci", "<[masquée]>, merci"),
        ("mailto:claire@CHU.test", "[masquée]"),
        ("x@service.chu.mssante.fr.", "[masquée]."),
        ("x@medecin.mssante.fr", "[masquée]"),
        ("jean@exemple.fr et a@b", "jean@exemple.fr et a@b"),
        ("https://x.fr/?to=claire@chu.test&y", "https://x.fr/?to=[masquée]&y"),
        ("sans", "sans"),
    ],
)
def test_professional_addresses_are_veiled(text: str, shown: str) -> None:
    assert VEIL(text) == shown


@given(st.text(alphabet="a@.-_<> chutesmn", max_size=200))
def test_nothing_that_was_veiled_stays(text: str) -> None:
    assert not re.search(r"[\w.-]@chu\.test(?![\w.-])", VEIL(text))


# -- clinical documents ----------------------------------------------------------------------------


def test_a_narrative_is_rebuilt() -> None:
    text = (
        '<paragraph>Un <content styleCode="Bold">mot</content><br/>fin &lt;b&gt;</paragraph>'
        '<list listType="ordered"><item>1<sup>er</sup></item></list>'
        "<table><caption>T</caption><thead><tr><th>A</th></tr></thead>"
        '<tbody><tr><td colspan="2" rowspan="9999999">B</td></tr></tbody></table>'
    )
    inner = section("Sous-section", "x")
    body = f"<component><section><title>Titre &amp; co</title><text>{text}</text>{inner}</section></component>"
    html = narrative.sections_html(level_3(body), LIMITS)
    assert html == (
        "<section><h2>Titre &amp; co</h2><p>Un <strong>mot</strong><br>fin &lt;b&gt;</p>"
        "<ol><li>1<sup>er</sup></li></ol>"
        "<table><caption>T</caption><thead><tr><th>A</th></tr></thead>"
        '<tbody><tr><td colspan="2">B</td></tr></tbody></table>'
        "<section><h3>Sous-section</h3>x</section></section>"
    )


@pytest.mark.parametrize(
    "text",
    [
        "<linkHtml href='javascript:alert(1)'>x</linkHtml>",
        "<content onclick='alert(1)' ID='main' style='x'>x</content>",
        "<script>x</script>",
        "<img src='http://evil.test'/>x",
        "<iframe src='http://evil.test'>x</iframe>",
    ],
)
def test_nothing_that_the_document_chose_becomes_an_attribute(text: str) -> None:
    html = narrative.sections_html(level_3(section("T", text)), LIMITS)
    assert html == "<section><h2>T</h2><span>x</span></section>" or "<span></span>x" in html
    assert "evil" not in html


def test_pictures_of_a_document_are_shown_when_they_are_some() -> None:
    import base64

    def media(name: str, octets: bytes) -> str:
        value = f'<value representation="B64" mediaType="image/png">{base64.b64encode(octets).decode()}</value>'
        return f'<entry><observationMedia ID="{name}">{value}</observationMedia></entry>'

    text = '<renderMultiMedia referencedObject="a b"><caption>Un ECG</caption></renderMultiMedia>'
    body = f"<component><section><text>{text}</text>{media('a', PNG)}{media('b', b'<svg/>')}</section></component>"
    html = narrative.sections_html(level_3(body), LIMITS)
    assert html.count("<img ") == 1
    assert 'alt="Un ECG"' in html


def test_a_document_that_is_a_file_has_no_narrative() -> None:
    assert narrative.sections_html(level_1(), LIMITS) == ""


@pytest.mark.parametrize("octets", [b"", b"<x/>", b"<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>", b"%PDF-"])
def test_what_is_no_clinical_document(octets: bytes) -> None:
    with pytest.raises(Malformed):
        narrative.sections_html(octets, LIMITS)


def test_deep_nesting_ends_in_text() -> None:
    deep = "<content>" * 90 + "fond" + "</content>" * 90
    html = narrative.sections_html(level_3(section("T", deep)), LIMITS)
    assert "fond" in html
    assert html.count("<span>") < 70


# -- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "safe"),
    [
        ("photo.png", Kind.PNG, "photo.png"),
        ("PHOTO.JPEG", Kind.JPEG, "PHOTO.JPEG"),
        ("photo.png", Kind.JPEG, "photo.png.jpg"),
        ("../../etc/passwd", None, "passwd"),
        ("C:\\x\\y.pdf", Kind.PDF, "y.pdf"),
        ("a\r\nSet-Cookie: x.txt", Kind.TEXT, "aSet-Cookie: x.txt"),
        ("\u202egnp.exe", Kind.PNG, "gnp.exe.png"),
        ("", Kind.PDF, "document.pdf"),
        ("...", None, "document"),
        (" .hidden ", None, "hidden"),
        ("x" * 300 + ".pdf", Kind.PDF, "x" * 116 + ".pdf"),
        ("e\u0301.txt", Kind.TEXT, "é.txt"),
    ],
)
def test_names_are_made_safe(name: str, kind: Kind | None, safe: str) -> None:
    assert files.safe_name(name, kind) == safe


@given(st.text(max_size=400), st.sampled_from([None, *Kind]))
def test_a_safe_name_is_short_printable_and_stays_safe(name: str, kind: Kind | None) -> None:
    safe = files.safe_name(name, kind)
    assert 0 < len(safe) <= files.NAME_MAX_CHARACTERS
    assert not set(safe) & set("/\\\0\r\n")
    header = files.content_disposition(safe)
    assert header.isascii()
    assert header.isprintable()
    assert header.count('"') == 2


@pytest.mark.parametrize(
    ("limit", "room"), [(25 * 1024 * 1024, 18_000_000), (10 * 1024 * 1024, 7_000_000), (1024, 0), (0, 0)]
)
def test_the_room_for_files_is_what_fits_in_a_letter(limit: int, room: int) -> None:
    assert files.room_for_files(limit) == room


def test_every_kind_has_an_extension_and_is_accepted() -> None:
    for kind in Kind:
        assert all(extension in files.ACCEPT.split(",") for extension in kind.extensions)
        assert files.kind_named(f"x{kind.extensions[0].upper()}") is kind
    assert files.kind_named("x.exe") is None
    assert files.kind_of(b"") is None
