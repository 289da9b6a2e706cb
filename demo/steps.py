"""The steps of the demonstration, each a promise that is verified: it returns what was verified, or fails."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path

import pyotp

from demo.browser import Browser, Page
from demo.clients import Login, context, expect, read_mailbox, submit, wait_for_letter
from demo.house import HOSPITAL, PATIENTS, REGION, Operator, World
from demo.letters import Document, closing, sample_document, strangers_letter, welcome
from mss import pki
from mss.clock import system_clock
from mss.config import Limits
from mss.model.address import Address, parse_domain
from mss.model.delivery import DeliveryState
from mss.services import accounts as account_services
from mss.services import outbound, records
from mss.store.store import Store

ANSWER = "Merci docteur, je viendrai mardi."


@dataclass(slots=True)
class Story:
    """What the steps remember of one another."""

    world: World
    document: Document
    browser: Browser | None = None
    first_letter: str = ""
    conversation: str = ""
    totp_secret: str = ""
    recovery_codes: list[str] = field(default_factory=list)

    @property
    def patient(self) -> Browser:
        """The patient's browser, signed in."""
        expect(self.browser is not None, "the patient has not signed in yet")
        assert self.browser is not None
        return self.browser


@dataclass(frozen=True, slots=True)
class Step:
    """A numbered promise."""

    title: str
    play: Callable[[Story], str]


def hospital_writes(story: Story) -> str:
    """The hospital's software hands in a structured first message by authenticated submission."""
    world, people = story.world, story.world.people
    octets = welcome(story.document, people.ins)
    story.first_letter = _message_id(octets)
    sender = f"accueil@{HOSPITAL}"
    recipients = [f"{people.ins.matricule}@{PATIENTS}", f"camille.durand@{REGION}"]
    port = world.hospital.port("submission")
    answer = submit(port, world.ca_file, people.hospital, sender, recipients, octets)
    return f"accepted with a receipt ({answer})"


def _message_id(octets: bytes) -> str:
    line = next(line for line in octets.split(b"\r\n") if line.lower().startswith(b"message-id:"))
    return line.split(b":", 1)[1].strip().decode()


def letter_crosses(story: Story) -> str:
    """The letter crosses to both operators over mutual TLS, and the hospital's queue says so."""
    letter = _doctor_reads(story)
    expect(letter["Message-ID"] == story.first_letter, "the doctor got another letter")
    received = " ".join(letter.get_all("Received", []))
    expect("ESMTPS" in received, "the letter did not come over TLS")
    expect(letter.get_content_type() == "multipart/mixed", "the attachments are missing")
    _expect_delivered(story.world.hospital, 2)
    return "two deliveries ended well; the doctor reads it over IMAP; Received says ESMTPS with our certificate"


def _doctor_reads(story: Story) -> Message[str, str]:
    world = story.world
    search = f'HEADER Message-ID "{story.first_letter}"'
    return wait_for_letter(world.region.port("imap"), world.ca_file, world.people.doctor, search, "the doctor's copy")


def _expect_delivered(operator: Operator, count: int) -> None:
    import time

    async def entries(store: Store) -> int:
        states = frozenset({DeliveryState.DELIVERED})
        return len(await store.read(outbound.entries, states, 100, system_clock()))

    end = time.monotonic() + 15
    while time.monotonic() < end:
        if operator.with_store(entries) >= count:
            return
        time.sleep(0.1)
    expect(False, f"{operator.title} has not delivered {count} letters")


def document_is_filed(story: Story) -> str:
    """The document is in the patient's dossier, once, under exactly the patient that it names."""
    people, operator = story.world.people, story.world.patients
    unique_id = story.document.attached.entry.unique_id

    async def look(store: Store) -> tuple[int, int]:
        now = system_clock()
        counts = []
        for ins in (people.ins, people.other_ins):
            box = await store.read(account_services.box_by_address, Address(ins.matricule, parse_domain(PATIENTS)), now)
            assert box is not None
            login = people.patient.login if ins is people.ins else people.other_patient.login
            checked = await store.read(account_services.credentials, login, "127.0.0.1", Limits(), now)
            assert checked.account is not None
            documents = await store.read(records.documents, checked.account.id, box.id, now)
            counts.append(sum(one.entry.unique_id == unique_id for one in documents))
        return counts[0], counts[1]

    mine, others = operator.with_store(look)
    expect(mine == 1, f"the document is filed {mine} times")
    expect(others == 0, "the document is in another patient's dossier")
    return "filed once by its uniqueId, in this dossier and in no other"


