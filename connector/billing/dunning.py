"""Following up what is not paid: reminders by mail, then what `dunning.after` says; and what a rep reads of it (decision D-145).

Each open invoice stands on one step (`invoice.reminded`), and an index of the open ones by step and due date finds those that go to
the next, so that a run costs what is due and nothing for what was paid. Paying, voiding or crediting an invoice takes it out of
that index: nothing else stops the steps, and nothing need be told to stop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from connector.billing import outbox, store
from connector.billing.contracting import command_for
from connector.billing.intents import Engine
from connector.billing.issue import today_in
from connector.billing.ladder import DONE, Ladder
from connector.billing.outbox import Entry, Mail, Mailing
from connector.billing.store import Event
from connector.charging import Chased
from connector.core.period import to_local
from connector.core.terms import Change
from connector.errors import Problem, RejectedError
from connector.kit.db import new_id
from connector.ports import InvoiceView, Unit

NEVER = -10_000  # the step of an invoice that no step was taken for
_OVER = ("withdrawn", "completed", "canceled")
_ROW = "i.id, i.number, i.customer_id, i.contract_id, i.due_on, i.issued_on, i.next_charge_at, i.collection_method"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dunned:
    """What one call did: how many invoices it moved, of how many somebody hears, and which deals' records now say something else."""

    invoices: int = 0
    told: int = 0
    deals: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Late:
    """An invoice that goes to its next step, having *passed* another."""

    id: str
    number: str
    customer_id: str
    contract_id: str
    due_on: date
    issued_on: date
    is_to_be_charged: bool
    is_automatic: bool
    passed: int


def run(unit: Unit, now: datetime, engine: Engine, *, limit: int, hold: bool) -> Dunned:
    """Take the next step for up to *limit* open invoices; fewer means that there are no more."""
    ladder, today = engine.ladder, today_in(engine.timezone, now)
    if not engine.mailing.is_on and ladder.after == "leave":
        return Dunned()
    late = [row for passed in _steps(unit) for row in _to_remind(unit, ladder, passed, today, limit)][:limit]
    reminded = _remind(unit, late, engine, now, today)
    told = {c for ids in _contracts_of(unit, reminded).values() for c in ids}
    if ladder.after == "leave" or len(late) == limit:
        return Dunned(invoices=len(late), told=len(reminded), deals=tuple(store.deals_of_contracts(unit, sorted(told))))
    given_up = [row for passed in _steps(unit) for row in _past_all(unit, ladder, passed, today, limit)][: limit - len(late)]
    contracts = _contracts_of(unit, given_up)
    problems = _give_up(unit, given_up, contracts, engine, now, hold=hold)
    told |= {c for ids in contracts.values() for c in ids}
    return Dunned(
        invoices=len(late) + len(given_up), told=len(reminded) + len(given_up),
        deals=tuple(store.deals_of_contracts(unit, sorted(told))), problems=tuple(problems),
    )  # fmt: skip


# ---------------------------------------------------------------- who is due


def _steps(unit: Unit) -> Iterator[int]:
    """Yield the steps that open invoices stand on: one look into the index each."""
    step = NEVER - 1
    while True:
        rows = unit.query("SELECT MIN(reminded) FROM invoice WHERE status = 'open' AND reminded > ?", (step,))
        if rows[0][0] is None or rows[0][0] >= DONE:
            return
        step = int(rows[0][0])
        yield step


def _to_remind(unit: Unit, ladder: Ladder, passed: int, today: date, limit: int) -> list[_Late]:
    following = next((step for step in ladder.remind if step > passed), None)
    if following is None:
        return []
    return _late(unit, passed, "1 = 1", (today - timedelta(days=following)).isoformat(), (), limit)


def _past_all(unit: Unit, ladder: Ladder, passed: int, today: date, limit: int) -> list[_Late]:
    """Return invoices behind their last step: the last reminder at least a day ago, no charge planned or its outcome unknown."""
    if any(step > passed for step in ladder.remind):
        return []
    condition = (
        "i.reminded_on < ? AND (i.collection_method <> 'charge_automatically' OR (i.due_on <= ? AND i.next_charge_at IS NULL"
        " AND NOT EXISTS (SELECT 1 FROM charge c WHERE c.invoice_id = i.id AND c.state = 'pending')))"
    )
    until = (today - timedelta(days=ladder.after_days(is_automatic=False))).isoformat()
    charged = (today - timedelta(days=ladder.after_days(is_automatic=True))).isoformat()
    return _late(unit, passed, condition, until, (today.isoformat(), charged), limit)


