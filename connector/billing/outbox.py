"""Mails to customers, written in the transaction of what causes them and sent later (decision D-146).

Owns: which mail is written once for what, and how its sending stands. Does not own: the words (`mail`), when it is sent (`posting`).
A mail's key names its cause, so that the same cause never writes two: `in_X/issued`, `in_X/reminder/7`, `in_X/c2/failed`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from connector.billing import store
from connector.kit.db import new_id
from connector.ports import Unit

MailKind = Literal["invoice", "reminder", "receipt", "payment_failed", "credit_note", "quote"]
HELD = "Nothing leaves a sandbox org; set mail.test_to to see its mails."
OPEN_ONLY = frozenset({"reminder", "payment_failed"})  # mails that nobody needs once the invoice is settled
_COLUMNS = "id, key, kind, invoice_id, step, data, state, recipient, attempts, next_try_at, error, made_at, done_at"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A mail to be written: *data* is what only this mail tells (amounts in minor units, days as ISO text)."""

    key: str
    kind: MailKind
    invoice_id: str
    step: int = 0
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A mail as the outbox keeps it; *done_at* is when it was sent or given up."""

    id: str
    key: str
    kind: MailKind
    invoice_id: str
    step: int
    data: Mapping[str, Any]
    state: str
    recipient: str
    attempts: int
    next_try_at: str
    error: str
    made_at: str
    done_at: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailing:
    """Whether mails about invoices (*is_on*) and quotes (*has_quotes*) are written, and whether they stay here as the org is a sandbox (*is_held*)."""

    is_on: bool = False
    is_held: bool = False
    has_quotes: bool = False

    @property
    def leaves(self) -> bool:
        """Whether what is written is also sent."""
        return self.is_on and not self.is_held

    def write(self, unit: Unit, entries: Iterable[Entry], now: datetime) -> None:
        """Write mails; one whose key was written before is left as it is."""
        entries = [e for e in entries if (self.has_quotes if e.kind == "quote" else self.is_on)]
        if not entries:
            return
        at = store.at_text(now)
        state, error = ("held", HELD) if self.is_held else ("queued", "")
        unit.executemany(
            f"INSERT INTO outbox ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (key) DO NOTHING",
            [
                (new_id("mail", now), e.key, e.kind, e.invoice_id, e.step, store.event_text(e.data), state, "", 0, at, error, at, None)
                for e in entries
            ],
        )


OFF = Mailing()


def issued(invoices: Iterable[tuple[str, str, int]]) -> list[Entry]:
    """Return the mails of invoices just finalized, given as (id, status, total); none for what asks for nothing."""
    return [
        Entry(key=f"{invoice_id}/issued", kind="invoice", invoice_id=invoice_id)
        for invoice_id, status, total in invoices
        if status in ("open", "paid") and total > 0
    ]


def presented(quotes: Iterable[tuple[str, str, str, str]]) -> list[Entry]:
    """Return the mails of quotes just opened, given as (id, number, token, when); opened again, a quote is mailed again."""
    return [
        Entry(key=f"{quote_id}/presented/{when}", kind="quote", invoice_id="", data={"quote": quote_id, "number": number, "token": token})
        for quote_id, number, token, when in quotes
    ]


def due(unit: Unit, now: datetime, limit: int) -> list[Mail]:
    """Return mails that are to be sent now, longest waiting first."""
    sql = f"SELECT {_COLUMNS} FROM outbox WHERE state = 'queued' AND next_try_at <= ? ORDER BY next_try_at, id LIMIT ?"
    return [_mail(row) for row in unit.query(sql, (store.at_text(now), limit))]


def of_invoices(unit: Unit, invoice_ids: Sequence[str]) -> dict[str, list[Mail]]:
    """Return the mails about invoices, oldest first, by invoice."""
    found: dict[str, list[Mail]] = {}
    for start in range(0, len(invoice_ids), store.READ_ROWS):
        batch = invoice_ids[start : start + store.READ_ROWS]
        sql = f"SELECT {_COLUMNS} FROM outbox WHERE invoice_id IN ({','.join('?' * len(batch))}) ORDER BY id"
        for row in unit.query(sql, batch):
            found.setdefault(row[3], []).append(_mail(row))
    return found


def failed(unit: Unit, limit: int) -> list[tuple[Mail, str]]:
    """Return mails that were given up, newest first, each with its invoice's number, "" where it is about a quote."""
    columns = ", ".join("o." + c for c in _COLUMNS.split(", "))
    sql = (
        f"SELECT {columns}, COALESCE(i.number, '') FROM outbox o LEFT JOIN invoice i ON i.id = o.invoice_id WHERE o.state = 'failed'"
        " ORDER BY o.id DESC LIMIT ?"
    )
    return [(_mail(row), row[-1]) for row in unit.query(sql, (limit,))]


def waiting(unit: Unit) -> int:
    """Return how many mails are still to be sent."""
    return int(unit.query("SELECT COUNT(*) FROM outbox WHERE state = 'queued'")[0][0])


def tried(unit: Unit, rows: Sequence[tuple[str, str]]) -> None:
    """Keep that mails are being tried, given as (when again should nothing be heard, id), before anybody outside is asked."""
    unit.executemany("UPDATE outbox SET attempts = attempts + 1, next_try_at = ? WHERE id = ?", rows)


def settled(unit: Unit, rows: Sequence[tuple[str, str, str, str | None, str]]) -> None:
    """Keep how sending ended: (state, recipient, error, when, id) each."""
    unit.executemany("UPDATE outbox SET state = ?, recipient = ?, error = ?, done_at = ? WHERE id = ?", rows)


def _mail(row: Sequence[Any]) -> Mail:
    return Mail(
        id=row[0], key=row[1], kind=row[2], invoice_id=row[3], step=row[4], data=json.loads(row[5]), state=row[6], recipient=row[7],
        attempts=row[8], next_try_at=row[9], error=row[10], made_at=row[11], done_at=row[12],
    )  # fmt: skip


def state_of(unit: Unit, mail_id: str) -> str:
    """Return how a mail stands."""
    return str(unit.query("SELECT state FROM outbox WHERE id = ?", (mail_id,))[0][0])


def instant_text(at: datetime) -> str:
    """Return an instant as the outbox keeps it."""
    return store.at_text(at)
