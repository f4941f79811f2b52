"""`connector import catalog` and `prices list`: products, prices and coupons from a file or from the CRM into the books.

Each entry of a file is read by the reader of scenarios, so that a price is written here as in a scenario; what cannot be read is
a refused row with its place, the others are imported. Rows go to the books in requests of a bounded size; a second import of the
same file changes nothing, so that an import that was cut off is simply run again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from connector import app
from connector.asking.rows import SourceRow, csv_rows, repeated, text_of
from connector.billing import catalogue, stocking
from connector.core.money import digits
from connector.core.money import minor as minor_of
from connector.errors import ConfigError, Problem, Where
from connector.kit import yamlpos
from connector.simulate.scenario import Reader
from connector.verbs import Result, looking_house, open_config, set_up

ROWS_A_REQUEST = 500
KINDS = {"products": "product", "prices": "price", "coupons": "coupon"}
CHARGES = ("recurring", "one_time", "usage")
_PRODUCT_KEYS = ("name", "charge_type", "price", "active")
COLUMNS = (
    "kind", "id", "product", "currency", "description", "active", "unit_price", "unit_amount", "unit_amount_decimal", "interval", "interval_count",
    "per", "usage_type", "timing", "tiers_mode", "tiers", "divide_by", "round", "tax_behavior", "percent_off", "amount_off", "duration",
    "duration_in_months", "applies_to", "name", "charge_type", "price",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of a catalogue as read: *row* for the books, or the problems that refuse it."""

    kind: str
    id: str
    place: str
    row: Mapping[str, Any] | None = None
    problems: tuple[Problem, ...] = ()


# ---------------------------------------------------------------- one entry


def _read(kind: str, name: str, value: Any, currency: str | None) -> tuple[dict[str, Any] | None, list[tuple[tuple[str | int, ...], str, str, str, bool]]]:
    """Return an entry as the books take it, and complaints: (path inside it, code, message, hint, at its key)."""
    said = value.get("currency", currency) if isinstance(value, dict) else currency
    reader = Reader({"currency": said} if said is not None else {})
    body = {k: v for k, v in value.items() if k != "active"} if isinstance(value, dict) else value
    row: dict[str, Any] = {"kind": kind, "id": name}
    if not name.strip() or name != name.strip():
        reader.complain("bad-name", (), "Its name is empty or begins or ends with a blank.", "Correct the name.")
    if kind == "price":
        price = reader.read_price(name, body, ())
        _check_currency(reader, said)
        row |= {"product": price.product, "currency": str(said or "").lower(), "data": catalogue.price_to_data(price)}
    elif kind == "coupon":
        coupon = reader.read_coupon(name, body, ())
        if coupon.amount_off is not None:
            _check_currency(reader, said)
        row |= {"currency": str(said).lower() if coupon.amount_off is not None and said else "", "data": catalogue.coupon_to_data(coupon)}
    else:
        data = reader.mapping(body, (), _PRODUCT_KEYS)
        charge = reader.word(data.get("charge_type"), ("charge_type",), CHARGES, "")
        row["data"] = {"name": str(data.get("name") or name), "charge_type": charge, "price": str(data.get("price") or ""), "crm_id": ""}
    row["active"] = reader.truth(value.get("active") if isinstance(value, dict) else None, ("active",), default=True)
    complaints = [(c.path, c.code, c.message, c.hint, c.at_key) for c in reader.complaints]
    return (None if complaints else row), complaints


def _check_currency(reader: Reader, said: Any) -> None:
    if said is None:
        reader.complain("no-currency", (), "It has no currency.", "Write `currency:` here, or once at the top of the file.")
        return
    try:
        digits(str(said))
    except ValueError:
        reader.complain("unknown-currency", ("currency",), f"{said} is no currency of ISO 4217.", "Write a code such as eur.")


# ---------------------------------------------------------------- files


