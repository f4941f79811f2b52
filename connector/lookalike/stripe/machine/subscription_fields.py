"""Fields of a subscription whose change has no consequence in time: collection, words, discounts, tax, pauses of collection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from connector.lookalike.stripe.account import Account, Data, Refused
from connector.lookalike.stripe.machine import discounts
from connector.lookalike.stripe.machine.taxes import rates_of
from connector.lookalike.stripe.metadata import merged

Reading = Callable[[Account, Data, Any], Any]
"""(account, subscription, value of the request) -> value of the object."""


def _method(account: Account, subscription: Data, given: Any) -> Any:
    return account.get("payment_method", given, param="default_payment_method")["id"] if given else None


def _pause(account: Account, subscription: Data, given: Any) -> Any:
    return {"behavior": given["behavior"], "resumes_at": given.get("resumes_at")} if given else None


def _discounts(account: Account, subscription: Data, given: Any) -> Any:
    entries = discounts.checked(account, given, subscription["currency"], "discounts")
    return discounts.begun(account, entries, account.now(), subscription["discounts"], subscription=subscription["id"])


def _settings(account: Account, subscription: Data, given: Any) -> Any:
    return {**subscription["invoice_settings"], **{name: value or None for name, value in given.items()}}


def _trial_settings(account: Account, subscription: Data, given: Any) -> Any:
    return {"end_behavior": {**subscription["trial_settings"]["end_behavior"], **given["end_behavior"]}}


READINGS: Mapping[str, Reading] = {
    "automatic_tax": lambda _, subscription, given: {**subscription["automatic_tax"], "enabled": given["enabled"]},
    "cancellation_details": lambda _, subscription, given: {
        **subscription["cancellation_details"],
        **{name: value or None for name, value in given.items()},
    },
    "collection_method": lambda _, __, given: given,
    "days_until_due": lambda _, __, given: given,
    "default_payment_method": _method,
    "default_tax_rates": lambda account, _, given: rates_of(account, given, "default_tax_rates"),
    "description": lambda _, __, given: given or None,
    "discounts": _discounts,
    "invoice_settings": _settings,
    "metadata": lambda _, subscription, given: merged(subscription["metadata"], given),
    "pause_collection": _pause,
    "trial_settings": _trial_settings,
}


def changed_fields(account: Account, subscription: Data, params: Data) -> Data:
    """Change the fields that a request names; return what was there before. Raises: Refused."""
    before: Data = {}
    for name, reading in READINGS.items():
        if name in params:
            value = reading(account, subscription, params[name])
            if value != subscription[name]:
                before[name], subscription[name] = subscription[name], value
    if subscription["collection_method"] == "send_invoice" and subscription["days_until_due"] is None:
        subscription.update(before)
        raise Refused(
            "If subscription collection method is send_invoice, you must pass days_until_due.",
            code="parameter_missing",
            param="days_until_due",
        )
    return before
