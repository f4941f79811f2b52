"""What a restricted key must be allowed to do: the rights of Stripe's dashboard, and why each is needed. Pure.

Every service that this backend calls stands in one row; a test looks through the sources for calls without a row. Names are the
dashboard's; the right that Stripe itself asks for (`rak_customer_write`) is told in the words of this table where it is known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

READS = frozenset({"list", "list_lines", "preview", "create_preview", "retrieve", "retrieve_current", "search"})
"""Methods that change nothing, last part of a call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """A resource of the dashboard's list, the right on it, services that need it, Stripe's own names for it, and why.

    is_needed - everything stops without it; else only `connector check` sees less.
    """

    resource: str
    right: Literal["read", "write"]
    services: tuple[str, ...]
    named: tuple[str, ...] = ()
    why: str
    is_needed: bool = True


RIGHTS: tuple[Right, ...] = (
    Right(resource="Accounts", right="read", services=("accounts",), named=("accounts_kyc_basic", "account"),
          why="to know which account and mode the key belongs to, so that no ledger ever meets another account"),
    Right(resource="Customers", right="write", services=("customers", "customers.balance_transactions", "customers.tax_ids"), named=("customer", "customer_balance_transaction", "tax_id"),
          why="customers are found, or made once for an account of the CRM, and kept up to date"),
    Right(resource="Products", right="write", services=("products",), named=("product",),
          why="one product for each product that is sold"),
    Right(resource="Prices", right="write", services=("prices",), named=("plan", "price"),
          why="prices are found by their lookup key, or made once"),
    Right(resource="Coupons", right="write", services=("coupons",), named=("coupon",),
          why="discounts of deals"),
    Right(resource="Tax rates", right="write", services=("tax_rates",), named=("tax_rate",),
          why="the rates of the configuration"),
    Right(resource="Subscriptions", right="write", services=("subscriptions", "subscription_schedules", "subscription_items"), named=("subscription", "subscription_schedule"),
          why="what is billed again and again, with its phases"),
    Right(resource="Invoices", right="write", services=("invoices", "invoice_items", "invoices.line_items", "invoice_payments"), named=("invoice", "invoice_item", "invoiceitem", "invoice_payment"),
          why="invoices are read back, finalized and sent; lines of our own are added"),
    Right(resource="Credit notes", right="write", services=("credit_notes", "credit_notes.line_items"), named=("credit_note",),
          why="what is given back on an invoice"),
    Right(resource="Charges and Refunds", right="write", services=("refunds", "charges"), named=("charge", "refund"),
          why="payments are read back; money is given back where somebody asks for it"),
    Right(resource="PaymentIntents", right="read", services=("payment_intents",), named=("payment_intent",),
          why="how an invoice was paid, and why a charge failed"),
    Right(resource="Payment Records", right="write", services=("payment_records",), named=("payment_record", "payment_records"),
          why="a part of an invoice that was paid outside Stripe is recorded there"),
    Right(resource="PaymentMethods", right="write", services=("payment_methods", "customers.payment_methods", "setup_intents"), named=("payment_method", "setup_intent"),
          why="which card or account a customer pays with, and to remove one"),
    Right(resource="Disputes", right="read", services=("disputes",), named=("dispute",),
          why="disputed payments are told to the CRM"),
    Right(resource="Events", right="read", services=("events",), named=("event",),
          why="what happened at Stripe is read from there"),
    Right(resource="Customer portal", right="write", services=("billing_portal.sessions", "billing_portal.configurations"), named=("customer_portal", "billing_portal", "portal"),
          why="a customer's link opens a fresh session"),
    Right(resource="Billing meters", right="write", services=("billing.meters",), named=("billing_meter", "meter"),
          why="one meter for each metered product"),
    Right(resource="Billing meter events", right="write", services=("billing.meter_events", "billing.meter_event_adjustments", "billing.meters.event_summaries"), named=("billing_meter_event", "meter_event", "usage_record"),
          why="usage that is imported"),
    Right(resource="Payment method configurations", right="read", services=("payment_method_configurations",), named=("payment_method_configuration",), is_needed=False,
          why="`connector check` sees which payment methods customers can use"),
    Right(resource="Webhook endpoints", right="read", services=("webhook_endpoints",), named=("webhook", "webhook_endpoint"), is_needed=False,
          why="`connector check` sees whether the endpoint of `stripe.webhook_secret` is set up well"),
)  # fmt: skip

_ASKED = re.compile(r"rak_([a-z_]+)_(read|write)")


def rights_needed() -> list[tuple[str, str, str]]:
    """Return (resource, right, why) of every right that a restricted key needs, in the dashboard's words."""
    return [(r.resource, r.right, r.why) for r in RIGHTS if r.is_needed]


def is_read(call: str) -> bool:
    """Whether a call changes nothing at Stripe."""
    return call.rpartition(".")[2] in READS


def right_for(call: str) -> tuple[str, str] | None:
    """Return (resource, right) that one call needs; None for a call of a service that stands in no row."""
    service = call.rpartition(".")[0]
    found = next((r.resource for r in RIGHTS if service in r.services), None)
    return (found, "read" if is_read(call) else "write") if found else None


def right_named(message: str, call: str) -> str:
    """Return the right that Stripe asks for (`'Customers: write'`), from its *message* or else from the call; "" where neither tells."""
    asked = _ASKED.search(message)
    if asked:
        known = next((r.resource for r in RIGHTS if asked[1] in r.named), asked[1].replace("_", " ").capitalize())
        return f"'{known}: {asked[2]}'"
    by_call = right_for(call)
    return f"'{by_call[0]}: {by_call[1]}'" if by_call else ""
