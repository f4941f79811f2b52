"""Previews: the next invoice of a subscription or schedule, as it would be, in a copy of what concerns its customer.

The copy has the subscription, the schedule, what waits, discounts and debits; it shares the catalogue, which it does not change. Then
the change is made there and the clock goes on to the next boundary: the machine itself says what it would bill.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime

from connector.lookalike.stripe.account import Account, Data, Refused, endpoint, snapshot
from connector.lookalike.stripe.machine import cycle, items, schedule_calls, schedules, subscription_calls
from connector.lookalike.stripe.machine.keeping import due, falls_due, index, put
from connector.lookalike.stripe.machine.subscriptions import ENDED, period_end
from connector.lookalike.stripe.machine.times import DAY

SHARED = ("product", "promotion_code", "tax_rate", "payment_method", "billing.meter", "billing.meter_event")
MOST_STEPS = 50


@endpoint("POST", "/v1/invoices/create_preview", "InvoiceCreatePreviewParams")
def create_preview(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Return the invoice that comes next, with the changes of the request; nothing of it is kept."""
    subscription, schedule = _concerned(account, params)
    whose = params.get("customer") or (subscription or schedule or {}).get("customer")
    if not whose:
        raise Refused("You must pass a customer, subscription or schedule.", code="parameter_missing", param="customer")
    world = _copied(account, account.get("customer", whose, param="customer"), subscription, schedule)
    known = set(world.kind("invoice"))
    for one in params.get("invoice_items") or ():
        given = {name: value for name, value in one.items() if name != "invoiceitem"}
        items.create(
            world, {}, {"customer": whose, **({"subscription": subscription["id"]} if subscription else {}), **given}
        )
    _changed(world, params, whose, subscription, schedule)
    found = _next_invoice(world, known)
    if found is None:
        raise Refused("No upcoming invoices for customer", status=404, code="invoice_upcoming_none")
    return _as_upcoming(found)


def _as_upcoming(found: Data) -> Data:
    """Return an invoice of the copy as one that does not exist yet."""
    shown: Data = snapshot(found)
    shown.update(
        id=f"upcoming_{shown['id']}", status="draft", number=None, hosted_invoice_url=None, invoice_pdf=None, automatically_finalizes_at=None,
        attempted=False, attempt_count=0, amount_paid=0, amount_remaining=shown["amount_due"],
    )  # fmt: skip
    if shown["billing_reason"] == "subscription_cycle":
        shown["billing_reason"] = "upcoming"
    return shown


@falls_due("upcoming", 60)
def upcoming(account: Account, id_: str, at: int) -> None:
    """Tell of the next invoice of a subscription a week ahead."""
    subscription = account.kind("subscription").get(id_)
    if account.machine.get("is_copy"):
        return
    if (
        subscription is None
        or subscription["status"] in (*ENDED, "paused")
        or period_end(subscription) != at + cycle.UPCOMING_DAYS * DAY
    ):
        return
    world = _copied(account, account.get("customer", subscription["customer"]), subscription, None)
    known = set(world.kind("invoice"))
    found = _next_invoice(world, known)
    if found is not None:
        account.emit("invoice.upcoming", _as_upcoming(found))


def _concerned(account: Account, params: Data) -> tuple[Data | None, Data | None]:
    """Return the running subscription and schedule that a request names."""
    if params.get("subscription") and params.get("schedule"):
        raise Refused("You may only specify one of these parameters: subscription, schedule.", param="schedule")
    subscription = (
        account.get("subscription", params["subscription"], param="subscription")
        if params.get("subscription")
        else None
    )
    schedule = (
        account.get("subscription_schedule", params["schedule"], param="schedule") if params.get("schedule") else None
    )
    if subscription is not None and subscription["status"] in ENDED:
        raise Refused("No upcoming invoices for customer", status=404, code="invoice_upcoming_none")
    if schedule is not None and schedule["subscription"]:
        subscription = account.get("subscription", schedule["subscription"])
    return subscription, schedule


def _copied(account: Account, customer: Data, subscription: Data | None, schedule: Data | None) -> Account:
    """Return an account of its own with a customer and what is asked about."""
    clock = {"at": datetime.fromtimestamp(account.now(), UTC)}
    world = Account(clock=lambda: clock["at"], id=account.id, currency=account.currency, country=account.country)
    world.machine.update(clock=clock, is_copy=True, registrations=account.machine.get("registrations", {}))
    world._numbers = itertools.count(10**12)  # noqa: SLF001 - ids of the copy are told apart from real ones
    for name in SHARED:
        world.objects[name] = account.kind(name)
    world.objects["price"] = dict(account.kind("price"))
    world.objects["coupon"] = {id_: dict(one) for id_, one in account.kind("coupon").items()}
    put(world, "customer", snapshot(customer))
    if subscription is not None:
        copied = put(world, "subscription", snapshot(subscription), ["customer"])
        schedule = account.kind("subscription_schedule").get(subscription["schedule"] or "") or schedule
        for item in copied["items"]["data"]:
            world.kind("subscription_item")[item["id"]] = item
    if schedule is not None:
        put(world, "subscription_schedule", snapshot(schedule), ["customer"])
    for id_ in index(account, "pending", "customer", customer["id"]):
        put(world, "invoiceitem", snapshot(account.kind("invoiceitem")[id_]), ["customer"])
        index(world, "pending", "customer", customer["id"])[id_] = None
    _copy_notes(account, world)
    return world


