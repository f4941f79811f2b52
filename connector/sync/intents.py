"""Intents: what a person asked of the books, by command, console or page, kept until the one writer carries it out (decision D-35).

Whoever holds the ledger's lock carries out what is pending, each in its own transaction with its effect; an intent is keyed, so
that asking twice does it once. Those of kind `deal.*` are about the ledger, all others go to `Billing.carry_out`.

| state | |
|---|---|
| pending | nobody has come to it |
| sent | what it asks for is on its way outside, to a backend that is not ours; `settle_sent` asks what came of it |
| done | carried out, *result* says what it led to |
| refused | it cannot be, *result* is the problem |
"""

from __future__ import annotations

import getpass
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import msgspec
from sqlmodel import Field, Index

from connector.errors import ConnectorError, Problem, RejectedError
from connector.kit.db import new_id
from connector.ports import Billing, IntentResult, Unit
from connector.sync import imported, ledger
from connector.sync.ledger import Ledger
from connector.sync.seam import Transactions

AT_ONCE = 100
_SENT_AT_ONCE = 1_000
_WAITS = ("pending", "sent")
BUSY = "contract-busy"
"""The problem of a request about something that is on its way to a backend that is not ours: the request stays pending, its turn comes again."""
_encode = msgspec.json.Encoder(decimal_format="string").encode
_decode = msgspec.json.Decoder().decode


class IntentRow(Ledger, table=True):
    """One request: *data* and *result* are JSON; state pending, sent, done or refused."""

    __tablename__ = "intent"
    __table_args__ = (Index("intent_state", "state", "id"), Index("intent_actor", "actor", "id"))
    id: str = Field(primary_key=True)
    kind: str
    data: str
    actor: str
    state: str
    result: str
    made_at: str
    done_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A request as kept; *result* is what it led to, or the problem that refused it."""

    id: str
    kind: str
    data: Mapping[str, Any]
    actor: str
    state: str
    made_at: datetime
    result: Mapping[str, Any]

    @property
    def is_waiting(self) -> bool:
        """Whether nobody can say yet what it leads to."""
        return self.state in _WAITS


class Answers(Protocol):
    """A backend whose answers come later than the request."""

    def answer(  # noqa: PLR0913 - what was asked, and by which names its outcome is found
        self, kind: str, data: Mapping[str, Any], unit: Unit, now: datetime, *, key: str, actor: str, sent: Mapping[str, Any]
    ) -> IntentResult | None:
        """Return what a request led to that was *sent*, None while nobody knows. Raises: RejectedError where it was refused.

        sent - waits_for: the names it waits for; so_far: the values that its handler gave.
        """


Handler = Callable[[Intent, Unit, datetime], IntentResult]


def submit(unit: Unit, kind: str, data: Mapping[str, Any], *, actor: str, now: datetime, key: str | None = None) -> str:
    """Keep a request and return its id; the same *key* again is the same request, tried anew if it was refused."""
    intent_id = key or new_id("it", now)
    unit.execute(
        "INSERT INTO intent (id, kind, data, actor, state, result, made_at) VALUES (?,?,?,?,?,?,?) ON CONFLICT (id) DO UPDATE"
        " SET data = excluded.data, state = 'pending', result = '{}', made_at = excluded.made_at WHERE intent.state = 'refused'",
        (intent_id, kind, _text(data), actor, "pending", "{}", ledger.iso(now)),
    )
    return intent_id


def person() -> str:
    """Return who runs this program, as the event log names them."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a user without a name, as in some containers
        return f"cli:{os.getuid()}"


def found(unit: Unit, intent_id: str) -> Intent | None:
    """Return a request by its id."""
    rows = unit.query("SELECT id, kind, data, actor, state, made_at, result FROM intent WHERE id = ?", (intent_id,))
    return _intent(rows[0]) if rows else None


def of_actor(unit: Unit, actor: str, limit: int) -> list[Intent]:
    """Return what somebody asked for lately, newest first."""
    sql = "SELECT id, kind, data, actor, state, made_at, result FROM intent WHERE actor = ? ORDER BY id DESC LIMIT ?"
    return [_intent(row) for row in unit.query(sql, (actor, limit))]


def waiting_of(unit: Unit, actor: str) -> int:
    """Return how many requests of somebody wait."""
    return int(unit.query("SELECT COUNT(*) FROM intent WHERE actor = ? AND state IN ('pending', 'sent')", (actor,))[0][0])


def named(kind: str, *names: str) -> str:
    """Return the key of a request that people named, so that asking twice does it once."""
    return f"it_{hashlib.blake2b(repr((kind, *names)).encode(), digest_size=12).hexdigest()}"


def done_before(unit: Unit, key: str, said: str, name: str) -> Mapping[str, Any] | None:
    """Return what a request of this *key* led to that was carried out with the same words (*said*, kept with it); None: not yet.

    Raises: RejectedError where *name* stood for something else.
    """
    earlier = found(unit, key)
    if earlier is None or earlier.state == "refused":
        return None
    if earlier.data.get("said") != said:
        hint = "Give it another id to have it done, too; or leave the file as it was."
        message = f"{name} was asked for already, with other content, on {earlier.made_at:%Y-%m-%d}."
        raise RejectedError(Problem(code="same-id-other-content", message=message, hint=hint))
    return earlier.result if earlier.state == "done" else None


