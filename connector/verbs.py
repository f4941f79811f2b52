"""What each command does, as one function that returns a plain result; the command line prints it.

Every verb opens what it needs from `app` and closes it again. Writing verbs hold the ledger's lock; reading ones take none.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from connector import app, posting
from connector.config import Config, load_config
from connector.core.money import major
from connector.doctor import findings, visit
from connector.errors import ConfigError, HaltError, Problem, RejectedError, RetryableError, Where
from connector.kit import lock, observe, shipped
from connector.mapping.check import check as check_file
from connector.ports import Preview
from connector.sync import ledger, rounds
from connector.sync.plan import preview_of
from connector.sync.seam import Tally

Result = dict[str, Any]
_PROGRESS_EVERY_S = 2.0


def open_config(path: Path, env: Mapping[str, str] = os.environ) -> Config:
    """Load the configuration and set up logging by it."""
    config = load_config(path, env)
    observe.configure(config.log.format, config.log.level, sys.stderr)
    return config


def set_up(config: Config, verb: str) -> None:
    """Make the database where there is none yet, for what may come before the first sync."""
    if app.has_database(config):
        return
    try:
        with lock.ledger(config.database, app.lock_path(config), verb):
            app.open_database(config, may_migrate=True).close()
    except HaltError as error:
        if error.code != "ledger-locked":  # else whoever holds the lock sets it up
            raise


@contextmanager
def looking_house(config: Config) -> Iterator[app.Books]:
    """Give the books to look at, for a dry run; empty ones in a temporary folder where there are none yet."""
    if app.has_database(config):
        with app.reading_house(config) as books:
            yield books
        return
    with tempfile.TemporaryDirectory() as folder:
        empty = replace(config, database=f"sqlite:///{folder}/empty.db")
        app.open_database(empty, may_migrate=True).close()
        with app.reading_house(empty) as books:
            yield books


def progress_lines() -> Callable[[str, int], None]:
    """Return a function that shows counts as work goes on: one line redrawn on a terminal, now and then a line elsewhere."""
    totals: dict[str, int] = {}
    state = {"last": time.monotonic()}
    is_terminal = sys.stderr.isatty()

    def show(what: str, count: int) -> None:
        totals[what] = totals.get(what, 0) + count
        if count == 0 or time.monotonic() - state["last"] < (0.1 if is_terminal else _PROGRESS_EVERY_S):
            return
        state["last"] = time.monotonic()
        text = ", ".join(f"{n:,} {w}" for w, n in totals.items())
        sys.stderr.write(f"\r{text}\033[K" if is_terminal else f"{text}\n")
        sys.stderr.flush()

    return show


def exit_of(result: Mapping[str, Any]) -> int:
    """Return the documented exit status of a run's result."""
    if result.get("internal_errors"):
        return 70
    return 1 if result["problems"] else 0


def _problem(problem: Problem) -> Result:
    return {"record": problem.where.record, "code": problem.code, "message": problem.message, "hint": problem.hint}


# ---------------------------------------------------------------- setting up


def init(folder: Path) -> Result:
    """Write config.yaml and mappings/ into *folder*; existing files stay as they are."""
    written, kept = [], []
    today = datetime.now(UTC).date().isoformat()
    for name, text in shipped.shipped_files().items():
        target = folder / ("config.yaml" if name == "config.example.yaml" else name)
        if target.exists():
            kept.append(str(target))
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text.replace("# start_from: 2026-01-01", f"start_from: {today}  "), encoding="utf-8")
        written.append(str(target))
    return {"written": written, "kept": kept}


def mapping_check(config_path: Path, files: Sequence[Path], *, is_offline: bool) -> Result:
    """Check mapping files, against the CRM unless *is_offline*; warnings come back. Raises: ConfigError with every problem."""
    config = open_config(config_path)
    chosen = list(files) or [Path(s.mapping) for s in config.sources]
    parsed = [app.load_mapping(str(f), _text_of(f)) for f in chosen]
    describe, org = None, None
    if not is_offline:
        crm = app.build_crm(config)
        org = crm.connect()
        describe = app.described(crm, parsed)
    read = [check_file(source, describe=describe, org=org, public_url=config.web.public_url) for source in parsed]
    problems = [p for _, found in read for p in found]
    if any(mapping is None for mapping, _ in read):
        raise ConfigError(problems)
    return {"files": [str(f) for f in chosen], "problems": problems}


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        where = Where(file=str(file))
        problem = Problem(code="unreadable-file", message=f"Cannot read it: {error.strerror}.", hint="Check the path.", where=where)
        raise ConfigError([problem]) from error


