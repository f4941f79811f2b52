"""The event log: every change of the books leaves who asked, when, and what was before and after (decision D-138).

Owns: what an event says, and the two changes that no request asks for (drafts made anew, invoices that fall overdue). The log is
only added to; the database refuses anything else. `before` and `after` hold the same keys: those that differ. Amounts are in
minor units, days ISO text, terms and changes in the vocabulary of scenarios.

Worked example: a run bills 30.00 on 1 May to a contract whose trial ended; one row says so, of the invoice and of the contract:
`invoice.finalized`, before {"contract":{"status":"trialing"}}, after {"status":"open", "total":3000, ..., "contract":{"status":"active"}}.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from connector.billing import store
from connector.billing.batches import in_batches
from connector.billing.store import BookedChange, BookedContract, BookedInvoice, Customer, Event
from connector.core.settlement import Invoice
from connector.errors import Problem
from connector.kit.db import new_id
from connector.ports import Unit

LIST_ROWS = 1_000
_NOTHING = ""


def text_of(facts: Mapping[str, Any]) -> str:
    """Return facts as the log keeps them, "" for none."""
    return json.dumps(facts, ensure_ascii=False, separators=(",", ":")) if facts else _NOTHING


def invoice_facts(invoice: Invoice, *, is_overdue: bool) -> dict[str, Any]:
    """Return what of an invoice can change after it was issued, and its total; amounts in minor units."""
    return {
        "status": invoice.status,
        "due_on": invoice.due_on.isoformat() if invoice.due_on else None,
        "is_overdue": is_overdue,
        "total": invoice.total,
        "amount_due": invoice.amount_due,
        "amount_paid": invoice.amount_paid,
        "credited": invoice.credited,
    }


# ---------------------------------------------------------------- contracts and customers


def _contract_facts(contract: BookedContract) -> dict[str, Any]:
    how = contract.how
    return {
        "status": contract.status,
        "label": contract.label,
        "customer": contract.customer_id,
        "starts_on": contract.starts_on.isoformat(),
        "ends_on": contract.ends_on.isoformat() if contract.ends_on else None,
        "trial_ends_on": contract.trial_ends_on.isoformat() if contract.trial_ends_on else None,
        "value": contract.value,
        "annual_value": contract.annual_value,
        "collection_method": how.collection_method,
        "days_until_due": how.days_until_due,
        "po_number": how.po_number,
        "memo": how.memo,
        "terms": contract.data,
    }


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    keys = [k for k, v in new.items() if k not in old or old[k] != v]
    return {k: old[k] for k in keys if k in old}, {k: new[k] for k in keys}


def _changes(changes: Iterable[BookedChange], others: Iterable[BookedChange]) -> dict[str, Any]:
    """Return the changes that are not among *others*, or are different there, by the deal or request that asked for them."""
    known = {(c.change.id, c.data) for c in others}
    return {c.change.id: json.loads(c.data) for c in changes if (c.change.id, c.data) not in known}


def contract_event(before: BookedContract | None, after: BookedContract, *, actor: str, now: datetime, data: str = "") -> Event | None:
    """Return what was changed of a contract by commands, None where nothing was."""
    old = _contract_facts(before) if before is not None else {}
    was, now_is = _differences(old, _contract_facts(after))
    for facts in (was, now_is):
        if "terms" in facts:
            facts["terms"] = json.loads(facts["terms"])
    standing = before.changes if before is not None else ()
    gone, made = _changes(standing, after.changes), _changes(after.changes, standing)
    if gone:
        was["changes"] = gone
    if gone or made:
        now_is["changes"] = made
    if not was and not now_is:
        return None
    return Event(
        id=new_id("ev", now),
        actor=actor,
        name="contract.made" if before is None else "contract.changed",
        contract_id=after.id,
        customer_id=after.customer_id,
        data=data,
        before=text_of(was),
        after=text_of(now_is),
    )


def status_event(contract: BookedContract, status: str, now: datetime) -> Event:
    """Return that a contract came to another status by itself, without an invoice."""
    return Event(
        id=new_id("ev", now),
        actor="run",
        name="contract.status_changed",
        contract_id=contract.id,
        customer_id=contract.customer_id,
        before=f'{{"status":"{contract.status}"}}',
        after=f'{{"status":"{status}"}}',
    )


def parked_events(unit: Unit, parked: Sequence[tuple[str, Problem]], now: datetime) -> list[Event]:
    """Return which contracts could not be billed, each once for the same reason, however often it is tried again."""
    found: list[Event] = []
    problems = dict(parked)
    for batch, marks in in_batches(problems):
        sql = f"SELECT id, problem, customer_id FROM contract WHERE id IN ({marks})"
        found += [
            Event(
                id=new_id("ev", now), actor="run", name="contract.not_billed", contract_id=contract_id, customer_id=customer_id,
                before=text_of({"problem": old}), after=text_of({"problem": problems[contract_id].text()}),
            )
            for contract_id, old, customer_id in unit.query(sql, batch)
            if old != problems[contract_id].text()
        ]  # fmt: skip
    return found


def _customer_facts(customer: Customer) -> dict[str, Any]:
    details = asdict(customer.details)
    place = details.pop("address")
    return {**details, **place}


def customer_event(before: Customer | None, after: Customer, *, actor: str, now: datetime) -> Event | None:
    """Return what was changed of a customer, None where nothing was."""
    was, now_is = _differences(_customer_facts(before) if before is not None else {}, _customer_facts(after))
    old = before.balances if before is not None else {}
    moved = [c for c in sorted({**old, **after.balances}) if old.get(c, 0) != after.balances.get(c, 0)]
    if moved:
        was["balance"] = {c: old.get(c, 0) for c in moved}
        now_is["balance"] = {c: after.balances.get(c, 0) for c in moved}
    if not now_is:
        return None
    return Event(
        id=new_id("ev", now),
        actor=actor,
        name="customer.made" if before is None else "customer.changed",
        contract_id="",
        customer_id=after.id,
        before=text_of(was),
        after=text_of(now_is),
    )


def balance_event(customer_id: str, currency: str, moved: tuple[int, int], *, actor: str, now: datetime, invoice_id: str | None) -> Event:
    """Return that a customer's balance moved: *moved* is what it was and is, in minor units, below zero = credit."""
    return Event(
        id=new_id("ev", now),
        actor=actor,
        name="customer.balance_moved",
        contract_id="",
        customer_id=customer_id,
        invoice_id=invoice_id,
        before=text_of({"balance": {currency: moved[0]}}),
        after=text_of({"balance": {currency: moved[1]}}),
    )


