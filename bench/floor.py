"""The floor: the same queries, the very same rows and the same writes, by hand, with nothing in between.

http.client and msgspec for the CRM, sqlite3's executemany for the rows that our run left in its database (its own schema,
WAL, synchronous=FULL, 200 deals a transaction). Preparing the rows is free here: they are read with the watch paused.
"""

from __future__ import annotations

import http.client
import shutil
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from bench import trail
from bench.watch import Watch, hand_back, peak_mib

CHUNK_DEALS = 200
CHUNK_CONTRACTS = 500
_PREFIX = "/services/data/v62.0/"
_CREDENTIALS = "grant_type=client_credentials&client_id=demo-client&client_secret=demo-secret"
_BATCH = 200
_BATCHES = 5
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "cache_size=-8000", "wal_autocheckpoint=4000")

_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode


class Task(msgspec.Struct, kw_only=True):
    """What to measure: *ledger* holds the rows, *trail* the calls. Of a billing run *ledger* is the books before it, *after* those after it."""

    crm: str
    ledger: str
    trail: str
    folder: str
    deals: int
    after: str = ""


# ---------------------------------------------------------------- the CRM


class Wire:
    """One connection to the CRM."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=300)
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        self._headers = form
        token = self._said("POST", "/services/oauth2/token", _CREDENTIALS.encode())["access_token"]
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def _said(self, method: str, path: str, body: bytes | None = None) -> Any:
        self._connection.request(method, path, body, self._headers)
        reply = self._connection.getresponse()
        content = reply.read()
        if reply.status != 200:
            raise RuntimeError(f"{method} {path[:200]}: {reply.status} {content[:400]!r}")
        return _decode(content)

    def rows(self, soql: Sequence[str], *, with_deleted: bool) -> int:
        """Ask the queries, five a call; return how many rows came."""
        resource = "queryAll" if with_deleted else "query"
        urls = [f"{_PREFIX}{resource}?q={quote(text, safe='')}" for text in soql]
        count = 0
        for at in range(0, len(urls), _BATCHES):
            due = [{"method": "GET", "url": url} for url in urls[at : at + _BATCHES]]
            for page in self._composite(due):
                count += len(page["records"])
                while not page["done"]:
                    page = self._said("GET", page["nextRecordsUrl"])
                    count += len(page["records"])
        return count

    def write(self, sent: Sequence[trail.Sent]) -> int:
        """Write the records, 5 x 200 a call; return how many were saved."""
        parts = [_part(batch) for batch in trail.batches(sent, _BATCH)]
        count = 0
        for at in range(0, len(parts), _BATCHES):
            for results in self._composite(parts[at : at + _BATCHES]):
                count += sum(one["success"] for one in results)
        return count

    def _composite(self, parts: Sequence[dict[str, Any]]) -> list[Any]:
        asked = [{**part, "referenceId": f"r{at}"} for at, part in enumerate(parts)]
        whole = self._said("POST", f"{_PREFIX}composite", _encode({"allOrNone": False, "compositeRequest": asked}))
        return [one["body"] for one in whole["compositeResponse"]]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _part(batch: Sequence[trail.Sent]) -> dict[str, Any]:
    kind, key_field = batch[0].object, batch[0].key_field
    attributes = {"type": kind}
    records = [
        {"attributes": attributes, key_field or "id": one.key if key_field else one.id, **one.values} for one in batch
    ]
    return {
        "method": "PATCH",
        "url": f"{_PREFIX}composite/sobjects" + (f"/{kind}/{key_field}" if key_field else ""),
        "body": {"allOrNone": False, "records": records},
    }


# ---------------------------------------------------------------- the rows


def opened(path: Path) -> sqlite3.Connection:
    """Return a connection as ours are set up, in manual transactions."""
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    return connection


class Stock:
    """The rows of a ledger, given out table by table in the order in which they were written."""

    def __init__(self, path: Path) -> None:
        self._books = sqlite3.connect(path)
        listed = self._books.execute(
            "SELECT name, type, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type <> 'table', name"
        )
        self.schema = [row for row in listed if not row[0].startswith("sqlite_")]
        self.tables = [name for name, kind, _ in self.schema if kind == "table"]
        self._cursors = {name: self._books.execute(f'SELECT * FROM "{name}" ORDER BY rowid') for name in self.tables}
        self.sizes = {
            name: int(self._books.execute(f'SELECT COUNT(*) FROM "{name}"').fetchone()[0]) for name in self.tables
        }

    def chunk(self, number: int, chunks: int) -> list[tuple[str, list[tuple[Any, ...]]]]:
        """Return the share of chunk *number* of *chunks* as (INSERT, rows) a table."""
        found = []
        for name in self.tables:
            share = self.sizes[name] * (number + 1) // chunks - self.sizes[name] * number // chunks
            rows = self._cursors[name].fetchmany(share) if share else []
            if rows:
                found.append((f'INSERT INTO "{name}" VALUES ({",".join("?" * len(rows[0]))})', rows))
        return found

    def close(self) -> None:
        """Close the ledger."""
        self._books.close()


def committed(target: sqlite3.Connection, work: Sequence[tuple[str, Sequence[Sequence[Any]]]]) -> None:
    """Run the statements in one transaction."""
    target.execute("BEGIN IMMEDIATE")
    for sql, rows in work:
        target.executemany(sql, rows)
    target.execute("COMMIT")


def differing(target: sqlite3.Connection, other: Path, tables: Sequence[str]) -> list[str]:
    """Return the tables whose rows are not the very same in both databases."""
    target.execute("ATTACH ? AS other", (str(other),))
    found = []
    for name in tables:
        for one, two in (("main", "other"), ("other", "main")):
            if target.execute(
                f'SELECT 1 FROM (SELECT * FROM {one}."{name}" EXCEPT SELECT * FROM {two}."{name}")'
            ).fetchone():
                found.append(name)
    return found


# ---------------------------------------------------------------- the two floors


def piped(task: Task) -> dict[str, Any]:
    """Read, store and write back what our side did; return times, peak memory and counts."""
    calls = list(_kinds(Path(task.trail)))
    writes, chunks = calls.count("w"), max(1, -(-task.deals // CHUNK_DEALS))
    stock, target = Stock(Path(task.ledger)), opened(Path(task.folder) / "floor.db")
    watch, done, read, written = Watch(), 0, 0, 0
    with watch.running():
        for _, _, sql in stock.schema:
            target.execute(sql)
        wire = Wire(task.crm)
        with watch.paused():
            steps = trail.follow(Path(task.trail))
        for number, kind in enumerate(calls):
            with watch.paused():
                call = next(steps)
            if kind == "q":
                read += wire.rows(call.soql, with_deleted=call.with_deleted)
                continue
            upto = chunks * (calls[: number + 1].count("w")) // writes
            for chunk in range(done, upto):
                with watch.paused():
                    work = stock.chunk(chunk, chunks)
                committed(target, work)
            done = upto
            written += wire.write(call.sent)
    wire.close()
    peak = peak_mib()
    differ = differing(target, Path(task.ledger), stock.tables)
    target.close()
    stock.close()
    return watch.times | {"peak_mib": peak, "read": read, "written": written, "differing": differ}


def _kinds(path: Path) -> Iterator[str]:
    """Yield `w` for every write of a trail and `q` for every query."""
    for call in trail.follow(path):
        yield "w" if call.sent else "q"


_ADVANCE = "UPDATE contract SET status=?, is_invoiced=?, billed_until=?, window_on=?, next_due_at=?, problem=?, updated_at=? WHERE id=?"
_TELL = "UPDATE deal SET write_due = 1, write_next_try_at = NULL, write_attempts = 0 WHERE name = ?"
_MADE = ("invoice", "line", "event")


class Made:
    """What a billing run wrote, read from its books chunk by chunk: rows added to tables, contracts moved on, deals marked."""

    def __init__(self, before: Path, after: Path, contracts: int) -> None:
        self._books = sqlite3.connect(after)
        with sqlite3.connect(before) as old:
            last = {name: old.execute(f"SELECT MAX(rowid) FROM {name}").fetchone()[0] or 0 for name in _MADE}
        old.close()
        self.sizes = {
            name: self._books.execute(f"SELECT COUNT(*) FROM {name} WHERE rowid > ?", (at,)).fetchone()[0]
            for name, at in last.items()
        } | {"moved": contracts, "told": contracts}
        moved = (
            "SELECT c.status, c.is_invoiced, c.billed_until, c.window_on, c.next_due_at, c.problem, c.updated_at, c.id"
            " FROM invoice i JOIN contract c ON c.id = i.contract_id WHERE i.rowid > ? ORDER BY i.rowid"
        )
        told = "SELECT deal FROM invoice WHERE rowid > ? ORDER BY rowid"
        self._cursors = {
            name: self._books.execute(f"SELECT * FROM {name} WHERE rowid > ? ORDER BY rowid", (at,))
            for name, at in last.items()
        } | {
            "moved": self._books.execute(moved, (last["invoice"],)),
            "told": self._books.execute(told, (last["invoice"],)),
        }
        self._sql = {
            name: f"INSERT INTO {name} VALUES ({','.join('?' * len(self._cursors[name].description))})" for name in _MADE
        } | {"moved": _ADVANCE, "told": _TELL}

    def chunk(self, number: int, chunks: int) -> list[tuple[str, list[tuple[Any, ...]]]]:
        """Return the share of chunk *number* of *chunks* as (statement, rows) each."""
        shares = {name: size * (number + 1) // chunks - size * number // chunks for name, size in self.sizes.items()}
        return [(self._sql[name], self._cursors[name].fetchmany(share)) for name, share in shares.items() if share]

    def close(self) -> None:
        """Close the books."""
        self._books.close()


def billed(task: Task) -> dict[str, Any]:
    """Write the very rows that our billing run wrote into a copy of the books before it, chunk by chunk as it did."""
    path = Path(task.folder) / "floor.db"
    shutil.copyfile(task.ledger, path)
    made, target = Made(Path(task.ledger), Path(task.after), task.deals), opened(path)
    chunks = max(1, -(-task.deals // CHUNK_CONTRACTS))
    watch = Watch()
    for number in range(chunks):
        work = made.chunk(number, chunks)
        with watch.running():
            committed(target, work)
    made.close()
    differ = differing(target, Path(task.after), (*_MADE, "contract", "deal"))
    target.close()
    return watch.times | {"invoices": made.sizes["invoice"], "lines": made.sizes["line"], "differing": differ}


def main(text: str) -> None:
    """Carry out one task."""
    task = msgspec.json.decode(text, type=Task)
    hand_back(billed(task) if task.after else piped(task))


if __name__ == "__main__":
    main(sys.argv[1])
