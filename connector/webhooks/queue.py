"""What is on its way to webhook endpoints: one row an event and endpoint, filled from the event log by a cursor.

An endpoint that is new hears of what happens from then on. Events go out in the order in which they were written; one that could
not be delivered holds back those after it until it is taken or dead. A dead one stays, to be seen and tried again by a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from connector.billing import events
from connector.billing.events import EventRecord
from connector.ports import Unit
from connector.webhooks.endpoint import Endpoint

AT_ONCE = 500  # events that one transaction puts into a queue
KEPT = 10_000  # delivered events that stay visible, per endpoint, counted by events of the log
TRIES = 15
FIRST_WAIT_S, LONGEST_WAIT_S = 10, 21_600


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """An event on its way: how often it was tried."""

    event: EventRecord
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """How one endpoint's queue stands; *error* is what went wrong last with the event in front."""

    id: str
    place: str
    pending: int
    dead: int
    delivered: int
    error: str
    next_try_at: str


def at_text(at: datetime) -> str:
    """Return an instant as the database keeps it; see `connector.billing.tables`."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def has_news(unit: Unit, endpoint: Endpoint) -> bool:
    """Whether the log has events that the endpoint's queue has not seen; true for an endpoint that is new."""
    rows = unit.query("SELECT cursor FROM webhook_endpoint WHERE id = ?", (endpoint.id,))
    return not rows or bool(unit.query("SELECT 1 FROM event WHERE seq > ? LIMIT 1", (rows[0][0],)))


def take_news(unit: Unit, endpoint: Endpoint, now: datetime) -> int:
    """Put the events after the cursor that the endpoint wants into its queue; return how many events were looked at."""
    unit.lock_out_writers("event")  # so that no event with a lower number can appear behind the cursor
    rows = unit.query("SELECT cursor FROM webhook_endpoint WHERE id = ?", (endpoint.id,))
    if not rows:
        last = unit.query("SELECT COALESCE(MAX(seq), 0) FROM event")[0][0]
        sql = "INSERT INTO webhook_endpoint (id, url, cursor, made_at) VALUES (?,?,?,?)"
        unit.execute(sql, (endpoint.id, endpoint.place, last, at_text(now)))
        return 0
    news = unit.query("SELECT seq, name FROM event WHERE seq > ? ORDER BY seq LIMIT ?", (rows[0][0], AT_ONCE))
    if not news:
        return 0
    due = at_text(now)
    unit.executemany(
        "INSERT INTO webhook_delivery (endpoint_id, event_seq, state, attempts, next_try_at, error) VALUES (?,?,'pending',0,?,'')",
        [(endpoint.id, seq, due) for seq, name in news if endpoint.wants(name)],
    )
    last = news[-1][0]
    unit.execute("UPDATE webhook_endpoint SET cursor = ? WHERE id = ?", (last, endpoint.id))
    unit.execute(
        "DELETE FROM webhook_delivery WHERE endpoint_id = ? AND state = 'delivered' AND event_seq < ?", (endpoint.id, last - KEPT)
    )
    return len(news)


def in_front(unit: Unit, endpoint: Endpoint, now: datetime, limit: int) -> list[Waiting]:
    """Return the events to be sent next, in order; none while the first one waits for its next try."""
    rows = unit.query(
        "SELECT event_seq, attempts, next_try_at FROM webhook_delivery WHERE endpoint_id = ? AND state = 'pending'"
        " ORDER BY event_seq LIMIT ?",
        (endpoint.id, limit),
    )
    if not rows or rows[0][2] > at_text(now):
        return []
    tries = {row[0]: row[1] for row in rows}
    return [Waiting(event=e, attempts=tries[e.seq]) for e in events.by_seq(unit, sorted(tries))]


def mark_delivered(unit: Unit, endpoint: Endpoint, seqs: Sequence[int], now: datetime) -> None:
    """Save that events were taken."""
    sql = "UPDATE webhook_delivery SET state = 'delivered', error = '', done_at = ? WHERE endpoint_id = ? AND event_seq = ?"
    unit.executemany(sql, [(at_text(now), endpoint.id, seq) for seq in seqs])


def mark_failed(unit: Unit, endpoint: Endpoint, waiting: Waiting, error: str, now: datetime) -> str:
    """Save that an event was not taken; return its state: pending, or dead after the last try."""
    attempts = waiting.attempts + 1
    state = "dead" if attempts >= TRIES else "pending"
    wait_s = min(FIRST_WAIT_S << min(attempts - 1, 20), LONGEST_WAIT_S)
    unit.execute(
        "UPDATE webhook_delivery SET state = ?, attempts = ?, error = ?, next_try_at = ?, done_at = ? WHERE endpoint_id = ? AND event_seq = ?",
        (
            state, attempts, error, at_text(now + timedelta(seconds=wait_s)), at_text(now) if state == "dead" else None,
            endpoint.id, waiting.event.seq,
        ),
    )  # fmt: skip
    return state


# ---------------------------------------------------------------- for people


def lines(unit: Unit) -> list[Line]:
    """Return how the queues stand, by endpoint."""
    counted: dict[tuple[str, str], int] = {
        (endpoint_id, state): int(n)
        for endpoint_id, state, n in unit.query("SELECT endpoint_id, state, COUNT(*) FROM webhook_delivery GROUP BY endpoint_id, state")
    }
    found = []
    for endpoint_id, url in unit.query("SELECT id, url FROM webhook_endpoint ORDER BY url, id"):
        front = unit.query(
            "SELECT error, next_try_at FROM webhook_delivery WHERE endpoint_id = ? AND state = 'pending' ORDER BY event_seq LIMIT 1",
            (endpoint_id,),
        )
        error, next_try_at = front[0] if front else ("", "")
        found.append(
            Line(
                id=endpoint_id, place=url, error=error, next_try_at=next_try_at,
                pending=counted.get((endpoint_id, "pending"), 0), dead=counted.get((endpoint_id, "dead"), 0),
                delivered=counted.get((endpoint_id, "delivered"), 0),
            )
        )  # fmt: skip
    return found


def dead(unit: Unit, limit: int) -> list[tuple[str, EventRecord, int, str]]:
    """Return (endpoint id, event, tries, what went wrong last) of events that were given up, oldest first."""
    rows = unit.query(
        "SELECT endpoint_id, event_seq, attempts, error FROM webhook_delivery WHERE state = 'dead' ORDER BY event_seq LIMIT ?", (limit,)
    )
    by_seq = {e.seq: e for e in events.by_seq(unit, sorted({row[1] for row in rows}))}
    return [(row[0], by_seq[row[1]], row[2], row[3]) for row in rows]


def retry(unit: Unit, now: datetime, *, endpoint_id: str | None, event_id: str | None) -> int:
    """Make what was given up, and what waits for its next try, due at once; return how many events. None: of all endpoints, all events."""
    where, given = ["state <> 'delivered'"], list[str]()
    if endpoint_id is not None:
        where.append("endpoint_id = ?")
        given.append(endpoint_id)
    if event_id is not None:
        where.append("event_seq = (SELECT seq FROM event WHERE id = ?)")
        given.append(event_id)
    sql = f"UPDATE webhook_delivery SET state = 'pending', attempts = 0, next_try_at = ?, done_at = NULL WHERE {' AND '.join(where)}"
    return unit.execute(sql, (at_text(now), *given))
