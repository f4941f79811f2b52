"""`connector prices migrate`: contracts from one price to another, chosen by a condition, a bounded part at a time.

The condition is an expression of the mapping language over the contract and its customer; which contracts it means is settled here,
and each part goes to the books as one request. Running it again finds only what was not migrated yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connector import app
from connector.asking.shared import bad
from connector.billing import migrating
from connector.errors import ConfigError, Problem, RejectedError
from connector.mapping.functions import ExpressionError, parsed_expression
from connector.verbs import Result, open_config, progress_lines

FIELDS = (
    "contract", "deal", "label", "status", "currency", "starts_on", "ends_on", "value", "annual_value", "collection_method", "customer.account",
    "customer.name", "customer.email", "customer.country", "customer.tax_exempt", "customer.language",
)  # fmt: skip
TIMES = ("now", "renewal")
BEHAVIORS = ("create_prorations", "always_invoice", "none")


def condition_of(text: str | None) -> Callable[[Mapping[str, Any]], bool]:
    """Return a condition on contracts as a function. Raises: ConfigError for one that is not understood or reads other fields."""
    if text is None:
        return lambda _contract: True
    try:
        found = parsed_expression(text)
    except ExpressionError as error:
        raise _bad_condition(text, error) from error
    unknown = [path for path in found.paths if path not in FIELDS]
    if unknown:
        raise bad(f"--where reads {', '.join(unknown)}, which a contract does not have.", f"It has: {', '.join(FIELDS)}.")

    def holds(contract: Mapping[str, Any]) -> bool:
        try:
            value = found.evaluate(contract)
        except ExpressionError as error:
            raise _bad_condition(text, error) from error
        if value is not None and not isinstance(value, bool):
            raise bad("--where is no condition: it gives a value, not true or false.", "Compare it: value > 1000.")
        return bool(value)

    return holds


def _bad_condition(text: str, error: ExpressionError) -> ConfigError:
    excerpt = f"{text}\n{' ' * error.offset}^"
    hint = error.hint or "See docs/mapping.md for the language of expressions."
    return ConfigError([Problem(code="bad-condition", message=f"--where: {error.message}", hint=hint, excerpt=excerpt)])


def _check_time(at: str, proration: str | None) -> None:
    """Refuse a time and proration that do not go together. Raises: ConfigError."""
    if at not in TIMES:
        raise bad(f"--at is {at}.", f"It is one of: {', '.join(TIMES)}.")
    if proration is not None and proration not in BEHAVIORS:
        raise bad(f"--proration is {proration}.", f"It is one of: {', '.join(BEHAVIORS)}.")
    if at == "now" and proration is None:
        raise bad("It is not said what becomes of the running period.", "Say --proration create_prorations, always_invoice or none.")
    if at == "renewal" and proration is not None:
        raise bad("At renewal nothing is prorated.", "Leave --proration out.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """What is asked for: from a price (or product) to one of the catalogue, when, with which proration, of which contracts."""

    from_price: str
    to_price: str
    at: str
    proration: str | None
    where: str | None


def migration_rows(config_path: Path, asked: Migration, *, is_dry: bool) -> Iterator[list[Result]]:
    """Migrate contracts and yield the rows of the report, a part at a time; *is_dry* writes nothing.

    Raises: ConfigError for arguments that make no sense; RejectedError where the new price is none.
    """
    _check_time(asked.at, asked.proration)
    holds = condition_of(asked.where)
    config, show, after = open_config(config_path), progress_lines(), ""
    with app.reading_house(config) as books, books.database.read() as unit:
        migrating.target_price(unit, asked.to_price)
    while True:
        with app.reading_house(config) as books, books.database.read() as unit:
            found = migrating.candidates(unit, asked.from_price, after=after, limit=migrating.AT_ONCE)
            if not found and not after:
                text = f"No running contract has ever had a price or product {asked.from_price}."
                raise RejectedError(Problem(code="unknown-price", message=text, hint="See `connector contracts show ID` for the names of its prices."))
            chosen = [c["contract"] for c in found if holds(c)]
            data = {"contracts": chosen, "from": asked.from_price, "to": asked.to_price, "at": asked.at, "proration": asked.proration}
            rows: list[Result] = []
            if chosen and is_dry:
                done = books.billing.carry_out("price.migrate", {**data, "dry": True}, unit, books.now(), key="it_dry", actor="cli")
                rows = list(done.result["rows"])
        if chosen and not is_dry:
            rows = list(app.requests(config, "prices migrate", "price.migrate", [data])[0]["rows"])
        show("looked at", len(found))
        if rows:
            yield rows
        if len(found) < migrating.AT_ONCE:
            return
        after = str(found[-1]["contract"])