def mapping_fields(config_path: Path, object_name: str) -> list[Result]:
    """Return the fields of a CRM object, for whoever writes a mapping."""
    config = open_config(config_path)
    crm = app.build_crm(config)
    crm.connect()
    found = crm.describe([object_name]).get(object_name)
    if found is None:
        raise RejectedError(
            Problem(
                code="unknown-object",
                message=f"The CRM shows no object {object_name}.",
                hint="Check its API name (custom ones end in __c) and the integration user's rights.",
            )
        )
    return [
        {
            "name": f.name,
            "type": f.type,
            "label": f.label,
            "can_write": "yes" if f.is_updateable else "",
            "note": "calculated: its changes are seen by the nightly comparison only" if f.is_calculated else "",
        }
        for f in sorted(found.fields.values(), key=lambda f: f.name)
    ]


def check(config_path: Path) -> Result:
    """Check everything a run needs, one row or more a check, each failure with its fix; writes nothing anywhere."""
    found = visit.examined(config_path, os.environ)
    rows = [{**asdict(f), "where": {k: v for k, v in asdict(f.where).items() if v is not None}} for f in found]
    counts = {state: sum(f.state == state for f in found) for state in findings.STATES}
    return {"ok": not counts["fail"], "exit_status": findings.exit_status(found), "counts": counts, "checks": rows}


# ---------------------------------------------------------------- running


def sync(config_path: Path, *, source: str | None, record: str | None, is_full: bool) -> Result:
    """Run rounds until nothing is due; the result has the shape documented for `connector sync --json`."""
    config = open_config(config_path)
    if source is not None:
        config = _only_source(config, source)
    tally = Tally()
    with app.writing_house(config, "sync", progress=progress_lines()) as house:
        before = house.crm.usage().calls
        rounds.sync(house.seam, tally, record=record, is_full=is_full)
        posting.post(config, house.database, house.clock.now())
        rounds.count_open(house.seam, tally)
        calls = house.crm.usage().calls
    return _tally_result(tally, calls) | {"api_calls_before": before}


def _only_source(config: Config, name: str) -> Config:
    chosen = tuple(s for s in config.sources if s.name == name)
    if not chosen:
        known = ", ".join(s.name for s in config.sources)
        raise ConfigError([Problem(code="unknown-source", message=f"There is no source {name}.", hint=f"Known: {known}.")])
    return replace(config, sources=chosen)


def _tally_result(tally: Tally, calls: int) -> Result:
    swept: dict[str, Any] = {} if tally.swept is None else {"compared": tally.swept.checked, "drift": tally.swept.drift, "sweep": tally.swept.text()}
    if tally.compared is not None:
        swept |= {"compared_there": tally.compared.text(), "missed_there": tally.compared.missed, "drift_there": tally.compared.drift}
    return {
        "staged": tally.staged,
        "mapped": tally.mapped,
        "applied": tally.applied,
        "written": tally.written,
        "sent": tally.sent,
        "waiting": tally.waiting,
        "parked": tally.parked,
        "api_calls": calls,
        "internal_errors": tally.internal_errors,
        "problems": [_problem(p) for p in tally.problems],
    } | swept


def bill(config_path: Path, *, as_of: str | None) -> Result:
    """Bill everything due at *as_of* (default now), then tell the CRM."""
    config = open_config(config_path)
    now = datetime.now(UTC)
    instant = parsed_instant(as_of, config.timezone) if as_of else now
    if instant > now and not _may_bill_ahead(config):
        raise ConfigError(
            [
                Problem(
                    code="as-of-in-future",
                    message=f"--as-of {as_of} lies after now.",
                    hint="Real invoices are not made ahead of time; `connector plan` and `simulate` show the future.",
                )
            ]
        )
    tally, posted = Tally(), posting.Posted()
    calls = 0
    try:
        with app.writing_house(config, "bill", progress=progress_lines()) as house:
            billed = rounds.bill(house.seam, instant, tally)
            posted.add(posting.post(config, house.database, max(instant, house.clock.now())))
            rounds.count_open(house.seam, tally)
            calls = house.crm.usage().calls
    except RetryableError as error:
        billed = _billed_alone(config, instant, error, posted)
        tally.problems.append(Problem(code="crm-unreachable", message=str(error), hint="The CRM is told at the next round."))
    result = _tally_result(tally, calls)
    result["problems"] += [_problem(p) for p in billed.problems]
    mails = {"mailed": posted.sent, "mails_failed": posted.failed, "mails_waiting": posted.later}
    return result | {k: v for k, v in asdict(billed).items() if k != "problems"} | mails


