"""Why a deal is not billed, or not as its record says: a message and what to do, in the language of the CRM (deals.md section 6). Pure.

Worked example (en): 10 seats were billed since January, the record now says 12. "Already invoiced, and then changed: Team Seat
10 -> 12 from 1 Jan 2026. The amendment that closes the difference costs 116.00 EUR now and 58.00 EUR more a month (reckoned on
15 Feb 2026). The contract goes on unchanged." What to do: have it approved, undo the edit, or close an Amend deal.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from connector.core.closing import Difference
from connector.core.terms import Interval
from connector.errors import Problem, Where
from connector.ports import Proposal
from connector.sync.messages import day_text, kind_text, money_text

_REASONS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "en": {
        "edited-after-billing": (
            "Already invoiced, and then changed: {what}. {cost} The contract goes on unchanged.",
            ("Have it approved (`connector deals approve {deal}`), undo the edit, or close an Amend deal with the difference"
            " where it counts from another day."),
        ),
        "edit-impossible": (
            "Already invoiced, and then changed: {what}. No amendment can do that by itself{why}. The contract goes on unchanged.",
            "Undo the edit, or close an Amend deal with the difference, or cancel this contract and close a New deal.",
        ),
        "once-given-back": (
            ("Already invoiced, and then changed: {what}. What was charged once can only be given back by a credit note. The contract"
            " goes on unchanged."),
            "Undo the edit; the people who run the billing connector can credit the invoice (`connector invoices credit NUMBER`).",
        ),
        "account-after-billing": (
            "Already invoiced, and then the account on this record was changed. The contract goes on unchanged, with its customer.",
            "Set the account back, or close a Cancel deal here and a New deal for the other account.",
        ),
        "reopened-after-billing": (
            "This deal is no longer won, but it was invoiced already. The contract goes on.",
            "To stop it, close a Cancel deal that amends this one; to go on, win this deal again.",
        ),
        "deleted-after-billing": (
            "The record of this deal was deleted in the CRM, but it was invoiced already. The contract goes on.",
            "To stop it, cancel the contract (`connector contracts cancel {contract}`), or close a Cancel deal that names it; to go on, restore the record.",
        ),
        "paused-after-reopening": (
            "This deal is no longer won, but it was invoiced already. Its contract is paused.",
            "Win this deal again to let it go on, or close a Cancel deal that amends this one to end it.",
        ),
        "no-parent": (
            "Not billed: this is {action} deal, but it does not say which deal it changes.",
            "Fill Amends Opportunity (or Amends Contract Id) on this record; it is tried again by itself.",
        ),
        "unknown-parent": (
            "Not billed: the deal that this one changes is not in billing (not won, or closed before billing by this connector began).",
            ("Win that deal; or have its contract imported (`connector import contracts FILE`) and this deal linked to it"
            " (`connector deals relink {deal} CONTRACT`), or name the contract in Amends Contract Id."),
        ),
        "unknown-contract": (
            "Not billed: billing has no contract {contract}, which this deal names.",
            "Correct Amends Contract Id on this record, or fill Amends Opportunity instead; it is tried again by itself.",
        ),
        "withdrawn-parent": (
            "Not billed: '{label}', which this deal changes, was withdrawn before it was billed.",
            "Win that deal again, or change which deal this one amends.",
        ),
        "other-customer": (
            "Not billed: {contract} belongs to another account ({theirs}) than this deal.",
            "Correct the account of this deal, or which deal or contract it changes; it is tried again by itself.",
        ),
        "other-currency": (
            "Not billed: {contract} is in {theirs}, this deal is in {ours}.",
            "Close this deal in {theirs}, or as a New deal; it is tried again by itself.",
        ),
        "blocked": ("Blocked by '{label}' ({reason}).", "Nothing to do here."),
        "circle": (
            "Not billed: the deals that this one changes change each other in a circle.",
            "Correct Amends Opportunity on one of them, so that the first one is a New deal; it is tried again by itself.",
        ),
        "record-gone": (
            "The record of this deal can no longer be read as a deal. The contract goes on.",
            "Restore the record, or close a Cancel deal to stop billing.",
        ),
        "billed-otherwise": (
            "Not billed: this order's opportunity is already billed through {what} {label}, whose contract stands.",
            "Nothing to do if that is meant. Else set that record back while nothing of it is invoiced; this order is then billed by itself.",
        ),
        "several-contracts": (
            "Not billed: the lines of this order revise those of several contracts ({contracts}).",
            "Make one amendment order for each contract; it is tried again by itself.",
        ),
        "edited-after-billing@Order": (
            "Already invoiced, and then changed: {what}. {cost} The contract goes on unchanged.",
            ("Have it approved (`connector deals approve {deal}`), undo the edit, or activate an amendment order with the difference where it"
             " counts from another day."),
        ),
        "edit-impossible@Order": (
            "Already invoiced, and then changed: {what}. No amendment can do that by itself{why}. The contract goes on unchanged.",
            "Undo the edit, or activate an amendment order with the difference.",
        ),
        "account-after-billing@Order": (
            "Already invoiced, and then the account on this order was changed. The contract goes on unchanged, with its customer.",
            "Set the account back; for the other account, end this contract by an amendment and activate a new order.",
        ),
        "reopened-after-billing@Order": (
            "This order is no longer activated, but it was invoiced already. The contract goes on.",
            "To stop it, amend the contract to zero; to go on, activate this order again.",
        ),
        "paused-after-reopening@Order": (
            "This order is no longer activated, but it was invoiced already. Its contract is paused.",
            "Activate this order again to let it go on, or amend the contract to zero to end it.",
        ),
        "unknown-parent@Order": (
            "Not billed: the order that this one changes is not in billing (not activated, or before billing by this connector began).",
            ("Activate that order; or have its contract imported (`connector import contracts FILE`) and this order linked to it"
             " (`connector deals relink {deal} CONTRACT`), or name the contract in Amends Contract Id."),
        ),
        "unknown-contract@Order": (
            "Not billed: billing has no contract {contract}, which this order names.",
            "Correct Amends Contract Id on this order; it is tried again by itself.",
        ),
        "withdrawn-parent@Order": (
            "Not billed: order {label}, which this one changes, was withdrawn before it was billed.",
            "Activate that order again; this one is then tried again by itself.",
        ),
        "circle@Order": (
            "Not billed: the orders that this one changes change each other in a circle.",
            "Correct which lines the lines of one of them revise, so that the first one is new; it is tried again by itself.",
        ),
        "record-gone@Order": (
            "The record of this order can no longer be read as a deal. The contract goes on.",
            "Restore the order, or amend the contract to zero to stop billing.",
        ),
    },
    "fr": {
        "edited-after-billing": (
            "Déjà facturé, puis modifié : {what}. {cost} Le contrat continue inchangé.",
            ("Faites approuver l'avenant (`connector deals approve {deal}`), annulez la modification, ou clôturez une affaire Amend"
            " avec la différence si elle compte à partir d'un autre jour."),
        ),
        "edit-impossible": (
            "Déjà facturé, puis modifié : {what}. Aucun avenant ne peut le faire de lui-même{why}. Le contrat continue inchangé.",
            "Annulez la modification, ou clôturez une affaire Amend avec la différence, ou résiliez ce contrat et clôturez une affaire New.",
        ),
        "once-given-back": (
            "Déjà facturé, puis modifié : {what}. Ce qui a été facturé une fois ne se rend que par un avoir. Le contrat continue inchangé.",
            ("Annulez la modification ; les responsables du connecteur de facturation peuvent créditer la facture"
            " (`connector invoices credit NUMÉRO`)."),
        ),
        "account-after-billing": (
            "Déjà facturé, puis le compte de cette fiche a été changé. Le contrat continue inchangé, avec son client.",
            "Remettez le compte, ou clôturez ici une affaire Cancel et une affaire New pour l'autre compte.",
        ),
        "reopened-after-billing": (
            "Cette affaire n'est plus gagnée, mais elle a déjà été facturée. Le contrat continue.",
            "Pour l'arrêter, clôturez une affaire Cancel qui modifie celle-ci ; pour continuer, gagnez-la de nouveau.",
        ),
        "deleted-after-billing": (
            "La fiche de cette affaire a été supprimée dans le CRM, mais elle a déjà été facturée. Le contrat continue.",
            "Pour l'arrêter, résiliez le contrat (`connector contracts cancel {contract}`), ou clôturez une affaire Cancel qui le nomme ; pour continuer, restaurez la fiche.",
        ),
        "paused-after-reopening": (
            "Cette affaire n'est plus gagnée, mais elle a déjà été facturée. Son contrat est en pause.",
            "Gagnez-la de nouveau pour qu'il continue, ou clôturez une affaire Cancel qui modifie celle-ci pour y mettre fin.",
        ),
        "no-parent": (
            "Non facturé : c'est une affaire {action}, mais elle ne dit pas quelle affaire elle modifie.",
            "Remplissez Amends Opportunity (ou Amends Contract Id) sur cette fiche ; nouvel essai automatique.",
        ),
        "unknown-parent": (
            ("Non facturé : l'affaire que celle-ci modifie n'est pas dans la facturation (pas gagnée, ou clôturée avant le début de la"
            " facturation par ce connecteur)."),
            ("Gagnez cette affaire ; ou faites importer son contrat (`connector import contracts FICHIER`) et lier cette affaire"
            " (`connector deals relink {deal} CONTRAT`), ou nommez le contrat dans Amends Contract Id."),
        ),
        "unknown-contract": (
            "Non facturé : la facturation n'a pas de contrat {contract}, que cette affaire nomme.",
            "Corrigez Amends Contract Id sur cette fiche, ou remplissez Amends Opportunity ; nouvel essai automatique.",
        ),
        "withdrawn-parent": (
            "Non facturé : '{label}', que cette affaire modifie, a été retirée avant d'être facturée.",
            "Gagnez-la de nouveau, ou changez l'affaire que celle-ci modifie.",
        ),
        "other-customer": (
            "Non facturé : {contract} appartient à un autre compte ({theirs}) que cette affaire.",
            "Corrigez le compte de cette affaire, ou l'affaire ou le contrat qu'elle modifie ; nouvel essai automatique.",
        ),
        "other-currency": (
            "Non facturé : {contract} est en {theirs}, cette affaire est en {ours}.",
            "Clôturez cette affaire en {theirs}, ou comme affaire New ; nouvel essai automatique.",
        ),
        "blocked": ("Bloqué par '{label}' ({reason}).", "Rien à faire ici."),
        "circle": (
            "Non facturé : les affaires que celle-ci modifie se modifient en cercle.",
            "Corrigez Amends Opportunity sur l'une d'elles, pour que la première soit une affaire New ; nouvel essai automatique.",
        ),
        "record-gone": (
            "La fiche de cette affaire ne se lit plus comme une affaire. Le contrat continue.",
            "Restaurez la fiche, ou clôturez une affaire Cancel pour arrêter la facturation.",
        ),
        "billed-otherwise": (
            "Non facturé : l'opportunité de cette commande est déjà facturée par {what} {label}, dont le contrat vaut.",
            ("Rien à faire si c'est voulu. Sinon, remettez cette fiche-là en arrière tant que rien n'en est facturé ; la commande sera alors"
             " facturée d'elle-même."),
        ),
        "several-contracts": (
            "Non facturé : les lignes de cette commande révisent celles de plusieurs contrats ({contracts}).",
            "Faites une commande d'avenant par contrat ; nouvel essai automatique.",
        ),
        "edited-after-billing@Order": (
            "Déjà facturé, puis modifié : {what}. {cost} Le contrat continue inchangé.",
            ("Faites approuver l'avenant (`connector deals approve {deal}`), annulez la modification, ou activez une commande d'avenant avec la"
             " différence si elle compte à partir d'un autre jour."),
        ),
        "edit-impossible@Order": (
            "Déjà facturé, puis modifié : {what}. Aucun avenant ne peut le faire de lui-même{why}. Le contrat continue inchangé.",
            "Annulez la modification, ou activez une commande d'avenant avec la différence.",
        ),
        "account-after-billing@Order": (
            "Déjà facturé, puis le compte de cette commande a été changé. Le contrat continue inchangé, avec son client.",
            "Remettez le compte ; pour l'autre compte, mettez fin à ce contrat par un avenant et activez une nouvelle commande.",
        ),
        "reopened-after-billing@Order": (
            "Cette commande n'est plus activée, mais elle a déjà été facturée. Le contrat continue.",
            "Pour l'arrêter, ramenez le contrat à zéro par un avenant ; pour continuer, activez-la de nouveau.",
        ),
        "paused-after-reopening@Order": (
            "Cette commande n'est plus activée, mais elle a déjà été facturée. Son contrat est en pause.",
            "Activez-la de nouveau pour qu'il continue, ou ramenez le contrat à zéro par un avenant pour y mettre fin.",
        ),
        "unknown-parent@Order": (
            ("Non facturé : la commande que celle-ci modifie n'est pas dans la facturation (pas activée, ou d'avant le début de la facturation"
             " par ce connecteur)."),
            ("Activez cette commande-là ; ou faites importer son contrat (`connector import contracts FICHIER`) et lier celle-ci"
             " (`connector deals relink {deal} CONTRAT`), ou nommez le contrat dans Amends Contract Id."),
        ),
        "unknown-contract@Order": (
            "Non facturé : la facturation n'a pas de contrat {contract}, que cette commande nomme.",
            "Corrigez Amends Contract Id sur cette commande ; nouvel essai automatique.",
        ),
        "withdrawn-parent@Order": (
            "Non facturé : la commande {label}, que celle-ci modifie, a été retirée avant d'être facturée.",
            "Activez-la de nouveau ; celle-ci sera alors essayée d'elle-même.",
        ),
        "circle@Order": (
            "Non facturé : les commandes que celle-ci modifie se modifient en cercle.",
            "Corrigez les lignes révisées par l'une d'elles, pour que la première soit nouvelle ; nouvel essai automatique.",
        ),
        "record-gone@Order": (
            "La fiche de cette commande ne se lit plus comme une affaire. Le contrat continue.",
            "Restaurez la commande, ou ramenez le contrat à zéro par un avenant pour arrêter la facturation.",
        ),
    },
}

_BITS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "quantity": "{item} {old} → {new}", "price": "{item} at {new} instead of {old}", "interval": "{item} billed {new} instead of {old}",
        "line_discount": "{item} with {new} instead of {old} off", "added": "{item} added ({new})", "removed": "{item} removed ({old})",
        "once": "{item} added once ({new})", "once_gone": "{item} taken off, once ({old})", "discount": "discount {new} instead of {old}",
        "end": "last day {new} instead of {old}", "end_given": "last day {new} instead of none",
        "open_end": "no last day any more (was {old})", "renewal": "renewal",
        "billing_day": "billing day {new} instead of {old}", "trial": "free trial", "start": "first day {new} instead of {old}",
        "prebill": "prebilling", "currency": "currency {new} instead of {old}", "other": "what kind of deal it is",
        "from": " from {day}", "none": "none", "now": "now", "nothing": "nothing", "more": "{amount} more {period}",
        "less": "{amount} less {period}",
        "cost": "The amendment that closes the difference costs {now} now{later} (reckoned on {day}).",
        "credit": "The amendment that closes the difference credits {now} now{later} (reckoned on {day}).",
        "and": " and {parts}", "why": " ({message})",
        "month": "a month", "year": "a year", "week": "a week", "day": "a day", "months": "every {n} months", "years": "every {n} years",
        "weeks": "every {n} weeks", "days": "every {n} days", "terms": "the terms (lines, prices, discounts or dates)", "pending": "not billed yet",
    },
    "fr": {
        "quantity": "{item} {old} → {new}", "price": "{item} à {new} au lieu de {old}", "interval": "{item} facturé {new} au lieu de {old}",
        "line_discount": "{item} avec {new} au lieu de {old} de remise", "added": "{item} ajouté ({new})", "removed": "{item} retiré ({old})",
        "once": "{item} ajouté une fois ({new})", "once_gone": "{item} retiré, une fois ({old})", "discount": "remise {new} au lieu de {old}",
        "end": "dernier jour {new} au lieu de {old}", "end_given": "dernier jour {new} au lieu d'aucun",
        "open_end": "plus de dernier jour (c'était {old})", "renewal": "reconduction",
        "billing_day": "jour de facturation {new} au lieu de {old}", "trial": "essai gratuit", "start": "premier jour {new} au lieu de {old}",
        "prebill": "facturation d'avance", "currency": "monnaie {new} au lieu de {old}", "other": "la nature de l'affaire",
        "from": " à partir du {day}", "none": "aucune", "now": "maintenant", "nothing": "rien", "more": "{amount} de plus {period}",
        "less": "{amount} de moins {period}",
        "cost": "L'avenant qui efface la différence coûte {now} maintenant{later} (calculé le {day}).",
        "credit": "L'avenant qui efface la différence crédite {now} maintenant{later} (calculé le {day}).",
        "and": " et {parts}", "why": " ({message})",
        "month": "par mois", "year": "par an", "week": "par semaine", "day": "par jour", "months": "tous les {n} mois",
        "years": "tous les {n} ans", "weeks": "toutes les {n} semaines", "days": "tous les {n} jours", "terms": "les conditions (lignes, prix, remises ou dates)", "pending": "pas encore facturé",
    },
}  # fmt: skip
_DATES = ("end", "open_end", "start")


class Reasons:
    """The reasons in one language, counted from one day."""

    def __init__(self, language: str = "en", today: date | None = None) -> None:
        self.language = language if language in _REASONS else "en"
        self._today = today
        self._bits = _BITS[self.language]

    @property
    def terms(self) -> str:
        """What was edited, where nothing better is known."""
        return self._bits["terms"]

    @property
    def pending(self) -> str:
        """Why a deal that says nothing itself blocks another one."""
        return self._bits["pending"]

    def without_head(self, message: str) -> str:
        """Return the reason of a message without "Not billed:" before it."""
        return message.removeprefix("Not billed: ").removeprefix("Non facturé : ").rstrip(".")

    def problem(self, code: str, where: Where, *, kind: str = "", **values: str) -> Problem:
        """Return the problem *code* in words; *kind* names other words for the same code. Orders are spoken of in their own words."""
        known = _REASONS[self.language]
        message, hint = known.get(f"{kind or code}@{where.object}") or known[kind or code]
        values = values | {"what": kind_text(values["what"], self.language)} if "what" in values else values
        return Problem(code=code, message=message.format(**values), hint=hint.format(**values), where=where)

    def edited(self, proposal: Proposal, deal: str, where: Where) -> Problem:
        """Return that a billed record was edited: what differs, the amendment that would close it, and what it costs."""
        what = self.differences(proposal)
        if proposal.change is not None and proposal.problem is None:
            return self.problem("edited-after-billing", where, what=what, cost=self.cost(proposal), deal=deal)
        if any(d.what == "once_gone" for d in proposal.differences):
            return self.problem("edited-after-billing", where, kind="once-given-back", what=what)
        why = "" if proposal.problem is None else self._bits["why"].format(message=proposal.problem.message.rstrip("."))
        return self.problem("edited-after-billing", where, kind="edit-impossible", what=what, why=why)

    def differences(self, proposal: Proposal) -> str:
        """Return what differs, in one line."""
        return "; ".join(dict.fromkeys(self._difference(d) for d in proposal.differences)) or self._bits["other"]

    def _difference(self, d: Difference) -> str:
        old, new = (self._day_of(d.old), self._day_of(d.new)) if d.what in _DATES else (d.old, d.new)
        key = "end_given" if d.what == "end" and not d.old else d.what
        none = self._bits["none"]
        if d.what == "interval" and self.language == "fr":
            old, new = _french_interval(old), _french_interval(new)
        text = self._bits[key].format(item=d.item, old=old or none, new=new or none)
        return text if d.on is None else text + self._bits["from"].format(day=day_text(d.on.date(), None, self.language))

    def _day_of(self, text: str) -> str:
        return day_text(date.fromisoformat(text), None, self.language) if text else ""

    def cost(self, proposal: Proposal) -> str:
        """Return what an amendment costs now and later, with the day on which that was reckoned."""
        bits, now = self._bits, proposal.due_now
        parts = [
            bits["more" if by > 0 else "less"].format(amount=self._money(abs(by), proposal), period=self.period(interval))
            for interval, by in proposal.per_period
        ]
        later = bits["and"].format(parts=", ".join(parts)) if parts else ""
        text = self._money(abs(now), proposal) if now else bits["nothing"]
        day = day_text(self._today, None, self.language) if self._today else ""
        return bits["credit" if now < 0 else "cost"].format(now=text, later=later, day=day)

    def _money(self, minor: int, proposal: Proposal) -> str:
        return money_text(minor, proposal.currency, self.language)

    def period(self, interval: Interval) -> str:
        """Return an interval as an amount is said by it: a month, every 3 months."""
        if interval.count == 1:
            return self._bits[interval.unit]
        return self._bits[f"{interval.unit}s"].format(n=interval.count)


_FRENCH = {"once": "une fois", "every month": "chaque mois", "every year": "chaque année", "every week": "chaque semaine", "every day": "chaque jour"}


def _french_interval(text: str) -> str:
    if text in _FRENCH:
        return _FRENCH[text]
    words = text.split()
    units = {"months": "mois", "years": "ans", "weeks": "semaines", "days": "jours"}
    return f"tous les {words[1]} {units.get(words[2], words[2])}" if len(words) > 2 else text
