"""The endpoints of subscriptions and their items."""

from __future__ import annotations

from collections.abc import Mapping

from connector.lookalike.stripe.account import Account, Data, Refused, endpoint
from connector.lookalike.stripe.listing import page, within
from connector.lookalike.stripe.machine import adding, changing, cycle, discounts, payments, prebilling
from connector.lookalike.stripe.machine.anchors import anchor_for
from connector.lookalike.stripe.machine.keeping import indexed, wake
from connector.lookalike.stripe.machine.pricing import is_metered
from connector.lookalike.stripe.machine.subscription_fields import changed_fields
from connector.lookalike.stripe.machine.subscriptions import (
    DEAD_SCHEDULES,
    ENDED,
    Wanted,
    checked_currency,
    checked_items,
    is_trialing,
    new_item,
    opened,
    period_end,
    wanted_from,
)
from connector.lookalike.stripe.machine.taxes import rates_of
from connector.lookalike.stripe.machine.times import DAY, HOUR
from connector.lookalike.stripe.metadata import merged

PATH = "/v1/subscriptions"
LONGEST_TRIAL_DAYS = 730


@endpoint("POST", PATH, "SubscriptionCreateParams")
def create(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Make a subscription; collected by card, its first invoice is finalized and paid in the request."""
    customer = account.get("customer", params.get("customer") or "", param="customer")
    mode = params.get("billing_mode") or {"type": "flexible"}
    wanted = [wanted_from(account, item, f"items[{place}]") for place, item in enumerate(params.get("items") or ())]
    currency = checked_items(wanted, is_flexible=mode["type"] == "flexible")
    _checked_create(params)
    checked_currency(account, customer, currency)
    now, start = account.now(), params.get("backdate_start_date") or account.now()
    if start > now:
        raise Refused("The backdate_start_date must be in the past.", param="backdate_start_date")
    trial_end = _trial_end(params, now)
    anchor = anchor_for(params, wanted, start, now, trial_end)
    entries = discounts.checked(account, params.get("discounts"), currency, "discounts")
    charges = adding.checked(account, params.get("add_invoice_items"), currency, "add_invoice_items")
    head = _head(account, params, mode)
    rates = rates_of(account, params.get("default_tax_rates"), "default_tax_rates")
    _can_pay(account, customer, params, trial_end)
    schedules = prebilling.checked(account, params, wanted, anchor, start)
    subscription = opened(account, customer, currency, {
        **head, "billing_cycle_anchor": anchor, "start_date": start, "default_tax_rates": rates,
        "billing_cycle_anchor_config": _config(params), "billing_schedules": schedules,
    })  # fmt: skip
    if trial_end is not None and trial_end > now:
        subscription.update(status="trialing", trial_start=now, trial_end=trial_end)
    subscription["discounts"] = discounts.begun(account, entries, start, subscription=subscription["id"])
    for one in wanted:
        subscription["items"]["data"].append(new_item(account, subscription, one, start, start))
    behavior = params.get("proration_behavior", "create_prorations")
    if isinstance(params.get("cancel_at"), int):
        changing.ends_on(account, subscription, params["cancel_at"], behavior)
    lines = cycle.first_lines(account, subscription, behavior)
    further = prebilling.ahead(account, subscription)
    adding.put_on(account, subscription, charges, (start, period_end(subscription)))
    _cancel_date(account, subscription, params, behavior)
    account.emit("customer.subscription.created", subscription)
    is_at_once = behavior == "always_invoice"
    invoice = cycle.first_invoice(account, subscription, lines + further if is_at_once else lines, is_now=True)
    prebilling.wait(account, subscription, [] if is_at_once else further)
    if invoice is not None and further and is_at_once and invoice["status"] == "draft":
        payments.advance(account, invoice)
    if invoice is not None and invoice["status"] == "open" and invoice["collection_method"] == "charge_automatically":
        _first_unpaid(account, subscription)
    return subscription


def _checked_create(params: Data) -> None:
    """Refuse parameters that exclude each other."""
    pairs = (
        ("trial_end", "trial_period_days"),
        ("billing_cycle_anchor", "billing_cycle_anchor_config"),
        ("cancel_at", "cancel_at_period_end"),
    )
    for first, second in pairs:
        if params.get(first) is not None and params.get(second) not in (None, False):
            raise Refused(f"You may only specify one of these parameters: {first}, {second}.", param=second)
    if params.get("backdate_start_date") is not None and params.get("billing_cycle_anchor_config"):
        raise Refused(
            "You cannot use billing_cycle_anchor_config with backdate_start_date.", param="billing_cycle_anchor_config"
        )
    if params.get("collection_method") == "send_invoice" and params.get("days_until_due") is None:
        raise Refused(
            "If subscription collection method is send_invoice, you must pass days_until_due.",
            code="parameter_missing",
            param="days_until_due",
        )
    if params.get("collection_method") != "send_invoice" and params.get("days_until_due") is not None:
        raise Refused(
            "You can only set days_until_due on a subscription with collection_method=send_invoice.",
            param="days_until_due",
        )


def _trial_end(params: Data, now: int) -> int | None:
    if params.get("trial_period_days") is not None:
        return now + int(params["trial_period_days"]) * DAY
    end = params.get("trial_end")
    if end is None or end == "now":
        return None
    if end <= now:
        raise Refused("Invalid timestamp: must be an integer Unix timestamp in the future.", param="trial_end")
    if end > now + LONGEST_TRIAL_DAYS * DAY:
        raise Refused(f"A trial may last at most {LONGEST_TRIAL_DAYS} days.", param="trial_end")
    return int(end)


def _config(params: Data) -> Data | None:
    given = params.get("billing_cycle_anchor_config")
    return {name: given.get(name) for name in ("day_of_month", "month", "hour", "minute", "second")} if given else None


def _head(account: Account, params: Data, mode: Data) -> Data:
    """Return the plain fields of a new subscription."""
    settings = params.get("invoice_settings") or {}
    flexible = {"proration_discounts": (mode.get("flexible") or {}).get("proration_discounts", "included")}
    head: Data = {
        "automatic_tax": {"disabled_reason": None, "enabled": bool((params.get("automatic_tax") or {}).get("enabled")), "liability": None},
        "billing_mode": {"flexible": flexible if mode["type"] == "flexible" else None, "type": mode["type"], "updated_at": None},
        "collection_method": params.get("collection_method", "charge_automatically"), "days_until_due": params.get("days_until_due"),
        "default_payment_method": params.get("default_payment_method"), "description": params.get("description"),
        "invoice_settings": {
            "account_tax_ids": None, "custom_fields": settings.get("custom_fields") or None, "description": settings.get("description"),
            "footer": settings.get("footer"), "issuer": {"type": "self"},
        },
        "metadata": merged({}, params.get("metadata")),
    }  # fmt: skip
    if params.get("trial_settings"):
        head["trial_settings"] = {
            "end_behavior": {
                "billing_cycle_anchor": "now",
                "missing_payment_method": "create_invoice",
                **params["trial_settings"]["end_behavior"],
            }
        }
    if head["default_payment_method"]:
        account.get("payment_method", head["default_payment_method"], param="default_payment_method")
    return head


def _can_pay(account: Account, customer: Data, params: Data, trial_end: int | None) -> None:
    """With error_if_incomplete nothing is made where the card does not pay."""
    if (
        params.get("payment_behavior") != "error_if_incomplete"
        or trial_end is not None
        or params.get("collection_method") == "send_invoice"
    ):
        return
    probe: Data = {
        "parent": None,
        "customer": customer["id"],
        "default_payment_method": params.get("default_payment_method"),
    }
    method = payments.method_of(account, probe)
    if not payments.would_pay(method):
        payments.refuse_failed(method)


def _first_unpaid(account: Account, subscription: Data) -> None:
    """A subscription whose first invoice was not paid is incomplete, for 23 hours."""
    subscription["status"] = "incomplete"
    wake(account, "incomplete", subscription["id"], account.now() + cycle.INCOMPLETE_HOURS * HOUR)
    account.emit("customer.subscription.updated", subscription, {"status": "active"})


@endpoint("GET", f"{PATH}/{{id}}", "SubscriptionRetrieveParams")
def retrieve(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Return a subscription."""
    return account.get("subscription", ids["id"])


@endpoint("GET", PATH, "SubscriptionListParams")
def listed(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """List subscriptions; canceled ones only where all or those are asked for."""
    if params.get("customer"):
        found = indexed(account, "subscription", "customer", params["customer"])
    else:
        found = list(account.kind("subscription").values())
    fits = [
        one
        for one in reversed(found)
        if _has_status(one, params.get("status"))
        and within(one["created"], params.get("created"))
        and params.get("collection_method") in (None, one["collection_method"])
        and (not params.get("price") or any(item["price"]["id"] == params["price"] for item in one["items"]["data"]))
        and within(period_end(one), params.get("current_period_end"))
    ]
    return page(fits, params, PATH)


def _has_status(subscription: Data, asked: str | None) -> bool:
    status = subscription["status"]
    if asked == "all":
        return True
    if asked == "ended":
        return status in ENDED
    return bool(status not in ENDED if asked is None else status == asked)


@endpoint("POST", f"{PATH}/{{id}}", "SubscriptionUpdateParams")
def update(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Change a subscription: its items, anchor, trial, end, collection, discounts, words."""
    subscription = account.get("subscription", ids["id"])
    if subscription["status"] in ENDED:
        return _only_words(subscription, params)
    _not_scheduled(account, subscription, params)
    before = changed_fields(account, subscription, params)
    now, behavior = account.now(), params.get("proration_behavior", "create_prorations")
    at = _proration_date(subscription, params, now)
    _trial(account, subscription, params, behavior, now)
    resets = (params.get("billing_cycle_anchor") or {}).get("type") == "now"
    if resets:
        changing.reanchor(account, subscription, behavior, now)
    if params.get("items"):
        changing.reshape(
            account, subscription, _wanted(account, subscription, params["items"]), behavior, now if resets else at
        )
    if params.get("add_invoice_items"):
        charges = adding.checked(account, params["add_invoice_items"], subscription["currency"], "add_invoice_items")
        adding.put_on(account, subscription, charges, (now, period_end(subscription)))
    _cancel_date(account, subscription, params, behavior)
    _prebilled(account, subscription, params)
    account.emit("customer.subscription.updated", subscription, before)
    changing.invoiced(account, subscription, behavior, now, is_now=True)
    return subscription


def _not_scheduled(account: Account, subscription: Data, params: Data) -> None:
    """Refuse to change the end of a subscription that a schedule manages."""
    schedule = account.kind("subscription_schedule").get(subscription["schedule"] or "")
    if (
        schedule is not None
        and schedule["status"] not in DEAD_SCHEDULES
        and {"cancel_at", "cancel_at_period_end"} & set(params)
    ):
        raise Refused(
            f"The subscription is managed by the subscription schedule `{schedule['id']}`, and updating any cancelation behavior directly "
            "is not allowed. Please update the schedule instead."
        )


def _prebilled(account: Account, subscription: Data, params: Data) -> None:
    """Set how far ahead items are billed; what that adds waits, or goes with always_invoice on an invoice now."""
    if not params.get("billing_schedules"):
        return
    held = subscription["items"]["data"]
    wanted = [Wanted(price=item["price"], quantity=item.get("quantity")) for item in held]
    given = {"billing_mode": subscription["billing_mode"], **params}
    start = max(item["current_period_start"] for item in held)
    subscription["billing_schedules"] = prebilling.checked(
        account, given, wanted, subscription["billing_cycle_anchor"], start
    )
    prebilling.wait(account, subscription, prebilling.ahead(account, subscription))


def _only_words(subscription: Data, params: Data) -> Data:
    """Change what an ended subscription still lets be changed."""
    if set(params) - {"metadata", "cancellation_details", "expand"}:
        raise Refused(
            "A canceled subscription can only update its cancellation_details and metadata.",
            code="invalid_canceled_subscription_fields",
        )
    subscription["metadata"] = merged(subscription["metadata"], params.get("metadata"))
    return subscription


def _proration_date(subscription: Data, params: Data, now: int) -> int:
    """Return the instant that prorations count from. Raises: Refused where it lies outside the current period."""
    at = params.get("proration_date")
    if at is None:
        return now
    held = subscription["items"]["data"]
    first = min([item["current_period_start"] for item in held])
    if not min(first, subscription["start_date"]) <= at <= period_end(subscription):
        raise Refused(
            "The proration_date must lie within the current period of the subscription.", param="proration_date"
        )
    return int(at)


def _trial(account: Account, subscription: Data, params: Data, behavior: str, now: int) -> None:
    """Begin, move or end a trial."""
    if params.get("trial_end") is None:
        return
    ends = now if params["trial_end"] == "now" else _trial_end(params, now)
    assert ends is not None
    if not is_trialing(subscription):
        if params["trial_end"] == "now":
            return
        changing.reanchor(account, subscription, behavior, now)
        subscription.update(status="trialing", trial_start=now)
        for item in subscription["items"]["data"]:
            item["current_period_start"] = now
    subscription["trial_end"] = ends
    for item in subscription["items"]["data"]:
        item["current_period_end"] = ends


def _wanted(account: Account, subscription: Data, given: list[Data]) -> list[Wanted]:
    """Return all items as they are to be: those of the request changed, the others as they are."""
    held = {item["id"]: item for item in subscription["items"]["data"]}
    by_id = {one["id"]: one for one in given if one.get("id")}
    for id_ in by_id:
        if id_ not in held:
            raise Refused(f"Invalid subscription item: {id_}", status=404, code="resource_missing", param="items")
    found: list[Wanted] = []
    for id_, item in held.items():
        asked = by_id.get(id_, {})
        if not asked.get("deleted"):
            found.append(_changed(account, item, asked))
    for place, one in enumerate(given):
        if not one.get("id"):
            found.append(wanted_from(account, one, f"items[{place}]"))
    currency = checked_items(found, is_flexible=subscription["billing_mode"]["type"] == "flexible")
    if currency != subscription["currency"]:
        raise Refused(
            f"The currency of the items differs from that of the subscription ({subscription['currency']}).",
            param="items",
        )
    return found


def _changed(account: Account, item: Data, asked: Data) -> Wanted:
    """Return an item as a request changes it; what it leaves out stays."""
    whole: Data = {"price": item["price"]["id"], "quantity": item.get("quantity")}
    if asked.get("price") or asked.get("price_data"):
        whole = {name: asked[name] for name in ("price", "price_data") if asked.get(name)} | {
            "quantity": item.get("quantity")
        }
    if asked.get("quantity") is not None:
        whole["quantity"] = asked["quantity"]
    if whole["quantity"] is None:
        del whole["quantity"]
    if whole.get("price") != item["price"]["id"] or (is_metered(item["price"]) and "quantity" in whole):
        wanted = wanted_from(account, whole, "items")
    else:
        wanted = Wanted(price=item["price"], quantity=whole.get("quantity"))
    kept = [{"coupon": None, "discount": id_, "promotion_code": None} for id_ in item["discounts"]]
    wanted.entries = (
        discounts.checked(account, asked["discounts"], item["price"]["currency"], "items")
        if "discounts" in asked
        else kept
    )
    wanted.tax_rates = rates_of(account, asked["tax_rates"]) if "tax_rates" in asked else item["tax_rates"]
    wanted.metadata = merged(item["metadata"], asked.get("metadata"))
    wanted.item = item
    return wanted


def _cancel_date(account: Account, subscription: Data, params: Data, behavior: str) -> None:
    """Set or clear when the subscription ends; inside the current period its rest is credited unless prorations are off."""
    held, now = subscription["items"]["data"], account.now()
    if params.get("cancel_at_period_end") is not None:
        subscription["cancel_at_period_end"] = params["cancel_at_period_end"]
        subscription["cancel_at"] = period_end(subscription) if params["cancel_at_period_end"] else None
    elif "cancel_at" in params:
        named = {
            "min_period_end": period_end(subscription), "max_period_end": max(item["current_period_end"] for item in held), "": None,
            "max_billed_until": max(item["billed_until"] or item["current_period_end"] for item in held),
        }  # fmt: skip
        ends = named[params["cancel_at"]] if isinstance(params["cancel_at"], str) else params["cancel_at"]
        if ends is not None and ends <= now:
            raise Refused("Invalid timestamp: must be an integer Unix timestamp in the future.", param="cancel_at")
        subscription["cancel_at_period_end"] = False
        changing.ends_on(account, subscription, ends, behavior)
    else:
        return
    subscription["canceled_at"] = now if subscription["cancel_at"] is not None else None
    subscription["cancellation_details"]["reason"] = (
        "cancellation_requested" if subscription["cancel_at"] is not None else None
    )
    cycle.plan(account, subscription)


@endpoint("DELETE", f"{PATH}/{{id}}", "SubscriptionCancelParams")
def cancel(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Cancel a subscription at once; by default without a last invoice and without credits."""
    subscription = account.get("subscription", ids["id"])
    if subscription["status"] in ENDED:
        raise Refused(f"No such subscription: '{ids['id']}'", status=404, code="resource_missing", param="id")
    for name, value in (params.get("cancellation_details") or {}).items():
        subscription["cancellation_details"][name] = value or None
    subscription["cancel_at"] = None
    cycle.end(
        account, subscription, is_invoiced=params.get("invoice_now", False), is_prorated=params.get("prorate", False)
    )
    return subscription


@endpoint("POST", f"{PATH}/{{id}}/resume", "SubscriptionResumeParams")
def resume(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Let a paused subscription go on: from now with a full period, or in its old rhythm from the next boundary."""
    subscription = account.get("subscription", ids["id"])
    if subscription["status"] != "paused":
        raise Refused("You can only resume a subscription that is paused.", code="status_transition_invalid")
    now = account.now()
    subscription["status"] = "active"
    if (params.get("billing_cycle_anchor") or {}).get("type", "now") == "now":
        changing.reanchor(account, subscription, "none", now)
    else:
        changing.roll(subscription, now)
    account.emit("customer.subscription.resumed", subscription, {"status": "paused"})
    changing.invoiced(account, subscription, "none", now, is_now=True)
    return subscription