# ---------------------------------------------------------------- invoices of a run


def issued_event(booked: BookedInvoice, status: str, actor: str) -> Event:
    """Return that an invoice was made: with it the balance it used, and the contract's *status* where that changed too.

    Put together by hand: a run writes one for each of its invoices.
    """
    i, contract = booked.invoice, booked.contract
    was, more = "", ""
    if i.starting_balance != i.ending_balance:
        was = f'"balance":{{"{i.currency}":{i.starting_balance}}}'
        more = f',"balance":{{"{i.currency}":{i.ending_balance}}}'
    if contract.id and status != contract.status:
        was += f'{"," if was else ""}"contract":{{"status":"{contract.status}"}}'
        more += f',"contract":{{"status":"{status}"}}'
    due_on = f'"{booked.due_on_text}"' if booked.due_on_text else "null"
    return Event(
        id=booked.id.replace("in_", "ev_", 1),
        actor=actor,
        name="invoice.drafted" if booked.is_draft else "invoice.finalized",
        contract_id=contract.id,
        customer_id=contract.customer_id,
        invoice_id=booked.id,
        data=f'{{"number":{json.dumps(booked.number or "", ensure_ascii=False)},"total":{i.total},"currency":"{i.currency}"}}',
        before=f"{{{was}}}" if was else "",
        after=(
            f'{{"status":"{i.status}","due_on":{due_on},"is_overdue":false,"total":{i.total},"amount_due":{i.amount_due},"amount_paid":{i.amount_paid}'
            f',"credited":0{more}}}'
        ),
    )


def delete_drafts(unit: Unit, contract_ids: Iterable[str], now: datetime) -> int:
    """Delete the drafts of contracts, because a draft is made anew as a whole (decision D-31); return how many."""
    ids: list[str] = []
    for batch, marks in in_batches(contract_ids):
        sql = f"SELECT id FROM invoice WHERE status='draft' AND contract_id IN ({marks}) ORDER BY id"
        ids += [row[0] for row in unit.query(sql, batch)]
    return delete_invoices(unit, ids, now)


