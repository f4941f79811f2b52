"""How deals stand in the books, and what comes next: read for the CRM record, with one statement a table for all of them.

A contract lives through many deals. The New deal and every Renew deal own one term each, with the invoices in it; when the
next term begins they are completed. Amend, Cancel, Pause and Resume deals own no invoice: they show what they changed
(deals.md section 5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime

from connector.billing import portal, store, trials
from connector.billing.commands import last_day
from connector.billing.dunning import chased
from connector.billing.intents import Engine
from connector.billing.issue import piece_of
from connector.billing.parts import both, drafts, standing_parts
from connector.billing.store import BookedChange, BookedContract, Customer, Sums
from connector.billing.taken import taken_of
from connector.billing.taxing import state_of
from connector.billing.usage import with_usage
from connector.charging import Chased
from connector.core.closing import Difference, named, said_of
from connector.core.edit_ids import is_edit_of
from connector.core.invoicing import Line, Slice, contract_status, next_due_on, proposed_on
from connector.core.period import to_local
from connector.core.quoting import annual_value
from connector.core.schedule import changes_in_order, timeline
from connector.core.segments import Segment, Surprise, Term, Timeline
from connector.errors import Problem
from connector.ports import AccountTax, InvoiceView, Standing, Unit

LOOKS_AHEAD = 400  # due instants without a line that are skipped in search of the next invoice
_OVER = ("withdrawn", "completed", "canceled")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outlook:
    """What all deals of a contract share."""

    contract: BookedContract
    status: str
    local: datetime
    terms: tuple[Term, ...]
    next_on: date | None
    next_amount: int | None
    opened: Sequence[InvoiceView]
    problem: Problem | None = None
    paused_by: str | None = None
    surprises: tuple[Surprise, ...] = ()
    stopped: tuple[Segment, ...] = ()  # by cancellations of single lines
    chased: Mapping[str, Chased] = field(default_factory=dict)

    def is_late(self, invoice: InvoiceView) -> bool:
        """Whether an open invoice was due before today, or a charge of it failed."""
        about = self.chased.get(invoice.id)
        return is_overdue(invoice, self.local.date()) or (about is not None and about.failed_on is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shelf:
    """What was read for all contracts at once."""

    facts: Mapping[str, Sequence[Line]]
    credited: Mapping[str, int]
    customers: Mapping[str, Customer]
    drafts: Mapping[str, tuple[date, int]]
    opened: Mapping[str, Sequence[InvoiceView]]
    sums: Mapping[str, Sums]
    last: Mapping[str, InvoiceView]
    named: Mapping[str, InvoiceView]
    chased: Mapping[str, Chased]


def standings_of(
    unit: Unit, deals: Sequence[str], now: datetime, engine: Engine, *,
    is_elsewhere: bool, given_up: Callable[[Unit, Sequence[str]], Mapping[str, Sequence[Line]]],
) -> dict[str, Standing]:  # fmt: skip
    """Return how the deals stand at *now* (aware); a deal without a contract is missing.

    is_elsewhere - others make the invoices: what is due and no fact yet is their next invoice, though the books are past it. given_up - gives by contract the lines that are
    never billed though they are on no invoice.
    """
    by_deal = store.contracts_of_deals(unit, engine.org, deals)
    contracts = with_usage(unit, store.contracts(unit, sorted(set(by_deal.values()))))
    shelf = _shelf(unit, contracts, given_up(unit, [c.id for c in contracts]))
    opened = [i for found in shelf.opened.values() for i in found]
    if opened:
        shelf = replace(shelf, chased=chased(unit, opened, engine.ladder, engine.mailing, engine.timezone, now))
    taxes = {c.id: engine.tax.tax_of(c.details) for c in shelf.customers.values()}
    outlooks = {c.id: _outlook(c, shelf, now, taxes[c.customer_id], is_elsewhere=is_elsewhere) for c in contracts}
    links = portal.links(unit, list(shelf.customers))
    found: dict[str, Standing] = {}
    for deal in deals:
        if deal in by_deal:
            outlook = outlooks[by_deal[deal]]
            change = next((c for c in outlook.contract.changes if c.change.id == deal), None)
            is_change = change is not None and change.change.kind != "renew"
            made = _of_change(outlook, change, shelf) if change and is_change else _of_term(outlook, deal, change, shelf)
            found[deal] = replace(made, portal_token=links.get(outlook.contract.customer_id, ""))
    return found


def _shelf(unit: Unit, contracts: Sequence[BookedContract], given_up: Mapping[str, Sequence[Line]]) -> _Shelf:
    ids = [c.id for c in contracts]
    windows = {c.id: c.window_on for c in contracts if c.is_invoiced and c.next_due_at}
    named = [c.invoice_id for k in contracts for c in k.changes if c.invoice_id]
    shared = standing_parts(unit, ids)
    opened = store.open_invoices(unit, ids)
    for contract_id, views in shared.opened.items():
        opened[contract_id] = sorted([*opened.get(contract_id, ()), *views], key=lambda view: (view.due_on or view.issued_on, view.id))
    sums, last = store.sums(unit, ids), store.last_invoices(unit, ids)
    last |= {deal: view for deal, view in shared.last.items() if deal not in last or _is_newer(view, last[deal])}
    facts = store.facts(unit, windows) if windows else {}
    credited = taken_of(unit, [line.key for found in facts.values() for line in found]) if facts else {}
    return _Shelf(
        facts={**facts, **{contract_id: [*facts.get(contract_id, ()), *lines] for contract_id, lines in given_up.items()}},
        credited={**credited, **{line.key: line.net for lines in given_up.values() for line in lines if line.net > 0}},
        customers={c.id: c for c in store.customers(unit, ids=[c.customer_id for c in contracts])},
        drafts={**drafts(unit, ids), **shared.drafts},
        opened=opened,
        sums={**sums, **{deal: both(sums.get(deal, Sums()), more) for deal, more in shared.sums.items()}},
        last=last,
        named=store.invoices_by_id(unit, named),
        chased={},
    )


def _is_newer(view: InvoiceView, than: InvoiceView) -> bool:
    """Whether an invoice is the later of two; a draft is it only where nothing was issued."""
    return (view.status != "draft", view.id) > (than.status != "draft", than.id)


def _outlook(contract: BookedContract, shelf: _Shelf, now: datetime, tax: AccountTax, *, is_elsewhere: bool) -> _Outlook:
    local = to_local(now, contract.terms.timezone)
    opened = shelf.opened.get(contract.id, ())
    if contract.status == "withdrawn":
        return _Outlook(
            contract=contract, status="withdrawn", local=local, terms=(), next_on=None, next_amount=None, opened=()
        )
    piece = piece_of(contract, shelf.facts.get(contract.id, ()), state_of(shelf.customers[contract.customer_id], tax), shelf.credited)
    plan = timeline(piece.contract, horizon=local)
    draft = shelf.drafts.get(contract.id)
    ahead = draft
    if draft is None and (contract.next_due_at or is_elsewhere):
        is_due = contract.next_due_at is not None and contract.next_due_at <= store.at_text(now)
        waits = is_elsewhere or (shelf.customers[contract.customer_id].is_consolidated and is_due)
        ahead = waiting_invoice(plan, piece, local) if waits else None
        ahead = ahead or next_invoice(plan, piece, local)
    outlook = _Outlook(
        contract=contract,
        status="",
        local=local,
        terms=tuple(plan.terms),
        next_on=ahead[0] if ahead else None,
        next_amount=ahead[1] if ahead and (draft is not None or tax.problem is None) else None,
        opened=opened,
        problem=tax.problem if ahead else None,
        paused_by=_paused_by(contract, local),
        surprises=tuple(plan.surprises),
        stopped=_stopped(contract, plan),
        chased=shelf.chased,
    )
    status = contract_status(plan.contract, local, has_overdue=any(map(outlook.is_late, opened)))
    return replace(outlook, status=_worst(outlook, status, opened))


def _stopped(contract: BookedContract, plan: Timeline) -> tuple[Segment, ...]:
    """Return what cancellations of single lines end."""
    ids = {c.change.id for c in contract.changes if c.change.kind == "cancel" and c.change.item_ids}
    return tuple([s for s in plan.segments if s.ended_by is not None and s.ended_by.id in ids]) if ids else ()


def _worst(outlook: _Outlook, status: str, opened: Sequence[InvoiceView]) -> str:
    """Return the status of a contract, unpaid where it is past due and all steps for an invoice were taken in vain."""
    if status != "past_due":
        return status
    return "unpaid" if any((about := outlook.chased.get(i.id)) is not None and about.is_unpaid for i in opened) else status


def _paused_by(contract: BookedContract, local: datetime) -> str | None:
    """Return the id of the change that paused the contract, None while it is not paused by one."""
    if not contract.changes:
        return None
    found = None
    for change in changes_in_order(contract.contract):
        if change.kind in ("pause", "resume") and to_local(change.effective, contract.terms.timezone) <= local:
            found = change.id if change.kind == "pause" else None
    return found


def _edits(contract: BookedContract, deal: str) -> list[BookedChange]:
    """Return the amendments that edits of a deal's record led to: they count as that deal's own (decision D-115)."""
    return [c for c in contract.changes if is_edit_of(c.change.id, deal)] if contract.changes else []


def is_overdue(invoice: InvoiceView, today: date) -> bool:
    """Whether an open invoice was due before *today*."""
    return invoice.due_on is not None and invoice.due_on < today


def waiting_invoice(plan: Timeline, piece: Slice, local: datetime) -> tuple[date, int] | None:
    """Return the day and total of what is due already and waits for the billing run, None: nothing does."""
    lines = proposed_on(plan, piece, local)
    return (local.date(), sum(line.gross for line in lines)) if lines else None


def next_invoice(plan: Timeline, piece: Slice, local: datetime) -> tuple[date, int] | None:
    """Return the day and total of the invoice that the engine makes next after a local instant, None: there is none."""
    at = local
    for _ in range(LOOKS_AHEAD):
        due = next_due_on(plan, piece, at)
        if due is None:
            return None
        if plan.term_end is not None and due >= plan.term_end:
            plan = timeline(piece.contract, horizon=due)
        lines = proposed_on(plan, piece, due)
        if lines:
            return due.date(), sum(line.gross for line in lines)
        at = due
    return None


def _of_term(outlook: _Outlook, deal: str, renewal: BookedChange | None, shelf: _Shelf) -> Standing:
    """A New or Renew deal: its term, its invoices, and who renewed it."""
    contract = outlook.contract
    own, following = _term_of(outlook.terms, deal if renewal else "")
    mine = [i for i in outlook.opened if i.deal == deal]
    status, renewed_by = outlook.status, None
    if status in ("past_due", "unpaid"):  # an invoice of another term may be late; that deal says so
        status = _worst(outlook, "past_due", mine) if any(map(outlook.is_late, mine)) else "active"
    if following is not None and following.start <= outlook.local:
        status, renewed_by = "completed", _label(contract, following.change_id)
    elif own is not None and own.start > outlook.local and status not in _OVER:
        status = "scheduled"
    last = shelf.last.get(deal)
    if status == "active" and last is not None and last.status == "draft":
        status = "draft"  # nothing was issued yet: the first invoice waits
    is_running = renewed_by is None and status != "withdrawn"
    sums = shelf.sums.get(deal, Sums())
    edits = _edits(contract, deal)
    value = (renewal.value if renewal else contract.value) + sum(c.value for c in edits)
    annual = renewal.annual_value if renewal else contract.annual_value
    if edits and renewal is None:
        annual = annual_value(contract.contract, edits=tuple(c.change for c in edits))
    return Standing(
        deal=deal,
        contract_id=contract.id,
        customer_id=contract.customer_id,
        currency=contract.terms.currency,
        contract_status=status,
        starts_on=own.start.date() if own else contract.starts_on,
        ends_on=last_day(own.end) if own else contract.ends_on,
        is_invoiced=renewal.is_invoiced if renewal else contract.is_invoiced,
        value=value,
        annual_value=annual,
        next_on=outlook.next_on if is_running else None,
        next_amount=outlook.next_amount if is_running else None,
        billed=sums.billed,
        paid=sums.paid,
        due=sums.due,
        effective_on=own.start.date() if own and renewal else None,
        trial_ends_on=contract.trial_ends_on,
        last=last,
        oldest_open=mine[0] if mine else None,
        renewed_by=renewed_by,
        problem=outlook.problem if is_running else None,
        paused_by=outlook.paused_by,
        chased=outlook.chased.get(mine[0].id) if mine else None,
        is_trial_lost=any(c.change.id == trials.PREFIX + contract.id for c in contract.changes),
    )


def _of_change(outlook: _Outlook, change: BookedChange, shelf: _Shelf) -> Standing:
    """An Amend, Cancel, Pause or Resume deal: what it changed, from when, charged and credited how much."""
    contract = outlook.contract
    own = [change, *_edits(contract, change.change.id)]
    invoice_id = next((c.invoice_id for c in reversed(own) if c.invoice_id), None)
    what, effective_on = said_of(change.change, contract.terms.currency), to_local(change.change.effective, contract.terms.timezone).date()
    stopped = [s for s in outlook.stopped if s.ended_by is not None and s.ended_by.id == change.change.id and s.end is not None]
    if stopped:  # lines are told by their names and by the day from which they do not run, which is not that of the deal
        what = tuple(Difference(what="removed", item=named(s.item)) for s in stopped)
        effective_on = min(s.end.date() for s in stopped if s.end is not None)
    return Standing(
        deal=change.change.id,
        contract_id=contract.id,
        customer_id=contract.customer_id,
        currency=contract.terms.currency,
        contract_status=outlook.status,
        starts_on=contract.starts_on,
        ends_on=contract.ends_on,
        is_change=True,
        what=what,
        surprises=tuple(s for s in outlook.surprises if s.change_id == change.change.id),
        is_invoiced=change.is_invoiced,
        value=sum(c.value for c in own),
        next_on=outlook.next_on,
        next_amount=outlook.next_amount,
        charged=sum(c.charged + c.pending_charged for c in own),
        credited=sum(c.credited + c.pending_credited for c in own),
        effective_on=effective_on,
        last=shelf.named.get(invoice_id) if invoice_id else None,
        oldest_open=outlook.opened[0] if outlook.opened else None,
        chased=outlook.chased.get(outlook.opened[0].id) if outlook.opened else None,
        problem=outlook.problem,
        paused_by=outlook.paused_by,
    )


def _term_of(terms: Sequence[Term], change_id: str) -> tuple[Term | None, Term | None]:
    """Return the term that a deal owns, stretched over its automatic renewals, and the next deal's term."""
    own: Term | None = None
    for term in terms:
        if own is None:
            own = term if term.change_id == change_id and not term.is_automatic else None
        elif term.is_automatic:
            own = Term(start=own.start, end=term.end, change_id=own.change_id)
        else:
            return own, term
    return own, None


def _label(contract: BookedContract, deal: str) -> str:
    return next((c.label for c in contract.changes if c.change.id == deal), deal) or deal
