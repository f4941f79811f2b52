"""The words of the pages that the customer's customers read, in English and French.

Typographic rule kept: French puts a narrow no-break space before a colon.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

LANGUAGES = ("en", "fr")

_TABLE: tuple[tuple[str, str, str], ...] = (
    # key                english                                     french
    ("invoice", "Invoice", "Facture"),
    ("credit_note", "Credit note", "Avoir"),
    ("corrects", "Corrects", "Corrige"),
    ("note_reduced", "Taken off what is due", "Déduit du montant dû"),
    ("note_refunded", "Refunded", "Remboursé"),
    ("note_credited", "Put on your balance", "Porté à votre solde"),
    ("note_out_of_band", "Settled outside", "Réglé par ailleurs"),
    ("draft_invoice", "Draft invoice", "Facture provisoire"),
    ("from", "From", "Émetteur"),
    ("bill_to", "Bill to", "Facturé à"),
    ("number", "Invoice number", "Numéro de facture"),
    ("issued_on", "Issued", "Date d’émission"),
    ("due_on", "Due", "Échéance"),
    ("paid_on", "Paid", "Payée le"),
    ("po_number", "PO number", "Bon de commande"),
    ("tax_id", "Tax ID", "Identifiant fiscal"),
    ("description", "Description", "Désignation"),
    ("quantity", "Qty", "Qté"),
    ("unit_price", "Unit price", "Prix unitaire"),
    ("line_discount", "Discount", "Remise"),
    ("line_tax", "Tax", "Taxe"),
    ("amount", "Amount", "Montant"),
    ("subtotal", "Subtotal", "Sous-total"),
    ("discount", "Discount", "Remise"),
    ("total", "Total", "Total"),
    ("balance", "Applied balance", "Solde appliqué"),
    ("paid", "Paid", "Déjà payé"),
    ("due", "Amount due", "Reste à payer"),
    ("memo", "Note", "Note"),
    ("download_pdf", "Download as PDF", "Télécharger en PDF"),
    ("tax_reverse", "Reverse charge: the customer accounts for the tax.", "Autoliquidation\u202f: la taxe est due par le client."),
    ("tax_reverse_eu", "Reverse charge: the customer accounts for the VAT (Article 196 of Directive 2006/112/EC).",
     "Autoliquidation\u202f: TVA due par le preneur (article 196 de la directive 2006/112/CE)."),
    ("tax_exempt", "The customer is exempt from tax.", "Le client est exonéré de taxe."),
    ("tax_outside", "Not subject to EU VAT: the customer is outside its area ({place}).",
     "Hors du champ de la TVA de l’UE\u202f: le client est établi hors de son territoire ({place})."),
    ("tax_inside", "{rate} (included)", "{rate} (incluse)"),
    ("how_to_pay", "How to pay", "Comment payer"),
    ("by_transfer", "By bank transfer to:", "Par virement bancaire à\u202f:"),
    ("holder", "Account holder", "Titulaire"),
    ("iban", "IBAN", "IBAN"),
    ("bic", "BIC", "BIC"),
    ("bank", "Bank", "Banque"),
    ("reference", "Reference", "Référence"),
    ("status_draft", "Draft", "Provisoire"),
    ("status_open", "Open", "À payer"),
    ("status_past_due", "Past due", "En retard"),
    ("status_paid", "Paid", "Payée"),
    ("status_void", "Void", "Annulée"),
    ("status_issued", "Issued", "Émis"),
    ("status_uncollectible", "Written off", "Irrécouvrable"),
    ("draft_note", "This is a draft. Nothing is due yet, and amounts may still change.",
     "Ceci est un brouillon. Rien n’est encore dû, et les montants peuvent changer."),
    ("void_note", "This invoice was voided. Nothing is due.", "Cette facture a été annulée. Rien n’est dû."),
    ("no_lines", "No lines.", "Aucune ligne."),
    ("portal", "Your account", "Votre compte"),
    ("portal_open", "To be paid", "À payer"),
    ("portal_all_paid", "Everything is paid.", "Tout est payé."),
    ("portal_invoices", "Invoices", "Factures"),
    ("portal_no_invoices", "No invoices yet.", "Aucune facture pour l’instant."),
    ("portal_contracts", "Contracts", "Contrats"),
    ("portal_details", "Billing details", "Coordonnées de facturation"),
    ("portal_requests", "Your requests", "Vos demandes"),
    ("portal_since", "since {day}", "depuis le {day}"),
    ("portal_until", "until {day}", "jusqu’au {day}"),
    ("portal_next", "next invoice {day}", "prochaine facture le {day}"),
    ("portal_save", "Save", "Enregistrer"),
    ("portal_change", "Change", "Modifier"),
    ("portal_cancel", "Cancel at the end of the period", "Résilier à la fin de la période"),
    ("portal_agree", "Confirm", "Confirmer"),
    ("portal_back", "Back", "Retour"),
    ("portal_label_cancel", "Cancel this contract at the end of its period?", "Résilier ce contrat à la fin de sa période ?"),
    ("portal_label_quantity", "Change the quantity?", "Modifier la quantité ?"),
    ("portal_label_details", "Change the billing details?", "Modifier les coordonnées ?"),
    ("portal_charged_now", "An invoice of {amount} is issued now.", "Une facture de {amount} est émise maintenant."),
    ("portal_charged_then", "On {day} : an invoice of {amount}.", "Le {day} : une facture de {amount}."),
    ("portal_nothing_more", "No further invoice follows.", "Aucune autre facture ne suit."),
    ("portal_not_allowed", "This cannot be done here. Please ask the seller.", "Ceci n’est pas possible ici. Adressez-vous au vendeur."),
    ("portal_too_many", "Several requests of yours are still waiting. Please try again later.",
     "Plusieurs de vos demandes sont encore en attente. Veuillez réessayer plus tard."),
    ("portal_bad_quantity", "This is no quantity that can be billed. Write a number above zero.",
     "Cette quantité ne peut pas être facturée. Saisissez un nombre supérieur à zéro."),
    ("portal_same_quantity", "That is the quantity you have already.", "C’est déjà la quantité actuelle."),
    ("portal_details_missing", "A name and an e-mail address are needed.", "Un nom et une adresse e-mail sont nécessaires."),
    ("portal_pay", "Pay now", "Payer"),
    ("portal_method", "Payment method", "Moyen de paiement"),
    ("portal_no_method", "None", "Aucun"),
    ("portal_choose", "Choose", "Choisir"),
    ("portal_not_payable", "This invoice cannot be paid here.", "Cette facture ne peut pas être payée ici."),
    ("portal_request_pay", "Payment", "Paiement"),
    ("portal_request_method", "Payment method", "Moyen de paiement"),
    ("portal_request_details", "Billing details", "Coordonnées de facturation"),
    ("portal_request_contract", "Change of a contract", "Modification d’un contrat"),
    ("portal_early_title", "Your portal is not ready yet", "Votre espace n’est pas encore prêt"),
    ("portal_early_text", "It opens with your first contract or invoice.", "Il s’ouvre avec votre premier contrat ou votre première facture."),
    ("portal_early_hint", "Please try again later.", "Veuillez réessayer plus tard."),
    ("portal_often_title", "One moment, please", "Un instant, s’il vous plaît"),
    ("portal_often_text", "This link was opened many times in a short while.", "Ce lien a été ouvert de nombreuses fois en peu de temps."),
    ("portal_often_hint", "Please try again in a minute.", "Veuillez réessayer dans une minute."),
    ("portal_closed_title", "Your portal cannot be opened right now", "Votre espace ne peut pas être ouvert pour l’instant"),
    ("portal_closed_text", "The payment service does not answer.", "Le service de paiement ne répond pas."),
    ("portal_closed_hint", "Please try again in a minute; your invoices are in our e-mails, too.",
     "Veuillez réessayer dans une minute ; vos factures sont aussi dans nos e-mails."),
    ("portal_state_pending", "Received, will be carried out shortly", "Reçue, bientôt traitée"),
    ("portal_state_done", "Done", "Traitée"),
    ("portal_state_refused", "Not possible", "Impossible"),
    ("contract_draft", "Draft", "Provisoire"), ("contract_scheduled", "Scheduled", "Planifié"), ("contract_trialing", "Trial", "Essai"),
    ("contract_active", "Active", "Actif"), ("contract_past_due", "Past due", "En retard"), ("contract_unpaid", "Unpaid", "Impayé"),
    ("contract_paused", "Paused", "En pause"), ("contract_withdrawn", "Withdrawn", "Retiré"), ("contract_canceled", "Canceled", "Résilié"),
    ("contract_completed", "Completed", "Terminé"),
    ("field_name", "Name", "Nom"), ("field_email", "E-mail", "E-mail"), ("field_line1", "Street", "Rue"), ("field_city", "City", "Ville"),
    ("field_postal_code", "Postal code", "Code postal"), ("field_state", "State", "Région"), ("field_country", "Country", "Pays"),
    ("field_tax_id", "Tax ID", "Identifiant fiscal"), ("field_language", "Language", "Langue"),
    ("quote", "Quote", "Devis"),
    ("quote_revision", "Revision", "Révision"),
    ("quote_expires", "Valid until", "Valable jusqu’au"),
    ("quote_starts", "Starts", "Début"),
    ("quote_ends", "Ends", "Fin"),
    ("quote_due_now", "Due when accepted", "À payer à l’acceptation"),
    ("quote_due_on", "Due on {day}", "À payer le {day}"),
    ("quote_first", "First invoice, {day}", "Première facture, {day}"),
    ("quote_stage", "Then", "Ensuite"),
    ("quote_stage_from", "From {day}", "À partir du {day}"),
    ("quote_stage_until", "{from_day} – {day}", "{from_day} – {day}"),
    ("quote_per", "Per {interval}", "Par {interval}"),
    ("quote_per_from", "Per {interval}, from {day}", "Par {interval}, à partir du {day}"),
    ("quote_once", "Once", "Une fois"),
    ("quote_tax_in", "of which tax", "dont taxes"),
    ("quote_value", "Whole term, before tax", "Durée totale, hors taxes"),
    ("interval_day", "day", "jour"), ("interval_week", "week", "semaine"), ("interval_month", "month", "mois"), ("interval_year", "year", "an"),
    ("interval_days", "{n} days", "{n} jours"), ("interval_weeks", "{n} weeks", "{n} semaines"), ("interval_months", "{n} months", "{n} mois"),
    ("interval_years", "{n} years", "{n} ans"),
    ("quote_open", "Open", "À accepter"), ("quote_accepted", "Accepted", "Accepté"), ("quote_canceled", "Declined", "Refusé"),
    ("quote_expired", "Expired", "Expiré"), ("quote_outdated", "Outdated", "Caduc"), ("quote_replaced", "Replaced", "Remplacé"),
    ("quote_draft", "Being revised", "En révision"),
    ("quote_note_draft", "This quote is being revised. You will find the new version under the same link.",
     "Ce devis est en cours de révision. Vous trouverez la nouvelle version sous le même lien."),
    ("quote_note_accepted", "Accepted by {name} on {day}.", "Accepté par {name} le {day}."),
    ("quote_note_canceled", "This quote was declined or withdrawn.", "Ce devis a été refusé ou retiré."),
    ("quote_note_expired", "This quote has expired. Please ask for a new one.", "Ce devis a expiré. Veuillez en demander un nouveau."),
    ("quote_note_outdated", "The contract has changed since this quote was made. Please ask for a new one.",
     "Le contrat a changé depuis ce devis. Veuillez en demander un nouveau."),
    ("quote_note_replaced", "There is a newer version of this quote.", "Il existe une version plus récente de ce devis."),
    ("quote_note_waiting", "Thank you. Your answer has been received and is being processed.",
     "Merci. Votre réponse a été reçue et est en cours de traitement."),
    ("quote_accept", "Accept this quote", "Accepter ce devis"),
    ("quote_name", "Your name", "Votre nom"),
    ("quote_title", "Your title", "Votre fonction"),
    ("quote_binding", "I accept this quote on behalf of {customer}.", "J’accepte ce devis au nom de {customer}."),
    ("quote_button", "Accept", "Accepter"),
    ("quote_decline", "Decline this quote", "Refuser ce devis"),
    ("quote_reason", "Reason (optional)", "Motif (facultatif)"),
    ("quote_decline_button", "Decline", "Refuser"),
    ("quote_unsigned", "Please write your name and tick the box.", "Veuillez indiquer votre nom et cocher la case."),
    ("quote_changed", "This quote was changed while you were reading it. Please read it again.",
     "Ce devis a été modifié pendant votre lecture. Veuillez le relire."),
    ("missing_title", "There is nothing here", "Il n’y a rien ici"),
    ("missing_text",
     "This link leads to no document. It may have been shortened on its way, or replaced by a newer one.",
     "Ce lien ne mène à aucun document. Il a peut-être été tronqué, ou remplacé par un plus récent."),
    ("missing_hint", "Open the link from the original message again, or ask the sender for a new one.",
     "Ouvrez de nouveau le lien du message d’origine, ou demandez-en un nouveau à l’expéditeur."),
    ("busy_title", "One moment, please", "Un instant, s’il vous plaît"),
    ("busy_text", "The document cannot be shown right now.", "Le document ne peut pas être affiché pour l’instant."),
    ("busy_hint", "Please try again in a minute.", "Veuillez réessayer dans une minute."),
    ("failed_title", "Something went wrong on our side", "Une erreur s’est produite de notre côté"),
    ("failed_text", "The page could not be made. The operator has been told.",
     "La page n’a pas pu être créée. L’exploitant en est averti."),
    ("failed_hint", "Please try again later.", "Veuillez réessayer plus tard."),
    ("refused_title", "This request cannot be answered", "Cette requête ne peut pas être traitée"),
    ("refused_text", "The form or the address does not fit what this page expects.",
     "Le formulaire ou l’adresse ne correspond pas à ce que cette page attend."),
    ("refused_hint", "Go back, reload the page and try again.", "Revenez en arrière, rechargez la page et réessayez."),
)  # fmt: skip

_TEXTS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "en": MappingProxyType({key: english for key, english, _ in _TABLE}),
        "fr": MappingProxyType({key: french for key, _, french in _TABLE}),
    }
)


_FAILURES_FR = {
    "The card was declined.": "La carte a été refusée.",
    "The card has not enough funds.": "La carte n'est pas assez approvisionnée.",
    "The card has expired.": "La carte a expiré.",
    "The bank asks the customer to confirm the payment.": "La banque demande au client de confirmer le paiement.",
    "The payment could not be authorized by the bank.": "La banque n'a pas pu autoriser le paiement.",
    "The bank declined the payment and gave no reason; the customer should ask it.": "La banque a refusé le paiement sans donner de raison ; le client devrait la contacter.",
    "The card does not support this kind of payment.": "La carte ne permet pas ce type de paiement.",
    "The card has reached its limit.": "La carte a atteint son plafond.",
    "The card does not support this currency.": "La carte n'accepte pas cette devise.",
    "The bank took the payment for one that was made just before.": "La banque a pris le paiement pour un doublon d'un paiement récent.",
    "The security code of the card is wrong.": "Le code de sécurité de la carte est incorrect.",
    "The number of the card is wrong.": "Le numéro de la carte est incorrect.",
    "The postal code does not fit the card.": "Le code postal ne correspond pas à la carte.",
    "The card, or the account behind it, is not valid any more.": "La carte, ou le compte qui s'y rattache, n'est plus valable.",
    "The bank does not allow this amount.": "La banque n'autorise pas ce montant.",
    "The expiry date of the card is wrong.": "La date d'expiration de la carte est incorrecte.",
    "The bank could not be reached.": "La banque n'a pas pu être jointe.",
    "A test card cannot pay.": "Une carte d'essai ne peut pas payer.",
    "The bank does not permit the payment.": "La banque n'autorise pas le paiement.",
    "The payment could not be processed; it may go through later.": "Le paiement n'a pas pu être traité ; il peut aboutir plus tard.",
    "The customer has withdrawn the permission to charge.": "Le client a retiré l'autorisation de prélever.",
    "The customer has stopped this payment at the bank.": "Le client a fait opposition à ce paiement auprès de sa banque.",
    "A test card was used; it is declined.": "Une carte d'essai a été utilisée ; elle est refusée.",
    "The bank declined the payment for now; it may go through later.": "La banque a refusé le paiement pour l'instant ; il peut aboutir plus tard.",
    "The customer's bank declined the payment.": "La banque du client a refusé le paiement.",
    "The customer's bank account cannot be charged.": "Le compte bancaire du client ne peut pas être prélevé.",
    "The customer did not agree to the payment.": "Le client n'a pas accepté le paiement.",
    "The bank could not confirm the payment with the customer.": "La banque n'a pas pu confirmer le paiement auprès du client.",
    "The customer's bank says that the charge was not agreed to.": "La banque du client indique que le prélèvement n'a pas été accepté.",
}
"""Why charges fail, as those who charge say it; what is not listed stays as they said it."""


def failure_text(message: str, language: str) -> str:
    """Return why a charge failed in a language of ours."""
    return _FAILURES_FR.get(message, message) if known_language(language) == "fr" else message


def known_language(wanted: str) -> str:
    """Return the language of ours that serves *wanted* ("fr-CA", "FR"); English where we have none."""
    primary = wanted.strip().replace("_", "-").partition("-")[0].lower()
    return primary if primary in LANGUAGES else "en"


def texts_in(language: str) -> Mapping[str, str]:
    """Return the table of words for a customer's language."""
    return _TEXTS[known_language(language)]


def language_of_request(accept_language: str) -> str:
    """Return the first language of ours that a browser's Accept-Language header names; its order stands for its weights."""
    for part in accept_language[:200].split(","):
        primary = part.partition(";")[0].strip().partition("-")[0].lower()
        if primary in LANGUAGES:
            return primary
    return "en"
