"""The data API: queries, records, describe, limits. `Rest.answer` takes a request behind the gate; composite.py adds the rest.

Every path works with and without a trailing slash. The locator in a path wins over a `q` sent along.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

from connector.lookalike.crm.ids import minted
from connector.lookalike.crm.org import Org
from connector.lookalike.crm.refusal import AmbiguousError, Refusal, not_found
from connector.lookalike.crm.schema import ObjectType
from connector.lookalike.crm.soql_run import Result, Session, run
from connector.lookalike.crm.soql_scope import Scope
from connector.lookalike.crm.soql_tree import Path
from connector.lookalike.crm.table import Row
from connector.lookalike.crm.wire import NEWEST, OLDEST, RETIRED_BELOW, Reply, Request, release_name, versioned

_MAX_LOCATORS = 300
_ASKED_KEPT = 2000
_MIN_BATCH, _MAX_BATCH = 200, 2000
_UPSERT_SAYS_CREATED_FROM = 46
_BATCH = re.compile(r"batchSize\s*=\s*(\d+)", re.IGNORECASE)
Handler = Callable[..., Reply]
Route = tuple[tuple[str, ...], dict[str, Handler]]


@dataclass(slots=True, kw_only=True)
class Held:
    """A long answer under its locator. read - pages taken so far."""

    result: Result
    since: datetime
    read: int = 0


class Cursors:
    """The rest of long answers, under locators; the oldest are forgotten first, and all of them in the end."""

    def __init__(self, org: Org) -> None:
        self._org = org
        self._held: OrderedDict[str, Held] = OrderedDict()
        self._next = 1

    def hold(self, result: Result) -> str:
        """Keep a result; return its locator."""
        locator = minted("0r8", self._next)
        self._next += 1
        self._held[locator] = Held(result=result, since=self._org.now())
        if len(self._held) > _MAX_LOCATORS:
            self._held.popitem(last=False)
        return locator

    def find(self, text: str) -> tuple[str, Result, int]:
        """Return (locator, result, offset) of the text in a path. Raises: Refusal INVALID_QUERY_LOCATOR."""
        locator, _, offset = text.partition("-")
        held = self._held.get(locator)
        if held is None or not offset.isdigit() or int(offset) >= held.result.total or self._is_over(held):
            raise Refusal("INVALID_QUERY_LOCATOR", "invalid query locator")
        held.read += 1
        return locator, held.result, int(offset)

    def _is_over(self, held: Held) -> bool:
        faults = self._org.faults
        age_s = (self._org.now() - held.since).total_seconds()
        return age_s > faults.locator_life_s or 0 < faults.locator_life_pages <= held.read

    def forget(self) -> None:
        """Let all locators expire."""
        self._held.clear()


class Rest:
    """Answers requests of the data API; paths are matched in the order of `routes`."""

    def __init__(self, org: Org) -> None:
        self.org = org
        self.cursors = Cursors(org)
        self.written = 0
        self.asked: deque[str] = deque(maxlen=_ASKED_KEPT)
        self._told = ((org.faults.generation, id(org.schema)), org.now().replace(microsecond=0))
        self.routes: list[Route] = [
            ((), {"GET": self._resources}),
            (("limits",), {"GET": self._limits}),
            (("query",), {"GET": self._query}),
            (("queryAll",), {"GET": self._query}),
            (("query", "*"), {"GET": self._more}),
            (("queryAll", "*"), {"GET": self._more}),
            (("sobjects",), {"GET": self._describe_global}),
            (("sobjects", "*"), {"GET": self._object, "POST": self._create}),
            (("sobjects", "*", "describe"), {"GET": self._describe}),
            (("sobjects", "*", "*"), {"GET": self._read, "PATCH": self._update, "DELETE": self._delete}),
            (("sobjects", "*", "*", "*"), {"GET": self._read_by, "PATCH": self._upsert, "DELETE": self._delete_by}),
        ]
        self.allowance: Callable[[], tuple[int, int]] = lambda: (org.daily_limit, org.daily_limit)

    def answer(self, request: Request) -> Reply:
        """Answer a request to /services/data/vNN.0/... Raises: Refusal."""
        parts = versioned(request.path)
        if parts is None:
            raise not_found()
        version, segments = parts
        oldest = max(RETIRED_BELOW, self.org.faults.retired_below)
        if OLDEST <= version < oldest:
            raise Refusal(
                "UNSUPPORTED_API_VERSION", f"API version {version}.0 is retired. Use a supported version.", status=410
            )
        if not oldest <= version <= NEWEST:
            raise not_found()
        for pattern, methods in self.routes:
            wild = _matched(pattern, segments)
            if wild is not None:
                method = "GET" if request.method == "HEAD" else request.method
                if method not in methods:
                    allowed = ", ".join(methods)
                    raise Refusal(
                        "METHOD_NOT_ALLOWED",
                        f"HTTP Method '{request.method}' not allowed. Allowed are {allowed}",
                        status=405,
                    )
                return methods[method](request, *wild)
        raise not_found()

    # -- queries ----------------------------------------------------------------------------------------------------------

    def _query(self, request: Request) -> Reply:
        soql = request.query.get("q", "")
        if not soql.strip():
            raise Refusal("MALFORMED_QUERY", "SOQL statements cannot be empty or null")
        self.asked.append(soql)
        version = version_of(request)

        def park(result: Result) -> str:
            return f"/services/data/v{version}/query/{self.cursors.hold(result)}-{self.org.faults.child_page_size}"

        has_deleted = request.path.rstrip("/").lower().endswith("queryall")
        result = run(Session(org=self.org, version=version, has_deleted=has_deleted, park=park), soql)
        return Reply(body=self._page(request, result, 0, None))

    def _more(self, request: Request, text: str) -> Reply:
        locator, result, offset = self.cursors.find(text)
        return Reply(body=self._page(request, result, offset, locator))

    def _page(self, request: Request, result: Result, offset: int, locator: str | None) -> dict[str, Any]:
        asked = _BATCH.search(request.headers.get("sforce-query-options", ""))
        size = min(max(int(asked[1]), _MIN_BATCH), _MAX_BATCH) if asked else _MAX_BATCH
        size = min(size, self.org.faults.next_page_size())
        end = offset + size
        is_done = end >= len(result.items)
        page: dict[str, Any] = {"totalSize": result.total, "done": is_done}
        if not is_done:
            locator = locator or self.cursors.hold(result)
            page["nextRecordsUrl"] = f"/services/data/v{version_of(request)}/query/{locator}-{end}"
        page["records"] = result.answers(offset, size)
        return page

    # -- facts about the org ----------------------------------------------------------------------------------------------

    def _resources(self, request: Request) -> Reply:
        base = f"/services/data/v{version_of(request)}"
        return Reply(body={name: f"{base}/{name}" for name in ("composite", "jobs", "limits", "query", "queryAll", "sobjects")})

    def _limits(self, request: Request) -> Reply:
        most_of = {"DailyBulkApiBatches": 15_000, "DailyBulkV2QueryJobs": 10_000, "DataStorageMB": 1024, "FileStorageMB": 1024}
        most, left = self.allowance()
        body: dict[str, Any] = {"DailyApiRequests": {"Max": most, "Remaining": left}}
        body.update({name: {"Max": count, "Remaining": count} for name, count in most_of.items()})
        return Reply(body=body)

    def _describe_global(self, request: Request) -> Reply:
        base = f"/services/data/v{version_of(request)}/sobjects"
        headers: dict[str, str] = {}
        if self._unchanged(request, headers):
            return Reply(status=304, headers=headers)
        entries = [{**kind.entry(), "urls": _urls(base, kind)} for kind in self.org.schema.types]
        return Reply(body={"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": entries}, headers=headers)

    def _object(self, request: Request, name: str) -> Reply:
        kind = self.org.type(name)
        base = f"/services/data/v{version_of(request)}/sobjects"
        return Reply(body={"objectDescribe": {**kind.entry(), "urls": _urls(base, kind)}, "recentItems": []})

    def _described_at(self) -> datetime:
        """Return when what describe tells last changed: when a knob was turned or fields were added, else when this server began."""
        state = (self.org.faults.generation, id(self.org.schema))
        if state != self._told[0]:
            at = self.org.now().replace(microsecond=0)
            self._told = (state, max(at, self._told[1] + timedelta(seconds=1)))
        return self._told[1]

    def _unchanged(self, request: Request, headers: dict[str, str]) -> bool:
        """Say whether the client's copy of a describe still holds; puts Last-Modified into *headers*."""
        changed = self._described_at()
        headers["Last-Modified"] = format_datetime(changed, usegmt=True)
        since = request.headers.get("if-modified-since")
        try:
            return since is not None and parsedate_to_datetime(since) >= changed
        except ValueError:
            return False

    def _describe(self, request: Request, name: str) -> Reply:
        kind = self.org.type(name)
        headers: dict[str, str] = {}
        if self._unchanged(request, headers):
            return Reply(status=304, headers=headers)
        base = f"/services/data/v{version_of(request)}/sobjects"
        faults = self.org.faults
        fields = [
            field.described(
                is_updateable=(kind.name, field.name) not in faults.read_only,
                is_calculated=(kind.name, field.name) in faults.calculated,
            )
            for field in kind.fields
            if self.org.field(kind, field.name) is not None
        ]
        children = [
            {"childSObject": child.name, "field": field.name, "relationshipName": field.children, "cascadeDelete": field.cascades,
             "deprecatedAndHidden": False, "restrictedDelete": False, "junctionIdListNames": [], "junctionReferenceTo": []}
            for child, field in self.org.schema.children[kind.name].values()
        ]  # fmt: skip
        return Reply(
            body={
                **kind.entry(),
                "fields": fields,
                "childRelationships": children,
                "recordTypeInfos": [],
                "urls": _urls(base, kind),
            },
            headers=headers,
        )

    # -- records ----------------------------------------------------------------------------------------------------------

    def _create(self, request: Request, name: str) -> Reply:
        record = self.org.create(name, body_of(request))
        self.written += 1
        location = f"{request.path.rstrip('/')}/{record}"
        return Reply(status=201, body={"id": record, "success": True, "errors": []}, headers={"Location": location})

    def _read(self, request: Request, name: str, record: str) -> Reply:
        kind = self.org.type(name)
        return Reply(body=self._answer(request, kind, self.org.get(kind.name, record)))

    def _update(self, request: Request, name: str, record: str) -> Reply:
        fields = body_of(request)
        if any(key.lower() == "id" for key in fields):
            raise Refusal("INVALID_FIELD", "The Id field should not be specified in the sobject data.")
        self.org.update(name, record, fields)
        self.written += 1
        return Reply(status=204)

    def _delete(self, _request: Request, name: str, record: str) -> Reply:
        self.org.delete(name, record)
        self.written += 1
        return Reply(status=204)

    def _found_by(self, name: str, field: str, value: str) -> tuple[ObjectType, Row]:
        kind = self.org.type(name)
        key = self.org.field(kind, field)
        if key is None or not (key.external_id or key.type == "id"):
            raise not_found(f"Provided external ID field does not exist or is not accessible: {field}")
        found = self.org.get(kind.name, value) if key.type == "id" else self.org.by_external(kind.name, key.name, value)
        if found is None:
            raise not_found()
        return kind, found

    def _read_by(self, request: Request, name: str, field: str, value: str) -> Reply:
        return Reply(body=self._answer(request, *self._found_by(name, field, value)))

    def _delete_by(self, _request: Request, name: str, field: str, value: str) -> Reply:
        kind, found = self._found_by(name, field, value)
        self.org.delete(kind.name, found["Id"])
        self.written += 1
        return Reply(status=204)

    def _upsert(self, request: Request, name: str, field: str, value: str) -> Reply:
        try:
            record, is_created = self.org.upsert(name, field, value, body_of(request))
        except AmbiguousError as several:
            base = f"/services/data/v{version_of(request)}/sobjects/{several.kind}"
            return Reply(status=300, body=[f"{base}/{one}" for one in several.ids])
        self.written += 1
        body = {"id": record, "success": True, "errors": [], "created": is_created}
        if is_created:
            return Reply(status=201, body=body)
        return Reply(body=body) if float(version_of(request)) >= _UPSERT_SAYS_CREATED_FROM else Reply(status=204)

    def _answer(self, request: Request, kind: ObjectType, row: Row) -> dict[str, Any]:
        wanted = request.query.get("fields")
        names = wanted.split(",") if wanted else [field.name for field in kind.fields]
        return record_answer(self.org, kind, row, names, version=version_of(request), is_strict=bool(wanted))


