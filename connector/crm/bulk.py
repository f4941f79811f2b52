"""Writing many records by Bulk API 2.0: a job for each object, whose data travels as CSV; opt-in by `crm.bulk_above` (P35).

Five calls of 5 x 200 write 5,000 records at once; a job costs at least 6 calls however many it holds, and is carried out when the
CRM finds time. So it pays above about 6,000 records. A job is upserts by external id or updates by id only: killed at any moment,
its records are written again by the next round, to the same values. An empty cell leaves a field alone and `#N/A` empties it; the
text "NA" stays a text.

Example: 6,500 opportunities are one job: made, filled, closed, asked for its state (after 1, 2, 4 … 30 s), its two lists of results.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Protocol

from connector.crm.batches import check_value
from connector.crm.login import id18
from connector.crm.translate import is_transient, no_answer, record_problem
from connector.errors import RetryableError
from connector.ports import Upsert, Written

NULL = "#N/A"
MAX_BYTES = 50_000_000  # of one job; the CRM takes 100 MB
_LONGEST_WAIT_S = 30.0
_ENDED = ("JobComplete", "Failed", "Aborted")


class Caller(Protocol):
    """Sends one request below our API version; returns the body of its reply. Raises: what a refusal means."""

    def __call__(self, method: str, path: str, *, body: bytes | None = None, media_type: str = "application/json") -> bytes:
        """Send it."""


def written_by_bulk(
    upserts: Sequence[Upsert], call: Caller, *, decode: Callable[[bytes], Any], sleep: Callable[[float], None], wait_s: float
) -> list[Written]:
    """Write the records by jobs; the results stand in the order asked, each judged alone.

    Args: wait_s - how long a job is waited for; what is not told by then counts as not known, and is written again.
    """
    results: dict[int, Written] = {}
    for indices in _groups(upserts):
        for part in _parts(upserts, indices):
            results |= _one_job(upserts, part, call, decode=decode, sleep=sleep, wait_s=wait_s)
    return [results[index] for index in range(len(upserts))]


def _groups(upserts: Sequence[Upsert]) -> Iterable[list[int]]:
    kinds: dict[tuple[str, str | None], list[int]] = {}
    for index, one in enumerate(upserts):
        kinds.setdefault((one.object, one.key_field), []).append(index)
    for members in kinds.values():
        members.sort(key=lambda index: upserts[index].group)  # records of one account stand together (P27)
    return kinds.values()


def _parts(upserts: Sequence[Upsert], indices: Sequence[int]) -> Iterable[list[int]]:
    """Yield the records in parts that fit into one job."""
    part, size = list[int](), 0
    for index in indices:
        more = sum(len(cell(v)) * 2 + 3 for v in upserts[index].values.values()) + 40
        if part and size + more > MAX_BYTES:
            yield part
            part, size = [], 0
        part.append(index)
        size += more
    yield part


def _one_job(
    upserts: Sequence[Upsert], indices: Sequence[int], call: Caller, *, decode: Callable[[bytes], Any], sleep: Callable[[float], None], wait_s: float
) -> dict[int, Written]:  # fmt: skip
    first = upserts[indices[0]]
    key_field = first.key_field or "Id"
    job = {"object": first.object, "contentType": "CSV", "lineEnding": "LF"}
    job |= {"operation": "upsert", "externalIdFieldName": key_field} if first.key_field else {"operation": "update"}
    made = decode(call("POST", "jobs/ingest", body=_json(job)))
    path = f"jobs/ingest/{made['id']}"
    call("PUT", f"{path}/batches", body=csv_of(upserts, indices).encode(), media_type="text/csv; charset=UTF-8")
    call("PATCH", path, body=_json({"state": "UploadComplete"}))
    info = _ended(path, call, decode=decode, sleep=sleep, wait_s=wait_s)
    by_key = {_key(upserts[index]): index for index in indices}
    if info is None or info["state"] == "Aborted":
        why = f"the bulk job {made['id']} was not finished in time." if info is None else f"the bulk job {made['id']} was aborted."
        return {index: Written(problem=no_answer(upserts[index], why), is_transient=True) for index in indices}
    if info["state"] == "Failed":
        said = [_complaint(str(info.get("errorMessage") or "the bulk job failed"), separator=" : ")]
        return {index: Written(problem=record_problem(said, upserts[index]), is_transient=is_transient(said)) for index in indices}
    results: dict[int, Written] = {}
    for row in _rows(call("GET", f"{path}/successfulResults")):
        if (index := by_key.get(_named(row, key_field))) is not None:
            results[index] = Written(id=id18(row["sf__Id"]))
    for row in _rows(call("GET", f"{path}/failedResults")):
        if (index := by_key.get(_named(row, key_field))) is not None:
            errors = [_complaint(row["sf__Error"])]
            results[index] = Written(problem=record_problem(errors, upserts[index]), is_transient=is_transient(errors))
    missing = "its result is missing."
    lost = {i: Written(problem=no_answer(upserts[i], missing), is_transient=True) for i in indices if i not in results}
    return results | lost


def _ended(
    path: str, call: Caller, *, decode: Callable[[bytes], Any], sleep: Callable[[float], None], wait_s: float
) -> Mapping[str, Any] | None:
    """Return what the job says when it has ended; None where it did not in time."""
    pause_s, waited_s = 1.0, 0.0
    while True:
        info: Mapping[str, Any] = decode(call("GET", path))
        if info["state"] in _ENDED:
            return info
        if waited_s >= wait_s:
            return None
        sleep(pause_s)
        waited_s += pause_s
        pause_s = min(_LONGEST_WAIT_S, pause_s * 2)


# ---------------------------------------------------------------- CSV


def csv_of(upserts: Sequence[Upsert], indices: Sequence[int]) -> str:
    """Return the data of a job: a column for every field that any of the records writes."""
    names = list(dict.fromkeys(name for index in indices for name in upserts[index].values))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([upserts[indices[0]].key_field or "Id", *names])
    for index in indices:
        one = upserts[index]
        writer.writerow([_key(one), *(cell(one.values[name], name) if name in one.values else "" for name in names)])
    return out.getvalue()


def cell(value: Any, name: str = "") -> str:
    """Return a value as a cell. Raises: InvariantError for one that the wire would falsify."""
    check_value(name, value)
    if value is None or value == "":
        return NULL
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, date):
        return value.isoformat()
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _rows(content: bytes) -> Iterable[dict[str, str]]:
    return csv.DictReader(io.StringIO(content.decode("utf-8")))


def _named(row: Mapping[str, str], key_field: str) -> str:
    return row.get(key_field) or row.get("sf__Id") or ""


def _key(one: Upsert) -> str:
    return str(one.key if one.key_field else one.id)


def _complaint(text: str, *, separator: str = ":") -> dict[str, Any]:
    """Return `CODE:message:fields --` as the error that REST would give."""
    code, _, rest = text.partition(separator)
    if separator != ":":
        return {"statusCode": "INVALID_FIELD" if "Field name not found" in rest else code, "message": text, "fields": [rest.rpartition(": ")[2]]}
    message, _, fields = rest.removesuffix("--").rstrip().rpartition(":")
    return {"statusCode": code, "message": message, "fields": [f for f in fields.split(",") if f]}


def _json(body: Mapping[str, str]) -> bytes:
    return ("{" + ",".join(f'"{k}":"{v}"' for k, v in body.items()) + "}").encode()


def refuse_html(content: bytes) -> bytes:
    """Return the content of a reply that is data. Raises: RetryableError where a page of HTML stands for it."""
    if content.lstrip()[:1] == b"<":
        raise RetryableError("The CRM answered a bulk request with a page instead of data.", hint="It is asked again by itself.")
    return content
