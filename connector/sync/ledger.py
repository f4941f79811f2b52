"""The sync ledger: what was read from the CRM, what was decided, what was written back. The only user of these tables.

Owns: `record` and `version` (what was read, every revision as it was read), `deal` (decision, revision, contract),
`attempt` (history for people), `cursor` (how far a poll came), `mapping_revision`, `crm_row` (what was last written), `meta`
(what this ledger is bound to). Does not own: the books (billing.store), which live in the same database and commit together
with it. Instants are ISO 8601 text in UTC with a `Z`, so that they sort; JSON is msgspec's, money in it as numbers.

A page of 200 deals is read with one statement a table and written with `executemany`, never row by row (decision D-17).
Sizing: about 2 kB a record and version; 100,000 deals with three revisions each stay under 1 GB.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
from sqlmodel import Field, Index, MetaData, SQLModel

from connector.errors import Problem, Where
from connector.ports import Unit

_encode = msgspec.json.Encoder(decimal_format="number").encode
_decode = msgspec.json.Decoder(float_hook=Decimal).decode
canonical = msgspec.json.Encoder(decimal_format="string", order="deterministic").encode


# ---------------------------------------------------------------- tables (schema only; passes use the statements below)


METADATA = MetaData()


class Ledger(SQLModel):
    """The root of the ledger's table classes; their schema is `METADATA`."""

    metadata = METADATA


class RecordRow(Ledger, table=True):
    """One CRM record as last read: where it stands and which version holds its values."""

    __tablename__ = "record"
    __table_args__ = (Index("record_deal", "deal"), Index("record_due", "map_due"), Index("record_account", "account"), Index("record_contact", "contact"))
    object: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    stamp: str
    seen: str
    seq: int
    record_digest: str
    digest: str
    account: str | None = None
    contact: str | None = None
    deal: str | None = None
    condition: str = "idle"
    mapping_hash: str | None = None
    map_due: int = 1
    map_problem: str | None = None
    read_at: str


class VersionRow(Ledger, table=True):
    """The values of a record as they were read, one row a change (deals.md section 8)."""

    __tablename__ = "version"
    object: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    seq: int = Field(primary_key=True)
    stamp: str
    editor: str
    payload: bytes
    read_at: str


class DealRow(Ledger, table=True):
    """One deal: who speaks for it, what was last decided and applied, and what is due (decision D-01)."""

    __tablename__ = "deal"
    __table_args__ = (
        Index("deal_apply_due", "apply_due"),
        Index("deal_write_due", "write_due"),
        Index("deal_wait_for", "wait_for"),
        Index("deal_root", "root"),
        Index("deal_contract", "contract_id"),
    )
    # name first: a deal is found and updated by its name alone, and the key serves that only from its first column on
    name: str = Field(primary_key=True)
    org: str = Field(primary_key=True)
    label: str
    owner_object: str | None = None
    owner_record: str | None = None
    action: str = "new"
    state: str = "staged"
    made_at: str = ""
    parent: str | None = None
    root: str = ""
    account: str | None = None
    contract_id: str | None = None
    revision: int = 0
    decision_key: str | None = None
    applied_terms: str | None = None
    applied_who: str | None = None
    applied_how: str | None = None
    is_withdrawn: int = 0
    problem: str | None = None
    wait_for: str | None = None
    attempts: int = 0
    begun: int = 0
    apply_due: int = 1
    next_try_at: str | None = None
    write_due: int = 0
    write_attempts: int = 0
    write_next_try_at: str | None = None
    write_problem: str | None = None
    applied_at: str | None = None
    notes: str = ""
    updated_at: str


class AttemptRow(Ledger, table=True):
    """One thing that was tried for a deal, for `connector deals show`."""

    __tablename__ = "attempt"
    __table_args__ = (Index("attempt_deal", "deal"),)
    id: int | None = Field(default=None, primary_key=True)
    deal: str
    at: str
    step: str
    outcome: str
    detail: str


class CursorRow(Ledger, table=True):
    """How far the poll of one CRM object came; keyed by the object, so that renaming a source reads nothing again."""

    __tablename__ = "cursor"
    object: str = Field(primary_key=True)
    watermark: str | None = None
    target: str | None = None
    pos_stamp: str | None = None
    pos_id: str | None = None
    is_loaded: int = 0
    complete_at: str | None = None


