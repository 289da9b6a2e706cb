"""The patient's pages of rights, masks, delegations, oppositions and first messages, as a browser walks them."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from mss.model.account import Box, DelegationKind
from mss.model.address import Address
from mss.model.ins import Traits
from mss.model.party import BoxKind, Party
from mss.model.rights import GrantKind, NoticeKind
from mss.services import governing, operators
from mss.services.governing import Choices
from tests.webmail.webmail_world import CHILD, Browser, World, archive, level_1


async def _listed(world: World, *parties: Party) -> None:
    generation = await world.store.write(operators.begin_directory, world.hands.now)
    await world.store.write(operators.add_parties, generation, parties, world.hands.now)
    await world.store.write(operators.publish_directory, generation, world.hands.now)


@pytest.fixture
async def written(world: World, paul: Box, browser: Browser) -> Browser:
    """Paul's browser; a doctor wrote, with a document."""
    await world.receive(world.letter(paul, attachments=(archive(level_1()),)))
    await _listed(world, Party(Address.parse("yann.legoff@chu.mssante.fr"), BoxKind.PER, "LE GOFF", "Yann", "Dr",
                               person_id="899700000009"))  # fmt: skip
    return browser


async def _grants(world: World, box: Box) -> list[tuple[GrantKind, str]]:
    found = await world.store.read(lambda uow: uow.rights.grants(box.id))
    return [(one.kind, one.grantee.name) for one in found]


async def test_somebody_who_wrote_is_blocked_and_let_again(world: World, paul: Box, written: Browser) -> None:
    page = await written.get("/rights")
    value = page.tree.xpath("//select[@id='who']/option[starts-with(@value, 'contact:')]/@value")[0]
    page = await written.press("Définir", who=value, kind="block")
    assert "C’est fait." in page.text
    assert await _grants(world, paul) == [(GrantKind.BLOCK, "Dr Claire MARTIN – CHU de Test")]
    assert "@" not in page.text
    page = await written.press("Retirer")
    assert "C’est retiré." in page.text
    assert await _grants(world, paul) == []


async def test_somebody_of_the_directory_is_named_without_an_address(world: World, paul: Box, written: Browser) -> None:
    page = await written.get("/rights?name=goff")
    value = page.tree.xpath("//select[@id='who']/option[starts-with(@value, 'entry:')]/@value")[0]
    assert "chu.mssante.fr" not in page.source
    page = await written.press("Définir", who=value, kind="each-time", category="BIOLOGIE")
    assert "Biologie" in page.text.replace("Résultats de biologie", "Biologie")
    assert await _grants(world, paul) == [(GrantKind.EACH_TIME, "Dr Yann LE GOFF")]


@pytest.mark.parametrize(
    ("who", "kind"), [("", "block"), ("entry:00", "block"), ("contact:1", ""), ("contact:999", "block")]
)
async def test_what_is_missing_is_said_and_nothing_set(
    world: World, paul: Box, written: Browser, who: str, kind: str
) -> None:
    await written.get("/rights?name=goff")
    page = await written.press("Définir", who=who, kind=kind)
    assert page.status == 422
    assert await _grants(world, paul) == []


async def test_switches_and_masks_are_kept(world: World, paul: Box, written: Browser) -> None:
    page = await written.get("/rights")
    ticked = page.tree.xpath("//input[@name='permits'][@checked]/@value")
    assert ticked == ["ETREAT", "BTG"]
    page = await written.press("Enregistrer ces choix", permits=["MASKED"], default_mask="yes", notify=[])
    assert page.tree.xpath("//input[@type='checkbox'][@checked]/@id") == ["permits-MASKED", "default-mask"]
    await written.get("/documents/1")
    page = await written.press("Masquer aux professionnels")
    assert "Le document est masqué" in page.text
    page = await written.press("Montrer aux professionnels")
    assert (await world.store.read(lambda uow: uow.dossiers.get(paul.id, 1))).masked is False  # type: ignore[union-attr]


async def test_notices_stand_above_the_accesses_once(world: World, paul: Box, written: Browser) -> None:
    await world.store.write(
        lambda uow: uow.rights.notify(paul.id, NoticeKind.EMERGENCY_ACCESS, "Dr X", world.hands.now, hook=True)
    )
    assert "Dr X a ouvert vos documents en urgence." in (await written.get("/accesses")).text
    assert "Dr X a ouvert" not in (await written.get("/accesses")).text


