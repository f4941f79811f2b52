"""Billing on Stripe behind the `Billing` port: the internal engine's books and validation, with another way to issue (decision D-194).

What is agreed is kept exactly as on the internal engine. What is billed is not: where that writes an invoice, this compiles what
Stripe has to hold and writes a *push* into the same transaction; the push pass carries it out afterwards. A contract whose push is on
its way takes nothing new (`Outcome.is_waiting`), so that every plan starts from what Stripe really holds.

Worked example: a deal over 30.00 a month from 1 April is won on 1 April. `apply` writes customer, contract and a push of four steps
(customer, product, price, schedule); the push pass sends them, reads the first invoice back and mirrors it; the CRM shows "Active" with
Stripe's number and page. Had Stripe been away, the CRM would show "Queued" meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from connector.billing import store
from connector.billing.commands import Copy
from connector.billing.events import parked_events
from connector.billing.intents import Request
from connector.billing.internal import OVERDUE_INVOICES, InternalBilling, carried, credited
from connector.billing.issue import Billed, Issue, Moment, Series, piece_of, today_in
from connector.billing.locking import hold_contracts
from connector.billing.parts import mark_overdue
from connector.billing.store import BookedContract, BookedInvoice, Customer
from connector.billing.stripe_backend import fetching, known_people, lost, pushes, pushing, stood
from connector.billing.stripe_backend.advancing import advanced
from connector.billing.stripe_backend.asking import doors
from connector.billing.stripe_backend.compiling import owning, telling
from connector.billing.stripe_backend.compiling.people import Told
from connector.billing.stripe_backend.compiling.plan import planned
from connector.billing.stripe_backend.compiling.wanted import Stands, Wanted
from connector.billing.stripe_backend.currencies import Currencies, running_currencies
from connector.billing.stripe_backend.keeping import Settled, Transactions
from connector.billing.stripe_backend.reading import links, notices, sweeping, waiting
from connector.billing.stripe_backend.reading.mirror import mirrored
from connector.billing.stripe_backend.reading.pulling import Reading
from connector.billing.stripe_backend.settling import is_whole, taken_items
from connector.billing.stripe_backend.steps import Calls, Held, Plan, Push
from connector.billing.taxing import refusal, state_of
from connector.billing.usage import with_usage
from connector.core.lines import Line
from connector.core.settlement import CustomerState
from connector.errors import Problem, RejectedError
from connector.ports import (
    BilledRun,
    Command,
    Compared,
    CustomerDetails,
    IntentResult,
    InvoiceView,
    Outcome,
    Preview,
    Pushed,
    Standing,
    Unit,
)

_LOST_WAIT = timedelta(days=1)  # until the run looks again at a contract that somebody ended at Stripe
BUSY_WAIT = timedelta(minutes=10)  # until the run looks again at a contract whose push is on its way
REPLANNED = 100  # contracts of refused pushes that one pass plans anew


class StripeBilling(InternalBilling):
    """Billing on Stripe for one CRM org; *calls* is used by the passes alone. *automatic_tax*: Stripe knows the tax, not we.

    countries - a country's code by code or name, None for one that nobody knows.
    """

    transactional = False
    makes_drafts = False  # drafts in the books are Stripe's

    def __init__(
        self, *, calls: Calls, automatic_tax: bool = False, parallel: int = 1,
        countries: Callable[[str], str | None] = lambda _name: None, **books: Any,
    ) -> None:  # fmt: skip
        super().__init__(**books)
        self.calls = calls
        self.automatic_tax = automatic_tax
        self.countries = countries
        self.parallel = parallel

    @property
    def remote(self) -> StripeBilling:
        """Return what the passes send to and read back from: this."""
        return self

    # ---------------------------------------------------------------- how commands are carried out

    def _carried_out(self, copy: Copy, commands: Sequence[Command], unit: Unit) -> list[Outcome]:
        held_up = pushes.busy(unit, copy.before)
        late = self._unread(copy, unit, copy.before.keys() - held_up.keys())
        held_up |= {contract_id: copy.before[contract_id].deal for contract_id in late}
        held = {i: h for i, h in pushes.held_of(unit, copy.before).items() if lost.is_lost(h)}
        return [_carried_or_waits(copy, command, held_up, held) for command in commands]

    def _unread(self, copy: Copy, unit: Unit, contract_ids: Iterable[str]) -> list[str]:
        """Return the contracts of which Stripe may have invoiced something that was not read back yet: no change may be counted against it."""
        held = pushes.held_of(unit, sorted(contract_ids))
        contracts = [copy.before[i] for i in sorted(held)]
        return self._unread_of(unit, contracts, {c.id: c for c in copy.customers.values()}, copy.now) if contracts else []

    def _unread_of(self, unit: Unit, contracts: Sequence[BookedContract], people: Mapping[str, Customer], now: datetime) -> list[str]:
        windows = {c.id: c.window_on for c in contracts if c.is_invoiced}
        facts = store.facts(unit, windows) if windows else {}
        issue = self._issue(unit, contracts, self.moment(now, hold=False), people, facts)
        stuck = lost.waits(unit, [c.id for c in contracts])
        return [c.id for c in contracts if c.id not in stuck and owning.unread(issue.wanted(c, facts.get(c.id, ())))]

    def _issue(
        self, unit: Unit, contracts: Sequence[BookedContract], moment: Moment, people: Mapping[str, Customer],
        facts: Mapping[str, Sequence[Line]], copy: Copy | None = None,
    ) -> StripeIssue:  # fmt: skip
        ids = [c.id for c in contracts]
        stands = stood.stands_of(unit, facts) if self.automatic_tax else {}
        return StripeIssue(
            moment=moment, customers=people, credited={**credited(unit, facts), **_taken_whole(pushes.waived_of(unit, ids).values())}, source=self.tax, is_run=copy is None,
            actors=copy.actors() if copy is not None else {}, org=self.org, automatic_tax=self.automatic_tax, held=pushes.held_of(unit, ids),
            sent=pushes.sent_of(unit, ids), items=pushes.items_of(unit, ids), standing=pushes.standing(unit, ids), asked=copy.touched if copy is not None else {},
            stands=stands, currencies=running_currencies(unit, contracts), told=known_people.told(unit, {c.customer_id for c in contracts}), located=self.located,
        )  # fmt: skip

    def _trials_ended(self, unit: Unit, contracts: Sequence[BookedContract], moment: Moment) -> Mapping[str, BookedContract]:
        """Return nothing: Stripe knows the payment methods, and ends or pauses such a trial itself."""
        del unit, contracts, moment
        return {}

    def located(self, details: CustomerDetails) -> CustomerDetails:
        """Return who is billed with the country's code, as Stripe takes it; a country that nobody knows stays as it is written."""
        code = self.countries(details.address.country) if details.address.country else None
        return replace(details, address=replace(details.address, country=code)) if code else details

    # ---------------------------------------------------------------- the billing run

    def bill(self, unit: Unit, as_of: datetime, *, limit: int, hold: bool) -> BilledRun:
        """Plan up to *limit* contracts that are due at *as_of*; what Stripe has to be told becomes pushes.

        *hold*: the CRM has been silent for too long, so that nothing new is begun; Stripe goes on billing what it holds.
        """
        if not hold:
            return super().bill(unit, as_of, limit=limit, hold=hold)
        late = mark_overdue(unit, today_in(self.timezone, as_of), OVERDUE_INVOICES, as_of)
        due = store.due_contracts(unit, store.at_text(as_of), 1, with_drafts=False)
        return BilledRun(deals=tuple(store.deals_of_contracts(unit, late)), problems=(_HELD,) if due else ())

    # ---------------------------------------------------------------- what the CRM is told

    def standings(self, deals: Sequence[str], unit: Unit, now: datetime) -> Mapping[str, Standing]:
        """Return how the deals stand; what is on its way to Stripe is queued, what it refused says why, what happened there is told."""
        found = links.standings_with_links(unit, super().standings(deals, unit, now))
        ids = {s.contract_id for s in found.values()}
        told = notices.of_contracts(unit, ids)
        for deal, standing in found.items():
            if standing.contract_id in told and not standing.is_change and standing.renewed_by is None:
                found[deal] = replace(standing, problem=told[standing.contract_id])
        on_way = pushes.standing(unit, ids)
        for deal, standing in found.items():
            push = on_way.get(standing.contract_id)
            if push is None:
                continue
            if push.problem is not None and (deal == push.deal or not standing.is_change):
                found[deal] = replace(standing, problem=push.problem)
            elif push.problem is None and deal == push.deal and not push.is_run:
                found[deal] = replace(standing, is_queued=True)
        return found

    def changed_invoices(self, deals: Sequence[str], unit: Unit) -> list[InvoiceView]:
        """Return the finalized invoices and credit notes of the deals, each with its page at Stripe."""
        return links.with_links(unit, super().changed_invoices(deals, unit))

    def preview(self, command: Command, unit: Unit, now: datetime, *, otherwise: Mapping[str, Line] | None = None) -> Preview:
        """Return what the command would cause, as the engine counts it, and what Stripe does in another way; nothing is sent.

        What is left to Stripe's own proration is shown as it would be at this second.
        """
        shown = super().preview(command, unit, now, otherwise=otherwise)
        if shown.problem is not None:
            return shown
        work = self.worked_out([command], unit, now, hold=False)
        (outcome,) = work.outcomes
        if outcome.problem is not None and not outcome.is_waiting:
            return Preview(problem=outcome.problem)
        plans = work.issue.plans if isinstance(work.issue, StripeIssue) else {}
        made = next(iter(plans.values()), None)
        left = {line.key: line for line in made.plan.lines if owning.is_left(made.plan.held, line.key)} if made is not None else {}
        if left:
            shown = super().preview(command, unit, now, otherwise=left)
        return replace(
            shown, notes=(_APART,) if shown.is_consolidated else (), is_consolidated=False,
            holding=telling.holding(made.wanted, made.plan) if made is not None else None,
        )  # fmt: skip

    def given_up(self, unit: Unit, contract_ids: Sequence[str]) -> Mapping[str, Sequence[Line]]:
        """Return by contract the lines that are never billed though they are on no invoice: somebody deleted them at Stripe."""
        return pushes.waived_of(unit, contract_ids)

    # ---------------------------------------------------------------- what people ask for

    def carry_out(
        self, kind: str, data: Mapping[str, Any], unit: Unit, now: datetime, *, key: str, actor: str
    ) -> IntentResult:
        """Carry out a person's request, or send it; see `asking.kinds` for what each kind does here."""
        return doors.carried_out(Request(kind=kind, data=data, key=key, actor=actor, now=now), self, unit)

    def answer(  # noqa: PLR0913 - what was asked, and by which names its outcome is found
        self, kind: str, data: Mapping[str, Any], unit: Unit, now: datetime, *, key: str, actor: str, sent: Mapping[str, Any]
    ) -> IntentResult | None:
        """Return what a request that was sent led to, None while nobody knows. Raises: RejectedError where Stripe refused it."""
        return doors.answered(Request(kind=kind, data=data, key=key, actor=actor, now=now), sent, self, unit)

    def plan_anew(self, unit: Unit, contract_ids: Sequence[str], now: datetime) -> Sequence[str]:
        """Plan contracts again at once, as a run does: something beside them changed that Stripe must know; return the deals to tell."""
        return self._bill_these(unit, contract_ids, self.moment(now, hold=False), [], with_drafts=False).deals

    # ---------------------------------------------------------------- the passes

    def push(
        self, database: Transactions, now: Callable[[], datetime], *, tell: Callable[[Unit, Sequence[str]], None],
        stop: threading.Event, log: Callable[..., None], progress: Callable[[int], None],
    ) -> Pushed:  # fmt: skip
        """Carry out what was decided at Stripe. Raises: HaltError where Stripe wants another key, mode or account."""
        with database.transaction() as unit:
            again = pushes.due_again(unit, now(), REPLANNED)
            if hold_contracts(unit, again):
                again = pushes.due_again(unit, now(), REPLANNED)  # another worker may have been faster
            again = self._readable(unit, again, now())
            if again:
                run = self._bill_these(unit, again, self.moment(now(), hold=False), [], with_drafts=False)
                tell(unit, run.deals)
        passage = pushing.Passage(
            database=database, calls=self.calls, books=self, now=now, tell=tell, stop=stop, log=log, progress=progress,
            parallel=self.parallel,
        )  # fmt: skip
        return passage.run()

    def pull(
        self, database: Transactions, now: Callable[[], datetime], *, tell: Callable[[Unit, Sequence[str]], None],
        stop: threading.Event, log: Callable[..., None],
    ) -> int:  # fmt: skip
        """Mirror what happened at Stripe; return how many events of ours were taken."""
        reading = Reading(database=database, calls=self.calls, engine=self, now=now, tell=tell, stop=stop, log=log)
        return reading.run()

    def compare(
        self, database: Transactions, now: Callable[[], datetime], *, tell: Callable[[Unit, Sequence[str]], None],
        stop: threading.Event, log: Callable[..., None],
    ) -> Compared:  # fmt: skip
        """Compare Stripe with the books, and read what no event has told."""
        return sweeping.compare(Reading(database=database, calls=self.calls, engine=self, now=now, tell=tell, stop=stop, log=log))

    def issue_of(self, unit: Unit, contract: BookedContract, now: datetime) -> tuple[StripeIssue, list[Line]]:
        """Return the issue that plans one contract, and the contract's facts."""
        facts = store.facts(unit, {contract.id: contract.window_on}) if contract.is_invoiced else {}
        people = {c.id: c for c in store.customers(unit, ids=[contract.customer_id])}
        return self._issue(unit, [contract], self.moment(now, hold=False), people, facts), list(facts.get(contract.id, ()))

    def again(self, unit: Unit, contract_ids: Sequence[str], now: datetime) -> None:
        """Have contracts planned anew at the next pass whose last push was refused."""
        pushes.again(unit, contract_ids, now)

    def _readable(self, unit: Unit, contract_ids: Sequence[str], now: datetime) -> list[str]:
        """Return those of contracts of which everything that Stripe billed is read back."""
        contracts = with_usage(unit, store.contracts(unit, contract_ids)) if contract_ids else []
        people = {c.id: c for c in store.customers(unit, ids=[c.customer_id for c in contracts])} if contracts else {}
        late = set(self._unread_of(unit, contracts, people, now)) if contracts else set()
        held = pushes.held_of(unit, contract_ids)
        gone = [c.id for c in contracts if lost.refused(c, held.get(c.id), now) is not None]
        pushes.again(unit, gone, now + _LOST_WAIT)
        return [i for i in contract_ids if i not in late and i not in gone]

    def anew(self, unit: Unit, push: Push, now: datetime) -> Plan | None:
        """Return the plan of a push's contract as of now; None while Stripe may have billed something that was not read back."""
        hold_contracts(unit, [push.contract_id])
        (contract,) = with_usage(unit, store.contracts(unit, [push.contract_id]))
        issue, facts = self.issue_of(unit, contract, now)
        issue.standing = {}  # the push itself keeps nothing from being planned
        if owning.unread(issue.wanted(contract, facts)):
            return None
        if lost.refused(contract, issue.held.get(contract.id), now) is not None:
            raise RejectedError(lost.REFUSED)
        issue.bill(contract, facts)
        self._save_run(issue, [], unit)
        plan: Plan = issue.plans[contract.id].plan
        lost.told(unit, issue.held, {contract.id: plan}, now)
        return plan

    def take_over(self, unit: Unit) -> None:
        """Take what a process left that held the ledger before."""
        pushes.take_over(unit)

    def read_back(self, push: Push) -> Any:
        """Return what Stripe says now of what a push touched."""
        return fetching.touched(self.calls, push)

    def settle(self, unit: Unit, settled: Settled, now: datetime) -> Sequence[str]:
        """Write what came of a push; return the deals to tell."""
        push, at = settled.push, store.at_text(now)
        told = [push.deal] if push.deal else []
        if push.contract_id:
            hold_contracts(unit, [push.contract_id])
            pushes.save_held(unit, settled.held, now)
        pushes.save_lines(unit, push, settled.lines, settled.items)
        pushes.drop_items(unit, taken_items(push))
        if settled.read is not None and settled.read.waiting:
            waiting.note(unit, settled.held, settled.read.waiting, now)
        known_people.keep(unit, push, now)
        for invoice in settled.read.invoices if settled.read is not None else ():
            told += mirrored(unit, self, invoice, now)
        if push.contract_id:
            told += store.deals_of_contracts(unit, [push.contract_id])
            problem = settled.problem
            if problem is None and is_whole(push):
                pushes.drop_lines(unit, push.plan.dropped)
                unit.execute("UPDATE contract SET problem = '' WHERE id = ? AND problem <> ''", (push.contract_id,))
            elif problem is not None:
                lost.look(unit, settled.held, problem, now)
                store.insert_events(unit, parked_events(unit, [(push.contract_id, problem)], now), at)
                unit.execute("UPDATE contract SET problem = ?, updated_at = ? WHERE id = ?", (problem.text(), at, push.contract_id))
                if any(s.name.endswith("/ahead") and s.name not in push.results for s in push.plan.steps):
                    pushes.again(unit, [push.contract_id], now)  # without Stripe's own way of billing ahead
        return list(dict.fromkeys(told))


