"""The books: every statement that reads or writes them, and the values that come out of them.

Each function takes a whole chunk and runs one statement per table with tuples (decision D-17); the schema, and how columns
are written, is in `tables`.

Back of the envelope: a 3-line invoice with its event is five rows and about 2.5 kB with indexes; 1,000 monthly contracts
make 30 MB a year.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from connector.billing.decoding import change_from_text, local_text, terms_from_text
from connector.core.invoicing import Line, Usage
from connector.core.settlement import Invoice
from connector.core.terms import (
    Change,
    Contract,
    ContractTerms,
    change_to_data,
    terms_to_data,
)
from connector.core.values import dataclass
from connector.ports import Address, CustomerDetails, HowBilled, InvoiceView, Unit

COPY = "/copy "  # in the key of a line of a reissued invoice; such a line is never proposed (decision D-31)
READ_ROWS = 500  # parameters of one IN list; SQLite takes 32,766, short lists plan better


# ---------------------------------------------------------------- values


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """A customer of the books; *balances*: currency to minor units, below zero is credit.

    consolidate_set - yes or no where a command said so, whatever the account says. given - its discounts as JSON text.
    """

    id: str
    details: CustomerDetails
    balances: Mapping[str, int]
    consolidate_set: str | None = None
    given: str = "[]"

    @property
    def is_consolidated(self) -> bool:
        """Whether all contracts that fall due in a billing run go on one invoice (decision D-35)."""
        return self.details.is_consolidated if self.consolidate_set is None else self.consolidate_set == "yes"


@dataclass(frozen=True, slots=True, kw_only=True)
class BookedChange:
    """A change with what the books know of it; *data* is its JSON text, by which equal changes are recognized."""

    seq: int
    change: Change
    data: str
    label: str = ""
    value: int = 0
    annual_value: int = 0
    is_invoiced: bool = False
    charged: int = 0
    credited: int = 0
    pending_charged: int = 0
    pending_credited: int = 0
    invoice_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BookedContract:
    """A contract with what the books know of it; *data* is the JSON text of its terms, *usage* what `usage.with_usage` adds."""

    id: str
    deal: str
    label: str
    customer_id: str
    terms: ContractTerms
    data: str
    how: HowBilled
    changes: tuple[BookedChange, ...] = ()
    seq: int = 0
    status: str = "draft"
    starts_on: date
    ends_on: date | None = None
    trial_ends_on: date | None = None
    value: int = 0
    annual_value: int = 0
    is_invoiced: bool = False
    billed_until: str = ""
    window_on: str = ""
    next_due_at: str | None = None
    usage: tuple[Usage, ...] = field(default=(), compare=False)
    contract: Contract = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Keep the contract as the engine sees it: one object, because the engine remembers its last timeline by it."""
        whole = Contract(
            id=self.id,
            terms=self.terms,
            changes=tuple([c.change for c in self.changes]) if self.changes else (),
            customer_id=self.customer_id,
            withdrawn=self.status == "withdrawn",
        )
        object.__setattr__(self, "contract", whole)


@dataclass(frozen=True, slots=True, kw_only=True)
class BookedInvoice:
    """An invoice as it is stored: the engine's, its contract, and what only the books know; *number* None: a draft.

    made_at - instant text. bill_to - who is billed, as JSON.
    """

    id: str
    number: str | None
    token: str
    invoice: Invoice
    contract: BookedContract
    deal: str
    issued_on: date
    made_at: str
    bill_to: str

    @property
    def is_draft(self) -> bool:
        """Whether the invoice waits to be made anew."""
        return self.invoice.status == "draft"

    @property
    def due_on_text(self) -> str | None:
        """The day it is due, None for a draft; due at once: the day it is issued."""
        return None if self.is_draft else (self.invoice.due_on or self.issued_on).isoformat()


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceEntry:
    """One movement of a customer's balance, caused by an invoice or by a person, for a *reason*."""

    id: str
    customer_id: str
    currency: str
    amount: int
    ending_balance: int
    invoice_id: str | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened: *name* is `noun.past_verb`, *actor* the deal, `run` or a person; *data*, *before*, *after* JSON or ""."""

    id: str
    actor: str
    name: str
    contract_id: str
    customer_id: str
    invoice_id: str | None = None
    data: str = ""
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What the finalized invoices of one deal add up to; void ones count nowhere (deals.md section 5)."""

    billed: int = 0
    paid: int = 0
    due: int = 0