def _copy_notes(account: Account, world: Account) -> None:
    """Take along what the machine keeps of what was copied: debits with the invoices they stand on, discounts, what is due."""
    debits = account.machine.get("debits", {})
    for id_ in world.kind("subscription_item"):
        world.machine.setdefault("debits", {})[id_] = snapshot(debits.get(id_, []))
        for debit in debits.get(id_, ()):
            _lend(account, world, "invoiceitem", debit.get("item"))
            _lend(account, world, "invoice", debit.get("invoice"))
    for item in list(world.kind("invoiceitem").values()):
        _lend(account, world, "invoice", item["invoice"])
    holders = [
        *world.kind("subscription").values(),
        *world.kind("subscription_item").values(),
        *world.kind("invoiceitem").values(),
    ]
    phases = [phase for one in world.kind("subscription_schedule").values() for phase in one["phases"]]
    named = [entry["discount"] for phase in phases for one in (phase, *phase["items"]) for entry in one["discounts"]]
    spent = account.machine.get("spent", {})
    for id_ in {*named, *(id_ for one in holders for id_ in one["discounts"])}:
        _lend(account, world, "discount", id_)
        if id_ in spent:
            world.machine.setdefault("spent", {})[id_] = spent[id_]
    world.machine["brought"] = dict(account.machine.get("brought", {}))
    for name in ("usage", "usage_seen"):
        world.machine[name] = account.machine.setdefault(name, {})
    world.machine["tax_rounding"] = account.machine.get("tax_rounding")
    for subscription in world.kind("subscription").values():
        cycle.plan(world, subscription)
    for schedule in world.kind("subscription_schedule").values():
        schedules.plan(world, schedule)


def _lend(account: Account, world: Account, kind: str, id_: str | None) -> None:
    """Let the copy see an object that it only reads."""
    if id_ is not None and id_ in account.kind(kind):
        world.kind(kind).setdefault(id_, account.kind(kind)[id_])


def _changed(world: Account, params: Data, whose: str, subscription: Data | None, schedule: Data | None) -> None:
    """Make the changes that a request describes in the copy."""
    details = dict(params.get("subscription_details") or {})
    plan = dict(params.get("schedule_details") or {})
    if plan:
        given = {
            name: value for name, value in plan.items() if name in ("phases", "end_behavior", "proration_behavior")
        }
        if schedule is not None:
            schedule_calls.update(world, {"id": schedule["id"]}, given)
        else:
            start = (plan.get("phases") or [{}])[0].get("start_date", "now")
            schedule_calls.create(
                world,
                {},
                {
                    "customer": whose,
                    "start_date": start,
                    **{k: v for k, v in given.items() if k != "proration_behavior"},
                },
            )
    elif subscription is None and schedule is None:
        start = details.pop("start_date", None)
        subscription_calls.create(world, {}, {
            "customer": whose, "collection_method": "send_invoice", "days_until_due": 30, **({"backdate_start_date": start} if start else {}),
            **{name: value for name, value in details.items() if name not in ("proration_date", "billing_cycle_anchor", "cancel_now")},
        })  # fmt: skip
    elif subscription is not None and details.pop("cancel_now", False):
        behavior = details.get("proration_behavior", "create_prorations")
        subscription_calls.cancel(
            world, {"id": subscription["id"]}, {"invoice_now": True, "prorate": behavior != "none"}
        )
    elif subscription is not None and (details or params.get("discounts")):
        more = {"discounts": params["discounts"]} if params.get("discounts") else {}
        subscription_calls.update(world, {"id": subscription["id"]}, {**details, **more})


def _next_invoice(world: Account, known: set[str]) -> Data | None:
    """Let the copy's time go on until it has made an invoice."""
    clock = world.machine["clock"]
    for _ in range(MOST_STEPS):
        if made := [one for id_, one in world.kind("invoice").items() if id_ not in known]:
            return made[-1]
        queue = world.machine.get("queue", [])
        if not queue:
            return None
        clock["at"] = datetime.fromtimestamp(max(queue[0][0], int(clock["at"].timestamp())), UTC)
        due(world, int(clock["at"].timestamp()))
        world.moment = None
    return None
