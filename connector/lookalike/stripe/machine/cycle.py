"""The rounds of a subscription: the lines of its first invoice, its renewals, the end of its trial, its own end.

Worked example: monthly from 31 Jan renews 28 Feb, 31 Mar, 30 Apr. Backdated by three months it starts with a line for each.
"""

from __future__ import annotations

from fractions import Fraction

from connector.lookalike.stripe.account import Account, Data, Refused
from connector.lookalike.stripe.machine import discounts, items, payments
from connector.lookalike.stripe.machine.figures import rounded
from connector.lookalike.stripe.machine.invoices import closed
from connector.lookalike.stripe.machine.keeping import falls_due, index, notes, wake
from connector.lookalike.stripe.machine.lines import Draft, name_of
from connector.lookalike.stripe.machine.pricing import amount_of, exact_amount, is_metered
from connector.lookalike.stripe.machine.prorations import credits_of
from connector.lookalike.stripe.machine.subscriptions import (
    DEAD_SCHEDULES,
    ENDED,
    billed,
    forget,
    is_trialing,
    period_end,
)
from connector.lookalike.stripe.machine.times import DAY, every_of, last_boundary, next_boundary
from connector.lookalike.stripe.machine.usage import used

MOST_LINES = 250
TRIAL_NOTICE_DAYS = 3
INCOMPLETE_HOURS = 23
UPCOMING_DAYS = 7
"""How long before a renewal `invoice.upcoming` comes; a setting of the Dashboard at Stripe."""


def charge(account: Account, subscription: Data, item: Data, start: int, end: int, *, is_cut: bool = True) -> Draft:
    """Return the line of a licensed item for `[start, end)`, in proportion where that is not its whole period.

    is_cut - a period in which the subscription ends is billed up to there alone; that it is has nothing to do with the proration behaviour.
    """
    price, quantity = item["price"], Fraction(item["quantity"])
    first = last_boundary(subscription["billing_cycle_anchor"], every_of(price), start)
    last = next_boundary(subscription["billing_cycle_anchor"], every_of(price), start)
    ends = subscription["cancel_at"] if is_cut else None
    end = ends if ends is not None and start < ends < end else end
    is_part = (first, last) != (start, end)
    amount = (
        rounded(exact_amount(price, quantity) * Fraction(end - start, last - first))
        if is_part
        else amount_of(price, quantity)
    )
    return _line(account, subscription, item, Draft(
        amount=amount, currency=price["currency"], start=start, end=end, quantity=quantity, price=price,
        description=f"{item['quantity']} × {name_of(account, price)}",
    ))  # fmt: skip


def arrears(account: Account, subscription: Data, item: Data, end: int) -> Draft:
    """Return the line of a metered item for the usage of its period up to *end*."""
    price, start = item["price"], item["current_period_start"]
    quantity = used(account, price, subscription["customer"], start, end)
    return _line(account, subscription, item, Draft(
        amount=amount_of(price, quantity), currency=price["currency"], start=start, end=end, quantity=quantity, price=price,
        description=f"{float(quantity):g} × {name_of(account, price)}",
    ))  # fmt: skip


def _line(account: Account, subscription: Data, item: Data, draft: Draft) -> Draft:
    draft.subscription, draft.item, draft.metadata = subscription["id"], item["id"], dict(subscription["metadata"])
    draft.discounts = [id_ for id_ in item["discounts"] if discounts.is_running(account, id_, account.now())]
    draft.tax_rates = list(item["tax_rates"]) or None
    return draft


def first_lines(account: Account, subscription: Data, behavior: str) -> list[Draft]:
    """Set the periods of a new subscription's items and return the lines of its first invoice: trial, stub, whole or past periods."""
    now, start, anchor = account.now(), subscription["start_date"], subscription["billing_cycle_anchor"]
    drafts: list[Draft] = []
    for item in subscription["items"]["data"]:
        if is_trialing(subscription):
            item["current_period_start"], item["current_period_end"] = start, subscription["trial_end"]
            drafts.append(_free(account, subscription, item))
            continue
        at = start
        while True:
            end = next_boundary(anchor, every_of(item["price"]), at)
            is_whole = last_boundary(anchor, every_of(item["price"]), at) == at
            item["current_period_start"], item["current_period_end"] = at, end
            if is_metered(item["price"]):
                drafts += [arrears(account, subscription, item, end)] if end <= now and behavior != "none" else []
            elif behavior != "none" or (is_whole and at == now):
                drafts.append(charge(account, subscription, item, at, end, is_cut=behavior != "none"))
            if end > now:
                break
            at = end
    if len(drafts) > MOST_LINES:
        raise Refused(
            f"The start date lies so far back that the first invoice would have more than {MOST_LINES} lines.",
            param="backdate_start_date",
        )
    return drafts


