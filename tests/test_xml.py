"""Hostile XML is refused with a constant, honest XML is read whole, and written XML reads back."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss import xml
from mss.errors import Malformed
from mss.xml import GUARDED_DEPTH, Element, escape, parse, parse_without, serialise, tag

LAUGHS = b"""<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;">
<!ENTITY lol3 "&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;">]><lolz>&lol3;</lolz>"""


def read(octets: bytes, *, max_octets: int = 1_000_000, depth_max: int = 50) -> Element:
    return parse(octets, max_octets=max_octets, depth_max=depth_max)


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (LAUGHS, "XML with a document type declaration"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "XML with a document type declaration"),
        (b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><a>&x;</a>', "XML with a document type declaration"),
        (b'<!-- - --> <?x y?>\n<!DOCTYPE a [<!ENTITY % x "">]><a/>', "XML with a document type declaration"),
        (codecs.BOM_UTF8 + b"<!DOCTYPE a><a/>", "XML with a document type declaration"),
        (codecs.BOM_UTF16_LE + "<!DOCTYPE a><a/>".encode("utf-16-le"), "XML with a document type declaration"),
        (b"<a>\n<b>\n</a>", "not well-formed XML at line 3"),
        (b"<a>&unknown;</a>", "not well-formed XML at line 1"),
        (b"<a/><b/>", "not well-formed XML at line 1"),
        (b"<a b='1' b='2'/>", "not well-formed XML at line 1"),
        (b"<x:a/>", "not well-formed XML at line 1"),
        (b"", "not well-formed XML at line 1"),
        (b"hello", "not well-formed XML at line 1"),
        (b"<\0a\0/\0>\0", "not well-formed XML at line 1"),
        (b"\x4c\x6f\xa7\x94\x93", "not well-formed XML at line 1"),
        (codecs.BOM_UTF16_LE + b"<", "not well-formed XML at line 1"),
        (b"<a>\xff</a>", "not well-formed XML at line 1"),
        (b"<a>\0</a>", "not well-formed XML at line 1"),
        (b'<?xml version="1.0" encoding="UTF-7"?><a/>', "XML in an encoding that is not accepted"),
        (
            b'<?xml version="1.0"' + b" " * 500 + b'encoding = "EBCDIC-US"?><a/>',
            "XML in an encoding that is not accepted",
        ),
    ],
)
def test_what_is_refused(octets: bytes, text: str) -> None:
    with pytest.raises(Malformed) as caught:
        read(octets)
    assert str(caught.value) == text


def test_a_declaration_after_parsing_is_still_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xml, "_refuse_declarations", lambda octets: None)
    with pytest.raises(Malformed, match="document type declaration"):
        read(LAUGHS)


def test_a_declaration_in_a_comment_or_text_is_no_declaration() -> None:
    assert read(b"<!-- <!DOCTYPE a> --><a><![CDATA[<!DOCTYPE b>]]></a>").text == "<!DOCTYPE b>"


@pytest.mark.parametrize(
    ("encoding", "octets"),
    [
        ("no declaration", "<a>é€</a>".encode()),
        ("mark", codecs.BOM_UTF8 + "<a>é€</a>".encode()),
        ("utf-8", '<?xml version="1.0" encoding="utf-8"?><a>é€</a>'.encode()),
        ("latin-9", '<?xml version="1.0" encoding="ISO-8859-15"?><a>é€</a>'.encode("iso-8859-15")),
        ("windows", "<?xml version='1.0' encoding='windows-1252'?><a>é€</a>".encode("cp1252")),
        ("utf-16", '<?xml version="1.0" encoding="UTF-16"?><a>é€</a>'.encode("utf-16")),
        ("utf-16-be", codecs.BOM_UTF16_BE + "<a>é€</a>".encode("utf-16-be")),
    ],
)
def test_the_encodings_that_are_read(encoding: str, octets: bytes) -> None:
    assert read(octets).text == "é€", encoding


def nested(depth: int) -> bytes:
    return b"<a>" * depth + b"</a>" * depth


@pytest.mark.parametrize("depth", [1, 49, 50])
def test_depth_up_to_the_limit(depth: int) -> None:
    assert len(list(read(nested(depth)).descendants("a", ""))) == depth


@pytest.mark.parametrize("depth", [51, 300, 100_000])
def test_depth_above_the_limit(depth: int) -> None:
    with pytest.raises(Malformed, match=r"nested deeper|not well-formed"):
        read(nested(depth), max_octets=10_000_000)


def test_size_at_and_above_the_limit() -> None:
    octets = b"<a>" + b"x" * 93 + b"</a>"
    assert read(octets, max_octets=len(octets)).text == "x" * 93
    with pytest.raises(Malformed, match="XML larger than the limit"):
        read(octets, max_octets=len(octets) - 1)


def test_elements_at_and_above_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xml, "NODES_MAX", 12)
    assert len(list(read(b"<a>" + b"<b/>" * 10 + b"</a>").children())) == 10
    with pytest.raises(Malformed, match="more elements or attributes"):
        read(b"<a>" + b"<b/>" * 11 + b"</a>")


def test_attributes_at_and_above_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xml, "NODES_MAX", 3)
    assert read(b"<a b='' c='' d=''/>").attribute("d") == ""
    with pytest.raises(Malformed, match="more elements or attributes"):
        read(b"<a b='' c='' d='' e=''/>")


def test_a_text_of_ten_million_characters_is_read() -> None:
    octets = b"<a>" + b"A" * 10_000_001 + b"</a>"
    assert len(read(octets, max_octets=len(octets)).content) == 10_000_001


def test_the_depth_limit_holds_in_large_documents() -> None:
    octets = nested(60) + b" " * 10_000_001
    with pytest.raises(Malformed, match="nested deeper"):
        read(octets, max_octets=len(octets))


SAMPLE = b"""<r xmlns="urn:one" xmlns:t="urn:two" a=" 1 " t:b="2">
  <x>one <!-- a comment cannot cut --> text</x><x>two</x>
  <y><z k="v">deep</z></y><t:x>other</t:x><?pi?>
