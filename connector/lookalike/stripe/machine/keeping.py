"""What the machine keeps beside the objects: the queue of what falls due, and indexes so that no list is searched from end to end."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import Any

from connector.lookalike.stripe.account import DUES, Account, Data

Doing = Callable[[Account, str, int], None]
"""What is done with the object of an id when its moment has come; it looks itself whether there is still something to do."""

KINDS: dict[str, tuple[int, Doing]] = {}
"""Name of a due thing -> (its place among those of the same instant, what is done)."""

SETTLED: list[Callable[[Account, Data], None]] = []
"""Who is told when an invoice is paid, void or given up, or its payment failed."""


def falls_due(name: str, place: int) -> Callable[[Doing], Doing]:
    """Register what is done when a thing called *name* falls due; lower places go first at the same instant."""

    def registered(doing: Doing) -> Doing:
        KINDS[name] = (place, doing)
        return doing

    return registered


def wake(account: Account, name: str, id_: str, at: int) -> None:
    """Note that something is due at an instant; noting it twice does no harm."""
    queue: list[tuple[int, int, int, str, str]] = account.machine.setdefault("queue", [])
    account.machine["queued"] = number = account.machine.get("queued", 0) + 1
    heapq.heappush(queue, (at, KINDS[name][0], number, name, id_))


def due(account: Account, until: int) -> int | None:
    """Do the next thing that is due up to *until*, at its own moment; return that moment, None where nothing is due."""
    queue: list[tuple[int, int, int, str, str]] = account.machine.get("queue", [])
    if not queue or queue[0][0] > until:
        return None
    at, _, _, name, id_ = heapq.heappop(queue)
    account.moment = max(at, account.moment or at)
    KINDS[name][1](account, id_, account.moment)
    return at


DUES.append(due)


def put(account: Account, kind: str, made: Data, by: Iterable[str] = ()) -> Data:
    """Keep a new object, found again by the values of the fields *by*."""
    account.kind(kind)[made["id"]] = made
    for field in by:
        if made.get(field) is not None:
            index(account, kind, field, made[field])[made["id"]] = None
    return made


def index(account: Account, kind: str, field: str, value: object) -> dict[str, None]:
    """Return the ids of the objects of a kind that have *value* in *field*, in order of creation."""
    ids: dict[str, None] = account.machine.setdefault("index", {}).setdefault((kind, field, value), {})
    return ids


def indexed(account: Account, kind: str, field: str, value: object) -> list[Data]:
    """Return the objects of a kind that have *value* in *field*, in order of creation."""
    objects = account.kind(kind)
    return [objects[id_] for id_ in index(account, kind, field, value) if id_ in objects]


def notes(account: Account, name: str) -> dict[str, Any]:
    """Return a small table that the machine keeps under *name*."""
    table: dict[str, Any] = account.machine.setdefault(name, {})
    return table