# ---------------------------------------------------------------- text in the columns


def at_text(at: datetime) -> str:
    """Return an aware instant as sortable UTC text in whole seconds, rounded up so that nothing is looked at too early."""
    at = at.astimezone(UTC)
    if at.microsecond:
        at = at.replace(microsecond=0) + timedelta(seconds=1)
    return at.isoformat()[:19] + "Z"


def terms_text(terms: ContractTerms) -> str:
    """Return terms as canonical JSON: equal terms have equal text."""
    return msgspec.json.encode(terms_to_data(terms)).decode()


def change_text(change: Change) -> str:
    """Return a change as canonical JSON: equal changes have equal text."""
    return msgspec.json.encode(change_to_data(change)).decode()


def bill_to_text(details: CustomerDetails, tax_note: str) -> str:
    """Return who is billed as JSON, to be kept with an issued invoice; *tax_note*: why it bears no tax, "" where it does."""
    if tax_note:
        return msgspec.json.encode({**msgspec.to_builtins(details), "tax_note": tax_note}).decode()
    return msgspec.json.encode(details).decode()


def tax_note_from_text(data: str) -> str:
    """Return why an issued invoice bears no tax, "" where nothing was said."""
    return str(msgspec.json.decode(data).get("tax_note", ""))


def details_from_text(data: str) -> CustomerDetails:
    """Return the customer as an issued invoice kept it."""
    return msgspec.json.decode(data, type=CustomerDetails)


def event_text(data: Mapping[str, Any]) -> str:
    """Return an event's facts as JSON."""
    return msgspec.json.encode(data).decode()


def _on(value: str | None) -> date | None:
    return date.fromisoformat(value) if value else None


def _on_text(value: date | None) -> str | None:
    return value.isoformat() if value else None


# ---------------------------------------------------------------- statements


def _marks(count: int) -> str:
    return ",".join("?" * count)


def _batches(values: Iterable[str]) -> Iterable[list[str]]:
    unique = list(dict.fromkeys(values))
    return (unique[at : at + READ_ROWS] for at in range(0, len(unique), READ_ROWS))


def _insert(table: str, columns: str) -> str:
    return f"INSERT INTO {table} ({columns}) VALUES ({_marks(columns.count(',') + 1)})"


