"""Payments that finance people type on an invoice's row in the CRM: read once, recorded once, answered on the row (decision D-151).

Somebody fills Payment Received (and the day and reference) on a `Billing_Invoice__c` row. The poll asks only for rows where it is
filled, so that nothing we write comes back. What was typed becomes an intent in the transaction that saves the cursor; what came of
it is written in one update of the row: recorded = the fields cleared and a message, refused = a message and the fields left.

An *entry* is a row whose last typing has not been answered and cleared yet; few at a time, kept among the rows written to the CRM
under a name of their own. Its message is kept before it is written: a row that shows it was cleared by us even if the reply got lost,
so that whatever stands in its fields now is a new payment, be it equal to the one before.

| entry | what it waits for |
|---|---|
| asked | its intent, which the next drain carries out |
| recorded | the row to be cleared; if its fields changed meanwhile they are left, and the message says so (`changed`) |
| refused | somebody to correct the row; judged again when the row's stamp moves |
| withdrawn | the message of a refusal to be taken off a row whose fields somebody cleared |
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from connector.documents.refused import told
from connector.errors import Problem
from connector.ports import ObjectInfo, Org, Unit, Upsert, Written
from connector.sync import intents, ledger
from connector.sync.entry_words import changed_text, recorded_text, refused_text
from connector.sync.seam import STAMP, Seam, Tally
from connector.sync.streams import Stream, begun

OBJECT = "Billing_Invoice__c"
AMOUNT, ON, REFERENCE, MESSAGE = "Payment_Received__c", "Payment_Received_On__c", "Payment_Reference__c", "Payment_Message__c"
KIND = "invoice.enter"
AT_ONCE = 1000
_KEPT_AS = "Billing_Invoice__c payment entry"
_KEY = "Billing_Invoice_Id__c"
_WATCHED = 200  # rows with a refusal on them that a poll asks for although their fields are blank
OUTSIDE = "stripe-"
"""What codes of problems begin with that a backend outside refused, in words that a rep can read."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 30, 3600

