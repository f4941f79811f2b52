"""Why a backend outside refused something, in French: by the English sentence, which holds no value. Pure.

A problem of such a refusal is a message and a hint; the hint begins with what to do, and may end with the backend's own words in
brackets, which stay as they are. Reasons of failed charges stand in `texts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from connector.documents.texts import failure_text, known_language
from connector.errors import Problem

FRENCH: Mapping[str, str] = {
    "Talk to the customer; those who run billing answer the bank.": "Parlez-en avec le client ; les responsables de la facturation répondent à la banque.",
    "A payment of this contract is disputed: the customer's bank has taken the money back for now.": "Un paiement de ce contrat est contesté : la banque du client a repris l'argent pour l'instant.",
    "A disputed payment of this contract was lost: the money went back to the customer.": "La contestation d'un paiement de ce contrat est perdue : l'argent est retourné au client.",
    "Somebody changed the running contract where it is billed; it no longer bills what was agreed here.": "Quelqu'un a modifié le contrat en cours là où il est facturé ; il ne facture plus ce qui a été convenu ici.",
    "The running contract was ended where it is billed; nothing more is billed there.": "Le contrat en cours a été terminé là où il est facturé ; plus rien n'y est facturé.",
    "The customer was deleted where it is billed; nothing more is billed for this contract.": "Le client a été supprimé là où il est facturé ; plus rien n'est facturé pour ce contrat.",
    "A refund for this contract did not reach the customer: the bank sent the money back.": "Un remboursement de ce contrat n'est pas arrivé chez le client : la banque a renvoyé l'argent.",
    "An invoice of this contract was voided although a part of it had been paid.": "Une facture de ce contrat a été annulée alors qu'une partie en avait été payée.",
    "Ask the customer for another account, and send the money there.": "Demandez un autre compte au client et envoyez-y l'argent.",
    "Send the money back, or have it put on the customer's balance.": "Faites renvoyer l'argent, ou faites-le porter au solde du client.",
    "An invoice of this contract is missing: it was due days ago, and has not come from where it is billed.": "Une facture de ce contrat manque : elle était due il y a plusieurs jours et n'est pas arrivée de là où il est facturé.",
    "Close a Cancel deal, to end it here as well, and sell what goes on as a New deal.": "Concluez une opportunité de résiliation pour y mettre fin ici aussi, et vendez la suite par une nouvelle opportunité.",
    "An amount of this contract that waited for the next invoice was deleted where it is billed, and is not billed.": "Un montant de ce contrat qui attendait la prochaine facture a été supprimé là où il est facturé ; il n'est pas facturé.",
    "This contract is billed without tax: the address of the customer is missing or not understood where it is billed.": "Ce contrat est facturé sans taxe : l'adresse du client manque ou n'est pas comprise là où il est facturé.",
    "A part of the running contract was ended where it is billed; nothing more is billed of it, the rest goes on.": "Une partie du contrat en cours a été terminée là où il est facturé ; elle n'est plus facturée, le reste continue.",
    "A part of this contract was ended where it is billed, and this change concerns it.": "Une partie de ce contrat a été terminée là où il est facturé, et cette modification la concerne.",
    "Close a Cancel deal with its lines, to end it here as well, and sell what goes on as a New deal.": "Concluez une opportunité de résiliation avec ses lignes, pour y mettre fin ici aussi, et vendez la suite par une nouvelle opportunité.",
    "Something agreed is missing on an invoice of this contract: it was taken off where it is billed, and is not billed.": "Il manque sur une facture de ce contrat quelque chose qui a été convenu : cela a été retiré là où il est facturé et n'est pas facturé.",
    "An invoice of this contract could not be issued where it is billed.": "Une facture de ce contrat n'a pas pu être émise là où il est facturé.",
    "Correct it on the record, or on its account, in the CRM; it is tried again by itself.": "Corrigez-le sur la fiche, ou sur son compte, dans le CRM ; un nouvel essai aura lieu tout seul.",
    "Ask the people who run the billing connector: it cannot be mended in the CRM alone.": "Adressez-vous aux responsables du connecteur de facturation : le CRM seul ne suffit pas pour y remédier.",
    "Correct quantity, price or discount of this deal; it is tried again by itself.": "Corrigez la quantité, le prix ou la remise de cette affaire ; un nouvel essai aura lieu tout seul.",
    "Make the deal simpler (fewer steps, lines or rhythms), or close it as two deals.": "Simplifiez l'affaire (moins d'étapes, de lignes ou de rythmes), ou concluez-la en deux affaires.",
    "Ask the customer for another payment method.": "Demandez au client un autre moyen de paiement.",
    "Nothing to do if that is meant; else ask the people who run the billing connector.": "Rien à faire si c'est voulu ; sinon, adressez-vous aux responsables du connecteur de facturation.",
    "Billing refused this, and nothing of it was carried out.": "La facturation a refusé ceci, et rien n'en a été exécuté.",
    "Something that this deal needs no longer exists where it is billed.": "Un élément dont cette affaire a besoin n'existe plus là où elle est facturée.",
    "The customer was deleted where it is billed.": "Le client a été supprimé là où il est facturé.",
    "A price of this deal no longer exists where it is billed.": "Un prix de cette affaire n'existe plus là où elle est facturée.",
    "A discount of this deal no longer exists where it is billed.": "Une remise de cette affaire n'existe plus là où elle est facturée.",
    "The running contract no longer exists where it is billed; somebody deleted it there.": "Le contrat en cours n'existe plus là où il est facturé ; quelqu'un l'y a supprimé.",
    "The invoice no longer exists where it is billed.": "La facture n'existe plus là où elle a été émise.",
    "Test and real billing were mixed up: what this deal refers to exists in the other of the two.": "La facturation d'essai et la vraie ont été confondues : ce à quoi cette affaire renvoie existe dans l'autre.",
    "Something with the same name exists where it is billed, with other content.": "Un élément du même nom existe là où elle est facturée, avec un autre contenu.",
    "A price of this deal was withdrawn where it is billed.": "Un prix de cette affaire a été retiré là où elle est facturée.",
    "A product of this deal was withdrawn where it is billed.": "Un produit de cette affaire a été retiré là où elle est facturée.",
    "A tax rate of this deal was withdrawn where it is billed.": "Un taux de taxe de cette affaire a été retiré là où elle est facturée.",
    "Another price has taken the place of a price of this deal.": "Un autre prix a pris la place d'un prix de cette affaire.",
    "An amount is too small to be charged in this currency.": "Un montant est trop petit pour être prélevé dans cette devise.",
    "An amount is larger than billing can hold in one invoice.": "Un montant dépasse ce qu'une facture peut contenir.",
    "An amount is not one that can be charged.": "Un montant n'est pas de ceux qui peuvent être prélevés.",
    "This customer is already billed in another currency, and one customer has one currency.": "Ce client est déjà facturé dans une autre devise, et un client n'a qu'une devise.",
    "This currency cannot be billed by the account that bills.": "Cette devise ne peut pas être facturée par le compte de facturation.",
    "The e-mail address of the customer is not accepted.": "L'adresse e-mail du client n'est pas acceptée.",
    "The postal code of the customer's address is not accepted.": "Le code postal de l'adresse du client n'est pas accepté.",
    "The country of the customer is not served by billing.": "Le pays du client n'est pas desservi par la facturation.",
    "The country of the customer's address is not accepted.": "Le pays de l'adresse du client n'est pas accepté.",
    "The state of the customer's address is not accepted.": "L'État ou la région de l'adresse du client n'est pas accepté.",
    "The address of the customer is not accepted.": "L'adresse du client n'est pas acceptée.",
    "The tax number of the customer is not valid for its country.": "Le numéro fiscal du client n'est pas valable pour son pays.",
    "The tax number of the customer cannot be kept where it is billed.": "Le numéro fiscal du client ne peut pas être conservé là où il est facturé.",
    "The tax cannot be worked out, because the address of the customer is missing or not understood.": "La taxe ne peut pas être calculée, car l'adresse du client manque ou n'est pas comprise.",
    "The tax could not be worked out.": "La taxe n'a pas pu être calculée.",
    "Automatic tax is not set up where this is billed.": "La taxe automatique n'est pas configurée là où ceci est facturé.",
    "This customer has as many running contracts as billing allows.": "Ce client a autant de contrats en cours que la facturation en permet.",
    "This customer has as many payment methods as billing allows.": "Ce client a autant de moyens de paiement que la facturation en permet.",
    "A discount of this deal has expired.": "Une remise de cette affaire a expiré.",
    "A discount of this deal has been used as often as it may be.": "Une remise de cette affaire a été utilisée autant de fois que permis.",
    "A discount of this deal does not apply to what is sold.": "Une remise de cette affaire ne s'applique pas à ce qui est vendu.",
    "The deal has more steps than can be billed at once.": "L'affaire a plus d'étapes que la facturation n'en peut tenir à la fois.",
    "The deal has more lines than can be billed in one rhythm.": "L'affaire a plus de lignes qu'un même rythme de facturation n'en peut tenir.",
    "The deal has more discounts than can be billed together.": "L'affaire a plus de remises que la facturation n'en peut combiner.",
    "A line is billed at longer intervals than billing allows (three years at most).": "Une ligne est facturée à des intervalles plus longs que permis (trois ans au plus).",
    "The lines of this deal are billed in rhythms that cannot be combined.": "Les lignes de cette affaire sont facturées à des rythmes qui ne se combinent pas.",
    "Two lines of this deal have the same price where they are billed.": "Deux lignes de cette affaire ont le même prix là où elles sont facturées.",
    "The running contract has ended where it is billed, and takes no more changes.": "Le contrat en cours est terminé là où il est facturé et n'accepte plus de modification.",
    "The running contract is no longer steered by the connector; somebody released or ended it where it is billed.": "Le contrat en cours n'est plus piloté par le connecteur ; quelqu'un l'a libéré ou terminé là où il est facturé.",
    "A change lies in a time that is billed already.": "Une modification tombe dans une période déjà facturée.",
    "The start of this deal lies too far back to be billed.": "Le début de cette affaire est trop ancien pour être facturé.",
    "The free trial is longer than billing allows (two years).": "L'essai gratuit est plus long que permis (deux ans).",
    "The invoice is final and takes no more changes.": "La facture est définitive et n'accepte plus de modification.",
    "The invoice is paid already.": "La facture est déjà payée.",
    "The invoice was voided.": "La facture a été annulée.",
    "The invoice is not open any more.": "La facture n'est plus ouverte.",
    "The invoice cannot be sent as it is now.": "La facture ne peut pas être envoyée dans son état actuel.",
    "There is nothing to put on this invoice.": "Il n'y a rien à porter sur cette facture.",
    "There is no way to pay this invoice; no payment method fits its currency and amount.": "Cette facture ne peut pas être payée ; aucun moyen de paiement ne convient à sa devise et à son montant.",
    "Nothing more will be billed for this contract.": "Rien de plus ne sera facturé pour ce contrat.",
    "The credit is more than what is left of the invoice.": "L'avoir dépasse ce qui reste de la facture.",
    "More would be paid back than was paid.": "Le remboursement dépasserait ce qui a été payé.",
    "This payment was paid back already.": "Ce paiement a déjà été remboursé.",
    "This payment cannot be paid back.": "Ce paiement ne peut pas être remboursé.",
    "The customer disputes this payment, so that it cannot be paid back as well.": "Le client conteste ce paiement ; il ne peut donc pas être remboursé en plus.",
    "There is not enough money in the billing account to pay this back.": "Le compte de facturation n'a pas assez d'argent pour ce remboursement.",
    "The customer has no payment method on file.": "Le client n'a pas de moyen de paiement enregistré.",
    "The customer's payment method cannot be used at the moment.": "Le moyen de paiement du client ne peut pas être utilisé pour l'instant.",
    "The customer's payment method cannot be used as it is now.": "Le moyen de paiement du client ne peut pas être utilisé dans son état actuel.",
    "This way to pay is not switched on where it is billed.": "Ce mode de paiement n'est pas activé là où elle est facturée.",
    "The payment is not in a state that allows this.": "L'état du paiement ne permet pas ceci.",
    "The customer's agreement to be charged is no longer valid.": "L'accord du client pour être prélevé n'est plus valable.",
    "What was used cannot be counted: its meter does not exist where it is billed.": "La consommation ne peut pas être comptée : son compteur n'existe pas là où elle est facturée.",
    "What was used cannot be counted: its meter was switched off where it is billed.": "La consommation ne peut pas être comptée : son compteur a été désactivé là où elle est facturée.",
    "What was used lies too far back to be billed (more than 35 days).": "La consommation est trop ancienne pour être facturée (plus de 35 jours).",
    "What was used lies in the future.": "La consommation est datée dans le futur.",
    "What was used was counted already.": "La consommation a déjà été comptée.",
    "What was used is counted by another meter already.": "La consommation est déjà comptée par un autre compteur.",
    "Something that billing needs is empty on this deal or its account.": "Une donnée nécessaire à la facturation est vide sur cette affaire ou son compte.",
    "A number of this deal is not one that billing takes.": "Un nombre de cette affaire n'est pas accepté par la facturation.",
    "Something that billing needs is blank on this deal or its account.": "Une donnée nécessaire à la facturation n'est pas renseignée sur cette affaire ou son compte.",
    "Billing needs something that this deal does not say.": "La facturation a besoin d'une donnée que cette affaire n'indique pas.",
    "This deal asks for something that billing does not know.": "Cette affaire demande quelque chose que la facturation ne connaît pas.",
    "This deal asks for two things that billing does not do together.": "Cette affaire demande deux choses que la facturation ne fait pas ensemble.",
    "A text on this deal or its account is too long to be billed.": "Un texte de cette affaire ou de son compte est trop long pour être facturé.",
    "The billing account may not do what this deal asks for.": "Le compte de facturation ne permet pas ce que cette affaire demande.",
}


def told(problem: Problem, language: str) -> Problem:
    """Return a problem in a language of ours; what is not known in it stays as it is."""
    if known_language(language) != "fr":
        return problem
    message = FRENCH.get(problem.message) or failure_text(problem.message, language)
    action = next((english for english in FRENCH if problem.hint.startswith(english)), "")
    return replace(problem, message=message, hint=FRENCH.get(action, "") + problem.hint[len(action) :])