def _billed_alone(config: Config, instant: datetime, error: RetryableError, posted: posting.Posted) -> rounds.Billed:
    """Bill the books while the CRM cannot be reached; invoices stay drafts if it was last read too long ago (deals.md 9).

    Raises: *error* where there are no books yet.
    """
    if not app.has_database(config):
        raise error
    with app.books_to_write(config, "bill") as books:
        now = books.now()
        hold = rounds.is_silent_since(books.database, app.source_objects(config), now, max_age_s=config.billing.max_crm_age_s)
        stop = threading.Event()
        done = rounds.bill_books(books.database, books.billing, instant, hold=hold, stop=stop)
        app.send_alone(books, stop=stop)
        done.add(rounds.follow_up(books.database, books.billing, instant, hold=hold, stop=stop, log=observe.log))
        posted.add(posting.post(config, books.database, max(instant, books.now())))
        return done


def _may_bill_ahead(config: Config) -> bool:
    return config.crm.kind == "demo" or config.crm.url.startswith(("http://127.0.0.1", "http://localhost", "http://[::1]"))


def parsed_instant(text: str, timezone: str) -> datetime:
    """Return a date (midnight in the business time zone) or an ISO instant as aware UTC. Raises: ConfigError."""
    try:
        if len(text) == len("2026-01-01"):
            day = date.fromisoformat(text)
            return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(timezone)).astimezone(UTC)
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        problem = Problem(code="bad-instant", message=f"{text} is no date.", hint="Write 2026-07-01 or 2026-07-01T00:00:00Z.")
        raise ConfigError([problem]) from error
    return (instant if instant.tzinfo else instant.replace(tzinfo=ZoneInfo(timezone))).astimezone(UTC)


def plan(config_path: Path, record: str) -> Result:
    """Return what one CRM record would do; reads the CRM and the books, writes nothing anywhere."""
    if re.fullmatch(r"[0-9A-Za-z]{15}(?:[0-9A-Za-z]{3})?", record) is None:
        hint = "It is the part of 15 or 18 signs in the address of the record's page, such as 0065g000000002BAAQ."
        raise ConfigError([Problem(code="bad-argument", message=f"{record!r} is no record id.", hint=hint)])
    config = open_config(config_path)
    database = app.open_database(config, may_migrate=False) if app.has_database(config) else None
    with app.planning_house(config, database) as house:
        found = preview_of(house.seam, record)
    currency = found.preview.currency if found.preview else ""
    return {
        "object": found.object,
        "record": record,
        "label": found.label,
        "decision": found.decision,
        "values": [{"target": v.target, "source": v.source, "value": str(v.value), "rule": v.rule} for v in found.values],
        "invoices": preview_invoices(found.preview, currency),
        "more_follow": found.preview is not None and found.preview.has_more,
        "note": notes_of(found.preview) if found.preview is not None else "",
        "held": held_as(found.preview),
        "value": str(major(found.preview.value, currency)) if found.preview and currency else None,
        "problems": [_problem(p) for p in found.problems],
    }


TOGETHER = "The customer gets one invoice for all contracts: these lines go on it at the next billing run."


def notes_of(preview: Preview) -> str:
    """Return what is to be known of previewed invoices, in words."""
    return " ".join([*([TOGETHER] if preview.is_consolidated else []), *preview.notes])


def held_as(preview: Preview | None) -> Result | None:
    """Return how a billing service outside the books will hold what is previewed, None on the internal engine."""
    holding = preview.holding if preview is not None else None
    if holding is None:
        return None
    return {
        "at": holding.at,
        "subscriptions": [
            {
                "name": s.name, "every": s.every, "starts_on": s.starts_on, "ends_on": s.ends_on, "phases": s.phases, "items": s.items,
                "billed_ahead_to": s.billed_ahead_to,
            }
            for s in holding.subscriptions
        ],
        "by_connector": list(holding.by_connector),
        "not_shown": list(holding.unseen),
    }  # fmt: skip


