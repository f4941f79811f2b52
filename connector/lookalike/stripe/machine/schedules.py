"""Schedules as time goes by: they begin, enter one phase after the other, and end by releasing or canceling the subscription.

Entering a phase sets its attributes on the subscription; what a phase does not say, the default settings say. The proration behaviour
of a phase is that of the transition into it. Source: docs.stripe.com/billing/subscriptions/subscription-schedules.
"""

from __future__ import annotations

from connector.lookalike.stripe.account import Account, Data
from connector.lookalike.stripe.machine import adding, changing, cycle, discounts
from connector.lookalike.stripe.machine.keeping import falls_due, wake
from connector.lookalike.stripe.machine.phases import setting, wanted_of
from connector.lookalike.stripe.machine.subscriptions import DEAD_SCHEDULES, ENDED, is_trialing, new_item, opened
from connector.lookalike.stripe.machine.times import DAY
from connector.lookalike.stripe.metadata import merged

EXPIRING_DAYS = 7


def phase_at(schedule: Data, at: int) -> Data | None:
    """Return the phase that holds *at*."""
    return next((phase for phase in schedule["phases"] if phase["start_date"] <= at < phase["end_date"]), None)


def current_phase(schedule: Data) -> Data | None:
    """Return the phase that the subscription is in."""
    now = schedule["current_phase"]
    return next((one for one in schedule["phases"] if now and one["start_date"] == now["start_date"]), None)


def plan(account: Account, schedule: Data) -> None:
    """Note when the schedule is to be looked at again."""
    if schedule["status"] == "not_started":
        wake(account, "schedule", schedule["id"], schedule["phases"][0]["start_date"])
    elif schedule["status"] == "active" and schedule["current_phase"]:
        wake(account, "schedule", schedule["id"], schedule["current_phase"]["end_date"])
        last = schedule["phases"][-1]["end_date"]
        if schedule["current_phase"]["end_date"] == last and last - EXPIRING_DAYS * DAY > account.now():
            wake(account, "expiring", schedule["id"], last - EXPIRING_DAYS * DAY)


@falls_due("expiring", 5)
def expiring(account: Account, id_: str, at: int) -> None:
    """Tell that a schedule ends within seven days."""
    schedule = account.kind("subscription_schedule").get(id_)
    if (
        schedule is not None
        and schedule["status"] == "active"
        and schedule["phases"][-1]["end_date"] == at + EXPIRING_DAYS * DAY
    ):
        account.emit("subscription_schedule.expiring", schedule)


@falls_due("schedule", 10)
def turn(account: Account, id_: str, at: int) -> None:
    """Do what is due of a schedule: begin, enter its next phase, end."""
    schedule = account.kind("subscription_schedule").get(id_)
    if schedule is None or schedule["status"] in DEAD_SCHEDULES:
        return
    if schedule["status"] == "not_started":
        if schedule["phases"][0]["start_date"] <= at:
            begin(account, schedule)
        return
    phase = current_phase(schedule)
    if phase is None or phase["end_date"] > at:
        return
    following = next((one for one in schedule["phases"] if one["start_date"] >= phase["end_date"]), None)
    if following is None:
        finish(account, schedule)
    else:
        enter(account, schedule, following, at)


def begin(account: Account, schedule: Data) -> None:
    """Make the subscription of a schedule and enter its first phase."""
    now = account.now()
    phase = schedule["phases"][0]
    customer = account.get("customer", schedule["customer"])
    subscription = opened(account, customer, phase["currency"], {
        "billing_cycle_anchor": phase["start_date"], "billing_mode": dict(schedule["billing_mode"]), "schedule": schedule["id"],
        "start_date": phase["start_date"],
    })  # fmt: skip
    schedule.update(subscription=subscription["id"], status="active")
    schedule["current_phase"] = {"start_date": phase["start_date"], "end_date": phase["end_date"]}
    dressed(account, schedule, phase, subscription)
    if phase["trial_end"] is not None and phase["trial_end"] > now:
        subscription.update(
            status="trialing", trial_start=now, trial_end=phase["trial_end"], billing_cycle_anchor=phase["start_date"]
        )
    elif phase["trial_end"] is not None:
        subscription["billing_cycle_anchor"] = phase["trial_end"]
    for one in wanted_of(account, phase, []):
        subscription["items"]["data"].append(
            new_item(account, subscription, one, phase["start_date"], phase["start_date"])
        )
    lines = cycle.first_lines(account, subscription, phase["proration_behavior"])
    adding.put_on(account, subscription, phase["add_invoice_items"], (phase["start_date"], phase["end_date"]))
    account.emit("customer.subscription.created", subscription)
    cycle.first_invoice(account, subscription, lines, is_now=False)
    account.emit("subscription_schedule.updated", schedule, {"status": "not_started"})
    plan(account, schedule)


