"""The internal billing engine behind the `Billing` port: core's mathematics over the books.

Owns: which contracts are touched and due, in which order, and that each command leaves either its whole effect or none.
Does not own: any arithmetic (core), any statement (store), when a run happens (the caller). Everything is written in the
caller's transaction, so that decision and books commit together (decision D-17).

An invoice that is to be charged automatically stays open, due at once, until its customer's payment method is charged: begun in
one transaction, asked for outside, settled in another (`collecting`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from connector.billing import (
    collecting,
    consolidating,
    contracting,
    customers,
    discounting,
    dunning,
    imports,
    metering,
    methods,
    migrating,
    notes,
    offering,
    outbox,
    payments,
    portal,
    quotes,
    reissues,
    sending,
    stocking,
    store,
    trials,
)
from connector.billing import commands as carrying
from connector.billing.commands import Copy
from connector.billing.desk import note_views
from connector.billing.dunning import Dunned
from connector.billing.events import parked_events, status_event
from connector.billing.intents import HANDLERS, Request, Work, carried_out
from connector.billing.issue import Billed, Issue, Moment, Series, ahead, retry_at, today_in, window_with, with_invoice
from connector.billing.ladder import Ladder
from connector.billing.locking import due_and_held
from connector.billing.outbox import Mailing
from connector.billing.parts import invoices_of_no_contract, mark_overdue
from connector.billing.proposing import proposed
from connector.billing.standing import standings_of
from connector.billing.store import BookedChange, BookedContract, BookedInvoice, Customer, Unreadable
from connector.billing.taken import taken_of
from connector.billing.taxing import MARK, Untaxed, refusal, state_of
from connector.billing.usage import with_usage
from connector.charging import Charge, ChargeResult, Payments
from connector.core.invoicing import Line
from connector.core.settlement import Invoice
from connector.core.terms import Change, Contract
from connector.errors import ConnectorError, Problem, RejectedError, Where
from connector.ports import (
    BilledRun,
    Command,
    IntentResult,
    InvoiceView,
    Outcome,
    Preview,
    PreviewInvoice,
    PreviewLine,
    Proposal,
    Standing,
    TaxSource,
    Unit,
)

PREVIEW_INVOICES = 12
OVERDUE_INVOICES = 10_000  # invoices that one call reports as fallen overdue; the rest comes with the next run
MAX_LINES = 10_000  # lines that one contract may get in one run (billing.md section 4)


for _room in (
    collecting, portal, notes, imports, migrating, offering, reissues, contracting, customers, discounting, stocking, metering, methods, sending,
    payments,
):  # fmt: skip
    HANDLERS.update(_room.HANDLED)


class InternalBilling:
    """The internal engine for one CRM org; safe to share between threads, it keeps nothing between calls."""

    transactional = True

    def __init__(  # noqa: PLR0913 - one parameter a setting
        self,
        *,
        org: str,
        timezone: str,
        numbering: str = "{prefix}-{seq:04d}",
        prefix: str = "INV",
        max_lines: int = MAX_LINES,
        tax: TaxSource | None = None,
        quote_expiry_s: int = 30 * 86_400,
        mailing: Mailing = outbox.OFF,
        ladder: Ladder | None = None,
        payments: Mapping[str, Payments] | None = None,
    ) -> None:
        self.org = org
        self.timezone = timezone
        self.series = Series(numbering=numbering, prefix=prefix)
        self._max_lines = max_lines
        self.tax: TaxSource = tax or Untaxed()
        self.quote_expiry_s = quote_expiry_s
        self.mailing = mailing
        self.ladder = ladder or Ladder()
        self.payments: Mapping[str, Payments] = payments or {}

    # ---------------------------------------------------------------- commands

    def apply(self, commands: Sequence[Command], unit: Unit, now: datetime, *, hold: bool) -> list[Outcome]:
        """Carry out the commands in order and bill what became due; one outcome a command, refusals as problems.

        A refused command leaves no trace and holds back only the other commands of its contract that need it. A command whose
        work is already done succeeds without a trace.
        """
        work = self.worked_out(commands, unit, now, hold=hold)
        work.write(unit)
        return list(work.outcomes)

    def worked_out(self, commands: Sequence[Command], unit: Unit, now: datetime, *, hold: bool) -> Work:
        """Return what `apply` would do, with nothing written yet."""
        copy = carrying.loaded(unit, self.org, commands, now)
        outcomes = self._carried_out(copy, commands, unit)
        issue, refused = self._bill_touched(copy, unit, self.moment(now, hold=hold))
        if refused:
            carrying.drop(copy, refused)
        final = tuple(_final(copy, outcome, refused) for outcome in outcomes)
        return Work(outcomes=final, issue=issue, imported=copy.imported, write=lambda unit: self._save(copy, issue, unit))

    def _carried_out(self, copy: Copy, commands: Sequence[Command], unit: Unit) -> list[Outcome]:
        """Carry out commands on the copy, in order."""
        return [carried(copy, command) for command in commands]

    def moment(self, at: datetime, *, hold: bool) -> Moment:
        """Return how something is billed at an instant."""
        return Moment(at=at, text=store.at_text(at), hold=hold, max_lines=self._max_lines)

    def _bill_touched(self, copy: Copy, unit: Unit, moment: Moment) -> tuple[Issue, dict[str, Problem]]:
        """Bill the contracts that the commands touched; return what was made and who was refused at that, by contract."""
        copy.after.update(self._trials_ended(unit, [copy.after[i] for i in sorted(copy.touched)], moment))
        touched = [copy.after[i] for i in sorted(copy.touched)]
        for contract in touched:
            window = window_with(contract, _changed(copy, contract))
            if window != contract.window_on:
                copy.after[contract.id] = replace(contract, window_on=window)
        windows = {i: copy.after[i].window_on for i in sorted(copy.touched) if copy.after[i].is_invoiced}
        facts = store.facts(unit, windows) if windows else {}
        copy.after |= {c.id: c for c in with_usage(unit, [copy.after[i] for i in copy.touched])}
        people = {c.id: c for c in copy.customers.values()}
        issue = self._issue(unit, touched, moment, people, facts, copy=copy)
        refused: dict[str, Problem] = {}
        for contract_id in sorted(copy.touched):
            try:
                _require_known_tax(issue, copy, contract_id)
                known = facts[contract_id] if contract_id in facts else imports.begun(issue, copy, contract_id)
                made = issue.bill(copy.after[contract_id], known)
            except RejectedError as error:
                refused[contract_id] = error.problem
            else:
                copy.after[contract_id] = made.after
        return issue, refused

    def _save(self, copy: Copy, issue: Issue, unit: Unit) -> None:
        moment = issue.moment
        if not copy.touched:
            return
        if self.makes_drafts:
            consolidating.delete_drafts(unit, [i for i in copy.touched if i in copy.before], moment.at)
        carrying.save_customers(copy, unit, moment.text)
        for made, booked in issue.save_invoices(unit, self.series):
            if made.changes and not booked.is_draft:
                standing = copy.after[made.contract.id]
                shown = with_invoice(standing.changes, booked.invoice.lines, booked.id)
                copy.after[standing.id] = replace(standing, changes=shown)
        carrying.save(copy, unit, moment.text)
        quotes.outdate(unit, self.org, copy.before, [copy.after[i] for i in copy.touched], moment.at)
        imports.save_lines(copy, unit)

    # ---------------------------------------------------------------- the billing run

    def bill(self, unit: Unit, as_of: datetime, *, limit: int, hold: bool) -> BilledRun:
        """Bill up to *limit* contracts that are due at *as_of*; nothing due = a run of zero contracts.

        All due contracts of a customer come together, so that a run may take a few more than *limit*. A contract that cannot
        be billed is left out with a problem and tried again an hour later; the others go on. What fell overdue since the last
        run is reported among the deals.
        """
        moment = self.moment(as_of, hold=hold)
        with_drafts = self.makes_drafts and not hold
        ids = due_and_held(unit, moment.text, limit, with_drafts=with_drafts)
        ids = consolidating.with_shared_drafts(unit, ids, limit, with_drafts=with_drafts)
        late: list[str] = []
        if len(ids) < limit:
            late = mark_overdue(unit, today_in(self.timezone, as_of), OVERDUE_INVOICES, as_of)
        if not ids:
            return BilledRun(deals=tuple(store.deals_of_contracts(unit, late)))
        return self._bill_these(unit, ids, moment, late, with_drafts=with_drafts)

    def _bill_these(self, unit: Unit, ids: Sequence[str], moment: Moment, late: Sequence[str], *, with_drafts: bool) -> BilledRun:
        """Bill contracts by their ids; *late*: contracts whose deals are to be told besides."""
        as_of = moment.at
        unreadable: list[Unreadable] = []
        contracts = store.contracts(unit, ids, unreadable)
        people = store.customers(unit, ids=[c.customer_id for c in contracts])
        contracts = consolidating.with_others(unit, contracts, people, moment.text, unreadable, with_drafts=with_drafts)
        lost = self._trials_ended(unit, contracts, moment)
        contracts = with_usage(unit, [lost.get(c.id, c) for c in contracts])
        drafts = consolidating.delete_drafts(unit, [*ids, *(c.id for c in contracts)], as_of) if self.makes_drafts else 0
        windows = {c.id: c.window_on for c in contracts if c.is_invoiced}
        facts = store.facts(unit, windows) if windows else {}
        issue = self._issue(unit, contracts, moment, {c.id: c for c in people}, facts)
        problems = [_unread(issue, u) for u in unreadable]
        problems += [p for c in contracts if (p := _run_one(issue, c, facts.get(c.id, ()))) is not None]
        pairs = issue.save_invoices(unit, self.series)
        booked = {b.id: b for _, b in pairs}.values()
        trials.save(unit, self.org, [lost[m.contract.id] for m in issue.done if m.contract.id in lost], moment)
        self._save_run(issue, pairs, unit)
        moved = [m.contract.id for m in issue.done if m.has_moved or drafts]
        moved += [contract_id for contract_id, problem in issue.problems if problem.code.startswith(MARK)]
        return BilledRun(
            contracts=max(len(ids), len(contracts)),
            invoices=sum(1 for b in booked if not b.is_draft),
            drafts=sum(1 for b in booked if b.is_draft),
            lines=sum(len(b.invoice.lines) for b in booked),
            deals=tuple(_deals(unit, issue, [*moved, *late])),
            problems=tuple(problems),
        )

    # ---------------------------------------------------------------- what another way to issue does in its own way

    makes_drafts = True  # drafts in the books are ours, and are made anew

    def _issue(
        self, unit: Unit, contracts: Sequence[BookedContract], moment: Moment, people: Mapping[str, Customer],
        facts: Mapping[str, Sequence[Line]], copy: Copy | None = None,
    ) -> Issue:  # fmt: skip
        """Return what gathers what is made of a chunk of contracts; *copy*: commands touched them, None: a billing run."""
        return Issue(
            moment=moment, customers=people, credited=credited(unit, facts), source=self.tax, mailing=self.mailing, is_run=copy is None,
            actors=copy.actors() if copy is not None else {},
        )  # fmt: skip

    def _trials_ended(self, unit: Unit, contracts: Sequence[BookedContract], moment: Moment) -> Mapping[str, BookedContract]:
        """Return the contracts whose trial ended without a payment method, as they are after it."""
        return trials.ended(unit, contracts, moment)

    def _save_run(self, issue: Issue, pairs: Sequence[tuple[Billed, BookedInvoice]], unit: Unit) -> None:
        moment = issue.moment
        shown = {
            made.contract.id: with_invoice(made.changes, booked.invoice.lines, booked.id)
            for made, booked in pairs
            if made.changes and not booked.is_draft
        }
        at = moment.text
        rows = [
            (m.status, m.is_invoiced, m.billed_until, m.window_on, m.next_due_at, at, m.contract.id) for m in issue.done
        ]
        changes: list[tuple[str, BookedChange]] = []
        for made in issue.done:
            after = shown.get(made.contract.id, made.changes)
            changes += [(made.contract.id, c) for c, old in zip(after, made.contract.changes, strict=True) if c != old]
        store.advance_contracts(unit, rows)
        store.update_changes(unit, changes)
        have_one = {booked.contract.id for _, booked in pairs}  # a shared invoice is nobody's, and tells nothing of its contracts
        told = [
            status_event(m.contract, m.status, moment.at)
            for m in issue.done
            if m.status != m.contract.status and m.contract.id not in have_one
        ]
        told += parked_events(unit, issue.problems, moment.at)
        store.insert_events(unit, told, at)
        again = retry_at(moment)
        store.park_contracts(unit, [(p.text(), again, moment.text, i) for i, p in issue.problems])

    # ---------------------------------------------------------------- what is due to be paid

    def begin_charges(self, unit: Unit, now: datetime, *, limit: int) -> int:
        """Write a pending try for up to *limit* invoices that are to be charged; return how many were looked at."""
        return collecting.begin(unit, now, self.payments, limit) if self.payments else 0

    def pending_charges(self, unit: Unit, *, limit: int, after: str) -> list[Charge]:
        """Return tries whose outcome is not known, in order of their keys from *after* on."""
        return collecting.pending(unit, limit, after) if self.payments else []

    def settle_charge(self, unit: Unit, charge: Charge, result: ChargeResult, now: datetime) -> Sequence[str]:
        """Write the outcome of a try once; return the deals to tell."""
        return collecting.settle(unit, charge, result, now, self)

    def dun(self, unit: Unit, now: datetime, *, limit: int, hold: bool) -> Dunned:
        """Take the next step for up to *limit* open invoices; fewer means that there are no more."""
        return dunning.run(unit, now, self, limit=limit, hold=hold)

    # ---------------------------------------------------------------- what the CRM is told

    def standings(self, deals: Sequence[str], unit: Unit, now: datetime) -> Mapping[str, Standing]:
        """Return how the deals stand, from the books; a deal that has no contract is missing."""
        return standings_of(unit, deals, now, self, is_elsewhere=not self.transactional, given_up=self.given_up)

    def changed_invoices(self, deals: Sequence[str], unit: Unit) -> list[InvoiceView]:
        """Return the finalized invoices of the deals' contracts, oldest first, and those of their customers that have no single one."""
        ids = sorted(set(store.contracts_of_deals(unit, self.org, deals).values()))
        found = sorted([*store.finalized_invoices(unit, ids), *invoices_of_no_contract(unit, ids)], key=lambda view: view.id)
        return found + note_views(unit, found)

    def contract(self, contract_id: str, unit: Unit) -> Contract | None:
        """Return a contract with its terms and changes."""
        found = store.contracts(unit, [contract_id])
        return found[0].contract if found else None

    def party(self, contract_id: str, unit: Unit) -> tuple[str, str, str] | None:
        """Return (CRM account, name of the customer, currency) of a contract."""
        sql = "SELECT c.account, c.name, t.currency FROM contract t JOIN customer c ON c.id = t.customer_id WHERE t.id = ?"
        rows = unit.query(sql, (contract_id,))
        return (rows[0][0], rows[0][1], rows[0][2]) if rows else None

    def carry_out(
        self, kind: str, data: Mapping[str, Any], unit: Unit, now: datetime, *, key: str, actor: str
    ) -> IntentResult:
        """Carry out a person's request; see `connector.billing.intents` for what each kind does."""
        return carried_out(Request(kind=kind, data=data, key=key, actor=actor, now=now), self, unit)

    def preview(self, command: Command, unit: Unit, now: datetime, *, otherwise: Mapping[str, Line] | None = None) -> Preview:
        """Return what the command would cause, by the same functions as `apply`; writes nothing.

        otherwise - lines that will come to another amount than the engine counts, by key.
        """
        copy = carrying.loaded(unit, self.org, [command], now)
        outcome = carried(copy, command)
        if outcome.problem is not None or outcome.contract_id is None:
            return Preview(problem=outcome.problem)
        contract = copy.after[outcome.contract_id]
        window = window_with(contract, _changed(copy, contract))
        (contract,) = with_usage(unit, [replace(contract, window_on=window)])
        facts = store.facts(unit, {contract.id: window}).get(contract.id, []) if contract.is_invoiced else []
        given_up = self.given_up(unit, [contract.id]).get(contract.id, ())
        taken = {**credited(unit, {contract.id: facts}), **{line.key: line.net for line in given_up if line.net > 0}}
        customer = copy.customer_by_id(contract.customer_id)
        tax = self.tax.tax_of(customer.details)
        try:
            if contract.id not in copy.before and tax.problem is not None:
                raise refusal(contract, tax.problem)
            who = (state_of(customer, tax), tax)
            coming = ahead(contract, [*facts, *given_up], who, self.moment(now, hold=False), taken)
            made = list(islice(coming, PREVIEW_INVOICES + 1))
        except RejectedError as error:
            return Preview(problem=error.problem)
        change = next((c for c in contract.changes if c.change.id == command.deal), None)
        return Preview(
            invoices=tuple(_previewed(i, contract.terms.timezone, otherwise or {}) for i in made[:PREVIEW_INVOICES]),
            has_more=len(made) > PREVIEW_INVOICES,
            value=change.value if change else contract.value,
            currency=contract.terms.currency,
            is_consolidated=customer.is_consolidated,
        )

    def given_up(self, unit: Unit, contract_ids: Sequence[str]) -> Mapping[str, Sequence[Line]]:
        """Return by contract the lines that are never billed though they are on no invoice: here there are none."""
        del unit, contract_ids
        return {}

    def proposal(self, command: Command, change_id: str, unit: Unit, now: datetime) -> Proposal:
        """Return the amendment *change_id* by which a billed contract becomes what *command* says, and what it costs."""
        return proposed(self, command, change_id, unit, now)



