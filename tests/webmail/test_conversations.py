"""Conversations: the list, a thread, the answer with its draft and files, and why there may be none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mss.mail import content, headers, mime
from mss.model.account import Box, BoxState, Delegation, DelegationKind
from mss.model.delivery import DeliveryState
from mss.model.ins import INS
from mss.services import accounts, outbound, records
from mss.store import Uow
from mss.webmail import conversations
from mss.webmail.room import Recently, Room
from tests.webmail.webmail_world import (
    CHILD,
    DOCTOR,
    PDF,
    PNG,
    WARD,
    Browser,
    Hands,
    World,
)

TYPED = "Bonjour docteur,\nmerci de votre réponse & à bientôt <3"


async def test_a_box_without_letters_says_how_conversations_begin(browser: Browser) -> None:
    assert "lorsqu’un professionnel de santé vous écrit" in (await browser.get("/conversations")).text


async def test_a_letter_is_listed_unread_by_name(world: World, paul: Box, browser: Browser) -> None:
    await world.receive(world.letter(paul, "Vos résultats"))
    page = await browser.get("/conversations")
    assert "Vos résultats" in page.text
    assert DOCTOR.name in page.text
    assert "1 message non lu" in page.text
    assert page.title.startswith("(1) Messages – Paul DUPONT")


async def test_opening_a_conversation_marks_it_read(world: World, paul: Box, browser: Browser) -> None:
    await world.receive(world.letter(paul, text="Tout va bien."))
    await browser.get("/conversations")
    page = await browser.follow("Votre consultation")
    assert "Tout va bien." in page.text
    assert "Non lu" in page.text
    assert "(1)" not in page.title
    assert "non lu" not in (await browser.get("/conversations")).text


async def test_a_page_fetched_ahead_marks_nothing(world: World, paul: Box, browser: Browser) -> None:
    await world.receive(world.letter(paul))
    await browser.get("/conversations")
    await browser.get(browser.page.link("Votre consultation"), **{"Sec-Purpose": "prefetch"})
    assert "1 message non lu" in (await browser.get("/conversations")).text


async def test_no_page_shows_a_professional_address(world: World, paul: Box, browser: Browser) -> None:
    quoted = f"De : {DOCTOR.address.spec}\nou ward@autre.mssante.fr, pas jean@exemple.fr"
    draft = world.letter(paul, f"Écrire à {DOCTOR.address.spec}", quoted, cc=(WARD,), reply_to=(WARD,))
    await world.receive(replace(draft, html=f"<p>{DOCTOR.address.spec} <a href='mailto:x@chu.mssante.fr'>x</a></p>"))
    for path in ("/conversations", "/conversations/1", "/letters/1/layout", "/accesses", "/documents"):
        page = await browser.get(path)
        assert page.status == 200, path
        assert "mssante.fr" not in page.source, path
    page = await browser.get("/conversations/1")
    assert "[adresse masquée]" in page.text
    assert "jean@exemple.fr" in page.text


async def test_letters_stand_oldest_first(world: World, paul: Box, browser: Browser) -> None:
    first = world.letter(paul, text="Premier.")
    await world.receive(first)
    world.hands.move(minutes=1)
    second = world.letter(paul, "Re: Votre consultation", "Second.", in_reply_to=first.message_id)
    await world.receive(replace(second, references=(first.message_id,)))
    page = await browser.get("/conversations/1")
    assert page.text.index("Premier.") < page.text.index("Second.")
    assert "Aller au premier message non lu" in page.text


async def test_the_list_is_cut_into_pages(world: World, paul: Box, browser: Browser) -> None:
    for n in range(conversations.PER_PAGE + 1):
        world.hands.move(seconds=1)
        await world.receive(world.letter(paul, f"Sujet n° {n}"))
    page = await browser.get("/conversations")
    assert page.source.count('href="/conversations/') == conversations.PER_PAGE
    page = await browser.follow("Conversations plus anciennes")
    assert page.source.count('href="/conversations/') == 1
    assert "Sujet n° 0" in page.text
    assert "Sujet n° 20" in (await browser.follow("Conversations plus récentes")).text


@pytest.mark.parametrize("number", ["0", "abc", "-1", "99999999999999999999", "1.5", "%C2%B2"])
async def test_odd_page_numbers_are_no_fault(browser: Browser, number: str) -> None:
    assert (await browser.get(f"/conversations?page={number}")).status in (200, 404)


@pytest.mark.parametrize("path", ["/conversations/99", "/conversations/x", "/conversations/-1", "/conversations/%00"])
async def test_what_is_not_there_is_not_found(browser: Browser, path: str) -> None:
    page = await browser.get(path)
    assert page.status == 404
    assert "Il n’y a rien ici" in page.text


async def test_another_patients_conversation_is_not_there(world: World, paul: Box, browser: Browser) -> None:
    other = await world.box(CHILD, "Anne AUTRE")
    await world.receive(world.letter(other, "Secret"))
    for path in ("/conversations/1", "/letters/1/layout", "/letters/1/files/1", "/letters/1/documents/0"):
        page = await browser.get(path)
        assert page.status == 404, path
        assert "Secret" not in page.source


# -- answering ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def thread(world: World, paul: Box, browser: Browser) -> Browser:
    """Paul's browser on a conversation that he may answer."""
    await world.receive(world.letter(paul, cc=(WARD,)))
    await browser.get("/conversations/1")
    return browser