_CUSTOMER = "id, account, name, email, line1, city, postal_code, state, country, tax_id, tax_exempt, language, is_consolidated, balances"
_CONTRACT = (
    "id, deal, label, customer_id, terms, seq, status, starts_on, ends_on, trial_ends_on, value, annual_value,"
    " collection_method, days_until_due, po_number, memo, is_invoiced, billed_until, window_on,"
    " next_due_at"
)
_CHANGE = (
    "contract_id, seq, label, data, value, annual_value, is_invoiced, charged, credited, pending_charged,"
    " pending_credited, invoice_id"
)
_INVOICE = (
    "id, number, token, status, currency, customer_id, contract_id, deal, billing_reason, collection_method, created_at,"
    " finalized_at, issued_on, due_on, paid_on, is_overdue, subtotal, discount, tax, total, starting_balance,"
    " ending_balance, amount_due, amount_paid, po_number, memo, bill_to"
)
_LINE = (
    "contract_id, key, item_id, price_id, product, description, quantity, unit_amount, amount, kind, is_proration,"
    " is_pending, change_id, credits, service_start, service_end, due_on, discounts, taxes, place"
)
_INSERT_CUSTOMER = _insert("customer", _CUSTOMER + ", consolidate_set, org, created_at, updated_at")
_UPDATE_CUSTOMER = (
    "UPDATE customer SET name=?, email=?, line1=?, city=?, postal_code=?, state=?, country=?, tax_id=?, tax_exempt=?,"
    " language=?, is_consolidated=?, updated_at=? WHERE id=?"
)
_INSERT_CONTRACT = _insert("contract", _CONTRACT + ", org, currency, timezone, problem, created_at, updated_at")
_UPDATE_CONTRACT = (
    "UPDATE contract SET label=?, customer_id=?, terms=?, seq=?, status=?, starts_on=?, ends_on=?, trial_ends_on=?,"
    " value=?, annual_value=?, collection_method=?, days_until_due=?, po_number=?, memo=?, is_invoiced=?, billed_until=?,"
    " window_on=?, next_due_at=?, currency=?, timezone=?, problem='', updated_at=? WHERE id=?"
)
_ADVANCE_CONTRACT = (
    "UPDATE contract SET status=?, is_invoiced=?, billed_until=?, window_on=?, next_due_at=?, problem='', updated_at=?"
    " WHERE id=?"
)
_PARK_CONTRACT = "UPDATE contract SET problem=?, next_due_at=?, updated_at=? WHERE id=?"
_INSERT_CHANGE = _insert("change", _CHANGE + ", org, deal, effective, created_at")
_UPDATE_CHANGE = (
    "UPDATE change SET value=?, annual_value=?, is_invoiced=?, charged=?, credited=?, pending_charged=?,"
    " pending_credited=?, invoice_id=? WHERE contract_id=? AND seq=?"
)
_INSERT_INVOICE = _insert("invoice", _INVOICE)
_INSERT_LINE = _insert("line", "invoice_id, position, " + _LINE)
_INSERT_BALANCE = _insert("balance_entry", "id, customer_id, currency, amount, ending_balance, invoice_id, made_at, reason")
_INSERT_EVENT = _insert("event", "id, made_at, actor, name, contract_id, invoice_id, data, customer_id, before, after")
# What credit notes took off the amount due of an invoice `i`, and what of its payments went back; most have no note.
REDUCED = (
    "CASE WHEN i.credited = 0 THEN 0 ELSE (SELECT COALESCE(SUM(n.reduced), 0) FROM credit_note n WHERE n.invoice_id = i.id) END"
)
RETURNED = (
    "CASE WHEN i.credited = 0 THEN 0 ELSE"
    " (SELECT COALESCE(SUM(n.refunded + n.out_of_band), 0) FROM credit_note n WHERE n.invoice_id = i.id) END"
)
_VIEW = (
    "i.id, i.deal, c.account, i.contract_id, i.number, i.status, i.currency, i.issued_on, i.due_on, i.total,"
    f" i.amount_due - {REDUCED}, i.amount_paid - {RETURNED}, i.token, i.paid_on, i.credited"
)


# ---------------------------------------------------------------- customers


def customers(unit: Unit, *, org: str = "", accounts: Iterable[str] = (), ids: Iterable[str] = ()) -> list[Customer]:
    """Return the customers of the CRM accounts of *org*, or those with the *ids*."""
    found: list[Customer] = []
    for batch in _batches(accounts):
        sql = f"SELECT {_CUSTOMER}, consolidate_set, discounts FROM customer WHERE org=? AND account IN ({_marks(len(batch))})"
        found += map(_customer, unit.query(sql, (org, *batch)))
    for batch in _batches(ids):
        sql = f"SELECT {_CUSTOMER}, consolidate_set, discounts FROM customer WHERE id IN ({_marks(len(batch))})"
        found += map(_customer, unit.query(sql, batch))
    return found


def _customer(row: tuple[Any, ...]) -> Customer:
    details = CustomerDetails(
        account=row[1],
        name=row[2],
        email=row[3],
        address=Address(line1=row[4], city=row[5], postal_code=row[6], state=row[7], country=row[8]),
        tax_id=row[9], tax_exempt=row[10], language=row[11], is_consolidated=bool(row[12]),
    )  # fmt: skip
    return Customer(id=row[0], details=details, balances=msgspec.json.decode(row[13]), consolidate_set=row[14], given=row[15])