def patient_signs_in(story: Story) -> str:
    """The patient signs in with a password and a one-time code, and finds the letter unread."""
    world = story.world
    browser = Browser(world.patients.port("webmail"), context(world.ca_file))
    story.browser = browser
    page = _sign_in(browser, world.people.patient)
    story.totp_secret = _secret_on(page)
    page = browser.send(page.form("code"), code=pyotp.TOTP(story.totp_secret).now())
    expect(page.status == 200, f"the code was refused ({page.status})")
    page = browser.get("/conversations")
    links = page.links(r"/conversations/\d+")
    expect(len(links) >= 1, f"no conversation is listed ({page.path})")
    story.conversation = links[0]
    expect("Hôpital de la Démonstration" in page.text, "the sender's name is missing")
    return "password, code set up and checked; the conversation is listed as unread, by the hospital's name"


def _sign_in(browser: Browser, login: Login) -> Page:
    page = browser.get("/sign-in")
    page = browser.send(page.form("password"), login=login.login, password=login.password)
    expect(page.status == 200, f"the password was refused ({page.status})")
    return page


def _secret_on(page: Page) -> str:
    import re

    found = re.search(r'class="key"><code>([A-Z2-7 ]+)</code>', page.source)
    expect(found is not None, "the page shows no key for the codes")
    assert found is not None
    return found.group(1).replace(" ", "")


def patient_reads(story: Story) -> str:
    """The patient opens the conversation and the document; no page shows a professional's address."""
    browser = story.patient
    page = browser.get(story.conversation)
    expect("compte rendu" in page.text.lower(), "the letter's text is missing")
    documents = browser.get("/documents")
    links = documents.links(r"/documents/\d+.*")
    expect(links, "the document is not listed")
    opened = browser.get(links[0])
    expect(opened.status == 200, f"the document does not open ({opened.status})")
    _expect_no_addresses(browser)
    return f"read and opened; {len(browser.seen)} pages, none with a professional's address"


def _expect_no_addresses(browser: Browser) -> None:
    for page in browser.seen:
        for domain in (HOSPITAL, REGION):
            expect(f"@{domain}" not in page.source, f"the page {page.path} shows a professional's address")


def patient_answers(story: Story) -> str:
    """The patient answers inside the conversation, with a file."""
    browser = story.patient
    page = browser.get(story.conversation)
    photo = ("files", "ordonnance.txt", "text/plain", b"Paracetamol 1 g\r\n")
    page = browser.send(page.form("text"), files=[photo], text=ANSWER, do="send")
    expect(page.status == 200, f"the answer was refused ({page.status})")
    expect(ANSWER in page.text, "the answer is not in the conversation")
    return "sent; the answer stands in the conversation"


def hospital_reads(story: Story) -> str:
    """The hospital reads the answer over IMAP, in the ORG box, in the same thread."""
    world = story.world
    patient = f"{world.people.ins.matricule}@{PATIENTS}"
    port = world.hospital.port("imap")
    letter = wait_for_letter(port, world.ca_file, world.people.hospital, f'FROM "{patient}"', "the answer")
    expect(story.first_letter in (letter["References"] or ""), "the answer is not in the thread")
    texts = [part.get_payload(decode=True) or b"" for part in letter.walk() if part.get_content_type() == "text/plain"]
    expect(any(ANSWER.encode() in bytes(text) for text in texts if isinstance(text, bytes)), "the text is missing")
    names = [part.get_filename() for part in letter.walk()]
    expect("ordonnance.txt" in names, "the file is missing")
    return "in INBOX, with References to the first letter, the text and the file"


def answer_after_fin(story: Story) -> str:
    """The hospital ends the exchange with [FIN]: the page says why before anything is typed; a forced answer fails."""
    world, people, browser = story.world, story.world.people, story.patient
    before = browser.get(story.conversation)
    form = before.form("text")
    port, sender = world.hospital.port("submission"), f"accueil@{HOSPITAL}"
    recipients = [f"{people.ins.matricule}@{PATIENTS}"]
    submit(port, world.ca_file, people.hospital, sender, recipients, closing(people.ins, story.first_letter))
    page = _wait_for_page(browser, story.conversation, lambda page: 'name="text"' not in page.source)
    expect("a mis fin à vos échanges" in page.text, "the page does not say why")
    forced = browser.send(form, text="Encore une question", do="send")
    expect("Encore une question" not in _sent_texts(story), "the forced answer was sent")
    expect(forced.status in (200, 409, 422), f"the forced answer was answered {forced.status}")
    _expect_no_addresses(browser)
    return "reason shown, no field to type in; a forced answer is refused and goes nowhere"


def _wait_for_page(browser: Browser, path: str, ready: Callable[[Page], bool]) -> Page:
    import time

    end = time.monotonic() + 20
    while time.monotonic() < end:
        page = browser.get(path)
        if ready(page):
            return page
        time.sleep(0.15)
    return browser.get(path)


def _sent_texts(story: Story) -> str:
    world = story.world
    letters = read_mailbox(world.hospital.port("imap"), world.ca_file, world.people.hospital, "ALL")
    payloads = (part.get_payload(decode=True) for letter in letters for part in letter.walk())
    return " ".join(one.decode("utf-8", "replace") for one in payloads if isinstance(one, bytes))


