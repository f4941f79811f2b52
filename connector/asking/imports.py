"""`connector import contracts`: the contracts of another system from a file into the books, a bounded part at a time.

What a file says is read here, row by row; what can be read goes to the books in requests of a bounded size, each one transaction. A
contract is known by the other system's id, so an import that was cut off is simply run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from connector import app
from connector.asking.contract_files import Found, contracts_of
from connector.billing import catalogue
from connector.billing.imports import AT_ONCE
from connector.core.terms import Price, Settings
from connector.crm.login import id18
from connector.errors import Problem
from connector.mapping.language import payment_days
from connector.simulate.contracts import Common
from connector.verbs import Result, looking_house, open_config, progress_lines

REQUESTS_AT_ONCE = 5


def common_of(config: Any) -> Common:
    """Return what the configuration says of every contract that a file does not say itself."""
    days = payment_days(config.billing.payment_terms)
    how = ("send_invoice", days) if isinstance(days, int) else ("charge_automatically", 0)
    settings = Settings(
        proration=config.billing.proration, tax_rounding=config.billing.tax_rounding, cancellation_day=config.billing.cancellation_day
    )
    return Common(timezone=config.timezone, settings=settings, how=how, catalogue=_catalogue(config), name_of=id18)


def _catalogue(config: Any) -> Callable[[str, str], Price | str | None]:
    """Return a look-up of the catalogue's prices: the price, why it cannot be used, or None; each is read once."""
    known: dict[str, catalogue.CatalogPrice | None] = {}

    def price_of(name: str, currency: str) -> Price | str | None:
        if name not in known:
            with looking_house(config) as books, books.database.read() as unit:
                known[name] = catalogue.prices(unit, [name]).get(name)
        found = known[name]
        if found is not None and found.currency != currency:
            return f"The catalogue price {name} is in {found.currency.upper()}, the contract in {currency.upper()}."
        return found.price if found is not None else None

    return price_of


def contract_rows(config_path: Path, path: Path, *, is_dry: bool) -> Iterator[list[Result]]:
    """Import the contracts of a file and yield the rows of the report, one for each row of the file, a part at a time.

    Raises: ConfigError where the file as a whole cannot be read; HaltError where the books cannot be written now.
    """
    config = open_config(config_path)
    found = contracts_of(path, common_of(config))
    first = next(found, None)
    if not is_dry:
        bound(config)
    show = progress_lines()
    waiting: list[Found] = [] if first is None else [first]
    while True:
        waiting += islice(found, AT_ONCE * REQUESTS_AT_ONCE - len(waiting))
        if not waiting:
            return
        done = _carried_out(config, [f.data for f in waiting if f.data is not None], is_dry=is_dry)
        show("read" if is_dry else "imported", len(waiting))
        yield [row for f in waiting for row in _rows(f, done)]
        waiting = []


def bound(config: Any) -> None:
    """Make sure that the books know their CRM org: customers and deals are of an org, also those of an import before the first sync."""
    if app.has_database(config):
        with app.reading_house(config) as books:
            if books.billing.org:
                return
    with app.writing_house(config, "import contracts"):
        pass


def _carried_out(config: Any, contracts: Sequence[Mapping[str, Any]], *, is_dry: bool) -> dict[str, Mapping[str, Any]]:
    """Return what became of contracts, by their ids."""
    parts = [{"contracts": contracts[at : at + AT_ONCE]} for at in range(0, len(contracts), AT_ONCE)]
    results: list[Mapping[str, Any]] = []
    if is_dry:
        with looking_house(config) as books, books.database.read() as unit:
            for part in parts:
                data = {**part, "dry": True}
                results.append(books.billing.carry_out("contract.import", data, unit, books.now(), key="it_dry", actor="cli").result)
    else:
        results += app.requests(config, "import contracts", "contract.import", parts)
    return {row["id"]: row for result in results for row in result["rows"]}


def _rows(found: Found, done: Mapping[str, Mapping[str, Any]]) -> Iterator[Result]:
    """Yield the report's rows of one contract: the first says everything, the others point to it."""
    if found.data is None:
        row: Result = {
            "id": found.id, "result": "refused", "contract": None, "billed_now": None, "next_on": None, "next_amount": None,
            "problems": [_problem(p) for p in found.problems],
        }  # fmt: skip
    else:
        said = dict(done[found.id])
        problem = said.pop("problem", None)
        place = {"file": found.file, "line": found.lines[0], "column": None, "field": problem["field"] if problem else None}
        problems = [{**problem, "where": place}] if problem else []
        row = {"id": found.id, "result": said.pop("outcome"), **said, "problems": problems}
    yield {"row": f"{found.file}:{found.lines[0]}", "kind": "contract", **row}
    for line in found.lines[1:]:
        shown = {"row": f"{found.file}:{line}", "kind": "item", "id": found.id, "result": row["result"], "contract": row["contract"]}
        yield {**shown, "billed_now": None, "next_on": None, "next_amount": None, "problems": []}


def _problem(problem: Problem) -> Result:
    where = problem.where
    place = {"file": where.file, "line": where.line, "column": where.column, "field": where.field}
    return {"code": problem.code, "message": problem.message, "hint": problem.hint, "where": place}
