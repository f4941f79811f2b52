"""Phases of a schedule: read from a request, checked, and kept as Stripe answers them.

A phase ends after its duration or on its end date, and the next begins there; without either it lasts one billing period.
Source: docs.stripe.com/billing/subscriptions/subscription-schedules.
"""

from __future__ import annotations

from typing import Any

from connector.lookalike.stripe.account import Account, Data, Refused
from connector.lookalike.stripe.machine import adding, discounts
from connector.lookalike.stripe.machine.subscriptions import Wanted, checked_items, wanted_from
from connector.lookalike.stripe.machine.taxes import rates_of
from connector.lookalike.stripe.machine.times import every_of, length_rank, next_boundary, shifted
from connector.lookalike.stripe.metadata import merged

MOST_PHASES = 10


def read(account: Account, given: Data, start: int, anchor: int, param: str) -> Data:
    """Return a phase that begins at *start*. anchor - of the billing periods before it, for a phase without an end of its own."""
    if given.get("duration") and given.get("end_date") is not None:
        raise Refused("You may only specify one of these parameters: duration, end_date.", param=f"{param}[duration]")
    wanted = [wanted_from(account, item, f"{param}[items][{place}]") for place, item in enumerate(given["items"])]
    currency = checked_items(wanted)
    if given.get("currency") and given["currency"] != currency:
        raise Refused(
            f"The currency of the phase differs from that of its prices ({currency}).", param=f"{param}[currency]"
        )
    resets = given.get("billing_cycle_anchor") == "phase_start"
    end = _end(given, wanted, start, start if resets else anchor, account.now())
    if end <= start:
        raise Refused("The end date of a phase must be after its start date.", param=f"{param}[end_date]")
    trial_end = account.now() if given.get("trial_end") == "now" else given.get("trial_end")
    if (given.get("trial") or trial_end is not None) and resets:
        raise Refused(
            "You can not use `billing_cycle_anchor=phase_start` with a trial.", param=f"{param}[billing_cycle_anchor]"
        )
    if given.get("trial") and trial_end is not None:
        raise Refused("You may only specify one of these parameters: trial, trial_end.", param=f"{param}[trial]")
    if trial_end is not None and not start <= trial_end <= end:
        raise Refused("The trial_end of a phase must lie within it.", param=f"{param}[trial_end]")
    return {
        "add_invoice_items": adding.checked(account, given.get("add_invoice_items"), currency, f"{param}[add_invoice_items]"),
        "application_fee_percent": None, "automatic_tax": _automatic_tax(given.get("automatic_tax")),
        "billing_cycle_anchor": given.get("billing_cycle_anchor"), "billing_thresholds": None,
        "collection_method": given.get("collection_method"), "currency": currency,
        "default_payment_method": given.get("default_payment_method"),
        "default_tax_rates": rates_of(account, given.get("default_tax_rates"), f"{param}[default_tax_rates]"),
        "description": given.get("description") or None,
        "discounts": discounts.checked(account, given.get("discounts"), currency, f"{param}[discounts]"), "end_date": end,
        "invoice_settings": _settings(given.get("invoice_settings")), "items": [_item(one) for one in wanted],
        "metadata": merged({}, given.get("metadata")), "on_behalf_of": None,
        "proration_behavior": given.get("proration_behavior", "create_prorations"), "start_date": start, "transfer_data": None,
        "trial_end": end if given.get("trial") else trial_end,
    }  # fmt: skip


def _end(given: Data, wanted: list[Wanted], start: int, anchor: int, now: int) -> int:
    if given.get("end_date") is not None:
        return now if given["end_date"] == "now" else int(given["end_date"])
    if duration := given.get("duration"):
        return shifted(start, (duration["interval"], duration.get("interval_count", 1)))
    return next_boundary(anchor, min((every_of(one.price) for one in wanted), key=length_rank), start)