def _who(details: CustomerDetails) -> tuple[str | bool, ...]:
    place = details.address
    return (
        details.name,
        details.email,
        place.line1,
        place.city,
        place.postal_code,
        place.state,
        place.country,
        details.tax_id,
        details.tax_exempt,
        details.language,
        details.is_consolidated,
    )


def insert_customers(unit: Unit, org: str, made: Sequence[Customer], at: str) -> None:
    """Add customers."""
    rows = [(c.id, c.details.account, *_who(c.details), _balances(c), c.consolidate_set, org, at, at) for c in made]
    unit.executemany(_INSERT_CUSTOMER, rows)


def update_customers(unit: Unit, changed: Sequence[Customer], at: str) -> None:
    """Save who customers are now; balances are saved by `update_balances`."""
    unit.executemany(_UPDATE_CUSTOMER, [(*_who(c.details), at, c.id) for c in changed])


def update_balances(unit: Unit, changed: Sequence[Customer], at: str) -> None:
    """Save the balances of customers."""
    unit.executemany(
        "UPDATE customer SET balances=?, updated_at=? WHERE id=?", [(_balances(c), at, c.id) for c in changed]
    )


def _balances(customer: Customer) -> str:
    return msgspec.json.encode({k: v for k, v in sorted(customer.balances.items()) if v}).decode()


