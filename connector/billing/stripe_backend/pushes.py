"""What is kept of pushes: the plans on their way, what Stripe holds of each contract, our own lines there, ids of shared objects.

A push is pending until all its steps are carried out (done) or Stripe refused one (refused). `next_try_at` is when a pending push
may be taken next: while somebody works on it the end of its lease, after a lost answer the end of the wait. Of a refused push it is
when the contract is planned anew; none: another push took its place.

Worked example: r1 of a deal is refused at its schedule; its row says so and is due again in an hour. An edit of the deal makes r2;
r1 keeps its problem for whoever asks, but is due no more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from connector.billing.batches import in_batches
from connector.billing.store import at_text
from connector.billing.stripe_backend import coding
from connector.billing.stripe_backend.steps import Held, Plan, Push
from connector.core.lines import Line
from connector.errors import Problem
from connector.kit.db import new_id
from connector.ports import Unit

LEASE = timedelta(minutes=3)  # longer than two calls may take; afterwards another worker may go on
PLANS = ""  # among the tries of a push: how often it was planned anew
WAIVED = "deleted"  # in place of the invoice item of a line that somebody deleted at Stripe: see `reading.waived`
LONGEST_KEY = 150  # of a push; step names and suffixes come behind it, 255 in all
_COLUMNS = "id, key, contract_id, deal, state, plan, results, tries, attempts, begun, begun_at, made_at, next_try_at"
_PUSH = f"SELECT {_COLUMNS} FROM stripe_push"
KEPT = timedelta(days=90)  # of a push that is over: Stripe forgets keys after a day, and what waits for one asks for it within hours
_FORGOTTEN_AT_ONCE = 500
_FIRST_WAIT = timedelta(hours=1)
_LONGEST_WAIT = timedelta(hours=24)


def key_of(name: str) -> str:
    """Return the key of the push for a decision or request of this name; a long one is digested."""
    if len(name) <= LONGEST_KEY:
        return name
    return f"{name[: LONGEST_KEY - 33]}~{hashlib.blake2b(name.encode(), digest_size=16).hexdigest()}"


def run_key(contract_id: str, now: datetime) -> str:
    """Return a new key for what a billing run sends for a contract."""
    return f"{contract_id}/run/{new_id('n', now).removeprefix('n_')}"


def is_run(push: Push) -> bool:
    """Whether a push is a billing run's, not a decision's."""
    return push.key.startswith(f"{push.contract_id}/run/")


# ---------------------------------------------------------------- a push begins


def begin(unit: Unit, *, key: str, contract_id: str, deal: str, plan: Plan, now: datetime) -> None:
    """Keep a plan to be sent; the same *key* again is nothing. Without steps only what Stripe holds is kept.

    contract_id - "" where it belongs to none: then it makes no contract busy. deal - who is told what became of it.
    """
    if contract_id:
        unit.execute("UPDATE stripe_push SET next_try_at = NULL WHERE contract_id = ? AND state = 'refused'", (contract_id,))
    if not plan.steps:
        if contract_id:
            save_held(unit, plan.held, now)
        return
    unit.execute(
        f"INSERT INTO stripe_push ({_COLUMNS}, problem) VALUES (?,?,?,?,'pending',?,?,?,0,'',NULL,?,NULL,'') ON CONFLICT (key) DO NOTHING",
        (
            new_id("push", now), key_of(key), contract_id, deal, coding.push_text(plan), coding.push_text({}), coding.push_text({}), at_text(now),
        ),
    )  # fmt: skip


def drop(unit: Unit, key: str) -> None:
    """Forget a push of which nothing was sent: what it would have made is there already."""
    unit.execute("DELETE FROM stripe_push WHERE key = ? AND state = 'pending' AND attempts = 0", (key_of(key),))


# ---------------------------------------------------------------- what is asked of pushes


def _push(row: tuple[Any, ...]) -> Push:
    def instant(text: str | None) -> datetime | None:
        return datetime.fromisoformat(text) if text else None

    return Push(
        id=row[0], key=row[1], contract_id=row[2], deal=row[3], state=row[4], plan=coding.plan_from_text(row[5]),
        results=coding.results_from_text(row[6]), tries=coding.results_from_text(row[7]), attempts=row[8], begun=row[9],
        begun_at=instant(row[10]), made_at=datetime.fromisoformat(row[11]), next_try_at=instant(row[12]),
    )  # fmt: skip


def found(unit: Unit, key: str) -> Push | None:
    """Return a push by its key, or by the name that it was made from."""
    rows = unit.query(f"{_PUSH} WHERE key = ?", (key_of(key),))
    return _push(rows[0]) if rows else None


def problem_of(unit: Unit, key: str) -> Problem | None:
    """Return why a push was refused, None where it was not."""
    rows = unit.query("SELECT problem FROM stripe_push WHERE key = ? AND state = 'refused'", (key_of(key),))
    return coding.problem_from_text(rows[0][0]) if rows and rows[0][0] else None


def busy(unit: Unit, contract_ids: Iterable[str]) -> dict[str, str]:
    """Return the deal of the push that is on its way, by contract: such a contract takes nothing new."""
    found: dict[str, str] = {}
    for batch, marks in in_batches(contract_ids):
        sql = f"SELECT contract_id, deal FROM stripe_push WHERE state = 'pending' AND contract_id IN ({marks})"
        found.update((row[0], row[1]) for row in unit.query(sql, batch))
    return found


def is_on_its_way(unit: Unit, stripe_id: str) -> bool:
    """Whether something that belongs to no contract and names an object of Stripe is still to be sent: a request about an invoice."""
    sql = "SELECT 1 FROM stripe_push WHERE state = 'pending' AND contract_id = '' AND plan LIKE ? ESCAPE '!' LIMIT 1"
    return bool(unit.query(sql, (f'%"{stripe_id.replace("_", "!_")}"%',)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A push that is on its way, or whose refusal stands: nothing took its place."""

    contract_id: str
    key: str
    deal: str
    problem: Problem | None

    @property
    def is_run(self) -> bool:
        """Whether a billing run made it."""
        return self.key.startswith(f"{self.contract_id}/run/")


