"""What hangs on a letter: its laid-out form, its files, clinical documents, and filing them."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from mss.mail.compose import Attachment
from mss.model.account import Box
from mss.webmail import letters
from mss.webmail.filing import Wish, read_wish
from tests.webmail.webmail_world import (
    CHILD,
    DOCTOR,
    PDF,
    PNG,
    Browser,
    World,
    archive,
    file,
    level_1,
    level_3,
    section,
)

HOSTILE = """<html><head><style>body{background:url(http://evil.test/s)}</style><script>alert(1)</script></head>
<body onload="alert(2)" background="http://evil.test/b"><p style="position:fixed" onclick="x()">Bonjour <b>Paul</b></p>
<img src="http://evil.test/pixel.png"><a href="javascript:alert(3)">clic</a><a href="https://exemple.fr/">lien</a>
<form action="http://evil.test"><input name="password"></form><iframe src="http://evil.test"></iframe>
<svg onload="alert(4)"></svg><base href="http://evil.test/"><meta http-equiv="refresh" content="0;url=http://evil.test">
<a href="https://exemple.fr/?x=claire.martin@chu.mssante.fr">Écrire</a></body></html>"""


async def test_a_laid_out_letter_stands_in_a_sandboxed_frame(world: World, paul: Box, browser: Browser) -> None:
    await world.receive(world.letter(paul, text="Bonjour Paul", html=HOSTILE))
    page = await browser.get("/conversations/1")
    (frame,) = page.tree.iter("iframe")
    assert "allow-scripts" not in frame.get("sandbox")
    assert "allow-same-origin" not in frame.get("sandbox")
    assert frame.get("title") == f"Texte du message de {DOCTOR.name}"
    assert "Bonjour Paul" in page.tree.xpath("//details")[0].text_content()


async def test_its_html_is_harmless_and_under_its_own_policy(world: World, paul: Box, browser: Browser) -> None:
    await world.receive(world.letter(paul, html=HOSTILE))
    page = await browser.get("/letters/1/layout")
    for word in ("evil.test", "script", "alert", "onclick", "<form", "<input", "<iframe", "<svg", "<base", "refresh"):
        assert word not in page.source, word
    assert "Bonjour <b>Paul</b>" in page.source
    assert page.tree.xpath("//a[.='lien']/@href") == ["https://exemple.fr/"]
    assert page.tree.xpath("//a[.='lien']/@rel") == ["noopener noreferrer nofollow"]
    assert "Les images d’autres sites ne sont pas affichées" in page.text
    policy = page.response.headers["content-security-policy"]
    assert policy.startswith("sandbox ")
    assert "script-src" not in policy
    assert "default-src 'none'" in policy
    assert page.response.headers["referrer-policy"] == "no-referrer"


async def test_a_plain_letter_has_no_layout(world: World, paul: Box, browser: Browser) -> None:
    await world.receive(world.letter(paul, text="<b>pas du HTML</b> & voilà"))
    assert (await browser.get("/letters/1/layout")).status == 404
    page = await browser.get("/conversations/1")
    assert "<b>pas du HTML</b> & voilà" in page.text
    assert not list(page.tree.iter("iframe"))


async def _with_files(world: World, paul: Box, *attached: Attachment) -> None:
    await world.receive(world.letter(paul, attachments=attached))


async def test_files_are_listed_with_size_and_what_can_be_done(world: World, paul: Box, browser: Browser) -> None:
    await _with_files(world, paul, file("scan.pdf", PDF), file("tableau.xlsx", b"PK\x03\x04" + b"x" * 2000))
    page = await browser.get("/conversations/1")
    assert "scan.pdf" in page.text
    assert "Télécharger tableau.xlsx" in page.text
    assert "Voir tableau.xlsx" not in page.text
    assert "Classer dans mes documents scan.pdf" in page.text
    assert "Classer dans mes documents tableau.xlsx" not in page.text


@pytest.mark.parametrize(
    ("name", "octets", "shown_as", "inline"),
    [
        ("scan.pdf", PDF, "application/pdf", True),
        ("photo.png", PNG, "image/png", True),
        ("note.txt", "à lire".encode(), "text/plain; charset=utf-8", True),
        ("note.txt", "à lire".encode("cp1252"), "text/plain; charset=windows-1252", True),
        ("page.html", b"<script>alert(1)</script>", "application/octet-stream", False),
        ("menteur.pdf", b"<html><script>alert(1)</script>", "application/octet-stream", False),
        ("image.svg", b"<svg onload='alert(1)'/>", "application/octet-stream", False),
        ("texte.rtf", b"{\\rtf1 x}", "application/rtf", False),
    ],
)
async def test_a_file_is_shown_only_as_what_its_octets_are(
    world: World, paul: Box, browser: Browser, name: str, octets: bytes, shown_as: str, inline: bool
) -> None:
    await _with_files(world, paul, file(name, octets, "text/html"))
    await browser.get("/conversations/1")
    number = browser.page.link("Télécharger").split("/")[-2]
    page = await browser.get(f"/letters/1/files/{number}")
    assert page.response.content == octets
    headers = page.response.headers
    assert headers["content-type"] == shown_as
    assert headers["content-disposition"].startswith("inline" if inline else "attachment")
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    download = await browser.get(f"/letters/1/files/{number}/download")
    assert download.response.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize("number", ["9", "0", "1.9", "x", "..", "1.1.1.1", "1" * 400])
async def test_a_file_that_is_not_there_is_not_found(world: World, paul: Box, browser: Browser, number: str) -> None:
    await _with_files(world, paul, file("scan.pdf", PDF))
    assert (await browser.get(f"/letters/1/files/{number}")).status == 404


async def test_a_letter_inside_a_letter_is_named_and_never_given(world: World, paul: Box, browser: Browser) -> None:
    inner = b"From: claire.martin@chu.mssante.fr\r\nSubject: x\r\n\r\ny\r\n"
    await _with_files(world, paul, file("original.eml", inner), file("transmis", inner, "message/rfc822"))
    page = await browser.get("/conversations/1")
    assert page.text.count("Un message transféré") == 2
    assert "Télécharger" not in page.text
    for number in ("1", "2", "3"):
        assert (await browser.get(f"/letters/1/files/{number}")).status == 404
        assert (await browser.get(f"/letters/1/files/{number}/download")).status == 404


async def test_an_archive_is_shown_as_its_documents(world: World, paul: Box, browser: Browser) -> None:
    await _with_files(world, paul, archive(level_1("Compte rendu de séjour")))
    page = await browser.get("/conversations/1")
    assert "Documents médicaux" in page.text
    assert "Compte rendu de séjour 22 novembre 2026" in page.text
    page = await browser.follow("Ouvrir")
    assert page.tree.findtext(".//h1") == "Compte rendu de séjour"
    assert "Dr Claire MARTIN" in page.text
    assert page.link("Retour à la conversation") == "/conversations/1"
    pdf = await browser.get(page.link("Voir en PDF"))
    assert pdf.response.headers["content-type"] == "application/pdf"
    original = await browser.get(page.link("Télécharger tel que reçu"))
    assert original.response.content == level_1("Compte rendu de séjour")
    assert original.response.headers["content-type"] == "application/octet-stream"
    assert (await browser.get("/letters/1/documents/1")).status == 404


async def test_sections_are_shown_in_a_frame(world: World, paul: Box, browser: Browser) -> None:
    written = level_3(section("Conclusion", "<paragraph>Repos.</paragraph>"))
    await _with_files(world, paul, file("DOC.xml", written, "text/xml"))
    page = await browser.get("/letters/1/documents/0")
    (frame,) = page.tree.iter("iframe")
    assert "allow-scripts" not in frame.get("sandbox")
    inside = await browser.get(frame.get("src"))
    assert "<h2>Conclusion</h2><p>Repos.</p>" in inside.source
    assert inside.response.headers["content-security-policy"] == letters.FRAME_POLICY


async def test_a_document_that_is_not_filed_says_why(world: World, paul: Box, browser: Browser) -> None:
    other = level_1("Celui d’une autre", CHILD, "1.2.250.1.999.2")
    await _with_files(world, paul, archive(level_1(), other))
    page = await browser.get("/conversations/1")
    assert "Non ajouté à vos documents : il désigne un autre patient." in page.text.replace("\u00a0", " ")
    assert page.text.count("Non ajouté") == 1


# -- filing by hand ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def filing(world: World, paul: Box, browser: Browser) -> Browser:
    """Paul's browser on the form for filing a scan."""
    await _with_files(world, paul, file("Ordonnance du jour.pdf", PDF))
    await browser.get("/conversations/1")
    await browser.follow("Classer dans mes documents")
    return browser


async def test_a_file_is_filed_with_title_date_folder_and_category(filing: Browser) -> None:
    assert filing.page.tree.get_element_by_id("title").get("value") == "Ordonnance du jour"
    values = {"title": "Mon ordonnance", "date": "2026-11-20", "category": "ORD_SOIN", "folder": "Cœur"}
    page = await filing.press("Classer le document", values)
    assert "Le document a été ajouté à vos documents." in page.text
    for fact in ("Mon ordonnance", "20 novembre 2026", "Ordonnances et soins", "Cœur", "par vous"):
        assert fact in page.text, fact
    content = await filing.get(page.link("Voir"))
    assert content.response.content == PDF
    page = await filing.get("/documents")
    assert "1 document" in page.text
    assert "Mon ordonnance" in page.text


async def test_the_same_file_twice_gives_one_document(filing: Browser) -> None:
    form = filing.page.path
    for _ in range(2):
        await filing.get(form)
        page = await filing.press("Classer le document", category="ORD_SOIN")
        assert page.path == "/documents/1"
    assert "1 document" in (await filing.get("/documents")).text


@pytest.mark.parametrize(
    ("values", "field", "sentence"),
    [
        ({"title": " "}, "title", "Donnez un titre au document."),
        ({"title": "x" * 151}, "title", "Le titre est trop long."),
        ({"title": "a\x07b"}, "title", "Le titre est trop long."),
        ({"date": ""}, "date", "Indiquez la date du document"),
        ({"date": "2026-11-23"}, "date", "Indiquez la date du document"),
        ({"date": "1899-12-31"}, "date", "Indiquez la date du document"),
        ({"date": "20/11/2026"}, "date", "Indiquez la date du document"),
        ({"folder": "x" * 61}, "folder", "Le nom du dossier est trop long."),
        ({"category": ""}, "category", "Choisissez une catégorie."),
        ({"category": "SECRET"}, "category", "Choisissez une catégorie."),
    ],
)
async def test_what_is_missing_in_the_form_is_said(
    filing: Browser, values: dict[str, str], field: str, sentence: str
) -> None:
    page = await filing.press("Classer le document", {"category": "ORD_SOIN"} | values)
    assert page.status == 422
    (link,) = page.tree.find_class("problems")[0].iter("a")
    assert sentence in link.text_content().replace("\u00a0", " ")
    assert link.get("href") == f"#{field}"
    assert "0 document" not in (await filing.get("/documents")).text


@pytest.mark.parametrize(
    "values", [{"title": "x" * 150}, {"folder": "x" * 60}, {"date": "1900-01-01"}, {"date": "2026-11-22"}]
)
async def test_values_at_their_limits_pass(filing: Browser, values: dict[str, str]) -> None:
    page = await filing.press("Classer le document", {"category": "ORD_SOIN"} | values)
    assert page.path == "/documents/1"


async def test_a_lying_file_cannot_be_filed_and_the_page_says_so(world: World, paul: Box, browser: Browser) -> None:
    await _with_files(world, paul, file("faux.pdf", b"<html>"))
    page = await browser.get("/letters/1/files/2/file")
    assert "Ce fichier ne peut pas être classé" in page.text
    assert not page.tree.xpath("//input[@id='title']")


@pytest.mark.parametrize(("over", "offered"), [(0, True), (1, False)])
async def test_files_up_to_five_megabytes_can_be_filed(
    world: World, paul: Box, browser: Browser, over: int, offered: bool
) -> None:
    large = PDF + b"%" * (world.config.limits.filing_max_octets - len(PDF) + over)
    await _with_files(world, paul, file("grand.pdf", large))
    page = await browser.get("/letters/1/files/2/file")
    assert bool(page.tree.xpath("//input[@id='title']")) is offered


# -- documents ---------------------------------------------------------------------------------------------------------


async def test_documents_of_letters_file_themselves_and_open(world: World, paul: Box, browser: Browser) -> None:
    await _with_files(world, paul, archive(level_1(), level_3(section("Conclusion", "Repos."))))
    page = await browser.get("/documents")
    assert "2 documents" in page.text
    page = await browser.follow("Compte rendu structuré")
    assert "depuis le message d’un professionnel" in page.text
    (frame,) = page.tree.iter("iframe")
    assert "Repos." in (await browser.get(frame.get("src"))).text
    original = await browser.get(page.link("Télécharger tel que reçu"))
    assert original.response.headers["content-disposition"].startswith("attachment")
    await browser.get("/documents")
    page = await browser.follow("Compte rendu de séjour")
    assert (await browser.get(page.link("Voir"))).response.headers["content-type"] == "application/pdf"
    page = await browser.get("/accesses")
    assert "Document ouvert – Compte rendu de séjour" in page.text
    assert "Document classé" in page.text


async def test_documents_of_one_category(world: World, paul: Box, filing: Browser) -> None:
    await filing.press("Classer le document", category="ORD_SOIN")
    await world.receive(world.letter(paul, attachments=(archive(level_1()),)))
    await filing.get("/documents")
    page = await filing.press("Afficher", category="ORD_SOIN")
    assert "Ordonnance du jour" in page.text
    assert "Compte rendu de séjour" not in page.text
    assert "2 documents" in (await filing.get("/documents?category=NONSENSE")).text


@pytest.mark.parametrize(
    "path", ["/documents/9", "/documents/9/content", "/documents/9/page", "/documents/9/original", "/documents/x"]
)
async def test_a_document_that_is_not_there(browser: Browser, path: str) -> None:
    assert (await browser.get(path)).status == 404


async def test_a_pdf_is_no_page(filing: Browser) -> None:
    await filing.press("Classer le document", category="ORD_SOIN")
    assert (await filing.get("/documents/1/page")).status == 404


def test_the_wish_of_a_leap_day_is_read() -> None:
    typed = Wish("t", "2024-02-29", "", "ORD_SOIN")
    read = read_wish(typed, date(2026, 1, 1))
    assert not isinstance(read, tuple)
    assert read.date == date(2024, 2, 29)
    assert isinstance(read_wish(replace(typed, day="2023-02-29"), date(2026, 1, 1)), tuple)
