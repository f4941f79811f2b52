"""The endpoints of subscription schedules."""

from __future__ import annotations

from collections.abc import Mapping

from connector.lookalike.stripe.account import Account, Data, Refused, endpoint
from connector.lookalike.stripe.listing import page, within
from connector.lookalike.stripe.machine import adding, changing, cycle, schedules, stripe_tax
from connector.lookalike.stripe.machine.keeping import indexed, put
from connector.lookalike.stripe.machine.phases import chained, default_settings, wanted_of
from connector.lookalike.stripe.machine.subscriptions import DEAD_SCHEDULES, ENDED, checked_currency, period_end
from connector.lookalike.stripe.metadata import merged

PATH = "/v1/subscription_schedules"


@endpoint("POST", PATH, "SubscriptionScheduleCreateParams")
def create(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Make a schedule; one that starts now or in the past begins at once."""
    if params.get("from_subscription"):
        return _from_subscription(account, params)
    customer = account.get("customer", params.get("customer") or "", param="customer")
    if not params.get("phases"):
        raise Refused("You must pass either `phases` or `from_subscription`.", code="parameter_missing", param="phases")
    if params.get("start_date") is None:
        raise Refused("You must pass a start_date.", code="parameter_missing", param="start_date")
    now = account.now()
    start = now if params["start_date"] == "now" else params["start_date"]
    settings = default_settings(params.get("default_settings"))
    phases = chained(
        account, params["phases"], start, start, is_default_reset=settings["billing_cycle_anchor"] == "phase_start"
    )
    _not_past(phases[0], now, start)
    checked_currency(account, customer, phases[0]["currency"])
    stripe_tax.refuse_unlocated(customer, settings["automatic_tax"])
    made = _made(account, customer["id"], params, settings, phases)
    account.emit("subscription_schedule.created", made)
    if start <= now:
        schedules.begin(account, made)
    else:
        schedules.plan(account, made)
    return made


def _not_past(first: Data, now: int, start: int) -> None:
    if first["end_date"] <= now:
        raise Refused("The end date of the first phase must be in the future.", param="phases[0][end_date]")
    if first["trial_end"] is not None and start < now >= first["trial_end"]:
        raise Refused("The trial_end of a phase must be in the future.", param="phases[0][trial_end]")


def _made(account: Account, customer: str, params: Data, settings: Data, phases: list[Data]) -> Data:
    mode = params.get("billing_mode") or {"type": "flexible"}
    made: Data = {
        "id": account.new_id("sub_sched"), "object": "subscription_schedule", "application": None,
        "billing_mode": {
            "flexible": {"proration_discounts": (mode.get("flexible") or {}).get("proration_discounts", "included")} if mode["type"] == "flexible" else None,
            "type": mode["type"], "updated_at": None,
        },
        "canceled_at": None, "completed_at": None, "created": account.now(), "current_phase": None, "customer": customer,
        "customer_account": None, "default_settings": settings, "end_behavior": params.get("end_behavior", "release"),
        "livemode": account.is_live, "metadata": merged({}, params.get("metadata")), "pause_schedules": [], "phases": phases,
        "released_at": None, "released_subscription": None, "status": "not_started", "subscription": None, "test_clock": None,
    }  # fmt: skip
    return put(account, "subscription_schedule", made, ["customer"])


def _from_subscription(account: Account, params: Data) -> Data:
    """Make a schedule around a running subscription: one phase, its present period."""
    for name in ("customer", "phases", "start_date", "default_settings", "end_behavior"):
        if params.get(name) is not None:
            raise Refused(f"You cannot set `{name}` if `from_subscription` is set.", param=name)
    subscription = account.get("subscription", params["from_subscription"], param="from_subscription")
    if subscription["status"] in ENDED:
        raise Refused("You cannot migrate a subscription that is canceled.", param="from_subscription")
    if subscription["schedule"]:
        raise Refused("This subscription is already attached to a schedule.", param="from_subscription")
    if subscription["billing_schedules"]:
        raise Refused("A subscription with billing_schedules cannot be managed by a schedule.", param="from_subscription")
    held = subscription["items"]["data"]
    start = max(item["current_period_start"] for item in held)
    phase: Data = {
        "add_invoice_items": [], "application_fee_percent": None, "automatic_tax": None, "billing_cycle_anchor": None,
        "billing_thresholds": None, "collection_method": None, "currency": subscription["currency"], "default_payment_method": None,
        "default_tax_rates": list(subscription["default_tax_rates"]), "description": None,
        "discounts": [{"coupon": None, "discount": id_, "promotion_code": None} for id_ in subscription["discounts"]],
        "end_date": period_end(subscription), "invoice_settings": None,
        "items": [
            {
                "billing_thresholds": None, "discounts": [{"coupon": None, "discount": id_, "promotion_code": None} for id_ in item["discounts"]],
                "metadata": dict(item["metadata"]), "plan": item["price"]["id"], "price": item["price"]["id"],
                "tax_rates": list(item["tax_rates"]), **({"quantity": item["quantity"]} if "quantity" in item else {}),
            }
            for item in held
        ],
        "metadata": {}, "on_behalf_of": None, "proration_behavior": "create_prorations", "start_date": start, "transfer_data": None,
        "trial_end": subscription["trial_end"] if subscription["status"] == "trialing" else None,
    }  # fmt: skip
    settings = default_settings({"collection_method": subscription["collection_method"]})
    settings["invoice_settings"]["days_until_due"] = subscription["days_until_due"]
    settings["default_payment_method"] = subscription["default_payment_method"]
    made = _made(
        account, subscription["customer"], {**params, "billing_mode": subscription["billing_mode"]}, settings, [phase]
    )
    made.update(
        status="active",
        subscription=subscription["id"],
        current_phase={"start_date": start, "end_date": phase["end_date"]},
    )
    subscription["schedule"] = made["id"]
    account.emit("subscription_schedule.created", made)
    schedules.plan(account, made)
    return made


@endpoint("GET", f"{PATH}/{{id}}", "SubscriptionScheduleRetrieveParams")
def retrieve(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Return a schedule."""
    return account.get("subscription_schedule", ids["id"])


@endpoint("GET", PATH, "SubscriptionScheduleListParams")
def listed(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """List schedules, by customer and by when they were made or ended."""
    if params.get("customer"):
        found = indexed(account, "subscription_schedule", "customer", params["customer"])
    else:
        found = list(account.kind("subscription_schedule").values())
    stamps = ("canceled_at", "completed_at", "created", "released_at")
    fits = [
        one
        for one in reversed(found)
        if all(within(one[name], params.get(name)) for name in stamps)
        and (not params.get("scheduled") or one["status"] == "not_started")
    ]
    return page(fits, params, PATH)


def _alive(account: Account, ids: Mapping[str, str], verb: str) -> Data:
    schedule = account.get("subscription_schedule", ids["id"])
    if schedule["status"] in DEAD_SCHEDULES:
        raise Refused(
            f"You cannot {verb} a subscription schedule that is currently in the `{schedule['status']}` status."
        )
    return schedule


@endpoint("POST", f"{PATH}/{{id}}", "SubscriptionScheduleUpdateParams")
def update(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Replace the current and all future phases, the settings, what happens at the end."""
    schedule = _alive(account, ids, "update")
    before: Data = {name: schedule[name] for name in ("phases", "end_behavior", "default_settings") if name in params}
    settings = default_settings(params.get("default_settings"), schedule["default_settings"])
    stripe_tax.refuse_unlocated(account.get("customer", schedule["customer"]), (params.get("default_settings") or {}).get("automatic_tax"))
    phases = _replaced(account, schedule, params["phases"], settings) if params.get("phases") is not None else None
    schedule["default_settings"] = settings
    schedule["end_behavior"] = params.get("end_behavior", schedule["end_behavior"])
    schedule["metadata"] = merged(schedule["metadata"], params.get("metadata"))
    if schedule["status"] == "not_started":
        schedule["phases"] = phases or schedule["phases"]
        if schedule["phases"][0]["start_date"] <= account.now():
            schedules.begin(account, schedule)
        else:
            schedules.plan(account, schedule)
    else:
        _applied(account, schedule, phases, params.get("proration_behavior", "create_prorations"))
    account.emit("subscription_schedule.updated", schedule, before)
    return schedule


def _replaced(account: Account, schedule: Data, given: list[Data], settings: Data) -> list[Data]:
    """Return the phases after an update: past ones as they were, then what the request says. Raises: Refused."""
    now, resets = account.now(), settings["billing_cycle_anchor"] == "phase_start"
    if not given or given[0].get("start_date") is None:
        raise Refused(
            "The subscription schedule update is missing at least one phase with a `start_date` to anchor end dates to.",
            param="phases",
        )
    start = now if given[0]["start_date"] == "now" else given[0]["start_date"]
    if schedule["status"] == "not_started":
        phases = chained(account, given, start, start, is_default_reset=resets)
        _not_past(phases[0], now, start)
        checked_currency(account, account.get("customer", schedule["customer"]), phases[0]["currency"])
        return phases
    current = schedules.current_phase(schedule)
    if current is None:
        raise Refused("The subscription schedule has no current phase.")
    past = [phase for phase in schedule["phases"] if phase["end_date"] <= current["start_date"]]
    while given and start in {phase["start_date"] for phase in past}:
        given = given[1:]
        start = given[0].get("start_date", current["start_date"]) if given else start
    if start != current["start_date"]:
        raise Refused("You can not modify the start date of the current phase.", param="phases[0][start_date]")
    subscription = account.get("subscription", schedule["subscription"])
    phases = chained(account, given, start, subscription["billing_cycle_anchor"], is_default_reset=resets)
    if phases[0]["end_date"] < now or (
        phases[0]["end_date"] == now and len(phases) == 1 and given[0].get("end_date") != "now"
    ):
        raise Refused("The end date of the current phase must not lie in the past.", param="phases[0][end_date]")
    if phases[0]["currency"] != subscription["currency"]:
        raise Refused(
            f"The currency of the phases differs from that of the subscription ({subscription['currency']}).",
            param="phases",
        )
    return past + phases


def _applied(account: Account, schedule: Data, phases: list[Data] | None, behavior: str) -> None:
    """Carry a change of the current phase over to the running subscription; a phase that ends now gives way at once."""
    current = schedules.current_phase(schedule)
    assert current is not None
    subscription = account.get("subscription", schedule["subscription"])
    now = account.now()
    if phases is not None:
        schedule["phases"] = phases
    after = next(phase for phase in schedule["phases"] if phase["start_date"] == current["start_date"])
    schedule["current_phase"] = {"start_date": after["start_date"], "end_date": after["end_date"]}
    _redress(account, schedule, current, after, subscription)
    if after["items"] != current["items"] or after["trial_end"] != current["trial_end"]:
        if after["trial_end"] != current["trial_end"]:
            schedules.set_trial(account, subscription, after, behavior, now)
        changing.reshape(account, subscription, wanted_of(account, after, subscription["items"]["data"]), behavior, now)
    if after["add_invoice_items"] and after["add_invoice_items"] != current["add_invoice_items"]:
        adding.put_on(account, subscription, after["add_invoice_items"], (after["start_date"], after["end_date"]))
    account.emit("customer.subscription.updated", subscription, {})
    if after["end_date"] <= now:
        schedules.turn(account, schedule["id"], now)
    else:
        changing.invoiced(account, subscription, behavior, now, is_now=True)
        schedules.plan(account, schedule)


def _redress(account: Account, schedule: Data, current: Data, after: Data, subscription: Data) -> None:
    """Set the current phase's attributes anew, keeping the discounts at work where the phase still names them."""
    held = list(subscription["discounts"])
    schedules.dressed(account, schedule, after, subscription)
    if after["discounts"] == current["discounts"]:
        subscription["discounts"] = held


@endpoint("POST", f"{PATH}/{{id}}/cancel", "SubscriptionScheduleCancelParams")
def cancel(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Cancel a schedule and its subscription at once; by default with a last invoice and prorations."""
    schedule = _alive(account, ids, "cancel")
    subscription = account.kind("subscription").get(schedule["subscription"] or "")
    is_prorated, is_invoiced = params.get("prorate", True), params.get("invoice_now", True)
    schedule.update(status="canceled", canceled_at=account.now(), current_phase=None)
    if subscription is not None and subscription["status"] not in ENDED:
        subscription["canceled_at"] = account.now()
        cycle.end(account, subscription, is_invoiced=is_invoiced, is_prorated=is_prorated)
    account.emit("subscription_schedule.canceled", schedule)
    return schedule


@endpoint("POST", f"{PATH}/{{id}}/release", "SubscriptionScheduleReleaseParams")
def release(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Let the subscription go on as it is; the future phases are gone."""
    schedule = _alive(account, ids, "release")
    if schedule["status"] != "active":
        raise Refused("You cannot release a subscription schedule that is currently in the `not_started` status.")
    schedules.release(account, schedule, keeps_cancel_date=params.get("preserve_cancel_date", False))
    return schedule