def standing(unit: Unit, contract_ids: Iterable[str]) -> dict[str, Standing]:
    """Return the push of each contract that is on its way or whose refusal stands."""
    found: dict[str, Standing] = {}
    for batch, marks in in_batches(contract_ids):
        sql = (
            "SELECT contract_id, key, deal, problem FROM stripe_push WHERE (state = 'pending' OR (state = 'refused' AND next_try_at IS NOT NULL))"
            f" AND contract_id IN ({marks}) ORDER BY id"
        )
        for contract_id, key, deal, problem in unit.query(sql, batch):
            why = coding.problem_from_text(problem) if problem else None
            found[contract_id] = Standing(contract_id=contract_id, key=key, deal=deal, problem=why)
    return found


def waiting(unit: Unit) -> int:
    """Return how many pushes are on their way."""
    return int(unit.query("SELECT COUNT(*) FROM stripe_push WHERE state = 'pending'")[0][0])


def refused(unit: Unit) -> int:
    """Return of how many contracts the last push was refused: the refusal stands."""
    sql = "SELECT COUNT(DISTINCT contract_id) FROM stripe_push WHERE state = 'refused' AND next_try_at IS NOT NULL AND contract_id <> ''"
    return int(unit.query(sql)[0][0])


# ---------------------------------------------------------------- taking one, and how it goes on


_DUE = "state = 'pending' AND (next_try_at IS NULL OR next_try_at <= ?)"


def due(unit: Unit, now: datetime, limit: int) -> list[tuple[str, str]]:
    """Return (id, customer) of pending pushes that nobody works on, in order; "" for the customer of one that belongs to no contract."""
    sql = (
        f"SELECT p.id, COALESCE(c.customer_id, '') FROM (SELECT id, contract_id FROM stripe_push WHERE {_DUE} ORDER BY id LIMIT ?) p"
        " LEFT JOIN contract c ON c.id = p.contract_id ORDER BY p.id"
    )
    return [(row[0], row[1]) for row in unit.query(sql, (at_text(now), limit))]


def taken(unit: Unit, now: datetime, push_id: str) -> Push | None:
    """Take a pending push, with a lease; None where another worker has it, or it is over."""
    # it is taken before it is read: so nobody else can have gone on with it in between
    if not unit.execute(f"UPDATE stripe_push SET next_try_at = ? WHERE id = ? AND {_DUE}", (at_text(now + LEASE), push_id, at_text(now))):
        return None
    return _push(unit.query(f"{_PUSH} WHERE id = ?", (push_id,))[0])


def save(unit: Unit, push: Push) -> None:
    """Keep how far a push came."""
    unit.execute(
        "UPDATE stripe_push SET results = ?, tries = ?, attempts = ?, begun = ?, begun_at = ?, next_try_at = ? WHERE id = ? AND state = 'pending'",
        (
            coding.push_text(push.results), coding.push_text(push.tries), push.attempts, push.begun,
            at_text(push.begun_at) if push.begun_at else None, at_text(push.next_try_at) if push.next_try_at else None, push.id,
        ),
    )  # fmt: skip