async def _sent(world: World, paul: Box) -> list[bytes]:
    """Return the letters that Paul sent, from the queue of deliveries."""

    def letters(uow: Uow) -> list[bytes]:
        shown = records.thread(uow, world.hosted, world.logins["paul"].id, paul.id, 1, world.hands.now)
        assert shown is not None
        return [letter.octets for letter in shown.letters if letter.direction == "sent"]

    return await world.store.read(letters)


async def test_an_answer_is_sent_inside_its_conversation(world: World, paul: Box, thread: Browser) -> None:
    page = await thread.press("Envoyer", text=TYPED)
    assert "Votre message a été envoyé." in page.text
    (octets,) = await _sent(world, paul)
    letter = mime.index(octets, world.config.limits)
    assert content.text_of(letter)[0].strip() == TYPED
    assert headers.decode_text(letter.header("subject") or b"").strip() == "Re: Votre consultation"
    assert b"<letter-1@chu.mssante.fr>" in (letter.header("in-reply-to") or b"")
    assert TYPED.splitlines()[1] in page.text
    assert "Votre message" in page.text


async def test_the_answer_waits_in_the_queue_for_all_chosen(world: World, paul: Box, thread: Browser) -> None:
    await thread.press("Envoyer", text=TYPED)
    queued = await world.store.read(outbound.entries, frozenset({DeliveryState.DUE}), 10, world.hands.now)
    assert {entry.delivery.recipient for entry in queued} == {DOCTOR.address, WARD.address}


async def test_only_those_who_are_ticked_get_the_answer(world: World, paul: Box, thread: Browser) -> None:
    boxes = {
        label.text_content(): label.get("for").removeprefix("to-")
        for label in thread.page.tree.iter("label")
        if (label.get("for") or "").startswith("to-")
    }
    assert set(boxes) == {DOCTOR.name, WARD.name}
    await thread.press("Envoyer", text=TYPED, to=boxes[WARD.name])
    queued = await world.store.read(outbound.entries, frozenset({DeliveryState.DUE}), 10, world.hands.now)
    assert {entry.delivery.recipient for entry in queued} == {WARD.address}


@pytest.mark.parametrize(
    ("fields", "field", "sentence"),
    [
        ({"text": TYPED, "to": []}, "to", "Choisissez au moins un destinataire."),
        ({"text": TYPED, "to": ["999", "x", "-1"]}, "to", "Choisissez au moins un destinataire."),
        ({"text": "  \r\n "}, "text", "Écrivez un message ou joignez un fichier."),
        ({"text": "x" * 20_001}, "text", "Le message dépasse 20000 caractères."),
    ],
)
async def test_what_is_missing_is_said_and_linked_to_its_field(
    world: World, paul: Box, thread: Browser, fields: dict[str, str | list[str]], field: str, sentence: str
) -> None:
    page = await thread.press("Envoyer", fields)
    assert page.status == 422
    assert page.title.startswith("Erreur : ")
    summary = page.tree.find_class("problems")[0]
    assert summary.get("role") == "alert"
    assert "autofocus" in summary.attrib
    assert [(a.text_content(), a.get("href")) for a in summary.iter("a")] == [(sentence, f"#{field}")]
    described = page.tree.get_element_by_id(field).get("aria-describedby").split()
    assert any(sentence in page.tree.get_element_by_id(one).text_content() for one in described)
    assert await _sent(world, paul) == []