# ---------------------------------------------------------------- contracts


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A contract whose stored terms or changes this program cannot read, and why."""

    id: str
    deal: str
    label: str
    reason: str


def contracts(unit: Unit, ids: Iterable[str], unreadable: list[Unreadable] | None = None) -> list[BookedContract]:
    """Return contracts with their changes, in order of id; those that cannot be read go to *unreadable* where it is given."""
    rows: list[tuple[Any, ...]] = []
    for batch in _batches(ids):
        rows += unit.query(f"SELECT {_CONTRACT} FROM contract WHERE id IN ({_marks(len(batch))})", batch)
    rows.sort(key=lambda row: row[0])
    changes = _changes(unit, [row[0] for row in rows if row[5]])
    found: list[BookedContract] = []
    for row in rows:
        try:
            found.append(_contract(row, changes.get(row[0], ())))
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            if unreadable is None:
                raise
            unreadable.append(Unreadable(id=row[0], deal=row[1], label=row[2], reason=str(error)))
    return found


def _contract(row: tuple[Any, ...], changes: Sequence[tuple[Any, ...]]) -> BookedContract:
    return BookedContract(
        id=row[0],
        deal=row[1],
        label=row[2],
        customer_id=row[3],
        terms=terms_from_text(row[4]),
        data=row[4],
        seq=row[5],
        status=row[6],
        starts_on=date.fromisoformat(row[7]),
        ends_on=_on(row[8]),
        trial_ends_on=_on(row[9]),
        value=row[10],
        annual_value=row[11],
        how=HowBilled(collection_method=row[12], days_until_due=row[13], po_number=row[14], memo=row[15]),
        is_invoiced=bool(row[16]),
        billed_until=row[17],
        window_on=row[18],
        next_due_at=row[19],
        changes=tuple([_booked_change(change) for change in changes]),
    )


def _changes(unit: Unit, contract_ids: Sequence[str]) -> dict[str, list[tuple[Any, ...]]]:
    found: dict[str, list[tuple[Any, ...]]] = {}
    for batch in _batches(contract_ids):
        sql = f"SELECT {_CHANGE} FROM change WHERE contract_id IN ({_marks(len(batch))}) ORDER BY contract_id, seq"
        for row in unit.query(sql, batch):
            found.setdefault(row[0], []).append(row)
    return found


def _booked_change(row: tuple[Any, ...]) -> BookedChange:
    return BookedChange(
        seq=row[1],
        label=row[2],
        change=change_from_text(row[3]),
        data=row[3],
        value=row[4],
        annual_value=row[5],
        is_invoiced=bool(row[6]),
        charged=row[7],
        credited=row[8],
        pending_charged=row[9],
        pending_credited=row[10],
        invoice_id=row[11],
    )


def contracts_of_deals(unit: Unit, org: str, deals: Iterable[str]) -> dict[str, str]:
    """Return the contract id of each deal that made a contract or a change."""
    found: dict[str, str] = {}
    for batch in _batches(deals):
        for table, column in (("contract", "id"), ("change", "contract_id")):
            sql = f"SELECT deal, {column} FROM {table} WHERE org=? AND deal IN ({_marks(len(batch))})"
            found.update((row[0], row[1]) for row in unit.query(sql, (org, *batch)))
    return found


def due_contracts(unit: Unit, as_of: str, limit: int, *, with_drafts: bool) -> list[str]:
    """Return the ids of contracts that a run at *as_of* must look at, longest due first, about *limit* of them.

    All due contracts of a customer come together, because they share its balance (decision D-34). *with_drafts*: those
    whose invoices wait as drafts are due again.
    """
    sql = "SELECT id, customer_id FROM contract WHERE next_due_at <= ? ORDER BY next_due_at, id LIMIT ?"
    rows = unit.query(sql, (as_of, limit))
    ids = dict.fromkeys(row[0] for row in rows)
    if with_drafts and len(rows) < limit:
        drafts = "SELECT DISTINCT contract_id FROM invoice WHERE status='draft' AND contract_id<>'' ORDER BY contract_id LIMIT ?"
        ids |= dict.fromkeys([row[0] for row in unit.query(drafts, (limit,)) if row[0] not in ids][: limit - len(rows)])
    if len(rows) == limit:
        for batch in _batches(row[1] for row in rows):
            others = f"SELECT id FROM contract WHERE customer_id IN ({_marks(len(batch))}) AND next_due_at <= ?"
            ids |= dict.fromkeys(row[0] for row in unit.query(others, (*batch, as_of)))
    return list(ids)


def insert_contracts(unit: Unit, org: str, made: Sequence[BookedContract], at: str) -> None:
    """Add contracts."""
    rows = [
        (
            c.id,
            c.deal,
            c.label,
            c.customer_id,
            c.data,
            c.seq,
            c.status,
            *_dates(c),
            c.value,
            c.annual_value,
            *_how(c.how),
            c.is_invoiced,
            c.billed_until,
            c.window_on,
            c.next_due_at,
            org,
            c.terms.currency,
            c.terms.timezone,
            "",
            at,
            at,
        )
        for c in made
    ]
    unit.executemany(_INSERT_CONTRACT, rows)


def update_contracts(unit: Unit, changed: Sequence[BookedContract], at: str) -> None:
    """Save everything of contracts that a command touched."""
    rows = [
        (
            c.label,
            c.customer_id,
            c.data,
            c.seq,
            c.status,
            *_dates(c),
            c.value,
            c.annual_value,
            *_how(c.how),
            c.is_invoiced,
            c.billed_until,
            c.window_on,
            c.next_due_at,
            c.terms.currency,
            c.terms.timezone,
            at,
            c.id,
        )
        for c in changed
    ]
    unit.executemany(_UPDATE_CONTRACT, rows)


def advance_contracts(unit: Unit, rows: Sequence[tuple[str, bool, str, str, str | None, str, str]]) -> None:
    """Save how far contracts are billed: (status, is_invoiced, billed_until, window_on, next_due_at, at, id) each."""
    unit.executemany(_ADVANCE_CONTRACT, rows)


def park_contracts(unit: Unit, rows: Sequence[tuple[str, str, str, str]]) -> None:
    """Save that contracts could not be billed: (problem, when to try again, at, id) each."""
    unit.executemany(_PARK_CONTRACT, rows)


def _dates(contract: BookedContract) -> tuple[str, str | None, str | None]:
    return contract.starts_on.isoformat(), _on_text(contract.ends_on), _on_text(contract.trial_ends_on)


def _how(how: HowBilled) -> tuple[str, int, str, str]:
    return how.collection_method, how.days_until_due, how.po_number, how.memo


def insert_changes(unit: Unit, org: str, made: Sequence[tuple[str, BookedChange]], at: str) -> None:
    """Add changes, each with its contract's id."""
    rows = [
        (
            contract_id,
            c.seq,
            c.label,
            c.data,
            c.value,
            c.annual_value,
            c.is_invoiced,
            c.charged,
            c.credited,
            c.pending_charged,
            c.pending_credited,
            c.invoice_id,
            org,
            c.change.id,
            c.change.effective.isoformat(),
            at,
        )
        for contract_id, c in made
    ]
    unit.executemany(_INSERT_CHANGE, rows)


