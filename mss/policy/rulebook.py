"""The rules in words: for each, its sentence in English and French, and what would change its answer.

`rules` has names, codes and the sentence that a refused peer reads; the two tables hold the same rules (a test
compares) and `docs/rules.md` is generated from both: `mss policy rules --markdown`. It decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from mss.policy.decision import Rule
from mss.policy.rules import RULES


@dataclass(frozen=True, slots=True)
class Words:
    """A rule in words. `change`: what would change the answer; empty where nothing is to be changed."""

    english: str
    french: str
    change: str = ""


# What several rules would change with.
_SAME: Final = {
    "certificate": "another certificate, in its dates, not revoked, of an authority that the operator trusts",
    "later": "time: the same letter later",
    "listed": "a trust list that names the certificate's subject for the domain",
    "again": "a new letter of the professional, without [FIN] and without X-MSS-MES: FIN",
    "state": "the box's state: mss account state, or the patient in the webmail",
    "delegation": "a delegation for the box: an invitation that is accepted, or mss account grant",
}

_RAW: Final = """
peer.listed
  en The trust list names the peer's certificate.
  fr La liste blanche nomme le certificat de l’opérateur.
peer.no-certificate
  fr L’opérateur n’a pas présenté de certificat client.
  => {certificate}
peer.revoked
  fr Le certificat de l’opérateur est révoqué.
  => {certificate}
peer.revocation-stale
  fr Notre liste de révocation pour ce certificat est périmée.
  => a fresh revocation list: mss check
peer.revocation-unknown
  fr Nous ne pouvons pas vérifier maintenant si ce certificat est révoqué.
  => {later}
peer.no-trust-list
  fr La liste blanche n’a pas encore été lue.
  => a trust list: mss operator
peer.stale-trust-list
  fr Notre copie de la liste blanche est trop ancienne.
  => a newer trust list, or [trust_list] max_age_s
peer.clock-back
  fr Notre horloge est fausse.
  => the server's clock
peer.expired
  fr Le certificat de l’opérateur est hors de ses dates.
  => {certificate}
peer.not-listed
  fr La liste blanche ne nomme pas le certificat de l’opérateur.
  => {listed}
peer.tls-failed
  fr La négociation TLS a échoué.
  => {certificate}
peer.too-fast
  fr L’opérateur envoie plus de lettres que nous n’en prenons en une minute.
  => {later}
peer.probing
  fr L’opérateur a demandé trop de boîtes qui n’existent pas ici.
  => {later}
sender.listed
  en The certificate may speak for the envelope's domain.
  fr Le certificat peut parler pour le domaine de l’enveloppe.
sender.null-reverse-path
  en Reports have no reverse path and come from anyone admitted.
  fr Les comptes rendus n’ont pas d’expéditeur d’enveloppe.
sender.foreign-domain
  fr Le certificat ne peut pas parler pour le domaine de MAIL FROM.
  => {listed}
sender.too-fast
  fr Cet expéditeur envoie plus de lettres que nous n’en prenons en une minute.
  => {later}
sender.own
  en The address is of a box that the account may act for.
  fr L’adresse est celle d’une boîte de ce compte.
sender.not-yours
  fr Cette adresse d’expéditeur n’est pas la vôtre.
  => {delegation}
sender.within-budget
  en The account has written to fewer than it may in an hour.
  fr Le compte reste dans son budget de l’heure.
sender.over-budget
  fr Le compte a écrit à plus de destinataires qu’il n’est permis en une heure.
  => {later}
sender.field-not-yours
  fr Le champ Sender ne nomme pas une adresse lisible qui soit la vôtre.
  => a Sender field of the account's own, or none
author.listed
  en The certificate may speak for the author's domain.
  fr Le certificat peut parler pour le domaine de l’auteur.
author.missing
  fr La lettre n’a pas de champ From lisible.
  => one From field with one address
author.several
  fr La lettre nomme plusieurs auteurs.
  => one From field with one address
author.foreign-domain
  fr Le certificat ne peut pas parler pour le domaine de From.
  => {listed}
author.foreign-report
  fr Le From de ce compte rendu n’est d’aucun domaine du certificat.
  => {listed}
author.unnamed
  fr Les patients voient le nom de l’expéditeur, jamais une adresse : donnez un nom.
  => a display name in From
route.local-professional
  en We host the recipient's professional domain.
  fr Nous hébergeons le domaine professionnel.
route.local-patient
  en We host the recipient's patient domain.
  fr Nous hébergeons le domaine des patients.
route.relay
  en The trust list or a configured route names the domain.
  fr La liste blanche ou une route nomme le domaine.
route.outside
  fr Ce domaine n’est pas dans l’espace de confiance.
  => a trust list that names the domain
route.no-trust-list
  fr La liste blanche n’a pas encore été lue.
  => a trust list: mss operator
route.not-here
  fr Nous n’hébergeons pas ce domaine et ne relayons pour personne.
  => the letter's way: its domain's own operator
box.receives
  en The box is open.
  fr La boîte est ouverte.
