"""Changing what a running subscription holds: items added, changed and taken away, a new anchor; by a request or at a phase's start.

An item whose period is over at that moment is not prorated; a new one that begins on a boundary is billed by the renewal of that
moment. The flexible billing mode never moves the anchor by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from connector.lookalike.stripe.account import Account, Data
from connector.lookalike.stripe.machine import cycle, invoices, items
from connector.lookalike.stripe.machine.keeping import notes
from connector.lookalike.stripe.machine.lines import Draft
from connector.lookalike.stripe.machine.pricing import is_metered
from connector.lookalike.stripe.machine.prorations import credits_of, debit_of, remember
from connector.lookalike.stripe.machine.subscriptions import (
    Wanted,
    billed,
    dress,
    forget,
    is_trialing,
    new_item,
    period_end,
    plan_from,
)
from connector.lookalike.stripe.machine.times import every_of, last_boundary, next_boundary


def reshape(
    account: Account, subscription: Data, wanted: Sequence[Wanted], behavior: str, at: int, *, is_entered: bool = False
) -> None:
    """Give a subscription the wanted items from *at*, with pending prorations unless *behavior* is none.

    is_entered - a phase begins: a new item on a boundary is billed from there. A request in that very second comes after the
    renewal, so that its new item is prorated or waits for the next one.
    """
    held = {item["id"]: item for item in subscription["items"]["data"]}
    is_renewed = is_entered or any(item["current_period_end"] <= at for item in held.values())
    kept = {one.item["id"] for one in wanted if one.item is not None}
    is_prorated = behavior != "none" and not is_trialing(subscription)
    drafts: list[tuple[Data, Draft]] = []
    for item in [item for id_, item in held.items() if id_ not in kept]:
        drafts += _leaving(account, subscription, item, at, is_prorated=is_prorated)
    after: list[Data] = []
    for one in wanted:
        if one.item is None:
            after.append(_arriving(account, subscription, one, at, is_renewed=is_renewed))
            if is_prorated and after[-1]["current_period_start"] <= at < after[-1]["current_period_end"]:
                drafts += _owed(account, subscription, after[-1], at)
        else:
            before = (one.item["price"]["id"], one.item.get("quantity"))
            drafts += _changed(account, subscription, one, at, is_prorated=is_prorated)
            after.append(one.item)
            if before != (one.item["price"]["id"], one.item.get("quantity")):
                one.item["billed_until"] = None
    subscription["items"]["data"] = after
    for item, draft in drafts:
        made = items.item_from(account, subscription["customer"], draft)
        if draft.amount > 0 and draft.is_proration:
            remember(account, item, draft, made)


def _leaving(
    account: Account, subscription: Data, item: Data, at: int, *, is_prorated: bool
) -> list[tuple[Data, Draft]]:
    """Take an item away: its usage so far is charged, its unused time credited."""
    found: list[Draft] = []
    if is_metered(item["price"]):
        if not is_trialing(subscription) and item["current_period_start"] < at:
            found.append(cycle.arrears(account, subscription, item, at))
    elif is_prorated and item["current_period_end"] > at:
        found += credits_of(account, subscription, item, at)
    forget(account, item)
    return [(item, draft) for draft in found]


def _arriving(account: Account, subscription: Data, wanted: Wanted, at: int, *, is_renewed: bool) -> Data:
    """Make a new item: in a trial until its end; on a boundary with a period that begins at once; else in the middle of one."""
    if is_trialing(subscription):
        return new_item(account, subscription, wanted, at, subscription["trial_end"])
    anchor, every = subscription["billing_cycle_anchor"], every_of(wanted.price)
    start = last_boundary(anchor, every, at)
    if start == at and is_renewed:
        return new_item(account, subscription, wanted, at, at)
    return new_item(
        account, subscription, wanted, at if is_metered(wanted.price) else start, next_boundary(anchor, every, at)
    )


def _owed(account: Account, subscription: Data, item: Data, at: int) -> list[tuple[Data, Draft]]:
    draft = debit_of(account, subscription, item, at)
    return [(item, draft)] if draft is not None else []


def _changed(
    account: Account, subscription: Data, wanted: Wanted, at: int, *, is_prorated: bool
) -> list[tuple[Data, Draft]]:
    """Change an item in place; a new price or quantity inside its period is prorated."""
    item = wanted.item
    assert item is not None
    is_same = item["price"]["id"] == wanted.price["id"] and item.get("quantity") == wanted.quantity
    is_inside = item["current_period_start"] <= at < item["current_period_end"]
    found: list[tuple[Data, Draft]] = []
    if (
        not is_same
        and is_inside
        and is_metered(item["price"])
        and item["price"]["id"] != wanted.price["id"]
        and not is_trialing(subscription)
    ):
        found.append((item, cycle.arrears(account, subscription, item, at)))
        item["current_period_start"] = at
    elif not is_same and is_inside and is_prorated:
        found += [(item, draft) for draft in credits_of(account, subscription, item, at)]
    dress(account, subscription, item, wanted)
    if is_same:
        return found
    has_other_rhythm = every_of(item["price"]) != every_of(wanted.price)
    item["price"], item["plan"] = wanted.price, plan_from(wanted.price)
    item.pop("quantity", None)
    if wanted.quantity is not None:
        item["quantity"] = wanted.quantity
    if has_other_rhythm and is_inside and not is_trialing(subscription):
        anchor = subscription["billing_cycle_anchor"]
        item["current_period_start"] = last_boundary(anchor, every_of(wanted.price), at)
        item["current_period_end"] = next_boundary(anchor, every_of(wanted.price), at)
    if is_inside and is_prorated:
        found += _owed(account, subscription, item, at)
    return found


def reanchor(account: Account, subscription: Data, behavior: str, at: int) -> None:
    """Begin a new full period of every item at *at*: unused time is credited unless *behavior* is none; the renewal bills the new one."""
    if not is_trialing(subscription):
        for item in subscription["items"]["data"]:
            if behavior != "none" and item["current_period_end"] > at:
                for draft in credits_of(account, subscription, item, at):
                    items.item_from(account, subscription["customer"], draft)
            notes(account, "debits").pop(item["id"], None)
    subscription["billing_cycle_anchor"] = at
    for item in subscription["items"]["data"]:
        item["current_period_end"] = at
        item["current_period_start"] = min(item["current_period_start"], at)


def roll(subscription: Data, at: int) -> None:
    """Put every item into the period that holds *at*; nothing is billed for it."""
    for item in subscription["items"]["data"]:
        anchor, every = subscription["billing_cycle_anchor"], every_of(item["price"])
        item["current_period_start"], item["current_period_end"] = (
            last_boundary(anchor, every, at),
            next_boundary(anchor, every, at),
        )


def ends_on(account: Account, subscription: Data, ends: int | None, behavior: str) -> None:
    """Set when the subscription ends; unless *behavior* is none, what lies behind that inside a running period is credited."""
    subscription["cancel_at"] = ends
    if ends is None or behavior == "none":
        return
    for item in subscription["items"]["data"]:
        if item["current_period_start"] < ends < item["current_period_end"]:
            for draft in credits_of(account, subscription, item, ends):
                items.item_from(account, subscription["customer"], draft)


def _at_once(account: Account, invoice: Data) -> None:
    """Finalize what `always_invoice` billed, in the request; nothing more happens to it by itself. Sources: the pages on subscription
    schedules ("immediately finalize an invoice") and on subscription invoices (auto_advance is off "from the outset")."""
    if invoice["status"] == "draft" and invoice["auto_advance"]:
        invoices.finalized(account, invoice)
    invoice.update(auto_advance=False, next_payment_attempt=None)


def invoiced(account: Account, subscription: Data, behavior: str, at: int, *, is_now: bool) -> None:
    """Bill what a change made due: periods that begin at this moment, and with always_invoice what waits."""
    if subscription["status"] not in ("paused", "canceled") and period_end(subscription) <= at:
        reason = "subscription_update" if is_now else "subscription_cycle"
        cycle.renew(account, subscription, at, reason, is_now=is_now)
    elif behavior == "always_invoice":
        waiting = items.pending(account, subscription["customer"], subscription["currency"], subscription["id"])
        if waiting:
            _at_once(account, billed(account, subscription, "subscription_update", waiting, is_now=True))
    cycle.plan(account, subscription)