def credited(unit: Unit, facts: Mapping[str, Sequence[Line]]) -> Mapping[str, int]:
    """Return what credit notes took of the facts, by their keys."""
    return taken_of(unit, [line.key for found in facts.values() for line in found]) if facts else {}


def _require_known_tax(issue: Issue, copy: Copy, contract_id: str) -> None:
    """Refuse a new contract whose customer cannot be taxed at once, not on the day of its first invoice."""
    contract = copy.after[contract_id]
    problem = issue.tax_of(contract.customer_id).problem
    if contract_id not in copy.before and problem is not None:
        raise refusal(contract, problem)


def carried(copy: Copy, command: Command) -> Outcome:
    """Carry out one command on the copy and return what became of it."""
    try:
        contract_id = carrying.carry_out(copy, command)
    except RejectedError as error:
        return Outcome(key=command.key, problem=error.problem)
    return Outcome(key=command.key, contract_id=contract_id)


def _final(copy: Copy, outcome: Outcome, refused: Mapping[str, Problem]) -> Outcome:
    if outcome.contract_id is None:
        return outcome
    problem = refused.get(outcome.contract_id)
    if problem is not None:
        return Outcome(key=outcome.key, problem=problem)
    customer_id = copy.after[outcome.contract_id].customer_id
    return Outcome(key=outcome.key, contract_id=outcome.contract_id, customer_id=customer_id)


