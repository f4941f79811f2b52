"""Webhooks for people: how the queues stand, trying again, delivering without a daemon."""

from __future__ import annotations

import threading
from pathlib import Path

from connector import app
from connector.errors import Problem, RejectedError
from connector.verbs import Result, open_config
from connector.webhooks import queue
from connector.webhooks.courier import Round


def listed(config_path: Path, *, limit: int) -> Result:
    """Return the addresses of the configuration and of the database with their queues, and the events that were given up."""
    config = open_config(config_path)
    with app.reading_house(config) as house, house.database.read() as unit:
        lines = {line.id: line for line in queue.lines(unit)}
        dead = queue.dead(unit, limit)
    configured = {e.id: e for e in config.webhooks}
    rows = []
    for endpoint_id in [*configured, *(i for i in lines if i not in configured)]:
        line, endpoint = lines.get(endpoint_id), configured.get(endpoint_id)
        rows.append(
            {
                "id": endpoint_id,
                "address": endpoint.place if endpoint else line.place if line else "",
                "events": list(endpoint.events) if endpoint else [],
                "state": "not in the configuration" if endpoint is None else "waits for the daemon" if line is None else "in use",
                "waiting": line.pending if line else 0,
                "given_up": line.dead if line else 0,
                "delivered": line.delivered if line else 0,
                "next_try_at": (line.next_try_at if line else "") or None,
                "error": line.error if line else "",
            }
        )
    given_up = [
        {"endpoint": endpoint_id, "event_id": e.id, "event": e.name, "at": e.at, "tries": tries, "error": error}
        for endpoint_id, e, tries, error in dead
    ]
    return {"endpoints": rows, "given_up": given_up}


def retry(config_path: Path, *, endpoint: str | None, event: str | None) -> Result:
    """Make undelivered events due at once. Raises: RejectedError for an address or event that has none."""
    with app.reading_house(open_config(config_path)) as house, house.database.transaction() as unit:
        count = queue.retry(unit, house.now(), endpoint_id=endpoint, event_id=event)
    if not count and (endpoint or event):
        hint = "See `connector webhooks list`."
        raise RejectedError(Problem(code="nothing-to-retry", message="Nothing undelivered fits that.", hint=hint))
    what = "1 event is" if count == 1 else f"{count} events are"
    return {"text": f"{what} due now; the daemon sends within seconds, or `connector webhooks deliver` does.", "count": count}


def deliver(config_path: Path) -> Result:
    """Deliver what is due to every address of the configuration, one after the other.

    Raises: HaltError while something else holds the ledger, such as the daemon.
    """
    config = open_config(config_path)
    taken = failed = given_up = 0
    with app.books_to_write(config, "webhooks deliver") as house:  # the daemon delivers by itself
        for endpoint in config.webhooks:
            done = Round(store=house.database, endpoint=endpoint, now=house.now, stop=threading.Event()).deliver()
            taken, failed, given_up = taken + done.taken, failed + done.failed, given_up + done.given_up
    text = f"{taken} events delivered to {len(config.webhooks)} addresses, {failed} tries failed."
    return {"text": text, "delivered": taken, "failed": failed, "given_up": given_up}
