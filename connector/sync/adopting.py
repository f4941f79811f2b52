"""Moving billed records to the newest mapping revision, and what a changed mapping would make of records (decisions D-07, D-38).

A billed record is mapped by the revision that first billed it until it is moved here. What then differs from what is billed is
decided like any edit: replaced where nothing is invoiced yet, otherwise flagged with the amendment that would close it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from connector.core.money import major
from connector.errors import Problem, RejectedError
from connector.mapping.compile import Compiled
from connector.mapping.conditions import Condition, ConditionError, condition_paths, matcher, parsed_condition
from connector.ports import Command, Desired, IntentResult, Unit
from connector.sync import ledger
from connector.sync.apply import decided
from connector.sync.decide import Decision, Do, Flag, Park, Wait
from connector.sync.intents import Handler, Intent
from connector.sync.ledger import Deal, Record, marks
from connector.sync.mapper import digests_of
from connector.sync.seam import Seam, Source, Transactions

ADOPT = "mapping.adopt"
_PAGE = 500
_WORDS = {
    "create": "make a contract",
    "replace": "replace the contract's terms (nothing of it is invoiced yet)",
    "details": "update the customer's details from the next invoice on",
    "withdraw": "withdraw the contract (nothing of it is invoiced yet)",
    "change": "change the contract",
    "replace_change": "replace the planned change",
    "withdraw_change": "withdraw the planned change",
}


def words_of(decision: Decision) -> str:
    """Return in a few words what a decision would do."""
    if isinstance(decision, Do):
        return _WORDS[decision.command.kind]
    if isinstance(decision, (Park, Wait, Flag)):
        return {"Park": "cannot be billed", "Wait": "waits", "Flag": "goes on unchanged"}[type(decision).__name__]
    return "nothing: what is billed is what the record says" if decision.is_deal else "nothing: this record is not a deal (yet)"


# ---------------------------------------------------------------- fields that older revisions read


def with_older(sources: Sequence[Source], database: Transactions, older: Callable[[str], Compiled | None]) -> tuple[Source, ...]:
    """Return the sources, reading also the fields of the revisions that billed records still stand on (decision D-07)."""
    with database.read() as unit:
        used = [
            (s.object, str(row[0]))
            for s in sources
            for row in unit.query("SELECT DISTINCT mapping_hash FROM record WHERE object = ? AND mapping_hash <> ?", (s.object, s.hash))
        ]
    found = []
    for source in sources:
        held = [c for name, h in used if name == source.object and (c := older(h)) is not None and c.line_object == (source.line_object or "")]
        fields = tuple(dict.fromkeys(f for c in held for f in c.record_fields if f not in source.compiled.record_fields))
        lines = tuple(dict.fromkeys(f for c in held for f in c.line_fields if f not in source.compiled.line_fields))
        reads = ledger.digest([source.compiled.record_fields, source.compiled.line_fields])[:8]
        found.append(replace(source, older_fields=fields, older_line_fields=lines, reads=reads))
    return tuple(found)


# ---------------------------------------------------------------- adopting


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """A billed record that is moved, or would be: *was* and *now* are the first digits of the revisions, *what* what follows.

    is_same - nothing differs. problem - why it stays where it is, or what a person must look at afterwards.
    """

    deal: str
    label: str
    record: str
    was: str
    now: str
    what: str
    is_same: bool = False
    is_moved: bool = True
    problem: Problem | None = None


BAD_WHERE = ("bad-condition", "unknown-field")


def condition_of(text: str, sources: Sequence[Source]) -> Condition | None:
    """Return the parsed condition of `--where`, None for all. Raises: RejectedError for what it cannot be held against."""
    if not text.strip():
        return None
    try:
        condition = parsed_condition(text)
    except ConditionError as error:
        hint = "Write a condition as in a mapping's `when`, such as Account.Type = 'Customer' AND CloseDate >= 2026-01-01."
        raise RejectedError(Problem(code="bad-condition", message=f"--where is not understood: {str(error).rstrip('.')}.", hint=hint)) from error
    known = {f for s in sources for f in s.compiled.record_fields}
    unknown = [p for p in condition_paths(condition) if p not in known]
    if unknown:
        hint = f"Fields that the mappings read: {', '.join(sorted(known))}."
        message = f"--where names {', '.join(unknown)}, which no mapping reads."
        raise RejectedError(Problem(code="unknown-field", message=message, hint=hint))
    return condition


def adopting(seam: Seam, unit: Unit, where: str) -> Iterator[Adopted]:
    """Yield every billed record that stands on an older revision and fulfils *where*, with what moving it would lead to."""
    condition = condition_of(where, seam.sources)
    matches = matcher(condition, lambda path: "id" if path.endswith("Id") else "") if condition is not None else None
    for source in seam.sources:
        if condition is not None and any(p not in source.compiled.record_fields for p in condition_paths(condition)):
            continue
        after = ""
        while page := _page(unit, source, after):
            after = page[-1][0]
            found = ledger.records_of_deals(unit, [name for _, name in page], with_values=True)
            deals = ledger.deals(unit, [name for _, name in page])
            for record_id, name in page:
                records = found.get(name, [])
                record = next((r for r in records if (r.object, r.id) == (source.object, record_id)), None)
                if record is not None and (matches is None or matches(record.fields or {})):
                    yield _adopted(seam, unit, source, record, [r for r in records if r is not record], deals[name])


def _page(unit: Unit, source: Source, after: str) -> list[tuple[str, str]]:
    sql = (
        "SELECT r.id, d.name FROM record r JOIN deal d ON d.name = r.deal AND d.owner_object = r.object AND d.owner_record = r.id"
        " WHERE r.object = ? AND r.mapping_hash <> ? AND r.id > ? AND d.contract_id IS NOT NULL AND d.is_withdrawn = 0"
        " ORDER BY r.id LIMIT ?"
    )
    return [(row[0], row[1]) for row in unit.query(sql, (source.object, source.hash, after, _PAGE))]


def _adopted(seam: Seam, unit: Unit, source: Source, record: Record, others: Sequence[Record], deal: Deal) -> Adopted:
    row = Adopted(
        deal=deal.name, label=deal.label, record=record.id, was=(record.mapping_hash or "")[:8], now=source.hash[:8], what="", is_moved=False
    )
    if _unread(source, record):
        text = "stays: it was read before the new mapping, which reads fields that are not known of it yet"
        problem = Problem(code="not-read-yet", message=f"{deal.label} {text}.", hint="Run `connector sync --full` once, then again.")
        return replace(row, what=text, problem=problem)
    fields = record.fields or {}
    unmapped = source.compiled.map(fields, record.lines).problems if not fields.get("IsDeleted") else ()
    if unmapped:
        return replace(row, what="stays: the new mapping cannot read it", problem=unmapped[0])
    _, decision = decided(seam, unit, deal, [replace(record, mapping_hash=source.hash), *others], seam.now())
    if isinstance(decision, (Flag, Do)):
        flag = decision if isinstance(decision, Flag) else decision.flag
        return replace(row, what=words_of(decision), is_moved=True, problem=flag.problem if flag is not None else None)
    return replace(row, what="nothing differs", is_same=True, is_moved=True)


def _unread(source: Source, record: Record) -> bool:
    """Whether the new mapping reads a field that was not read of the record or its lines."""
    fields = record.fields or {}
    return any(not _has(fields, p) for p in source.compiled.record_fields) or any(
        not _has(line, p) for line in record.lines for p in source.compiled.line_fields
    )


def _has(record: Mapping[str, Any], path: str) -> bool:
    inner: Any = record
    for part in path.split("."):
        if inner is None:
            return True
        if not isinstance(inner, Mapping) or part not in inner:
            return False
        inner = inner[part]
    return True


def handler(seam: Seam) -> Handler:
    """Return what carries out the request to move billed records (data: where): only whoever has the mappings can."""

    def adopt(intent: Intent, unit: Unit, now: Any) -> IntentResult:
        rows = list(adopting(seam, unit, str(intent.data.get("where", ""))))
        moved = [r for r in rows if r.is_moved]
        by_object = {s.hash[:8]: s for s in seam.sources}
        unit.executemany(
            "UPDATE record SET mapping_hash = ?, map_due = 1 WHERE object = ? AND id = ?",
            [(by_object[r.now].hash, by_object[r.now].object, r.record) for r in moved],
        )
        ledger.note(unit, [(r.deal, "adopt", r.now, f"{intent.actor}: from mapping {r.was}; {r.what}") for r in moved], ledger.iso(now))
        return IntentResult(result={"rows": [row_of(r) for r in rows]})

    return adopt


def row_of(found: Adopted) -> dict[str, Any]:
    """Return one row of the report as plain values."""
    problem = found.problem
    text = f"{problem.message} {problem.hint}".strip() if problem is not None else ""
    return {
        "deal": found.deal, "label": found.label, "from": found.was, "to": found.now, "moved": found.is_moved, "what": found.what,
        "message": text,
    }  # fmt: skip


# ---------------------------------------------------------------- two mappings side by side


def revisions(unit: Unit, begins: str) -> list[tuple[str, str]]:
    """Return (file, text) of the revisions whose hash begins so."""
    return ledger.mapping_texts(unit, begins)


def changed_by(seam: Seam, unit: Unit, old: Compiled, new: Compiled) -> Iterator[dict[str, Any]]:
    """Yield every staged record that the two mappings read otherwise: fields, problems and contract value, before and after."""
    after = ""
    while True:
        ids = [r[0] for r in unit.query("SELECT id FROM record WHERE object = ? AND id > ? ORDER BY id LIMIT ?", (old.object, after, _PAGE))]
        if not ids:
            return
        after = ids[-1]
        names = [r[0] for r in unit.query(f"SELECT DISTINCT deal FROM record WHERE object = ? AND id IN ({marks(ids)})", (old.object, *ids)) if r[0]]
        records = [r for found in ledger.records_of_deals(unit, names, with_values=True).values() for r in found]
        for record in sorted(records, key=lambda r: r.id):
            if record.object == old.object and record.id in ids:
                row = _compared(seam, unit, record, old, new)
                if row is not None:
                    yield row


def _compared(seam: Seam, unit: Unit, record: Record, old: Compiled, new: Compiled) -> dict[str, Any] | None:
    fields = record.fields or {}
    if fields.get("IsDeleted") or "won" not in (old.condition(fields), new.condition(fields)):
        return None
    one, other = (m.map(fields, record.lines) for m in (old, new))
    a, b = one.desired, other.desired
    said = tuple("; ".join(p.message for p in r.problems) for r in (one, other))
    same = a is not None and b is not None and a.condition == b.condition and digests_of(a) == digests_of(b)
    if (same and not any(said)) or (a is None and b is None and said[0] == said[1]):
        return None
    values = [{v.target: "" if v.value is None else str(v.value) for v in m.explain(fields, record.lines)} for m in (old, new)]
    keys = dict.fromkeys([*values[0], *values[1]])
    differ = [{"target": k, "old": values[0].get(k, ""), "new": values[1].get(k, "")} for k in keys if values[0].get(k) != values[1].get(k)]
    return {
        "record": record.id,
        "label": str(fields.get("Name") or record.id),
        "values": differ,
        "value": [_value(seam, unit, d) for d in (a, b)],
        "problems": list(said),
    }


def _value(seam: Seam, unit: Unit, desired: Desired | None) -> str:
    """Return what a contract of these terms is worth; empty where there are none, as for a change."""
    if desired is None or desired.terms is None or desired.condition != "won":
        return ""
    command = Command(
        key="preview", kind="create", deal=f"preview of {desired.record}", label=desired.label, customer=desired.customer, how=desired.how,
        terms=desired.terms,
    )  # fmt: skip
    preview = seam.billing.preview(command, unit, seam.now())
    return f"{major(preview.value, preview.currency)} {preview.currency.upper()}" if preview.currency else ""
