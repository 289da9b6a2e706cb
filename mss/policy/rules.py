"""Every rule of the house in one table: name, SMTP reply (RFC 5321, RFC 3463) and the sentence a peer reads.

It decides nothing: `admission`, `exchange`, `routing` and `access` say when a rule applies. The sentences are
public: English, ASCII, what is the matter and what to do, no personal datum. `patient_text_key` is the key of the
sentence that a patient reads in the webmail.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from mss.policy.decision import Rule


def _patient(name: str, code: int, enhanced: str, text: str) -> Rule:
    """Make a rule that a patient can meet in the webmail."""
    return Rule(name, code, enhanced, text, f"rule.{name}")


# Who is at the other end (admission).
PEER_LISTED: Final = Rule("peer.listed", 250, "2.1.0")
PEER_NO_CERTIFICATE: Final = Rule(
    "peer.no-certificate", 530, "5.7.0", "Present the client certificate that the trust list names for your operator."
)
PEER_REVOKED: Final = Rule(
    "peer.revoked", 550, "5.7.1", "Your client certificate is revoked. Present a valid one."
)  # fmt: skip
PEER_REVOCATION_STALE: Final = Rule(
    "peer.revocation-stale", 451, "4.7.0", "Our revocation list for your certificate is out of date. Try again later."
)
PEER_REVOCATION_UNKNOWN: Final = Rule(
    "peer.revocation-unknown", 451, "4.7.0", "We cannot check now whether your certificate is revoked. Try again later."
)
PEER_NO_TRUST_LIST: Final = Rule(
    "peer.no-trust-list", 451, "4.7.0", "We have not read the trust list yet. Try again later."
)
PEER_STALE_TRUST_LIST: Final = Rule(
    "peer.stale-trust-list", 451, "4.7.0", "Our copy of the trust list is too old. Try again later."
)
PEER_CLOCK_BACK: Final = Rule(
    "peer.clock-back", 451, "4.3.5", "Our clock is wrong and we cannot judge the trust list. Try again later."
)
PEER_EXPIRED: Final = Rule(
    "peer.expired", 550, "5.7.1", "Your client certificate is outside its dates. Present a valid one."
)
PEER_NOT_LISTED: Final = Rule(
    "peer.not-listed",
    550,
    "5.7.1",
    "The trust list does not name your certificate. Ask its manager to list its subject for your domains.",
)
PEER_TLS_FAILED: Final = Rule(
    "peer.tls-failed", 554, "5.7.0", "The TLS handshake failed. Present a certificate of the trusted authorities."
)
PEER_TOO_FAST: Final = Rule(
    "peer.too-fast", 450, "4.7.1", "You send more letters than we take from one operator in a minute. Try again later."
)
PEER_PROBING: Final = Rule(
    "peer.probing",
    450,
    "4.7.1",
    "You asked for too many mailboxes that are not here. Look addresses up in the directory and try again later.",
)

# For whom it speaks: the envelope and the From header.
SENDER_LISTED: Final = Rule("sender.listed", 250, "2.1.0")
SENDER_NULL: Final = Rule("sender.null-reverse-path", 250, "2.1.0")
SENDER_FOREIGN_DOMAIN: Final = Rule(
    "sender.foreign-domain",
    550,
    "5.7.1",
    "The trust list does not let your certificate speak for the domain in MAIL FROM. Send from a domain of yours.",
)
SENDER_TOO_FAST: Final = Rule(
    "sender.too-fast", 450, "4.7.1", "This sender sends more letters than we take in a minute. Try again later."
)
SENDER_OWN: Final = Rule("sender.own", 250, "2.1.0")
SENDER_NOT_YOURS: Final = Rule(
    "sender.not-yours", 553, "5.7.1", "This sender address is not yours. Send from an address of a box you may act for."
)
SENDER_WITHIN_BUDGET: Final = Rule("sender.within-budget", 250, "2.1.0")
SENDER_OVER_BUDGET: Final = Rule(
    "sender.over-budget",
    450,
    "4.7.1",
    "You wrote to more recipients than one account may within an hour. Send the others later.",
)
SENDER_FIELD_NOT_YOURS: Final = Rule(
    "sender.field-not-yours",
    553,
    "5.7.1",
    "The Sender field names no readable address, or one that is not yours. Leave it out, or name a box of yours.",
)
AUTHOR_LISTED: Final = Rule("author.listed", 250, "2.6.0")
AUTHOR_MISSING: Final = Rule(
    "author.missing", 550, "5.6.0", "The letter has no readable From field. Name its author in one From field."
)
AUTHOR_SEVERAL: Final = Rule(
    "author.several", 550, "5.6.0", "The letter names several authors. Name exactly one address in From."
)
AUTHOR_FOREIGN_DOMAIN: Final = Rule(
    "author.foreign-domain",
    550,
    "5.7.1",
    "The trust list does not let your certificate speak for the domain in From. Send from a domain of yours.",
)
AUTHOR_FOREIGN_REPORT: Final = Rule(
    "author.foreign-report",
    550,
    "5.7.1",
    "The From field of this report is of no domain that your certificate is listed for. Use postmaster@ a domain of "
    "yours.",
)
AUTHOR_UNNAMED: Final = Rule(
    "author.unnamed",
    550,
    "5.6.0",
    "Patients see the sender's name, never an address. Put a display name without an address into From.",
)

# Where it goes (routing).
ROUTE_LOCAL_PROFESSIONAL: Final = Rule("route.local-professional", 250, "2.1.5")
ROUTE_LOCAL_PATIENT: Final = Rule("route.local-patient", 250, "2.1.5")
ROUTE_RELAY: Final = Rule("route.relay", 250, "2.1.5")
ROUTE_OUTSIDE: Final = _patient(
    "route.outside",
    550,
    "5.7.1",
    "This domain is not in the trust space and no letter may leave it. Use the recipient's secure address.",
)
ROUTE_NO_TRUST_LIST: Final = _patient(
    "route.no-trust-list",
    451,
    "4.7.0",
    "We have not read the trust list yet and know no other domain. Try again later.",
)
ROUTE_NOT_HERE: Final = Rule(
    "route.not-here", 550, "5.7.1", "We do not host this domain and relay for nobody. Send to its own operator."
)

# Whether a box takes the letter (exchange, at RCPT).
BOX_RECEIVES: Final = Rule("box.receives", 250, "2.1.5")
BOX_UNOPENED: Final = Rule("box.unopened", 250, "2.1.5")
BOX_OPPOSED_TO_PATIENTS: Final = _patient(
    "box.opposed-to-patients",
    550,
    "5.7.1",
    "The owner of this mailbox takes no letters from patients. Reach them by other means.",
)
RECIPIENT_RELAYED: Final = Rule("recipient.relayed", 250, "2.1.5")
RECIPIENT_UNKNOWN: Final = Rule(
    "recipient.unknown", 550, "5.1.1", "There is no such mailbox here. Look the address up in the directory."
)
BOX_CLOSED: Final = _patient(
    "box.closed", 550, "5.2.1", "This mailbox is closed. Look the recipient up in the directory."
)
INS_MALFORMED: Final = Rule(
    "ins.malformed",
    553,
    "5.1.3",
    "The part before @ is not a valid matricule INS of 15 characters. Build the address from a qualified INS.",
)
INS_TEST_IDENTITY: Final = Rule(
    "ins.test-identity",
    550,
    "5.7.1",
    "This mailbox belongs to a test identity and takes no letters here. Use a real patient's address.",
)
PATIENT_UNKNOWN: Final = Rule(
    "patient.unknown",
    550,
    "5.1.1",
    "There is no mailbox for this patient. Check the INS or reach the patient otherwise.",
)
PATIENT_OPPOSED: Final = Rule(
    "patient.opposed", 550, "5.7.1", "This patient opposed having a mailbox. Reach the patient by other means."
)
PATIENT_CLOSED: Final = Rule(
    "patient.closed", 550, "5.2.1", "This patient closed the mailbox. Reach the patient by other means."
)
PATIENT_TO_PATIENT: Final = _patient(
    "patient.to-patient", 550, "5.7.1", "Patients cannot write to patients. Write to a professional who wrote to you."
)
BOX_FULL: Final = _patient(
    "box.full", 452, "4.2.2", "This mailbox holds as much as it may. Try again later, or tell its holder."
)
LETTER_TOO_LARGE: Final = _patient(
    "letter.too-large", 552, "5.3.4", "The letter is larger than 25 MiB or than this server takes. Send less."
)
RECIPIENT_TOO_MANY: Final = Rule(
    "recipient.too-many",
    452,
    "4.5.3",
    "The letter has more recipients than one transaction takes. Send it to the others in another one.",
)

# How a letter's octets came (the listener, after DATA).
LETTER_BARE_LINE_END: Final = Rule(
    "letter.bare-line-end",
    550,
    "5.6.0",
    "The letter has a bare CR, a bare LF or a NUL. End lines with CR LF and encode other octets.",
)
LETTER_TOO_MANY_AT_ONCE: Final = Rule(
    "letter.too-many-at-once", 452, "4.3.1", "We are receiving too many large letters at once. Try again later."
)
LETTER_HEADER_TOO_LARGE: Final = Rule(
    "letter.header-too-large", 552, "5.3.4", "The letter's header has more fields or octets than we read. Send less."
)
LETTER_LOOP: Final = Rule(
    "letter.loop", 554, "5.4.6", "The letter goes round in circles: it has too many Received fields. Mend its route."
)

# What a letter contains (exchange, after DATA).
LETTER_SOUND: Final = Rule("letter.sound", 250, "2.6.0")
LETTER_SEVERAL_PATIENTS: Final = Rule(
    "letter.several-patients",
    554,
    "5.7.1",
    "One letter concerns one patient, and this one is addressed to several. Send one letter to each of them.",
)
DOCUMENT_OTHER_PATIENT: Final = Rule(
    "document.other-patient",
    554,
    "5.6.0",
    "904 INS mismatch: the documents name another patient than the recipient. Check the identity and send again.",
)
DOCUMENT_INVISIBLE_TO_PATIENT: Final = _patient(
    "document.invisible-to-patient",
    550,
    "5.7.1",
    "A document is marked INVISIBLE_PATIENT and may not reach the patient yet. Change the mark or leave it out.",
)
DOCUMENT_INVISIBLE_TO_REPRESENTATIVES: Final = _patient(
    "document.invisible-to-representatives",
    550,
    "5.7.1",
    "A document is marked INVISIBLE_REPRESENTANTS_LEGAUX and representatives read this mailbox. Leave it out.",
)
ATTACHMENT_NOT_FILEABLE: Final = _patient(
    "attachment.not-fileable",
    550,
    "5.6.1",
    "Only PDF, JPEG, PNG, TIFF, RTF and plain text up to 5 MB can be filed. Keep this file elsewhere.",
)

DOCUMENT_NOT_YOURS: Final = _patient(
    "document.not-yours",
    550,
    "5.6.0",
    "The patient cannot accept this document: it is damaged, or does not name the patient alone. Send it again.",
)

# What an antivirus found (screening).
CONTENT_CLEAN: Final = Rule("content.clean", 250, "2.6.0")
CONTENT_NOT_LOOKED_AT: Final = Rule("content.not-looked-at", 250, "2.6.0")
CONTENT_INFECTED: Final = _patient(
    "content.infected", 550, "5.7.1", "Our antivirus found something harmful. Clean your system and send it again."
)
CONTENT_ENCRYPTED: Final = _patient(
    "content.encrypted",
    550,
    "5.7.1",
    "An encrypted archive or file cannot be examined. Send it without a password: the way is encrypted already.",
)
CONTENT_UNEXAMINED: Final = _patient(
    "content.unexamined",
    550,
    "5.7.1",
    "An archive is too large or too deep for our antivirus. Send the files without archives around them.",
)
CONTENT_NOT_SCANNED: Final = _patient(
    "content.not-scanned", 451, "4.7.1", "Our antivirus does not answer now. Try again later."
)

# What a letter does to its conversation (exchange, in the unit that writes).
CONVERSATION_OPENED: Final = Rule("conversation.opened")
CONVERSATION_REOPENED: Final = Rule("conversation.reopened")
CONVERSATION_CLOSED: Final = Rule("conversation.closed")
CONVERSATION_KEPT: Final = Rule("conversation.kept")

# Whether a patient may answer (exchange).
CONVERSATION_OPEN: Final = Rule("conversation.open")
CONVERSATION_CONTACT_OPEN: Final = Rule("conversation.contact-open")
CONVERSATION_PHARMACY: Final = Rule("conversation.pharmacy")
CONVERSATION_ENDED: Final = _patient(
    "conversation.ended",
    550,
    "5.7.1",
    "The professional ended this exchange. You can write again when they write to you again.",
)
CONVERSATION_NOT_ANSWERABLE: Final = _patient(
    "conversation.not-answerable",
    550,
    "5.7.1",
    "The professional's last letter does not allow an answer. You can answer when they write to you again.",
)
CONVERSATION_NEVER_OPENED: Final = _patient(
    "conversation.never-opened",
    550,
    "5.7.1",
    "This recipient never wrote to you in this conversation. You can write to professionals who wrote to you.",
)
CONVERSATION_NEW_THREAD: Final = _patient(
    "conversation.new-thread",
    550,
    "5.7.1",
    "New conversations are begun by professionals. Answer inside the conversation that they began.",
)
CONVERSATION_NO_RECIPIENT: Final = _patient(
    "conversation.no-recipient", 550, "5.5.4", "The letter has no recipient. Choose at least one."
)
BOX_CANNOT_SEND: Final = _patient(
    "box.cannot-send", 550, "5.2.1", "Your mailbox is closed and sends no letters. Open it again to write."
)

# Who may sign in and act (access).
ACCOUNT_DISABLED: Final = _patient(
    "account.disabled", 535, "5.7.8", "This account is disabled. Ask your operator to enable it."
)
ACCOUNT_WEB_ONLY: Final = _patient(
    "account.web-only", 535, "5.7.8", "Patient accounts are for the webmail only. Sign in there with your browser."
)
ACCESS_GRANTED: Final = Rule("access.granted")
ACCESS_NONE: Final = _patient(
    "access.no-delegation", 550, "5.7.1", "You may not act for this mailbox. Ask its owner to invite you."
)
ACCESS_EXPIRED: Final = _patient(
    "access.expired", 550, "5.7.1", "Your right to act for this mailbox has ended. Ask its owner to renew it."
)
ACCESS_MAJORITY: Final = _patient(
    "access.majority", 550, "5.7.1", "This person is of age: their representatives no longer act for them."
)
ACCESS_WRONG_KIND: Final = _patient(
    "access.wrong-kind", 550, "5.7.1", "An account of this kind cannot act for a mailbox of that kind."
)
ACCESS_CAREGIVER: Final = _patient(
    "access.caregiver-restricted", 550, "5.7.1", "Caregivers may not do this. Ask the person whom you help."
)
ACCESS_MEMBER: Final = Rule(
    "access.member-restricted", 550, "5.7.1", "Members of a shared mailbox may not do this. Ask its owner."
)
ACCESS_BOX_CLOSED: Final = _patient(
    "access.box-closed", 550, "5.7.1", "This mailbox is closed: it can only be read, exported or erased."
)

# Who may be invited to act for a box (delegating).
INVITATION_OFFERED: Final = Rule("invitation.offered")
INVITATION_UNKNOWN: Final = _patient(
    "invitation.unknown", 550, "5.7.1", "There is no such invitation, or it was answered or withdrawn. Ask for another."
)
INVITATION_EXPIRED: Final = _patient(
    "invitation.expired", 550, "5.7.1", "This invitation has expired. Ask for another one."
)
INVITATION_OWN: Final = _patient(
    "invitation.own", 550, "5.7.1", "You act for this mailbox already. The invitation is for somebody else."
)
INVITATION_CAREGIVERS_MAX: Final = _patient(
    "invitation.caregivers-max", 550, "5.7.1", "A person has three caregivers at most. Take a right back first."
)
INVITATION_REPRESENTATIVES_MAX: Final = _patient(
    "invitation.representatives-max", 550, "5.7.1", "A child has two legal representatives at most here."
)
INVITATION_NO_CHILD: Final = _patient(
    "invitation.no-child", 550, "5.7.1", "Only a child who is not of age has legal representatives."
)

# Who may read a document (access).
DOCUMENT_OWN: Final = Rule("document.own")
DOCUMENT_AUTHOR: Final = Rule("document.author")
DOCUMENT_CARE_TEAM: Final = Rule("document.care-team")
DOCUMENT_CONSENT: Final = Rule("document.consent")
DOCUMENT_EMERGENCY: Final = Rule("document.emergency")
DOCUMENT_BLOCKED: Final = Rule(
    "document.blocked", 550, "5.7.1", "The patient blocked your access to the dossier. Speak with the patient."
)
DOCUMENT_MASKED: Final = Rule(
    "document.masked", 550, "5.7.1", "The patient masked this document from professionals. Speak with the patient."
)
DOCUMENT_MATRIX: Final = Rule(
    "document.matrix", 550, "5.7.1", "Your profession may not read documents of this type (arrete of 26 October 2023)."
)
DOCUMENT_MATRIX_UNKNOWN: Final = Rule(
    "document.matrix-unknown",
    451,
    "4.7.0",
    "We do not know whether your profession may read this type. Ask your operator to load the matrix.",
)
DOCUMENT_UNKNOWN: Final = Rule("document.unknown", 550, "5.7.1", "There is no such document in this dossier.")
RIGHTS_TOO_MANY: Final = _patient(
    "rights.too-many", 550, "5.7.1", "Too many professionals are named for this dossier. Take some rights back first."
)
DOCUMENT_NO_CONSENT: Final = Rule(
    "document.no-consent", 550, "5.7.1", "The patient has not consented to this access. Ask for the consent."
)
DOCUMENT_EMERGENCY_REFUSED: Final = Rule(
    "document.emergency-refused", 550, "5.7.1", "The patient refused access of this kind in an emergency."
)

RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {rule.name: rule for rule in list(globals().values()) if isinstance(rule, Rule)}
)