def preview_invoices(preview: Preview | None, currency: str) -> list[Result]:
    """Return previewed invoices as they are printed, amounts in major units of *currency*."""
    if preview is None:
        return []
    return [
        {
            "on": i.on,
            "due_on": i.due_on,
            "total": f"{major(i.total, currency)} {currency.upper()}",
            "lines": [
                {
                    "description": x.description,
                    "quantity": str(x.quantity),
                    "start": x.start,
                    "end": x.end,
                    "amount": str(major(x.amount - x.discount, currency)),
                    "is_proration": x.is_proration,
                }
                for x in i.lines
            ],
        }
        for i in preview.invoices
    ]


# ---------------------------------------------------------------- the ledger, for people


def deals_list(config_path: Path, *, state: str | None, limit: int) -> list[Result]:
    """Return deals with their state and message."""
    with app.reading_house(open_config(config_path)) as books, books.database.read() as unit:
        return [_deal_row(d) for d in ledger.list_deals(unit, state, "", limit)]


def _deal_row(deal: ledger.Deal) -> Result:
    problem = deal.problem or deal.write_problem
    return {
        "deal": deal.name,
        "label": deal.label,
        "action": deal.action,
        "state": deal.state,
        "contract": deal.contract_id or "",
        "message": f"{problem.message} {problem.hint}".strip() if problem else "",
    }


def deals_show(config_path: Path, name: str) -> Result:
    """Return one deal with its records and what was tried."""
    with app.reading_house(open_config(config_path)) as books, books.database.read() as unit:
        deal = _deal(unit, name)
        records = ledger.records_of_deals(unit, [deal.name], with_values=False).get(deal.name, [])
        history = ledger.history(unit, deal.name)
    keys = ("at", "step", "outcome", "detail")
    return _deal_row(deal) | {
        "revision": deal.revision,
        "decision_key": deal.decision_key,
        "waits_for": deal.wait_for,
        "applied_at": deal.applied_at,
        "records": [{"object": r.object, "record": r.id, "condition": r.condition, "version": r.seq, "mapping": (r.mapping_hash or "")[:8]} for r in records],
        "history": [dict(zip(keys, row, strict=True)) for row in history],
    }


def _deal(unit: Any, name: str) -> ledger.Deal:
    found = ledger.deals(unit, [name]).get(name)
    if found is None:
        raise RejectedError(
            Problem(
                code="unknown-deal",
                message=f"The ledger has no deal {name}.",
                hint="A deal's name is its opportunity's 18-character id; see `connector deals list`.",
            )
        )
    return found


def deals_retry(config_path: Path, name: str) -> Result:
    """Make a deal due again; the next round tries it."""
    with app.reading_house(open_config(config_path)) as books, books.database.transaction() as unit:
        deal = _deal(unit, name)
        ledger.make_due(unit, [(deal.name, deal.label, deal.root)], deal.org, ledger.iso(books.now()))
        ledger.take_up(unit, deal)
        ledger.tell_crm(unit, [deal.name])
    return {"text": f"{deal.label} ({name}) is due; the next round tries it.", "deal": name}


def deals_skip(config_path: Path, name: str, reason: str) -> Result:
    """Leave a deal out of billing, with the reason on its record; refused where it is billed already."""
    with app.reading_house(open_config(config_path)) as books, books.database.transaction() as unit:
        deal = _deal(unit, name)
        if deal.contract_id and not deal.is_withdrawn:
            hint = "Close a Cancel deal to stop its contract."
            raise RejectedError(Problem(code="deal-is-billed", message=f"{deal.label} is billed already.", hint=hint))
        problem = Problem(
            code="skipped",
            message=f"Left out of billing by decision: {reason.rstrip('.')}.",
            hint="The people who run the billing connector can take it up again.",
            where=Where(record=deal.name),
        )
        ledger.skip(unit, deal, problem)
        ledger.note(unit, [(deal.name, "skip", "skipped", reason)], ledger.iso(books.now()))
    return {"text": f"{deal.label} ({name}) is left out; `connector deals retry {name}` takes it up again.", "deal": name}
