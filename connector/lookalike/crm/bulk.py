"""Bulk API 2.0: query jobs and ingest jobs, whose data travels as CSV.

A job is carried out when its data is complete and says InProgress for as many polls as a knob asks for. In the CSV of an ingest job an
empty cell leaves the field alone and `#N/A` empties it; stamps of results end in `Z`. Jobs live as long as the process.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import Any

from connector.lookalike.crm import mischief
from connector.lookalike.crm.bulk_cells import cell, columns, record_from_cells
from connector.lookalike.crm.ids import id18, minted
from connector.lookalike.crm.org import Org
from connector.lookalike.crm.refusal import Refusal, not_found
from connector.lookalike.crm.rest import Rest, body_of, version_of
from connector.lookalike.crm.soql_run import Result, Session, run
from connector.lookalike.crm.wire import Reply, Request

_OPERATIONS = ("insert", "update", "upsert", "delete", "hardDelete")
_DELIMITERS = {"COMMA": ",", "SEMICOLON": ";", "TAB": "\t", "PIPE": "|", "CARET": "^", "BACKQUOTE": "`"}
_ENDINGS = {"LF": "\n", "CRLF": "\r\n"}
_PAGE = 50_000
Cells = list[str]


@dataclass(slots=True, kw_only=True)
class Job:
    """One job. facts - what its info says. polls - how often it still says InProgress. done, failed, left - rows with their results."""

    facts: dict[str, Any]
    polls: int = 0
    result: Result | None = None
    header: Cells = field(default_factory=list)
    content: str = ""
    done: list[Cells] = field(default_factory=list)
    failed: list[Cells] = field(default_factory=list)
    left: list[Cells] = field(default_factory=list)

    @property
    def delimiter(self) -> str:
        """The sign between the cells of its CSV."""
        return _DELIMITERS[self.facts["columnDelimiter"]]

    def info(self) -> dict[str, Any]:
        """Return what a poll answers, and count it."""
        if self.facts["state"] == "JobComplete" and self.polls > 0:
            self.polls -= 1
            return {**self.facts, "state": "InProgress"}
        return dict(self.facts)


class Bulk:
    """The resources below /jobs/."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._org: Org = rest.org
        self._jobs: dict[str, Job] = {}
        one: dict[str, Any] = {"GET": self._info, "PATCH": self._change, "DELETE": self._delete}
        rest.routes[:0] = [
            (("jobs", "query"), {"POST": self._query, "GET": self._list}),
            (("jobs", "ingest"), {"POST": self._ingest, "GET": self._list}),
            (("jobs", "query", "*", "results"), {"GET": self._results}),
            (("jobs", "ingest", "*", "batches"), {"PUT": self._upload}),
            (("jobs", "ingest", "*", "*"), {"GET": self._outcome}),
            (("jobs", "query", "*"), one),
            (("jobs", "ingest", "*"), one),
        ]

    def _made(self, request: Request, facts: dict[str, Any], shape: dict[str, Any]) -> Job:
        delimiter, ending = shape.get("columnDelimiter", "COMMA"), shape.get("lineEnding", "LF")
        if delimiter not in _DELIMITERS or ending not in _ENDINGS:
            raise Refusal("INVALIDJOB", "columnDelimiter or lineEnding is not supported")
        if shape.get("contentType", "CSV") != "CSV":
            raise Refusal("INVALIDJOB", "contentType must be CSV")
        number, stamp = len(self._jobs) + 1, self._org.stamp()
        job = Job(
            facts={
                "id": minted("750", number), **facts, "createdById": self._org.integration_user, "createdDate": stamp, "systemModstamp": stamp,
                "concurrencyMode": "Parallel", "contentType": "CSV", "apiVersion": float(version_of(request)), "lineEnding": ending,
                "columnDelimiter": delimiter, "jobType": "V2Query" if "query" in facts else "V2Ingest",
            }
        )  # fmt: skip
        self._jobs[job.facts["id"]] = job
        return job

    def _job(self, record: str) -> Job:
        job = self._jobs.get(id18(record) or "")
        if job is None:
            raise not_found()
        return job

    def _list(self, request: Request) -> Reply:
        wanted = "V2Query" if "/jobs/query" in request.path else "V2Ingest"
        found = [{key: value for key, value in one.facts.items() if key != "query"} for one in self._jobs.values()]
        return Reply(body={"done": True, "records": [one for one in found if one["jobType"] == wanted], "nextRecordsUrl": None})

    def _info(self, _request: Request, record: str) -> Reply:
        return Reply(body=self._job(record).info())

    def _delete(self, _request: Request, record: str) -> Reply:
        job = self._job(record)
        if job.facts["state"] not in ("JobComplete", "Aborted", "Failed", "UploadComplete"):
            raise Refusal("INVALIDJOBSTATE", "Deleting a job is allowed once it is complete, aborted or failed")
        del self._jobs[job.facts["id"]]
        return Reply(status=204)

    # -- queries ----------------------------------------------------------------------------------------------------------

    def _query(self, request: Request) -> Reply:
        body = body_of(request)
        operation, soql = body.get("operation"), body.get("query")
        if operation not in ("query", "queryAll") or not isinstance(soql, str) or not soql.strip():
            raise Refusal("INVALIDJOB", "operation must be query or queryAll, and query a SOQL statement")
        version = version_of(request)
        kind, header = columns(self._org, soql)
        result = run(Session(org=self._org, version=version, has_deleted=operation == "queryAll"), soql)
        job = self._made(request, {"operation": operation, "object": kind, "query": soql, "state": "UploadComplete"}, body)
        answer = job.info()
        job.result, job.header, job.polls = result, header, self._org.faults.bulk_polls
        job.facts.update(state="JobComplete", numberRecordsProcessed=result.total, retries=0, totalProcessingTime=1)
        return Reply(body=answer)

    def _results(self, request: Request, record: str) -> Reply:
        job = self._job(record)
        if job.result is None or job.polls > 0:
            raise Refusal("INVALIDJOBSTATE", "The job is not complete: results cannot be read yet")
        start, most = request.query.get("locator", "0"), request.query.get("maxRecords", str(_PAGE))
        if not start.isdigit() or not most.isdigit() or not int(most) or int(start) > job.result.total:
            raise Refusal("API_ERROR", "Invalid maxRecords or locator")
        begin, size = int(start), min(int(most), _PAGE)
        rows = [[cell(one, name) for name in job.header] for one in job.result.answers(begin, size)]
        end = begin + size
        headers = {"Sforce-Locator": str(end) if end < len(job.result.items) else "null", "Sforce-NumberOfRecords": str(len(rows))}
        return Reply(body=_csv([job.header, *rows], job), headers=headers, media_type="text/csv")

    # -- ingest -----------------------------------------------------------------------------------------------------------

    def _ingest(self, request: Request) -> Reply:
        body = body_of(request)
        operation, kind = body.get("operation"), self._org.schema.by_lower.get(str(body.get("object", "")).lower())
        if operation not in _OPERATIONS:
            raise Refusal("INVALIDJOB", f"operation must be one of {', '.join(_OPERATIONS)}")
        if kind is None:
            raise Refusal("INVALIDENTITY", f"Unable to find object: {body.get('object')}")
        facts = {"operation": operation, "object": kind.name, "state": "Open"}
        if operation == "upsert":
            key = self._org.field(kind, str(body.get("externalIdFieldName", "")))
            if key is None or not (key.external_id or key.type == "id"):
                raise Refusal("INVALIDJOB", "externalIdFieldName must name an external id of the object")
            facts["externalIdFieldName"] = key.name
        job = self._made(request, facts, body)
        job.facts["contentUrl"] = f"services/data/v{version_of(request)}/jobs/ingest/{job.facts['id']}/batches"
        return Reply(body=job.info())

    def _upload(self, request: Request, record: str) -> Reply:
        job = self._job(record)
        if job.facts["state"] != "Open" or job.content:
            raise Refusal("INVALIDJOBSTATE", "Data is uploaded once, while the job is open")
        job.content = str(request.body or "")
        return Reply(status=201)

    def _change(self, request: Request, record: str) -> Reply:
        job, wanted = self._job(record), body_of(request).get("state")
        if wanted == "Aborted" and job.facts["state"] in ("Open", "UploadComplete"):
            job.facts["state"] = "Aborted"
            return Reply(body=job.info())
        if wanted != "UploadComplete" or job.facts["state"] != "Open":
            raise Refusal("INVALIDJOBSTATE", f"A job that is {job.facts['state']} cannot become {wanted}")
        job.facts["state"] = "UploadComplete"
        answer = job.info()
        self._carry_out(job)
        return Reply(body=answer)

    def _carry_out(self, job: Job) -> None:
        rows = [cells for cells in csv.reader(io.StringIO(job.content), delimiter=job.delimiter) if cells]
        job.header, data = (rows[0], rows[1:]) if rows else ([], [])
        problem = self._header_problem(job)
        job.facts.update(state="JobComplete", retries=0, totalProcessingTime=1, apiActiveProcessingTime=1, apexProcessingTime=0)
        job.polls = self._org.faults.bulk_polls
        if problem:
            job.left = data
            job.facts.update(state="Failed", errorMessage=problem)
        for cells in data if not problem else ():
            self._carry_row(job, cells)
        job.facts.update(numberRecordsProcessed=len(job.done) + len(job.failed), numberRecordsFailed=len(job.failed))

    def _header_problem(self, job: Job) -> str:
        if not job.header:
            return "InvalidBatch : The CSV has no header"
        needed = {"insert": "", "upsert": job.facts.get("externalIdFieldName", "")}.get(job.facts["operation"], "Id")
        names = [name.lower() for name in job.header]
        if needed and needed.lower() not in names:
            return f"InvalidBatch : Field name not found : {needed}"
        kind = self._org.type(job.facts["object"])
        for name in job.header:
            if "." not in name and self._org.field(kind, name) is None:
                return f"InvalidBatch : Field name not found : {name}"
        return f"InvalidBatch : duplicate header field : {job.header}" if len(set(names)) < len(names) else ""

    def _carry_row(self, job: Job, cells: Cells) -> None:
        record = ""
        try:
            if len(cells) != len(job.header):
                raise Refusal("INVALID_FIELD", f"The row has {len(cells)} cells, the header {len(job.header)}")
            with self._org.transaction():
                kind = self._org.type(job.facts["object"])
                fields = record_from_cells(kind, dict(zip(job.header, cells, strict=True)))
                record, is_new = self._saved(job, fields)
        except Refusal as refusal:
            fields_text = ",".join(refusal.fields)
            known = dict(zip((name.lower() for name in job.header), cells, strict=False)).get("id", "")
            kept = (cells + [""] * len(job.header))[: len(job.header)]
            job.failed.append([known, f"{refusal.code}:{refusal.message}:{fields_text} --", *kept])
            return
        self._rest.written += 1
        job.done.append([record, str(is_new).lower(), *cells])

    def _saved(self, job: Job, fields: dict[str, Any]) -> tuple[str, bool]:
        operation, kind = job.facts["operation"], job.facts["object"]
        if operation == "insert":
            return self._org.create(kind, fields), True
        key = job.facts.get("externalIdFieldName", "Id")
        name = next((one for one in fields if one.lower() == key.lower()), None)
        value = str(fields.pop(name) or "") if name is not None else ""
        if not value:
            raise Refusal("MISSING_ARGUMENT", f"{key} not specified")
        if operation == "upsert":
            return self._org.upsert(kind, key, value, fields)
        if operation == "update":
            return self._org.update(kind, value, fields), False
        if operation == "hardDelete":
            record = str(self._org.get(kind, value)["Id"])
            mischief.purge(self._org, kind, record)
            return record, False
        self._org.delete(kind, value)
        return str(id18(value)), False

    def _outcome(self, _request: Request, record: str, name: str) -> Reply:
        job = self._job(record)
        tables = {
            "successfulResults": (["sf__Id", "sf__Created"], job.done), "failedResults": (["sf__Id", "sf__Error"], job.failed),
            "unprocessedrecords": ([], job.left),
        }  # fmt: skip
        if name not in tables:
            raise not_found()
        head, rows = tables[name]
        return Reply(body=_csv([[*head, *job.header], *rows], job), media_type="text/csv")


def _csv(rows: list[Cells], job: Job) -> str:
    out = io.StringIO()
    ending = _ENDINGS[job.facts["lineEnding"]]
    csv.writer(out, delimiter=job.delimiter, quoting=csv.QUOTE_ALL, lineterminator=ending).writerows(rows)
    return out.getvalue()