class MappingRevisionRow(Ledger, table=True):
    """The text of every mapping revision that mapped a record (decision D-07)."""

    __tablename__ = "mapping_revision"
    hash: str = Field(primary_key=True)
    name: str
    object: str
    file: str
    text: str
    first_at: str


class CrmRowRow(Ledger, table=True):
    """What was last written to one CRM record, so that equal values are not written again."""

    __tablename__ = "crm_row"
    object: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    digest: str
    values: bytes
    written_at: str


class MetaRow(Ledger, table=True):
    """What this ledger is bound to (org, backend, time zone) and small facts of the last runs."""

    __tablename__ = "meta"
    key: str = Field(primary_key=True)
    value: str


# ---------------------------------------------------------------- values


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a read saw beside the record itself: stamps of its lines and of the records it points to, by id.

    read_at - the CRM's clock just before the read; a stamp of that second or later may hide a change.
    """

    lines: Mapping[str, str]
    related: Mapping[str, str]
    read_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A staged record; *payload* is loaded only where a pass needs it."""

    object: str
    id: str
    stamp: str
    seen: Seen
    seq: int
    record_digest: str
    digest: str
    account: str | None
    contact: str | None
    deal: str | None = None
    condition: str = "idle"
    mapping_hash: str | None = None
    problems: tuple[Problem, ...] = ()
    fields: Mapping[str, Any] | None = None
    lines: tuple[Mapping[str, Any], ...] = ()

    @property
    def is_deleted(self) -> bool:
        """Whether the record was in the recycle bin when it was last read; stage ends the digest so."""
        return self.digest.endswith("|True")


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """A record whose values are new or changed, to be saved as the next version."""

    record: Record
    editor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deal:
    """A deal as the ledger holds it; names as in `DealRow`."""

    org: str
    name: str
    label: str
    owner_object: str | None = None
    owner_record: str | None = None
    action: str = "new"
    state: str = "staged"
    made_at: str = ""
    parent: str | None = None
    root: str = ""
    account: str | None = None
    contract_id: str | None = None
    revision: int = 0
    decision_key: str | None = None
    applied_terms: str | None = None
    applied_who: str | None = None
    applied_how: str | None = None
    is_withdrawn: bool = False
    problem: Problem | None = None
    wait_for: str | None = None
    attempts: int = 0
    begun: bool = False
    apply_due: bool = True
    next_try_at: str | None = None
    write_due: bool = False
    write_attempts: int = 0
    write_next_try_at: str | None = None
    write_problem: Problem | None = None
    applied_at: str | None = None
    notes: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """How far the poll of one object came: everything up to *watermark* was read; *pos* is the place inside a longer read."""

    object: str
    watermark: str | None = None
    target: str | None = None
    pos_stamp: str | None = None
    pos_id: str | None = None
    is_loaded: bool = False
    complete_at: str | None = None


def iso(instant: datetime) -> str:
    """Return an aware instant as sortable UTC text in whole seconds."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def instant(text: str) -> datetime:
    """Return the aware instant of ISO 8601 text, also in the CRM's `+0000` form."""
    return datetime.fromisoformat(text.replace("+0000", "+00:00"))


def digest(value: Any) -> str:
    """Return a digest of plain values or dataclasses."""
    return hashlib.blake2b(canonical(value), digest_size=16).hexdigest()


def problem_to_text(problem: Problem | None) -> str | None:
    """Return a problem as JSON text for a column."""
    return None if problem is None else _encode(problem).decode()


_problem_decoder = msgspec.json.Decoder(Problem)
_problems_decoder = msgspec.json.Decoder(tuple[Problem, ...])


def problem_from_text(text: str | None) -> Problem | None:
    """Return the problem that a column holds."""
    return None if text is None else _problem_decoder.decode(text)


# ---------------------------------------------------------------- records

_RECORD = (
    "r.object, r.id, r.stamp, r.seen, r.seq, r.record_digest, r.digest, r.account, r.contact, r.deal, r.condition,"
    " r.mapping_hash, r.map_problem"
)


def _seen_from(text: str) -> Seen:
    data = _decode(text)
    return Seen(lines=data["l"], related=data["r"], read_at=data["t"])