async def test_a_text_of_the_longest_length_is_sent(world: World, paul: Box, thread: Browser) -> None:
    page = await thread.press("Envoyer", text="é" * conversations.TEXT_MAX_CHARACTERS)
    assert "Votre message a été envoyé." in page.text


async def test_a_draft_keeps_text_recipients_and_files(world: World, paul: Box, thread: Browser) -> None:
    page = await thread.press("Enregistrer le brouillon", text=TYPED, files=(("photo.png", PNG),))
    assert "Votre brouillon a été enregistré, avec ses fichiers." in page.text
    assert "photo.png" in page.text
    assert "Brouillon" in (await thread.get("/conversations")).text
    again = await thread.get("/conversations/1")
    assert again.tree.get_element_by_id("text").text.strip() == TYPED
    await thread.press("Envoyer")
    (octets,) = await _sent(world, paul)
    letter = mime.index(octets, world.config.limits)
    (part,) = content.attachments(letter)
    assert (part.filename, content.decoded(letter, part)) == ("photo.png", PNG)
    assert "Brouillon" not in (await thread.get("/conversations")).text


async def test_saving_again_changes_the_one_draft(world: World, thread: Browser) -> None:
    await thread.press("Enregistrer le brouillon", text="un", files=(("a.png", PNG),))
    page = await thread.press("Enregistrer le brouillon", text="deux", files=(("b.pdf", PDF),))
    assert page.tree.get_element_by_id("text").text.strip() == "deux"
    assert [name in page.text for name in ("a.png", "b.pdf")] == [True, True]


async def test_a_file_is_removed_and_the_text_stays(thread: Browser) -> None:
    await thread.press("Enregistrer le brouillon", text="un", files=(("a.png", PNG), ("b.pdf", PDF)))
    page = await thread.press("Retirer a.png", text="un, changé")
    assert "Le fichier a été retiré" in page.text
    assert [name in page.text for name in ("a.png", "b.pdf")] == [False, True]
    assert page.tree.get_element_by_id("text").text.strip() == "un, changé"


async def test_a_draft_is_dropped(thread: Browser) -> None:
    await thread.press("Enregistrer le brouillon", text="un")
    page = await thread.press("Supprimer le brouillon")
    assert "Votre brouillon a été supprimé." in page.text
    assert page.tree.get_element_by_id("text").text.strip() == ""


