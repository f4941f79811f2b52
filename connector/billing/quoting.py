"""What an offer comes to: the lines of its first invoice, what is paid for good after it, and its value.

The offer is carried out on a copy of the books and billed there, by the functions that bill it once it is accepted; nothing is
written. So the first invoice of a quote that is accepted in time equals what the quote said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import islice

from connector.billing import commands as carrying
from connector.billing import store
from connector.billing.commands import Copy, last_day
from connector.billing.intents import Engine
from connector.billing.issue import ahead, window_with
from connector.billing.store import BookedChange, BookedContract
from connector.billing.taken import taken_of
from connector.billing.taxing import refusal, state_of
from connector.core.invoicing import Line
from connector.core.period import Interval, days_of, months_of, to_local
from connector.core.quoting import Stage, Totals, stages, totals_of
from connector.core.schedule import timeline
from connector.core.settlement import CustomerState
from connector.errors import Problem, RejectedError
from connector.offers import QuoteLine, QuoteSheet, QuoteStage, QuoteSum
from connector.ports import AccountTax, Command, Unit

LOOKS_AHEAD = 24  # invoices in which the first lines of a change are looked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Figured:
    """What an offer comes to; amounts in minor units. data - JSON of its terms or change; base_seq - of the contract it changes."""

    currency: str
    data: str
    sheet: QuoteSheet
    per_period: int
    value: int
    base_contract: str | None = None
    base_seq: int = 0


def figures(engine: Engine, unit: Unit, commands: Sequence[Command], now: datetime) -> dict[str, Figured | Problem]:
    """Return by key what each command would come to, alone, or why it cannot be carried out; reads once a table for all."""
    if not commands:
        return {}
    copy = carrying.loaded(unit, engine.org, commands, now)
    by_deal = dict(copy.by_deal)
    found: dict[str, Figured | Problem] = {}
    for command in commands:
        copy.after, copy.customers, copy.by_deal = dict(copy.before), dict(copy.known), dict(by_deal)
        copy.touched.clear()
        try:
            found[command.key] = _figured(engine, unit, copy, command)
        except RejectedError as error:
            found[command.key] = error.problem
    return found


def _figured(engine: Engine, unit: Unit, copy: Copy, command: Command) -> Figured:
    contract = copy.after[carrying.carry_out(copy, command)]
    change = next((c for c in contract.changes if c.change.id == command.deal), None)
    customer = copy.customer_by_id(contract.customer_id)
    tax = engine.tax.tax_of(customer.details)
    if tax.problem is not None:
        raise refusal(contract, tax.problem)
    state = state_of(customer, tax)
    on, lines, less = _first(engine, unit, copy, contract, change, (state, tax))
    since, starts_on, ends_on = _span(contract, change)
    later = stages(contract.contract, state, since=since)
    sheet = QuoteSheet(
        first_on=on, first=(*[quote_line(x) for x in lines], *[_taken_off(quote_line(x)) for x in less]), due=_due(lines, less), stages=tuple(_stage(s) for s in later),
        starts_on=starts_on, ends_on=ends_on, tax_note=tax.note,
    )  # fmt: skip
    per_period = sum(p.total for p in sheet.stages[0].periods) if sheet.stages else 0
    base = copy.before.get(contract.id)
    return Figured(
        currency=contract.terms.currency, data=change.data if change else contract.data, sheet=sheet, per_period=per_period,
        value=change.value if change else contract.value, base_contract=base.id if base else None, base_seq=base.seq if base else 0,
    )  # fmt: skip


def _first(
    engine: Engine, unit: Unit, copy: Copy, contract: BookedContract, change: BookedChange | None, who: tuple[CustomerState, AccountTax]
) -> tuple[date | None, Sequence[Line], Sequence[Line]]:
    """Return the day and the lines of the first invoice; of a change, what it adds to and takes off the first invoice that it touches."""
    moment = engine.moment(copy.now, hold=False)
    if change is None:
        for at, invoice in islice(ahead(contract, (), who, moment, {}), 1):
            return to_local(at, contract.terms.timezone).date(), invoice.lines, ()
        return None, (), ()
    facts: Sequence[Line] = ()
    credited: Mapping[str, int] = {}
    if contract.is_invoiced:
        contract = replace(contract, window_on=window_with(contract, [change.change]))
        facts = store.facts(unit, {contract.id: contract.window_on}).get(contract.id, [])
        credited = taken_of(unit, [line.key for line in facts])
    base = replace(copy.before[contract.id], window_on=contract.window_on)
    old = {at: i.lines for at, i in islice(ahead(base, facts, who, moment, credited), LOOKS_AHEAD)}
    new = {at: i.lines for at, i in islice(ahead(contract, facts, who, moment, credited), LOOKS_AHEAD)}
    for at in sorted(old.keys() | new.keys()):
        added, gone = _unlike(new.get(at, ()), old.get(at, ())), _unlike(old.get(at, ()), new.get(at, ()))
        if added or gone:
            return to_local(at, contract.terms.timezone).date(), added, gone
    return None, (), ()


def _unlike(lines: Sequence[Line], others: Sequence[Line]) -> list[Line]:
    """Return the lines that do not stand among *others* with the same total."""
    known = {(line.key, line.end, line.gross) for line in others}
    return [line for line in lines if (line.key, line.end, line.gross) not in known]


def _due(lines: Sequence[Line], less: Sequence[Line]) -> QuoteSum:
    new, old = totals_of(lines), totals_of(less)
    return QuoteSum(
        interval="", subtotal=new.subtotal - old.subtotal, discount=new.discount - old.discount, tax=new.tax - old.tax,
        total=new.total - old.total,
    )  # fmt: skip


def _span(contract: BookedContract, change: BookedChange | None) -> tuple[datetime | None, date, date | None]:
    """Return from when on what was offered runs (local), its first day and its last."""
    if change is None:
        return None, contract.starts_on, contract.ends_on
    effective = to_local(change.change.effective, contract.terms.timezone)
    term = next((t for t in timeline(contract.contract, horizon=effective).terms if t.change_id == change.change.id), None)
    if term is not None:
        return term.start, term.start.date(), last_day(term.end)
    return effective, effective.date(), contract.ends_on


# ---------------------------------------------------------------- as values


def interval_text(interval: Interval | None) -> str:
    """Return an interval as quotes keep it: "month", "3 months", "year"; "" for what is charged once."""
    if interval is None:
        return ""
    months, days = months_of(interval), days_of(interval)
    count, unit = (months // 12, "year") if months and months % 12 == 0 else (months, "month") if months else (days, "day")
    if days and days % 7 == 0:
        count, unit = days // 7, "week"
    return unit if count == 1 else f"{count} {unit}s"


def quote_line(line: Line, interval: Interval | None = None) -> QuoteLine:
    """Return a line as quotes show it."""
    last = (line.end - timedelta(microseconds=1)).date() if line.end > line.start else line.start.date()
    return QuoteLine(
        description=line.description or line.product, quantity=str(line.quantity),
        unit_amount=None if line.unit_amount is None else str(line.unit_amount), start=line.start.date(), end=last, amount=line.amount,
        discount=line.amount - line.net, tax=sum(t[1] for t in line.taxes), total=line.gross, interval=interval_text(interval),
        is_proration=line.is_proration or line.kind == "credit",
    )  # fmt: skip


def _taken_off(line: QuoteLine) -> QuoteLine:
    return replace(line, amount=-line.amount, discount=-line.discount, tax=-line.tax, total=-line.total, is_proration=True)


def _sum(interval: str, totals: Totals) -> QuoteSum:
    return QuoteSum(interval=interval, subtotal=totals.subtotal, discount=totals.discount, tax=totals.tax, total=totals.total)


def _stage(stage: Stage) -> QuoteStage:
    return QuoteStage(
        start=stage.start.date(), end=last_day(stage.end), lines=tuple(quote_line(line, i) for i, line in stage.lines),
        periods=tuple(_sum(interval_text(i), totals) for i, totals in stage.periods),
    )  # fmt: skip