box.unopened
  en The box exists and its patient never opened it: delivered, perhaps unread.
  fr La boîte n’a jamais été ouverte par son patient : remis, peut-être non lu.
  => the patient's first sign-in
box.opposed-to-patients
  fr Le titulaire de cette boîte ne prend pas de messages de patients.
  => mss account oppose --lift
recipient.relayed
  en Another operator hosts the recipient.
  fr Un autre opérateur héberge le destinataire.
recipient.unknown
  fr Il n’y a pas de telle boîte ici.
  => the address
box.closed
  fr Cette boîte est fermée.
  => {state}
box.full
  fr Cette boîte contient tout ce qu’elle peut contenir.
  => room in the box: letters erased by its holder, or a larger quota (mss account quota)
ins.malformed
  fr La partie avant @ n’est pas un matricule INS valide de 15 caractères.
  => a qualified INS with its key
ins.test-identity
  fr Cette boîte est celle d’une identité de test.
  => [policy] test_identities (never in production)
patient.unknown
  fr Ce patient n’a pas de boîte ici.
  => the matricule, or a box for the patient: mss account add
patient.opposed
  fr Ce patient s’est opposé à avoir une boîte.
  => {state}
patient.closed
  fr Ce patient a fermé sa boîte.
  => {state}
patient.to-patient
  fr Les patients ne peuvent pas s’écrire entre eux.
  => another recipient: a professional who wrote
letter.too-large
  fr La lettre dépasse 25 Mio ou ce que prend ce serveur.
  => a smaller letter
recipient.too-many
  fr La lettre a trop de destinataires pour une transaction.
  => the others in another transaction
letter.bare-line-end
  fr La lettre a un CR ou LF isolé, ou un NUL.
  => lines that end with CR LF
letter.too-many-at-once
  fr Nous recevons trop de grosses lettres à la fois.
  => {later}
letter.header-too-large
  fr L’en-tête de la lettre est trop grand.
  => a smaller header
letter.loop
  fr La lettre tourne en rond.
  => the route between the operators
letter.sound
  en Nothing in the letter forbids it.
  fr Rien dans la lettre ne s’y oppose.
letter.several-patients
  fr Une lettre concerne un patient, celle-ci est adressée à plusieurs.
  => one letter for each patient
document.other-patient
  fr 904 : les documents nomment un autre patient que le destinataire.
  => documents of the recipient
document.invisible-to-patient
  fr Un document est marqué INVISIBLE_PATIENT.
  => the document's mark, which its author takes off
document.invisible-to-representatives
  fr Un document est marqué INVISIBLE_REPRESENTANTS_LEGAUX et des représentants lisent cette boîte.
  => the document's mark, or the representatives' right
attachment.not-fileable
  fr Seuls PDF, JPEG, PNG, TIFF, RTF et texte jusqu’à 5 Mo peuvent être classés.
  => another format or a smaller file
document.not-yours
  fr Le patient ne peut pas accepter ce document.
  => a sound document that names the patient alone
content.clean
  en The antivirus found nothing.
  fr L’antivirus n’a rien trouvé.
content.not-looked-at
  en No antivirus is configured, in so many words.
  fr Aucun antivirus n’est configuré, explicitement.
content.infected
  fr Notre antivirus a trouvé quelque chose de nuisible.
  => the same letter from a clean system
content.encrypted
  fr Une archive chiffrée ne peut pas être examinée.
  => the files without a password: the way is encrypted already
content.unexamined
  fr Une archive est trop grande ou trop profonde pour notre antivirus.
  => the files without archives around them
content.not-scanned
  fr Notre antivirus ne répond pas en ce moment.
  => {later}
conversation.opened
  en The letter lets the patient answer its sender.
  fr La lettre permet au patient de répondre.
conversation.reopened
  en The letter opens an exchange again that was ended.
  fr La lettre rouvre un échange qui était terminé.
conversation.closed
  en [FIN] ends the exchange with its sender.
  fr [FIN] met fin à l’échange avec l’expéditeur.
conversation.kept
  en The letter changes nothing about who may be answered.
  fr La lettre ne change rien au droit de répondre.
conversation.open
  en A letter in this conversation lets the patient answer.
  fr Une lettre de cette conversation permet de répondre.
  => [FIN] of the professional
conversation.contact-open
  en This professional wrote before and has not ended the exchange.
  fr Ce professionnel a déjà écrit et n’a pas mis fin à l’échange.
  => [FIN] of the professional
conversation.pharmacy
  en The directory knows the recipient as a pharmacy, which may be written to first.
  fr L’annuaire connaît le destinataire comme pharmacie : on peut lui écrire en premier.
  => [FIN] of the pharmacy
conversation.ended
  fr Le professionnel a mis fin à vos échanges.
  => {again}
conversation.not-answerable
  fr Le dernier message du professionnel n’autorise pas la réponse.
  => {again}
conversation.never-opened
  fr Ce destinataire ne vous a jamais écrit dans cette conversation.
  => a letter of this professional
conversation.new-thread
  fr Une conversation est toujours commencée par un professionnel.
  => [policy] profile = "contact", or a letter of the professional
