"""Our side, in a process of its own: the composition root's house, a sync from an empty ledger, idle polls.

`python -m bench.ours {"crm": …, "folder": …}` prints one line of JSON. The trail is written with the watch paused.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import msgspec

from bench import trail
from bench.crm import FIRST_DAY, counters
from bench.watch import Watch, hand_back, peak_mib
from connector import app
from connector.app import House
from connector.config import demo_config
from connector.crm.login import Login
from connector.crm.salesforce import SalesforceCrm
from connector.kit.clock import FrozenClock
from connector.ports import Upsert, Written
from connector.sync import rounds
from connector.sync.seam import Tally

_MAPPINGS = [Path(__file__).parent.parent / "mappings" / f"salesforce-{name}.yaml" for name in ("opportunity", "quote")]


class Task(msgspec.Struct, kw_only=True):
    """What to measure: a sync from an empty ledger, or polls of what is synced already."""

    crm: str
    folder: str
    kind: Literal["sync", "poll"]


class _TrackedCrm(SalesforceCrm):
    """The real client, which also notes what it was asked."""

    def __init__(self, login: Login, path: Path, watch: Watch) -> None:
        super().__init__(login)
        self._path = path
        self._watch = watch

    def query(self, soql: Sequence[str], *, with_deleted: bool = False) -> list[list[dict[str, Any]]]:
        with self._watch.paused():
            trail.note(self._path, trail.Call(soql=list(soql), with_deleted=with_deleted))
        return super().query(soql, with_deleted=with_deleted)

    def write(self, upserts: Sequence[Upsert]) -> list[Written]:
        with self._watch.paused():
            sent = [
                trail.Sent(object=u.object, id=u.id, key_field=u.key_field, key=u.key, values=dict(u.values))
                for u in upserts
            ]
            trail.note(self._path, trail.Call(sent=sent))
        return super().write(upserts)


@contextmanager
def house(
    crm: str, folder: Path, verb: str, *, watch: Watch | None = None, at: datetime = FIRST_DAY
) -> Iterator[House]:
    """Open the house as `connector sync` does; *watch*: also leave a trail."""
    config = demo_config(database=f"sqlite:///{folder}/ledger.db", crm_url=crm, mappings=_MAPPINGS, port=0)
    client = None
    if watch is not None:
        login = Login(url=crm, client_id=config.crm.client_id, client_secret=config.crm.client_secret)
        client = _TrackedCrm(login, folder / "trail.jsonl", watch)
    with app.writing_house(config, verb, clock=FrozenClock(at), crm=client) as opened:
        yield opened


def synced(crm: str, folder: Path) -> dict[str, Any]:
    """Sync everything from an empty ledger; return times, peak memory and what the tally says."""
    watch, tally = Watch(), Tally()
    with watch.running(), house(crm, folder, "sync", watch=watch) as opened:
        opening_s = watch.so_far_s()
        rounds.sync(opened.seam, tally)
    return watch.times | {
        "opening_s": opening_s,
        "peak_mib": peak_mib(),
        "applied": tally.applied,
        "written": tally.written,
        "counts": counts(folder / "ledger.db"),
    }


def polled(crm: str, folder: Path) -> dict[str, Any]:
    """Poll twice an hour later; return the calls of the first, which sees our own writes, and of the second, which is idle."""
    written = Tally()
    with house(crm, folder, "sync", at=FIRST_DAY + timedelta(hours=1)) as opened:
        calls = [counters(crm)["total"]]
        for _ in range(2):
            rounds.read_all(opened.seam, written, turn=0)
            calls.append(counters(crm)["total"])
    return {"echo_calls": calls[1] - calls[0], "idle_calls": calls[2] - calls[1], "written": written.written}


def counts(path: Path) -> dict[str, int]:
    """Return how many rows of each kind a ledger holds."""
    questions = {
        "deals_written": "SELECT COUNT(*) FROM deal WHERE state = 'written' AND write_due = 0",
        "contracts": "SELECT COUNT(*) FROM contract",
        "invoices": "SELECT COUNT(*) FROM invoice WHERE status <> 'draft'",
        "lines": "SELECT COUNT(*) FROM line",
    }
    with sqlite3.connect(path) as books:
        found = {name: int(books.execute(sql).fetchone()[0]) for name, sql in questions.items()}
    books.close()
    return found


def copy_database(source: Path, target: Path) -> None:
    """Copy a database with everything that still stands in its log."""
    with sqlite3.connect(source) as old:
        old.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    old.close()
    shutil.copyfile(source, target)


def main(text: str) -> None:
    """Carry out one task."""
    task = msgspec.json.decode(text, type=Task)
    folder = Path(task.folder)
    if task.kind == "poll":
        hand_back(polled(task.crm, folder))
        return
    hand_back({"sync": synced(task.crm, folder)})


if __name__ == "__main__":
    main(sys.argv[1])