def _record_from(row: tuple[Any, ...]) -> Record:
    payload = _decode(row[13]) if len(row) > 13 else None
    return Record(
        object=row[0],
        id=row[1],
        stamp=row[2],
        seen=_seen_from(row[3]),
        seq=row[4],
        record_digest=row[5],
        digest=row[6],
        account=row[7],
        contact=row[8],
        deal=row[9],
        condition=row[10],
        mapping_hash=row[11],
        problems=_problems_decoder.decode(row[12]) if row[12] else (),
        fields=payload["f"] if payload else None,
        lines=tuple(payload["l"]) if payload else (),
    )


def marks(values: Sequence[Any]) -> str:
    """Return `?,?,?` for an IN list."""
    return ",".join("?" * len(values))


def records(unit: Unit, object_name: str, ids: Sequence[str]) -> dict[str, Record]:
    """Return the staged records of these ids (at most 2,000), without their values."""
    if not ids:
        return {}
    sql = f"SELECT {_RECORD} FROM record r WHERE r.object = ? AND r.id IN ({marks(ids)})"
    return {row[1]: _record_from(row) for row in unit.query(sql, (object_name, *ids))}


def records_pointing_at(unit: Unit, ids: Sequence[str]) -> list[Record]:
    """Return the records whose account, billing contact or deal (a quote's opportunity) is one of *ids*, without their values."""
    if not ids:
        return []
    found = unit.query(f"SELECT {_RECORD} FROM record r WHERE r.account IN ({marks(ids)})", ids)
    found += unit.query(f"SELECT {_RECORD} FROM record r WHERE r.contact IN ({marks(ids)})", ids)
    found += unit.query(f"SELECT {_RECORD} FROM record r WHERE r.deal IN ({marks(ids)})", ids)
    return [_record_from(row) for row in found]


def save_staged(unit: Unit, staged: Sequence[Staged], now: str) -> None:
    """Save new versions and make their records due for mapping."""
    unit.executemany(
        "INSERT INTO version (object, id, seq, stamp, editor, payload, read_at) VALUES (?,?,?,?,?,?,?)",
        [
            (s.record.object, s.record.id, s.record.seq, s.record.stamp, s.editor, _payload(s.record), now)
            for s in staged
        ],
    )
    unit.executemany(
        "INSERT INTO record (object, id, stamp, seen, seq, record_digest, digest, account, contact, condition, map_due, read_at)"
        " VALUES (?,?,?,?,?,?,?,?,?,'idle',1,?) ON CONFLICT (object, id) DO UPDATE SET stamp = excluded.stamp,"
        " seen = excluded.seen, seq = excluded.seq, record_digest = excluded.record_digest, digest = excluded.digest,"
        " account = excluded.account, contact = excluded.contact, map_due = 1, read_at = excluded.read_at",
        [
            (r.object, r.id, r.stamp, _seen_text(r.seen), r.seq, r.record_digest, r.digest, r.account, r.contact, now)
            for r in (s.record for s in staged)
        ],
    )


def _payload(record: Record) -> bytes:
    return _encode({"f": record.fields, "l": record.lines})


def _seen_text(seen: Seen) -> str:
    return _encode({"l": seen.lines, "r": seen.related, "t": seen.read_at}).decode()


def touch_seen(unit: Unit, seen: Sequence[Record]) -> None:
    """Save the newer stamps of records whose values did not change."""
    unit.executemany(
        "UPDATE record SET stamp = ?, seen = ?, record_digest = ? WHERE object = ? AND id = ?",
        [(r.stamp, _seen_text(r.seen), r.record_digest, r.object, r.id) for r in seen],
    )


def due_for_map(unit: Unit, limit: int, objects: Sequence[str]) -> list[Record]:
    """Return up to *limit* records of these objects that are due for mapping, with their values."""
    sql = (
        f"SELECT {_RECORD}, v.payload FROM record r JOIN version v ON v.object = r.object AND v.id = r.id AND v.seq = r.seq"
        f" WHERE r.map_due = 1 AND r.object IN ({', '.join('?' * len(objects))}) ORDER BY r.id LIMIT ?"
    )
    return [_record_from(row) for row in unit.query(sql, (*objects, limit))]


