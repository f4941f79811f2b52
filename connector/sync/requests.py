"""Requests of people about deals, by kind: approve an edit of a billed deal, link a deal to a contract (decision D-35)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from connector.errors import Problem, RejectedError
from connector.ports import Billing, IntentResult, Unit
from connector.sync import edits, ledger, links
from connector.sync.intents import Handler, Intent
from connector.sync.reasons import Reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class DealRequests:
    """Whoever carries out requests about deals: the books, the language of the CRM and the business time zone."""

    billing: Billing
    language: str
    timezone: str

    def handlers(self) -> Mapping[str, Handler]:
        """Return what carries out which kind of request."""
        return {"deal.approve": self.approve, "deal.relink": self.relink}

    def reasons(self, now: datetime) -> Reasons:
        """Return the words of today."""
        return Reasons(self.language, now.astimezone(ZoneInfo(self.timezone)).date())

    def approve(self, intent: Intent, unit: Unit, now: datetime) -> IntentResult:
        """Apply the amendment that an edit after billing proposes (data: deal, reason)."""
        found = edits.offer(self.billing, unit, str(intent.data["deal"]), now, self.reasons(now))
        before = self.billing.changed_invoices([found.deal.name], unit)
        edits.approved(self.billing, unit, found, now, actor=intent.actor, reason=str(intent.data["reason"]))
        known = {i.id for i in before}
        made = [i for i in self.billing.changed_invoices([found.deal.name], unit) if i.id not in known]
        issued = [{"number": i.number, "total": i.total, "currency": i.currency} for i in made]
        return IntentResult(result={"contract": found.deal.contract_id, "text": found.text, "invoices": issued})

    def relink(self, intent: Intent, unit: Unit, now: datetime) -> IntentResult:
        """Link a change deal whose base is not in billing to a contract of the books (data: deal, contract, reason)."""
        name, contract_id, reason = (str(intent.data[k]) for k in ("deal", "contract", "reason"))
        deal = require_linkable(self.billing, unit, name, contract_id)
        at = ledger.iso(now)
        links.save(unit, name, contract_id, actor=intent.actor, reason=reason, now=at)
        ledger.make_due(unit, [(deal.name, deal.label, deal.root)], deal.org, at)
        ledger.note(unit, [(name, "relink", contract_id, f"{intent.actor}: {reason}" if reason else intent.actor)], at)
        return IntentResult(result={"deal": name, "label": deal.label, "contract": contract_id}, deals=(name,))


_ACTIONS = ("amend", "renew", "cancel", "pause", "resume")
_NOT_LINKED = ("no-base", "no-parent")


def require_linkable(billing: Billing, unit: Unit, name: str, contract_id: str) -> ledger.Deal:
    """Return a deal that may be linked to a contract. Raises: RejectedError with what is wrong about it."""

    def refused(code: str, message: str, hint: str) -> RejectedError:
        return RejectedError(Problem(code=code, message=message, hint=hint))

    deal = ledger.deals(unit, [name]).get(name)
    if deal is None:
        hint = "A deal's name is its opportunity's 18-character id; see `connector deals list`."
        raise refused("unknown-deal", f"The ledger has no deal {name}.", hint)
    if deal.action not in _ACTIONS:
        hint = "Link the Amend, Renew, Cancel, Pause or Resume deal that changes the contract."
        raise refused("not-a-change", f"{deal.label} is a {deal.action.title()} deal; it makes a contract of its own.", hint)
    if deal.contract_id is not None and not deal.is_withdrawn:
        raise refused("deal-is-billed", f"{deal.label} already changed {deal.contract_id}.", "Close another deal for the other contract.")
    if deal.problem is not None and deal.problem.code in _NOT_LINKED:
        hint = f"Write {contract_id} into Amends Contract Id on its record; no link is needed then."
        raise refused("names-no-base", f"{deal.label} does not say which deal or contract it changes.", hint)
    party = billing.party(contract_id, unit)
    if party is None:
        raise refused("unknown-contract", f"The books have no contract {contract_id}.", "See `connector contracts list`.")
    _require_party(unit, deal, contract_id, party)
    return deal


def _require_party(unit: Unit, deal: ledger.Deal, contract_id: str, party: tuple[str, str, str]) -> None:
    account, customer, currency = party
    record = next((r for r in ledger.records_of_deals(unit, [deal.name], with_values=True).get(deal.name, [])), None)
    if record is None:
        return
    if record.account is not None and record.account != account:
        message = f"{contract_id} belongs to {customer} ({account}), but {deal.label} is on another account ({record.account})."
        raise RejectedError(Problem(code="other-customer", message=message, hint="Name a contract of that account, or correct the deal's account."))
    said = str((record.fields or {}).get("CurrencyIsoCode") or currency).lower()
    if said != currency:
        message = f"{contract_id} is in {currency.upper()}, but {deal.label} is in {said.upper()}."
        raise RejectedError(Problem(code="other-currency", message=message, hint=f"Close a deal in {currency.upper()} instead."))
