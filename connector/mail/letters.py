"""What customers read by mail: one letter a kind and case, in English and French. Pure: every amount and day comes written out.

Worked example (en): a reminder of INV-0007 after its due date has the subject "Invoice INV-0007 is overdue" and says
"Invoice INV-0007 over €1,080.00 was due on 1 May 2026. We have not received your payment yet."
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from connector.documents.texts import known_language

Case = Literal[
    "invoice", "invoice_charged", "invoice_paid", "reminder_before", "reminder_after", "reminder_last", "receipt", "receipt_part",
    "failed_again", "failed_final", "credit_note", "quote",
]  # fmt: skip

_SUBJECTS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "invoice": ("Invoice {number} from {seller}", "Facture {number} de {seller}"),
        "invoice_charged": ("Invoice {number} from {seller}", "Facture {number} de {seller}"),
        "invoice_paid": ("Invoice {number} from {seller}", "Facture {number} de {seller}"),
        "reminder_before": ("Invoice {number} is due on {due_on}", "La facture {number} est à payer pour le {due_on}"),
        "reminder_after": ("Invoice {number} is overdue", "La facture {number} est en retard de paiement"),
        "reminder_last": ("Last reminder: invoice {number} is overdue", "Dernier rappel\u202f: la facture {number} est en retard de paiement"),
        "receipt": ("We received your payment of invoice {number}", "Nous avons reçu votre paiement de la facture {number}"),
        "receipt_part": ("We received a payment for invoice {number}", "Nous avons reçu un paiement pour la facture {number}"),
        "failed_again": ("The payment of invoice {number} failed", "Le paiement de la facture {number} a échoué"),
        "failed_final": ("The payment of invoice {number} failed", "Le paiement de la facture {number} a échoué"),
        "credit_note": ("Credit note {note} for invoice {number}", "Avoir {note} sur la facture {number}"),
        "quote": ("Quote {number} from {seller}", "Devis {number} de {seller}"),
    }
)

_BODIES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = MappingProxyType(
    {
        "invoice": (
            ("This is invoice {number} over {total}. Please pay {open} by {due_on}.",),
            ("Voici la facture {number} d’un montant de {total}. Merci de régler {open} pour le {due_on}.",),
        ),
        "invoice_charged": (
            ("This is invoice {number} over {total}. {open} is charged to your stored payment method; there is nothing to do.",),
            ("Voici la facture {number} d’un montant de {total}. {open} est prélevé par votre moyen de paiement enregistré\u202f; vous n’avez rien à faire.",),
        ),
        "invoice_paid": (
            ("This is invoice {number} over {total}. It is paid; there is nothing to do.",),
            ("Voici la facture {number} d’un montant de {total}. Elle est payée\u202f; vous n’avez rien à faire.",),
        ),
        "reminder_before": (
            ("Invoice {number} is due on {due_on}; {open} is open. If you have paid already, please disregard this message.",),
            ("La facture {number} est à payer pour le {due_on}\u202f; {open} reste dû. Si vous avez déjà payé, ne tenez pas compte de ce message.",),
        ),
        "reminder_after": (
            ("Invoice {number} was due on {due_on}; {open} is open. We have not received your payment yet.",
             "If you have paid already, please disregard this message."),
            ("La facture {number} était à payer pour le {due_on}\u202f; {open} reste dû. Nous n’avons pas encore reçu votre paiement.",
             "Si vous avez déjà payé, ne tenez pas compte de ce message."),
        ),
        "reminder_last": (
            ("Invoice {number} was due on {due_on}; {open} is still open although we reminded you. Please pay at once, or tell us what keeps you from it.",
             "If you have paid already, please disregard this message."),
            ("La facture {number} était à payer pour le {due_on}\u202f; {open} reste dû malgré nos rappels. Merci de régler sans attendre, ou de nous dire ce qui l’empêche.",
             "Si vous avez déjà payé, ne tenez pas compte de ce message."),
        ),
        "receipt": (
            ("We received {amount} for invoice {number}. It is paid in full. Thank you.",),
            ("Nous avons reçu {amount} pour la facture {number}. Elle est entièrement payée. Merci.",),
        ),
        "receipt_part": (
            ("We received {amount} for invoice {number}. Thank you. {open} is still open, due on {due_on}.",),
            ("Nous avons reçu {amount} pour la facture {number}. Merci. {open} reste dû, à payer pour le {due_on}.",),
        ),
        "failed_again": (
            ("{amount} for invoice {number} could not be charged. {why} It is tried again on {retry_on}.",
             "You can pay the invoice before that, or give us another payment method."),
            ("{amount} pour la facture {number} n’a pas pu être prélevé. {why} Nouvel essai le {retry_on}.",
             "Vous pouvez payer la facture avant cette date, ou nous donner un autre moyen de paiement."),
        ),
        "failed_final": (
            ("{amount} for invoice {number} could not be charged. {why} It is not tried again.",
             "Please pay the invoice, or give us another payment method."),
            ("{amount} pour la facture {number} n’a pas pu être prélevé. {why} Il n’y aura pas de nouvel essai.",
             "Merci de payer la facture, ou de nous donner un autre moyen de paiement."),
        ),
        "credit_note": (
            ("We credited {amount} of invoice {number} with credit note {note}.", "{open} of the invoice is open now."),
            ("Nous avons crédité {amount} de la facture {number} par l’avoir {note}.", "Il reste {open} à payer de la facture."),
        ),
        "quote": (
            ("This is quote {number}, {label}. Behind the link you can read it, download it, and accept or decline it{until}.",),
            ("Voici le devis {number}, {label}. Sous le lien vous pouvez le lire, le télécharger, et l’accepter ou le refuser{until}.",),
        ),
    }
)  # fmt: skip

_WORDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "greeting": ("Dear {customer},", "Bonjour {customer},"),
        "reason": ("Reason: {reason}", "Motif\u202f: {reason}"),
        "see": ("See the invoice", "Voir la facture"),
        "see_quote": ("Read and accept the quote", "Lire et accepter le devis"),
        "until": (" until {until_on}", " jusqu’au {until_on}"),
        "see_pay": ("See and pay the invoice", "Voir et payer la facture"),
        "transfer": ("By bank transfer to {holder}, IBAN {iban}, reference {number}.", "Par virement à {holder}, IBAN {iban}, référence {number}."),
        "closing": ("Kind regards,", "Cordialement,"),
    }
)

_ASKS = frozenset({"invoice", "reminder_before", "reminder_after", "reminder_last", "receipt_part", "failed_again", "failed_final"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What a mail says. *values* are texts by name, written out in *language*: number, total, open, due_on and what the case needs.

    link - of the invoice's page, "" = none. iban - where to transfer to, "" = nowhere. reason - of a credit note.
    """

    case: Case
    language: str
    seller: str
    customer: str
    values: Mapping[str, str]
    link: str = ""
    iban: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A letter as it leaves: subject, plain text and HTML."""

    subject: str
    text: str
    html: str = field(repr=False)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("connector.mail"), autoescape=select_autoescape(("html",), default_for_string=True), undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip


def rendered(letter: Letter) -> Rendered:
    """Return a letter as subject, text and HTML; only HTML is escaped, a subject is one line."""
    language = known_language(letter.language)
    at = 1 if language == "fr" else 0
    values = {**letter.values, "seller": letter.seller, "customer": letter.customer, "iban": letter.iban, "holder": letter.seller}

    def word(name: str, **more: str) -> str:
        return _WORDS[name][at].format(**values, **more)

    asks = letter.case in _ASKS
    values["until"] = word("until") if values.get("until_on") else ""
    paragraphs = [text.format(**values) for text in _BODIES[letter.case][at]]
    if letter.reason:
        paragraphs.append(word("reason", reason=letter.reason))
    view = {
        "language": language,
        "subject": " ".join(_SUBJECTS[letter.case][at].format(**values).split()),
        "greeting": word("greeting"),
        "paragraphs": paragraphs,
        "transfer": word("transfer") if letter.iban and asks else "",
        "link": letter.link,
        "link_text": word("see_quote" if letter.case == "quote" else "see_pay" if asks else "see"),
        "closing": word("closing"),
        "seller": letter.seller,
    }
    return Rendered(
        subject=str(view["subject"]),
        text=_environment().get_template("letter.txt").render(view),
        html=_environment().get_template("letter.html").render(view),
    )
