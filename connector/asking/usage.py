"""`connector usage import`: records of usage from a file into the books, each once under its sender's id.

Rows go to the books in requests of a bounded size; the same file again records nothing, so that an import that was cut off is
simply run again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from connector import app
from connector.asking.rows import SourceRow, csv_rows, json_rows, text_of
from connector.billing import metering
from connector.billing.metering import nothing
from connector.billing.stripe_backend.asking.usage import outside
from connector.verbs import Result, open_config

ROWS_A_REQUEST = 1_000
COLUMNS = ("id", "contract", "deal", "item", "price", "product", "quantity", "time")
_NAMES = ("item", "price", "product")


def rows_of(path: Path) -> list[SourceRow]:
    """Return the rows of a CSV, a JSON list or JSON Lines. Raises: ConfigError for what is none, or has other columns."""
    text = text_of(path)
    if path.suffix.lower() == ".csv":
        return csv_rows(text, path, COLUMNS, ("id", "quantity", "time"))
    return json_rows(text, path, COLUMNS)


def _plain(row: SourceRow) -> Mapping[str, str]:
    """Return a row as the books take it: whose it is and what it is for under one name each."""
    said = {k: f"{v:f}" if isinstance(v, Decimal) else str(v) for k, v in row.values.items()}
    used_for = next((said[n] for n in _NAMES if n in said), "")
    return {
        "id": said.get("id", ""), "contract": said.get("contract") or said.get("deal", ""), "for": used_for, "time": said.get("time", ""),
        "quantity": said.get("quantity", ""),
    }  # fmt: skip


def import_file(config_path: Path, path: Path, *, is_dry: bool) -> Result:
    """Record the usage in a file; *is_dry* says what would become of each row and writes nothing."""
    config = open_config(config_path)
    rows = rows_of(path)
    parts = [rows[at : at + ROWS_A_REQUEST] for at in range(0, len(rows), ROWS_A_REQUEST)]
    report: list[dict[str, str]] = []
    if is_dry:
        with app.reading_house(config) as books, books.database.read() as unit:
            why_not = outside(books.now()) if config.billing.backend == "stripe" else nothing
            seen: dict[str, metering.Record] = {}
            for part in parts:
                found = metering.checked(unit, books.billing.org, [_plain(r) for r in part], books.now(), seen, why_not)
                report += [_line(row, *result) for row, result in zip(part, found.results, strict=True)]
    else:
        asked = [{"rows": [_plain(r) for r in part]} for part in parts]
        for part, done in zip(parts, app.requests(config, "usage import", "usage.record", asked), strict=True):
            report += _report(part, done)
    counts = {word: sum(r["result"] == word for r in report) for word in ("made", "unchanged", "refused")}
    return {"dry_run": is_dry, **counts, "rows": report}


def _report(part: Sequence[SourceRow], done: Mapping[str, Any]) -> list[dict[str, str]]:
    unchanged, refused = set(done["unchanged"]), dict(done["refused"])
    return [
        _line(row, "refused" if n in refused else "unchanged" if n in unchanged else "made", refused.get(n, "")) for n, row in enumerate(part)
    ]


def _line(row: SourceRow, result: str, what: str) -> dict[str, str]:
    return {"row": row.place, "id": str(row.values.get("id", "")), "result": result, "what": what}
