"""Price migrations in the books: which contracts run on a price, and a change of each of them that gives what does another one.

A contract is chosen by what a migration would change of it, not by a note that it was migrated: where nothing would change, because
it was migrated already or waits for its renewal, it is left as it is. So a migration may be cut off, run again and be repeated
a year later without a key that somebody has to remember.

Worked example: 10 seats at 30.00 a month, migrated now to 36.00 without proration on 10 June: 300.00 a period today, 360.00 from 1
July on, the first invoice with it on 1 July.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from connector.billing import catalogue, store
from connector.billing.desk import refused
from connector.billing.intents import Engine, Handler, Request, Work
from connector.billing.issue import Billed, piece_of, window_with
from connector.billing.store import BookedContract
from connector.billing.taxing import state_of
from connector.core.drawing import is_on
from connector.core.invoicing import proposed_on
from connector.core.money import major, quotient
from connector.core.period import MICROSECOND, boundary, to_local
from connector.core.schedule import timeline
from connector.core.segments import Segment, Timeline
from connector.core.terms import Change, Contract, Item, ItemChange, Price
from connector.errors import Problem
from connector.ports import Command, IntentResult, Unit

AT_ONCE = 200  # contracts of one request; each request is one transaction
_OVER = ("withdrawn", "canceled", "completed")
_FIELDS = (
    "t.id, t.deal, t.label, t.status, t.currency, t.starts_on, t.ends_on, t.value, t.annual_value, t.collection_method, c.account, c.name,"
    " c.email, c.country, c.tax_exempt, c.language"
)


# ---------------------------------------------------------------- who is asked about


def candidates(unit: Unit, name: str, *, after: str, limit: int) -> list[dict[str, Any]]:
    """Return the next contracts, in order of id, that may run on the price or product *name*, as conditions may read them.

    Values are in major units of the contract's currency, days are ISO text, blank ones None.
    """
    text = json.dumps(name, ensure_ascii=False)[1:-1].replace("!", "!!").replace("%", "!%").replace("_", "!_")
    like = (f'%"{text}"%', f'%"{text}~%')
    sql = (
        f"SELECT {_FIELDS} FROM contract t JOIN customer c ON c.id = t.customer_id WHERE t.id > ? AND t.status NOT IN (?,?,?) AND"
        " (t.terms LIKE ? ESCAPE '!' OR t.terms LIKE ? ESCAPE '!' OR EXISTS (SELECT 1 FROM change x WHERE x.contract_id = t.id"
        " AND (x.data LIKE ? ESCAPE '!' OR x.data LIKE ? ESCAPE '!'))) ORDER BY t.id LIMIT ?"
    )
    return [
        {
            "contract": row[0], "deal": row[1], "label": row[2], "status": row[3], "currency": row[4].upper(), "starts_on": row[5],
            "ends_on": row[6], "value": major(row[7], row[4]), "annual_value": major(row[8], row[4]), "collection_method": row[9],
            "customer": {
                "account": row[10], "name": row[11], "email": row[12], "country": row[13], "tax_exempt": row[14], "language": row[15],
            },
        }
        for row in unit.query(sql, (after, *_OVER, *like, *like, limit))
    ]  # fmt: skip


def target_price(unit: Unit, name: str) -> catalogue.CatalogPrice:
    """Return the catalogue price that contracts are to get. Raises: RejectedError for one that is none or is charged once."""
    found = catalogue.prices(unit, [name]).get(name)
    if found is None:
        raise refused("unknown-price", f"The catalogue has no price {name}.", "See `connector prices list`, or bring it in with `connector import catalog`.")
    if not found.is_active:
        raise refused("inactive-price", f"The price {name} is no longer sold.", "Name another one, or set it active in the catalogue.")
    if found.price.interval is None:
        raise refused("one-time-price", f"The price {name} is charged once.", "Name a recurring price.")
    return found


# ---------------------------------------------------------------- the request


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One contract with the change that migrates it, and what that changes: (item, today, then) segments in order of their start."""

    contract: BookedContract
    change: Change
    moved: tuple[tuple[Segment | None, Segment], ...]

    @property
    def window_on(self) -> str:
        """Return where the facts begin that the change may credit."""
        return window_with(self.contract, [self.change])