def update_changes(unit: Unit, changed: Sequence[tuple[str, BookedChange]]) -> None:
    """Save what changes are worth and what they caused so far."""
    rows = [
        (
            c.value,
            c.annual_value,
            c.is_invoiced,
            c.charged,
            c.credited,
            c.pending_charged,
            c.pending_credited,
            c.invoice_id,
            contract_id,
            c.seq,
        )
        for contract_id, c in changed
    ]
    unit.executemany(_UPDATE_CHANGE, rows)


def delete_changes(unit: Unit, keys: Sequence[tuple[str, int]]) -> None:
    """Remove changes, given as (contract id, seq), that were withdrawn before anything of them was invoiced."""
    unit.executemany("DELETE FROM change WHERE contract_id=? AND seq=?", keys)


# ---------------------------------------------------------------- invoices and lines


def facts(unit: Unit, windows: Mapping[str, str]) -> dict[str, list[Line]]:
    """Return the lines on finalized invoices whose service ends after each contract's window, by contract id.

    Drafts are no facts (decision D-31).
    """
    found: dict[str, list[Line]] = {}
    pairs = list(windows.items())
    for start in range(0, len(pairs), READ_ROWS):
        batch = pairs[start : start + READ_ROWS]
        columns = ", ".join("l." + c.strip() for c in _LINE.split(","))
        sql = (
            f"WITH w(id, since) AS (VALUES {','.join(['(?,?)'] * len(batch))}) SELECT {columns}, l.invoice_id FROM w"
            " JOIN line l ON l.contract_id = w.id AND l.service_end > w.since ORDER BY l.invoice_id, l.position"
        )
        rows = unit.query(sql, [value for pair in batch for value in pair])
        drafts = _draft_ids(unit, ["", *(contract_id for contract_id, _ in batch)]) if rows else set()  # "": of several contracts
        for row in rows:
            if row[-1] not in drafts and COPY not in row[1]:
                found.setdefault(row[0], []).append(_line(row))
    return found


def _draft_ids(unit: Unit, contract_ids: Sequence[str]) -> set[str]:
    sql = f"SELECT id FROM invoice WHERE status='draft' AND contract_id IN ({_marks(len(contract_ids))})"
    return {row[0] for row in unit.query(sql, contract_ids)}




def take_numbers(unit: Unit, series: str, count: int) -> int:
    """Take *count* numbers of a series and return the first; a rollback gives them back (decision D-15)."""
    sql = "INSERT INTO series (name, next) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET next = series.next + ? RETURNING next"
    rows = unit.query(sql, (series, count + 1, count))
    return int(rows[0][0]) - count


def insert_invoices(unit: Unit, made: Sequence[BookedInvoice]) -> None:
    """Add invoices with their lines."""
    unit.executemany(_INSERT_INVOICE, [_invoice_values(i) for i in made])
    insert_lines(unit, [(i.id, i.invoice.lines) for i in made])