def _taken_whole(lines: Iterable[Sequence[Line]]) -> dict[str, int]:
    """Return what is to be credited no more of lines that nobody pays, by key."""
    return {line.key: line.net for found in lines for line in found if line.net > 0}


_APART = "The account wants one invoice for all contracts; Stripe makes one for each."
_HELD = Problem(
    code="billing-held",
    message="Nothing new is sent to Stripe: the CRM was last read too long ago. Stripe goes on billing what it holds.",
    hint="It goes on by itself as soon as the CRM answers; `billing.max_crm_age` says how old may be.",
)


def _carried_or_waits(copy: Copy, command: Command, held_up: Mapping[str, str], held: Mapping[str, Held]) -> Outcome:
    """Carry out a command, unless it would change a contract of which something is on its way, or that somebody ended at Stripe."""
    contract_id = copy.by_deal.get(command.deal) or command.contract_id or ""
    if contract_id not in held_up and contract_id not in held:
        return carried(copy, command)
    trial = replace(copy, after=dict(copy.after), customers=dict(copy.customers), by_deal=dict(copy.by_deal), touched={}, merged={})
    outcome = carried(trial, command)
    if outcome.problem is not None or not trial.touched:
        return outcome
    why = lost.refused(trial.after[contract_id], held.get(contract_id), copy.now, copy.before[contract_id])
    if why is not None:
        return Outcome(key=command.key, problem=why)
    if contract_id not in held_up:
        return carried(copy, command)
    problem = Problem(
        code="contract-busy",
        message=f"Something else of the contract {contract_id} is still on its way to Stripe.",
        hint="It is tried again by itself in a moment.",
    )
    return Outcome(key=command.key, problem=problem, waits_for=held_up[contract_id])


