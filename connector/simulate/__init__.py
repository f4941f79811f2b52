"""`connector simulate`: plays a scenario file with the billing engine alone, without store, CRM or clock.

The same functions that bill for real step through the dates on which something happens; every billing step runs twice, and
the second run must find nothing to do.
"""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

from connector.errors import ConfigError, Problem, Where
from connector.simulate.actions import read_scenario
from connector.simulate.play import play
from connector.simulate.result import result_data, result_table
from connector.simulate.values import Complaint


def _parsed(text: str, name: str) -> Any:
    """Return the tree of a file; JSON the quick way where it is clean, everything else with positions."""
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text, parse_float=Decimal, object_pairs_hook=_unique)
        except ValueError:
            pass  # yamlpos reads it again and says where it breaks
    from connector.kit.yamlpos import loads  # late: clean JSON does without it

    return loads(text, name).value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _located(complaints: list[Complaint], text: str, name: str) -> list[Problem]:
    from connector.kit.yamlpos import loads  # late: only a bad file needs positions

    tree = loads(text, name)
    found = [tree.problem(c.code, c.path, c.message, c.hint, at_key=c.at_key) for c in complaints]
    return sorted(found, key=lambda p: (p.where.line or 0, p.where.column or 0))


def simulated(text: str, name: str) -> tuple[dict[str, Any], str]:
    """Return the result of a scenario as data and as a table.

    Raises: ConfigError with every problem of the file, in file order.
    """
    scenario, reader = read_scenario(_parsed(text, name))
    if reader.complaints or scenario is None:
        raise ConfigError(_located(reader.complaints, text, name))
    played = play(scenario)
    if played.complaints:
        raise ConfigError(_located(played.complaints, text, name))
    return result_data(scenario, played), result_table(scenario, played)


def _problem_data(problem: Problem) -> dict[str, Any]:
    where = problem.where
    return {
        "code": problem.code, "message": problem.message, "hint": problem.hint,
        "where": {"file": where.file, "line": where.line, "column": where.column}, "excerpt": problem.excerpt,
    }  # fmt: skip


def run(path: str, as_json: bool) -> int:
    """Play the scenario at *path*, print its result and return the exit status: 0, or 2 with problems."""
    try:
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            where = Where(file=path)
            problem = Problem(
                code="unreadable-file",
                message=f"{path} cannot be read: {reason}.",
                hint="Give the path of a scenario.",
                where=where,
            )
            raise ConfigError([problem]) from error
        data, table = simulated(text, path)
    except ConfigError as error:
        if as_json:
            print(
                json.dumps({"invoices": [], "problems": [_problem_data(p) for p in error.problems]}, ensure_ascii=False)
            )
        else:
            print("\n\n".join(p.text() for p in error.problems), file=sys.stderr)
        return 2
    print(json.dumps(data, ensure_ascii=False) if as_json else table)
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run `python -m connector.simulate FILE [--json]`."""
    arguments = sys.argv[1:] if argv is None else argv
    files = [a for a in arguments if not a.startswith("-")]
    if len(files) != 1 or any(a != "--json" for a in arguments if a.startswith("-")):
        print("usage: python -m connector.simulate FILE [--json]", file=sys.stderr)
        return 2
    return run(files[0], "--json" in arguments)
