"""Several records or requests in one call: sObject Collections, composite, composite/batch.

A collection of 200 updates answers 200 results in request order, each a success or its own errors. A composite carries up to
25 requests, up to 5 of them queries or collections, and counts as one call; `@{ref.id}` takes a value from an earlier one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from connector.lookalike.crm.org import Org
from connector.lookalike.crm.refusal import Refusal, not_found
from connector.lookalike.crm.rest import Rest, body_of, record_answer, version_of
from connector.lookalike.crm.wire import Reply, Request, subrequest, versioned

_MAX_RECORDS, _MAX_CHUNKS = 200, 10
_MAX_SUBREQUESTS, _MAX_HEAVY = 25, 5
_MAX_GRAPHS, _MAX_NODES = 75, 500
_REFERENCE = re.compile(r"@\{([^}]+)\}")
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
_ROLLED_BACK = {
    "statusCode": "ALL_OR_NONE_OPERATION_ROLLED_BACK",
    "message": "Record rolled back because not all records were valid and the request was using AllOrNone header",
    "fields": [],
}
_HALTED = [
    {
        "errorCode": "PROCESSING_HALTED",
        "message": "The transaction was rolled back since another operation in the same transaction failed.",
    }
]
Save = Callable[[dict[str, Any]], dict[str, Any]]


class _RolledBackError(Exception):
    """Leaves a transaction so that nothing of it stays."""


class Collections:
    """POST, PATCH and DELETE of up to 200 records, and reading them."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._org: Org = rest.org
        rest.routes[:0] = [
            (("composite", "sobjects"), {"POST": self._create, "PATCH": self._update, "DELETE": self._delete}),
            (("composite", "sobjects", "*"), {"POST": self._read, "GET": self._read}),
            (("composite", "sobjects", "*", "*"), {"PATCH": self._upsert}),
        ]

    def _create(self, request: Request) -> Reply:
        def save(record: dict[str, Any]) -> dict[str, Any]:
            return {"id": self._org.create(_type_of(record), record)}

        return self._saved(request, save)

    def _update(self, request: Request) -> Reply:
        def save(record: dict[str, Any]) -> dict[str, Any]:
            key = next((name for name in record if name.lower() == "id"), None)
            if key is None or not record[key]:
                raise Refusal("MISSING_ARGUMENT", "Id not specified in an update call")
            fields = {name: value for name, value in record.items() if name != key}
            return {"id": self._org.update(_type_of(record), str(record[key]), fields)}

        return self._saved(request, save)

    def _upsert(self, request: Request, kind: str, field: str) -> Reply:
        def save(record: dict[str, Any]) -> dict[str, Any]:
            key = next((name for name in record if name.lower() == field.lower()), None)
            if key is None or not record[key]:
                raise Refusal("MISSING_ARGUMENT", f"{field} not specified")
            fields = {name: value for name, value in record.items() if name != key}
            found, is_created = self._org.upsert(kind, field, str(record[key]), fields)
            return {"id": found, "created": is_created}

        one = self._org.type(kind)
        key = self._org.field(one, field)
        if key is None or not (key.external_id or key.type == "id"):
            raise not_found(f"Provided external ID field does not exist or is not accessible: {field}")
        return self._saved(request, save, kind=one.name)

    def _delete(self, request: Request) -> Reply:
        ids = [one for one in request.query.get("ids", "").split(",") if one]
        is_all = request.query.get("allOrNone", "false").lower() == "true"

        def save(record: dict[str, Any]) -> dict[str, Any]:
            kind = self._org.schema.by_prefix.get(record["id"][:3])
            if kind is None:
                raise Refusal("MALFORMED_ID", f"malformed id {record['id']}")
            self._org.delete(kind.name, record["id"])
            return {"id": record["id"]}

        _check_size(ids)
        return Reply(body=self._results([{"id": one} for one in ids], save, is_all=is_all))

    def _saved(self, request: Request, save: Save, *, kind: str = "") -> Reply:
        body = body_of(request)
        found = body.get("records")
        if not isinstance(found, list) or any(not isinstance(one, dict) for one in found):
            raise Refusal("JSON_PARSER_ERROR", "records must be an array of objects")
        _check_size(found)
        types = [_type_of(one) for one in found]
        if 1 + sum(1 for before, after in pairwise(types) if before != after) > _MAX_CHUNKS:
            raise Refusal("INVALID_INPUT", f"Operation has more than {_MAX_CHUNKS} chunks of records of one type")
        if kind and any(one.lower() != kind.lower() for one in types):
            raise Refusal("INVALID_INPUT", f"All records of an upsert must be of type {kind}")
        return Reply(body=self._results(found, save, is_all=body.get("allOrNone") is True))

    def _results(self, found: list[dict[str, Any]], save: Save, *, is_all: bool) -> list[dict[str, Any]]:
        results: list[dict[str, Any]] = []
        try:
            with self._org.transaction():
                results.extend(self._one(record, save) for record in found)
                if is_all and not all(one["success"] for one in results):
                    raise _RolledBackError
        except _RolledBackError:
            return [one if not one["success"] else {"success": False, "errors": [_ROLLED_BACK]} for one in results]
        self._rest.written += sum(1 for one in results if one["success"])
        return results

    def _one(self, record: dict[str, Any], save: Save) -> dict[str, Any]:
        try:
            with self._org.transaction():
                done = save(record)
        except Refusal as refusal:
            return {"success": False, "errors": [refusal.entry()]}
        return {"id": done.pop("id"), "success": True, "errors": [], **done}

    def _read(self, request: Request, name: str) -> Reply:
        kind = self._org.type(name)
        body = request.query if request.method == "GET" else body_of(request)
        ids, fields = _listed(body.get("ids")), _listed(body.get("fields"))
        if not fields:
            raise Refusal("MISSING_ARGUMENT", "fields are required")
        return Reply(body=[self._found(request, kind.name, one, fields) for one in ids])

    def _found(self, request: Request, name: str, record: str, fields: list[str]) -> dict[str, Any] | None:
        try:
            row = self._org.get(name, record)
        except Refusal:
            return None
        return record_answer(self._org, self._org.type(name), row, fields, version=version_of(request), is_strict=True)


