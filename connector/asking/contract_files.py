"""Files of contracts from another system, read one contract at a time: YAML or JSON, JSON Lines, CSV.

YAML and JSON hold `contracts:` in the vocabulary of scenarios, JSON Lines one such contract a line, amounts in minor units. A CSV has
one row an item, amounts in major units as a spreadsheet or the CRM shows them (column `unit_price`, not `unit_amount`); the rows of
one contract stand together, and what is of the whole contract counts where it stands first. JSON Lines and CSV are read as a
stream, so that a file may be as large as it likes.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TextIO

from connector.asking.shared import bad, file_of
from connector.core.money import minor
from connector.errors import ConfigError, Problem, Where
from connector.kit import yamlpos
from connector.simulate.contracts import Common, read_common, read_contract
from connector.simulate.values import Complaint
from connector.simulate.values import Path as Keys

MAX_ROW_BYTES = 1_000_000
_OF_CONTRACT = {
    "contract": ("id",), "deal": ("deal",), "label": ("label",), "account": ("customer", "account"), "name": ("customer", "name"),
    "email": ("customer", "email"), "tax_id": ("customer", "tax_id"), "tax_exempt": ("customer", "tax_exempt"), "language": ("customer", "language"),
    "line1": ("customer", "address", "line1"), "city": ("customer", "address", "city"), "postal_code": ("customer", "address", "postal_code"),
    "state": ("customer", "address", "state"), "country": ("customer", "address", "country"), "currency": ("currency",), "timezone": ("timezone",),
    "start": ("contract", "start"), "end": ("contract", "phases", 0, "end"), "end_behavior": ("contract", "end_behavior"),
    "uplift_percent": ("contract", "renewal", "uplift_percent"), "billing_day": ("contract", "billing_cycle_anchor", "day_of_month"),
    "trial_end": ("contract", "trial_end"), "days_until_due": ("contract", "days_until_due"), "billed_through": ("billed_through",),
    "po_number": ("po_number",), "memo": ("memo",),
}  # fmt: skip
_OF_ITEM = (
    "item", "price", "product", "description", "unit_price", "interval", "per", "timing", "quantity", "item_start", "item_end",
    "item_billed_through", "billed_amount", "discount_percent", "discount_months_left",
)  # fmt: skip
COLUMNS = (*_OF_CONTRACT, *_OF_ITEM)
_LAST_DAYS = ("end", "item_end", "trial_end")  # last days of service, as people write them; half-open inside
_WHOLE = ("billing_day", "days_until_due")
_INTERVALS: Mapping[str, tuple[str, int] | None] = {
    "week": ("week", 1), "weekly": ("week", 1), "month": ("month", 1), "monthly": ("month", 1), "quarter": ("month", 3), "quarterly": ("month", 3),
    "half-year": ("month", 6), "semiannual": ("month", 6), "year": ("year", 1), "yearly": ("year", 1), "annual": ("year", 1), "once": None, "one-time": None,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One contract of a file: where its rows stand, its id, and either what the books take or why they cannot."""

    file: str
    lines: tuple[int, ...]
    id: str
    data: Mapping[str, Any] | None = None
    problems: tuple[Problem, ...] = ()


def contracts_of(path: Path, common: Common) -> Iterator[Found]:
    """Yield the contracts of a file. Raises: ConfigError where the file as a whole cannot be read, with every problem of its head."""
    kind = path.suffix.lower()
    if kind == ".csv":
        yield from _of_csv(path, common)
    elif kind in (".jsonl", ".ndjson"):
        yield from _of_json_lines(path, common)
    elif kind in (".yaml", ".yml", ".json"):
        yield from _of_yaml(path, common)
    else:
        raise bad(f"{path} is neither CSV nor YAML nor JSON.", "Name the file .csv, .yaml, .json, or .jsonl for one contract a line.")


def _opened(path: Path) -> TextIO:
    try:
        return path.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise bad(f"{path} cannot be read: {error.strerror}.", "Check the path.") from error


def _lines(file: TextIO, path: Path) -> Iterator[str]:
    try:
        yield from file
    except UnicodeDecodeError as error:
        raise bad(f"{path} is no UTF-8 text.", "Save it as UTF-8.") from error


# ---------------------------------------------------------------- YAML, JSON, JSON Lines


