"""Subscriptions: their objects and items, and what is kept true of them whatever happens.

The anchor fixes the boundaries of every item; an item has its own period. Status follows the invoices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from connector.lookalike.stripe.account import Account, Data, Refused
from connector.lookalike.stripe.machine import discounts, invoices, payments
from connector.lookalike.stripe.machine.keeping import SETTLED, index, indexed, notes, put
from connector.lookalike.stripe.machine.lines import Draft
from connector.lookalike.stripe.machine.pricing import is_metered, price_for
from connector.lookalike.stripe.machine.taxes import rates_of
from connector.lookalike.stripe.machine.times import every_of, length_rank
from connector.lookalike.stripe.metadata import merged

MOST_ITEMS = 20
ENDED = ("canceled", "incomplete_expired")
DEAD_SCHEDULES = ("canceled", "completed", "released")


@dataclass(slots=True, kw_only=True)
class Wanted:
    """An item as a request or a phase wants it; *item* is the one that it changes, None for a new one."""

    price: Data
    quantity: int | None
    entries: list[Data] = field(default_factory=list)
    tax_rates: list[Data] = field(default_factory=list)
    metadata: Data = field(default_factory=dict)
    item: Data | None = None


def wanted_from(account: Account, given: Data, param: str) -> Wanted:
    """Return an item of a request. Raises: Refused (price, quantity with a metered price, discounts, rates)."""
    price = price_for(account, given, is_recurring=True, param=param)
    quantity = given.get("quantity")
    if is_metered(price) and quantity is not None:
        raise Refused(f"You cannot set the quantity for metered plans. ({price['id']})", param=f"{param}[quantity]")
    if quantity is not None and quantity < 0:
        raise Refused("Quantity must be at least 0.", param=f"{param}[quantity]")
    return Wanted(
        price=price, quantity=None if is_metered(price) else (1 if quantity is None else quantity),
        entries=discounts.checked(account, given.get("discounts"), price["currency"], f"{param}[discounts]"),
        tax_rates=rates_of(account, given.get("tax_rates"), f"{param}[tax_rates]"), metadata=merged({}, given.get("metadata")),
    )  # fmt: skip


def checked_items(wanted: Sequence[Wanted], *, is_flexible: bool = True) -> str:
    """Return the currency of items that may stand together. Raises: Refused."""
    if not wanted:
        raise Refused("You must pass at least one item.", code="parameter_missing", param="items")
    if len(wanted) > MOST_ITEMS:
        raise Refused(f"A subscription may have at most {MOST_ITEMS} items.", param="items")
    prices = [one.price["id"] for one in wanted]
    for id_ in prices:
        if prices.count(id_) > 1:
            raise Refused(f"Cannot add multiple subscription items with the same price: {id_}", param="items")
    currencies = {one.price["currency"] for one in wanted}
    if len(currencies) > 1:
        raise Refused("All prices on a subscription must have the same currency.", param="items")
    every = sorted({every_of(one.price) for one in wanted}, key=length_rank)
    if len(every) > 1 and not is_flexible:
        raise Refused(
            "Prices on a subscription must have the same interval, unless billing_mode is flexible.", param="items"
        )
    for other in every[1:]:
        if not _is_multiple(every[0], other):
            raise Refused("Each interval on a subscription must be a multiple of its shortest interval.", param="items")
    return str(currencies.pop())


def _is_multiple(short: tuple[str, int], long: tuple[str, int]) -> bool:
    days = {"day": 1, "week": 7}
    months = {"month": 1, "year": 12}
    for unit in (days, months):
        if short[0] in unit and long[0] in unit:
            return unit[long[0]] * long[1] % (unit[short[0]] * short[1]) == 0
    return False


def checked_currency(account: Account, customer: Data, currency: str) -> None:
    """Make sure that a customer has everything that runs in one currency. Raises: Refused."""
    running = [
        sub for sub in indexed(account, "subscription", "customer", customer["id"]) if sub["status"] not in ENDED
    ]
    plans = [
        one
        for one in indexed(account, "subscription_schedule", "customer", customer["id"])
        if one["status"] == "not_started"
    ]
    waiting = [account.kind("invoiceitem")[id_] for id_ in index(account, "pending", "customer", customer["id"])]
    others = [
        *(one["currency"] for one in running),
        *(one["phases"][0]["currency"] for one in plans),
        *(one["currency"] for one in waiting),
    ]
    for other in others:
        if other != currency:
            raise Refused(
                "You cannot combine currencies on a single customer. This customer has an active subscription, subscription schedule, "
                f"discount, quote, or invoice item with currency {other}."
            )
    if customer.get("currency") is None:
        customer["currency"] = currency


def opened(account: Account, customer: Data, currency: str, head: Data) -> Data:
    """Make the object of a subscription without items. head - fields that differ from the plain ones."""
    id_, now = account.new_id("sub"), account.now()
    subscription: Data = {
        "id": id_, "object": "subscription", "application": None, "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None}, "billing_cycle_anchor": now,
        "billing_cycle_anchor_config": None,
        "billing_mode": {"flexible": {"proration_discounts": "included"}, "type": "flexible", "updated_at": None},
        "billing_schedules": [], "billing_thresholds": None, "cancel_at": None, "cancel_at_period_end": False, "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None}, "collection_method": "charge_automatically",
        "created": now, "currency": currency, "customer": customer["id"], "customer_account": None, "days_until_due": None,
        "default_payment_method": None, "default_source": None, "default_tax_rates": [], "description": None, "discounts": [],
        "ended_at": None, "invoice_settings": {"account_tax_ids": None, "custom_fields": None, "description": None, "footer": None, "issuer": {"type": "self"}},
        "items": {"object": "list", "data": [], "has_more": False, "url": f"/v1/subscription_items?subscription={id_}"},
        "latest_invoice": None, "livemode": account.is_live, "metadata": {}, "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None, "pause_collection": None,
        "payment_settings": {"payment_method_options": None, "payment_method_types": None, "save_default_payment_method": "off"},
        "pending_invoice_item_interval": None, "pending_setup_intent": None, "pending_update": None, "schedule": None,
        "start_date": now, "status": "active", "status_details": None, "test_clock": None, "transfer_data": None, "trial_end": None,
        "trial_settings": {"end_behavior": {"billing_cycle_anchor": "now", "missing_payment_method": "create_invoice"}},
        "trial_start": None, **head,
    }  # fmt: skip
    return put(account, "subscription", subscription, ["customer"])


def new_item(account: Account, subscription: Data, wanted: Wanted, start: int, end: int) -> Data:
    """Make an item of a subscription; the caller puts it into its list."""
    price, now = wanted.price, account.now()
    made: Data = {
        "id": account.new_id("si"), "object": "subscription_item", "billed_until": None, "billing_thresholds": None, "created": now,
        "current_period_end": end, "current_period_start": start, "current_trial": None, "discounts": [], "metadata": {},
        "plan": plan_from(price), "price": price, "subscription": subscription["id"], "tax_rates": [],
    }  # fmt: skip
    if wanted.quantity is not None:
        made["quantity"] = wanted.quantity
    account.kind("subscription_item")[made["id"]] = made
    dress(account, subscription, made, wanted)
    return made


def dress(account: Account, subscription: Data, item: Data, wanted: Wanted) -> None:
    """Give an item what does not prorate: discounts, tax rates, metadata."""
    where = {"subscription": subscription["id"], "subscription_item": item["id"]}
    item["discounts"] = discounts.begun(account, wanted.entries, account.now(), item["discounts"], **where)
    item["tax_rates"], item["metadata"] = list(wanted.tax_rates), dict(wanted.metadata)


def plan_from(price: Data) -> Data:
    """Return the old form of a recurring price, which items still carry."""
    recurring = price["recurring"]
    return {
        "id": price["id"], "object": "plan", "active": price.get("active", True), "amount": price.get("unit_amount"),
        "amount_decimal": price.get("unit_amount_decimal"), "billing_scheme": price.get("billing_scheme", "per_unit"),
        "created": price.get("created"), "currency": price["currency"], "interval": recurring["interval"],
        "interval_count": recurring.get("interval_count") or 1, "livemode": price.get("livemode", False), "metadata": {},
        "meter": recurring.get("meter"), "nickname": price.get("nickname"), "product": price["product"],
        "tiers_mode": price.get("tiers_mode"), "transform_usage": None, "trial_period_days": None,
        "usage_type": recurring.get("usage_type", "licensed"),
    }  # fmt: skip


def period_end(subscription: Data) -> int:
    """Return the earliest end of an item's period."""
    return min(int(item["current_period_end"]) for item in subscription["items"]["data"])