def _late(unit: Unit, passed: int, condition: str, until: str, more: Sequence[str], limit: int) -> list[_Late]:
    sql = (
        f"SELECT {_ROW} FROM invoice i WHERE i.status = 'open' AND i.reminded = ? AND i.due_on <= ? AND {condition}"
        " ORDER BY i.due_on, i.id LIMIT ?"
    )
    return [
        _Late(
            id=r[0], number=r[1], customer_id=r[2], contract_id=r[3], due_on=date.fromisoformat(r[4]), issued_on=date.fromisoformat(r[5]),
            is_automatic=r[7] == "charge_automatically", is_to_be_charged=r[7] == "charge_automatically" and r[6] is not None, passed=passed,
        )
        for r in unit.query(sql, (passed, until, *more, limit))
    ]  # fmt: skip


def _contracts_of(unit: Unit, rows: Sequence[_Late]) -> dict[str, list[str]]:
    """Return the contracts that each invoice bills."""
    found = {row.id: [row.contract_id] for row in rows if row.contract_id}
    several = [row.id for row in rows if not row.contract_id]
    for start in range(0, len(several), store.READ_ROWS):
        batch = several[start : start + store.READ_ROWS]
        sql = f"SELECT DISTINCT invoice_id, contract_id FROM line WHERE invoice_id IN ({','.join('?' * len(batch))}) AND contract_id <> ''"
        for invoice_id, contract_id in unit.query(sql, batch):
            found.setdefault(invoice_id, []).append(contract_id)
    return found


# ---------------------------------------------------------------- the steps


def _remind(unit: Unit, late: Sequence[_Late], engine: Engine, now: datetime, today: date) -> list[_Late]:
    """Move invoices to their latest step and return those reminded of; where a charge is planned its own mail speaks."""
    moved, entries, events, told = [], [], [], []
    for row in late:
        days = (today - row.due_on).days
        step = engine.ladder.step_for(days, row.passed)
        assert step is not None
        is_told = engine.mailing.is_on and not row.is_to_be_charged and engine.ladder.is_in_place(step, days, row.due_on, row.issued_on)
        moved.append((step, today.isoformat() if is_told else "", row.id))
        if is_told:
            key = f"{row.id}/reminder/{step}/{row.due_on}"
            told.append(row)
            entries.append(Entry(key=key, kind="reminder", invoice_id=row.id, step=step, data={"days": days}))
            events.append(_event(row, "invoice.reminded", {"number": row.number, "step": step}, now))
    unit.executemany("UPDATE invoice SET reminded = ?, reminded_on = ? WHERE id = ?", moved)
    engine.mailing.write(unit, entries, now)
    store.insert_events(unit, events if engine.mailing.leaves else (), store.at_text(now))
    return told


def _give_up(
    unit: Unit, rows: Sequence[_Late], contracts: Mapping[str, Sequence[str]], engine: Engine, now: datetime, *, hold: bool
) -> list[Problem]:
    """Carry out `after`: mark invoices unpaid, or cancel their contracts without credit; what was billed stays owed."""
    problems: list[Problem] = []
    if engine.ladder.after == "cancel":
        for row in rows:
            problems += _cancel(unit, row, contracts.get(row.id, ()), engine, now, hold=hold)
    unit.executemany("UPDATE invoice SET reminded = ?, dunning = ? WHERE id = ?", [(DONE, _WORDS[engine.ladder.after], r.id) for r in rows])
    facts = {"after": engine.ladder.after}
    store.insert_events(
        unit, [_event(row, "invoice.left_unpaid", {"number": row.number, **facts}, now) for row in rows], store.at_text(now)
    )
    return problems


_WORDS = {"unpaid": "unpaid", "cancel": "canceled"}


