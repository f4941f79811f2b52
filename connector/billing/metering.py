"""Recording usage: each row is checked against its contract, and written once under the sender's own id.

A row names a contract (by its id or by a deal) and what was used: an item, a price or a product, or nothing where the contract has
one metered item. It is refused where nothing metered runs at that time, and where the period was billed already: what is late cannot
be billed by itself any more. The same row again changes nothing; the same id with other content is "exists, differs in quantity".

Worked example: 12.5 GB on 5 March of a contract that is billed on the first. February is billed, March is open: it is on the
invoice of 1 April. Usage of 28 February is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from connector.billing import store
from connector.billing.batches import in_batches
from connector.billing.desk import event_id, once
from connector.billing.intents import Engine, Handler, Request
from connector.billing.store import BookedContract, Event
from connector.core.invoicing import Line
from connector.core.matching import quantity_text
from connector.core.period import to_local
from connector.core.schedule import timeline
from connector.core.segments import Segment
from connector.ports import IntentResult, Unit

Row = Mapping[str, Any]
MOST = Decimal(10) ** 15
_AHEAD = timedelta(days=731)  # usage further ahead of now is a slip of the pen
_ORDER = ("contract", "item", "time", "quantity")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record of usage as the books keep it; times local in the contract's time zone."""

    id: str
    contract_id: str
    item_id: str
    price_id: str
    used_at: str
    quantity: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What becomes of each row, in order: (result made, unchanged or refused, and why), and the records to be written."""

    results: tuple[tuple[str, str], ...]
    records: tuple[Record, ...]


WhyNot = Callable[[Record, str], str]


def nothing(_record: Record, _timezone: str) -> str:
    """Return that nothing keeps a record from being taken."""
    return ""


class _Refused(Exception):  # noqa: N818 - a refused row is no error
    """Why a row is refused, in plain words."""


@dataclass(slots=True, kw_only=True)
class _Desk:
    """What the books know of the contracts, items and ids in some rows."""

    now: datetime
    contracts: Mapping[str, BookedContract]
    known: dict[str, Record]
    facts: Mapping[str, Sequence[Line]] = field(default_factory=dict)
    metered: dict[str, list[Segment]] = field(default_factory=dict)

    def zone_of(self, record: Record) -> str:
        """Return the time zone of a record's contract."""
        return next(c.terms.timezone for c in self.contracts.values() if c.id == record.contract_id)

    def segments(self, contract: BookedContract) -> list[Segment]:
        """Return the metered stretches of a contract, drawn once."""
        found = self.metered.get(contract.id)
        if found is None:
            horizon = to_local(self.now, contract.terms.timezone) + _AHEAD
            plan = timeline(contract.contract, horizon=horizon)
            found = self.metered[contract.id] = [s for s in plan.segments if s.price.usage_type == "metered"]
        return found


def checked(
    unit: Unit, org: str, rows: Sequence[Row], now: datetime, seen: dict[str, Record] | None = None, why_not: WhyNot = nothing
) -> Checked:
    """Return what would become of rows (id, contract, for, time, quantity; texts), reading only; *seen* - records of rows before them.

    why_not - why a record cannot be taken, given the contract's time zone; "" where it can.
    """
    names = [str(r.get("contract", "")) for r in rows]
    by_deal = store.contracts_of_deals(unit, org, names)
    booked = {c.id: c for c in store.contracts(unit, {by_deal.get(n, n) for n in names if n})}
    contracts = {n: booked[by_deal.get(n, n)] for n in names if by_deal.get(n, n) in booked}
    desk = _Desk(now=now, contracts=contracts, known={**(seen or {}), **_known(unit, [str(r.get("id", "")) for r in rows])})
    times = [_time_or_none(r, contracts) for r in rows]
    first: dict[str, str] = {}
    for name, at in zip(names, times, strict=True):
        if at is not None and name in contracts:
            contract_id = contracts[name].id
            first[contract_id] = min(first.get(contract_id, at.isoformat()), at.isoformat())
    desk.facts = store.facts(unit, first) if first else {}
    results: list[tuple[str, str]] = []
    made: list[Record] = []
    for row in rows:
        try:
            record = _record(desk, row)
            old = desk.known.get(record.id)
            if old is None:
                _require_open(desk, record)
                _require_taken(why_not(record, desk.zone_of(record)))
                desk.known[record.id] = record
                made.append(record)
                if seen is not None:
                    seen[record.id] = record
            else:
                _require_same(old, record)
            results.append(("unchanged" if old else "made", ""))
        except _Refused as refusal:
            results.append(("refused", str(refusal)))
    return Checked(results=tuple(results), records=tuple(made))


def _known(unit: Unit, ids: Sequence[str]) -> dict[str, Record]:
    found: dict[str, Record] = {}
    for batch, marks in in_batches(ids):
        sql = f"SELECT id, contract_id, item_id, price_id, used_at, quantity FROM usage_record WHERE id IN ({marks})"
        for row in unit.query(sql, batch):
            found[row[0]] = Record(id=row[0], contract_id=row[1], item_id=row[2], price_id=row[3], used_at=row[4], quantity=Decimal(row[5]))
    return found


def _time_or_none(row: Row, contracts: Mapping[str, BookedContract]) -> datetime | None:
    contract = contracts.get(str(row.get("contract", "")))
    try:
        return None if contract is None else _time(row, contract)
    except _Refused:
        return None


def _time(row: Row, contract: BookedContract) -> datetime:
    text = str(row.get("time", ""))
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise _Refused(f"The time {text!r} is not understood; write 2026-03-05, or 2026-03-05T14:30:00Z with an offset.") from None
    if at.tzinfo is None and len(text) > 10:
        raise _Refused(f"The time {text} has no offset; write {text}Z for UTC, or {text}+01:00.")
    return to_local(at, contract.terms.timezone) if at.tzinfo is not None else at


