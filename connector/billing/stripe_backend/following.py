"""What follows at Stripe from what happened there, without anybody asking: small pushes that belong to no contract, each written once.

| happened | follows |
|---|---|
| Stripe billed a contract that was withdrawn before it could be told | its invoice is voided, if nothing of it is paid |
| Stripe billed a period of a pause that it was told of too late (`contracts pause --behavior void`) | likewise; with mark_uncollectible it is marked so |
| a subscription ended as agreed, with which Stripe stops collecting what the customer owes | it collects the open invoices again |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from connector.billing.batches import in_batches
from connector.billing.store import BookedContract
from connector.billing.stripe_backend import coding, pushes
from connector.billing.stripe_backend.steps import Held, Plan, Step
from connector.core.lines import Slice
from connector.core.period import midnight, to_local
from connector.core.settlement import pause_behavior
from connector.ports import Unit

MOST_INVOICES = 100
HEALED_FOR = timedelta(days=60)  # within the time that finished pushes are kept: so that it is done once
_COLLECT = "collect/"


def billed_though_withdrawn(unit: Unit, org: str, contract: BookedContract, invoice: Mapping[str, Any], now: datetime) -> None:
    """Have an open invoice of a withdrawn contract voided: it was called off before anything was owed, and Stripe heard it too late."""
    if contract.status == "withdrawn" and invoice["status"] == "open" and not invoice.get("amount_paid"):
        step = Step(name="void", call="invoices.void_invoice", target=str(invoice["id"]))
        _begin(unit, f"{org}/withdrawn/{invoice['id']}", contract.deal, [step], now)


def billed_though_paused(unit: Unit, org: str, contract: BookedContract, invoice: Mapping[str, Any], now: datetime) -> None:
    """Have an open invoice of a paused period voided, or marked, as Stripe does by itself where it knows of the pause: that was agreed in time, and heard too late."""
    if invoice["status"] != "open" or invoice.get("amount_paid") or invoice.get("billing_reason") != "subscription_cycle":
        return
    zone = contract.terms.timezone
    made = to_local(datetime.fromtimestamp(invoice["created"], UTC), zone)
    known = tuple(c for c in contract.contract.changes if to_local(c.made_at, zone) <= made)
    day = midnight(made.date())
    behavior = pause_behavior(Slice(contract=replace(contract.contract, changes=known)), day)
    call = {"void": "invoices.void_invoice", "mark_uncollectible": "invoices.mark_uncollectible"}.get(behavior or "")
    if call is not None:
        _begin(unit, f"{org}/paused/{invoice['id']}", contract.deal, [Step(name="paused", call=call, target=str(invoice["id"]))], now)


def ended_as_agreed(unit: Unit, contract_id: str, subscription: str, now: datetime) -> None:
    """Have the customer's open invoices collected again: what was owed before the end is owed after it."""
    sql = (
        "SELECT s.stripe_id FROM stripe_invoice s JOIN invoice i ON i.id = s.invoice_id WHERE i.status = 'open' AND i.amount_due > i.amount_paid"
        " AND i.customer_id = (SELECT customer_id FROM contract WHERE id = ?) ORDER BY i.id LIMIT ?"
    )
    owed = [row[0] for row in unit.query(sql, (contract_id, MOST_INVOICES))]
    steps = [
        Step(name=f"collect-{number}", call="invoices.update", target=invoice, params={"auto_advance": True}) for number, invoice in enumerate(owed, 1)
    ]
    if steps:
        _begin(unit, f"{_COLLECT}{subscription}", "", steps, now)


def uncollected(unit: Unit, customers: Iterable[str], now: datetime) -> list[str]:
    """Return the subscriptions of Stripe's customers that ended as agreed, and after which nothing was collected again: nobody told of their end."""
    found: list[str] = []
    for batch, marks in in_batches(c for c in customers if c):
        rows = unit.query(f"SELECT contract_id, data FROM stripe_held WHERE customer IN ({marks})", batch)
        for group in (g for _, data in rows for g in coding.held_from_text(data).groups if g.subscription and g.gone is None and g.phases):
            end = group.phases[-1].end
            is_over = group.ends_with == "cancel" and end is not None and timedelta() < now.date() - end < HEALED_FOR
            if is_over and pushes.found(unit, f"{_COLLECT}{group.subscription}") is None:
                found.append(group.subscription)
    return found


def _begin(unit: Unit, key: str, deal: str, steps: Sequence[Step], now: datetime) -> None:
    plan = Plan(steps=tuple(steps), held=Held(contract_id=""))
    pushes.begin(unit, key=key, contract_id="", deal=deal, plan=plan, now=now)
