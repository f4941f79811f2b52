"""Customers of the books, for people: found by id, account or name; their balance corrected; how their invoices are put together.

Worked example: 50.00 EUR were promised to Acme as an apology. The balance is adjusted by -50.00 (below zero is credit), and the
next invoice over 120.00 leaves 70.00 due.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connector.billing import desk, store
from connector.billing.batches import in_batches
from connector.billing.books import LIST_ROWS
from connector.billing.desk import refused
from connector.billing.given import given_of
from connector.billing.intents import Engine, Handler, Request
from connector.billing.locking import hold_customers
from connector.billing.store import REDUCED, Event
from connector.core.lines import Given
from connector.ports import CustomerDetails, IntentResult, Unit

_NAMED = 5  # customers that a refusal of a name lists
_HISTORY = 100  # movements of a balance that a page shows
_LISTING = "c.id, c.account, c.name, c.email, c.balances, c.is_consolidated, c.consolidate_set"


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerListing:
    """A customer in a list; *balances* and *open* by currency in minor units, a balance below zero is credit.

    says_crm - whether the account asks for one invoice; *is_set* - what a command said instead, None: nothing.
    """

    id: str
    account: str
    name: str
    email: str
    balances: Mapping[str, int]
    open: Mapping[str, int]
    contracts: int
    says_crm: bool
    is_set: bool | None

    @property
    def is_consolidated(self) -> bool:
        """Whether all contracts go on one invoice: as a command said, else as the account says."""
        return self.says_crm if self.is_set is None else self.is_set


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceMove:
    """One movement of a balance, newest first: *amount* below zero is credit given, above zero credit used."""

    at: str
    currency: str
    amount: int
    ending_balance: int
    invoice: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerSheet:
    """A whole customer: who it is, and the latest movements of its balances."""

    listing: CustomerListing
    details: CustomerDetails
    given: tuple[Given, ...]
    moves: tuple[BalanceMove, ...]


# ---------------------------------------------------------------- finding and reading


def customer_named(unit: Unit, org: str, name: str) -> str:
    """Return the id of the customer with this id, CRM account id or name (upper and lower case are the same).

    Raises: RejectedError where there is none, or where several have the name.
    """
    sql = "SELECT id, name, account FROM customer WHERE org = ? AND {} ORDER BY id LIMIT ?"
    for condition in ("id = ?", "account = ?", "LOWER(name) = LOWER(?)"):
        rows = unit.query(sql.format(condition), (org, name, _NAMED + 1))
        if len(rows) == 1:
            return str(rows[0][0])
        if rows:
            known = "; ".join(f"{row[0]} (account {row[2]})" for row in rows[:_NAMED])
            more = " and more" if len(rows) > _NAMED else ""
            raise refused("ambiguous-customer", f"Several customers are named {name}: {known}{more}.", "Name one of them by its id.")
    raise refused("unknown-customer", f"The books have no customer {name}.", "See `connector customers list`; a customer is made by its first deal.")


def customers(unit: Unit, org: str, *, limit: int, only: str | None = None) -> list[CustomerListing]:
    """Return customers in order of their names, with what is open of their invoices; *only* the one with this id."""
    where, given = ("AND c.id = ? ", [only]) if only else ("", [])
    sql = f"SELECT {_LISTING} FROM customer c WHERE c.org = ? {where}ORDER BY LOWER(c.name), c.id LIMIT ?"
    rows = unit.query(sql, [org, *given, min(limit, LIST_ROWS)])
    ids = [row[0] for row in rows]
    opened, contracts = _open_of(unit, ids), _contracts_of(unit, ids)
    return [
        CustomerListing(
            id=row[0], account=row[1], name=row[2], email=row[3], balances=json.loads(row[4]), open=opened.get(row[0], {}),
            contracts=contracts.get(row[0], 0), says_crm=bool(row[5]), is_set=None if row[6] is None else row[6] == "yes",
        )
        for row in rows
    ]  # fmt: skip


def _open_of(unit: Unit, ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return what is open of the invoices of customers: of their contracts, and of those that belong to no single one."""
    found: dict[str, dict[str, int]] = {}
    due, having = f"i.currency, SUM(i.amount_due - i.amount_paid - {REDUCED}) FROM", "AND i.status = 'open' GROUP BY 1, 2"
    for batch, marks in in_batches(ids):
        own = f"SELECT t.customer_id, {due} contract t JOIN invoice i ON i.contract_id = t.id WHERE t.customer_id IN ({marks}) {having}"
        others = f"SELECT i.customer_id, {due} invoice i WHERE i.contract_id = '' AND i.customer_id IN ({marks}) {having}"
        for sql in (own, others):
            for customer_id, currency, amount in unit.query(sql, batch):
                sums = found.setdefault(customer_id, {})
                sums[currency] = sums.get(currency, 0) + int(amount)
    return found