def _cancel(
    unit: Unit, row: _Late, contract_ids: Sequence[str], engine: Engine, now: datetime, *, hold: bool
) -> list[Problem]:
    problems = []
    for contract in store.contracts(unit, contract_ids):
        if contract.status in _OVER:
            continue
        key = f"dunning/{row.id}/{contract.id}"
        at = to_local(now, contract.terms.timezone)
        change = Change(id=key, kind="cancel", effective=at, made_at=at, when="at", prorate=False, invoice_now=False)
        command = command_for(unit, contract, change, key=key, label=f"{row.number} was not paid")
        (outcome,) = engine.apply([command], unit, now, hold=hold)
        if outcome.problem is not None:
            problems.append(outcome.problem)
    return problems


def _event(row: _Late, name: str, data: Mapping[str, Any], now: datetime) -> Event:
    return Event(
        id=new_id("ev", now), actor="run", name=name, contract_id=row.contract_id, customer_id=row.customer_id, invoice_id=row.id,
        data=store.event_text(data),
    )  # fmt: skip


# ---------------------------------------------------------------- what a rep reads


def chased(unit: Unit, invoices: Sequence[InvoiceView], ladder: Ladder, mailing: Mailing, timezone: str, now: datetime) -> dict[str, Chased]:
    """Return what was done about open invoices, by id; those nothing was done about yet are missing."""
    ids = [i.id for i in invoices]
    mails = outbox.of_invoices(unit, ids)
    today = today_in(timezone, now)
    found: dict[str, Chased] = {}
    for start in range(0, len(ids), store.READ_ROWS):
        batch = ids[start : start + store.READ_ROWS]
        sql = (
            "SELECT i.id, i.due_on, i.reminded, i.dunning, i.next_charge_at, i.attempts, c.message, c.done_at FROM invoice i"
            " LEFT JOIN charge c ON c.id = (SELECT id FROM charge WHERE invoice_id = i.id AND state = 'failed' ORDER BY number DESC LIMIT 1)"
            f" WHERE i.id IN ({','.join('?' * len(batch))})"
        )
        for row in unit.query(sql, batch):
            about = _chased(row, mails.get(row[0], ()), ladder, timezone, today)
            if not mailing.leaves:
                about = replace(about, next_on=None)
            if about != Chased():
                found[row[0]] = about
    return found


def _chased(row: Sequence[Any], mails: Sequence[Mail], ladder: Ladder, timezone: str, today: date) -> Chased:
    def day(at: str | None) -> date | None:
        return today_in(timezone, datetime.fromisoformat(at)) if at else None

    reminders = [m for m in mails if m.kind == "reminder" and m.state in ("queued", "sent", "failed")]
    sent = [made for m in reminders if m.state != "failed" and (made := day(m.made_at)) is not None]
    last = reminders[-1] if reminders else None
    due_on, retry_at = date.fromisoformat(row[1]), row[4]
    is_late = due_on < today
    return Chased(
        reminded_on=tuple(sent),
        next_on=ladder.next_on(due_on, row[2], today) if is_late and not (row[5] and retry_at) else None,
        failed_on=day(row[7]),
        failure=row[6] or "",
        retry_on=day(retry_at) if row[5] and retry_at else None,
        undelivered=last.error if last is not None and last.state == "failed" else "",
        is_unpaid=row[3] == "unpaid",
    )


def history(unit: Unit, invoice_id: str) -> list[tuple[str, str, str, str]]:
    """Return what was tried and mailed about an invoice, in order of time: (instant, what, how it stands, details)."""
    tries = unit.query(
        "SELECT made_at, number, state, message, amount, currency, method, reference FROM charge WHERE invoice_id = ? ORDER BY number",
        (invoice_id,),
    )
    found = [(r[0], f"charge {r[1]}", r[2], r[3] or r[7]) for r in tries]
    for mail in outbox.of_invoices(unit, [invoice_id]).get(invoice_id, ()):
        what = f"reminder {mail.step:+d}d" if mail.kind == "reminder" else mail.kind.replace("_", " ")
        found.append((mail.made_at, f"mail: {what}", mail.state, mail.error or mail.recipient))
    return sorted(found, key=lambda entry: entry[0])


def refuse_held(mailing: Mailing) -> None:
    """Raise RejectedError where no mail would leave."""
    if not mailing.is_on:
        raise RejectedError(Problem(code="no-mail", message="No mail leaves: `mail.url` is not set.", hint="Set `mail: {url: .., from: ..}`."))
