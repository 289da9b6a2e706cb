"""A document that did not file itself says why, and what the patient can do; what was filed is linked to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mss.config import PolicyConfig
from mss.dossier.make import make_cda
from mss.model.account import Box, BoxState, DelegationKind
from mss.model.document import Author, Confidentiality, PatientIdentity
from mss.model.filing import FilingReason
from mss.model.ins import INS, OID_NIR, OID_NIR_DEMO, OID_NIR_TEST, Traits
from mss.services import accounts
from mss.services.deliver import keep_document
from mss.webmail import reasons
from tests.webmail.webmail_world import (
    CHILD,
    PAUL,
    PDF,
    START,
    Browser,
    World,
    archive,
    copy_of,
    file,
    level_1,
    level_3,
    open_world,
    section,
)

TRAITS = Traits("DUPONT", "PAUL", "19790312", "M")
OWN = ((PAUL.matricule, OID_NIR_TEST),)


def document(
    identifiers: tuple[tuple[str, str], ...] = OWN, traits: Traits = TRAITS, unique_id: str = "1.2.250.1.999.1"
) -> bytes:
    """A clinical document with a PDF, about whom it says."""
    author = Author("Dr Claire MARTIN", organisation="CHU de Test")
    patient = PatientIdentity(identifiers, traits)
    return make_cda(patient=patient, unique_id=unique_id, title="Bilan", created_at=START, author=author)


ODD = {
    FilingReason.NO_INS: document(()),
    FilingReason.BAD_MATRICULE: document((("123", OID_NIR_TEST),)),
    FilingReason.OTHER_PATIENT: document(((CHILD.matricule, OID_NIR_TEST),)),
    FilingReason.SEVERAL_PATIENTS: document((*OWN, (CHILD.matricule, OID_NIR_TEST))),
    FilingReason.OID_DIFFERS: document(((PAUL.matricule, OID_NIR_DEMO),)),
    FilingReason.TRAITS_INCOMPLETE: document(traits=Traits("DUPONT", "", "19790312", "M")),
    FilingReason.TRAITS_DIFFER: document(traits=Traits("DUPOND", "PAUL", "19790312", "M")),
}
BESIDE = level_1("À côté", unique_id="1.2.250.1.999.8")


async def _letter_with(world: World, paul: Box, browser: Browser, *octets: bytes) -> None:
    """Let a letter with documents come in, and open its conversation."""
    await world.receive(world.letter(paul, attachments=(archive(*octets),)))
    await browser.get("/conversations/1")


def _plain(text: str) -> str:
    return text.replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("reason", "why", "what_to_do", "link"),
    [
        (
            FilingReason.NO_INS,
            "il ne porte pas votre identité nationale de santé",
            "classez vous-même sa version",
            True,
        ),
        (FilingReason.BAD_MATRICULE, "l’identité de santé qu’il porte n’est pas valide", "sa version lisible", True),
        (FilingReason.OTHER_PATIENT, "il désigne un autre patient", "il semble destiné à une autre personne", False),
        (FilingReason.SEVERAL_PATIENTS, "il désigne plusieurs patients", "qui ne concerne que vous", False),
        (FilingReason.OID_DIFFERS, "le type d’identité de santé qu’il porte n’est pas", "classez-le vous-même", True),
        (FilingReason.TRAITS_INCOMPLETE, "le nom ou la date de naissance qu’il porte est", "classez-le", True),
        (
            FilingReason.TRAITS_DIFFER,
            "le nom ou la date de naissance qu’il porte n’est pas le vôtre",
            "classez-le",
            True,
        ),
    ],
)
async def test_a_document_that_did_not_file_itself_says_why_and_what_to_do(
    world: World, paul: Box, browser: Browser, reason: FilingReason, why: str, what_to_do: str, link: bool
) -> None:
    await _letter_with(world, paul, browser, ODD[reason], BESIDE)
    text = _plain(browser.page.text)
    assert f"Non ajouté à vos documents : {why}" in text
    assert what_to_do in text
    assert ("Classer dans mes documents Bilan" in text) is link
    assert "Voir dans mes documents À côté" in text
    assert "Voir dans mes documents Bilan" not in text


async def test_a_document_with_two_contents_is_damaged(world: World, paul: Box, browser: Browser) -> None:
    first, second = file("A.xml", document(), "text/xml"), file("B.xml", document() + b"\n", "text/xml")
    await world.receive(world.letter(paul, attachments=(first, second)))
    page = await browser.get("/conversations/1")
    assert "Non ajouté à vos documents : il est endommagé." in _plain(page.text)
    assert "Demandez à l’expéditeur de le renvoyer." in page.text
    assert "Classer dans mes documents Bilan" not in page.text


async def test_a_test_identity_counts_in_test_mode_only(template: Path, tmp_path: Path) -> None:
    world = await open_world(copy_of(template, tmp_path / "real"), policy=PolicyConfig(test_identities=False))
    try:
        paul = await world.box(INS(PAUL.matricule, OID_NIR), "Paul DUPONT", TRAITS)
        await world.account("paul", paul)
        browser = world.browser()
        await browser.sign_in("paul")
        await _letter_with(world, paul, browser, document(), BESIDE)
        assert _plain(browser.page.text).count("Non ajouté à vos documents : il porte une identité de test.") == 2
    finally:
        world.sign_in.close()
        await world.store.close()


async def test_what_filed_itself_is_linked_to(world: World, paul: Box, browser: Browser) -> None:
    await _letter_with(world, paul, browser, document())
    assert "Ajouté à vos documents." in browser.page.text
    assert "Non ajouté" not in browser.page.text
    page = await browser.follow("Voir dans mes documents Bilan")
    assert (page.path, page.tree.findtext(".//h1")) == ("/documents/1", "Bilan")


async def test_what_came_before_is_linked_to_as_well(world: World, paul: Box, browser: Browser) -> None:
    await _letter_with(world, paul, browser, document())
    await world.receive(world.letter(paul, "Encore", attachments=(archive(document(), BESIDE),)))
    page = await browser.get("/conversations/2")
    assert page.link("Voir dans mes documents Bilan") == "/documents/1"


async def test_an_archive_that_cannot_be_read_is_told(world: World, paul: Box, browser: Browser) -> None:
    broken = archive(document()).octets[:-40]
    await world.receive(world.letter(paul, attachments=(file("IHE_XDM.ZIP", broken, "application/zip"),)))
    page = await browser.get("/conversations/1")
    assert "Un document médical de ce message n’a pas pu être lu." in page.text
    await world.receive(world.letter(paul, "Autre", attachments=(file("photos.zip", b"PK\x03\x04" + b"x" * 99),)))
    assert "n’a pas pu être lu" not in (await browser.get("/conversations/2")).text


def test_every_reason_has_its_sentences() -> None:
    assert set(reasons.UNFILED) == set(FilingReason) - {FilingReason.MATCHES}


# -- accepting a document --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reason", [FilingReason.OID_DIFFERS, FilingReason.TRAITS_INCOMPLETE, FilingReason.TRAITS_DIFFER]
)
async def test_a_document_in_other_words_is_filed_as_it_came_when_the_patient_accepts(
    world: World, paul: Box, browser: Browser, reason: FilingReason
) -> None:
    await _letter_with(world, paul, browser, ODD[reason])
    page = await browser.follow("Classer dans mes documents Bilan")
    assert "Cette boîte est celle de Paul DUPONT." in page.text
    if reason is FilingReason.TRAITS_DIFFER:
        assert "DUPOND" in page.text
        assert "12 mars 1979" in page.text
    page = await browser.press("C’est la bonne personne", category="CPT_REND", folder="Cœur")
    assert "Le document a été ajouté à vos documents." in page.text
    for fact in ("Bilan", "Comptes rendus", "Cœur", "par vous", "Dr Claire MARTIN"):
        assert fact in page.text, fact
    original = await browser.get(page.link("Télécharger tel que reçu"))
    assert original.response.content == ODD[reason]
    page = await browser.get("/conversations/1")
    assert "Ajouté à vos documents par vous." in page.text
    assert page.link("Voir dans mes documents Bilan") == "/documents/1"
    assert "Non ajouté" not in page.text


async def test_accepting_twice_gives_one_document(world: World, paul: Box, browser: Browser) -> None:
    await _letter_with(world, paul, browser, ODD[FilingReason.TRAITS_DIFFER])
    for _ in range(2):
        await browser.get("/letters/1/documents/0/file")
        page = await browser.press("C’est la bonne personne", category="CPT_REND")
        assert page.path == "/documents/1"
    assert "1 document" in (await browser.get("/documents")).text


@pytest.mark.parametrize(
    ("values", "field", "sentence"),
    [
        ({"category": ""}, "category", "Choisissez une catégorie."),
        ({"category": "CPT_REND", "folder": "x" * 61}, "folder", "Le nom du dossier est trop long."),
    ],
)
async def test_what_is_missing_is_said(
    world: World, paul: Box, browser: Browser, values: dict[str, str], field: str, sentence: str
) -> None:
    await _letter_with(world, paul, browser, ODD[FilingReason.TRAITS_DIFFER])
    await browser.follow("Classer dans mes documents Bilan")
    page = await browser.press("C’est la bonne personne", values)
    assert page.status == 422
    (link,) = page.tree.find_class("problems")[0].iter("a")
    assert (link.text_content(), link.get("href")) == (sentence, f"#{field}")
    assert "Aucun document" in (await browser.get("/documents")).text


@pytest.mark.parametrize("reason", [FilingReason.OTHER_PATIENT, FilingReason.SEVERAL_PATIENTS])
async def test_a_document_about_somebody_else_cannot_be_accepted(
    world: World, paul: Box, browser: Browser, reason: FilingReason
) -> None:
    other = ODD[reason].replace(b"1.2.250.1.999.1", b"1.2.250.1.999.2")
    await _letter_with(world, paul, browser, BESIDE, ODD[FilingReason.TRAITS_DIFFER], other)
    page = await browser.get("/letters/1/documents/2/file")
    assert "Non ajouté à vos documents" in page.text
    assert not page.tree.xpath("//form[@method='post']//select")
    await browser.get("/letters/1/documents/1/file")
    fields = browser.fields_of("C’est la bonne personne")
    page = await browser.send("post", "/letters/1/documents/2/file", [*fields, ("category", "CPT_REND")])
    assert "1 document" in (await browser.get("/documents")).text


async def test_the_readable_twin_is_filed_as_a_file_of_ones_own(world: World, paul: Box, browser: Browser) -> None:
    await _letter_with(world, paul, browser, ODD[FilingReason.NO_INS])
    page = await browser.follow("Classer dans mes documents Bilan")
    assert page.tree.get_element_by_id("title").get("value") == "Bilan"
    assert page.tree.get_element_by_id("date").get("value") == "2026-11-22"
    page = await browser.press("Classer le document", category="CPT_REND")
    assert page.path == "/documents/1"
    content = await browser.get(page.link("Voir"))
    assert content.response.headers["content-type"] == "application/pdf"
    page = await browser.get("/conversations/1")
    assert "Classé depuis ce message" in page.text
    assert page.link("Voir dans mes documents Bilan") == "/documents/1"


async def test_without_a_readable_twin_the_sender_is_to_be_asked(world: World, paul: Box, browser: Browser) -> None:
    bare = level_3(section("Motif", "Toux.")).replace(PAUL.matricule.encode(), b"123")
    await _letter_with(world, paul, browser, bare)
    assert "Demandez à l’expéditeur de le renvoyer avec votre identité nationale de santé." in browser.page.text
    assert "Classer dans mes documents Compte rendu structuré" not in browser.page.text
    page = await browser.get("/letters/1/documents/0/file")
    assert "Demandez à l’expéditeur de le renvoyer" in page.text


async def test_a_closed_box_files_nothing_more(world: World, paul: Box, browser: Browser) -> None:
    await _letter_with(world, paul, browser, ODD[FilingReason.TRAITS_DIFFER])
    await browser.follow("Classer dans mes documents Bilan")
    await world.store.write(accounts.set_box_state, paul.id, BoxState.CLOSED, "test", world.hands.now)
    page = await browser.press("C’est la bonne personne", category="CPT_REND")
    assert page.status == 422
    assert "Cette boîte est fermée" in page.text
    assert "Classer dans mes documents Bilan" not in (await browser.get("/conversations/1")).text


async def test_a_file_filed_by_hand_is_linked_to_from_its_letter(world: World, paul: Box, browser: Browser) -> None:
    await world.receive(world.letter(paul, attachments=(file("scan.pdf", PDF),)))
    page = await browser.get("/conversations/1")
    assert "Classé depuis ce message" not in page.text
    await browser.follow("Classer dans mes documents scan.pdf")
    await browser.press("Classer le document", category="ORD_SOIN", title="Mon scan")
    page = await browser.get("/conversations/1")
    assert "Classé depuis ce message" in page.text
    assert page.link("Voir dans mes documents Mon scan") == "/documents/1"


async def test_a_representative_sees_no_link_to_what_is_hidden_from_them(
    world: World, paul: Box, browser: Browser
) -> None:
    await _letter_with(world, paul, browser, document())
    [seen] = await world.store.read(lambda uow: uow.dossiers.list(paul.id))
    marks = frozenset({Confidentiality.INVISIBLE_REPRESENTATIVES})
    entry = replace(seen.entry, unique_id="1.2.3", title="Caché", confidentiality=marks)
    await world.store.write(keep_document, replace(seen, entry=entry), "test", world.hands.now)
    await world.account("anne", paul, kind=DelegationKind.LEGAL_REPRESENTATIVE)
    hers = world.browser()
    await hers.sign_in("anne")
    for mine, shows in ((browser, True), (hers, False)):
        page = await mine.get("/conversations/1")
        assert "Voir dans mes documents Bilan" in page.text
        assert ("Caché" in page.text) is shows
        assert ((await mine.get("/documents/2")).status == 200) is shows


async def test_both_versions_of_a_document_are_kept_and_lead_to_one_another(
    world: World, paul: Box, browser: Browser
) -> None:
    author = Author("Dr Claire MARTIN", organisation="CHU de Test")
    second = make_cda(
        patient=PatientIdentity(OWN, TRAITS), unique_id="1.2.250.1.999.2", title="Bilan corrigé", created_at=START,
        author=author, replaces="1.2.250.1.999.1", version=2,
    )  # fmt: skip
    await world.receive(world.letter(paul, attachments=(archive(document()),)))
    await world.receive(world.letter(paul, attachments=(archive(second),)))
    page = await browser.get("/documents")
    assert "Bilan corrigé" in page.text
    assert "Remplacé par une version plus récente" in page.text
    await browser.follow("Bilan corrigé")
    page = await browser.follow("Version précédente, que celle-ci a remplacée")
    assert page.path == "/documents/1"
    assert (await browser.follow("Il existe une version plus récente de ce document.")).path == "/documents/2"