def delete_invoices(unit: Unit, ids: Iterable[str], now: datetime) -> int:
    """Delete drafts by their ids, with their lines; return how many."""
    drafts: list[tuple[Any, ...]] = []
    for batch, marks in in_batches(ids):
        sql = f"SELECT id, contract_id, customer_id, total FROM invoice WHERE status='draft' AND id IN ({marks}) ORDER BY id"
        drafts += unit.query(sql, batch)
    if not drafts:
        return 0
    unit.executemany("DELETE FROM line WHERE invoice_id=?", [(row[0],) for row in drafts])
    unit.executemany("DELETE FROM invoice WHERE id=? AND status='draft'", [(row[0],) for row in drafts])
    gone = [
        Event(
            id=new_id("ev", now), actor="run", name="invoice.draft_removed", contract_id=contract_id, customer_id=customer_id,
            invoice_id=invoice_id, before=f'{{"status":"draft","total":{total}}}', after='{"status":"deleted","total":0}',
        )
        for invoice_id, contract_id, customer_id, total in drafts
    ]  # fmt: skip
    store.insert_events(unit, gone, store.at_text(now))
    return len(drafts)


def mark_overdue(unit: Unit, today: date, limit: int, now: datetime) -> list[tuple[str, str]]:
    """Mark up to *limit* open invoices that were due before *today* and not seen so yet; return (id, contract id or "") of each."""
    # on PostgreSQL only of customers that nobody else is changing just now; the others come with the next run
    held = (" JOIN customer c ON c.id = i.customer_id", f"{unit.for_update} OF c SKIP LOCKED") if unit.for_update else ("", "")
    sql = (
        f"SELECT i.id, i.contract_id, i.customer_id FROM invoice i{held[0]} WHERE i.status = 'open' AND NOT i.is_overdue AND i.due_on < ?"
        f" ORDER BY i.due_on, i.id LIMIT ?{held[1]}"
    )
    late = unit.query(sql, (today.isoformat(), limit))
    unit.executemany("UPDATE invoice SET is_overdue=? WHERE id=?", [(True, row[0]) for row in late])
    events = [
        Event(
            id=new_id("ev", now), actor="run", name="invoice.fell_overdue", contract_id=contract_id, customer_id=customer_id,
            invoice_id=invoice_id, before='{"is_overdue":false}', after='{"is_overdue":true}',
        )
        for invoice_id, contract_id, customer_id in late
    ]  # fmt: skip
    store.insert_events(unit, events, store.at_text(now))
    return [(row[0], row[1]) for row in late]


# ---------------------------------------------------------------- reading the log


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """One event as it is read; *data*, *before* and *after* decoded, empty for nothing; *currency* of their amounts, "" = none."""

    seq: int
    id: str
    at: str
    actor: str
    name: str
    contract_id: str
    customer_id: str
    invoice_id: str
    number: str
    currency: str
    data: Mapping[str, Any]
    before: Mapping[str, Any]
    after: Mapping[str, Any]


class UnknownError(LookupError):
    """The books have nothing of this name; its text says what kind of thing was asked for: contract, invoice or customer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Which events are asked for: of a contract, of an invoice (by id), of a customer, from an instant on."""

    contract_id: str | None = None
    invoice_id: str | None = None
    customer_id: str | None = None
    since: str | None = None


def about(
    unit: Unit, org: str, *, contract: str | None = None, invoice: str | None = None, customer: str | None = None, since: datetime | None = None
) -> About:
    """Return which events are meant by a contract (id or deal), an invoice (number or id), a customer (account or id).

    Raises: UnknownError for a name that the books do not have.
    """
    contract_id = store.contracts_of_deals(unit, org, [contract]).get(contract, contract) if contract is not None else None
    wanted = (
        ("contract", contract, "SELECT id FROM contract WHERE id = ?", (contract_id,)),
        ("invoice", invoice, "SELECT id FROM invoice WHERE number = ? OR id = ?", (invoice, invoice)),
        ("customer", customer, "SELECT id FROM customer WHERE id = ? OR (org = ? AND account = ?)", (customer, org, customer)),
    )
    found: dict[str, str] = {}
    for kind, name, sql, given in wanted:
        if name is not None:
            rows = unit.query(sql, given)
            if not rows:
                raise UnknownError(kind)
            found[f"{kind}_id"] = str(rows[0][0])
    return About(**found, since=None if since is None else store.at_text(since))