def _free(account: Account, subscription: Data, item: Data) -> Draft:
    return _line(account, subscription, item, Draft(
        amount=0, currency=item["price"]["currency"], start=item["current_period_start"], end=item["current_period_end"],
        quantity=Fraction(item.get("quantity") or 0), price=item["price"], description=f"Free trial for {item.get('quantity', '')} × {name_of(account, item['price'])}",
    ))  # fmt: skip


def first_invoice(account: Account, subscription: Data, lines: list[Draft], *, is_now: bool) -> Data | None:
    """Bill a new subscription for the first time and plan what follows. is_now - collected in this moment, if by card."""
    drafts = lines + items.pending(account, subscription["customer"], subscription["currency"], subscription["id"])
    invoice = None
    if drafts or _is_all_metered(subscription):
        invoice = billed(account, subscription, "subscription_create", drafts, is_now=is_now)
    if is_trialing(subscription):
        wake(
            account,
            "trial_will_end",
            subscription["id"],
            max(account.now(), subscription["trial_end"] - TRIAL_NOTICE_DAYS * DAY),
        )
    plan(account, subscription)
    return invoice


def _is_all_metered(subscription: Data) -> bool:
    return all(is_metered(item["price"]) for item in subscription["items"]["data"])


def plan(account: Account, subscription: Data) -> None:
    """Note when the subscription is to be looked at again."""
    if subscription["status"] in ENDED:
        return
    pause = subscription["pause_collection"] or {}
    moments = [period_end(subscription), subscription["cancel_at"], pause.get("resumes_at")]
    if subscription["status"] == "paused":
        moments = [subscription["cancel_at"]]
    if ahead := [at for at in moments if at is not None]:
        wake(account, "subscription", subscription["id"], min(ahead))
    soon = period_end(subscription) - UPCOMING_DAYS * DAY
    if soon > account.now() and notes(account, "upcoming").get(subscription["id"]) != soon:
        notes(account, "upcoming")[subscription["id"]] = soon
        wake(account, "upcoming", subscription["id"], soon)


@falls_due("subscription", 20)
def turn(account: Account, id_: str, at: int) -> None:
    """Do what is due of a subscription: end, resume collection, renew."""
    subscription = account.kind("subscription").get(id_)
    if subscription is None or subscription["status"] in ENDED:
        return
    pause = subscription["pause_collection"]
    if pause and pause.get("resumes_at") is not None and pause["resumes_at"] <= at:
        subscription["pause_collection"] = None
        account.emit("customer.subscription.updated", subscription, {"pause_collection": pause})
    if subscription["cancel_at"] is not None and subscription["cancel_at"] <= at:
        end(account, subscription, is_invoiced=True, is_prorated=False)
        return
    if subscription["status"] not in ("paused", "incomplete") and period_end(subscription) <= at:
        renew(account, subscription, at)
    plan(account, subscription)


def renew(
    account: Account, subscription: Data, at: int, reason: str = "subscription_cycle", *, is_now: bool = False
) -> None:
    """Begin the next period of every item whose period is over, and bill it with what waits."""
    before = {
        "items": {
            "data": [
                {"id": item["id"], "current_period_end": item["current_period_end"]}
                for item in subscription["items"]["data"]
            ]
        }
    }
    was_trialing = is_trialing(subscription)
    if was_trialing and not _leave_trial(account, subscription):
        return
    drafts: list[Draft] = []
    starts = [
        item["current_period_start"] for item in subscription["items"]["data"] if item["current_period_end"] <= at
    ]
    for item in subscription["items"]["data"]:
        if item["current_period_end"] > at:
            continue
        if is_metered(item["price"]) and not was_trialing and item["current_period_start"] < item["current_period_end"]:
            drafts.append(arrears(account, subscription, item, item["current_period_end"]))
        _next_period(account, subscription, item)
        if not is_metered(item["price"]) and (item["billed_until"] or 0) < item["current_period_end"]:
            drafts.append(charge(account, subscription, item, item["current_period_start"], item["current_period_end"]))
    drafts += items.pending(account, subscription["customer"], subscription["currency"], subscription["id"])
    account.emit("customer.subscription.updated", subscription, before)
    if drafts:
        billed(account, subscription, reason, drafts, period=(min(starts, default=at), at), is_now=is_now)


def _next_period(account: Account, subscription: Data, item: Data) -> None:
    start = item["current_period_end"]
    item["current_period_start"] = start
    item["current_period_end"] = next_boundary(subscription["billing_cycle_anchor"], every_of(item["price"]), start)
    held = notes(account, "debits").get(item["id"])
    if held:
        notes(account, "debits")[item["id"]] = [one for one in held if one["end"] > start]