def dressed(account: Account, schedule: Data, phase: Data, subscription: Data) -> None:
    """Set the attributes of a phase on the subscription."""
    settings = {**schedule["default_settings"]["invoice_settings"]}
    settings.update({name: value for name, value in (phase["invoice_settings"] or {}).items() if value is not None})
    is_last = phase["end_date"] == schedule["phases"][-1]["end_date"]
    method = setting(schedule, phase, "collection_method") or "charge_automatically"
    subscription.update(
        automatic_tax=dict(setting(schedule, phase, "automatic_tax") or subscription["automatic_tax"]), collection_method=method,
        days_until_due=settings.pop("days_until_due", None) if method == "send_invoice" else None,
        default_payment_method=setting(schedule, phase, "default_payment_method") or subscription["default_payment_method"],
        default_tax_rates=list(phase["default_tax_rates"] or ()), description=setting(schedule, phase, "description"),
        metadata=merged(subscription["metadata"], phase["metadata"]),
        discounts=discounts.begun(account, phase["discounts"], account.now(), subscription["discounts"], subscription=subscription["id"]),
        cancel_at=phase["end_date"] if is_last and schedule["end_behavior"] == "cancel" else None,
    )  # fmt: skip
    settings.pop("days_until_due", None)
    subscription["invoice_settings"] = {**subscription["invoice_settings"], **settings}


def enter(account: Account, schedule: Data, phase: Data, at: int) -> None:
    """Go over into a phase: attributes, items, anchor, further charges; what that makes due is billed."""
    subscription = account.get("subscription", schedule["subscription"])
    before = schedule["current_phase"]
    schedule["current_phase"] = {"start_date": phase["start_date"], "end_date": phase["end_date"]}
    if subscription["status"] in ENDED:
        return
    dressed(account, schedule, phase, subscription)
    behavior = phase["proration_behavior"]
    set_trial(account, subscription, phase, behavior, at)
    if setting(schedule, phase, "billing_cycle_anchor") == "phase_start" and not is_trialing(subscription):
        changing.reanchor(account, subscription, behavior, at)
    changing.reshape(
        account, subscription, wanted_of(account, phase, subscription["items"]["data"]), behavior, at, is_entered=True
    )
    adding.put_on(account, subscription, phase["add_invoice_items"], (phase["start_date"], phase["end_date"]))
    account.emit("subscription_schedule.updated", schedule, {"current_phase": before})
    account.emit("customer.subscription.updated", subscription, {})
    changing.invoiced(account, subscription, behavior, at, is_now=False)
    plan(account, schedule)


def set_trial(account: Account, subscription: Data, phase: Data, behavior: str, at: int) -> None:
    """Begin, prolong or end a free trial as the phase says; each phase says it anew."""
    ends = phase["trial_end"]
    if ends is not None and ends > at:
        if not is_trialing(subscription):
            changing.reanchor(account, subscription, behavior, at)
            subscription.update(status="trialing", trial_start=at)
            for item in subscription["items"]["data"]:
                item["current_period_start"] = at
        subscription["trial_end"] = ends
        for item in subscription["items"]["data"]:
            item["current_period_end"] = ends
    elif is_trialing(subscription):
        subscription["trial_end"] = at
        for item in subscription["items"]["data"]:
            item["current_period_start"] = item["current_period_end"] = at
        subscription.update(status="active", billing_cycle_anchor=at)


def finish(account: Account, schedule: Data) -> None:
    """End a schedule after its last phase as its end behaviour says."""
    now = account.now()
    subscription = account.get("subscription", schedule["subscription"])
    if schedule["end_behavior"] == "cancel":
        schedule.update(status="completed", completed_at=now, current_phase=None)
        if subscription["status"] not in ENDED:
            cycle.end(account, subscription, is_invoiced=True, is_prorated=False)
        account.emit("subscription_schedule.completed", schedule)
    else:
        release(account, schedule)


def release(account: Account, schedule: Data, *, keeps_cancel_date: bool = False) -> None:
    """Let the subscription go on without its schedule."""
    subscription = account.kind("subscription").get(schedule["subscription"] or "")
    schedule.update(
        status="released",
        released_at=account.now(),
        current_phase=None,
        released_subscription=schedule["subscription"],
        subscription=None,
    )
    if subscription is not None:
        subscription["schedule"] = None
        if not keeps_cancel_date:
            subscription["cancel_at"] = None
        cycle.plan(account, subscription)
        account.emit("customer.subscription.updated", subscription, {"schedule": schedule["id"]})
    account.emit("subscription_schedule.released", schedule)
