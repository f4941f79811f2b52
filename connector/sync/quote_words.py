"""What a rep reads on a quote: its status word, one message, and its amounts (deals.md sections 6 and 7). Pure.

Worked example (en): Q-00001, revision 2, is presented: "Quote Q-00001 (revision 2) can be accepted until 31 Mar. 300.00 EUR is due on
1 Apr, then 300.00 EUR a month; 3,600.00 EUR in all, before tax."
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from connector.core.money import major
from connector.errors import Problem
from connector.offers import QuoteStage, QuoteSum, QuoteView, why_not
from connector.sync.messages import Words, day_text

_SHOWN_STAGES = 3
_TEXTS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "draft": "Draft. {totals} Present it to give it a number.",
        "revising": "Quote {name} is being revised and cannot be accepted. {totals}",
        "open": "Quote {name} can be accepted until {day}. {totals}",
        "open_ended": "Quote {name} can be accepted. {totals}",
        "accepted": "Quote {name} was accepted by {who} on {day}. It is billed in the next round.",
        "waits": "Quote {name} was accepted by {who} on {day}. Billing begins when the opportunity is won.",
        "declined": "Quote {name} was declined{why}.",
        "replaced": "Quote {name} is no longer needed: the deal is billed otherwise.",
        "expired": "Quote {name} expired on {day}.",
        "outdated": "Quote {name} is outdated: the contract has changed since{why}.",
        "somebody": "somebody",
        "due": "{amount} is due on {day}",
        "none_due": "Nothing is due at first",
        "then": ", then {sums}",
        "later": ", {sums} from {day}",
        "whole": "; {amount} in all, before tax.",
        "year": "; {amount} in 12 months, before tax.",
        "difference": "; the contract's value changes by {amount}, before tax.",
        "a": "{amount} {interval}",
        "and": " and ",
        "for": " ({what})",
        "not_accepted": "Not billed: {why}",
        "again": "Take it back to Draft and present it again; it gets a new revision.",
        "prefix": "Not quoted",
    },
    "fr": {
        "draft": "Brouillon. {totals} Présentez-le pour lui donner un numéro.",
        "revising": "Le devis {name} est en cours de révision et ne peut pas être accepté. {totals}",
        "open": "Le devis {name} peut être accepté jusqu'au {day}. {totals}",
        "open_ended": "Le devis {name} peut être accepté. {totals}",
        "accepted": "Le devis {name} a été accepté par {who} le {day}. Il sera facturé au prochain passage.",
        "waits": "Le devis {name} a été accepté par {who} le {day}. La facturation commence quand l'opportunité est gagnée.",
        "declined": "Le devis {name} a été refusé{why}.",
        "replaced": "Le devis {name} n'est plus utile : l'affaire est facturée autrement.",
        "expired": "Le devis {name} a expiré le {day}.",
        "outdated": "Le devis {name} est dépassé : le contrat a changé depuis{why}.",
        "somebody": "quelqu'un",
        "due": "{amount} à payer le {day}",
        "none_due": "Rien à payer au début",
        "then": ", puis {sums}",
        "later": ", {sums} à partir du {day}",
        "whole": " ; {amount} en tout, hors taxes.",
        "year": " ; {amount} sur 12 mois, hors taxes.",
        "difference": " ; la valeur du contrat change de {amount}, hors taxes.",
        "a": "{amount} {interval}",
        "and": " et ",
        "for": " ({what})",
        "not_accepted": "Non facturé : {why}",
        "again": "Remettez-le en brouillon et présentez-le de nouveau ; il aura une nouvelle révision.",
        "prefix": "Non chiffré",
    },
}
_INTERVALS: Mapping[str, Mapping[str, str]] = {
    "en": {"": "once"},
    "fr": {"": "une fois", "day": "par jour", "week": "par semaine", "month": "par mois", "year": "par an"},
}
_UNITS_FR = {"days": "jours", "weeks": "semaines", "months": "mois", "years": "ans"}
_WORDS = {"draft": "Draft", "open": "Quoted", "accepted": "Accepted", "canceled": "Declined", "expired": "Expired", "outdated": "Outdated"}


def interval_text(interval: str, language: str) -> str:
    """Return an interval of a quote as people read it behind an amount: "a month", "every 3 months", "par mois"."""
    known = _INTERVALS[language].get(interval)
    if known is not None:
        return known
    count, _, unit = interval.partition(" ")
    if not unit:
        return f"a {interval}"
    return f"every {interval}" if language == "en" else f"tous les {count} {_UNITS_FR.get(unit, unit)}"


class QuoteWords:
    """The words on quotes in one language, counted from one day of a time zone."""

    def __init__(self, language: str, now: datetime, timezone: str) -> None:
        self._language = language if language in _TEXTS else "en"
        self._texts = _TEXTS[self._language]
        self._zone = ZoneInfo(timezone)
        self._words = Words(language, now.astimezone(self._zone).date())

    def values(self, view: QuoteView, *, url: str | None) -> dict[str, Any]:
        """Return what stands on a quote's record beside its status, by source name, amounts in major units; *url* - of its page."""

        def money(minor: int) -> Any:
            return major(minor, view.currency)

        return {
            "quote_number": view.number,
            "quote_url": url,
            "quote_pdf_url": f"{url}.pdf" if url else None,
            "quote_due_now": money(view.due_now),
            "quote_per_period": money(view.per_period) if self._has_one_interval(view) else None,
            "quote_tax": money(view.tax),
            "accepted_by": f"{view.accepted_by}, {view.accepted_title}" if view.accepted_title else view.accepted_by or None,
            "accepted_at": view.accepted_at if view.status == "accepted" else None,
        }

    def shown(self, view: QuoteView, *, waits: bool) -> dict[str, Any]:
        """Return status, message and value of a quote whose deal is not billed through it; *waits*: for the opportunity to be won."""
        word = "Replaced" if view.status == "replaced" or (view.status == "canceled" and view.contract_id) else _WORDS[view.status]
        is_live = view.status in ("draft", "open", "accepted")
        return {
            "status": word,
            "message": self._message(view, waits=waits),
            "contract_value": major(view.value, view.currency) if is_live else None,
        }

    def unquoted(self, problem: Problem) -> Problem:
        """Return a problem of what would be billed as one of what would be quoted."""
        text = problem.message.replace("Not billed", self._texts["prefix"], 1).replace("Non facturé", self._texts["prefix"], 1)
        return Problem(code=problem.code, message=text, hint=problem.hint, where=problem.where)

    def refusal(self, view: QuoteView, now: datetime) -> Problem | None:
        """Return why a quote that was accepted in the CRM cannot be billed: it has expired, is outdated or was declined."""
        problem = why_not(view, now)
        if problem is None or view.status not in ("open", "expired", "outdated", "canceled"):
            return None
        key = {"open": "expired", "canceled": "declined"}.get(view.status, view.status)
        message = self._texts["not_accepted"].format(why=self._say(key, view))
        return Problem(code=problem.code, message=message, hint=self._texts["again"])

    # ------------------------------------------------------------ sentences

    def _say(self, key: str, view: QuoteView, **more: str) -> str:
        why = self._texts["for"].format(what=view.reason) if view.reason else ""
        ends = view.expires_at and (view.expires_at - timedelta(seconds=1)).astimezone(self._zone).date()
        at = view.accepted_at if key in ("accepted", "waits") else None
        day = at.astimezone(self._zone).date() if at else ends
        who = view.accepted_by or self._texts["somebody"]
        name = view.number or view.label
        if view.revision > 1 and view.number:
            name = f"{name} ({'revision' if self._language == 'en' else 'révision'} {view.revision})"
        values = {"name": name, "why": why, "who": who, "day": self._day(day), "totals": self.totals(view)} | more
        return self._texts[key].format(**values).replace("..", ".")  # a month that ends in a point (juil.) needs no second one

    def _message(self, view: QuoteView, *, waits: bool) -> str:
        key: str = view.status
        if view.is_being_revised:
            key = "revising"
        elif view.status == "open" and view.expires_at is None:
            key = "open_ended"
        elif view.status == "accepted" and waits:
            key = "waits"
        elif view.status == "canceled":
            key = "replaced" if view.contract_id else "declined"
        said = self._say(key, view)
        return f"{said} {self._texts['again']}" if view.status in ("expired", "outdated") else said

    def _day(self, day: date | None) -> str:
        return "" if day is None else self._words.day(day)

    def totals(self, view: QuoteView) -> str:
        """Return what a quote comes to in one sentence."""
        sheet, texts = view.sheet, self._texts
        amount = self._words.money(view.due_now, view.currency)
        text = texts["due"].format(amount=amount, day=self._day(sheet.first_on)) if sheet.first_on else texts["none_due"]
        later = [s for s in sheet.stages if s.periods][:_SHOWN_STAGES]
        if later:
            text += texts["then"].format(sums=self._sums(later[0], view))
        for stage in later[1:]:
            text += texts["later"].format(sums=self._sums(stage, view), day=day_text(stage.start, None, self._language))
        key = "difference" if view.kind not in ("new", "renew") else "whole" if sheet.ends_on is not None else "year"
        return text + texts[key].format(amount=self._words.money(view.value, view.currency))

    def _sums(self, stage: QuoteStage, view: QuoteView) -> str:
        return self._texts["and"].join(self._sum(p, view.currency) for p in stage.periods)

    def _sum(self, whole: QuoteSum, currency: str) -> str:
        return self._texts["a"].format(amount=self._words.money(whole.total, currency), interval=interval_text(whole.interval, self._language))

    @staticmethod
    def _has_one_interval(view: QuoteView) -> bool:
        return not view.sheet.stages or len(view.sheet.stages[0].periods) == 1
