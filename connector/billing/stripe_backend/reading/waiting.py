"""Prorations of Stripe's own that wait for the next invoice: what they really come to is noted as soon as they are there.

Their lines count as sent with the amounts that were foreseen; the request arrived a moment later. With Stripe's amounts whatever is
given back of them before they are billed, and every forecast, is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from connector.billing.stripe_backend import coding, pushes
from connector.billing.stripe_backend.compiling.leaving import at_net
from connector.billing.stripe_backend.money import minor_amount
from connector.billing.stripe_backend.reading import prorating
from connector.billing.stripe_backend.reading.lines import Known, price_of
from connector.billing.stripe_backend.reading.picked import Data, id_of
from connector.billing.stripe_backend.settling import PRORATED
from connector.billing.stripe_backend.steps import Held
from connector.ports import Unit


def note(unit: Unit, held: Held, items: Sequence[Data], now: datetime) -> None:
    """Give the lines that were left to Stripe the amounts of its invoice *items*, and what Stripe holds the seconds at which they begin."""
    sent = pushes.sent_of(unit, [held.contract_id]).get(held.contract_id, {})
    prices = pushes.keys_of(unit, "price", (price_of(item) for item in items))
    known = Known(contract_id=held.contract_id, own={}, proposed=(), held=held, prices=prices, taken=frozenset(), timezone="UTC")
    for subscription in dict.fromkeys(_subscription(item) for item in items):
        invoice = _as_invoice(subscription, [item for item in items if _subscription(item) == subscription])
        parts = prorating.found(invoice, known, sent)
        held = prorating.seen(held, parts, invoice)
        for place, (left, _) in parts.items():
            item = invoice["lines"]["data"][place - 1]
            line = at_net(sent[left.key], minor_amount(item["amount"], str(item["currency"])))
            name = f"{PRORATED}/{id_of(item)}"
            unit.execute("UPDATE stripe_line SET data = ?, invoice_item = ? WHERE key = ? AND invoice_id IS NULL", (coding.line_text(line), name, line.key))
    if items:
        pushes.save_held(unit, held, now)


def _subscription(item: Data) -> str:
    return id_of(((item.get("parent") or {}).get("subscription_details") or {}).get("subscription"))


def _as_invoice(subscription: str, items: Sequence[Data]) -> Data:
    """Return the items as the lines that they will be."""
    lines = [{**item, "parent": {"subscription_item_details": _details(item)}} for item in items]
    currency = items[0]["currency"]
    return {"currency": currency, "lines": {"data": lines}, "parent": {"subscription_details": {"subscription": subscription}}}


def _details(item: Data) -> Data:
    of = (item.get("parent") or {}).get("subscription_details") or {}
    return {"subscription_item": of.get("subscription_item"), "proration": item.get("proration"), "proration_details": item.get("proration_details")}