def _of_yaml(path: Path, common: Common) -> Iterator[Found]:
    located = file_of(path, wanted="contracts: with one entry a contract")
    shared, complaints = read_common(located.value, common)
    entries = located.value.get("contracts")
    if not complaints and not isinstance(entries, list):
        complaints = [Complaint(code="wrong-type", path=("contracts",), message="contracts must be a list.", hint="Begin each contract with a dash.")]
    if complaints:
        raise ConfigError([located.problem(c.code, c.path, c.message, c.hint, at_key=c.at_key) for c in complaints])
    for number, entry in enumerate(entries):
        base: Keys = ("contracts", number)
        data, found = read_contract(entry, shared)
        problems = tuple(located.problem(c.code, (*base, *c.path), c.message, c.hint, at_key=c.at_key) for c in found)
        yield Found(file=str(path), lines=(located.position(base)[0],), id=_id_of(entry), data=data, problems=problems)


def _id_of(entry: Any) -> str:
    return str(entry.get("id") or "") if isinstance(entry, dict) else ""


def _of_json_lines(path: Path, common: Common) -> Iterator[Found]:
    with _opened(path) as file:
        for number, text in enumerate(_lines(file, path), 1):
            if not text.strip():
                continue
            where = Where(file=str(path), line=number)
            try:
                entry = json.loads(text, parse_float=Decimal) if len(text) <= MAX_ROW_BYTES else None
            except ValueError as error:
                problem = Problem(code="bad-json", message=f"This line is no JSON: {error}.", hint="Write one contract a line.", where=where)
                yield Found(file=str(path), lines=(number,), id="", problems=(problem,))
                continue
            data, found = read_contract(entry, common)
            problems = tuple(_on_line(text, str(path), number, found)) if found else ()
            yield Found(file=str(path), lines=(number,), id=_id_of(entry), data=data, problems=problems)


def _on_line(text: str, name: str, line: int, complaints: Sequence[Complaint]) -> Iterator[Problem]:
    try:
        located = yamlpos.loads(text, name)
    except ConfigError:
        located = yamlpos.loads("{}", name)
    for c in complaints:
        problem = located.problem(c.code, c.path, c.message, c.hint, at_key=c.at_key)
        yield Problem(code=c.code, message=c.message, hint=c.hint, where=Where(file=name, line=line, column=problem.where.column))


# ---------------------------------------------------------------- CSV


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    line: int
    cells: Mapping[str, str]


def _of_csv(path: Path, common: Common) -> Iterator[Found]:
    with _opened(path) as file:
        head = file.readline()
        reader = csv.reader(_lines(file, path), delimiter=";" if head.count(";") > head.count(",") else ",")
        names = [n.strip().lower() for n in next(csv.reader([head], delimiter=";" if head.count(";") > head.count(",") else ","), [])]
        _check_columns(names, path)
        group: list[_Row] = []
        done: set[str] = set()
        for row in _rows(reader, names, path):
            name = row.cells.get("contract", "")
            if group and name != group[0].cells.get("contract", ""):
                yield _contract(group, path, common, done)
                group = []
            group.append(row)
        if group:
            yield _contract(group, path, common, done)


def _check_columns(names: Sequence[str], path: Path) -> None:
    problems, where = [], Where(file=str(path), line=1)
    for name in names:
        if name in COLUMNS:
            continue
        near = get_close_matches(name, COLUMNS, n=1)
        hint = f'Did you mean "{near[0]}"?' if near else f"Known are: {', '.join(COLUMNS)}."
        if name == "unit_amount":
            hint = "A CSV has prices in major units (30.00) in the column unit_price."
        problems.append(Problem(code="unknown-column", message=f'There is no column "{name}".', hint=hint, where=where))
    for name in ("contract", "account", "start"):
        if name not in names:
            hint = "The first line of the file names the columns."
            problems.append(Problem(code="missing-column", message=f'The column "{name}" is missing.', hint=hint, where=where))
    if len(set(names)) != len(names):
        twice = ", ".join(sorted({n for n in names if names.count(n) > 1}))
        problems.append(Problem(code="duplicate-column", message=f"A column stands twice: {twice}.", hint="Remove one of them.", where=where))
    if problems:
        raise ConfigError(problems)


def _rows(reader: Any, names: Sequence[str], path: Path) -> Iterator[_Row]:
    before = 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise ConfigError([Problem(code="bad-csv", message=f"This is no CSV: {error}.", hint="Check the quotes.", where=Where(file=str(path), line=before + 1))]) from error
        if cells is None:
            return
        line, before = before + 1, reader.line_num + 1
        values = {name: cell.strip() for name, cell in zip(names, cells, strict=False) if cell.strip()}
        if any(c.strip() for c in cells[len(names) :]):
            values["too many cells"] = "yes"
        if values:
            yield _Row(line=line, cells=values)