class Composite:
    """POST /composite and POST /composite/batch. subrequests - what they carried so far, by first path segment."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self.subrequests: Counter[str] = Counter()
        rest.routes[:0] = [
            (("composite",), {"POST": self._composite}),
            (("composite", "batch"), {"POST": self._batch}),
            (("composite", "graph"), {"POST": self._graphs}),
        ]

    def _composite(self, request: Request) -> Reply:
        body = body_of(request)
        entries = _checked_entries(body.get("compositeRequest"))
        return Reply(body={"compositeResponse": self._all(request, entries, is_all=body.get("allOrNone") is True)[0]})

    def _graphs(self, request: Request) -> Reply:
        graphs = body_of(request).get("graphs")
        if not isinstance(graphs, list) or not all(isinstance(one, dict) and isinstance(one.get("graphId"), str) for one in graphs):
            raise Refusal("JSON_PARSER_ERROR", "graphs must be an array of objects with a graphId")
        checked = [(one["graphId"], _checked_entries(one.get("compositeRequest"), most=_MAX_NODES, is_graph=True)) for one in graphs]
        if len(graphs) > _MAX_GRAPHS or sum(len(entries) for _, entries in checked) > _MAX_NODES:
            raise Refusal("LIMIT_EXCEEDED", f"A call carries at most {_MAX_GRAPHS} graphs of {_MAX_NODES} nodes in all")
        out = []
        for name, entries in checked:
            answers, is_done = self._all(request, entries, is_all=True)
            out.append({"graphId": name, "graphResponse": {"compositeResponse": answers}, "isSuccessful": is_done})
        return Reply(body={"graphs": out})

    def _all(self, request: Request, entries: list[dict[str, Any]], *, is_all: bool) -> tuple[list[dict[str, Any]], bool]:
        """Return the answers of the subrequests, and whether they stand."""
        done: dict[str, Reply] = {}
        is_done = True
        try:
            with self._rest.org.transaction():
                for entry in entries:
                    done[entry["referenceId"]] = self._answered(request, entry, done)
                if is_all and any(_has_failed(reply) for reply in done.values()):
                    raise _RolledBackError
        except _RolledBackError:
            is_done = False
            done = {
                key: reply if reply.status >= 400 else Reply(status=400, body=_HALTED) for key, reply in done.items()
            }
        answers = [
            {"body": reply.body, "httpHeaders": reply.headers, "httpStatusCode": reply.status, "referenceId": key}
            for key, reply in done.items()
        ]
        return answers, is_done

    def _answered(self, request: Request, entry: dict[str, Any], done: dict[str, Reply]) -> Reply:
        try:
            url = str(_resolved(entry["url"], done))
            body = _resolved(entry.get("body"), done)
            own = entry.get("httpHeaders")
            own = {key.lower(): str(value) for key, value in own.items()} if isinstance(own, dict) else {}
            headers = {**request.headers, **own}
            with self._rest.org.transaction():
                return self._forwarded(subrequest(entry["method"].upper(), url, headers, body))
        except Refusal as refusal:
            return Reply(status=refusal.status, body=refusal.body())

    def _forwarded(self, request: Request) -> Reply:
        parts = versioned(request.path)
        segments = parts[1] if parts else []
        if segments[:1] == ["composite"] and segments[1:2] != ["sobjects"]:
            raise Refusal("INVALID_INPUT", "composite requests cannot be nested")
        kind = "/".join(segments[: 2 if segments[:1] == ["composite"] else 1])
        self.subrequests[kind] += 1
        failure = self._rest.org.faults.failing(f"composite:{kind}")
        return failure.reply() if failure is not None else self._rest.answer(request)

    def _batch(self, request: Request) -> Reply:
        entries = body_of(request).get("batchRequests")
        if not isinstance(entries, list) or any(not isinstance(one, dict) for one in entries):
            raise Refusal("JSON_PARSER_ERROR", "batchRequests must be an array of objects")
        if not 0 < len(entries) <= _MAX_SUBREQUESTS:
            raise Refusal("INVALID_INPUT", f"a batch carries 1 to {_MAX_SUBREQUESTS} requests")
        replies = []
        for entry in entries:
            url = "/services/data/" + str(entry.get("url", "")).lstrip("/").removeprefix("services/data/")
            inner = {"method": str(entry.get("method", "GET")), "url": url, "body": entry.get("richInput")}
            replies.append(self._answered(request, inner, {}))
        results = [{"statusCode": reply.status, "result": reply.body} for reply in replies]
        return Reply(body={"hasErrors": any(reply.status >= 400 for reply in replies), "results": results})


def is_heavy(url: str) -> bool:
    """Say whether a subrequest is one of the kinds of which a composite carries five: queries and collections."""
    parts = versioned(subrequest("GET", url, {}, None).path)
    segments = parts[1] if parts else []
    return segments[:1] in (["query"], ["queryAll"]) or segments[:2] == ["composite", "sobjects"]


def _checked_entries(entries: Any, *, most: int = _MAX_SUBREQUESTS, is_graph: bool = False) -> list[dict[str, Any]]:
    if not isinstance(entries, list) or any(not isinstance(one, dict) for one in entries) or not entries:
        raise Refusal("JSON_PARSER_ERROR", "compositeRequest must be a non-empty array")
    if len(entries) > most:
        raise Refusal("LIMIT_EXCEEDED", f"The number of subrequests {len(entries)} exceeds the maximum of {most}")
    for one in entries:
        missing = [name for name in ("method", "url", "referenceId") if not isinstance(one.get(name), str)]
        if missing:
            raise Refusal("MISSING_ARGUMENT", f"{missing[0]} is required in every subrequest")
    names = [one["referenceId"] for one in entries]
    if len(set(names)) != len(names):
        raise Refusal("INVALID_INPUT", "referenceId must be unique")
    if is_graph and any(is_heavy(one["url"]) for one in entries):
        raise Refusal("INVALID_INPUT", "A graph carries single records only")
    if sum(1 for one in entries if is_heavy(one["url"])) > _MAX_HEAVY:
        raise Refusal("LIMIT_EXCEEDED", f"A composite carries at most {_MAX_HEAVY} queries and sObject Collections")
    return entries


def _has_failed(reply: Reply) -> bool:
    if reply.status >= 400:
        return True
    return isinstance(reply.body, list) and any(
        isinstance(one, dict) and one.get("success") is False for one in reply.body
    )


def _listed(value: Any) -> list[str]:
    found = value.split(",") if isinstance(value, str) else value or []
    if not isinstance(found, list) or any(not isinstance(one, str) for one in found):
        raise Refusal("JSON_PARSER_ERROR", "ids and fields must be arrays of strings")
    return [one for one in found if one]


def _check_size(found: list[Any]) -> None:
    if not found:
        raise Refusal("MISSING_ARGUMENT", "no records given")
    if len(found) > _MAX_RECORDS:
        raise Refusal(
            "EXCEEDED_ID_LIMIT",
            f"record limit reached. cannot submit more than {_MAX_RECORDS} records in this operation",
        )


def _type_of(record: dict[str, Any]) -> str:
    attributes = record.get("attributes")
    kind = attributes.get("type") if isinstance(attributes, dict) else None
    if not isinstance(kind, str):
        raise Refusal("INVALID_INPUT", "attributes.type is required in every record")
    return kind


def _resolved(value: Any, done: dict[str, Reply]) -> Any:
    if isinstance(value, dict):
        return {key: _resolved(inner, done) for key, inner in value.items()}
    if isinstance(value, list):
        return [_resolved(inner, done) for inner in value]
    if not isinstance(value, str) or "@{" not in value:
        return value
    whole = _REFERENCE.fullmatch(value)
    if whole:
        return _referenced(whole[1], done)
    return _REFERENCE.sub(lambda found: str(_referenced(found[1], done)), value)


def _referenced(path: str, done: dict[str, Reply]) -> Any:
    reference, _, rest = path.partition(".")
    name = reference.partition("[")[0]
    steps = _STEP.findall(path[len(name) :])
    reply = done.get(name)
    here: Any = reply.body if reply is not None and reply.status < 400 else None
    for key, index in steps:
        if index:
            here = here[int(index)] if isinstance(here, list) and int(index) < len(here) else None
        else:
            here = here.get(key) if isinstance(here, dict) else None
    if here is None:
        raise Refusal(
            "PROCESSING_HALTED", f"Invalid reference specified. No value for {rest or reference} found in {name}"
        )
    return here