def stranger_is_refused(story: Story) -> str:
    """A stranger with a good certificate that the trust list does not name is refused; so is a listed operator that
    speaks for another's domain."""
    world = story.world
    now = system_clock()
    folder = world.folder / "stranger"
    subject = {"CN": "mx.inconnu.example", "OU": "318310021399999", "O": "Inconnu", "ST": "Paris (75)", "C": "FR"}
    certificate, key = pki.issue(folder, world.authority, subject, ["mx.inconnu.example", "localhost"], now=now)
    unlisted = _try_mx(story, certificate, key, f"dr@{HOSPITAL}")
    expect(unlisted.startswith(("5", "4")), f"the stranger got {unlisted}")
    own = world.region.config
    region_files = own.path(own.tls.certificate_file), own.path(own.tls.key_file)
    spoofed = _try_mx(story, *region_files, f"accueil@{HOSPITAL}")
    expect(spoofed.startswith("5"), f"the spoofed letter got {spoofed}")
    return f"unlisted certificate: {unlisted[:60]}… | other operator's domain: {spoofed[:60]}…"


def _try_mx(story: Story, certificate: Path, key: Path, sender: str) -> str:
    """Try to bring a letter to the patient service's MX; returns the refusing answer, "250" when it was taken."""
    world = story.world
    tls = context(world.ca_file)
    tls.load_cert_chain(certificate, key)
    with smtplib.SMTP("localhost", world.patients.port("mx"), timeout=20) as client:
        client.starttls(context=tls)
        client.ehlo("demo.example")
        octets = strangers_letter(Address.parse(sender), world.people.ins)
        try:
            client.sendmail(sender, [f"{world.people.ins.matricule}@{PATIENTS}"], octets)
        except smtplib.SMTPResponseException as error:
            return f"{error.smtp_code} {_text(error.smtp_error)}"
        except smtplib.SMTPRecipientsRefused as error:
            code, text = next(iter(error.recipients.values()))
            return f"{code} {_text(text)}"
    return "250 taken"


def _text(answer: bytes | str) -> str:
    return answer.decode(errors="replace") if isinstance(answer, bytes) else answer


def rogue_is_refused(story: Story) -> str:
    """A rogue operator, whose certificate another authority signed in the hospital's name, does not get past TLS."""
    world = story.world
    now = system_clock()
    foreign = pki.make_authority(world.folder / "rogue-authority", now=now, name="ROGUE")
    subject = list(world.hospital.subject.attributes)
    certificate, key = pki.issue(world.folder / "rogue", foreign, subject, [f"mx.{HOSPITAL}", "localhost"], now=now)
    try:
        answer = _try_mx(story, certificate, key, f"accueil@{HOSPITAL}")
    except (ssl.SSLError, smtplib.SMTPServerDisconnected, ConnectionError) as error:
        return f"the TLS session ended ({type(error).__name__}), no SMTP command was read"
    expect(False, f"the rogue operator got {answer}")
    return ""


def other_patients_document(story: Story) -> str:
    """A document that names another patient refuses that patient's copy, and the hospital reads why in its mailbox."""
    world, people = story.world, story.world.people
    wrong = sample_document(people.other_ins, people.other_traits)
    octets = welcome(wrong, people.ins, subject="XDM/1.0/DDM+Document d'un autre")
    sender, recipients = f"accueil@{HOSPITAL}", [f"{people.ins.matricule}@{PATIENTS}"]
    submit(world.hospital.port("submission"), world.ca_file, people.hospital, sender, recipients, octets)
    port = world.hospital.port("imap")
    report = wait_for_letter(
        port, world.ca_file, people.hospital, 'HEADER Content-Type "delivery-status"', "the report"
    )
    fields = str(report)
    expect("904" in fields and "5.6.0" in fields, "the report does not name the reason")
    expect(report["Auto-Submitted"] is not None, "the report does not say that it is automatic")
    page = story.patient.get("/documents")
    expect(len(page.links(r"/documents/\d+.*")) == 1, "the other patient's document was filed")
    return "refused with 904 after DATA; a delivery report with the reason is in the hospital's mailbox; nothing filed"


STEPS = (
    Step("The hospital hands in a structured message with an XDM archive", hospital_writes),
    Step("It crosses to two operators over mutual TLS", letter_crosses),
    Step("Its document is filed in the patient's dossier", document_is_filed),
    Step("The patient signs in to the webmail", patient_signs_in),
    Step("The patient reads the letter and the document", patient_reads),
    Step("The patient answers", patient_answers),
    Step("The hospital reads the answer over IMAP", hospital_reads),
    Step("Refused: an answer after [FIN]", answer_after_fin),
    Step("Refused: a stranger, and a listed operator in another's name", stranger_is_refused),
    Step("Refused: a rogue operator with a forged certificate", rogue_is_refused),
    Step("Refused: a document about another patient", other_patients_document),
)