def replaced(unit: Unit, push: Push, plan: Plan, now: datetime) -> Push:
    """Give a pending push another plan, under keys of its own; without steps it waits for one. Return it as it is then."""
    tries = {PLANS: int(push.tries.get(PLANS, 0)) + 1}
    made = replace(push, plan=plan, results={}, tries=tries, attempts=0, begun="", begun_at=None, made_at=now)
    sql = "UPDATE stripe_push SET plan = ?, made_at = ? WHERE id = ? AND state = 'pending'"
    unit.execute(sql, (coding.push_text(plan), at_text(now), push.id))
    save(unit, made)
    return made


def finish(unit: Unit, push: Push) -> bool:
    """Note that every step of a push was carried out; return False where another worker did so already."""
    sql = "UPDATE stripe_push SET state = 'done', begun = '', next_try_at = NULL, results = ? WHERE id = ? AND state = 'pending'"
    return bool(unit.execute(sql, (coding.push_text(push.results), push.id)))


def refuse(unit: Unit, push: Push, problem: Problem, now: datetime) -> bool:
    """Note that Stripe refused a push, and when its contract is planned anew; return False where another worker did so already."""
    before = unit.query("SELECT COUNT(*) FROM stripe_push WHERE contract_id = ? AND state = 'refused'", (push.contract_id,))[0][0]
    again = at_text(now + min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(before, 10))) if push.contract_id else None
    sql = (
        "UPDATE stripe_push SET state = 'refused', problem = ?, begun = '', next_try_at = ?, results = ?, attempts = ? WHERE id = ? AND state = 'pending'"
    )
    return bool(unit.execute(sql, (coding.problem_text(problem), again, coding.push_text(push.results), push.attempts, push.id)))


def take_over(unit: Unit) -> None:
    """Let every pending push be taken at once: whoever calls holds the ledger, so that nobody works on one any more."""
    unit.execute("UPDATE stripe_push SET next_try_at = NULL WHERE state = 'pending'")


def again(unit: Unit, contract_ids: Iterable[str], now: datetime) -> None:
    """Let contracts whose last push was refused be planned anew at once."""
    for batch, marks in in_batches(contract_ids):
        sql = f"UPDATE stripe_push SET next_try_at = ? WHERE state = 'refused' AND next_try_at IS NOT NULL AND contract_id IN ({marks})"
        unit.execute(sql, (at_text(now), *batch))


def due_again(unit: Unit, now: datetime, limit: int) -> list[str]:
    """Return contracts whose refused push is to be planned anew."""
    sql = (
        "SELECT DISTINCT contract_id FROM stripe_push WHERE state = 'refused' AND next_try_at <= ? AND contract_id <> ''"
        " ORDER BY contract_id LIMIT ?"
    )
    return [row[0] for row in unit.query(sql, (at_text(now), limit))]


def forget(unit: Unit, now: datetime) -> int:
    """Delete some of the oldest pushes that were over long ago, a batch a call; return how many."""
    oldest = "SELECT id, state, made_at, next_try_at FROM stripe_push ORDER BY id LIMIT ?"
    over = "made_at < ? AND (state = 'done' OR (state = 'refused' AND next_try_at IS NULL))"
    sql = f"DELETE FROM stripe_push WHERE id IN (SELECT id FROM ({oldest}) o WHERE {over})"
    return unit.execute(sql, (_FORGOTTEN_AT_ONCE, at_text(now - KEPT)))


# ---------------------------------------------------------------- what Stripe holds


def held_of(unit: Unit, contract_ids: Iterable[str]) -> dict[str, Held]:
    """Return what Stripe holds of contracts."""
    found: dict[str, Held] = {}
    for batch, marks in in_batches(contract_ids):
        rows = unit.query(f"SELECT contract_id, data FROM stripe_held WHERE contract_id IN ({marks})", batch)
        found.update((row[0], coding.held_from_text(row[1])) for row in rows)
    return found