def is_trialing(subscription: Data) -> bool:
    """Whether a subscription is in its free trial."""
    return bool(subscription["status"] == "trialing")


def billed(account: Account, subscription: Data, reason: str, drafts: Sequence[Draft], **more: Any) -> Data:
    """Make an invoice of a subscription. more - `is_now`: finalized and collected in this moment, if it is collected by card;
    `period`: what the invoice looks back on."""
    period, is_now = more.get("period") or (account.now(), account.now()), more.get("is_now", False)
    pause = subscription["pause_collection"]
    settings, now = subscription["invoice_settings"], account.now()
    head: Data = {
        "auto_advance": not (pause and pause["behavior"] == "keep_as_draft"), "billing_reason": reason,
        "collection_method": subscription["collection_method"], "currency": subscription["currency"],
        "custom_fields": settings.get("custom_fields"), "days": subscription["days_until_due"],
        "default_tax_rates": list(subscription["default_tax_rates"]), "description": settings.get("description") or None,
        "discounts": [id_ for id_ in subscription["discounts"] if discounts.is_running(account, id_, now)],
        "footer": settings.get("footer") or None, "period_start": period[0], "period_end": period[1],
        "parent": {"quote_details": None, "subscription_details": {
            "metadata": dict(subscription["metadata"]), "subscription": subscription["id"], "subscription_proration_date": None,
        }, "type": "subscription_details"},
    }  # fmt: skip
    if subscription["automatic_tax"]["enabled"]:
        head["automatic_tax"] = {
            "disabled_reason": None,
            "enabled": True,
            "liability": {"type": "self"},
            "provider": "stripe",
            "status": None,
        }
    invoice = invoices.made(account, account.get("customer", subscription["customer"]), head, drafts)
    subscription["latest_invoice"] = invoice["id"]
    if is_now and invoice["auto_advance"] and invoice["collection_method"] == "charge_automatically":
        payments.advance(account, invoice)
    return invoice