State = Literal["asked", "recorded", "changed", "refused", "withdrawn"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What somebody typed on a row, and how far it came. *is_due* - its answer is still to be found or written."""

    record: str
    intent: str
    state: State
    typed: Mapping[str, str]
    stamp: str
    said: str = ""
    is_due: bool = True
    tries: int = 0
    again_at: str = ""


def fields_of(describe: Mapping[str, ObjectInfo], org: Org) -> tuple[str, ...]:
    """Return what a poll reads of invoice rows; nothing where the org lacks a field of this feature, or we may not write one."""
    if missing(describe):
        return ()
    currency = ("CurrencyIsoCode",) if org.is_multi_currency and "CurrencyIsoCode" in describe[OBJECT].fields else ()
    return ("Id", STAMP, "IsDeleted", "LastModifiedBy.Name", _KEY, AMOUNT, ON, REFERENCE, MESSAGE, *currency)


def missing(describe: Mapping[str, ObjectInfo]) -> list[str]:
    """Return the fields that keep payments from being typed in the CRM: they do not exist, or we may not write them."""
    found = describe.get(OBJECT)
    if found is None:
        return [OBJECT]
    return [name for name in (AMOUNT, ON, REFERENCE, MESSAGE) if name not in found.fields or not found.fields[name].is_updateable] + (
        [] if STAMP in found.fields else [STAMP]
    )


def detail(describe: Mapping[str, ObjectInfo]) -> str:
    """Return whether payments can be typed in the CRM, and what keeps them from it, in words."""
    lacking = missing(describe)
    if not lacking:
        return f"read from {OBJECT}.{AMOUNT}"
    lacks = ", ".join(lacking)
    return f"off: {lacks} cannot be written or does not exist; add it to the org where finance people shall record payments there"


def stream(seam: Seam, unit: Unit, now: str) -> Stream | None:
    """Return which invoice rows a poll asks for: those where a payment is typed, and those with an entry, whose fields may be blank by now."""
    if not seam.entry_fields:
        return None
    sql = "SELECT key FROM crm_row WHERE object = ? ORDER BY written_at DESC LIMIT ?"
    ids = ",".join(f"'{row[0]}'" for row in unit.query(sql, (_KEPT_AS, _WATCHED)))
    condition = f"{AMOUNT} != null" + (f" OR Id IN ({ids})" if ids else "")
    return Stream(object=OBJECT, fields=seam.entry_fields, condition=condition, cursor=begun(ledger.cursor(unit, OBJECT), now))


# ---------------------------------------------------------------- what was typed


def take(unit: Unit, rows: Sequence[Mapping[str, Any]], now: datetime) -> None:
    """Ask for what was typed on these rows to be recorded; in the transaction that saves how far the poll came."""
    if not rows:
        return
    known = _entries(unit, [str(row["Id"]) for row in rows])
    for row in rows:
        entry = known.get(row["Id"])
        if row.get("IsDeleted"):
            _forget(unit, [str(row["Id"])])
        elif (typed := _typed(row)) is None:
            _blank(unit, entry, row, now)
        elif _is_new(entry, typed, row):
            asked = intents.submit(unit, KIND, {"invoice_id": row.get(_KEY) or "", **typed}, actor=_actor(row), now=now)
            _save(unit, [Entry(record=row["Id"], intent=asked, state="asked", typed=typed, stamp=str(row[STAMP]))], now)


def _is_new(entry: Entry | None, typed: Mapping[str, str], row: Mapping[str, Any]) -> bool:
    if entry is None or entry.state == "withdrawn":
        return True
    if entry.state == "recorded":
        return row.get(MESSAGE) == entry.said  # we had cleared it already: this was typed after that
    if entry.state == "refused":
        return typed != entry.typed or str(row[STAMP]) != entry.stamp
    return entry.state == "changed" and typed != entry.typed


def _blank(unit: Unit, entry: Entry | None, row: Mapping[str, Any], now: datetime) -> None:
    """Note that the fields of a row are blank: nothing of an entry is left to be settled, but what a refusal says."""
    if entry is None or entry.state == "asked":
        return
    if entry.state == "refused" and row.get(MESSAGE):
        _save(unit, [replace(entry, state="withdrawn", is_due=True, said="", tries=0, again_at="")], now)
    elif entry.state != "recorded" or row.get(MESSAGE) == entry.said:
        _forget(unit, [entry.record])


def _typed(row: Mapping[str, Any]) -> dict[str, str] | None:
    """Return what stands in the fields as plain texts; None where no amount does."""
    if row.get(AMOUNT) is None:
        return None
    values = {"amount": f"{row[AMOUNT]:f}" if hasattr(row[AMOUNT], "as_tuple") else str(row[AMOUNT]), "on": row.get(ON), "reference": row.get(REFERENCE)}
    return {k: str(v) for k, v in (values | {"currency": row.get("CurrencyIsoCode")}).items() if v}


def _actor(row: Mapping[str, Any]) -> str:
    return f"crm:{(row.get('LastModifiedBy') or {}).get('Name') or 'somebody'}"


# ---------------------------------------------------------------- the answer


def answer(seam: Seam, tally: Tally) -> bool:
    """Write what came of up to `AT_ONCE` entries on their rows; return whether more may wait."""
    now = seam.now()
    with seam.database.read() as unit:
        due = _due(unit, ledger.iso(now))
        settled = [_settled(unit, entry, seam.settings.language) for entry in due]
    settled = [entry for entry in settled if entry.state != "asked"]
    if not settled or not seam.entry_fields:
        return False
    with seam.database.transaction() as unit:
        _save(unit, settled, now)  # before the row is written: see the module's text
    rows = _rows(seam, settled)
    with seam.database.transaction() as unit:
        _forget(unit, [e.record for e in settled if e.record not in rows])
    answers = [(e, *_answered(e, rows[e.record], seam.settings.language)) for e in settled if e.record in rows]
    writing = [(entry.record, values) for _, entry, values in answers if values]
    results = seam.crm.write([Upsert(object=OBJECT, id=record, values=values) for record, values in writing]) if writing else []
    failed = {record: result for (record, _), result in zip(writing, results, strict=True) if result.id is None}
    _keep(seam, [(old, entry) for old, entry, _ in answers], failed, now)
    tally.written += len(writing) - len(failed)
    return len(due) == AT_ONCE


def _settled(unit: Unit, entry: Entry, language: str) -> Entry:
    """Return an entry that was asked with what became of it; as it is while its intent waits."""
    if entry.state != "asked":
        return entry
    intent = intents.found(unit, entry.intent)
    if intent is None or intent.is_waiting:
        return entry
    result = intent.result if intent.state == "done" else _kept_out(intent, language)
    if "refused" in result:
        return replace(entry, state="refused", said=refused_text(result, entry.typed, language))
    return replace(entry, state="recorded", said=recorded_text(result, language))


def _kept_out(intent: intents.Intent, language: str) -> dict[str, Any]:
    """Return why a payment was refused after it had been taken for possible: by a backend outside, in its plain words, or an error of ours."""
    code, message = (str(intent.result.get(name) or "") for name in ("code", "message"))
    if not code.startswith(OUTSIDE):
        return {"refused": "failed"}
    return {"refused": "elsewhere", "why": told(Problem(code=code, message=message), language).message}


def _answered(entry: Entry, row: Mapping[str, Any], language: str) -> tuple[Entry, dict[str, Any]]:
    """Return how an entry stands when its row is written, and what to write (nothing: the row says it already)."""
    typed, shown = _typed(row), row.get(MESSAGE)
    if entry.state == "recorded":
        if shown == entry.said:
            return entry, {}
        if typed is None or typed == entry.typed:
            return entry, {AMOUNT: None, ON: None, REFERENCE: None, MESSAGE: entry.said}
        said = changed_text(entry.said, language)
        return replace(entry, state="changed", typed=typed, said=said), {MESSAGE: said}
    if entry.state == "withdrawn":
        return entry, {MESSAGE: None} if typed is None and shown else {}
    if shown == entry.said or typed != entry.typed:
        return entry, {}
    return entry, {MESSAGE: entry.said}


def _keep(seam: Seam, answered: Sequence[tuple[Entry, Entry]], failed: Mapping[str, Written], now: datetime) -> None:
    """Forget what is answered for good; what waits for a person stays. What could not be written stays as it was, to be tried again."""
    stay, done = [], []
    for old, entry in answered:
        if entry.record in failed:
            wait_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** min(old.tries, 10))
            stay.append(replace(old, tries=old.tries + 1, again_at=ledger.iso(now + timedelta(seconds=wait_s))))
            problem = failed[entry.record].problem
            seam.log("record.parked", object=OBJECT, record_id=entry.record, error=problem.message if problem else "", hint=problem.hint if problem else "")
        elif entry.state in ("refused", "changed"):
            stay.append(replace(entry, is_due=False, tries=0, again_at=""))
        else:
            done.append(entry.record)
    with seam.database.transaction() as unit:
        _save(unit, stay, now)
        _forget(unit, done)


def _rows(seam: Seam, entries: Sequence[Entry]) -> dict[str, Mapping[str, Any]]:
    """Return the rows of entries as the CRM holds them now; a deleted one is missing."""
    ids = [e.record for e in entries]
    fields = ", ".join(seam.entry_fields)
    parts = [",".join(f"'{i}'" for i in ids[n : n + 200]) for n in range(0, len(ids), 200)]
    pages = seam.crm.query([f"SELECT {fields} FROM {OBJECT} WHERE Id IN ({part})" for part in parts])
    return {row["Id"]: row for page in pages for row in page}


# ---------------------------------------------------------------- kept entries


def _entries(unit: Unit, records: Sequence[str]) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for start in range(0, len(records), 900):
        part = records[start : start + 900]
        sql = f'SELECT "values" FROM crm_row WHERE object = ? AND key IN ({ledger.marks(part)})'
        found.update((e.record, e) for e in (_from(row[0]) for row in unit.query(sql, (_KEPT_AS, *part))))
    return found


def _due(unit: Unit, now: str) -> list[Entry]:
    sql = "SELECT \"values\" FROM crm_row WHERE object = ? AND digest = 'due' ORDER BY key LIMIT ?"
    found = [_from(row[0]) for row in unit.query(sql, (_KEPT_AS, AT_ONCE))]
    return [entry for entry in found if entry.again_at <= now]


def _from(values: bytes) -> Entry:
    return Entry(**json.loads(values))


def _save(unit: Unit, entries: Sequence[Entry], now: datetime) -> None:
    rows = [(_KEPT_AS, e.record, "due" if e.is_due else "held", asdict(e)) for e in entries]
    ledger.save_written_rows(unit, rows, ledger.iso(now))


def _forget(unit: Unit, records: Sequence[str]) -> None:
    unit.executemany("DELETE FROM crm_row WHERE object = ? AND key = ?", [(_KEPT_AS, record) for record in records])
