"""The customer's balance as Stripe moves it: each of its transactions once, under Stripe's own id (decision D-196).

Used for an invoice, given back by a voided one, credited by a note, adjusted by hand in the dashboard: all are transactions there, with the same
sign as ours (below zero is credit). What our own requests adjust they book themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from connector.billing import store
from connector.billing.batches import in_batches
from connector.billing.events import balance_event
from connector.billing.locking import hold_customers
from connector.billing.store import BalanceEntry
from connector.billing.stripe_backend.keeping import Transactions
from connector.billing.stripe_backend.money import minor_amount
from connector.billing.stripe_backend.reading.picked import Data, id_of
from connector.billing.stripe_backend.steps import Calls
from connector.ports import Unit

PAGE, MOST = 100, 10_000
"""Transactions of one customer that are read at once."""


def differs(unit: Unit, customer: Data) -> bool:
    """Whether the books have another balance than a customer of Stripe (as an event showed it)."""
    currency, balance = customer.get("currency"), customer.get("balance")
    if balance is None or not currency:
        return bool(balance)
    found = customer_id_of(unit, id_of(customer))
    if found is None:
        return False
    (ours,) = store.customers(unit, ids=[found])
    return ours.balances.get(str(currency), 0) != minor_amount(int(balance), str(currency))


def moves(invoice: Data) -> bool:
    """Whether an invoice has moved its customer's balance, or may have."""
    return (invoice.get("starting_balance") or 0) != (invoice.get("ending_balance") or 0) or bool(invoice.get("post_payment_credit_notes_amount"))


def customer_id_of(unit: Unit, stripe_id: str) -> str | None:
    """Return our customer behind one of Stripe's."""
    sql = "SELECT o.key FROM stripe_known o JOIN customer c ON c.id = o.key WHERE o.kind = 'customer' AND o.stripe_id = ?"
    rows = unit.query(sql, (stripe_id,))
    return str(rows[0][0]) if rows else None


def read(database: Transactions, calls: Calls, stripe_id: str) -> list[Data]:
    """Return what moved a customer's balance, oldest first, as far back as a page holds something that the books have already.

    Whatever is older than that was booked with it, so that a long history is not read again. Raises: Refusal for a customer that is gone.
    """
    found: list[Data] = []
    asked: dict[str, Any] = {"limit": PAGE}
    while len(found) < MOST:
        page = calls.do("customers.balance_transactions.list", asked, target=stripe_id)
        found += page["data"]
        with database.read() as unit:
            is_known = any(_booked(unit, [f"bal_{id_of(one)}" for one in page["data"]]))
        if is_known or not page.get("has_more") or not page["data"]:
            break
        asked["starting_after"] = id_of(page["data"][-1])
    return found[::-1]


def _booked(unit: Unit, ids: Sequence[str]) -> set[str]:
    known: set[str] = set()
    for batch, marks in in_batches(ids):
        known |= {row[0] for row in unit.query(f"SELECT id FROM balance_entry WHERE id IN ({marks})", batch)}
    return known


def book(unit: Unit, stripe_id: str, transactions: Sequence[Data], now: datetime) -> int:
    """Book the transactions of a customer (oldest first) that the books do not have; return how many."""
    customer_id = customer_id_of(unit, stripe_id)
    if customer_id is None:
        return 0
    hold_customers(unit, [customer_id])
    known, booked, at = _booked(unit, [f"bal_{id_of(one)}" for one in transactions]), 0, store.at_text(now)
    for one in transactions:
        entry_id = f"bal_{id_of(one)}"
        if entry_id in known or (one.get("metadata") or {}).get("connector_step"):
            continue
        (customer,) = store.customers(unit, ids=[customer_id])
        currency = str(one["currency"])
        amount, before = minor_amount(int(one["amount"]), currency), customer.balances.get(currency, 0)
        invoice_id = _invoice_of(unit, one)
        entry = BalanceEntry(
            id=entry_id, customer_id=customer_id, currency=currency, amount=amount, ending_balance=before + amount, invoice_id=invoice_id,
            reason=str(one.get("description") or ("" if invoice_id else one.get("type") or "").replace("_", " ")),
        )  # fmt: skip
        store.insert_balance_entries(unit, [entry], at)
        store.update_balances(unit, [replace(customer, balances={**customer.balances, currency: before + amount})], at)
        event = balance_event(customer_id, currency, (before, before + amount), actor="stripe", now=now, invoice_id=invoice_id)
        store.insert_events(unit, [event], at)
        booked += 1
    return booked


def _invoice_of(unit: Unit, transaction: Data) -> str | None:
    rows = unit.query("SELECT invoice_id FROM stripe_invoice WHERE stripe_id = ?", (id_of(transaction.get("invoice")),))
    return str(rows[0][0]) if rows else None