async def test_an_invitation_goes_from_hand_to_hand(world: World, paul: Box, written: Browser) -> None:
    await world.account("lea", await world.box(CHILD, "Léa DUPONT"))
    await written.get("/delegations")
    assert (await written.press("Créer une invitation", name="x@y", kind="caregiver")).status == 422
    page = await written.press("Créer une invitation", name="Léa", kind="caregiver")
    code = page.tree.xpath("//strong[@class='code']/text()")[0]
    assert re.fullmatch(r"[A-Z2-9]{4}-[A-Z2-9]{4}-[A-Z2-9]{4}", code)
    assert code not in (await written.get("/delegations")).source, "the code is shown once"
    hers = world.browser()
    await hers.enter("lea")
    await hers.get("/delegations")
    assert (await hers.press("Montrer l’invitation", code="AAAA-AAAA-AAAA")).status == 422
    page = await hers.press("Montrer l’invitation", code=code)
    assert "Paul DUPONT" in page.text
    page = await hers.press("Accepter")
    assert "Vous avez accepté l’invitation." in page.text
    page = await hers.press("Afficher", other=str(paul.id))
    assert "Vous agissez pour une autre personne." in page.text
    for path in ("/rights", "/documents/1"):
        page = await hers.get(path)
        assert "Masquer aux professionnels" not in page.text
    assert (await hers.get("/rights")).status == 404
    page = await written.get("/delegations")
    assert "Acceptée" in page.text
    await written.press("Retirer Léa")
    assert "Personne." in (await written.get("/delegations")).text


async def test_a_caregiver_leaves(world: World, paul: Box, written: Browser) -> None:
    child = await world.box(CHILD, "Léa DUPONT")
    from mss.model.account import Delegation
    from mss.services import accounts

    right = Delegation(world.logins["paul"].id, child.id, DelegationKind.CAREGIVER)
    await world.store.write(accounts.delegate, right, "test", world.hands.now)
    await written.get("/delegations")
    page = await written.press("Ne plus agir pour cette personne")
    assert "Vous n’agissez plus pour cette personne." in page.text
    assert "Léa DUPONT" not in page.text


async def test_a_patient_opposes_and_comes_back(world: World, paul: Box, written: Browser) -> None:
    await written.get("/mailbox")
    page = await written.press("Ne plus recevoir de messages")
    assert "Vous ne recevez plus de messages." in page.text
    assert not (await world.receive(world.letter(paul))).accepted
    page = await written.press("Recevoir de nouveau des messages")
    assert (await world.receive(world.letter(paul))).accepted


async def test_no_new_message_in_profile_thread(written: Browser) -> None:
    assert "Nouveau message" not in (await written.get("/conversations")).text
    page = await written.get("/conversations/new")
    assert "Répondez dans une conversation ouverte" in page.text
    assert not page.tree.xpath("//main//form")


@pytest.fixture
async def beginner(world: World, written: Browser) -> Browser:
    """The same in profile `contact`."""
    from mss.webmail.app import build

    policy = replace(world.config.policy, profile="contact")
    world.config = replace(world.config, policy=policy)
    world.app = build(world.store, world.config, world.hands, world.sign_in, lambda: world.outside())
    mine = world.browser()
    await mine.enter("paul")
    return mine


async def test_a_conversation_is_begun_with_somebody_who_wrote(world: World, beginner: Browser) -> None:
    await beginner.get("/conversations")
    await beginner.follow("Nouveau message")
    page = await beginner.press("Envoyer", text="Bonjour", subject="")
    assert page.status == 422
    assert "Dites en quelques mots de quoi il s’agit." in page.text
    assert page.tree.xpath("//textarea/text()")[0].strip() == "Bonjour"
    number = page.tree.xpath("//input[@name='to']/@value")[0]
    page = await beginner.press("Envoyer", to=number, subject="Une question")
    assert "Votre message a été envoyé." in page.text
    assert "Une question" in page.text
    assert (await beginner.get("/conversations/new")).tree.xpath("//textarea/text()") in ([], ["\n"])


async def test_a_pharmacy_is_found_by_name_and_written_to(world: World, beginner: Browser) -> None:
    await _listed(
        world,
        Party(Address.parse("pharmacie@chu.mssante.fr"), BoxKind.ORG, structure="PHARMACIE DES LICES", town="RENNES"),
        Party(Address.parse("lices@chu.mssante.fr"), BoxKind.ORG, structure="LABORATOIRE DES LICES"),
    )
    page = await beginner.get("/conversations/new?name=lices")
    assert "Apportez l’ordonnance papier" in page.text
    assert "LABORATOIRE" not in page.text
    assert "chu.mssante.fr" not in page.source
    page = await beginner.press("Choisir PHARMACIE")
    ticked = page.tree.xpath("//input[@name='to'][@checked]/@value")
    assert len(ticked) == 1
    page = await beginner.press("Envoyer", to=ticked, subject="Ordonnance", text="Bonjour")
    assert "Votre message a été envoyé." in page.text


async def test_whoever_comes_of_age_is_asked_again(world: World) -> None:
    born = world.hands.now.date() + timedelta(days=5)
    traits = Traits("DUPONT", "LEA", f"{born.year - 18}{born:%m%d}", "F")
    box = await world.box(CHILD, "Léa DUPONT", traits)
    parent = await world.account("parent", box, kind=DelegationKind.LEGAL_REPRESENTATIVE)
    await world.account("lea", box)
    choices = Choices(frozenset(), True, True)
    assert (await world.store.write(governing.choose, parent.id, box.id, choices, world.hands.now)).accepted
    world.hands.move(days=10)
    mine = world.browser()
    await mine.enter("lea")
    page = await mine.get("/rights")
    assert "Vous êtes majeur(e) : dites vous-même qui peut voir vos documents." in page.text
    await mine.press("Enregistrer ces choix")
    assert "Vous êtes majeur" not in (await mine.get("/rights")).text
