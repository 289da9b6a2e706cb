"""The words of reports, in French and English. Plain words for people; the machine's part says the rest.

Keys of REASONS are classes of enhanced status codes (RFC 3463): the most precise one that fits is taken.
"""

from __future__ import annotations

from typing import Final, NamedTuple

SUBJECT_FAILED: Final = "Message non distribué"
# What patients' operator and others use when the letter was too large (MSSANTE.md §4.3).
SUBJECT_TOO_LARGE: Final = "Undelivered Mail Returned to Sender"
SUBJECT_DELAYED: Final = "Message en attente de remise"
SUBJECT_DELIVERED: Final = "Message remis"
SUBJECT_RELAYED: Final = "Message transmis"
SUBJECT_ERROR_PREFIX: Final = "[KO Intégration système !]"

DAEMON_NAME: Final = "Messagerie sécurisée de santé"


class Words(NamedTuple):
    """One sentence in both languages."""

    french: str
    english: str


OPENINGS: Final = {
    "failed": Words(
        "Votre message n'a pas pu être remis à :",
        "Your message could not be delivered to:",
    ),
    "delayed": Words(
        "Votre message n'a pas encore pu être remis à (nous continuons d'essayer, n'envoyez pas de nouveau) :",
        "Your message could not yet be delivered to (we keep trying, there is no need to send it again):",
    ),
    "delivered": Words(
        "Votre message a été remis dans la boîte de :",
        "Your message was delivered to the mailbox of:",
    ),
    "relayed": Words(
        "Votre message a été transmis à un opérateur qui n'annonce pas la remise, pour :",
        "Your message was passed on to an operator that does not confirm delivery, for:",
    ),
}

REASONS: Final = {
    "1.1": Words("Cette adresse n'existe pas.", "This address does not exist."),
    "1.2": Words("Le domaine de cette adresse n'existe pas.", "The domain of this address does not exist."),
    "1.3": Words("Cette adresse est mal écrite.", "This address is not written correctly."),
    "1.6": Words("La boîte aux lettres a changé d'adresse.", "The mailbox has moved."),
    "2.1": Words("Cette boîte aux lettres est fermée.", "This mailbox is closed."),
    "2.2": Words("Cette boîte aux lettres est pleine.", "This mailbox is full."),
    "2.3": Words("Le message est trop volumineux.", "The message is too large."),
    "3.4": Words("Le message est trop volumineux.", "The message is too large."),
    "4.1": Words("L'opérateur du destinataire ne répond pas.", "The recipient's operator does not answer."),
    "4.4": Words("Nous n'avons pas trouvé l'opérateur du destinataire.", "The recipient's operator was not found."),
    "4.6": Words(
        "Le message tourne en boucle entre opérateurs.", "The message goes round in circles between operators."
    ),
    "4.7": Words(
        "Nous avons essayé pendant tout le délai prévu, sans succès.",
        "We tried for the whole time allowed, without success.",
    ),
    "6": Words("Le contenu du message ne peut pas être accepté.", "The content of the message cannot be accepted."),
    "7.1": Words("Le destinataire n'autorise pas ce message.", "The recipient does not allow this message."),
    "7": Words(
        "Les règles de l'espace de confiance interdisent cet envoi.",
        "The rules of the trust space forbid this message.",
    ),
    "1": Words("Il y a une erreur dans cette adresse.", "Something is wrong with this address."),
    "2": Words("Cette boîte aux lettres n'accepte pas le message.", "This mailbox does not take the message."),
    "3": Words(
        "Le système du destinataire n'accepte pas le message.", "The recipient's system does not take the message."
    ),
    "4": Words("La liaison avec l'opérateur du destinataire a échoué.", "The link to the recipient's operator failed."),
    "": Words("L'opérateur du destinataire a refusé le message.", "The recipient's operator refused the message."),
}

STOPPED: Final = Words(
    "Le service qui gère votre messagerie a arrêté cet envoi.",
    "The people who run your mail service stopped this message.",
)

CLOSING: Final = Words(
    "Ce rapport est automatique : n'y répondez pas.",
    "This report was made automatically: please do not answer it.",
)

DISPLAYED: Final = Words(
    "Votre message du {date} a été affiché par son destinataire. Cela ne dit pas qu'il a été lu ou compris.",
    "Your message of {date} was displayed by its recipient. This does not say that it was read or understood.",
)
PROCESSED: Final = Words(
    "Votre message du {date} a été intégré par le système du destinataire.",
    "Your message of {date} was taken over by the recipient's system.",
)
DELETED: Final = Words(
    "Votre message du {date} a été supprimé sans avoir été affiché.",
    "Your message of {date} was deleted without having been displayed.",
)
NOT_PROCESSED: Final = Words(
    "Votre message du {date} n'a pas pu être intégré par le système du destinataire : {reason}.",
    "Your message of {date} could not be taken over by the recipient's system: {reason}.",
)


def reason_of(status: str) -> Words:
    """Return the plain words for an enhanced status code."""
    detail = status.partition(".")[2]
    return REASONS.get(detail) or REASONS.get(detail.partition(".")[0]) or REASONS[""]