def record_answer(
    org: Org, kind: ObjectType, row: Row, names: list[str], *, version: str, is_strict: bool
) -> dict[str, Any]:
    """Return a record as a single read answers it. Raises: Refusal INVALID_FIELD for unknown names if *is_strict*."""
    scope = Scope(org=org, kind=kind, soql=", ".join(names))
    out: dict[str, Any] = {
        "attributes": {"type": kind.name, "url": f"/services/data/v{version}/sobjects/{kind.name}/{row['Id']}"}
    }
    for name in names:
        if is_strict or org.field(kind, name) is not None:
            column = scope.column(Path(names=(name.strip(),), at=0))
            out[column.name] = column.get(row)
    return out


def version_of(request: Request) -> str:
    """Return the API version in a request's path, `62.0`."""
    parts = versioned(request.path)
    return f"{parts[0] if parts else NEWEST}.0"


def body_of(request: Request) -> dict[str, Any]:
    """Return the JSON object in a request's body. Raises: Refusal JSON_PARSER_ERROR."""
    if not isinstance(request.body, dict):
        raise Refusal("JSON_PARSER_ERROR", "The HTTP entity body is required, and must be a JSON object")
    return request.body


def versions(retired_below: int = RETIRED_BELOW) -> list[dict[str, str]]:
    """Return what GET /services/data lists."""
    return [
        {"label": release_name(one), "url": f"/services/data/v{one}.0", "version": f"{one}.0"}
        for one in range(max(RETIRED_BELOW, retired_below), NEWEST + 1)
    ]


def _matched(pattern: tuple[str, ...], segments: list[str]) -> list[str] | None:
    if len(pattern) != len(segments):
        return None
    pairs = list(zip(pattern, segments, strict=True))
    if any(want not in ("*", have) for want, have in pairs):
        return None
    return [have for want, have in pairs if want == "*"]


def _urls(base: str, kind: ObjectType) -> dict[str, str]:
    return {
        "sobject": f"{base}/{kind.name}",
        "describe": f"{base}/{kind.name}/describe",
        "rowTemplate": f"{base}/{kind.name}/{{ID}}",
    }