# ---------------------------------------------------------------- issuing


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """What is to be sent of one contract, by what name, and what it was made of."""

    key: str
    deal: str
    plan: Plan
    wanted: Wanted


@dataclass(slots=True, kw_only=True)
class StripeIssue(Issue):
    """What a chunk of contracts made: no invoices, but what Stripe has to be told.

    held, sent, standing - by contract, what Stripe holds, our own lines there that are no facts yet (*items*: as which), the push that is on
    its way or was refused. asked - the commands that touched each contract. stands - with automatic tax, where facts stand there, by key.
    """

    org: str
    automatic_tax: bool
    held: Mapping[str, Held]
    sent: Mapping[str, Mapping[str, Line]]
    items: Mapping[str, str]
    standing: Mapping[str, pushes.Standing]
    stands: Mapping[str, Stands]
    asked: Mapping[str, Sequence[Command]]
    currencies: Currencies
    told: Mapping[str, Told]
    located: Callable[[CustomerDetails], CustomerDetails]
    plans: dict[str, _Made] = field(default_factory=dict)

    def bill(self, contract: BookedContract, facts: Sequence[Line]) -> Billed:
        """Plan one contract and keep what has to be sent. Raises: RejectedError for what Stripe cannot hold or nobody can tax."""
        state = self.state_of(contract)
        before = self.standing.get(contract.id)
        if before is not None and before.problem is None:  # only a run comes here: commands wait
            made = advanced(contract, facts, state, self.moment.at, self.credited, look_at=self.moment.at + BUSY_WAIT)
            self.done.append(made)
            return made
        is_lost = lost.is_lost(self.held.get(contract.id))
        if lost.is_whole(self.held.get(contract.id), self.moment.at) and not lost.is_ending(contract):  # only a run comes here: commands are refused
            made = advanced(contract, facts, state, self.moment.at, self.credited, look_at=self.moment.at + _LOST_WAIT)
            self.done.append(made)
            return made
        wanted = replace(self.wanted(contract, facts), currencies=self.currencies.of(contract), may_bill_ahead=before is None)
        plan = lost.ended(planned(wanted), contract, self.moment.at) if is_lost else planned(wanted)
        self.currencies.note(contract, plan)
        tax = self.tax_of(contract.customer_id)
        if plan.steps and tax.problem is not None and not self.automatic_tax:
            raise refusal(contract, tax.problem)
        look = owning.next_own(replace(wanted, sent={**wanted.sent, **{line.key: line for line in plan.lines}}), plan.held)
        known = [*facts, *(line for line in (*wanted.sent.values(), *plan.lines) if not line.is_pending)]
        made = advanced(contract, known, state, self.moment.at, self.credited, look_at=look)
        if plan.lines:  # not at Stripe yet: were they refused, the books must still look where they belong
            made = replace(made, billed_until=contract.billed_until, window_on=contract.window_on)
        deal = before.deal if before is not None else self._deal(contract)
        self.plans[contract.id] = _Made(key=wanted.key, deal=deal, plan=plan, wanted=wanted)
        self.done.append(made)
        return made

    def bill_to(self, contract: BookedContract) -> str:
        """Return who is billed, as the books keep it with an invoice."""
        return store.bill_to_text(self.customers[contract.customer_id].details, self.tax_of(contract.customer_id).note)

    def state_of(self, contract: BookedContract) -> CustomerState:
        """Return the standing of a contract's customer."""
        return state_of(self.customers[contract.customer_id], self.tax_of(contract.customer_id))

    def _deal(self, contract: BookedContract) -> str:
        asked = self.asked.get(contract.id)
        return asked[-1].deal if asked else contract.deal

    def wanted(self, contract: BookedContract, facts: Sequence[Line]) -> Wanted:
        """Return what the compiler needs of a contract."""
        asked = self.asked.get(contract.id)
        key = pushes.key_of(asked[-1].key) if asked else pushes.run_key(contract.id, self.moment.at)
        return Wanted(
            key=key,
            org=self.org,
            contract=contract.contract,
            deal=contract.deal,
            label=contract.label,
            how=contract.how,
            customer_id=contract.customer_id,
            details=self.located(self.customers[contract.customer_id].details),
            told=self.told.get(contract.customer_id, Told()),
            tax=self.tax_of(contract.customer_id),
            held=self.held.get(contract.id),
            piece=piece_of(contract, facts, self.state_of(contract), self.credited),
            sent=self.sent.get(contract.id, {}),
            items=self.items,
            now=self.moment.at,
            automatic_tax=self.automatic_tax,
            stands=self.stands,
        )

    def save_invoices(self, unit: Unit, series: Series) -> list[tuple[Billed, BookedInvoice]]:
        """Write a push for every contract of which Stripe has to be told something; there are no invoices."""
        del series
        for contract_id, made in self.plans.items():
            pushes.begin(unit, key=made.key, contract_id=contract_id, deal=made.deal, plan=made.plan, now=self.moment.at)
        lost.told(unit, self.held, {i: made.plan for i, made in self.plans.items()}, self.moment.at)
        return []