</r>"""


def test_the_helpers_find_by_path_in_one_namespace() -> None:
    root = read(SAMPLE)
    assert (root.name, root.namespace) == ("r", "urn:one")
    assert (root.attribute("a"), root.attribute("b", "urn:two"), root.attribute("none")) == ("1", "2", "")
    assert [x.text for x in root.find_all("x")] == ["one text", "two"]
    assert [x.text for x in root.find_all("x", "urn:two")] == ["other"]
    assert (root.text_at("y/z"), root.attribute_at("y/z", "k")) == ("deep", "v")
    assert (root.text_at("y/none"), root.attribute_at("none", "k"), root.find("none")) == ("", "", None)
    assert [child.name for child in root.children()] == ["x", "x", "y", "x"]
    assert [e.text for e in root.descendants("z", "urn:one")] == ["deep"]
    assert read(b"<a><b>1</b></a>").text_at("b") == "1"
    assert read(b"<a/>").namespace == ""


def test_an_element_shows_its_name_only() -> None:
    assert repr(read(b"<patient><family>DURAND</family></patient>")) == "Element(patient)"


def test_texts_cannot_become_markup() -> None:
    hostile = "</a><script>&\"'\x00\x1f\ud800]]>"
    octets = serialise(tag("a", {"b": hostile}, hostile))
    root = read(octets)
    assert root.content == root.attribute("b") == "</a><script>&\"'\ufffd\ufffd\ufffd]]>"


def test_white_space_in_attributes_is_kept() -> None:
    assert read(serialise(tag("a", {"b": "x\n\ty\rz"}))).attribute("b") == "x\n\ty\rz"


@pytest.mark.parametrize("name", ["", "1a", "a b", "a>", "a:b:c", ":a", "é"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(ValueError, match="not an XML name"):
        tag(name)
    with pytest.raises(ValueError, match="not an XML name"):
        tag("a", {name: ""})


@given(st.text(), st.text())
def test_what_is_written_reads_back(text: str, value: str) -> None:
    carried = "".join(
        c if c in "\t\n\r" or "\x20" <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff" else "\ufffd"
        for c in text
    )
    root = read(serialise(tag("a", {"b": value}, tag("c", None, text), "tail")))
    assert root.find_all("c")[0].content == carried
    assert "<" not in escape(value)
    assert '"' not in escape(value)


PIECES = [
    b"<a>", b"</a>", b"<!DOCTYPE", b"[", b"<!ENTITY x 'y'>", b"]>", b"&x;", b"<!--", b"-->", b"<?xml", b"?>",
    b" encoding='", b"utf-16'", b"\xff\xfe", b"\0", b"<![CDATA[", b"x",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_garbage_is_malformed_or_an_element(pieces: list[bytes]) -> None:
    text = ""
    try:
        root = read(b"".join(pieces))
    except Malformed as error:
        text = str(error)
    assert text.startswith(("not well-formed XML at line ", "XML ")) or root.name == "a"


# -- a root without one large child ------------------------------------------------------------------------------------

_HEAD = '<?xml version="1.0" encoding="UTF-8"?><d xmlns="urn:x" xmlns:y="urn:y"><id root="1"/>'


def without(octets: bytes, *, max_octets: int = 1_000_000, depth_max: int = GUARDED_DEPTH) -> Element | None:
    return parse_without(octets, "body", max_octets=max_octets, depth_max=depth_max)


def named(root: Element) -> list[str]:
    return [child.name for child in root.children()]


@pytest.mark.parametrize(
    "written",
    [
        "<body><a/></body>",
        "<body\n y:kind='1'><y:a>text</y:a><body/></body>",
        "<body ><![CDATA[</body>]]></body>",
        "<body><!-- </d> --></body><last/>",
        "<body><a/></body ><!-- the end -->",
        "<body><a/></body><!-- no body -->",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_a_child_that_is_cut_out_leaves_all_others(written: str, encoding: str) -> None:
    octets = f"{_HEAD}<t>é</t>{written}</d>".replace("UTF-8", encoding).encode(encoding)
    root = without(octets)
    assert root is not None
    assert named(root) == [name for name in named(read(octets)) if name != "body"]
    assert root.text_at("t") == "é"


@pytest.mark.parametrize(
    "written",
    [
        "",
        "<bodyOf/>",
        "<body/>",
        "<y:body><a/></y:body>",
        # Two of them, with what would be missed between them.
        "<body><a/></body><id root='2'/><body><a/></body>",
        "<body><a/></body><id root='2'/><body/>",
        # Not a child of the root.
        "<a><body><b/></body></a>",
        "<!-- <body> --><id root='2'/><body><a/></body>",
        "<!-- <body> <a/></body> -->",
        "<t><![CDATA[<body> <a/></body>]]></t>",
        "<y:body><!-- <body> </body> --></y:body>",
        # The last word of that name ends something else.
        "<body><a/></body><id root='2'/><a body='1'/>",
        "<body><a/></body><id root='2'/><!-- body -->",
        "<body xmlns:y='urn:z'><a/></body>",
        "<body a='>'><a/></body>",
    ],
)
def test_a_cut_that_cannot_be_proven_is_none(written: str) -> None:
    octets = f"{_HEAD}{written}</d>".encode()
    assert named(read(octets))[0] == "id"
    assert without(octets) is None


@pytest.mark.parametrize(
    "written",
    [
        "<body><a></body>",
        "<body>&unknown;</body>",
        "<body><z:a/></body>",
        "<body><a b='1' b='2'/></body>",
        "<body><a/></body></body>",
        "<body>\x01</body>",
        "<body><a/></body>",
        "<body" + "><a" * GUARDED_DEPTH + "/></body>",
    ],
)
def test_what_is_not_well_formed_is_left_to_the_parser(written: str) -> None:
    octets = f"{_HEAD}{written}<t></d>".encode()
    assert without(octets) is None
    with pytest.raises(Malformed):
        read(octets)


def test_a_cut_asks_for_the_bounds_that_the_parser_keeps() -> None:
    octets = f"{_HEAD}<body><a/></body></d>".encode()
    assert without(octets, max_octets=len(octets)) is not None
    assert without(octets, depth_max=GUARDED_DEPTH - 1) is None
    with pytest.raises(Malformed, match="larger than the limit"):
        without(octets, max_octets=len(octets) - 1)
    with pytest.raises(Malformed, match="document type declaration"):
        without(b"<!DOCTYPE d>" + octets.partition(b"?>")[2])


@pytest.mark.parametrize("depth", [200, 254])
def test_a_cut_lets_through_what_the_parser_does(depth: int) -> None:
    octets = f"{_HEAD}<body>{'<a>' * depth}{'</a>' * depth}</body></d>".encode()
    assert parse(octets, max_octets=10**6, depth_max=GUARDED_DEPTH).name == "d"
    assert without(octets) is not None


def test_the_parser_keeps_its_own_depth() -> None:
    deep = b"<a>" * 300 + b"</a>" * 300
    with pytest.raises(Malformed, match="nested deeper"):
        parse(deep, max_octets=10**6, depth_max=10**6)


_PIECES = st.lists(
    st.sampled_from(
        ["<body>", "</body>", "<body ", "<body/>", ">", "<a>", "</a>", "<id root='2'/>", "<!--", "-->", "<![CDATA[",
         "]]>", "body", " ", "<y:body>", "</y:body>", "'", "<?p", "?>", "&amp;", "x='", "</d>", "<d>"]
    ),
    max_size=12,
)  # fmt: skip


@given(_PIECES)
def test_a_cut_never_hides_anything(pieces: list[str]) -> None:
    octets = f"{_HEAD}{''.join(pieces)}</d>".encode()
    root = without(octets)
    if root is not None:
        names = named(read(octets))[::-1]
        names.remove("body")
        assert names == named(root)[::-1]
