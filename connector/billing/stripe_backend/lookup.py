"""What became of a call that nobody answered: found by our own mark, or by the state that the call leads to (decision D-19).

What was created bears `metadata.connector_step` = `{push key}/{step name}`, whatever idempotency key it was sent under: the lists of the
same customer, invoice or payment are searched for it. A call that changes something is done if its object says so. Search, Stripe's
own index, is never used: it is late by a minute.

| call | done if |
|---|---|
| …create | an object of the list bears the mark (a tax number: type and value) |
| schedule create from a subscription | the subscription has a schedule |
| update | the object bears the mark, if the update sets it |
| finalize, pay, void, mark uncollectible, cancel, release | the object's status says so |
| delete | it is gone |
| attach, detach | the payment method has that customer, has none; the invoice has that payment |
| payment reported | a payment record bears the mark |
| meter event | Stripe says that it has its identifier; where it forgot that (a day), the usage of its minute holds it beside what else was sent |
| send, portal session | nobody can tell: None, and the call may be sent again |

Worked example: `subscription_schedules.create` for cus_1 was cut off. `subscription_schedules.list(customer=cus_1)` has one whose
mark is `d-17/month/schedule`: that is the answer, and nothing is sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from connector.billing.stripe_backend.refusals import Refusal
from connector.billing.stripe_backend.shared import existing
from connector.billing.stripe_backend.steps import Calls, Step

MOST_LISTED = 1000
CLOCKS_APART_S = 600  # between our clock and Stripe's

Data = dict[str, Any]
Params = Mapping[str, Any]

MARK = "connector_step"
USAGE = "billing.meter_events.create"

_LISTS: Mapping[str, tuple[tuple[str, ...], Mapping[str, Any]]] = {
    # service -> parameters of the create call that narrow its list, and what the list needs besides
    "subscription_schedules": (("customer",), {}),
    "subscriptions": (("customer",), {"status": "all"}),
    "invoices": (("customer",), {}),
    "invoice_items": (("customer", "invoice"), {}),
    "credit_notes": (("invoice",), {}),
    "refunds": (("payment_intent", "charge"), {}),
    "customers": (("email",), {}),
    "customers.balance_transactions": ((), {}),
}
_STATES: Mapping[str, tuple[str, ...]] = {
    "invoices.finalize_invoice": ("open", "paid", "void", "uncollectible"),
    "invoices.pay": ("paid",),
    "invoices.void_invoice": ("void",),
    "invoices.mark_uncollectible": ("uncollectible",),
    "credit_notes.void_credit_note": ("void",),
    "subscriptions.cancel": ("canceled",),
    "subscription_schedules.cancel": ("canceled",),
    "subscription_schedules.release": ("released",),
    "subscriptions.pause": ("paused",),
    "refunds.cancel": ("canceled",),
}


def found(
    calls: Calls, step: Step, params: Params, full_key: str, *, since: int | None = None, refusal: Refusal | None = None
) -> Data | None:
    """Return what the call of *step* gave, as far as Stripe can still tell; None if it was not carried out, or nobody can tell.

    Args: params - of the step, without `Ref`; its target without, too. full_key - `{push key}/{step name}`, without attempt. since -
    when it was sent first, Unix time, to look at younger objects alone. refusal - where a repeated call was refused: the refusal
    itself may say that it is done.
    """
    if step.shared is not None:
        return existing(calls, _resolved(step, params))
    service, _, verb = step.call.rpartition(".")
    target = step.target if isinstance(step.target, str) else ""
    if step.call == USAGE:
        is_known = refusal is not None and refusal.problem.code == "stripe-usage-already-sent"
        return {"object": "billing.meter_event", **params} if is_known else None
    if step.call in _ANOTHER_WAY:
        return _ANOTHER_WAY[step.call](calls, params, target or full_key, since)
    if verb == "create":
        mark = (params.get("metadata") or {}).get(MARK) or full_key
        return _created(calls, service, params, target, mark, since)
    if not target:
        return None
    if verb == "delete":
        return None if standing(calls, service, target) else {"id": target.rpartition("/")[2], "deleted": True}
    is_done = _done(step.call, params)
    now = standing(calls, service, target) if is_done is not None else None
    return now if now is not None and is_done is not None and is_done(now) else None


def _done(call: str, params: Params) -> Callable[[Data], bool] | None:
    """Return how an object shows that a call that changes it was carried out; None where it shows nothing."""
    if call in _STATES:
        return lambda now: now.get("status") in _STATES[call]
    if call.startswith("payment_methods."):  # attached to a customer, detached from any
        return lambda now: (_id_of(now.get("customer")) or "") == (params.get("customer") or "")
    if call == "invoices.update" and params.keys() == {"auto_advance"}:
        return lambda now: now.get("auto_advance") == params["auto_advance"] or now.get("status") in ("paid", "void", "uncollectible")
    mark = (params.get("metadata") or {}).get(MARK)
    if call.endswith(".update") and mark:
        return lambda now: (now.get("metadata") or {}).get(MARK) == mark
    return None


def counted(calls: Calls, params: Params, beside: Sequence[Params]) -> Data | None:
    """Return a meter event if the usage of its minute holds it; Stripe forgets identifiers after a day, and would count it twice.

    Args: beside - the parameters of the events that the same push has sent and that were answered.
    """
    payload, start = params["payload"], int(params.get("timestamp") or 0) // 60 * 60
    meters = calls.listed("billing.meters.list", {"status": "active"}, limit=MOST_LISTED)
    meter = next((m for m in meters if m.get("event_name") == params["event_name"]), None)
    if meter is None or not start:
        return None
    asked = {"customer": payload["stripe_customer_id"], "start_time": start, "end_time": start + 60}
    found = calls.listed("billing.meters.event_summaries.list", asked, target=str(meter["id"]), limit=MOST_LISTED)
    others = [o["payload"] for o in beside if (o["event_name"], int(o["timestamp"]) // 60 * 60) == (params["event_name"], start)]
    known = sum(Decimal(o["value"]) for o in others if o["stripe_customer_id"] == payload["stripe_customer_id"])
    total = sum(Decimal(str(s["aggregated_value"])) for s in found)
    return {"object": "billing.meter_event", **params} if total >= known + Decimal(payload["value"]) else None


def _resolved(step: Step, params: Params) -> Step:
    return Step(name=step.name, call=step.call, params=params, shared=step.shared)


def _created(calls: Calls, service: str, params: Params, target: str, mark: str, since: int | None) -> Data | None:
    if service == "subscription_schedules" and params.get("from_subscription"):
        below = standing(calls, "subscriptions", str(params["from_subscription"]))
        schedule = _id_of((below or {}).get("schedule"))
        return standing(calls, service, str(schedule)) if schedule else None
    if service not in _LISTS:
        return None
    narrows, besides = _LISTS[service]
    asked: Data = {**besides, **{name: params[name] for name in narrows if params.get(name)}}
    if not asked and not target and since is None:
        return None  # a list without bounds
    if since is not None:
        asked["created"] = {"gte": since - CLOCKS_APART_S}
    listed = calls.listed(f"{service}.list", asked, target=target or None, limit=MOST_LISTED)
    ours = [o for o in listed if (o.get("metadata") or {}).get(MARK) == mark]
    return min(ours, key=lambda o: (int(o.get("created") or 0), str(o.get("id"))), default=None)


def _reported(calls: Calls, params: Params, full_key: str, since: int | None) -> Data | None:
    asked = {} if since is None else {"created_after": since - CLOCKS_APART_S}
    mark = (params.get("metadata") or {}).get(MARK) or full_key
    listed = calls.listed("payment_records.list", asked, limit=MOST_LISTED)
    return next((r for r in listed if (r.get("metadata") or {}).get(MARK) == mark), None)


def _attached(calls: Calls, params: Params, target: str, since: int | None) -> Data | None:
    del since
    asked = {"invoice": target, "payment": {"type": "payment_record", "payment_record": params["payment_record"]}}
    return standing(calls, "invoices", target) if calls.listed("invoice_payments.list", asked) else None


def _tax_id(calls: Calls, params: Params, target: str, since: int | None) -> Data | None:
    del since
    listed = calls.listed("customers.tax_ids.list", {}, target=target, limit=100)
    return next((t for t in listed if (t.get("type"), _tight(t.get("value"))) == (params.get("type"), _tight(params.get("value")))), None)


_ANOTHER_WAY = {"customers.tax_ids.create": _tax_id, "payment_records.report_payment": _reported, "invoices.attach_payment": _attached}


def _tight(value: Any) -> str:
    return "".join(c for c in str(value or "").upper() if c.isalnum())


def standing(calls: Calls, service: str, target: str) -> Data | None:
    """Return an object as it stands; None where it is gone."""
    try:
        now = calls.do(f"{service}.retrieve", {}, target=target)
    except Refusal as refusal:
        if refusal.code == "resource_missing":
            return None
        raise
    return None if now.get("deleted") else now


def _id_of(value: Any) -> Any:
    return value.get("id") if isinstance(value, Mapping) else value