def _changed(copy: Copy, contract: BookedContract) -> list[Change]:
    """Return the changes that differ between the contract as it was and as it shall be, on both sides."""
    standing = copy.before.get(contract.id)
    old = {c.seq: c for c in standing.changes} if standing else {}
    new = {c.seq: c for c in contract.changes}
    return [c.change for seq, c in old.items() if seq not in new] + [
        c.change for seq, c in new.items() if seq not in old
    ]


def _run_one(issue: Issue, contract: BookedContract, facts: Sequence[Line]) -> Problem | None:
    """Bill one contract of a run; return the problem that keeps it from being billed, so that the others go on."""
    try:
        issue.bill(contract, facts)
    except RejectedError as error:
        problem = error.problem
    except (ConnectorError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        problem = _own_error(contract.id, contract.deal, contract.label, repr(error))
    else:
        return None
    issue.problems.append((contract.id, problem))
    return problem


def _unread(issue: Issue, found: Unreadable) -> Problem:
    problem = _own_error(found.id, found.deal, found.label, found.reason)
    issue.problems.append((found.id, problem))
    return problem


def _own_error(contract_id: str, deal: str, label: str, reason: str) -> Problem:
    return Problem(
        code="internal-error",
        message=f"Not billed: '{label}' ({contract_id}) met an error of this program: {reason}.",
        hint="Report it; the contract is tried again every hour.",
        where=Where(record=deal),
    )


def _deals(unit: Unit, issue: Issue, contract_ids: Sequence[str]) -> list[str]:
    """Return the deals of contracts; of those in memory without another read."""
    known = {m.contract.id: m.contract for m in issue.done}
    found: list[str] = []
    for contract_id in dict.fromkeys(contract_ids):
        if contract_id in known:
            contract = known[contract_id]
            found += [contract.deal, *(c.change.id for c in contract.changes)]
    return found + store.deals_of_contracts(unit, [i for i in contract_ids if i not in known])


def _previewed(made: tuple[datetime, Invoice], timezone: str, otherwise: Mapping[str, Line]) -> PreviewInvoice:
    at, invoice = made
    lines = [otherwise.get(line.key, line) for line in invoice.lines]
    return PreviewInvoice(
        on=today_in(timezone, at),
        due_on=invoice.due_on,
        lines=tuple(
            PreviewLine(
                description=line.description,
                quantity=line.quantity,
                start=line.start.date(),
                end=(line.end - timedelta(microseconds=1)).date() if line.end > line.start else line.start.date(),
                amount=line.amount,
                discount=sum(amount for _, amount in line.discounts),
                tax=sum(tax[1] for tax in line.taxes),
                is_proration=line.is_proration,
            )
            for line in lines
        ),
        total=invoice.total + sum(line.gross for line in lines) - sum(line.gross for line in invoice.lines),
    )
