"""Stripe Tax: invoices with `automatic_tax` find their tax by themselves, from where the customer is and where the account is registered.

A registration is a country with one percentage (`account.machine["registrations"]`, `POST /_control/settings`); elsewhere there is no tax.
Where the location of the customer is not known an invoice of a subscription goes on without tax, and so does its subscription from then on; any other
invoice stays a draft. Source: docs.stripe.com/tax/customer-locations, /tax/invoicing, /api/invoices.
"""

from __future__ import annotations

from connector.lookalike.stripe.account import Account, Data, Refused
from connector.lookalike.stripe.machine.keeping import notes

UNKNOWN_PLACE = "customer_tax_location_invalid"
NOT_RECOGNIZED = "The customer's location isn't recognized. Set a valid customer address in order to automatically calculate tax."


def is_on(invoice: Data) -> bool:
    """Whether an invoice finds its tax by itself."""
    return bool(invoice["automatic_tax"]["enabled"])


def is_located(customer: Data) -> bool:
    """Whether it is known where a customer is: the country, in the US the ZIP code, in Canada province or postal code; `00000` is nowhere."""
    address = customer.get("address") or {}
    country = address.get("country")
    needed = {"US": ("postal_code",), "CA": ("postal_code", "state")}.get(str(country), ("country",))
    return bool(country) and any(address.get(name) for name in needed) and address.get("postal_code") != "00000"


def rates(account: Account, invoice: Data, line: Data) -> list[Data]:
    """Return the rates of a line of an invoice that finds its tax by itself."""
    customer = account.get("customer", invoice["customer"])
    country = str((customer.get("address") or {}).get("country") or "")
    percentage = account.machine.get("registrations", {}).get(country)
    if percentage is None or not is_located(customer):
        return []
    return [_rate(account, country, str(percentage), is_inside=_behavior(account, line) == "inclusive")]


def _behavior(account: Account, line: Data) -> str:
    price = ((line["pricing"] or {}).get("price_details") or {}).get("price")
    item = str(((line["parent"] or {}).get("invoice_item_details") or {}).get("invoice_item") or "")
    return str((account.kind("price").get(price or "") or {}).get("tax_behavior") or notes(account, "behaviors").get(item) or "exclusive")


def _rate(account: Account, country: str, percentage: str, *, is_inside: bool) -> Data:
    known: dict[tuple[str, str, bool], str] = account.machine.setdefault("automatic_rates", {})
    key = (country, percentage, is_inside)
    if key not in known:
        known[key] = account.new_id("txr")
        account.kind("tax_rate")[known[key]] = {
            "id": known[key], "object": "tax_rate", "active": False, "country": country, "created": account.now(), "description": None,
            "display_name": "VAT", "effective_percentage": float(percentage), "flat_amount": None, "inclusive": is_inside, "jurisdiction": country,
            "jurisdiction_level": "country", "livemode": account.is_live, "metadata": {}, "percentage": float(percentage), "rate_type": "percentage",
            "state": None, "tax_type": "vat",
        }  # fmt: skip
    return account.kind("tax_rate")[known[key]]


def refuse_unlocated(customer: Data, given: Data | None) -> None:
    """Refuse to switch automatic tax on for a customer whose location is not known."""
    if (given or {}).get("enabled") and not is_located(customer):
        raise Refused(NOT_RECOGNIZED, code=UNKNOWN_PLACE, param="automatic_tax")


def refuse_negative(amount: int, param: str) -> None:
    """Refuse an amount below zero where tax is found automatically. Source: docs.stripe.com/api/invoices/create (automatic_tax.enabled)."""
    if amount < 0:
        raise Refused("You cannot add an invoice item with a negative amount to an invoice with automatic tax enabled.", param=param)


def looked_at(account: Account, invoice: Data) -> None:
    """Say on a draft whether its tax could be found."""
    if is_on(invoice):
        found = is_located(account.get("customer", invoice["customer"]))
        invoice["automatic_tax"]["status"] = "complete" if found else "requires_location_inputs"


def switched_off(account: Account, invoice: Data, subscription: Data) -> None:
    """Go on without tax: the invoice, its subscription, and the running phase and the defaults of the schedule."""
    reason = "requires_location_inputs"
    invoice["automatic_tax"].update(enabled=False, disabled_reason=f"finalization_{reason}", status=None)
    before = dict(subscription["automatic_tax"])
    subscription["automatic_tax"] = {**before, "enabled": False, "disabled_reason": reason}
    account.emit("customer.subscription.updated", subscription, {"automatic_tax": before})
    schedule = account.kind("subscription_schedule").get(subscription["schedule"] or "")
    if schedule is None:
        return
    running = (schedule["current_phase"] or {}).get("start_date")
    for holder in (schedule["default_settings"], *(p for p in schedule["phases"] if p["start_date"] == running)):
        holder["automatic_tax"] = {**(holder["automatic_tax"] or {"liability": None}), "enabled": False, "disabled_reason": reason}
    account.emit("subscription_schedule.updated", schedule)