def save_mapped(unit: Unit, mapped: Iterable[tuple[Record, str, str, str | None, tuple[Problem, ...]]]) -> None:
    """Save what map found out: (record, deal, condition, mapping hash, problems)."""
    unit.executemany(
        "UPDATE record SET map_due = 0, deal = ?, condition = ?, mapping_hash = ?, map_problem = ? WHERE object = ? AND id = ?",
        [
            (deal, condition, mapping_hash, _encode(problems).decode() if problems else None, record.object, record.id)
            for record, deal, condition, mapping_hash, problems in mapped
        ],
    )


def records_of_deals(unit: Unit, deals: Sequence[str], *, with_values: bool) -> dict[str, list[Record]]:
    """Return all records of these deals, by deal, in order of id."""
    found: dict[str, list[Record]] = {}
    if not deals:
        return found
    values, join = (
        (", v.payload", " JOIN version v ON v.object = r.object AND v.id = r.id AND v.seq = r.seq") if with_values else ("", "")
    )
    sql = f"SELECT {_RECORD}{values} FROM record r{join} WHERE r.deal IN ({marks(deals)}) ORDER BY r.id"
    for row in unit.query(sql, deals):
        record = _record_from(row)
        found.setdefault(record.deal or "", []).append(record)
    return found


def save_record_problems(unit: Unit, rows: Iterable[tuple[Problem | None, str, str]]) -> None:
    """Save (problem, object, id) of records that do not speak for their deal: what a person must settle about them."""
    unit.executemany(
        "UPDATE record SET map_problem = ? WHERE object = ? AND id = ?",
        [(_encode((problem,)).decode() if problem else None, object_name, record) for problem, object_name, record in rows],
    )


def aside_problems(unit: Unit, limit: int) -> list[Problem]:
    """Return the problems of presented records, and of won ones whose deal is billed through another record."""
    sql = (
        "SELECT r.map_problem FROM record r JOIN deal d ON d.name = r.deal WHERE r.map_problem IS NOT NULL AND (r.condition = 'open' OR"
        " (r.condition = 'won' AND d.owner_record <> r.id AND d.state IN ('applied', 'written'))) ORDER BY r.id LIMIT ?"
    )
    return [p for row in unit.query(sql, (limit,)) for p in _problems_decoder.decode(row[0])]


def remap(unit: Unit, object_name: str, mapping_hash: str) -> int:
    """Make the records of an object due for mapping by a new revision, unless their deal is billed; return how many."""
    return unit.execute(
        "UPDATE record SET map_due = 1 WHERE object = ? AND map_due = 0 AND COALESCE(mapping_hash, '') <> ? AND NOT EXISTS"
        " (SELECT 1 FROM deal d WHERE d.name = record.deal AND d.contract_id IS NOT NULL AND d.is_withdrawn = 0"
        " AND d.state <> 'parked')",
        (object_name, mapping_hash),
    )


# ---------------------------------------------------------------- deals

_DEAL_COLUMNS = (
    "org",
    "name",
    "label",
    "owner_object",
    "owner_record",
    "action",
    "state",
    "made_at",
    "parent",
    "root",
    "account",
    "contract_id",
    "revision",
    "decision_key",
    "applied_terms",
    "applied_who",
    "applied_how",
    "is_withdrawn",
    "problem",
    "wait_for",
    "attempts",
    "begun",
    "apply_due",
    "next_try_at",
    "write_due",
    "write_attempts",
    "write_next_try_at",
    "write_problem",
    "applied_at",
    "notes",
)
_DEAL = ", ".join(_DEAL_COLUMNS)
_AFTER_APPLY = _DEAL_COLUMNS[2:]


def _deal_from(row: tuple[Any, ...]) -> Deal:
    values = dict(zip(_DEAL_COLUMNS, row, strict=True))
    for flag in ("is_withdrawn", "begun", "apply_due", "write_due"):
        values[flag] = bool(values[flag])
    values["problem"] = problem_from_text(values["problem"])
    values["write_problem"] = problem_from_text(values["write_problem"])
    return Deal(**values)