def _record(desk: _Desk, row: Row) -> Record:
    """Return a row as the books would keep it, whether it can be billed or not."""
    if not row.get("id"):
        raise _Refused("It has no id; the id is what keeps usage from being counted twice.")
    name = str(row.get("contract", ""))
    contract = desk.contracts.get(name)
    if contract is None:
        raise _Refused(f"The books have no contract {name}, and no deal of that id made one." if name else "It names no contract and no deal.")
    quantity = _quantity(row)
    at = _time(row, contract)
    if at > to_local(desk.now, contract.terms.timezone) + _AHEAD:
        raise _Refused(f"{at.date()} is more than two years ahead.")
    segment = _segment(desk, contract, str(row.get("for", "")), at)
    return Record(
        id=str(row["id"]), contract_id=contract.id, item_id=segment.item.id, price_id=segment.price.id, used_at=at.isoformat(), quantity=quantity
    )


def _quantity(row: Row) -> Decimal:
    text = str(row.get("quantity", ""))
    try:
        quantity = Decimal(text)
    except InvalidOperation:
        raise _Refused(f"The quantity {text!r} is no number." if text else "It has no quantity.") from None
    exponent = quantity.as_tuple().exponent
    if not quantity.is_finite() or not isinstance(exponent, int) or exponent < -12 or abs(quantity) > MOST:
        raise _Refused(f"The quantity {text} is out of bounds: at most 10^15, with at most 12 decimals.")
    if quantity < 0:
        raise _Refused(f"The quantity is {text}, below zero; usage is at least 0.")
    return quantity


def _segment(desk: _Desk, contract: BookedContract, name: str, at: datetime) -> Segment:
    """Return the metered item that *name* means at a local time: an item, else a price, else a product; the only one where it is empty."""
    every = desk.segments(contract)
    running = [s for s in every if s.start <= at and (s.end is None or at < s.end)]
    if not running:
        when = f"on {at.date()}"
        raise _Refused(f"{contract.id} has nothing metered {when}." if every else f"{contract.id} has no metered item.")
    if not name:
        found = running
    else:
        found = next((hit for of in (_item, _price, _product) if (hit := [s for s in running if of(s) == name])), [])
    if len(found) == 1:
        return found[0]
    shown = ", ".join(f"{s.item.id} (price {s.price.id})" for s in running)
    if not found:
        raise _Refused(f"{contract.id} meters nothing named {name} on {at.date()}; it meters {shown}.")
    raise _Refused(f"{contract.id} meters several items on {at.date()}: {shown}; name one by its item.")


def _item(segment: Segment) -> str:
    return segment.item.id


def _price(segment: Segment) -> str:
    return segment.price.id


def _product(segment: Segment) -> str:
    return segment.price.product


def _require_open(desk: _Desk, record: Record) -> None:
    """Refuse usage of a period whose invoice is out."""
    at = datetime.fromisoformat(record.used_at)
    for fact in desk.facts.get(record.contract_id, ()):
        if fact.kind == "charge" and fact.item_id == record.item_id and fact.start <= at < fact.end:
            raise _Refused(
                f"Too late: {record.item_id} was billed from {fact.start.date()} to {(fact.end - timedelta(microseconds=1)).date()}, so usage of"
                f" {at.date()} is on no invoice any more. Record it in an open period, or bill it by `connector invoices create`."
            )


def _require_taken(why_not: str) -> None:
    if why_not:
        raise _Refused(why_not)


def _require_same(old: Record, new: Record) -> None:
    """Refuse an id that is recorded already with other content."""
    pairs = {
        "contract": (old.contract_id, new.contract_id), "item": (old.item_id, new.item_id), "time": (old.used_at, new.used_at),
        "quantity": (quantity_text(old.quantity), quantity_text(new.quantity)),
    }  # fmt: skip
    differing = [name for name in _ORDER if pairs[name][0] != pairs[name][1]]
    if differing:
        shown = ", ".join(f"{name} ({pairs[name][0]} there, {pairs[name][1]} here)" for name in differing)
        raise _Refused(f"The id {new.id} exists, differs in {shown}. Give other usage another id.")


def recorded(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Record usage (data: rows); what is refused is listed by its place among the rows, the others count."""
    return keep(request, checked(unit, engine.org, request.data["rows"], request.now), unit)


def keep(request: Request, found: Checked, unit: Unit) -> IntentResult:
    """Write the records of rows that were checked, and say what became of each row."""
    at = store.at_text(request.now)
    unit.executemany(
        "INSERT INTO usage_record (id, contract_id, item_id, price_id, used_at, quantity, made_at) VALUES (?,?,?,?,?,?,?)",
        [(r.id, r.contract_id, r.item_id, r.price_id, r.used_at, f"{r.quantity:f}", at) for r in found.records],
    )
    result = {
        "made": len(found.records),
        "unchanged": [n for n, (result, _) in enumerate(found.results) if result == "unchanged"],
        "refused": [[n, what] for n, (result, what) in enumerate(found.results) if result == "refused"],
    }
    event = Event(
        id=event_id(request.key), actor=request.actor, name="usage.recorded", contract_id="", customer_id="", data=store.event_text(result)
    )
    store.insert_events(unit, [event], at)
    return IntentResult(result=result, deals=tuple(store.deals_of_contracts(unit, sorted({r.contract_id for r in found.records}))))


HANDLED: dict[str, Handler] = {"usage.record": once(recorded)}