_COLUMNS = (
    "e.seq, e.id, e.made_at, e.actor, e.name, e.contract_id, e.customer_id, e.invoice_id, i.number,"
    " COALESCE(i.currency, t.currency, ''), e.data, e.before, e.after"
)
_FROM = "event e LEFT JOIN invoice i ON i.id = e.invoice_id LEFT JOIN contract t ON t.id = e.contract_id"
# each part has an index of its own: an issue is found by its invoice, whose id it bears, so that a run writes to no index that begins
# with the contract (decision D-137); an event without a contract is found by its customer
_CONTRACTS = "(SELECT id FROM contract WHERE customer_id = ?)"
_ISSUES = "e.id IN (SELECT 'ev_' || SUBSTR(own.id, 4) FROM invoice own WHERE own.contract_id {} AND own.contract_id <> '')"
_OTHERS = "e.contract_id <> '' AND e.name <> 'invoice.finalized' AND e.contract_id"
_OF_CONTRACT = f"({_OTHERS} = ?) OR {_ISSUES.format('= ?')}"
_OF_CONTRACTS = f"({_OTHERS} IN {_CONTRACTS}) OR {_ISSUES.format(f'IN {_CONTRACTS}')}"
_OF_CUSTOMER = "(e.contract_id = '' AND e.customer_id = ?)"


def listed(unit: Unit, about: About, *, before: int | None = None, limit: int = 200) -> list[EventRecord]:
    """Return events, newest first; *before* is the `seq` of the last one of the page before."""
    where, given = _where(unit, about)
    if before is not None:
        where.append("e.seq < ?")
        given.append(before)
    sql = (
        f"SELECT {_COLUMNS} FROM {_FROM}"
        f" WHERE {' AND '.join(where) or '1=1'} ORDER BY e.seq DESC LIMIT ?"
    )
    return [_record(row) for row in unit.query(sql, (*given, min(limit, LIST_ROWS)))]


def by_seq(unit: Unit, seqs: Sequence[int]) -> list[EventRecord]:
    """Return events by their place in the log, in that order."""
    found: list[EventRecord] = []
    for batch, marks in in_batches(seqs):
        sql = f"SELECT {_COLUMNS} FROM {_FROM} WHERE e.seq IN ({marks}) ORDER BY e.seq"
        found += [_record(row) for row in unit.query(sql, batch)]
    return found


def _where(unit: Unit, about: About) -> tuple[list[str], list[Any]]:
    where: list[str] = []
    given: list[Any] = []
    if about.invoice_id is not None:
        rows = unit.query("SELECT contract_id, customer_id FROM invoice WHERE id = ?", (about.invoice_id,))
        where += [f"(({_OTHERS} = ?) OR e.id = ? OR {_OF_CUSTOMER})", "e.invoice_id = ?"]
        contract_id, customer_id = rows[0] if rows else ("", "")
        given += [contract_id, about.invoice_id.replace("in_", "ev_", 1), customer_id, about.invoice_id]
    if about.contract_id is not None:
        where.append(f"({_OF_CONTRACT})")
        given += [about.contract_id, about.contract_id]
    if about.customer_id is not None:
        where.append(f"({_OF_CONTRACTS} OR {_OF_CUSTOMER})")
        given += [about.customer_id] * 3
    if about.since is not None:
        where.append("e.made_at >= ?")
        given.append(about.since)
    return where, given


def _record(row: tuple[Any, ...]) -> EventRecord:
    data, before, after = (json.loads(text) if text else {} for text in row[10:13])
    return EventRecord(
        seq=row[0], id=row[1], at=row[2], actor=row[3], name=row[4], contract_id=row[5], customer_id=row[6], invoice_id=row[7] or "",
        number=row[8] or "", currency=row[9], data=data, before=before, after=after,
    )  # fmt: skip
