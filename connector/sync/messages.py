"""What a rep reads on the record: the status word and one message in plain words (deals.md section 6). Pure.

Worked example (en): a standing with INV-0007 over 1,080.00 EUR open until 1 May gives
"Billing since 1 Apr 2026. INV-0007, 1,080.00 EUR, is open, due 1 May. Next invoice 1 May."
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from connector.charging import Chased
from connector.core.closing import Difference
from connector.core.matching import quantity_text
from connector.core.money import major
from connector.documents.refused import told
from connector.documents.texts import failure_text
from connector.errors import Problem
from connector.ports import InvoiceView, Standing

_MONTHS = {
    "en": ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
    "fr": ("janv.", "févr.", "mars", "avr.", "mai", "juin", "juil.", "août", "sept.", "oct.", "nov.", "déc."),
}

_TEXTS = {
    "en": {
        "since": "Billing since {day}.",
        "trial": "Free trial until {day}.",
        "starts": "Starts on {day}.",
        "open": "{number}, {amount}, is open, due {day}.",
        "open_rest": "{number}, {amount}, is open, due {day}; {rest} of it is left to pay.",
        "gives_back": "{number} credits {amount} to the customer's balance.",
        "paid": "{number}, {amount}, is paid.",
        "void": "{number} was voided.",
        "credited_of": "{amount} of it was credited.",
        "uncollectible": "{number}, {amount}, was given up as uncollectible.",
        "past_due": "Past due: {number}, {amount}, was due {day}.",
        "unpaid": "Unpaid: {number}, {amount}, was due {day}; all reminders were in vain.",
        "unpaid_untold": "Unpaid: {number}, {amount}, was due {day}.",
        "reminded": "Reminded {days}.",
        "reminded_next": "Reminded {days}, next on {day}.",
        "remind_next": "Next reminder on {day}.",
        "undelivered": "The last reminder could not be delivered: {why}",
        "charge_failed": "The charge of {number}, {amount}, failed on {day}: {why}",
        "charge_again": "It is tried again on {day}.",
        "charge_stuck": "It is not tried again by itself; the customer needs another payment method.",
        "unpaid_charge": "Unpaid: {number}, {amount}, was due {day}; no charge went through.",
        "trial_unpaid": "The free trial ended without a payment method.",
        "next": "Next invoice {day}.",
        "next_amount": "Next invoice {day}: {amount}.",
        "draft": "The invoice waits as a draft.",
        "paused": "Paused: nothing is billed until it is resumed.",
        "canceled": "Canceled, ended on {day}.",
        "cancel_planned": "Canceled: the last day will be {day}.",
        "completed": "Completed: the term ended on {day}.",
        "renewed": "Completed: renewed by {label}.",
        "withdrawn": "Withdrawn: nothing was billed.",
        "ends": "Ends on {day}.",
        "changed": "Changed the contract from {day}.",
        "change_planned": "Will change the contract on {day}.",
        "what": ": {what}.",
        "what_quantity": "{item} {new}",
        "what_added": "{item} {new}",
        "what_price": "{item} from now on {new}",
        "what_removed": "{item} ended",
        "what_once": "{item} once, {new}",
        "what_discount": "discount {new}",
        "what_no_discount": "no discount any more",
        "what_end": "last day {new}",
        "what_billing_day": "billing day {new}",
        "what_trial": "free trial",
        "what_prebill": "billed ahead",
        "what_cancel": "canceled",
        "what_pause": "paused",
        "what_resume": "goes on",
        "surprise": "Please check: this change was agreed when {expected} {item} ran, but {found} ran on that day. What it adds or takes away was counted from {found}.",
        "charged": "Charged {amount}.",
        "credited": "Credited {amount}.",
        "charged_less": "Charged {amount} ({charged} less {credited} billed before).",
        "credited_less": "Credited {amount} ({credited} billed before, less {charged}).",
        "charged_none": "Nothing to charge or credit: {charged} less {credited} billed before.",
        "on_invoice": "See {number}.",
        "on_next": "It comes with the next invoice.",
        "elsewhere": "Billed through {what} {label}.",
        "differs": "Billed through {what} {label}, whose terms stand: {ours} there, {theirs} here. Change this record to match, or close an Amend deal with the difference.",
        "second": "Not billed: this deal is already billed through {what} {label}. Set this record back, or amend the contract.",
        "assumed": "Assumed where nothing was filled in: {notes}.",
        "queued": "Waiting to be billed; it is tried again by itself.",
        "differs_from_lines": "The lines add up to {ours}, but {field} says {theirs}: check the products of this record.",
    },
    "fr": {
        "since": "Facturé depuis le {day}.",
        "trial": "Essai gratuit jusqu'au {day}.",
        "starts": "Commence le {day}.",
        "open": "{number}, {amount}, est à payer pour le {day}.",
        "open_rest": "{number}, {amount}, est à payer pour le {day} ; il en reste {rest}.",
        "gives_back": "{number} crédite {amount} au solde du client.",
        "paid": "{number}, {amount}, est payée.",
        "void": "{number} a été annulée.",
        "credited_of": "{amount} en ont été crédités.",
        "uncollectible": "{number}, {amount}, est irrécouvrable.",
        "past_due": "En retard : {number}, {amount}, était due le {day}.",
        "unpaid": "Impayé : {number}, {amount}, était due le {day} ; toutes les relances sont restées sans effet.",
        "unpaid_untold": "Impayé : {number}, {amount}, était due le {day}.",
        "reminded": "Relances : {days}.",
        "reminded_next": "Relances : {days} ; la prochaine le {day}.",
        "remind_next": "Prochaine relance le {day}.",
        "undelivered": "La dernière relance n'a pas pu être remise : {why}",
        "charge_failed": "Le prélèvement de {number}, {amount}, a échoué le {day} : {why}",
        "charge_again": "Nouvel essai le {day}.",
        "charge_stuck": "Pas de nouvel essai automatique ; le client doit donner un autre moyen de paiement.",
        "unpaid_charge": "Impayé : {number}, {amount}, était due le {day} ; aucun prélèvement n'a abouti.",
        "trial_unpaid": "L'essai gratuit s'est terminé sans moyen de paiement.",
        "next": "Prochaine facture le {day}.",
        "next_amount": "Prochaine facture le {day} : {amount}.",
        "draft": "La facture attend comme brouillon.",
        "paused": "En pause : rien n'est facturé avant la reprise.",
        "canceled": "Résilié, terminé le {day}.",
        "cancel_planned": "Résilié : le dernier jour sera le {day}.",
        "completed": "Terminé : échéance le {day}.",
        "renewed": "Terminé : renouvelé par {label}.",
        "withdrawn": "Retiré : rien n'a été facturé.",
        "ends": "Se termine le {day}.",
        "changed": "Contrat modifié à partir du {day}.",
        "change_planned": "Modifiera le contrat le {day}.",
        "what": " : {what}.",
        "what_quantity": "{item} {new}",
        "what_added": "{item} {new}",
        "what_price": "{item} désormais {new}",
        "what_removed": "{item} terminé",
        "what_once": "{item} une fois, {new}",
        "what_discount": "remise {new}",
        "what_no_discount": "plus de remise",
        "what_end": "dernier jour {new}",
        "what_billing_day": "jour de facturation {new}",
        "what_trial": "essai gratuit",
        "what_prebill": "facturation d'avance",
        "what_cancel": "résilié",
        "what_pause": "en pause",
        "what_resume": "reprise",
        "surprise": "À vérifier : cet avenant a été convenu quand il y avait {expected} {item}, mais il y en avait {found} ce jour-là. Ce qu'il ajoute ou retire a été compté à partir de {found}.",
        "charged": "Facturé {amount}.",
        "credited": "Crédité {amount}.",
        "charged_less": "Facturé {amount} ({charged} moins {credited} déjà facturés).",
        "credited_less": "Crédité {amount} ({credited} déjà facturés, moins {charged}).",
        "charged_none": "Rien à facturer ni à créditer : {charged} moins {credited} déjà facturés.",
        "on_invoice": "Voir {number}.",
        "on_next": "Sur la prochaine facture.",
        "elsewhere": "Facturé par {what} {label}.",
        "differs": "Facturé par {what} {label}, dont les conditions valent : {ours} là, {theirs} ici. Mettez cette fiche en accord, ou clôturez une affaire Amend avec la différence.",
        "second": "Non facturé : cette affaire est déjà facturée par {what} {label}. Remettez cette fiche en arrière, ou clôturez une affaire Amend.",
        "assumed": "Supposé faute d'indication : {notes}.",
        "queued": "En attente de facturation ; nouvel essai automatique.",
        "differs_from_lines": "Les lignes font {ours}, mais {field} indique {theirs} : vérifiez les produits de cette fiche.",
    },
}

_FRENCH_KINDS = {"quote": "le devis", "opportunity": "l'opportunité", "order": "la commande"}
_AND = {"en": " and ", "fr": " et "}
_DAYS_TOLD = 3  # days of reminders that a message names, the latest ones

_STATUS = {
    "draft": "Draft",
    "scheduled": "Scheduled",
    "trialing": "Trialing",
    "active": "Active",
    "past_due": "Past due",
    "unpaid": "Unpaid",
    "paused": "Paused",
    "withdrawn": "Withdrawn",
    "canceled": "Canceled",
    "completed": "Completed",
}


def money_text(minor: int, currency: str, language: str = "en") -> str:
    """Return an amount as people read it: 1,080.00 EUR, in French 1 080,00 EUR."""
    value: Decimal = major(minor, currency)
    text = f"{value:,f}"
    if language == "fr":
        text = text.replace(",", "\u202f").replace(".", ",")
    return f"{text} {currency.upper()}"


def day_text(day: date, today: date | None, language: str = "en") -> str:
    """Return a day as people read it; without the year where it is this one."""
    short = f"{_number_of(day, language)} {_MONTHS[language][day.month - 1]}"
    return short if today is not None and day.year == today.year else f"{short} {day.year}"


def _number_of(day: date, language: str) -> str:
    return "1er" if language == "fr" and day.day == 1 else str(day.day)


def kind_text(kind: str, language: str) -> str:
    """Return what kind of record bills a deal, as people of that language say it."""
    return _FRENCH_KINDS.get(kind, kind) if language == "fr" else kind


def sentence(key: str, language: str, **values: str) -> str:
    """Return one sentence that names no day."""
    return _TEXTS[language if language in _TEXTS else "en"][key].format(**values)


def status_word(standing: Standing) -> str:
    """Return the status word of a deal that stands in the books."""
    return _STATUS[standing.contract_status]


class Words:
    """The messages in one language, counted from one day."""

    def __init__(self, language: str, today: date) -> None:
        self._texts = _TEXTS[language if language in _TEXTS else "en"]
        self._language = language if language in _TEXTS else "en"
        self._today = today

    def why(self, problem: Problem) -> str:
        """Return a problem with what to do about it."""
        said = told(problem, self._language)
        return f"{said.message} {said.hint}".strip()

    def say(self, key: str, **values: str) -> str:
        """Return one sentence; a month that ends in a point (févr.) needs no second one."""
        values = values | {"what": kind_text(values["what"], self._language)} if "what" in values else values
        return self._texts[key].format(**values).replace("..", ".")

    def day(self, day: date) -> str:
        """Return a day, short where it is this year."""
        return day_text(day, self._today, self._language)

    def money(self, minor: int, currency: str) -> str:
        """Return an amount with its currency."""
        return money_text(minor, currency, self._language)

    def of(self, standing: Standing) -> str:
        """Return what a rep reads of a deal that stands in the books."""
        if standing.is_change:
            return self._of_change(standing)
        status = standing.contract_status
        if status == "withdrawn":
            return self.say("withdrawn")
        parts = [self._opening(standing)]
        if standing.is_trial_lost and status in ("canceled", "paused"):
            parts.append(self.say("trial_unpaid"))
        oldest = standing.oldest_open
        chased = standing.chased
        if oldest is not None and ((oldest.due_on or self._today) < self._today or (chased is not None and chased.failed_on)):
            late = self._past_due(oldest, chased or Chased())
            # a message about a late invoice begins with it (deals.md section 6)
            parts = late if standing.contract_status in ("past_due", "unpaid") else parts + late
        elif standing.last is not None:
            parts.append(self._invoice(standing.last))
            if oldest is not None and oldest.id != standing.last.id:
                parts.append(self._invoice(oldest))  # the newest one is not the one to be paid first
        if status not in ("completed", "canceled"):
            parts += self._ahead(standing)
        return " ".join(p for p in parts if p)

    def _opening(self, standing: Standing) -> str:
        status = standing.contract_status
        ended = day_text(standing.ends_on, None, self._language) if standing.ends_on else ""
        if status == "completed":
            return self.say("renewed", label=standing.renewed_by) if standing.renewed_by else self.say("completed", day=ended)
        if status in ("canceled", "paused"):
            return self.say(status, day=ended)
        if status == "scheduled":
            return self.say("starts", day=day_text(standing.starts_on, None, self._language))
        if status == "trialing" and standing.trial_ends_on:
            return self.say("trial", day=self.day(standing.trial_ends_on))
        return self.say("since", day=day_text(standing.starts_on, None, self._language))

    def _past_due(self, invoice: InvoiceView, chased: Chased) -> list[str]:
        """Return that an invoice is late, what was done about it, and what comes next."""
        due = invoice.due_on or invoice.issued_on or self._today
        told = {"number": invoice.number, "amount": self.money(invoice.amount_due - invoice.amount_paid, invoice.currency), "day": self.day(due)}
        is_charged = chased.failed_on is not None
        if chased.is_unpaid:
            return [self.say("unpaid_charge" if is_charged else "unpaid" if chased.reminded_on else "unpaid_untold", **told)]
        parts = [] if due >= self._today else [self.say("past_due", **told)]
        if chased.failed_on is not None:
            why = failure_text(chased.failure, self._language)
            parts.append(self.say("charge_failed", **(told | {"day": self.day(chased.failed_on)}), why=why))
            parts.append(self.say("charge_again", day=self.day(chased.retry_on)) if chased.retry_on else self.say("charge_stuck"))
        days, following = self._days(chased.reminded_on), self.day(chased.next_on) if chased.next_on else ""
        if days:
            parts.append(self.say("reminded_next" if following else "reminded", days=days, day=following))
        elif following:
            parts.append(self.say("remind_next", day=following))
        return parts + ([self.say("undelivered", why=chased.undelivered)] if chased.undelivered else [])

    def _days(self, days: Sequence[date]) -> str:
        """Return days as a list, a month said once for those it is shared by: 4 and 8 May."""
        shown, texts = list(dict.fromkeys(days))[-_DAYS_TOLD:], list[str]()
        if not shown:
            return ""
        for day, following in zip(shown, [*shown[1:], None], strict=True):
            is_shared = following is not None and (day.year, day.month) == (following.year, following.month)
            texts.append(_number_of(day, self._language) if is_shared else self.day(day))
        return _AND[self._language].join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)

    def _what(self, d: Difference) -> str:
        """Return one thing that a change did: Team Seat +5, Support removed."""
        new = day_text(date.fromisoformat(d.new), None, self._language) if d.what == "end" and d.new else d.new
        return self.say(f"what_{d.what}", item=d.item, new=new).removesuffix(".")

    def _invoice(self, invoice: InvoiceView) -> str:
        if invoice.status == "draft":
            return self.say("draft")
        due = invoice.due_on or invoice.issued_on or self._today
        amount, rest = self.money(abs(invoice.total), invoice.currency), invoice.amount_due - invoice.amount_paid
        key: str = "open_rest" if invoice.status == "open" and rest != invoice.total - invoice.credited else invoice.status
        if invoice.status == "paid" and invoice.total < 0:
            key = "gives_back"
        text = self.say(key, number=invoice.number, amount=amount, day=self.day(due), rest=self.money(rest, invoice.currency))
        if not invoice.credited or invoice.status == "void":
            return text
        return f"{text} {self.say('credited_of', amount=self.money(invoice.credited, invoice.currency))}"

    def _ahead(self, standing: Standing) -> list[str]:
        parts = []
        if standing.next_on is not None:
            parts.append(self.say("next", day=self.day(standing.next_on)))
        elif standing.ends_on is not None:
            parts.append(self.say("ends", day=self.day(standing.ends_on)))
        return parts

    def _of_change(self, standing: Standing) -> str:
        parts = [
            self.say("surprise", item=s.item, expected=quantity_text(s.expected), found=quantity_text(s.found)) for s in standing.surprises
        ]
        is_over = standing.contract_status in ("canceled", "completed") and standing.ends_on is not None
        end = day_text(standing.ends_on, None, self._language) if standing.ends_on is not None else ""
        if end and any(d.what == "cancel" for d in standing.what):  # its own day is the one on which it was closed, not the last
            parts.append(self.say(standing.contract_status if is_over else "cancel_planned", day=end))
            is_over = False
        elif standing.effective_on is not None:
            parts.append(self._change(standing.effective_on, standing.what))
        parts += self._difference(standing)
        if standing.last is not None and standing.last.number:
            parts.append(self.say("on_invoice", number=standing.last.number))
        elif standing.charged or standing.credited:
            parts.append(self.say("on_next"))
        if is_over:
            parts.append(self.say(standing.contract_status, day=end))
        if standing.contract_status in ("past_due", "unpaid") and standing.oldest_open is not None:
            parts += self._past_due(standing.oldest_open, standing.chased or Chased())  # why the status is what it is
        return " ".join(parts)

    def _change(self, on: date, differences: Sequence[Difference]) -> str:
        """Return what a change does, and from when."""
        said = self.say("changed" if on <= self._today else "change_planned", day=day_text(on, None, self._language)).removesuffix(".")
        what = ", ".join(self._what(d) for d in differences)
        return f"{said}{self.say('what', what=what)}" if what else f"{said}."

    def _difference(self, standing: Standing) -> list[str]:
        """Return what a change charged or credited: one difference, with its two sides where it has both."""
        difference = standing.charged + standing.credited
        key = "charged" if difference > 0 else "credited"
        if standing.charged and standing.credited:
            key = f"{key}_less" if difference else "charged_none"
        elif not difference:
            return []
        amount, charged, credited = (self.money(abs(n), standing.currency) for n in (difference, standing.charged, standing.credited))
        return [self.say(key, amount=amount, charged=charged, credited=credited)]
