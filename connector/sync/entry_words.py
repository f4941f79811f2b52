"""What finance people read on an invoice's row after they typed a payment there: recorded, or why not and what to do. Pure.

Worked example (en): 100.00 typed on INV-0007 over 290.00 gives "Recorded: 100.00 EUR, received on 5 Jan 2026. 190.00 EUR of INV-0007
is still open."; 300.00 gives "Not recorded: 300.00 EUR is more than the 290.00 EUR that are open of INV-0007. ..." (decision D-151).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from connector.sync.messages import day_text, money_text

_WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "recorded": "Recorded: {paid}, received on {day}{reference}. {rest}",
        "reference": ", reference {text}",
        "rest_open": "{open} of {number} is still open.",
        "rest_paid": "{number} is paid.",
        "changed": (
            "{said} The fields were changed while it was being recorded; what they say now is not recorded. Clear them; if more money"
            " arrived, enter it again after that."
        ),
        "unknown-invoice": "Not recorded: this row is not an invoice of the billing connector. Enter the payment on the invoice's own row.",
        "credit-note": "Not recorded: {number} is a credit note, which takes no payment. Enter it on the invoice that was paid.",
        "draft": "Not recorded: this invoice is a draft. Enter the payment once it is issued.",
        "void": (
            "Not recorded: {number} was voided, so nothing is due on it. Enter the payment on the invoice that it was meant for, or have"
            " the money sent back."
        ),
        "paid": (
            "Not recorded: {number} is paid already. Enter the payment on the invoice that it was meant for, or ask the people who run"
            " the billing connector to put it on the customer's balance."
        ),
        "uncollectible": (
            "Not recorded: {number} was given up as uncollectible. Ask the people who run the billing connector what to do with the money."
        ),
        "other-currency": "Not recorded: {number} is in {currency}, but this row says {theirs}. Set its currency back, and enter the amount in {currency}.",
        "bad-amount": "Not recorded: {typed} is not an amount. Correct Payment Received.",
        "not-positive": (
            "Not recorded: a payment is more than zero, but Payment Received says {typed}. Correct it; money that went back is a refund,"
            " which the people who run the billing connector record."
        ),
        "too-fine": "Not recorded: {typed} has more decimals than {currency} has. Correct Payment Received.",
        "too-much": (
            "Not recorded: {paid} is more than the {open} that are open of {number}. Enter {open}; the rest goes on the customer's balance"
            " (ask the people who run the billing connector), or back to the customer."
        ),
        "in-future": "Not recorded: {day} is in the future. Correct Payment Received On, or enter the payment on that day.",
        "not-issued-there": (
            "Not recorded: {number} is from before billing moved to another system. Ask the people who run the billing connector to settle it."
        ),
        "elsewhere": (
            "Not recorded: {why} If the money has arrived all the same, ask the people who run the billing connector what to do with it; {hint}"
        ),
        "failed": "Not recorded: something went wrong in the billing connector. The people who run it find it in its log; {hint}",
        "again": "change the amount or the date to try again.",
    },
    "fr": {
        "recorded": "Enregistré : {paid}, reçu le {day}{reference}. {rest}",
        "reference": ", référence {text}",
        "rest_open": "{open} de {number} restent à payer.",
        "rest_paid": "{number} est payée.",
        "changed": (
            "{said} Les champs ont été modifiés pendant l'enregistrement ; ce qu'ils indiquent maintenant n'est pas enregistré. Videz-les ;"
            " si un autre paiement est arrivé, saisissez-le ensuite."
        ),
        "unknown-invoice": "Non enregistré : cette fiche n'est pas une facture du connecteur. Saisissez le paiement sur la fiche de la facture.",
        "credit-note": "Non enregistré : {number} est un avoir, qui ne reçoit pas de paiement. Saisissez-le sur la facture payée.",
        "draft": "Non enregistré : cette facture est provisoire. Saisissez le paiement une fois la facture émise.",
        "void": (
            "Non enregistré : {number} a été annulée, rien n'est dû. Saisissez le paiement sur la facture concernée, ou faites renvoyer"
            " l'argent."
        ),
        "paid": (
            "Non enregistré : {number} est déjà payée. Saisissez le paiement sur la facture concernée, ou demandez aux responsables du"
            " connecteur de le porter au solde du client."
        ),
        "uncollectible": "Non enregistré : {number} a été déclarée irrécouvrable. Demandez aux responsables du connecteur que faire de l'argent.",
        "other-currency": (
            "Non enregistré : {number} est en {currency}, mais cette fiche indique {theirs}. Remettez sa devise, et saisissez le montant en {currency}."
        ),
        "bad-amount": "Non enregistré : {typed} n'est pas un montant. Corrigez le montant reçu.",
        "not-positive": (
            "Non enregistré : un paiement est supérieur à zéro, mais le montant reçu est {typed}. Corrigez-le ; un remboursement est"
            " enregistré par les responsables du connecteur."
        ),
        "too-fine": "Non enregistré : {typed} a plus de décimales que {currency}. Corrigez le montant reçu.",
        "too-much": (
            "Non enregistré : {paid} dépasse les {open} qui restent à payer de {number}. Saisissez {open} ; le reste va au solde du client"
            " (demandez aux responsables du connecteur) ou lui est renvoyé."
        ),
        "in-future": "Non enregistré : le {day} est dans le futur. Corrigez la date de réception, ou saisissez le paiement ce jour-là.",
        "not-issued-there": (
            "Non enregistré : {number} date d'avant le changement de système de facturation. Demandez aux responsables du connecteur de la régler."
        ),
        "elsewhere": (
            "Non enregistré : {why} Si l'argent est arrivé malgré tout, demandez aux responsables du connecteur qu'en faire ; {hint}"
        ),
        "failed": "Non enregistré : une erreur s'est produite dans le connecteur. Ses responsables la trouvent dans son journal ; {hint}",
        "again": "modifiez le montant ou la date pour réessayer.",
    },
}


def recorded_text(result: Mapping[str, Any], language: str) -> str:
    """Return what is said of a payment that was recorded; *result* as the books gave it."""
    words, currency = _words(language), str(result["currency"])
    key = "rest_open" if result["open"] else "rest_paid"
    rest = words[key].format(open=money_text(result["open"], currency, language), number=result["invoice"])
    reference = words["reference"].format(text=result["reference"]) if result.get("reference") else ""
    paid, day = money_text(result["amount"], currency, language), day_text(date.fromisoformat(result["on"]), None, language)
    return words["recorded"].format(paid=paid, day=day, reference=reference, rest=rest)


def changed_text(said: str, language: str) -> str:
    """Return what is said where the fields were changed after the payment was recorded with *said*."""
    return _words(language)["changed"].format(said=said)


def refused_text(result: Mapping[str, Any], typed: Mapping[str, str], language: str) -> str:
    """Return why what was typed was not recorded, and what to do."""
    words, currency = _words(language), str(result.get("currency", ""))
    code = str(result["refused"])
    values = {
        "number": result.get("number", ""), "currency": currency.upper(), "theirs": typed.get("currency", ""),
        "typed": _typed(typed["amount"], language), "hint": words["again"], "why": result.get("why", ""),
        "day": day_text(date.fromisoformat(typed["on"]), None, language) if typed.get("on") else "",
        "open": money_text(result["open"], currency, language) if currency else "",
        "paid": f"{_typed(typed['amount'], language)} {currency.upper()}",
    }  # fmt: skip
    return words.get(code, words["failed"]).format(**values)


def _typed(amount: str, language: str) -> str:
    """Return an amount as somebody typed it, with at least two decimals."""
    value = Decimal(amount)
    text = f"{value:,.2f}" if value == round(value, 2) else f"{value.normalize():,f}"
    return text.replace(",", "\u202f").replace(".", ",") if language == "fr" else text


def _words(language: str) -> Mapping[str, str]:
    return _WORDS.get(language, _WORDS["en"])