def _follow(account: Account, invoice: Data) -> None:
    """Keep a subscription's status in step with its invoices."""
    subscription = account.kind("subscription").get(invoices.subscription_of(invoice) or "")
    if subscription is None or subscription["status"] in ENDED:
        return
    before = subscription["status"]
    if invoice["status"] == "open":
        if before == "active":
            subscription["status"] = "past_due"
    elif before in ("past_due", "incomplete") and not _owes(account, subscription):
        subscription["status"] = "active"
    if subscription["status"] != before:
        account.emit("customer.subscription.updated", subscription, {"status": before})


def _owes(account: Account, subscription: Data) -> bool:
    """Whether an open invoice of the subscription is late or was not collected."""
    now = account.now()
    for id_ in index(account, "open", "customer", subscription["customer"]):
        invoice = account.kind("invoice")[id_]
        if invoices.subscription_of(invoice) == subscription["id"]:
            is_late = invoice["due_date"] is not None and invoice["due_date"] <= now
            if is_late or (invoice["attempted"] and invoice["collection_method"] == "charge_automatically"):
                return True
    return False


SETTLED.append(_follow)


def forget(account: Account, item: Data) -> None:
    """Take an item away from everything that is kept of it."""
    account.kind("subscription_item").pop(item["id"], None)
    notes(account, "debits").pop(item["id"], None)