def save_held(unit: Unit, held: Held, now: datetime) -> None:
    """Keep what Stripe holds of a contract, and which subscriptions are its."""
    unit.execute(
        "INSERT INTO stripe_held (contract_id, customer, data, updated_at) VALUES (?,?,?,?) ON CONFLICT (contract_id) DO UPDATE"
        " SET customer = excluded.customer, data = excluded.data, updated_at = excluded.updated_at",
        (held.contract_id, held.customer, coding.held_text(held), at_text(now)),
    )
    unit.executemany(
        "INSERT INTO stripe_subscription (subscription, schedule, contract_id, group_name) VALUES (?,?,?,?) ON CONFLICT (subscription)"
        " DO UPDATE SET schedule = excluded.schedule, contract_id = excluded.contract_id, group_name = excluded.group_name",
        [(g.subscription, g.schedule, held.contract_id, g.name) for g in held.groups if g.subscription],
    )
    for group in held.groups:
        if group.schedule and not group.subscription:  # of a schedule that has not begun, Stripe tells by its id alone
            save_shared(unit, ("schedule", f"{held.contract_id}/{group.name}"), group.schedule, now)


def sent_of(unit: Unit, contract_ids: Iterable[str]) -> dict[str, dict[str, Line]]:
    """Return our own lines that were sent and stand on no mirrored invoice yet, by contract and key; what was given up waits for nothing."""
    found: dict[str, dict[str, Line]] = {}
    for batch, marks in in_batches(contract_ids):
        sql = f"SELECT contract_id, key, data, invoice_item FROM stripe_line WHERE invoice_id IS NULL AND contract_id IN ({marks}) ORDER BY key"
        for contract_id, key, data, item in unit.query(sql, batch):
            line = coding.line_from_text(data)
            found.setdefault(contract_id, {})[key] = replace(line, is_pending=False) if item == WAIVED else line
    return found


def items_of(unit: Unit, contract_ids: Iterable[str]) -> dict[str, str]:
    """Return the invoice item of each line of contracts that was sent as one and stands on no mirrored invoice yet, by the line's key."""
    found: dict[str, str] = {}
    for batch, marks in in_batches(contract_ids):
        sql = f"SELECT key, invoice_item FROM stripe_line WHERE invoice_id IS NULL AND invoice_item <> '' AND contract_id IN ({marks})"
        found.update(unit.query(sql, batch))
    return found


def waived_of(unit: Unit, contract_ids: Iterable[str]) -> dict[str, list[Line]]:
    """Return the lines of contracts that were given up, because somebody deleted them at Stripe; contracts with none are missing."""
    found: dict[str, list[Line]] = {}
    for batch, marks in in_batches(contract_ids):
        sql = f"SELECT contract_id, data FROM stripe_line WHERE invoice_id IS NULL AND invoice_item = ? AND contract_id IN ({marks}) ORDER BY key"
        for contract_id, data in unit.query(sql, (WAIVED, *batch)):
            found.setdefault(contract_id, []).append(replace(coding.line_from_text(data), is_pending=False))
    return found


def lines_on_way(unit: Unit, contract_id: str) -> list[Line]:
    """Return our own lines of the pushes of a contract that are being sent."""
    rows = unit.query("SELECT plan FROM stripe_push WHERE contract_id = ? AND state = 'pending'", (contract_id,))
    return [line for (plan,) in rows for line in coding.plan_from_text(plan).lines]


def save_lines(unit: Unit, push: Push, lines: Sequence[Line], items: Mapping[str, str]) -> None:
    """Keep our own lines that a push sent; *items*: the invoice item of each, by its key."""
    unit.executemany(
        "INSERT INTO stripe_line (key, contract_id, push_id, data, invoice_item, invoice_id) VALUES (?,?,?,?,?,NULL)"
        " ON CONFLICT (key) DO UPDATE SET push_id = excluded.push_id, data = excluded.data, invoice_item = excluded.invoice_item",
        [(line.key, push.contract_id, push.id, coding.line_text(line), items.get(line.key, "")) for line in lines],
    )


def drop_items(unit: Unit, items: Iterable[str]) -> None:
    """Forget lines whose invoice items we deleted ourselves and that stand nowhere else."""
    unit.executemany("DELETE FROM stripe_line WHERE invoice_item = ? AND invoice_id IS NULL", [(item,) for item in items])


def save_facts(unit: Unit, invoice_id: str, lines: Sequence[Line]) -> None:
    """Note that own lines stand on an invoice or credit note of the books, also before their push is settled."""
    unit.executemany(
        "INSERT INTO stripe_line (key, contract_id, push_id, data, invoice_item, invoice_id) VALUES (?,?,'',?,'',?)"
        " ON CONFLICT (key) DO UPDATE SET invoice_id = excluded.invoice_id",
        [(line.key, line.contract_id, coding.line_text(line), invoice_id) for line in lines],
    )