def _text(data: Mapping[str, Any]) -> str:
    return _encode(dict(data)).decode()


def _intent(row: tuple[Any, ...]) -> Intent:
    return Intent(
        id=row[0], kind=row[1], data=_decode(row[2]), actor=row[3], state=row[4], made_at=ledger.instant(row[5]), result=_decode(row[6])
    )


def carry_out(
    database: Transactions, billing: Billing, now: datetime, *, for_deals: Mapping[str, Handler] | None = None, leaves: str = ""
) -> int:
    """Carry out up to `AT_ONCE` pending requests in the order they came; return how many were. A refusal is a result, not an error.

    leaves - the kind of request that only another caller can carry out; it stays pending. One that cannot be carried out just now
    stays pending, too, and is not counted.
    """
    with database.read() as unit:
        pending = [
            _intent(r)
            for r in unit.query(
                "SELECT id, kind, data, actor, state, made_at, result FROM intent WHERE state = 'pending' AND kind <> ?"
                " ORDER BY made_at, id LIMIT ?",
                (leaves, AT_ONCE),
            )
        ]
    return sum(_carry_one(database, billing, intent, now, for_deals or {}) for intent in pending)


def settle_sent(database: Transactions, backend: Answers, now: datetime) -> int:
    """Answer the requests whose outcome is known by now, each in its own transaction; return how many were."""
    with database.read() as unit:
        sql = "SELECT id, kind, data, actor, state, made_at, result FROM intent WHERE state = 'sent' ORDER BY id LIMIT ?"
        sent = [_intent(row) for row in unit.query(sql, (_SENT_AT_ONCE,))]

    def answer(intent: Intent, unit: Unit) -> IntentResult | None:
        return backend.answer(intent.kind, intent.data, unit, now, key=intent.id, actor=intent.actor, sent=intent.result)

    return sum(_settled(database, intent, answer, now) for intent in sent)


def _carry_one(
    database: Transactions, billing: Billing, intent: Intent, now: datetime, for_deals: Mapping[str, Handler]
) -> bool:
    def carry(intent: Intent, unit: Unit) -> IntentResult:
        handler = for_deals.get(intent.kind)
        if handler is not None:
            return handler(intent, unit, now)
        return billing.carry_out(intent.kind, intent.data, unit, now, key=intent.id, actor=intent.actor)

    return _settled(database, intent, carry, now)


def _settled(database: Transactions, intent: Intent, work: Callable[[Intent, Unit], IntentResult | None], now: datetime) -> bool:
    """Do the work of a request and keep what it led to, in one transaction; return whether there was anything to keep."""
    try:
        with database.transaction() as unit:
            done = work(intent, unit)
            if done is None:
                return False
            if done.linked:
                imported.link(unit, ledger.meta(unit, "org") or "", done.linked, ledger.iso(now))
            ledger.tell_crm(unit, done.deals)
            _try_again(unit, done.retry)
            if done.waits_for:
                _send(unit, intent.id, done)
            else:
                _settle(unit, intent.id, "done", done.result, now)
    except RejectedError as error:
        if error.problem.code == BUSY:
            return False
        _refuse(database, intent, error.problem, now)
    except ConnectorError:
        raise
    except Exception as error:  # noqa: BLE001 - our bug in one request is told to who asked; the others go on (D-17)
        _refuse(database, intent, ledger.internal_error(error, intent.id), now)
    return True


def _send(unit: Unit, intent_id: str, done: IntentResult) -> None:
    """Note that a request is on its way outside, and by which names its outcome is found."""
    kept = {"waits_for": list(done.waits_for), "so_far": dict(done.result)}
    unit.execute("UPDATE intent SET state = 'sent', result = ? WHERE id = ?", (_text(kept), intent_id))


def _refuse(database: Transactions, intent: Intent, problem: Problem, now: datetime) -> None:
    said = {"code": problem.code, "message": problem.message, "hint": problem.hint}
    with database.transaction() as unit:
        _settle(unit, intent.id, "refused", said, now)


def _try_again(unit: Unit, codes: Sequence[str]) -> None:
    """Make the deals due that are held by a problem of one of these codes."""
    for code in codes:
        sql = "UPDATE deal SET apply_due = 1, attempts = 0, next_try_at = NULL WHERE state = 'parked' AND problem LIKE ?"
        unit.execute(sql, (f'%"code":"{code}"%',))


def _settle(unit: Unit, intent_id: str, state: str, result: Mapping[str, Any], now: datetime) -> None:
    unit.execute(
        "UPDATE intent SET state = ?, result = ?, done_at = ? WHERE id = ?", (state, _text(result), ledger.iso(now), intent_id)
    )
