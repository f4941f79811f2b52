"""Reading the event log back: what the events alone say of the books, to be held against the books themselves."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from books_world import Books

WATCHED = {
    "customer": ("id", "id, account, name, email, line1, city, postal_code, state, country, tax_id, tax_exempt, language, balances, consolidate_set"),
    "contract": (
        "id",
        ("id, label, customer_id, terms, status, starts_on, ends_on, trial_ends_on, value, annual_value, collection_method,"
        " days_until_due, po_number, memo, problem"),
    ),
    "change": ("contract_id", "contract_id, deal, data"),
    "invoice": ("id", "id, number, status, total, amount_due, amount_paid, credited, due_on, is_overdue, reissues"),
    "line": ("invoice_id", "invoice_id, position, key, amount"),
    "balance_entry": ("customer_id", "id, customer_id, amount, ending_balance"),
    "credit_note": ("invoice_id", "id, invoice_id, total, reduced, refunded, credited, out_of_band"),
    "payment": ("invoice_id", "id, invoice_id, amount"),
}
"""By table: the column that says what a row is about, and what of it is a fact of the books.

What the engine notes for itself is left out: how far a contract is billed, when it is looked at next, what a change has caused.
"""


def snapshot(books: Books) -> dict[str, set[tuple[Any, ...]]]:
    """Return the facts of the books, row by row."""
    return {table: set(books.rows(f"SELECT {key} AS subject, {columns} FROM {table}")) for table, (key, columns) in WATCHED.items()}


def untold(books: Books, before: dict[str, set[tuple[Any, ...]]], seq: int) -> list[str]:
    """Return every row that differs from *before* and of which no event after *seq* tells."""
    told: set[str] = set()
    for event in books.rows("SELECT contract_id, invoice_id, customer_id, before, after, name FROM event WHERE seq > ?", seq):
        contract_id, invoice_id, customer_id, was, now_is, name = event
        told |= {invoice_id} if invoice_id else {contract_id or customer_id}
        facts = {**json.loads(was or "{}"), **json.loads(now_is or "{}")}
        if "balance" in facts:
            told.add(customer_id)
        if "contract" in facts or name.startswith("contract."):
            told.add(contract_id)
        if name == "invoice.finalized":
            told.add(contract_id)  # it is no longer a contract with a problem
    after = snapshot(books)
    return [f"{table} {row}" for table in WATCHED for row in sorted(before[table] ^ after[table], key=str) if row[0] not in told]


def last_seq(books: Books) -> int:
    """Return where the log ends."""
    return int(books.rows("SELECT COALESCE(MAX(seq), 0) FROM event")[0][0])


def replayed(books: Books) -> dict[str, dict[str, Any]]:
    """Return invoices, contracts and customers as the events alone tell them."""
    found: dict[str, dict[str, Any]] = {"invoice": {}, "contract": defaultdict(lambda: {"changes": {}}), "customer": defaultdict(dict)}
    sql = "SELECT name, contract_id, invoice_id, customer_id, before, after FROM event ORDER BY seq"
    for name, contract_id, invoice_id, customer_id, was_text, now_text in books.rows(sql):
        was, now_is = json.loads(was_text or "{}"), json.loads(now_text or "{}")
        for currency, amount in now_is.pop("balance", {}).items():
            found["customer"][customer_id].setdefault("balance", {})[currency] = amount
        if "contract" in now_is:
            found["contract"][contract_id].update(now_is.pop("contract"))
        if invoice_id and now_is.get("status") == "deleted":
            del found["invoice"][invoice_id]
        elif invoice_id:
            found["invoice"].setdefault(invoice_id, {}).update(now_is)
        elif name.startswith("contract."):
            contract = found["contract"][contract_id]
            for deal in was.get("changes", {}):
                contract["changes"].pop(deal)
            contract["changes"].update(now_is.pop("changes", {}))
            contract.update(now_is)
        else:
            found["customer"][customer_id].update(now_is)
    return found


def assert_the_log_tells_all(books: Books) -> None:
    """Hold what the events tell against what stands in the books."""
    told = replayed(books)
    reduced = "(SELECT COALESCE(SUM(n.reduced), 0) FROM credit_note n WHERE n.invoice_id = i.id)"
    invoices = {
        row[0]: dict(zip(("status", "due_on", "total", "amount_due", "amount_paid", "credited", "is_overdue"), row[1:], strict=True))
        for row in books.rows(
            f"SELECT id, status, due_on, total, amount_due - {reduced}, amount_paid, credited, is_overdue FROM invoice i"
        )
    }
    assert told["invoice"] == invoices
    for row in books.rows("SELECT id, status, terms, customer_id, label, value, ends_on FROM contract"):
        facts = told["contract"][row[0]]
        standing = (facts["status"], facts["terms"], facts["customer"], facts["label"], facts["value"], facts["ends_on"])
        assert standing == (row[1], json.loads(row[2]), *row[3:])
        changes = dict(books.rows("SELECT deal, data FROM change WHERE contract_id = ?", row[0]))
        assert facts["changes"] == {deal: json.loads(data) for deal, data in changes.items()}
    for row in books.rows("SELECT id, balances, account, name, email, country FROM customer"):
        facts = told["customer"][row[0]]
        assert {k: v for k, v in facts.get("balance", {}).items() if v} == json.loads(row[1])
        assert (facts["account"], facts["name"], facts["email"], facts["country"]) == row[2:]