def _deal_values(deal: Deal) -> list[Any]:
    values: list[Any] = [getattr(deal, name) for name in _AFTER_APPLY]
    for place, name in enumerate(_AFTER_APPLY):
        if name in ("problem", "write_problem"):
            values[place] = problem_to_text(values[place])
        elif isinstance(values[place], bool):
            values[place] = int(values[place])
    return values


def deals(unit: Unit, names: Sequence[str]) -> dict[str, Deal]:
    """Return these deals by name."""
    if not names:
        return {}
    return {row[1]: _deal_from(row) for row in unit.query(f"SELECT {_DEAL} FROM deal WHERE name IN ({marks(names)})", names)}


def chain_members(unit: Unit, roots: Sequence[str]) -> list[Deal]:
    """Return every deal of these chains in the order they were made."""
    if not roots:
        return []
    sql = f"SELECT {_DEAL} FROM deal WHERE root IN ({marks(roots)}) ORDER BY made_at, name"
    return [_deal_from(row) for row in unit.query(sql, roots)]


def make_due(unit: Unit, found: Iterable[tuple[str, str, str]], org: str, now: str) -> None:
    """Insert (name, label, root) as deals where they are new, and make them due for apply."""
    unit.executemany(
        "INSERT INTO deal (org, name, label, root, state, action, made_at, revision, is_withdrawn, attempts, begun, apply_due,"
        " write_due, write_attempts, notes, updated_at) VALUES (?,?,?,?,'mapped','new','',0,0,0,0,1,0,0,'',?) ON CONFLICT (org, name)"
        " DO UPDATE SET apply_due = 1, attempts = 0, next_try_at = NULL, write_problem = NULL, updated_at = excluded.updated_at",
        [(org, name, label, root, now) for name, label, root in found],
    )


def due_for_apply(unit: Unit, now: str, limit: int) -> list[Deal]:
    """Return up to *limit* deals that are due for a decision."""
    sql = (
        f"SELECT {_DEAL} FROM deal WHERE apply_due = 1 AND state <> 'skipped' AND (next_try_at IS NULL OR next_try_at <= ?) ORDER BY begun, name LIMIT ?"
    )
    return [_deal_from(row) for row in unit.query(sql, (now, limit))]


def begin(unit: Unit, names: Sequence[str]) -> None:
    """Count an attempt before anything outside is done (style.md: at least once, but never for ever)."""
    unit.executemany("UPDATE deal SET attempts = attempts + 1, begun = 1 WHERE name = ?", [(n,) for n in names])


def save_deals(unit: Unit, changed: Sequence[Deal], now: str) -> None:
    """Save every column of these deals."""
    columns = ", ".join(f"{name} = ?" for name in _AFTER_APPLY)
    unit.executemany(
        f"UPDATE deal SET {columns}, updated_at = ? WHERE org = ? AND name = ?",
        [(*_deal_values(deal), now, deal.org, deal.name) for deal in changed],
    )


def wake_waiting(unit: Unit, names: Sequence[str]) -> None:
    """Make the deals due that wait for one of these."""
    unit.executemany("UPDATE deal SET apply_due = 1, next_try_at = NULL WHERE wait_for = ?", [(n,) for n in names])


def follow_merges(unit: Unit, merged: Sequence[tuple[str, str]]) -> None:
    """Let deals of merged accounts belong to the account that stays, and decide them again: (loser, master) each (P15)."""
    unit.executemany(
        "UPDATE deal SET account = ?, apply_due = 1 WHERE account = ?", [(master, loser) for loser, master in merged]
    )


def skip(unit: Unit, deal: Deal, problem: Problem) -> None:
    """Leave a deal out of billing until a person takes it up again; *problem* says so on its record."""
    unit.execute(
        "UPDATE deal SET state = 'skipped', apply_due = 0, wait_for = NULL, problem = ?, write_due = 1 WHERE org = ? AND name = ?",
        (problem_to_text(problem), deal.org, deal.name),
    )


def take_up(unit: Unit, deal: Deal) -> None:
    """Make a deal due that is held or left out."""
    unit.execute(
        "UPDATE deal SET state = 'mapped' WHERE org = ? AND name = ? AND state = 'skipped'", (deal.org, deal.name)
    )