def _of_yaml(located: yamlpos.Located) -> Iterator[Entry]:
    top = located.value
    unknown = [k for k in top if k not in (*KINDS, "currency", "description")]
    if unknown or not any(k in top for k in KINDS):
        hint = f"A catalogue has the keys {', '.join(KINDS)}, and `currency:` for all of them."
        found = unknown or ["nothing of a catalogue"]
        raise ConfigError([located.problem("unknown-key", (k,), f"The file has {k!r}.", hint, at_key=True) for k in found])
    currency = None if top.get("currency") is None else str(top["currency"])
    for key, kind in KINDS.items():
        entries = top.get(key)
        if entries is None:
            continue
        if not isinstance(entries, dict):
            raise ConfigError([located.problem("wrong-type", (key,), f"{key} must be a mapping of names.", "Write NAME: {..} below it.")])
        for name, value in entries.items():
            row, complaints = _read(kind, str(name), value, currency)
            place = f"{located.name}:{located.key_position((key, name))[0]}"
            problems = tuple(located.problem(code, (key, name, *path), said, hint, at_key=at_key) for path, code, said, hint, at_key in complaints)
            yield Entry(kind=kind, id=str(name), place=place, row=None if row is None else {**row, "row": place}, problems=problems)


def _of_csv(rows: Sequence[SourceRow]) -> Iterator[Entry]:
    twice = repeated(rows, [f"{r.values.get('kind', 'price')}/{r.values.get('id', '')}" for r in rows])
    for number, row in enumerate(rows):
        kind, name = str(row.values.get("kind", "price")).lower(), str(row.values.get("id", ""))
        problems: list[Problem] = []
        made: dict[str, Any] | None = None
        if kind not in KINDS.values():
            problems.append(row.problem("unknown-value", f'kind is "{kind}".', f"It is one of {', '.join(KINDS.values())}."))
        elif number in twice:
            problems.append(row.problem("duplicate-row", f"{name} stood in line {twice[number].line} before.", "Keep one of the two."))
        else:
            value, wrong = _from_cells(kind, row)
            made, complaints = _read(kind, name, value, None)
            problems += wrong
            problems += [
                row.problem(code, f"{'.'.join(map(str, path))}: {said}" if path and str(path[0]) not in said else said, hint)
                for path, code, said, hint, _ in complaints
            ]
        usable = made is not None and not problems
        yield Entry(kind=kind, id=name, place=row.place, row={**made, "row": row.place} if made and usable else None, problems=tuple(problems))


_PLACES: Mapping[str, tuple[str, ...]] = {
    **{name: (name,) for name in (
        "currency", "description", "tax_behavior", "tiers_mode", "percent_off", "duration", "name", "charge_type", "price", "amount_off",
        "duration_in_months", "active", "tiers", "applies_to",
    )},
    **{name: ("recurring", name) for name in ("interval", "interval_count", "usage_type", "timing", "per")},
    "divide_by": ("transform_quantity", "divide_by"), "round": ("transform_quantity", "round"),
}  # fmt: skip
"""Where the cell of a column stands in the vocabulary of scenarios."""
_WHOLE = ("amount_off", "duration_in_months", "interval_count", "divide_by")
_YES_NO = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _from_cells(kind: str, row: SourceRow) -> tuple[dict[str, Any], list[Problem]]:
    """Return the entry that the cells of a row say, in the vocabulary of scenarios, and what is wrong with them."""
    cells, wrong, out = dict(row.values), list[Problem](), dict[str, Any]()
    if kind == "price" and "product" in cells:
        out["product"] = cells.pop("product")
    for name, path in _PLACES.items():
        if name in cells:
            target = out.setdefault(path[0], {}) if len(path) > 1 else out
            target[name] = _cell(name, str(cells.pop(name)), row, wrong)
    _amount(cells, out, row, wrong)
    wrong += [
        row.problem("unknown-column", f"A {kind} has no {name}.", "Leave the cell empty.") for name in cells if name not in ("kind", "id")
    ]
    return out, wrong


def _cell(name: str, text: str, row: SourceRow, wrong: list[Problem]) -> Any:
    """Return what a cell says in the vocabulary of scenarios."""
    if name == "tiers":
        return _tiers(text, row, wrong)
    if name == "applies_to":
        return text.replace(";", " ").replace(",", " ").split()
    if name == "active":
        return _YES_NO.get(text.lower(), text)
    if name in _WHOLE:
        if text.lstrip("-").isdigit():
            return int(text)
        wrong.append(row.problem("not-a-number", f"{name} is {text}.", "Write a whole number."))
        return None
    return text