def insert_lines(unit: Unit, made: Iterable[tuple[str, Sequence[Line]]]) -> None:
    """Add lines, each list with the id of its invoice, or of the import that stands for another system's."""
    unit.executemany(_INSERT_LINE, [(i, n, *_line_values(x)) for i, lines in made for n, x in enumerate(lines, 1)])


def _invoice_values(booked: BookedInvoice) -> tuple[Any, ...]:
    i, how, is_draft = booked.invoice, booked.contract.how, booked.is_draft
    issued_on = booked.issued_on.isoformat()
    return (
        booked.id,
        booked.number,
        booked.token,
        i.status,
        i.currency,
        booked.contract.customer_id,
        booked.contract.id,
        booked.deal,
        i.billing_reason,
        how.collection_method,
        booked.made_at,
        None if is_draft else booked.made_at,
        issued_on,
        booked.due_on_text,
        issued_on if i.status == "paid" else None,
        False,
        i.subtotal,
        i.discount,
        i.tax,
        i.total,
        i.starting_balance,
        i.ending_balance,
        i.amount_due,
        i.amount_paid,
        how.po_number,
        how.memo,
        booked.bill_to,
    )


def _line_values(line: Line) -> tuple[Any, ...]:
    return (
        line.contract_id,
        line.key,
        line.item_id,
        line.price_id,
        line.product,
        line.description,
        str(line.quantity),
        None if line.unit_amount is None else str(line.unit_amount),
        line.amount,
        line.kind,
        line.is_proration,
        line.is_pending,
        line.change_id,
        line.credits,
        local_text(line.start),
        local_text(line.end),
        local_text(line.due),
        msgspec.json.encode(line.discounts).decode() if line.discounts else "",
        msgspec.json.encode(line.taxes).decode() if line.taxes else "",
        line.order,
    )


def _line(row: tuple[Any, ...]) -> Line:
    return Line(
        contract_id=row[0],
        key=row[1],
        item_id=row[2],
        price_id=row[3],
        product=row[4],
        description=row[5],
        quantity=Decimal(row[6]),
        unit_amount=None if row[7] is None else Decimal(row[7]),
        amount=row[8],
        kind=row[9],
        is_proration=bool(row[10]),
        is_pending=bool(row[11]),
        change_id=row[12],
        credits=row[13],
        start=datetime.fromisoformat(row[14]),
        end=datetime.fromisoformat(row[15]),
        due=datetime.fromisoformat(row[16]),
        discounts=msgspec.json.decode(row[17], type=tuple[tuple[str, int], ...]) if row[17] else (),
        taxes=msgspec.json.decode(row[18], type=tuple[tuple[str, int, bool], ...]) if row[18] else (),
        order=row[19],
    )


def lines_where(unit: Unit, condition: str, params: Sequence[Any]) -> list[Line]:
    """Return the lines for which a condition of SQL holds; it is never text of a user's."""
    return [_line(row) for row in unit.query(f"SELECT {_LINE} FROM line WHERE {condition}", params)]


def invoice_lines(unit: Unit, invoice_id: str) -> list[Line]:
    """Return the lines of an invoice in order."""
    return lines_where(unit, "invoice_id=? ORDER BY position", (invoice_id,))


def insert_balance_entries(unit: Unit, made: Sequence[BalanceEntry], at: str) -> None:
    """Add movements of balances."""
    rows = [(e.id, e.customer_id, e.currency, e.amount, e.ending_balance, e.invoice_id, at, e.reason) for e in made]
    unit.executemany(_INSERT_BALANCE, rows)


def insert_events(unit: Unit, made: Sequence[Event], at: str) -> None:
    """Append what happened."""
    rows = [(e.id, at, e.actor, e.name, e.contract_id, e.invoice_id, e.data, e.customer_id, e.before, e.after) for e in made]
    unit.executemany(_INSERT_EVENT, rows)


# ---------------------------------------------------------------- what is asked of the books