def _contracts_of(unit: Unit, ids: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    sql = "SELECT customer_id, COUNT(*) FROM contract WHERE status <> 'withdrawn' AND customer_id IN ({}) GROUP BY customer_id"
    for batch, marks in in_batches(ids):
        found.update((row[0], int(row[1])) for row in unit.query(sql.format(marks), batch))
    return found


def customer(unit: Unit, org: str, name: str) -> CustomerSheet:
    """Return one customer by its id, account or name. Raises: RejectedError where there is none, or several."""
    customer_id = customer_named(unit, org, name)
    (listing,) = customers(unit, org, limit=1, only=customer_id)
    (standing,) = store.customers(unit, ids=[customer_id])
    rows = unit.query(
        "SELECT b.made_at, b.currency, b.amount, b.ending_balance, COALESCE(i.number, ''), b.reason FROM balance_entry b"
        " LEFT JOIN invoice i ON i.id = b.invoice_id WHERE b.customer_id = ? ORDER BY b.id DESC LIMIT ?",
        (customer_id, _HISTORY),
    )
    moves = tuple(
        BalanceMove(at=row[0], currency=row[1], amount=row[2], ending_balance=row[3], invoice=row[4], reason=row[5]) for row in rows
    )
    return CustomerSheet(listing=listing, details=standing.details, given=given_of(standing.given), moves=moves)


def currencies(unit: Unit, customer_id: str) -> list[str]:
    """Return the currencies that a customer is billed in or has a balance in."""
    (standing,) = store.customers(unit, ids=[customer_id])
    sql = "SELECT DISTINCT currency FROM contract WHERE customer_id = ? UNION SELECT DISTINCT currency FROM invoice WHERE customer_id = ?"
    return sorted({row[0] for row in unit.query(sql, (customer_id, customer_id))} | {c for c, amount in standing.balances.items() if amount})


# ---------------------------------------------------------------- what people ask for


def adjust(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Move a customer's balance by `amount` minor units of `currency` (below zero = credit for the customer), for a `reason`."""
    asked = adjustment(request, engine, unit)
    customer_id, amount, currency, reason = asked.customer_id, asked.amount, asked.currency, asked.reason
    hold_customers(unit, [customer_id])
    (standing,) = store.customers(unit, ids=[customer_id])
    before = standing.balances.get(currency, 0)
    after = desk.move_balance(unit, customer_id, currency, amount, None, request.now, actor=None, reason=reason)
    result = {"customer": customer_id, "name": standing.details.name, "currency": currency, "amount": amount, "balance": after, "was": before}
    return _kept(unit, request, "customer.balance_adjusted", result, before={"balance": {currency: before}}, after={"balance": {currency: after}})


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment:
    """By how much a balance is to be moved, and why; *amount* in minor units, below zero = credit for the customer."""

    customer_id: str
    amount: int
    currency: str
    reason: str


def adjustment(request: Request, engine: Engine, unit: Unit) -> Adjustment:
    """Return what a request asks of a balance. Raises: RejectedError for an unknown customer, no amount or no reason."""
    data = request.data
    customer_id = customer_named(unit, engine.org, str(data["customer"]))
    amount, currency, reason = int(data["amount"]), str(data["currency"]).lower(), str(data.get("reason", "")).strip()
    if not amount:
        raise refused("bad-amount", "An adjustment by nothing changes nothing.", "Give an amount; below zero is credit for the customer.")
    if not reason:
        raise refused("no-reason", "Nobody will know why the balance was changed.", "Give a reason.")
    return Adjustment(customer_id=customer_id, amount=amount, currency=currency, reason=reason)


def settle(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Say how a customer is billed: `consolidate` yes or no, or "crm" for what the account says. It counts from the next run on."""
    customer_id = customer_named(unit, engine.org, str(request.data["customer"]))
    wanted = str(request.data["consolidate"])
    if wanted not in ("yes", "no", "crm"):
        raise refused("bad-choice", f"A customer is consolidated yes, no or as the crm says; {wanted} is none of them.", "Say one of them.")
    (before,) = customers(unit, engine.org, limit=1, only=customer_id)
    unit.execute(
        "UPDATE customer SET consolidate_set = ?, updated_at = ? WHERE id = ?",
        (None if wanted == "crm" else wanted, store.at_text(request.now), customer_id),
    )
    (after,) = customers(unit, engine.org, limit=1, only=customer_id)
    result = {"customer": customer_id, "name": after.name, "is_consolidated": after.is_consolidated, "says_crm": after.says_crm}
    was, now = {"is_consolidated": before.is_consolidated}, {"is_consolidated": after.is_consolidated}
    return _kept(unit, request, "customer.settled", result, before=was, after=now)


def _kept(
    unit: Unit, request: Request, name: str, result: Mapping[str, Any], *, before: Mapping[str, Any], after: Mapping[str, Any]
) -> IntentResult:
    event = Event(
        id=desk.event_id(request.key), actor=request.actor, name=name, contract_id="", customer_id=str(result["customer"]),
        data=store.event_text(result), before=store.event_text(before), after=store.event_text(after),
    )  # fmt: skip
    store.insert_events(unit, [event], store.at_text(request.now))
    return IntentResult(result=result)


HANDLED: dict[str, Handler] = {"customer.adjust": desk.once(adjust), "customer.settle": desk.once(settle)}
