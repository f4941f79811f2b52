"""Requests about mapping revisions: move billed records to the newest one, compare two of them on the records that were read."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from connector import app
from connector.asking.shared import bad
from connector.errors import ConfigError, HaltError, Problem, RejectedError
from connector.mapping.compile import Compiled, compile_mapping
from connector.sync import adopting, intents, rounds
from connector.sync.seam import Tally
from connector.verbs import Result, open_config

_WAIT_S = 300
_LOOK_S = 0.5
_SHORTEST_HASH = 6


def adopt(config_path: Path, where: str, *, is_dry: bool) -> Result:
    """Move the billed records that fulfil *where* to the newest revision of their mapping; *is_dry* only says what would follow.

    Raises: ConfigError for a condition that cannot be held against the records.
    """
    try:
        return _adopted(open_config(config_path), where, is_dry=is_dry)
    except RejectedError as error:
        if error.problem.code in adopting.BAD_WHERE:
            raise ConfigError([error.problem]) from error
        raise


def _adopted(config: Any, where: str, *, is_dry: bool) -> Result:
    if is_dry:
        with app.planning_house(config, _database(config)) as house, house.database.read() as unit:
            rows = [adopting.row_of(r) for r in adopting.adopting(house.seam, unit, where)]
        return {"text": f"Nothing was written. {_count(rows)} would be moved.", "rows": rows}
    rows = list(_requested(config, where)["rows"])
    return {"text": f"{_count(rows)} moved.", "rows": rows}


def _count(rows: list[Any]) -> str:
    moved = sum(bool(r["moved"]) for r in rows)
    same = sum(r["moved"] and r["what"] == "nothing differs" for r in rows)
    stay = f", {len(rows) - moved} stay" if len(rows) > moved else ""
    return f"{moved} billed records ({same} without any difference{stay})"


def _database(config: Any) -> Any:
    return app.open_database(config, may_migrate=False) if app.has_database(config) else None


def _requested(config: Any, where: str) -> Any:
    """Ask whoever holds the ledger, or do it here: moving records needs the mappings, which a request to the books does not."""
    with app.reading_house(config) as books, books.database.transaction() as unit:
        asked = intents.submit(unit, adopting.ADOPT, {"where": where}, actor="cli", now=books.now())
    deadline = time.monotonic() + _WAIT_S
    while time.monotonic() < deadline:
        try:
            with app.writing_house(config, "mapping adopt") as house:
                rounds.drain(house.seam, Tally(), hold=False)
        except HaltError as error:
            if error.code != "ledger-locked":
                raise
        with app.reading_house(config) as books, books.database.read() as unit:
            found = intents.found(unit, asked)
        if found is not None and found.state == "refused":
            code, message, hint = (str(found.result.get(k, "")) for k in ("code", "message", "hint"))
            raise RejectedError(Problem(code=code, message=message, hint=hint))
        if found is not None and found.state == "done":
            return found.result
        time.sleep(_LOOK_S)
    raise HaltError(
        f"The request is kept as {asked}, but whoever holds the ledger has not come to it within {_WAIT_S} s.",
        hint="It is carried out at the next round; do not ask again.",
        code="request-waits",
    )


# ---------------------------------------------------------------- two revisions side by side


def changed_by(config_path: Path, old: str, new: str) -> Result:
    """Return which of the records that were read the mappings *old* and *new* (files or revisions) read otherwise.

    Raises: ConfigError with every problem of the files, or where they read different objects.
    """
    config = open_config(config_path)
    with app.planning_house(config, _database(config)) as house, house.database.read() as unit:
        one, other = (_compiled(house, unit, name) for name in (old, new))
        if one.object != other.object:
            raise bad(f"{old} reads {one.object}, {new} reads {other.object}.", "Compare two mappings of the same object.")
        rows = list(adopting.changed_by(house.seam, unit, one, other))
    return {"text": f"{len(rows)} records are read otherwise.", "rows": rows}


def _compiled(house: app.House, unit: Any, name: str) -> Compiled:
    path = Path(name)
    if path.is_file():
        held = (name, path.read_text(encoding="utf-8"))
    else:
        found = adopting.revisions(unit, name) if len(name) >= _SHORTEST_HASH else []
        if len(found) != 1:
            hint = f"Name a file, or at least {_SHORTEST_HASH} digits of a revision as `connector deals show` lists it."
            raise bad(f"{name} is neither a mapping file nor one known revision.", hint)
        held = found[0]
    source = app.load_mapping(*held)
    describe = app.described(house.crm, [source])
    mapping, problems = app.checked(source, describe, house.seam.org)
    faults = [p for p in problems if not p.code.startswith("warn")]
    if mapping is None or faults:
        raise ConfigError(faults)
    return compile_mapping(mapping, describe, house.seam.org, app.mapping_options(house.config))