def drop_lines(unit: Unit, keys: Iterable[str]) -> None:
    """Forget own lines that were sent and will never be billed, because what they rode on was replaced before it began."""
    unit.executemany("DELETE FROM stripe_line WHERE key = ? AND invoice_id IS NULL", [(key,) for key in keys])


# ---------------------------------------------------------------- objects that several pushes use

_RECOGNIZED = ("customer", "price")
"""What is told by its id when Stripe names it; every id that it has had is known (`stripe_known`)."""


def shared_id(unit: Unit, shared: tuple[str, str], contract_id: str = "") -> str | None:
    """Return the id by which Stripe's object (kind, our key) is used, None where none is known; contract_id - may go on with one of its own."""
    if contract_id and shared[0] in _RECOGNIZED:
        sql = "SELECT stripe_id FROM stripe_known WHERE kind = ? AND key = ? AND contract_id = ? ORDER BY stripe_id"
        own = unit.query(sql, (*shared, contract_id))
        if own:
            return str(own[0][0])
    rows = unit.query("SELECT stripe_id FROM stripe_object WHERE kind = ? AND key = ?", shared)
    return str(rows[0][0]) if rows else None


def former_id(unit: Unit, shared: tuple[str, str]) -> str:
    """Return the id that an object had last, also if it is used no more; "" for none."""
    rows = unit.query("SELECT stripe_id FROM stripe_known WHERE kind = ? AND key = ? ORDER BY made_at DESC, stripe_id DESC", shared)
    return str(rows[0][0]) if rows else ""


def save_shared(unit: Unit, shared: tuple[str, str], stripe_id: str, now: datetime) -> None:
    """Keep Stripe's id of a shared object, to be used from now on; ids that it had before stay known."""
    unit.execute(
        "INSERT INTO stripe_object (kind, key, stripe_id, made_at) VALUES (?,?,?,?) ON CONFLICT (kind, key) DO UPDATE"
        " SET stripe_id = excluded.stripe_id",
        (*shared, stripe_id, at_text(now)),
    )
    _know(unit, shared, stripe_id, "", now)


def adopt_shared(unit: Unit, shared: tuple[str, str], stripe_id: str, contract_id: str, now: datetime) -> None:
    """Keep the id of an object that the account had: used from now on where none was, else by this contract alone."""
    used = shared_id(unit, shared)
    if used is None:
        save_shared(unit, shared, stripe_id, now)
    elif used != stripe_id:
        _know(unit, shared, stripe_id, contract_id, now)


def _know(unit: Unit, shared: tuple[str, str], stripe_id: str, contract_id: str, now: datetime) -> None:
    if shared[0] in _RECOGNIZED:
        unit.execute(
            "INSERT INTO stripe_known (kind, key, stripe_id, contract_id, made_at) VALUES (?,?,?,?,?) ON CONFLICT DO NOTHING",
            (*shared, stripe_id, contract_id, at_text(now)),
        )


def forget_shared(unit: Unit, shared: tuple[str, str], stripe_id: str = "") -> None:
    """Use an object of Stripe's no more, because it is gone or archived there; lines that it billed are still told by it.

    stripe_id - forget it only as far as this is its id, "" for whichever it is.
    """
    kind, key = shared
    fits, which = (" AND stripe_id = ?", (stripe_id,)) if stripe_id else ("", ())
    unit.execute(f"DELETE FROM stripe_object WHERE kind = ? AND key = ?{fits}", (kind, key, *which))
    if kind in _RECOGNIZED:
        unit.execute(
            "INSERT INTO stripe_known (kind, key, stripe_id, contract_id, made_at) SELECT kind, key, stripe_id, '', made_at FROM stripe_known"
            f" WHERE kind = ? AND key = ? AND contract_id <> ''{fits} ON CONFLICT DO NOTHING",
            (kind, key, *which),
        )
        unit.execute(f"DELETE FROM stripe_known WHERE kind = ? AND key = ? AND contract_id <> ''{fits}", (kind, key, *which))


def keys_of(unit: Unit, kind: str, stripe_ids: Iterable[str]) -> dict[str, list[str]]:
    """Return our keys of objects of a kind, by each of Stripe's ids; those that nobody knows have none."""
    found: dict[str, list[str]] = {i: [] for i in stripe_ids if i}
    for batch, marks in in_batches(found):
        sql = f"SELECT DISTINCT stripe_id, key FROM stripe_known WHERE kind = ? AND stripe_id IN ({marks}) ORDER BY stripe_id, key"
        for stripe_id, key in unit.query(sql, (kind, *batch)):
            found[stripe_id].append(str(key))
    return found