def deals_of_contracts(unit: Unit, contract_ids: Iterable[str]) -> list[str]:
    """Return the deals of contracts and of their changes."""
    found: list[str] = []
    for batch in _batches(contract_ids):
        found += [r[0] for r in unit.query(f"SELECT deal FROM contract WHERE id IN ({_marks(len(batch))})", batch)]
        sql = f"SELECT deal FROM change WHERE contract_id IN ({_marks(len(batch))}) ORDER BY contract_id, seq"
        found += [r[0] for r in unit.query(sql, batch)]
    return found


def sums(unit: Unit, contract_ids: Iterable[str]) -> dict[str, Sums]:
    """Return what the finalized invoices of contracts add up to, by deal; void ones count nowhere, credit notes and refunds count off."""
    found: dict[str, Sums] = {}
    for batch in _batches(contract_ids):
        sql = (
            f"SELECT i.deal, SUM(i.total - i.credited), SUM(i.amount_paid - {RETURNED}),"
            f" SUM(CASE WHEN i.status='open' THEN i.amount_due - i.amount_paid - {REDUCED} ELSE 0 END)"
            f" FROM invoice i WHERE i.contract_id IN ({_marks(len(batch))}) AND i.status IN ('open','paid','uncollectible')"
            " GROUP BY i.deal"
        )
        for deal, billed, paid, due in unit.query(sql, batch):
            found[deal] = Sums(billed=int(billed), paid=int(paid), due=int(due))
    return found


def last_invoices(unit: Unit, contract_ids: Iterable[str]) -> dict[str, InvoiceView]:
    """Return the latest finalized invoice of each deal of the contracts; where there is none, its draft."""
    found: dict[str, InvoiceView] = {}
    for batch in _batches(contract_ids):
        for is_draft in (True, False):
            newest = (
                f"SELECT MAX(id) FROM invoice WHERE contract_id IN ({_marks(len(batch))})"
                f" AND status {'=' if is_draft else '<>'} 'draft' GROUP BY deal"
            )
            found.update((str(v.deal), v) for v in _views(unit, f"i.id IN ({newest})", batch))
    return found


def open_invoices(unit: Unit, contract_ids: Iterable[str]) -> dict[str, list[InvoiceView]]:
    """Return the open invoices of contracts by contract id, the one that fell due first in front."""
    found: dict[str, list[InvoiceView]] = {}
    for batch in _batches(contract_ids):
        where = f"i.status = 'open' AND i.contract_id IN ({_marks(len(batch))})"
        for view in _views(unit, where, batch, order="i.due_on, i.id"):
            found.setdefault(view.contract_id, []).append(view)
    return found


def invoices_by_id(unit: Unit, ids: Iterable[str]) -> dict[str, InvoiceView]:
    """Return invoices by id."""
    found: dict[str, InvoiceView] = {}
    for batch in _batches(ids):
        found.update((v.id, v) for v in _views(unit, f"i.id IN ({_marks(len(batch))})", batch))
    return found


def finalized_invoices(unit: Unit, contract_ids: Iterable[str]) -> list[InvoiceView]:
    """Return the finalized invoices of contracts, oldest first."""
    found: list[InvoiceView] = []
    for batch in _batches(contract_ids):
        found += _views(unit, f"i.status <> 'draft' AND i.contract_id IN ({_marks(len(batch))})", batch)
    return sorted(found, key=lambda view: view.id)


def _views(unit: Unit, where: str, params: Sequence[Any], *, order: str = "i.id") -> list[InvoiceView]:
    sql = f"SELECT {_VIEW} FROM invoice i JOIN customer c ON c.id = i.customer_id WHERE {where} ORDER BY {order}"
    return [
        InvoiceView(
            id=row[0],
            deal=row[1] or None,
            account=row[2],
            contract_id=row[3],
            number=row[4] or "",
            status=row[5],
            currency=row[6],
            issued_on=date.fromisoformat(row[7]),
            due_on=_on(row[8]),
            total=row[9],
            amount_due=row[10],
            amount_paid=row[11],
            token=row[12],
            paid_on=_on(row[13]),
            credited=row[14],
        )
        for row in unit.query(sql, params)
    ]