@pytest.mark.parametrize(
    ("name", "octets", "sentence"),
    [
        ("vide.pdf", b"", "« vide.pdf » est vide."),
        ("page.html", b"<html><script>alert(1)</script>", "« page.html » est d’un type"),
        ("faux.pdf", b"MZ\x90\x00\x03", "« faux.pdf » est d’un type"),
        ("image.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "« image.svg » est d’un type"),
        ("../../etc/x.exe", b"MZ\x90\x00", "« x.exe » est d’un type"),
    ],
)
async def test_files_that_cannot_go_are_named_and_the_rest_is_kept(
    thread: Browser, name: str, octets: bytes, sentence: str
) -> None:
    page = await thread.press("Envoyer", text=TYPED, files=((name, octets), ("bon.png", PNG)))
    assert page.status == 422
    assert sentence in " ".join(page.text.split("\u00a0")).replace("\u202f", " ")
    assert "bon.png" in page.text
    assert page.tree.get_element_by_id("text").text.strip() == TYPED


async def test_a_file_gets_the_extension_of_what_it_is(world: World, paul: Box, thread: Browser) -> None:
    await thread.press("Envoyer", text="", files=(("photo.exe", PNG), ("C:\\temp\\scan", PDF)))
    (octets,) = await _sent(world, paul)
    letter = mime.index(octets, world.config.limits)
    assert [(p.filename, p.content_type) for p in content.attachments(letter)] == [
        ("photo.exe.png", "image/png"),
        ("scan.pdf", "application/pdf"),
    ]


@pytest.mark.parametrize("more", [0, 1])
async def test_files_are_counted(thread: Browser, more: int) -> None:
    await thread.press("Enregistrer le brouillon", text="x", files=tuple((f"{n}.png", PNG) for n in range(9)))
    page = await thread.press(
        "Enregistrer le brouillon", text="x", files=tuple(("n.png", PNG) for _ in range(1 + more))
    )
    assert page.status == (422 if more else 200)
    assert ("le maximum est de 10 fichiers" in page.text.replace("\u00a0", " ")) is bool(more)


@pytest.mark.parametrize("over", [0, 1])
async def test_files_are_weighed_together(thread: Browser, monkeypatch: pytest.MonkeyPatch, over: int) -> None:
    half = PDF + b"%" * (500_000 - len(PDF))
    monkeypatch.setattr(Room, "files_max_octets", 1_000_000 - over, raising=False)
    room_of(thread).files_max_octets = 1_000_000 - over
    page = await thread.press("Enregistrer le brouillon", text="x", files=(("a.pdf", half), ("b.pdf", half)))
    assert page.status == (422 if over else 200)
    assert ("trop lourd" in page.text) is bool(over)


def room_of(browser: Browser) -> Room:
    """Reach the room inside the application, to give it another limit."""
    routes = browser.world.app._app.app.routes
    endpoint = next(route.endpoint for route in routes if route.path == "/documents")
    found = next(cell.cell_contents for cell in endpoint.__closure__ if isinstance(cell.cell_contents, Room))
    assert isinstance(found, Room)
    return found


async def test_a_body_past_the_limit_loses_nothing_that_was_typed(world: World, paul: Box, thread: Browser) -> None:
    await thread.press("Enregistrer le brouillon", text="avant", files=(("photo.png", PNG),))
    room_of(thread).files_max_octets = 100_000
    page = await thread.press("Envoyer", text=TYPED, to=[], files=(("a.pdf", PDF + b"%" * 700_000),))
    assert page.status == 413
    assert "ensemble, ils dépassent 100 ko" in page.text.replace("\u00a0", " ")
    assert page.tree.find_class("problems")[0].find(".//a").get("href") == "#files"
    assert page.tree.get_element_by_id("text").text.strip() == TYPED
    assert "photo.png" in page.text
    assert not page.tree.xpath("//input[@name='to'][@checked]")
    assert await _sent(world, paul) == []
    assert TYPED.splitlines()[0] in (await thread.get("/conversations/1")).text


@pytest.mark.parametrize("cut", ["text", "csrf", "box"])
async def test_a_body_past_the_limit_without_its_first_fields_changes_nothing(thread: Browser, cut: str) -> None:
    await thread.press("Enregistrer le brouillon", text="avant")
    room_of(thread).files_max_octets = 0
    fields = [(name, value) for name, value in thread.fields_of("Envoyer") if name != cut]
    files = (("a.pdf", PDF + b"%" * 700_000),)
    page = await thread.send("post", "/conversations/1", fields, files, enctype="multipart/form-data")
    assert page.status == (409 if cut == "box" else 413)
    assert ("C’est trop volumineux" in page.text) is (cut != "box")
    assert "avant" in (await thread.get("/conversations/1")).text


async def test_more_files_than_may_be_sent_are_named(thread: Browser) -> None:
    page = await thread.press("Envoyer", text=TYPED, files=tuple((f"f{n}.png", PNG) for n in range(12)))
    assert page.status == 422
    left_out = [one.text_content() for one in page.tree.find_class("problems")[0].iter("a")]
    assert [name for name in ("f9.png", "f10.png", "f11.png") if any(name in one for one in left_out)] == [
        "f10.png",
        "f11.png",
    ]
    assert page.tree.get_element_by_id("text").text.strip() == TYPED


async def test_whom_one_unticked_stays_unticked(thread: Browser) -> None:
    page = await thread.press("Envoyer", text=TYPED, to=[])
    assert page.status == 422
    assert not page.tree.xpath("//input[@name='to'][@checked]")


async def test_a_button_pressed_twice_sends_once(world: World, paul: Box, thread: Browser) -> None:
    fields = thread.fields_of("Envoyer")
    fields = [("text", TYPED) if name == "text" else (name, value) for name, value in fields]
    for _ in range(2):
        page = await thread.send("post", "/conversations/1", fields, enctype="multipart/form-data")
        assert "Votre message a été envoyé." in page.text
    assert len(await _sent(world, paul)) == 1
    world.hands.move(seconds=61)
    await thread.send("post", "/conversations/1", fields, enctype="multipart/form-data")
    assert len(await _sent(world, paul)) == 2


def test_what_was_sent_is_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mss.webmail.room._SENT_REMEMBERED_MAX", 2)
    hands = Hands()
    recently = Recently(hands)
    assert [recently.first(n) for n in (1, 2, 3, 3)] == [True, True, True, False]
    assert recently.first(1), "the oldest was forgotten"
    recently.forget(1)
    assert recently.first(1)
    hands.move(seconds=60)
    assert recently.first(3)


async def test_an_unknown_button_is_refused(thread: Browser) -> None:
    fields = [*thread.fields_of("Envoyer")[:-1], ("do", "explode")]
    page = await thread.send("post", "/conversations/1", fields, enctype="multipart/form-data")
    assert page.status == 400


# -- when an answer is not allowed -------------------------------------------------------------------------------------


async def test_an_ended_exchange_says_who_ended_it_before_anybody_types(
    world: World, paul: Box, thread: Browser
) -> None:
    world.hands.move(minutes=1)
    await world.receive(world.letter(paul, "[FIN]", "Au revoir.", in_reply_to="<letter-1@chu.mssante.fr>"))
    for path in ("/conversations/1", "/conversations/2"):
        page = await thread.get(path)
        if page.status == 404:
            continue
        assert f"{DOCTOR.name} a mis fin à vos échanges." in page.text
        assert "Vous pourrez de nouveau écrire" in page.text


async def test_a_letter_without_answer_says_so_with_its_own_words(world: World, paul: Box, browser: Browser) -> None:
    await world.receive(world.letter(paul, extra=(("X-MSS-MES", "FIN"),)))
    page = await browser.get("/conversations/1")
    assert "Ce message n’autorise pas la réponse." in page.text
    assert "a mis fin" not in page.text
    assert not page.tree.xpath("//button[.='Envoyer']")


async def test_a_draft_that_became_forbidden_opens_read_only_with_the_reason(
    world: World, paul: Box, thread: Browser
) -> None:
    await thread.press("Enregistrer le brouillon", text=TYPED, files=(("a.png", PNG),))
    old_form = thread.fields_of("Envoyer")
    world.hands.move(minutes=1)
    first = "<letter-1@chu.mssante.fr>"
    await world.receive(
        world.letter(paul, text="Fin.", in_reply_to=first, references=(first,), extra=(("X-MSS-MES", "FIN"),))
    )
    page = await thread.get("/conversations/1")
    typed = page.tree.get_element_by_id("text")
    assert (typed.text.strip(), "readonly" in typed.attrib) == (TYPED, True)
    assert "Il ne peut plus être envoyé" in page.text
    assert "a.png" in page.text
    # And the form that was still open in another tab: nothing is lost, nothing is sent.
    page = await thread.send("post", "/conversations/1", old_form, enctype="multipart/form-data")
    assert page.status == 422
    assert TYPED in page.tree.get_element_by_id("text").text
    assert await _sent(world, paul) == []
    await thread.press("Supprimer le brouillon")
    assert "Votre brouillon" not in (await thread.get("/conversations/1")).text


async def test_a_closed_box_reads_and_says_why_it_cannot_answer(world: World, paul: Box, thread: Browser) -> None:
    await world.store.write(accounts.set_box_state, paul.id, BoxState.CLOSED, "test", world.hands.now)
    page = await thread.get("/conversations/1")
    assert "Bonjour." in page.text
    assert "Cette boîte est fermée" in page.text
    assert not page.tree.xpath("//button[.='Envoyer']")


async def test_a_correspondent_out_of_reach_keeps_the_draft(world: World, paul: Box, thread: Browser) -> None:
    world.reachable = frozenset()
    page = await thread.press("Envoyer", text=TYPED)
    assert page.status == 422
    assert "n’est plus joignable" in page.text
    assert f"Rien n’a été envoyé : on ne peut pas écrire à {DOCTOR.name}" in page.text
    assert page.tree.get_element_by_id("text").text.strip() == TYPED
    assert await _sent(world, paul) == []


async def test_a_text_sent_after_the_session_ended_comes_back(world: World, thread: Browser) -> None:
    world.hands.move(minutes=16)
    page = await thread.press("Envoyer", text=TYPED)
    assert page.status == 401
    assert page.tree.get_element_by_id("text").text.strip() == TYPED
    page = await thread.get("/conversations")
    assert page.path == "/sign-in"


# -- other boxes -------------------------------------------------------------------------------------------------------


@pytest.fixture
async def child(world: World, paul: Box) -> Box:
    """A box that Paul acts for too."""
    box = await world.box(CHILD, "Léa DUPONT")
    right = Delegation(world.logins["paul"].id, box.id, DelegationKind.LEGAL_REPRESENTATIVE)
    await world.store.write(accounts.delegate, right, "test", world.hands.now)
    return box


async def test_several_boxes_are_switched_between(world: World, paul: Box, child: Box, browser: Browser) -> None:
    await world.receive(world.letter(child, "Vaccin de Léa"))
    page = await browser.get("/conversations")
    assert "Vaccin de Léa" not in page.text
    page = await browser.press("Afficher", other=str(child.id))
    assert "Vaccin de Léa" in page.text
    assert "Léa DUPONT" in page.title
    assert "Vous agissez pour une autre personne." in page.text


async def test_a_form_of_another_box_does_nothing(world: World, paul: Box, child: Box, browser: Browser) -> None:
    await world.receive(world.letter(paul))
    tab = await browser.get("/conversations/1")
    fields = [("text", "x") if name == "text" else (name, value) for name, value in browser.fields_of("Envoyer")]
    await browser.press("Afficher", other=str(child.id))
    token = browser.page.tree.xpath("//input[@name='csrf']")[0].get("value")
    fields = [("csrf", token) if name == "csrf" else (name, value) for name, value in fields]
    page = await browser.send("post", tab.path, fields, enctype="multipart/form-data")
    assert page.status == 409
    assert "Une autre boîte est ouverte" in page.text


async def test_a_box_of_nobody_is_not_switched_to(world: World, paul: Box, child: Box, browser: Browser) -> None:
    stranger = await world.box(INS.parse("274075176079430"), "Une AUTRE")
    await browser.get("/conversations")
    page = await browser.press("Afficher", other=str(stranger.id))
    assert page.status == 404


async def test_what_was_done_is_in_the_journal_that_the_patient_reads(world: World, paul: Box, thread: Browser) -> None:
    await thread.press("Envoyer", text=TYPED)
    page = await thread.get("/accesses")
    rows = [row.text_content() for row in page.tree.xpath("//tbody/tr")]
    assert any("Vous" in row and "Message envoyé" in row for row in rows)
    assert any("Vous" in row and "Messages ouverts" in row for row in rows)
    assert any("L’opérateur de messagerie chu.test" in row and "Message reçu" in row for row in rows)


@pytest.mark.parametrize(
    ("kind", "says"), [(DelegationKind.CAREGIVER, True), (DelegationKind.LEGAL_REPRESENTATIVE, False)]
)
async def test_a_caregivers_message_says_who_wrote_it(
    world: World, paul: Box, browser: Browser, kind: DelegationKind, says: bool
) -> None:
    helped = await world.box(CHILD, "Jeanne AIDÉE")
    right = Delegation(world.logins["paul"].id, helped.id, kind)
    await world.store.write(accounts.delegate, right, "test", world.hands.now)
    await world.receive(world.letter(helped))
    await browser.get("/conversations")
    await browser.press("Afficher", other=str(helped.id))
    await browser.follow("Votre consultation")
    page = await browser.press("Envoyer", text=TYPED)
    assert "Votre message a été envoyé." in page.text
    assert ("Ce message a été rédigé par Paul DUPONT, l’aidant de Jeanne AIDÉE." in page.text) is says