def _leave_trial(account: Account, subscription: Data) -> bool:
    """End the trial: the anchor moves there unless it lies ahead or is to stay. False where the subscription does not go on."""
    ending = subscription["trial_settings"]["end_behavior"]
    trial_end = subscription["trial_end"]
    subscription["status"] = "active"
    if subscription["billing_cycle_anchor"] < trial_end and ending.get("billing_cycle_anchor", "now") != "unchanged":
        subscription["billing_cycle_anchor"] = trial_end
    missing = ending.get("missing_payment_method", "create_invoice")
    if subscription["collection_method"] != "charge_automatically" or missing == "create_invoice":
        return True
    probe: Data = {
        "parent": {"subscription_details": {"subscription": subscription["id"]}},
        "customer": subscription["customer"],
        "default_payment_method": None,
    }
    if payments.method_of(account, probe) is not None:
        return True
    if missing == "cancel":
        end(account, subscription, is_invoiced=False, is_prorated=False)
    else:
        subscription["status"] = "paused"
        account.emit("customer.subscription.paused", subscription, {"status": "trialing"})
    return False


@falls_due("trial_will_end", 25)
def trial_will_end(account: Account, id_: str, at: int) -> None:
    """Tell that a trial ends within three days."""
    subscription = account.kind("subscription").get(id_)
    if (
        subscription is not None
        and is_trialing(subscription)
        and at <= subscription["trial_end"] <= at + TRIAL_NOTICE_DAYS * DAY
    ):
        account.emit("customer.subscription.trial_will_end", subscription)


@falls_due("incomplete", 26)
def incomplete(account: Account, id_: str, at: int) -> None:
    """Give up a subscription whose first invoice was not paid for 23 hours."""
    subscription = account.kind("subscription").get(id_)
    if subscription is not None and subscription["status"] == "incomplete":
        subscription.update(status="incomplete_expired", ended_at=at)
        invoice = account.get("invoice", subscription["latest_invoice"])
        if invoice["status"] == "open":
            closed(account, invoice, "void")
        account.emit("customer.subscription.updated", subscription, {"status": "incomplete"})


def end(account: Account, subscription: Data, *, is_invoiced: bool, is_prorated: bool) -> None:
    """Cancel a subscription now. is_invoiced - usage and what waits go on a last invoice. is_prorated - unused time is credited."""
    now = account.now()
    if is_prorated and not is_trialing(subscription):
        for item in subscription["items"]["data"]:
            for draft in credits_of(account, subscription, item, now):
                items.item_from(account, subscription["customer"], draft)
    drafts = _last_lines(account, subscription) if is_invoiced else []
    subscription.update(status="canceled", ended_at=now, canceled_at=subscription["canceled_at"] or now)
    subscription["cancellation_details"]["reason"] = (
        subscription["cancellation_details"]["reason"] or "cancellation_requested"
    )
    if drafts:
        billed(
            account,
            subscription,
            "subscription_update" if not subscription["cancel_at"] else "subscription_cycle",
            drafts,
            is_now=True,
        )
    elif not is_invoiced and not is_prorated:
        _drop_prorations(account, subscription)
    _stop_collecting(account, subscription)
    for item in subscription["items"]["data"]:
        forget(account, item)
    schedule = account.kind("subscription_schedule").get(subscription["schedule"] or "")
    account.emit("customer.subscription.deleted", subscription)
    if schedule is not None and schedule["status"] not in DEAD_SCHEDULES:
        schedule.update(status="canceled", canceled_at=now, current_phase=None)
        account.emit("subscription_schedule.canceled", schedule)


def _last_lines(account: Account, subscription: Data) -> list[Draft]:
    """Return usage so far and what waits."""
    held = [] if is_trialing(subscription) else subscription["items"]["data"]
    drafts = [arrears(account, subscription, item, account.now()) for item in held if is_metered(item["price"])]
    return drafts + items.pending(account, subscription["customer"], subscription["currency"], subscription["id"])


def _drop_prorations(account: Account, subscription: Data) -> None:
    """Pending prorations go with a subscription that ends without an invoice."""
    for draft in items.pending(account, subscription["customer"], subscription["currency"], subscription["id"]):
        if draft.is_proration and draft.subscription == subscription["id"] and draft.invoice_item is not None:
            items.dropped(account, account.kind("invoiceitem")[draft.invoice_item])


def _stop_collecting(account: Account, subscription: Data) -> None:
    """What its customer has open, and its own draft, are no longer collected by themselves once a subscription has ended."""
    latest = account.kind("invoice").get(subscription["latest_invoice"] or "")
    found = [account.kind("invoice")[id_] for id_ in index(account, "open", "customer", subscription["customer"])]
    for invoice in (*found, *([latest] if latest is not None and latest["status"] == "draft" else [])):
        if invoice["created"] < account.now():
            invoice.update(auto_advance=False, next_payment_attempt=None)
