"""What a scenario led to, as JSON and as a table for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from connector.core.invoicing import Line, contract_status
from connector.core.matching import amount_text, quantity_text
from connector.core.money import digits, major
from connector.core.period import Interval, boundary, index, midnight, to_local, to_utc
from connector.core.quoting import Stage, Totals
from connector.core.schedule import timeline
from connector.core.settlement import Invoice
from connector.core.terms import Contract
from connector.simulate.drawing import drawn
from connector.simulate.play import Played
from connector.simulate.scenario import Scenario


def _instant(local: datetime | None, timezone: str) -> str | None:
    return None if local is None else _stamp(to_utc(local, timezone))


def _stamp(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _line_data(line: Line, timezone: str) -> dict[str, Any]:
    return {
        "item": line.item_id,
        "price": line.price_id,
        "description": line.description,
        "quantity": quantity_text(line.quantity),
        "amount": line.amount,
        "proration": line.is_proration,
        "period": {"start": _instant(line.start, timezone), "end": _instant(line.end, timezone)},
        "discounts": [{"coupon": c, "amount": a} for c, a in line.discounts],
        "taxes": [{"rate": r, "amount": a, "inclusive": i} for r, a, i in line.taxes],
    }


def _numbers(invoices: Sequence[Invoice]) -> list[str | None]:
    """Return the number of each invoice: finalized ones count without a gap, a draft has none."""
    found, last = list[str | None](), 0
    for invoice in invoices:
        last += invoice.finalized_at is not None
        found.append(None if invoice.finalized_at is None else f"INV-{last:04d}")
    return found


def _has_overdue(scenario: Scenario, invoices: Sequence[Invoice]) -> bool:
    today = scenario.until.date()
    return any(i.status == "open" and i.amount_remaining > 0 and (i.due_on is None or i.due_on < today) for i in invoices)


def _invoice_data(ordinal: int, number: str | None, invoice: Invoice, timezone: str) -> dict[str, Any]:
    return {
        "ordinal": ordinal,
        "number": number,
        "created": _stamp(invoice.created_at),
        "due": None if invoice.due_on is None else _instant(midnight(invoice.due_on), timezone),
        "billing_reason": invoice.billing_reason,
        "status": invoice.status,
        "lines": [_line_data(line, timezone) for line in invoice.lines],
        **{
            k: getattr(invoice, k)
            for k in (
                "subtotal", "discount", "tax", "total", "starting_balance", "ending_balance", "amount_due", "amount_paid", "amount_remaining",
            )
        },
    }  # fmt: skip


def _contract_data(contract: Contract, scenario: Scenario, *, has_overdue: bool) -> dict[str, Any]:
    now, zone = scenario.until, scenario.timezone
    plan = timeline(contract, horizon=now)
    phases = []
    for at, snapshot in enumerate(plan.snapshots):
        following = plan.snapshots[at + 1].at if at + 1 < len(plan.snapshots) else plan.end or plan.term_end
        if plan.end is not None and snapshot.at >= plan.end:
            continue
        items = [
            {"price": i.price.id, "quantity": None if i.quantity is None else quantity_text(i.quantity)}
            for i in snapshot.items
        ]
        phases.append(
            {
                "start": _instant(snapshot.at, zone),
                "end": _instant(following, zone),
                "items": items,
                "metadata": dict(contract.terms.metadata) | dict(snapshot.metadata),
            }
        )
    starts, ends = [], []
    for segment in plan.segments:
        interval = segment.price.interval
        if interval is None or segment.start > now or (segment.end is not None and segment.end <= now):
            continue
        k = index(segment.anchor, interval, now)
        starts.append(boundary(segment.anchor, interval, k))
        ends.append(boundary(segment.anchor, interval, k + 1))
    period = {"start": _instant(max(starts), zone), "end": _instant(min(ends), zone)} if starts else None
    return {
        "status": contract_status(contract, now, has_overdue=has_overdue), "start": _instant(contract.terms.start, zone),
        "end": _instant(plan.end, zone), "current_period": period, "phases": phases,
    }  # fmt: skip


def _totals_data(totals: Totals) -> dict[str, Any]:
    return {"amount_subtotal": totals.subtotal, "amount_total": totals.total}


def _stage_data(stage: Stage, zone: str) -> dict[str, Any]:
    return {
        "start": _instant(stage.start, zone), "end": _instant(stage.end, zone),
        "recurring": [{"interval": i.unit, "interval_count": i.count, **_totals_data(totals)} for i, totals in stage.periods],
    }  # fmt: skip


def result_data(scenario: Scenario, played: Played) -> dict[str, Any]:
    """Return the result in the documented shape."""
    quote, zone = played.quote, scenario.timezone
    quote_data = None
    if quote is not None and played.totals is not None:
        quote_data = {
            "status": quote.status, "number": quote.number, "revision": quote.revision,
            "computed": {
                "upfront": _totals_data(played.totals.upfront), "recurring": _totals_data(played.totals.recurring),
                "discount": played.totals.upfront.discount, "tax": played.totals.upfront.tax,
                "phases": [_stage_data(stage, zone) for stage in played.totals.stages], "value": played.totals.value,
            },
        }  # fmt: skip
    overdue = _has_overdue(scenario, played.invoices)
    rows = enumerate(zip(_numbers(played.invoices), played.invoices, strict=True), 1)
    return {
        "invoices": [_invoice_data(at, number, invoice, zone) for at, (number, invoice) in rows],
        "credit_notes": [
            {
                "invoice": n, "total": note.total, "refund": note.refund, "credit": note.credit, "out_of_band": note.out_of_band,
                "lines": [{"key": k, "amount": a} for k, a in note.lines],
            }
            for n, note in played.notes
        ],
        "contract": None if played.contract is None else _contract_data(played.contract, scenario, has_overdue=overdue),
        "quote": quote_data,
        "customer": {"balance": played.customer.balance(scenario.currency)},
        "problems": [],
    }  # fmt: skip


# ---------------------------------------------------------------- for people


def _amount(minor_units: int, currency: str) -> str:
    return f"{major(minor_units, currency):.{digits(currency)}f}"


def _line_rows(line: Line, currency: str) -> list[tuple[str, str, str]]:
    what = {"credit": "unused ", "one_time": ""}.get(line.kind, "remaining " if line.is_proration else "")
    span = (
        line.start.date().isoformat()
        if line.start == line.end
        else f"{line.start.date().isoformat()}..{line.end.date().isoformat()}"
    )
    how = f"{what}{quantity_text(line.quantity)} x {amount_text(line.unit_amount, currency)}"
    rows = [(f"{line.description} {span}", how, _amount(line.amount, currency))]
    rows += [("", f"discount {coupon}", _amount(-off, currency)) for coupon, off in line.discounts if off]
    rows += [
        ("", f"tax {rate}{' (included)' if inside else ''}", _amount(tax, currency))
        for rate, tax, inside in line.taxes
        if tax
    ]
    return rows


def _invoice_rows(number: str | None, invoice: Invoice, timezone: str) -> list[tuple[str, str, str, str]]:
    currency = invoice.currency
    due = f"due {invoice.due_on.isoformat()}" if invoice.due_on is not None else "due at once"
    state = "not finalized" if number is None else f"{invoice.status}, {due}"
    rows = [(to_local(invoice.created_at, timezone).date().isoformat(), number or "draft", state, "")]
    for line in invoice.lines:
        rows += [("", what, how, amount) for what, how, amount in _line_rows(line, currency)]
    rows.append(("", "total", "", _amount(invoice.total, currency)))
    if invoice.starting_balance or invoice.ending_balance:
        moved = f"balance {_amount(invoice.starting_balance, currency)} -> {_amount(invoice.ending_balance, currency)}"
        rows.append(("", moved, "due", _amount(invoice.amount_due, currency)))
    settled = [("paid", invoice.amount_paid), ("credited", invoice.credited)]
    if invoice.amount_remaining and any(amount for _, amount in settled):
        text = ", ".join(f"{word} {_amount(amount, currency)}" for word, amount in settled if amount)
        rows.append(("", text, "left", _amount(invoice.amount_remaining, currency)))
    return rows


def _quote_rows(scenario: Scenario, played: Played) -> list[str]:
    """Return what a quote comes to: its state, what is due at the start and what each later period costs."""
    quote, currency = played.quote, scenario.currency
    if quote is None or played.totals is None:
        return []
    name = "quote" if quote.number is None else f"quote {quote.number}"
    state = quote.status if quote.revision == 1 else f"{quote.status}, revision {quote.revision}"
    totals, code = played.totals, currency.upper()
    what = "at the start" if not scenario.is_change else "more on the first invoice"
    rows = [f"{name} {state}: {_amount(totals.upfront.total, currency)} {code} {what}"]
    for stage in totals.stages:
        each = ", ".join(f"{_amount(t.total, currency)} {code} {_each(i)}" for i, t in stage.periods)
        rows.append(f"  from {stage.start.date()}: {each}")
    is_open = played.quote is not None and not scenario.is_change and scenario.terms.phases[-1].end is None
    worth = "more in all" if scenario.is_change else "in 12 months" if is_open else "in all"
    return [*rows, f"  {_amount(totals.value, currency)} {code} {worth}, before tax"]


def _each(interval: Interval) -> str:
    return f"a {interval.unit}" if interval.count == 1 else f"every {interval.count} {interval.unit}s"


def result_table(scenario: Scenario, played: Played) -> str:
    """Return the contract on its time axis, then the invoices and their lines as aligned plain text, amounts in major units."""
    rows: list[tuple[str, str, str, str]] = []
    numbers = _numbers(played.invoices)
    for number, invoice in zip(numbers, played.invoices, strict=True):
        rows += _invoice_rows(number, invoice, scenario.timezone)
    for at, note in played.notes:
        rows.append(("", f"credit note on {numbers[at - 1]}", "", _amount(-note.total, scenario.currency)))
    widths = [max((len(r[c]) for r in rows), default=0) for c in range(4)]
    out = [f"{r[0]:<{widths[0]}}  {r[1]:<{widths[1]}}  {r[2]:<{widths[2]}}  {r[3]:>{widths[3]}}".rstrip() for r in rows]
    if not out:
        out = ["No invoice up to " + scenario.until.date().isoformat() + "."]
    shown = played.contract
    if shown is None and played.quote is not None:
        shown = Contract(id="quote", terms=played.quote.terms)
    if shown is not None:
        made = [to_local(i.created_at, scenario.timezone) for i in played.invoices]
        out = [*drawn(shown, scenario.until, made), "", *out]
    if played.contract is not None:
        overdue = _has_overdue(scenario, played.invoices)
        out.append(f"contract {contract_status(played.contract, scenario.until, has_overdue=overdue)}")
    out += _quote_rows(scenario, played)
    out.append(
        f"balance {_amount(played.customer.balance(scenario.currency), scenario.currency)} {scenario.currency.upper()}"
    )
    return "\n".join(out)
