"""Billing contracts: for each the lines that are due, its invoice, its status, and when to look at it again.

`billed` is pure; `Issue` gathers what a chunk of contracts made and writes it with one statement a table, the numbers last
(decision D-15). Both `apply` and the billing run come here, so a new contract is billed by the very functions that bill it
a year later (decision D-14).

Worked example: 30.00 a month from 1 April, billed on 1 May: one line [1 May, 1 Jun), one invoice, looked at again on 1 June.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from datetime import date, datetime, timedelta
from functools import lru_cache

from connector.billing import outbox, store
from connector.billing.consolidating import bundles, goes_together, holder_of, parts_for
from connector.billing.decoding import local_text
from connector.billing.events import issued_event
from connector.billing.parts import Part, insert_parts
from connector.billing.store import BalanceEntry, BookedChange, BookedContract, BookedInvoice, Customer
from connector.billing.taken import take_from_lines
from connector.billing.taxing import Untaxed, require_tax, state_of
from connector.core.invoicing import Line, Slice, contract_status, next_due_on, proposed_on, window_start
from connector.core.period import to_local, to_utc
from connector.core.schedule import timeline
from connector.core.segments import Timeline
from connector.core.settlement import (
    CustomerState,
    Invoice,
    InvoiceStatus,
    credited_after,
    drafted,
    finalized,
    pause_behavior,
    taken_back,
)
from connector.core.terms import Change
from connector.core.values import dataclass
from connector.errors import Problem, RejectedError, Where
from connector.kit.db import new_ids
from connector.ports import AccountTax, TaxSource, Unit

PREVIEW_STEPS = 400  # due instants that a preview walks through, those without an invoice included


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When a run bills, and how: *hold* leaves its invoices as drafts; *text* is *at* as the books write it."""

    at: datetime
    text: str
    hold: bool
    max_lines: int

    def local(self, timezone: str) -> datetime:
        """Return the moment in local time."""
        return to_local(self.at, timezone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Billed:
    """What billing one contract made; *invoice* None: nothing was due. The other fields are the contract's, as they are now."""

    contract: BookedContract
    invoice: Invoice | None
    deal: str
    status: str
    is_invoiced: bool
    billed_until: str
    window_on: str
    next_due_at: str | None
    changes: tuple[BookedChange, ...]

    @property
    def has_moved(self) -> bool:
        """Whether a reader of the CRM record would see a difference."""
        return self.invoice is not None or self.status != self.contract.status

    @property
    def after(self) -> BookedContract:
        """Return the contract as it is to be saved."""
        return replace(
            self.contract,
            status=self.status,
            is_invoiced=self.is_invoiced,
            billed_until=self.billed_until,
            window_on=self.window_on,
            next_due_at=self.next_due_at,
            changes=self.changes,
        )


def piece_of(contract: BookedContract, facts: Sequence[Line], customer: CustomerState, credited: Mapping[str, int] | None = None) -> Slice:
    """Return the contract with its facts as the engine takes it."""
    return Slice(
        contract=contract.contract,
        facts=tuple(facts),
        credited=credited or {},
        has_invoices=contract.is_invoiced,
        since=datetime.fromisoformat(contract.window_on) if contract.window_on else None,
        usage=contract.usage,
        tax_exempt=customer.tax_exempt,
        rates=customer.rates,
        given=customer.given,
    )


def window_with(contract: BookedContract, changed: Sequence[Change]) -> str:
    """Return where the facts of a contract begin that matter when *changed* are made or taken back; empty: all matter."""
    if not contract.is_invoiced or not contract.billed_until:
        return ""
    zone = contract.terms.timezone
    local = tuple(replace(c, effective=to_local(c.effective, zone)) for c in changed)
    since = window_start(contract.contract, datetime.fromisoformat(contract.billed_until), local)
    return since.isoformat() if since else ""


def billed(
    contract: BookedContract, facts: Sequence[Line], customer: CustomerState, moment: Moment, credited: Mapping[str, int] | None = None
) -> tuple[Billed, CustomerState]:
    """Bill one contract up to the moment and return what was made, and its customer after it.

    Raises: RejectedError if it would make more lines at once than is allowed (a guard against runaway bills).
    """
    if contract.status == "withdrawn":
        return _withdrawn(contract), customer
    piece = piece_of(contract, facts, customer, credited)
    local = moment.local(contract.terms.timezone)
    plan = timeline(piece.contract, horizon=local)
    lines = proposed_on(plan, piece, local)
    if len(lines) > moment.max_lines:
        raise _too_many(contract, len(lines), moment.max_lines)
    invoice = None
    later = piece
    if lines:
        invoice, customer = _invoice(lines, piece, customer, moment)
        later = Slice(
            contract=piece.contract,
            facts=(*piece.facts, *lines),
            credited=credited_after(piece.credited, invoice),
            has_invoices=True,
            since=piece.since,
            usage=piece.usage,
            tax_exempt=piece.tax_exempt,
            rates=piece.rates,
            given=piece.given,
        )
    return brought_on(contract, plan, later, invoice, local), customer


def ahead(
    contract: BookedContract, facts: Sequence[Line], customer: tuple[CustomerState, AccountTax], moment: Moment, credited: Mapping[str, int],
) -> Iterator[tuple[datetime, Invoice]]:  # fmt: skip
    """Bill a contract in memory from the moment on, one due instant after the other, as far as the caller looks.

    Raises: RejectedError if it cannot be billed or taxed.
    """
    state, tax = customer
    known = list(facts)
    at: datetime | None = moment.at
    for _ in range(PREVIEW_STEPS):
        if at is None:
            return
        made, state = billed(contract, known, state, replace(moment, at=at, text=store.at_text(at)), credited)
        require_tax(contract, made.invoice, tax)
        if made.invoice is not None:
            known += made.invoice.lines
            credited = credited_after(credited, made.invoice)
            yield at, made.invoice
        # all facts stay in memory, so the window need not move
        contract = replace(made.after, window_on=contract.window_on)
        at = datetime.fromisoformat(contract.next_due_at) if contract.next_due_at else None


def _invoice(lines: list[Line], piece: Slice, customer: CustomerState, moment: Moment) -> tuple[Invoice, CustomerState]:
    terms, is_first = piece.contract.terms, not piece.has_invoices
    if moment.hold:
        return drafted(lines, terms=terms, at=moment.at, is_first=is_first), customer
    behavior = pause_behavior(piece, to_local(moment.at, terms.timezone)) if piece.contract.changes else None
    if behavior in ("void", "mark_uncollectible"):
        status: InvoiceStatus = "void" if behavior == "void" else "uncollectible"
        made = drafted(lines, terms=terms, at=moment.at, is_first=is_first)
        left = 0 if status == "void" else made.total
        return replace(made, status=status, finalized_at=moment.at, amount_remaining=left), customer
    return finalized(lines, customer=customer, terms=terms, at=moment.at, is_first=is_first)


def _withdrawn(contract: BookedContract) -> Billed:
    return Billed(
        contract=contract,
        invoice=None,
        deal=contract.deal,
        status="withdrawn",
        is_invoiced=False,
        billed_until="",
        window_on="",
        next_due_at=None,
        changes=(),
    )


def brought_on(
    contract: BookedContract, plan: Timeline, later: Slice, invoice: Invoice | None, local: datetime, emitted: Sequence[Line] = ()
) -> Billed:
    """Return the contract after its billing: status, when it is due next, what its changes caused.

    *later* - the contract with all its facts. emitted - lines among them that were invoiced elsewhere, seen for the first time.
    """
    due = next_due_on(plan, later, local)
    moves = [at for at in _status_instants(plan) if at > local]
    if due is not None:
        moves.append(due)
    look = min(moves, default=None)
    is_fact = invoice is not None and invoice.status != "draft"
    billed_until, window_on = contract.billed_until, contract.window_on
    if invoice is None or is_fact:
        since = window_start(later.contract, due)
        billed_until, window_on = (local_text(due), local_text(since)) if due and since else ("", "")
    return Billed(
        contract=contract,
        invoice=invoice,
        deal=deal_of_line(plan, contract, first_recurring(invoice.lines)) if invoice else contract.deal,
        status=contract_status(plan.contract, local, has_overdue=False),
        is_invoiced=contract.is_invoiced or is_fact or bool(emitted),
        billed_until=billed_until,
        window_on=window_on,
        next_due_at=utc_text(look, contract.terms.timezone) if look else None,
        changes=_caused(contract, plan, later, invoice, due, emitted) if contract.changes else (),
    )


def _status_instants(plan: Timeline) -> list[datetime]:
    """Return the local instants at which the status may change without any line."""
    found = [plan.root.start, *(t.start for t in plan.terms), *(start for start, _, _ in plan.pauses)]
    found += [end for _, end, _ in plan.pauses if end is not None]
    found += [at for at in (plan.trial_end, plan.end, plan.term_end) if at is not None]
    return found


def _caused(
    contract: BookedContract, plan: Timeline, later: Slice, invoice: Invoice | None, due: datetime | None, elsewhere: Sequence[Line]
) -> tuple[BookedChange, ...]:
    """Return the changes with what they charged and credited: on finalized invoices, and waiting for the next one."""
    emitted = invoice.lines if invoice is not None and invoice.status != "draft" else elsewhere
    waiting: Sequence[Line] = ()
    if _has_waiting(plan) or (invoice is not None and invoice.status == "draft"):
        waiting = [line for line in proposed_on(plan, later, due) if line.is_pending] if due else []
        if invoice is not None and invoice.status == "draft":
            waiting = [*waiting, *invoice.lines]
    return tuple(_caused_by(change, emitted, waiting) for change in contract.changes)


def _has_waiting(plan: Timeline) -> bool:
    """Whether a change may have something that waits for the next invoice: what it began, what it ended, what it charges once."""
    ended = any(s.ended_by is not None and s.ended_by.pending for s in plan.segments)
    return ended or any(s.cause.pending for s in plan.segments) or any(o.cause.pending for o in plan.one_times)


def _caused_by(change: BookedChange, emitted: Sequence[Line], waiting: Sequence[Line]) -> BookedChange:
    own = [line for line in emitted if line.change_id == change.change.id]
    later = [line for line in waiting if line.change_id == change.change.id]
    taken = [line for line in (*own, *later) if line.kind == "credit"]
    moved = [line.net for line in own if is_effect(line, taken)]
    pending = [line.net for line in later if is_effect(line, taken)]
    return replace(
        change,
        is_invoiced=change.is_invoiced or bool(own),
        charged=change.charged + sum(n for n in moved if n > 0),
        credited=change.credited + sum(n for n in moved if n < 0),
        pending_charged=sum(n for n in pending if n > 0),
        pending_credited=sum(n for n in pending if n < 0),
    )


def is_effect(line: Line, taken: Sequence[Line]) -> bool:
    """Whether a line shows what a change did, rather than a later period of what it began.

    A whole period shows it too where the change gave back (*taken*) what was billed for it before: the two are one difference.
    """
    return line.is_proration or line.kind != "charge" or any(c.start < line.end and line.start < c.end for c in taken)


def first_recurring(lines: Sequence[Line]) -> Line:
    """Return the first recurring line of an invoice, else its first (deals.md section 5)."""
    for line in lines:
        if line.kind == "charge":
            return line
    return lines[0]


def deal_of_line(plan: Timeline, contract: BookedContract, line: Line) -> str:
    """Return the New or Renew deal in whose term a line lies."""
    deal = contract.deal
    for term in plan.terms:
        if term.start <= line.start and not term.is_automatic:
            deal = term.change_id or contract.deal
    return deal


def _too_many(contract: BookedContract, count: int, most: int) -> RejectedError:
    return RejectedError(
        Problem(
            code="too-many-lines",
            message=f"Not billed: '{contract.label}' would get {count} lines at once; the guard is {most}.",
            hint="Check its start, frequency and quantities.",
            where=Where(record=contract.deal),
        )
    )


# ---------------------------------------------------------------- what a chunk made, and saving it


@dataclass(slots=True, kw_only=True)
class Issue:
    """What a chunk of contracts made, gathered until everything is written at once.

    is_run - a billing run makes it: only there customers who want one invoice for all contracts are billed (decision D-35).
    actors - who asked, by contract; the run where it is nobody.
    """

    moment: Moment
    customers: Mapping[str, Customer]
    states: dict[str, CustomerState] = field(default_factory=dict)
    done: list[Billed] = field(default_factory=list)
    problems: list[tuple[str, Problem]] = field(default_factory=list)
    credited: Mapping[str, int] = field(default_factory=dict)
    source: TaxSource = field(default_factory=Untaxed)
    taxes: dict[str, AccountTax] = field(default_factory=dict)
    mailing: outbox.Mailing = outbox.OFF
    is_run: bool = False
    actors: Mapping[str, str] = field(default_factory=dict)

    def tax_of(self, customer_id: str) -> AccountTax:
        """Return how a customer is taxed; asked for once a chunk."""
        found = self.taxes.get(customer_id)
        if found is None:
            found = self.taxes[customer_id] = self.source.tax_of(self.customers[customer_id].details)
        return found

    def bill(self, contract: BookedContract, facts: Sequence[Line]) -> Billed:
        """Bill one contract and keep what it made; contracts come in order of id, because they share balances (D-34).

        Raises: RejectedError if it cannot be billed, or if nobody can say how what is due is taxed.
        """
        tax = self.tax_of(contract.customer_id)
        state = self.states.get(contract.customer_id)
        if state is None:
            state = state_of(self.customers[contract.customer_id], tax)
        made, after = billed(contract, facts, state, self.moment, self.credited)
        require_tax(contract, made.invoice, tax)
        if goes_together(self.customers[contract.customer_id], made.invoice):
            after = state  # the balance counts towards the invoice of all
            if not self.is_run:
                made = self._waiting(contract, facts, state)
        self.states[contract.customer_id] = after
        self.done.append(made)
        return made

    def _waiting(self, contract: BookedContract, facts: Sequence[Line], state: CustomerState) -> Billed:
        """Return a contract whose lines wait for the next run: due at once, and its changes say what is pending."""
        made, _ = billed(contract, facts, state, replace(self.moment, hold=True), self.credited)
        return replace(made, invoice=None, next_due_at=self.moment.text)

    def save_invoices(self, unit: Unit, series: Series) -> list[tuple[Billed, BookedInvoice]]:
        """Write invoices, lines, balances and events of everything that was billed; numbers are taken last."""
        made = [m for m in self.done if m.invoice is not None]
        found = [(m.contract, m.invoice) for m in made if m.invoice is not None]
        sharing = [[made[n] for n in places] for places in bundles(found, self.customers)]
        issued = [(members, self._invoice_of(members)) for members in sharing]
        days = [self.moment.local(members[0].contract.terms.timezone).date() for members, _ in issued]
        years = [day.year for (_, invoice), day in zip(issued, days, strict=True) if invoice.status != "draft"]
        numbers = iter(series.numbers(unit, years))
        ids = iter(new_ids("in", self.moment.at, len(issued)))
        booked = [self._booked(next(ids), members, i, day, numbers) for (members, i), day in zip(issued, days, strict=True)]
        store.insert_invoices(unit, booked)
        insert_parts(unit, [part for members, b in zip(sharing, booked, strict=True) if len(members) > 1 for part in _parts(b.id, members)])
        for b in booked:
            if b.invoice.status == "void":  # made so during a pause: no change may credit what nobody owes
                take_from_lines(unit, b.id, taken_back(b.invoice))
        self._save_balances(unit, booked)
        who = self.actors
        events = [issued_event(b, m.status, who.get(b.contract.id, "run")) for (m, *_), b in zip(sharing, booked, strict=True)]
        store.insert_events(unit, events, self.moment.text)
        if self.mailing.is_on:
            mails = outbox.issued((b.id, b.invoice.status, b.invoice.total) for b in booked)
            self.mailing.write(unit, mails, self.moment.at)
        return [(m, b) for members, b in zip(sharing, booked, strict=True) for m in members]

    def _invoice_of(self, members: Sequence[Billed]) -> Invoice:
        """Return the invoice of contracts that share one, with the customer's balance; of a single one as it was made."""
        first = members[0]
        customer_id, own = first.contract.customer_id, [m.invoice for m in members if m.invoice is not None]
        if not goes_together(self.customers[customer_id], own[0]):
            return own[0]
        lines, terms, at = [line for i in own for line in i.lines], first.contract.terms, self.moment.at
        is_first = not any(m.contract.is_invoiced for m in members)
        if own[0].status == "draft":
            return drafted(lines, terms=terms, at=at, is_first=is_first)
        invoice, self.states[customer_id] = finalized(lines, customer=self.states[customer_id], terms=terms, at=at, is_first=is_first)
        return invoice

    def _booked(
        self, invoice_id: str, members: Sequence[Billed], invoice: Invoice, issued_on: date, numbers: Iterator[str]
    ) -> BookedInvoice:
        made = members[0]
        is_alone = len(members) == 1
        return BookedInvoice(
            id=invoice_id,
            number=None if invoice.status == "draft" else next(numbers),
            token=token_for(invoice_id),
            invoice=invoice,
            contract=made.contract if is_alone else holder_of([m.contract for m in members]),
            deal=made.deal if is_alone else "",
            issued_on=issued_on,
            made_at=self.moment.text,
            bill_to=store.bill_to_text(
                self.customers[made.contract.customer_id].details, self.tax_of(made.contract.customer_id).note
            ),
        )

    def _save_balances(self, unit: Unit, made: Sequence[BookedInvoice]) -> None:
        moved = [b for b in made if b.invoice.starting_balance != b.invoice.ending_balance]
        entries = [
            BalanceEntry(
                id=b.id.replace("in_", "bal_", 1),
                customer_id=b.contract.customer_id,
                currency=b.invoice.currency,
                amount=b.invoice.ending_balance - b.invoice.starting_balance,
                ending_balance=b.invoice.ending_balance,
                invoice_id=b.id,
            )
            for b in moved
        ]
        store.insert_balance_entries(unit, entries, self.moment.text)
        people = sorted({b.contract.customer_id for b in moved})
        changed = [replace(self.customers[c], balances=self.states[c].balances) for c in people]
        store.update_balances(unit, changed, self.moment.text)


def with_invoice(changes: Sequence[BookedChange], lines: Sequence[Line], invoice_id: str) -> tuple[BookedChange, ...]:
    """Return the changes of a contract, those whose effect stands on the invoice with its id."""
    shown = {line.change_id for line in lines if line.change_id and is_effect(line, ())}
    return tuple(replace(c, invoice_id=invoice_id) if c.change.id in shown else c for c in changes)


@lru_cache(maxsize=4096)
def utc_text(local: datetime, timezone: str) -> str:
    """Return a local instant as the books write instants; many contracts fall due at once."""
    return store.at_text(to_utc(local, timezone))


def _parts(invoice_id: str, members: Sequence[Billed]) -> list[Part]:
    return parts_for(invoice_id, [(m.contract, m.deal, m.invoice) for m in members if m.invoice is not None])


def token_for(invoice_id: str) -> str:
    """Return the text of an invoice's link: its time-ordered id, by which it is found, and 128 random bits."""
    return invoice_id.removeprefix("in_") + secrets.token_hex(16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """How invoices are numbered: *numbering* with the fields prefix, year and seq (decision D-15)."""

    numbering: str
    prefix: str

    def numbers(self, unit: Unit, years: Sequence[int]) -> list[str]:
        """Take one number for each invoice, finalized in these years; a rollback gives them back, so there is no gap."""
        is_yearly = "{year" in self.numbering
        names = [f"{self.prefix}/{year}" if is_yearly else self.prefix for year in years]
        following: dict[str, int] = {}
        for name in dict.fromkeys(names):
            following[name] = store.take_numbers(unit, name, names.count(name))
        taken = []
        for name, year in zip(names, years, strict=True):
            taken.append(self.numbering.format(prefix=self.prefix, year=year, seq=following[name]))
            following[name] += 1
        return taken


def today_in(timezone: str, at: datetime) -> date:
    """Return the civil day of an instant."""
    return to_local(at, timezone).date()


def retry_at(moment: Moment) -> str:
    """Return when a contract that could not be billed is tried again, so that it never blocks the line."""
    return store.at_text(moment.at + timedelta(hours=1))
