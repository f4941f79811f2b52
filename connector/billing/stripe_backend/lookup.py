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
| attach | the payment method has that customer, the invoice that payment |
| payment reported | a payment record bears the mark |
| send, meter event, portal session | nobody can tell: None, and the call may be sent again (a meter event bears its own identifier) |

Worked example: `subscription_schedules.create` for cus_1 was cut off. `subscription_schedules.list(customer=cus_1)` has one whose
mark is `d-17/month/schedule`: that is the answer, and nothing is sent again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connector.billing.stripe_backend.refusals import Refusal
from connector.billing.stripe_backend.shared import existing
from connector.billing.stripe_backend.steps import Calls, Step

MOST_LISTED = 1000
CLOCKS_APART_S = 600  # between our clock and Stripe's

Data = dict[str, Any]
Params = Mapping[str, Any]

MARK = "connector_step"

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
    if step.call == "billing.meter_events.create":
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
        return None if _object(calls, service, target) else {"id": target.rpartition("/")[2], "deleted": True}
    if step.call in _STATES:
        now = _object(calls, service, target)
        return now if now is not None and now.get("status") in _STATES[step.call] else None
    if step.call == "payment_methods.attach":
        now = _object(calls, service, target)
        return now if now is not None and _id_of(now.get("customer")) == params.get("customer") else None
    if verb == "update" and (params.get("metadata") or {}).get(MARK):
        now = _object(calls, service, target)
        return now if now is not None and (now.get("metadata") or {}).get(MARK) == params["metadata"][MARK] else None
    return None


def _resolved(step: Step, params: Params) -> Step:
    return Step(name=step.name, call=step.call, params=params, shared=step.shared)


def _created(calls: Calls, service: str, params: Params, target: str, mark: str, since: int | None) -> Data | None:
    if service == "subscription_schedules" and params.get("from_subscription"):
        below = _object(calls, "subscriptions", str(params["from_subscription"]))
        schedule = _id_of((below or {}).get("schedule"))
        return _object(calls, service, str(schedule)) if schedule else None
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
    return _object(calls, "invoices", target) if calls.listed("invoice_payments.list", asked) else None


def _tax_id(calls: Calls, params: Params, target: str, since: int | None) -> Data | None:
    del since
    listed = calls.listed("customers.tax_ids.list", {}, target=target, limit=100)
    return next((t for t in listed if (t.get("type"), _tight(t.get("value"))) == (params.get("type"), _tight(params.get("value")))), None)


_ANOTHER_WAY = {"customers.tax_ids.create": _tax_id, "payment_records.report_payment": _reported, "invoices.attach_payment": _attached}


def _tight(value: Any) -> str:
    return "".join(c for c in str(value or "").upper() if c.isalnum())


def _object(calls: Calls, service: str, target: str) -> Data | None:
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