def tell_crm(unit: Unit, names: Sequence[str]) -> None:
    """Make these deals due for write-back."""
    unit.executemany(
        "UPDATE deal SET write_due = 1, write_next_try_at = NULL, write_attempts = 0 WHERE name = ?", [(n,) for n in names]
    )


def tell_contracts(unit: Unit, contract_ids: Sequence[str]) -> None:
    """Make every deal of these contracts due for write-back."""
    unit.executemany(
        "UPDATE deal SET write_due = 1, write_next_try_at = NULL, write_attempts = 0 WHERE contract_id = ?",
        [(c,) for c in contract_ids],
    )


def due_for_write(unit: Unit, now: str, limit: int) -> list[Deal]:
    """Return up to *limit* deals of which the CRM is to be told something."""
    sql = (
        f"SELECT {_DEAL} FROM deal WHERE write_due = 1 AND (write_next_try_at IS NULL OR write_next_try_at <= ?)"
        " ORDER BY name LIMIT ?"
    )
    return [_deal_from(row) for row in unit.query(sql, (now, limit))]


def save_written(unit: Unit, results: Iterable[Deal]) -> None:
    """Save how write-back ended for these deals."""
    unit.executemany(
        "UPDATE deal SET state = ?, write_due = ?, write_attempts = ?, write_next_try_at = ?, write_problem = ? WHERE org = ?"
        " AND name = ?",
        [
            (
                deal.state,
                int(deal.write_due),
                deal.write_attempts,
                deal.write_next_try_at,
                problem_to_text(deal.write_problem),
                deal.org,
                deal.name,
            )
            for deal in results
        ],
    )


def note(unit: Unit, rows: Iterable[tuple[str, str, str, str]], now: str) -> None:
    """Add (deal, step, outcome, detail) to the history."""
    unit.executemany(
        "INSERT INTO attempt (deal, at, step, outcome, detail) VALUES (?,?,?,?,?)",
        [(deal, now, step, outcome, detail) for deal, step, outcome, detail in rows],
    )


def history(unit: Unit, name: str, limit: int = 50) -> list[tuple[str, str, str, str]]:
    """Return (at, step, outcome, detail) of a deal, newest first."""
    sql = "SELECT at, step, outcome, detail FROM attempt WHERE deal = ? ORDER BY id DESC LIMIT ?"
    return [(row[0], row[1], row[2], row[3]) for row in unit.query(sql, (name, limit))]


def list_deals(unit: Unit, state: str | None, after: str, limit: int) -> list[Deal]:
    """Return deals in order of name, after *after*, all or those in one state."""
    where, params = ("state = ? AND ", [state]) if state else ("", [])
    sql = f"SELECT {_DEAL} FROM deal WHERE {where}name > ? ORDER BY name LIMIT ?"
    return [_deal_from(row) for row in unit.query(sql, [*params, after, limit])]


def flagged_deals(unit: Unit, limit: int) -> list[Deal]:
    """Return deals that stand in the books but need a person: edited after billing, or refused by the CRM's own rules."""
    sql = (
        f"SELECT {_DEAL} FROM deal WHERE state IN ('applied', 'written') AND (problem IS NOT NULL OR write_problem IS NOT NULL)"
        " ORDER BY name LIMIT ?"
    )
    return [_deal_from(row) for row in unit.query(sql, (limit,))]


def counts(unit: Unit) -> dict[str, int]:
    """Return the number of deals by state."""
    return {row[0]: row[1] for row in unit.query("SELECT state, COUNT(*) FROM deal GROUP BY state")}


# ---------------------------------------------------------------- cursors, mapping revisions, what was written, meta


def cursor(unit: Unit, object_name: str) -> Cursor:
    """Return the cursor of an object; a new one where it was never polled."""
    sql = "SELECT watermark, target, pos_stamp, pos_id, is_loaded, complete_at FROM cursor WHERE object = ?"
    rows = unit.query(sql, (object_name,))
    if not rows:
        return Cursor(object=object_name)
    w, t, s, i, loaded, complete = rows[0]
    return Cursor(
        object=object_name, watermark=w, target=t, pos_stamp=s, pos_id=i, is_loaded=bool(loaded), complete_at=complete
    )