conversation.no-recipient
  fr La lettre n’a pas de destinataire.
  => a recipient
box.cannot-send
  fr Votre boîte est fermée et n’envoie rien.
  => {state}
account.disabled
  fr Ce compte est désactivé.
  => the operator
account.web-only
  fr Les comptes des patients ne servent qu’au site.
  => the webmail
access.granted
  en The account's delegation lets it do this.
  fr La délégation de ce compte le permet.
access.no-delegation
  fr Vous ne pouvez pas agir pour cette boîte.
  => {delegation}
access.expired
  fr Votre droit d’agir pour cette boîte est terminé.
  => {delegation}
access.majority
  fr Cette personne est majeure : ses représentants n’agissent plus pour elle.
  => an invitation as caregiver by the person
access.wrong-kind
  fr Un compte de cette sorte ne peut pas agir pour cette boîte.
  => another account
access.caregiver-restricted
  fr Les aidants ne peuvent pas faire cela.
  => the helped person, who may
access.member-restricted
  fr Les membres d’une boîte partagée ne peuvent pas faire cela.
  => the box's owner, who may
access.box-closed
  fr Cette boîte est fermée : on ne peut que la lire, l’exporter ou l’effacer.
  => {state}
invitation.offered
  en There is a place for one more.
  fr Il y a une place.
invitation.unknown
  fr Cette invitation n’existe pas, ou a été répondue ou retirée.
  => another invitation
invitation.expired
  fr Cette invitation a expiré.
  => another invitation
invitation.own
  fr Vous agissez déjà pour cette boîte.
  => another person
invitation.caregivers-max
  fr Une personne a trois aidants au plus.
  => a right that is taken back
invitation.representatives-max
  fr Un enfant a deux représentants légaux au plus ici.
  => a right that is taken back
invitation.no-child
  fr Seul un enfant mineur a des représentants légaux.
  => a caregiver instead
document.own
  en Patients read their own documents, masked ones too.
  fr Le patient lit ses propres documents, même masqués.
document.author
  en The author of a document reads it, masked or not.
  fr L’auteur d’un document le lit, masqué ou non.
  => a block by the patient
document.care-team
  en The patient put the professional into the care team.
  fr Le professionnel est de l’équipe de soins.
  => the patient, who takes it back
document.consent
  en The patient consented to this access, for a while.
  fr Le patient a consenti à cet accès, pour un temps.
  => time: the consent ends
document.emergency
  en An emergency that the patient's switches permit; the patient is told.
  fr Une urgence que le patient permet ; il en est averti.
  => the patient's emergency switches
document.blocked
  fr Le patient a bloqué votre accès à son dossier.
  => the patient, who takes the block back
document.masked
  fr Le patient a masqué ce document aux professionnels.
  => the patient, who shows the document; in an emergency the switch MASKED
document.matrix
  fr Votre profession ne peut pas lire les documents de ce type.
  => the published matrix, or another profession
document.matrix-unknown
  fr Nous ne savons pas si votre profession peut lire ce type.
  => the matrix ([policy] habilitations_file), or the profession in the directory
document.unknown
  fr Il n’y a pas de tel document dans ce dossier.
  => the document's number
rights.too-many
  fr Trop de professionnels sont nommés pour ce dossier.
  => a right that is taken back
document.no-consent
  fr Le patient n’a pas consenti à cet accès.
  => the patient's consent, each time or as care team
document.emergency-refused
  fr Le patient a refusé ce genre d’accès en urgence.
  => the patient's emergency switches, or a consent
"""


def _read(text: str) -> Mapping[str, Words]:
    """Read the table: a rule's name, then its sentences; `en` is left out where a refused peer reads the same."""
    found: dict[str, dict[str, str]] = {}
    name = ""
    for line in filter(None, text.split("\n")):
        if line.startswith("  "):
            found[name][line[2:4]] = line[5:].format_map(_SAME)
        else:
            name = line
            found[name] = {"en": RULES[name].text}
    return {name: Words(said["en"], said["fr"], said.get("=>", "")) for name, said in found.items()}


RULEBOOK: Final[Mapping[str, Words]] = MappingProxyType(_read(_RAW))


def words_of(rule: Rule) -> Words:
    """Return a rule in words."""
    return RULEBOOK[rule.name]


def markdown() -> str:
    """Return all rules as a page of documentation."""
    lines = [
        "# The rules",
        "",
        "Every decision of the house names its rule. This page is generated from `mss/policy/rulebook.py`:",
        "`mss policy rules --markdown > docs/rules.md`.",
        "`mss policy explain` says which rules a letter or a document meets, on which facts.",
        "",
        "| Rule | Reply | English | Français | What would change the answer |",
        "|---|---|---|---|---|",
    ]
    for name, rule in sorted(RULES.items()):
        words = RULEBOOK[name]
        code = "–" if rule.code == 250 else f"{rule.code} {rule.enhanced}"
        lines.append(f"| `{name}` | {code} | {words.english} | {words.french} | {words.change or '–'} |")
    return "\n".join(lines) + "\n"