class _Csv:
    """One contract of a CSV on its way to an entry: where each of its keys stands, and what is wrong with its cells."""

    def __init__(self, rows: Sequence[_Row], path: Path) -> None:
        self.rows, self.file = rows, str(path)
        self.places: dict[Keys, tuple[int, str]] = {}
        self.problems: list[Problem] = []

    def wrong(self, line: int, column: str, code: str, message: str, hint: str = "") -> None:
        """Note a problem of a cell."""
        text = f"{column}: {message}" if column else message
        self.problems.append(Problem(code=code, message=text, hint=hint, where=Where(file=self.file, line=line, field=column or None)))

    def located(self, complaint: Complaint) -> Problem:
        """Return a complaint of the reader at the cell that it is about."""
        path = complaint.path
        while path and path not in self.places:
            path = path[:-1]
        line, column = self.places.get(path, (self.rows[0].line, ""))
        text = f"{column}: {complaint.message}" if column else complaint.message
        return Problem(code=complaint.code, message=text, hint=complaint.hint, where=Where(file=self.file, line=line, field=column or None))

    # ------------------------------------------------------------------ the contract

    def entry(self) -> dict[str, Any]:
        """Return the contract in the vocabulary of scenarios."""
        out: dict[str, Any] = {"contract": {"phases": [{"items": [], "add_invoice_items": []}]}, "prices": {}, "coupons": {}}
        said: dict[str, tuple[str, int]] = {}
        for row in self.rows:
            if "too many cells" in row.cells:
                self.wrong(row.line, "", "too-many-cells", "The row has more cells than the first line has columns.", "Put quotes around a cell with commas.")
            for column in _OF_CONTRACT:
                value = row.cells.get(column)
                if value is None:
                    continue
                if column not in said:
                    said[column] = (value, row.line)
                    self._put(out, column, value, row.line)
                elif said[column][0] != value:
                    hint = "Write it once, or the same in every row of the contract."
                    self.wrong(row.line, column, "contract-column-differs", f"{value!r} here, but {said[column][0]!r} in line {said[column][1]}.", hint)
        for row in self.rows:
            self._item(out, row, out.get("currency", ""))
        phase = out["contract"]["phases"][0]
        if not phase["items"] and not phase["add_invoice_items"] and not self.problems:
            self.wrong(self.rows[0].line, "", "no-item", "The contract has no item.", "Fill price, or product, unit_price and interval.")
        if "end" in phase:
            out["contract"].setdefault("end_behavior", "cancel")
        return out

    def _put(self, out: dict[str, Any], column: str, text: str, line: int) -> None:
        keys: Keys = _OF_CONTRACT[column]
        self.places[keys] = (line, column)
        value: Any = text
        if column in _LAST_DAYS:
            value = self._after(text)
        elif column in _WHOLE and text.isdecimal():
            value = int(text)
        place: Any = out
        for key in keys[:-1]:
            place = place[0] if isinstance(place, list) else place.setdefault(key, {})
        place[keys[-1]] = value

    def _after(self, text: str) -> str:
        """Return the day after a last day; what is no date is left to the reader's complaint."""
        try:
            return (date.fromisoformat(text) + timedelta(days=1)).isoformat()
        except ValueError:
            return text

    # ------------------------------------------------------------------ one item

    def _item(self, out: dict[str, Any], row: _Row, currency: str) -> None:
        cells = row.cells
        if not any(c in cells for c in _OF_ITEM):
            return
        phase = out["contract"]["phases"][0]
        interval = _INTERVALS.get(cells.get("interval", "").lower().replace("_", "-"))
        is_known = cells.get("interval", "").lower().replace("_", "-") in _INTERVALS
        price = self._price(out, row, currency, interval, is_known=is_known)
        if price is None:
            return
        is_once = "unit_price" in cells and is_known and interval is None
        kind = "add_invoice_items" if is_once else "items"
        base: Keys = ("contract", "phases", 0, kind, len(phase[kind]))
        taken = {i["id"] for k in ("items", "add_invoice_items") for i in phase[k]}
        name = cells.get("item") or cells.get("product") or price
        if name in taken:
            name = next(f"{name}-{n}" for n in range(2, 10_000) if f"{name}-{n}" not in taken)
        item: dict[str, Any] = {"id": name, "price": price}
        self.places |= {base: (row.line, ""), (*base, "price"): (row.line, "price" if "price" in cells else "unit_price")}
        for column, key in (("quantity", "quantity"), ("item_start", "start"), ("item_end", "end"), ("item_billed_through", "billed_through")):
            if column in cells:
                item[key] = self._after(cells[column]) if column in _LAST_DAYS else cells[column]
                self.places[(*base, key)] = (row.line, column)
        if "billed_amount" in cells:
            item["billed_amount"] = self._minor(row, "billed_amount", currency, is_whole=True)
            self.places[(*base, "billed_amount")] = (row.line, "billed_amount")
        if "discount_percent" in cells:
            item["discounts"] = [self._coupon(out, row)]
        elif "discount_months_left" in cells:
            self.wrong(row.line, "discount_months_left", "missing-cell", "There is no discount.", "Fill discount_percent, too.")
        phase[kind].append(item)

    def _price(self, out: dict[str, Any], row: _Row, currency: str, interval: tuple[str, int] | None, *, is_known: bool) -> str | None:
        """Return the name of the item's price: of the catalogue, or its own, which is put among the contract's."""
        cells = row.cells
        if "price" in cells:
            extra = [c for c in ("product", "unit_price", "interval", "per", "timing", "description") if c in cells]
            if extra:
                self.wrong(row.line, extra[0], "two-prices", f"The row names the catalogue price {cells['price']}, too.", "Fill price, or the other columns.")
                return None
            return cells["price"]
        missing = [c for c in ("product", "unit_price", "interval") if c not in cells]
        if missing:
            self.wrong(row.line, missing[0], "missing-cell", "It is blank.", "Fill price (of the catalogue), or product, unit_price and interval.")
            return None
        if not is_known:
            self.wrong(row.line, "interval", "unknown-value", f"{cells['interval']!r} is no interval.", f"It is one of: {', '.join(_INTERVALS)}.")
            return None
        amount = self._minor(row, "unit_price", currency)
        price: dict[str, Any] = {"product": cells["product"], "unit_amount": amount}
        if "description" in cells:
            price["description"] = cells["description"]
        if interval is not None:
            price["recurring"] = {"interval": interval[0], "interval_count": interval[1]}
            price["recurring"] |= {k: cells[k].lower() for k in ("per", "timing") if k in cells}
        name = f"{cells['product']} {cells['unit_price']} {currency.upper()} {cells['interval'].lower()}"
        while name in out["prices"] and out["prices"][name] != price:
            name += "'"
        out["prices"][name] = price
        self.places |= {("prices", name): (row.line, "unit_price"), ("prices", name, "recurring"): (row.line, "interval")}
        self.places |= {("prices", name, "recurring", k): (row.line, k) for k in ("per", "timing") if k in cells}
        return name

    def _minor(self, row: _Row, column: str, currency: str, *, is_whole: bool = False) -> Any:
        """Return an amount in major units in minor ones; 0 with a problem for what is none."""
        text = row.cells[column]
        try:
            amount = minor(Decimal(text), currency)
        except InvalidOperation:
            self.wrong(row.line, column, "not-money", f"{text!r} is no amount.", "Write major units with a point: 30.00.")
            return 0
        except ValueError:
            return 0  # the reader says that there is no such currency
        if is_whole and amount != amount.to_integral_value():
            self.wrong(row.line, column, "not-money", f"{text} is finer than the smallest unit of {currency.upper()}.", "Round it.")
            return 0
        return int(amount) if amount == amount.to_integral_value() else f"{amount:f}"

    def _coupon(self, out: dict[str, Any], row: _Row) -> str:
        percent, left = row.cells["discount_percent"], row.cells.get("discount_months_left")
        name = f"{percent} %" if left is None else f"{percent} %, {left} months left"
        coupon: dict[str, Any] = {"percent_off": percent}
        if left is not None:
            coupon["months_left"] = int(left) if left.isdecimal() else left
        out["coupons"][name] = coupon
        self.places[("coupons", name)] = (row.line, "discount_percent")
        self.places[("coupons", name, "months_left")] = (row.line, "discount_months_left")
        return name


def _contract(rows: Sequence[_Row], path: Path, common: Common, done: set[str]) -> Found:
    """Return the contract of rows that stand together; an id that stood before is refused."""
    reading = _Csv(rows, path)
    name = rows[0].cells.get("contract", "")
    entry = reading.entry()
    if name in done:
        reading.wrong(rows[0].line, "contract", "rows-apart", f"{name} stood further up already.", "Put all rows of a contract together.")
    done.add(name)
    data, complaints = (None, []) if reading.problems else read_contract(entry, common)
    if reading.problems:  # cells that cannot be read, and what else is wrong with the contract
        complaints = [c for c in read_contract(entry, common)[1] if c.path in reading.places]
    problems = (*reading.problems, *(reading.located(c) for c in complaints))
    lines = tuple(row.line for row in rows)
    return Found(file=str(path), lines=lines, id=name, data=None if problems else data, problems=problems)