def save_cursor(unit: Unit, c: Cursor) -> None:
    """Save how far a poll came."""
    unit.execute(
        "INSERT INTO cursor (object, watermark, target, pos_stamp, pos_id, is_loaded, complete_at) VALUES (?,?,?,?,?,?,?)"
        " ON CONFLICT (object) DO UPDATE SET watermark = excluded.watermark, target = excluded.target,"
        " pos_stamp = excluded.pos_stamp, pos_id = excluded.pos_id, is_loaded = excluded.is_loaded,"
        " complete_at = excluded.complete_at",
        (c.object, c.watermark, c.target, c.pos_stamp, c.pos_id, int(c.is_loaded), c.complete_at),
    )


def forget_cursors(unit: Unit, object_name: str = "") -> None:
    """Make the next poll read everything again (`sync --full`), or everything of one object."""
    unit.execute("DELETE FROM cursor WHERE ? IN ('', object)", (object_name,))


def last_complete_poll(unit: Unit, objects: Sequence[str]) -> str | None:
    """Return when the last of *objects* was read to the end, on our clock; None if one never was."""
    sql = f"SELECT MIN(complete_at), COUNT(complete_at) FROM cursor WHERE object IN ({marks(objects)})"
    rows = unit.query(sql, tuple(objects))
    return rows[0][0] if rows and rows[0][1] == len(objects) else None


def save_mapping_revision(unit: Unit, values: tuple[str, str, str, str, str], now: str) -> None:
    """Keep (hash, name, object, file, text) of a mapping revision."""
    unit.execute(
        "INSERT INTO mapping_revision (hash, name, object, file, text, first_at) VALUES (?,?,?,?,?,?)"
        " ON CONFLICT (hash) DO NOTHING",
        (*values, now),
    )


def mapping_texts(unit: Unit, begins: str) -> list[tuple[str, str]]:
    """Return (file, text) of the mapping revisions whose hash begins so."""
    return [(r[0], r[1]) for r in unit.query("SELECT file, text FROM mapping_revision WHERE substr(hash, 1, ?) = ?", (len(begins), begins))]


def written_digests(unit: Unit, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return the digest last written, by (object, key)."""
    found: dict[tuple[str, str], str] = {}
    by_object: dict[str, list[str]] = {}
    for object_name, key in keys:
        by_object.setdefault(object_name, []).append(key)
    for object_name, names in by_object.items():
        for start in range(0, len(names), 900):
            part = names[start : start + 900]
            sql = f"SELECT key, digest FROM crm_row WHERE object = ? AND key IN ({marks(part)})"
            found.update({(object_name, row[0]): row[1] for row in unit.query(sql, (object_name, *part))})
    return found


def save_written_rows(unit: Unit, rows: Iterable[tuple[str, str, str, Mapping[str, Any]]], now: str) -> None:
    """Remember (object, key, digest, values) as what stands in the CRM."""
    unit.executemany(
        "INSERT INTO crm_row (object, key, digest, \"values\", written_at) VALUES (?,?,?,?,?) ON CONFLICT (object, key) DO UPDATE"
        " SET digest = excluded.digest, \"values\" = excluded.\"values\", written_at = excluded.written_at",
        [(object_name, key, value_digest, _encode(values), now) for object_name, key, value_digest, values in rows],
    )


def meta(unit: Unit, key: str) -> str | None:
    """Return a fact the ledger keeps about itself."""
    rows = unit.query("SELECT value FROM meta WHERE key = ?", (key,))
    return rows[0][0] if rows else None


def save_meta(unit: Unit, key: str, value: str) -> None:
    """Keep a fact about this ledger."""
    unit.execute(
        "INSERT INTO meta (key, value) VALUES (?,?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (key, value)
    )


def internal_error(error: BaseException, record: str) -> Problem:
    """Return the problem of a deal that our own bug keeps from being billed."""
    return Problem(
        code="internal-error",
        message=f"Not billed: the connector itself failed on this deal ({type(error).__name__}).",
        hint="Ask the people who run the billing connector; its log names the cause.",
        where=Where(record=record),
    )


def parked(deal: Deal, problem: Problem) -> Deal:
    """Return the deal as parked with *problem*: not tried again until something about it changes."""
    return replace(
        deal, state="parked", problem=problem, wait_for=None, apply_due=False, begun=False, next_try_at=None, write_due=True
    )