def _item(wanted: Wanted) -> Data:
    made: Data = {
        "billing_thresholds": None, "discounts": wanted.entries, "metadata": wanted.metadata, "plan": wanted.price["id"],
        "price": wanted.price["id"], "tax_rates": wanted.tax_rates,
    }  # fmt: skip
    if wanted.quantity is not None:
        made["quantity"] = wanted.quantity
    return made


def _automatic_tax(given: Data | None) -> Data | None:
    return {"disabled_reason": None, "enabled": given["enabled"], "liability": None} if given else None


def _said(value: Any) -> Any:
    """Return a value of a request; an empty text or list clears, a 0 is a 0."""
    return None if value in ("", []) else value


def _settings(given: Data | None) -> Data | None:
    if not given:
        return None
    return {
        name: _said(given.get(name))
        for name in ("account_tax_ids", "custom_fields", "days_until_due", "description", "footer", "issuer")
    }


def default_settings(given: Data | None, held: Data | None = None) -> Data:
    """Return a schedule's `default_settings`; what a request leaves out of an update stays."""
    before: Data = held or {
        "application_fee_percent": None, "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": "automatic", "billing_thresholds": None, "collection_method": "charge_automatically",
        "default_payment_method": None, "description": None,
        "invoice_settings": {"account_tax_ids": None, "custom_fields": None, "days_until_due": None, "description": None, "footer": None, "issuer": {"type": "self"}},
        "on_behalf_of": None, "transfer_data": None,
    }  # fmt: skip
    after = {**before}
    for name, value in (given or {}).items():
        if name == "invoice_settings":
            after[name] = {**before[name], **{key: _said(part) for key, part in value.items()}}
        elif name == "automatic_tax":
            after[name] = _automatic_tax(value)
        else:
            after[name] = None if value == "" else value
    if after["collection_method"] == "send_invoice" and after["invoice_settings"]["days_until_due"] is None:
        after["invoice_settings"] = {**after["invoice_settings"], "days_until_due": 30}
    return after


def chained(account: Account, given: list[Data], start: int, anchor: int, *, is_default_reset: bool) -> list[Data]:
    """Return the phases of a request one after the other from *start*. Raises: Refused (none, too many, dates that do not meet)."""
    if not given:
        raise Refused("You must pass at least one phase.", code="parameter_missing", param="phases")
    if len(given) > MOST_PHASES:
        raise Refused(
            f"A subscription schedule may have at most {MOST_PHASES} current and future phases.", param="phases"
        )
    found: list[Data] = []
    for place, one in enumerate(given):
        param = f"phases[{place}]"
        asked = account.now() if one.get("start_date") == "now" else one.get("start_date")
        if asked is not None and asked != start:
            raise Refused(
                "The start date of a phase must be the end date of the phase before it.", param=f"{param}[start_date]"
            )
        phase = read(account, one, start, anchor, param)
        if phase["billing_cycle_anchor"] == "phase_start" or (
            phase["billing_cycle_anchor"] is None and is_default_reset
        ):
            anchor = start
        elif phase["trial_end"] is not None:
            anchor = phase["trial_end"]
        if found and found[0]["currency"] != phase["currency"]:
            raise Refused("All phases of a subscription schedule must have the same currency.", param=param)
        found.append(phase)
        start = phase["end_date"]
    return found


def wanted_of(account: Account, phase: Data, held: list[Data]) -> list[Wanted]:
    """Return the items that a phase wants, each with the running item of the same price that it goes on with."""
    by_price = {item["price"]["id"]: item for item in held}
    return [
        Wanted(
            price=account.get("price", one["price"]), quantity=one.get("quantity"), entries=one["discounts"],
            tax_rates=one["tax_rates"], metadata=one["metadata"] or {}, item=by_price.get(one["price"]),
        )
        for one in phase["items"]
    ]  # fmt: skip


def setting(schedule: Data, phase: Data, name: str) -> Any:
    """Return a setting of a phase, or else of the schedule."""
    value = phase.get(name)
    return schedule["default_settings"].get(name) if value is None else value