def migrate(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Migrate contracts; data: contracts (ids), from (a price's id or a product), to (a catalogue price), at (now, renewal), proration, dry.

    Each row of the result says what became of one contract. Raises: RejectedError where the new price is none.
    """
    data, is_dry = request.data, bool(request.data.get("dry"))
    target = target_price(unit, str(data["to"]))
    rows: dict[str, dict[str, Any]] = {}
    cases: list[_Case] = []
    for contract in store.contracts(unit, [str(i) for i in data["contracts"]]):
        found = _case(contract, data, target, request.now)
        if isinstance(found, _Case):
            cases.append(found)
        else:
            rows[contract.id] = _row(contract, found)
    if cases:
        people = {c.id: c for c in store.customers(unit, ids=[c.contract.customer_id for c in cases])}
        commands = [
            Command(
                key=c.change.id, kind="change", deal=c.change.id, label=f"price {data['from']} to {data['to']}", how=c.contract.how,
                customer=people[c.contract.customer_id].details, change=c.change, contract_id=c.contract.id,
            )
            for c in cases
        ]  # fmt: skip
        facts = store.facts(unit, {c.contract.id: c.window_on for c in cases if c.contract.is_invoiced})
        work = engine.worked_out(commands, unit, request.now, hold=False)
        if not is_dry:
            work.write(unit)
        made = {m.contract.id: m for m in work.issue.done}
        for case, outcome in zip(cases, work.outcomes, strict=True):
            if outcome.problem is not None:
                rows[case.contract.id] = _row(case.contract, outcome.problem)
            else:
                rows[case.contract.id] = _moved_row(case, made[case.contract.id], facts.get(case.contract.id, ()), work, is_dry=is_dry)
    told = [] if is_dry or not cases else store.deals_of_contracts(unit, [c.contract.id for c in cases])
    return IntentResult(result={"rows": [rows[i] for i in sorted(rows)]}, deals=tuple(told))


def _case(contract: BookedContract, data: Mapping[str, Any], target: catalogue.CatalogPrice, now: datetime) -> _Case | Problem | str:
    """Return the change that migrates a contract, the problem that keeps it from being migrated, or why nothing changes."""
    name, price = str(data["from"]), target.price
    local = to_local(now, contract.terms.timezone)
    change = Change(
        id=_change_id(contract, name, price.id), kind="amend", effective=max(local, contract.terms.start), made_at=local,
        items=(ItemChange(op="reprice", item=Item(id=price.id, price=price), item_id=name),),
        when="at" if data["at"] == "now" else "term_end", proration_behavior=data.get("proration") or "create_prorations",
    )  # fmt: skip
    horizon = max(local, timeline(contract.contract, horizon=local).term_end or local)
    whole = contract.contract
    before = timeline(whole, horizon=horizon)
    after = timeline(replace(whole, changes=(*whole.changes, change)), horizon=horizon)
    known = {(s.item.id, s.start, s.price.id) for s in before.segments}
    moved = [s for s in after.segments if s.price.id == price.id and (s.item.id, s.start, s.price.id) not in known]
    if not moved:
        return _why_not(whole, before, name, local)
    if target.currency != contract.terms.currency:
        return Problem(
            code="other-currency", message=f"It is in {contract.terms.currency.upper()}, the price {price.id} in {target.currency.upper()}.",
            hint="Migrate it to a price in its currency.",
        )  # fmt: skip
    pairs = tuple((_running(before, s), s) for s in sorted(moved, key=lambda s: (s.charge_from, s.number)))
    if any(old is not None and old.price.usage_type != price.usage_type for old, _ in pairs):
        return Problem(code="other-usage", message=f"What runs is not metered as {price.id} is.", hint="Name a price of the same kind.")
    return _Case(contract=contract, change=change, moved=pairs)


def _change_id(contract: BookedContract, name: str, to: str) -> str:
    taken = {c.change.id for c in contract.changes}
    base = f"migrate/{name}/{to}/{contract.id}"
    return next(i for i in (base, *(f"{base}/{n}" for n in range(2, 10_000))) if i not in taken)


def _running(plan: Timeline, then: Segment) -> Segment | None:
    """Return what would run of an item where another price of it begins."""
    own = [s for s in plan.segments if s.item.id == then.item.id and s.start <= then.start and (s.end is None or then.start <= s.end)]
    return max(own, key=lambda s: s.start, default=None)


def _why_not(contract: Contract, plan: Timeline, name: str, local: datetime) -> str:
    running = [s for s in plan.segments if is_on(s.item, name) and (s.end is None or s.end > local)]
    repriced = any(s.op == "reprice" and s.item_id == name for c in contract.changes for s in c.items)
    if not running or repriced:
        return "It was migrated already." if repriced else f"Nothing runs on {name}."
    end = plan.end or plan.term_end
    return f"It ends on {(end - MICROSECOND).date().isoformat()} and is not renewed." if end is not None else f"Nothing runs on {name}."


# ---------------------------------------------------------------- rows of the report


def _row(contract: BookedContract, why: Problem | str) -> dict[str, Any]:
    if isinstance(why, str):
        return {"contract": contract.id, "label": contract.label, "result": "unchanged", "message": why, "items": []}
    problem = {"code": why.code, "message": why.message, "hint": why.hint}
    return {"contract": contract.id, "label": contract.label, "result": "refused", "message": f"{why.message} {why.hint}".strip(), "problem": problem, "items": []}


def _amount(segment: Segment | None) -> int:
    return quotient(*segment.full) if segment is not None else 0


def _moved_row(case: _Case, made: Billed, facts: Sequence[Any], work: Work, *, is_dry: bool) -> dict[str, Any]:
    contract, currency = made.after, made.after.terms.currency
    first, first_each = _first_invoice(case, made, facts, work), _first_of_each(case, work.issue.moment.local(contract.terms.timezone))
    items = [
        {
            "item": then.item.id, "quantity": str(then.item.quantity) if then.item.quantity is not None else None,
            "today": str(major(_amount(old), currency)), "new": str(major(_amount(then), currency)),
            "every": _every(then.price), "effective_on": then.charge_from.date().isoformat(),
        }
        for old, then in case.moved
    ]  # fmt: skip
    return {
        "contract": contract.id, "label": contract.label, "result": "would be migrated" if is_dry else "migrated", "currency": currency.upper(),
        "today": str(major(sum(_amount(old) for old, _ in first_each), currency)),
        "new": str(major(sum(_amount(then) for _, then in first_each), currency)),
        "effective_on": case.moved[0][1].charge_from.date().isoformat(),
        "first_invoice_on": first[0].date().isoformat() if first else None, "first_invoice_amount": str(major(first[1], currency)) if first else None,
        "message": "", "items": items,
    }  # fmt: skip


def _first_of_each(case: _Case, local: datetime) -> Sequence[tuple[Segment | None, Segment]]:
    """Return the first stretch of each item that runs today; what queued changes and renewals make of it later is not paid at once."""
    found: dict[str, tuple[Segment | None, Segment]] = {}
    for old, then in case.moved:
        found.setdefault(then.item.id, (old, then))
    first = min(then.start for _, then in found.values())
    running = [(old, then) for old, then in found.values() if old is None or old.start <= local]
    return running or [(old, then) for old, then in found.values() if then.start == first]


def _every(price: Price) -> str:
    interval = price.interval
    assert interval is not None
    return interval.unit if interval.count == 1 else f"{interval.count} {interval.unit}s"


def _first_invoice(case: _Case, made: Billed, facts: Sequence[Any], work: Work) -> tuple[datetime, int] | None:
    """Return the local instant and total of the first invoice that bears the new price."""
    contract, price = made.after, case.moved[0][1].price
    zone = contract.terms.timezone
    local = to_local(work.issue.moment.at, zone)
    known = list(facts)
    if made.invoice is not None:
        if any(line.price_id == price.id for line in made.invoice.lines):
            return local, made.invoice.total
        known += made.invoice.lines
    tax = work.issue.tax_of(contract.customer_id)
    piece = piece_of(replace(contract, window_on=case.window_on), known, state_of(work.issue.customers[contract.customer_id], tax))
    begin = max(case.moved[0][1].charge_from, local)
    assert price.interval is not None
    until = boundary(begin, price.interval, 2) + timedelta(days=1)
    lines = proposed_on(timeline(piece.contract, horizon=until), piece, until)
    due = min((line.due for line in lines if line.price_id == price.id), default=None)
    return (due, sum(line.gross for line in lines if line.due == due)) if due is not None else None


HANDLED: dict[str, Handler] = {"price.migrate": migrate}
