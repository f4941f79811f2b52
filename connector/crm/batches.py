"""How records are put into collection requests, and how their results are read back: no I/O.

Writing an Opportunity locks its Account, so records of one account stand side by side and are saved one after the other
(P27). A batch is one object and one way of writing, at most 200 records; up to 5 batches travel in one call.

Example: 1,000 opportunity updates and 300 invoice rows are batches of 5 x 200, 200, 100: two calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from connector.crm.login import id18
from connector.crm.translate import complaints, is_transient, named_field, no_answer, record_problem
from connector.errors import invariant
from connector.ports import Upsert, Written

MAX_ROWS = 200
MAX_BATCHES = 5
_MIN_ROWS = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How much goes into one call; starts small on real orgs, where customers' automation dominates, and grows (D-23)."""

    batches: int
    rows: int = MAX_ROWS

    def after(self, *, is_calm: bool) -> Shape:
        """Return the next shape: a step larger after a calm call, half after one that took too long."""
        if is_calm:
            if self.rows < MAX_ROWS:
                return Shape(batches=self.batches, rows=min(MAX_ROWS, self.rows * 2))
            return Shape(batches=min(MAX_BATCHES, self.batches + 1))
        if self.batches > 1:
            return Shape(batches=self.batches // 2, rows=self.rows)
        return Shape(batches=1, rows=max(_MIN_ROWS, self.rows // 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Records of one collection request. *indices* - their places among the upserts of the write."""

    object: str
    key_field: str | None
    indices: tuple[int, ...]

    def parts(self, count: int) -> list[Batch]:
        """Return the same records in *count* batches or fewer, in order."""
        rows = -(-len(self.indices) // count)
        return [
            Batch(object=self.object, key_field=self.key_field, indices=self.indices[at : at + rows])
            for at in range(0, len(self.indices), rows)
        ]

    def only(self, indices: Iterable[int]) -> Batch:
        """Return the batch with these records of it."""
        return Batch(object=self.object, key_field=self.key_field, indices=tuple(indices))


def batches_of(upserts: Sequence[Upsert], indices: Iterable[int], rows: int) -> list[Batch]:
    """Return the records at *indices* as batches of up to *rows*, equal groups side by side."""
    kinds: dict[tuple[str, str | None], list[int]] = {}
    for index in indices:
        one = upserts[index]
        invariant((one.id is None) != (one.key_field is None), "a record is written by id or by external id")
        kinds.setdefault((one.object, one.key_field), []).append(index)
    made = []
    for (name, key_field), members in kinds.items():
        members.sort(key=lambda index: upserts[index].group)
        made += [
            Batch(object=name, key_field=key_field, indices=tuple(members[at : at + rows]))
            for at in range(0, len(members), rows)
        ]
    return made


def batch_body(batch: Batch, upserts: Sequence[Upsert]) -> dict[str, Any]:
    """Return the body of the collection request.

    Raises: InvariantError for a value that the wire would falsify (float, NaN, naive datetime).
    """
    attributes = {"type": batch.object}
    records = []
    for index in batch.indices:
        one = upserts[index]
        record: dict[str, Any] = {"attributes": attributes}
        if batch.key_field is None:
            record["id"] = one.id
        else:
            record[batch.key_field] = one.key
        for name, value in one.values.items():
            check_value(name, value)
            record[name] = value
        records.append(record)
    return {"allOrNone": False, "records": records}


def check_value(name: str, value: Any) -> None:
    """Raise InvariantError for a value that the wire would falsify."""
    kind = type(value)
    if kind is float or (kind is Decimal and not value.is_finite()) or (kind is datetime and value.tzinfo is None):
        invariant(False, f"{name}={value!r} can be written exactly")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What one answer says: results by index, the records to send again in other company, and whether it took too long."""

    results: Mapping[int, Written]
    again: tuple[Batch, ...] = ()
    is_calm: bool = True


def judged(batch: Batch, upserts: Sequence[Upsert], status: int, body: Any, *, may_split: bool) -> Judged:
    """Return what the answer to *batch* means for each of its records; a missing result never counts as written (P28).

    A batch refused as a whole for one field fails the records that carry it. One refused without naming a field is cut into
    five, while *may_split*, so that a poison record ends up alone.
    """
    if 200 <= status < 300 and isinstance(body, list):
        return Judged(results={index: _one(upserts[index], body, at) for at, index in enumerate(batch.indices)})
    if status < 300 or status >= 500 or is_transient(body):
        said = complaints(body)
        why = f"{said[0].code} {said[0].message}".strip() if said else "its answer is missing."
        lost = {i: Written(problem=no_answer(upserts[i], why), is_transient=True) for i in batch.indices}
        return Judged(results=lost, is_calm=False)
    if status == 404:  # the address of a collection names only the object and the key field
        told = "; ".join(one.message for one in complaints(body))
        body = [{"errorCode": "INVALID_FIELD", "message": told, "fields": [batch.key_field or batch.object]}]
    if status == 300 and isinstance(body, list):  # an upsert by a value that several records carry lists their addresses (P37)
        found = ", ".join(str(url).rsplit("/", 1)[-1] for url in body)
        told = f"more than one record found for external id field: [{found}]"
        body = [{"errorCode": "DUPLICATE_EXTERNAL_ID", "message": told, "fields": [batch.key_field or "Id"]}]
    name = named_field(body)
    guilty = [i for i in batch.indices if name in upserts[i].values]
    if guilty and len(guilty) < len(batch.indices):
        innocent = batch.only(i for i in batch.indices if name not in upserts[i].values)
        return Judged(results=_all_refused(guilty, upserts, body), again=(innocent,))
    if name is None and may_split and len(batch.indices) > 1:
        return Judged(results={}, again=tuple(batch.parts(MAX_BATCHES)))
    return Judged(results=_all_refused(batch.indices, upserts, body))


def _all_refused(indices: Iterable[int], upserts: Sequence[Upsert], body: Any) -> dict[int, Written]:
    return {index: Written(problem=record_problem(body, upserts[index])) for index in indices}


def _one(upsert: Upsert, body: Sequence[Any], at: int) -> Written:
    result = body[at] if at < len(body) else None
    if not isinstance(result, Mapping) or (result.get("success") and not (result.get("id") or upsert.id)):
        return Written(problem=no_answer(upsert, "its result is missing."), is_transient=True)
    if result.get("success") is True:
        return Written(id=id18(str(result.get("id") or upsert.id)))
    errors = result.get("errors")
    return Written(problem=record_problem(errors, upsert), is_transient=is_transient(errors))