def _amount(cells: dict[str, Any], out: dict[str, Any], row: SourceRow, wrong: list[Problem]) -> None:
    """Read the amount of a row from the one column that says it: unit_amount and unit_amount_decimal are in minor units."""
    given = [name for name in ("unit_price", "unit_amount", "unit_amount_decimal") if name in cells]
    if len(given) > 1:
        wrong.append(row.problem("two-amounts", f"{' and '.join(given)} are both filled.", "Fill one of them."))
    for name in given:
        text = str(cells.pop(name))
        try:
            value = Decimal(text)
            if name == "unit_price":
                value = minor_of(value, str(out.get("currency", "")))
            elif name == "unit_amount" and not text.lstrip("-").isdigit():
                raise InvalidOperation
            out["unit_amount"] = f"{value:f}"
        except (ArithmeticError, ValueError):
            hint = "unit_price is in major units, such as 30.00; unit_amount in whole minor units, such as 3000; unit_amount_decimal may be 0.5."
            wrong.append(row.problem("not-money", f"{name} is {text}.", hint))


def _tiers(text: str, row: SourceRow, wrong: list[Problem]) -> list[dict[str, Any]]:
    """Return tiers written as "5:700:0 inf:650": up to, unit amount and flat amount in minor units."""
    found = []
    for part in text.replace(";", " ").replace("|", " ").split():
        cells = part.split(":")
        if len(cells) not in (2, 3):
            wrong.append(row.problem("bad-tier", f'The tier "{part}" is not understood.', 'Write "5:700:0 inf:650": up to, unit amount, flat amount.'))
            continue
        found.append(dict(zip(("up_to", "unit_amount", "flat_amount"), cells, strict=False)))
    return found


def entries_of(path: Path) -> list[Entry]:
    """Return the entries of a catalogue file: CSV by its ending, else YAML or JSON. Raises: ConfigError where it is none."""
    text = text_of(path)
    if path.suffix.lower() == ".csv":
        return list(_of_csv(csv_rows(text, path, COLUMNS, ("id",))))
    located = yamlpos.loads(text, str(path))
    if not isinstance(located.value, dict):
        raise ConfigError([located.problem("wrong-type", (), f"{path} holds no mapping.", "Write prices:, coupons: or products:.")])
    return list(_of_yaml(located))


# ---------------------------------------------------------------- the verbs


def import_file(config_path: Path, path: Path, *, is_dry: bool) -> Result:
    """Import a catalogue file; *is_dry* says what would become of each row and writes nothing."""
    return imported(config_path, entries_of(path), is_dry=is_dry)


def imported(config_path: Path, entries: Sequence[Entry], *, is_dry: bool) -> Result:
    """Bring entries into the books and return a report with a row for each, in the order they came."""
    config = open_config(config_path)
    refused = {
        e.place + e.id: {
            "row": e.place, "kind": e.kind, "id": e.id, "result": "refused", "what": " ".join(f"{p.message} {p.hint}".strip() for p in e.problems),
        }
        for e in entries
        if e.row is None
    }  # fmt: skip
    ready = sorted((e.row for e in entries if e.row is not None), key=lambda row: stocking.ORDER.index(row["kind"]))
    parts = [ready[at : at + ROWS_A_REQUEST] for at in range(0, len(ready), ROWS_A_REQUEST)]
    done: list[Mapping[str, Any]] = []
    if is_dry:
        with looking_house(config) as books, books.database.read() as unit:
            done += stocking.compared(unit, ready)[0]
    else:
        set_up(config, "import catalog")
        for result in app.requests(config, "import catalog", "catalogue.import", [{"rows": part} for part in parts]):
            done += result["rows"]
    by_place = {f"{r['row']}{r['id']}": r for r in done} | refused
    rows = [by_place[e.place + e.id] for e in entries]
    counts = {word: sum(r["result"] == word for r in rows) for word in ("made", "changed", "unchanged", "refused")}
    return {"dry_run": is_dry, **counts, "rows": rows, "problems": [_problem_of(p) for e in entries for p in e.problems]}


def _problem_of(problem: Problem) -> dict[str, Any]:
    where: Where = problem.where
    return {
        "code": problem.code, "message": problem.message, "hint": problem.hint, "excerpt": problem.excerpt,
        "where": {"file": where.file, "line": where.line, "column": where.column},
    }  # fmt: skip


def prices_list(config_path: Path, *, limit: int, after: str) -> list[Result]:
    """Return the catalogue's prices in order of id, in words."""
    with app.reading_house(open_config(config_path)) as books, books.database.read() as unit:
        found = catalogue.list_prices(unit, after=after, limit=limit)
        return [
            {
                "id": p.id, "product": p.product, "currency": p.currency.upper(), "price": catalogue.price_text(p.price, p.currency),
                "tax": p.price.tax_behavior, "active": p.is_active,
            }
            for p in found
        ]  # fmt: skip
