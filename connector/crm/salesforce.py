"""The CRM over simple-salesforce: queries in bulk, describes, writes in collections, one call for as much as fits.

Problem: every call counts against the org's allocation, and the library alone would make one per record, log in for ever on
a dead session, and hand out money as floats. Choice: only its login and `restful` are used, on our own session (session.py);
JSON goes through msgspec, so that money is Decimal both ways (D-18); several requests share a composite, which counts once.

Example: 1,000 opportunity updates are 5 collections of 200 in one composite: 1 call. The idle poll of 5 objects is 1 call.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import msgspec
import requests
from simple_salesforce.api import Salesforce
from simple_salesforce.exceptions import SalesforceError

from connector.crm.batches import MAX_BATCHES, Batch, Shape, batch_body, batches_of, judged
from connector.crm.bulk import refuse_html, written_by_bulk
from connector.crm.describing import object_from_describe
from connector.crm.login import Login, Token, id18, log_in
from connector.crm.session import DEFAULT_POLICY, CrmSession, RetryPolicy
from connector.crm.translate import error_from_reply, has_code, is_healing, no_answer
from connector.errors import HaltError, RejectedError, RetryableError, invariant
from connector.ports import ApiUsage, ObjectInfo, Org, Page, Upsert, Written

_MAX_QUERIES = 5  # queries and collections a composite takes
_MAX_PARTS = 25  # requests a composite takes
_MAX_URL = 2_000  # characters; a longer query travels in a body (P18)
_MAX_PAGES = 10_000
_MAX_SPLITS = 8  # refused batches that one write cuts up to find a poison record
_LOGIN_EVERY_S = 60.0
_BULK_WAIT_S = 600.0  # for one job; what is not told by then is written again
_ORG_FIELDS = "Id, Name, IsSandbox"

_decoder = msgspec.json.Decoder(float_hook=Decimal)
_encoder = msgspec.json.Encoder(decimal_format="number")


class _Client(Salesforce):
    """The library with a token of ours: fast exact JSON, lean headers, and no re-login of its own."""

    def __init__(self, token: Token, version: str, session: CrmSession) -> None:
        super().__init__(session_id=token.value, instance=token.host, version=version, session=session)
        # without X-PrettyPrint, which makes every page a third longer
        self.headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token.value}"}

    def parse_result_to_json(self, result: requests.Response) -> Any:
        """Return the decoded body, numbers as int or Decimal.

        Raises: RetryableError if it is no JSON: something between the CRM and us answered.
        """
        try:
            return _decoder.decode(result.content)
        except msgspec.DecodeError as error:
            raise RetryableError(
                f"The CRM answered HTTP {result.status_code} with something that is no JSON.",
                hint="If it lasts, a proxy stands between us and the CRM: check the network and crm.url.",
            ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """One request, alone or within a composite. *url* - from /services on. *body* - JSON."""

    url: str
    method: str = "GET"
    body: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What the CRM said to one part; status 0: nothing."""

    status: int
    body: Any


class SalesforceCrm:
    """The `Crm` of ports.py over a Salesforce-style REST API; safe to call from several threads.

    Args: write_batches - collections of 200 in one call at first: 5 on a loopback CRM, 1 on a real org, from where it grows
    (None: chosen so). bulk_above - more records than so many are written by Bulk API 2.0; 0: never. sleep, monotonic - seconds; handed in by tests.
    """

    def __init__(
        self,
        login: Login,
        *,
        policy: RetryPolicy = DEFAULT_POLICY,
        write_batches: int | None = None,
        bulk_above: int = 0,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._login = login
        self._policy = policy
        self._sleep = sleep
        self._monotonic = monotonic
        self._session = CrmSession(
            login.url, timeouts_s=(login.connect_timeout_s, login.read_timeout_s), policy=policy, sleep=sleep
        )
        self._prefix = f"/services/data/v{login.api_version}/"
        self._bulk_above = bulk_above
        self._shape = Shape(batches=write_batches or (MAX_BATCHES if login.is_loopback else 1))
        self._lock = threading.RLock()
        self._client: _Client | None = None
        self._org: Org | None = None
        self._org_id = id18(login.org_id) if login.org_id else ""
        self._refreshed_at: float | None = None
        self._refused: tuple[float, HaltError] | None = None
        self._has_shared_pages = True

    # ------------------------------------------------------------ the protocol

    def connect(self) -> Org:
        """Log in where needed and return the org; cheap when already done.

        Raises: HaltError if the login is refused, the API version is gone, or it is another org than expected.
        """
        with self._lock:
            if self._org is None:
                self._org = self._read_org()
            return self._org

    def server_now(self) -> datetime:
        """Return the CRM's clock as of its last reply, whole seconds, UTC (P7)."""
        if self._session.server_date is None:
            self.connect()
        if self._session.server_date is None:
            raise RetryableError(
                "The CRM's replies carry no Date.", hint="Check what proxy stands between us and the CRM."
            )
        return self._session.server_date

    def usage(self) -> ApiUsage:
        """Return the calls of this process and the org's allocation as last told."""
        return ApiUsage(
            calls=self._session.calls, used=self._session.used, limit=self._session.limit, is_spent=self._session.is_spent
        )

    def versions(self) -> tuple[str, ...]:
        """Return the API versions that the CRM offers, oldest first; costs no call of the allocation."""
        client = self._logged_in()
        reply = self._session.request("GET", f"https://{client.sf_instance}/services/data")
        if reply.status_code != 200:
            raise error_from_reply(reply.status_code, reply.text, api_version=self._login.api_version)
        return tuple(str(one["version"]) for one in client.parse_result_to_json(reply))

    def describe(self, objects: Sequence[str]) -> Mapping[str, ObjectInfo]:
        """Return the objects that exist and are visible to us, by the names asked for; one call for up to 25."""
        found = {}
        for at in range(0, len(objects), _MAX_PARTS):
            names = objects[at : at + _MAX_PARTS]
            answers = self._ask([_Part(url=f"{self._prefix}sobjects/{quote(name)}/describe") for name in names])
            for name, answer in zip(names, answers, strict=True):
                if not (answer.status == 404 and has_code(answer.body, "NOT_FOUND")):
                    found[name] = object_from_describe(self._body(answer, "fields"))
        return found

    def query(self, soql: Sequence[str], *, with_deleted: bool = False) -> list[list[dict[str, Any]]]:
        """Run flat queries and return all rows of each, in order; up to 5 share a call, and so do their further pages.

        Raises: RejectedError naming the field or object that is missing or hidden. RetryableError also for a query that
        takes too long (its text has QUERY_TIMEOUT): ask for a smaller window.
        """
        rows: list[list[dict[str, Any]]] = [[] for _ in soql]
        for at in range(0, len(soql), _MAX_QUERIES):
            self._read(soql[at : at + _MAX_QUERIES], rows[at : at + _MAX_QUERIES], with_deleted=with_deleted)
        return rows

    def pages(self, soql: Sequence[str], *, with_deleted: bool = False) -> list[Page]:
        """Return the first page of each query, up to 5 a call; no address of a further page is used, so that none can expire (P17).

        A query that names a missing or hidden field or object is refused alone; its page says why (P21).
        """
        resource = "queryAll" if with_deleted else "query"
        parts = [_Part(url=f"{self._prefix}{resource}?q={quote(text, safe='')}") for text in soql]
        groups = [parts[at : at + _MAX_QUERIES] for at in range(0, len(parts), _MAX_QUERIES)]
        return [self._page(answer) for group in groups for answer in self._ask(group)]

    def _page(self, answer: _Answer) -> Page:
        if answer.status == 400 and has_code(answer.body, "QUERY_TIMEOUT"):
            return Page(rows=[], is_whole=False, is_timed_out=True)
        try:
            body = self._body(answer, "done")
        except RejectedError as error:
            return Page(rows=[], is_whole=False, refused=error.problem)
        rows = body.get("records") or []
        _strip(rows)
        if not rows and not body["done"]:
            raise RetryableError("The CRM announced more rows of a query, but sent none.")
        return Page(rows=rows, is_whole=bool(body["done"]))

    def write(self, upserts: Sequence[Upsert]) -> list[Written]:
        """Write the records, each judged alone; the results stand in the order asked.

        A locked record is tried again, at most twice. If the CRM fails after some records are written, the rest come back
        as transient problems; if it fails before, the error is raised.
        """
        if 0 < self._bulk_above < len(upserts):
            return written_by_bulk(upserts, self._call_plain, decode=_decoder.decode, sleep=self._sleep, wait_s=_BULK_WAIT_S)
        results: dict[int, Written] = {}
        due: Sequence[int] = range(len(upserts))
        for repeat in range(self._policy.record_repeats + 1):
            if repeat:
                self._sleep(self._policy.wait_s(repeat))
            if not self._write_round(upserts, due, results):
                break
            due = [index for index, written in results.items() if written.is_transient]
            if not due:
                break
        invariant(len(results) == len(upserts), "every record of a write has a result")
        return [results[index] for index in range(len(upserts))]

    # ------------------------------------------------------------ queries

    def _read(self, soql: Sequence[str], rows: Sequence[list[dict[str, Any]]], *, with_deleted: bool) -> None:
        """Append all rows of up to 5 queries to their lists, page by page."""
        resource = "queryAll" if with_deleted else "query"
        firsts = [_Part(url=f"{self._prefix}{resource}?q={quote(text, safe='')}") for text in soql]
        due = dict(enumerate(firsts))
        restarted: set[int] = set()
        for _ in range(_MAX_PAGES):
            asked, due = due, {}
            for (index, part), answer in zip(asked.items(), self._pages(asked.values()), strict=True):
                if part is not firsts[index] and _is_expired(answer) and index not in restarted:
                    restarted.add(index)  # P17: the address of a page expires; the query starts anew, once
                    rows[index].clear()
                    due[index] = firsts[index]
                    continue
                page = self._body(answer, "done")
                records = page.get("records") or []
                _strip(records)
                rows[index].extend(records)
                if not page["done"]:
                    due[index] = self._next_page(page, part)
            if not due:
                return
        raise RetryableError(f"A query has more than {_MAX_PAGES} pages.", hint="Give the source a narrower condition.")

    def _next_page(self, page: Mapping[str, Any], part: _Part) -> _Part:
        url = page.get("nextRecordsUrl")
        if not url or url == part.url:
            raise RetryableError("The CRM announced another page of a query, but not its address.")
        return _Part(url=url)

    def _pages(self, parts: Any) -> list[_Answer]:
        """Ask for pages together; singly where the CRM does not take further pages in a composite [unverified there]."""
        parts = list(parts)
        is_first = "?q=" in parts[0].url
        if len(parts) == 1 or (is_first or self._has_shared_pages):
            answers = self._ask(parts)
            is_odd = len(parts) > 1 and any(
                "?q=" not in part.url and answer.status >= 400 and not _is_expired(answer)
                for part, answer in zip(parts, answers, strict=True)
            )
            if not is_odd:
                return answers
            self._has_shared_pages = False
        return [self._ask([part])[0] for part in parts]

    # ------------------------------------------------------------ writes

    def _write_round(self, upserts: Sequence[Upsert], due: Sequence[int], results: dict[int, Written]) -> bool:
        """Send the records at *due* once and enter their results; False if the CRM failed on the way."""
        queue = deque(batches_of(upserts, due, self._shape.rows))
        splits_left = _MAX_SPLITS
        while queue:
            together = [queue.popleft() for _ in range(min(self._shape.batches, len(queue)))]
            try:
                answers = self._ask([self._batch_part(batch, upserts) for batch in together])
            except (RetryableError, HaltError) as error:
                self._shape = self._shape.after(is_calm=False)
                if not results:
                    raise
                for index in (index for batch in (*together, *queue) for index in batch.indices):
                    results[index] = Written(problem=no_answer(upserts[index], str(error)), is_transient=True)
                return False
            is_calm = True
            for batch, answer in zip(together, answers, strict=True):
                said = judged(batch, upserts, answer.status, answer.body, may_split=splits_left > 0)
                splits_left -= len(said.again) > 1
                results.update(said.results)
                queue.extendleft(reversed(said.again))
                is_calm = is_calm and said.is_calm
            self._shape = self._shape.after(is_calm=is_calm)
        return True

    def _batch_part(self, batch: Batch, upserts: Sequence[Upsert]) -> _Part:
        by = f"/{batch.object}/{batch.key_field}" if batch.key_field else ""
        return _Part(
            method="PATCH",
            url=f"{self._prefix}composite/sobjects{by}",
            body=_encoder.encode(batch_body(batch, upserts)),
        )

    # ------------------------------------------------------------ calls

    def _ask(self, parts: Sequence[_Part]) -> list[_Answer]:
        """Send the parts in one call and return their answers in order. All of ours may safely be sent twice."""
        if len(parts) == 1 and len(parts[0].url) <= _MAX_URL:
            return [self._ask_alone(parts[0])]
        if any(b"@{" in (part.body or b"") for part in parts):
            # a composite takes @{...} inside a value for a reference to another part, and has no way to escape it
            return [self._ask_alone(part) for part in parts]
        requested = [
            {"method": part.method, "url": part.url, "referenceId": f"r{at}"}
            | ({} if part.body is None else {"body": msgspec.Raw(part.body)})
            for at, part in enumerate(parts)
        ]
        body = _encoder.encode({"allOrNone": False, "compositeRequest": requested})
        whole = self._body(
            self._ask_alone(_Part(method="POST", url=f"{self._prefix}composite", body=body)), "compositeResponse"
        )
        said = {one["referenceId"]: one for one in whole["compositeResponse"]}
        return [
            _Answer(status=one["httpStatusCode"], body=one.get("body")) if one else _Answer(status=0, body=None)
            for one in (said.get(f"r{at}") for at in range(len(parts)))
        ]

    def _ask_alone(self, part: _Part) -> _Answer:
        """Send one request, with one new login at most if the session has expired (P29)."""
        client = self._logged_in()
        answer = self._sent(client, part)
        if answer.status == 401 and is_healing(answer.body):
            answer = self._sent(self._renewed(client), part)
        if answer.status in (401, 403, 410) or 300 < answer.status < 400:
            raise error_from_reply(answer.status, answer.body, api_version=self._login.api_version)
        return answer

    def _sent(self, client: _Client, part: _Part) -> _Answer:
        path = part.url.removeprefix(self._prefix)
        invariant(not path.startswith("/"), "every address lies below our API version")
        try:
            return _Answer(status=200, body=client.restful(path, method=part.method, data=part.body, repeatable=True))
        except SalesforceError as error:
            return _Answer(status=error.status, body=error.content)

    def _call_plain(self, method: str, path: str, *, body: bytes | None = None, media_type: str = "application/json") -> bytes:
        """Send one request of a bulk job and return the bytes of its reply, with one new login at most."""

        def sent(client: _Client) -> requests.Response:
            headers = {**client.headers, "Content-Type": media_type}
            return self._session.request(method, f"{client.base_url}{path}", data=body, headers=headers, repeatable=method == "GET")

        client = self._logged_in()
        reply = sent(client)
        if reply.status_code == 401 and is_healing(reply.text):
            reply = sent(self._renewed(client))
        if reply.status_code >= 300:
            raise error_from_reply(reply.status_code, reply.text if reply.text[:1] != "[" else reply.json(), api_version=self._login.api_version)
        return refuse_html(reply.content)

    def _body(self, answer: _Answer, key: str) -> Mapping[str, Any]:
        """Return the body, which has *key*, or raise what the refusal means."""
        if 200 <= answer.status < 300 and isinstance(answer.body, Mapping) and key in answer.body:
            return answer.body
        raise error_from_reply(answer.status, answer.body, api_version=self._login.api_version)

    # ------------------------------------------------------------ login and org

    def _logged_in(self) -> _Client:
        with self._lock:
            if self._client is None:
                self._client = self._new_client()
            return self._client

    def _renewed(self, expired: _Client) -> _Client:
        """Return a client with a new token; threads that meet the same expired one share the login."""
        with self._lock:
            if self._client is not expired and self._client is not None:
                return self._client
            now = self._monotonic()
            if self._refreshed_at is not None and (wait_s := self._refreshed_at + _LOGIN_EVERY_S - now) > 0:
                raise RetryableError(
                    "The CRM's session expired again within a minute.",
                    hint="Check the session policy of the connected app; we log in again at most once a minute.",
                    retry_after_s=int(wait_s) + 1,
                )
            self._refreshed_at = now
            self._client = None
            self._client = self._new_client()
            return self._client

    def _new_client(self) -> _Client:
        """Log in; the host may be another than before (P30), the org may not (P33)."""
        if self._refused and self._monotonic() - self._refused[0] < _LOGIN_EVERY_S:
            raise self._refused[1]
        try:
            token = log_in(self._login, self._session)
        except HaltError as error:
            self._refused = (self._monotonic(), error)
            raise
        if token.org_id:
            self._check_org(token.org_id)
        if self._org is not None:
            self._org = replace(self._org, instance_url=self._instance_url(token.host))
        return _Client(token, self._login.api_version, self._session)

    def _instance_url(self, host: str) -> str:
        return self._login.url.rstrip("/") if self._login.is_loopback else f"https://{host}"

    def _check_org(self, org_id: str) -> None:
        if self._org_id and org_id != self._org_id:
            raise HaltError(
                f"This is org {org_id}, but {self._org_id} was expected.",
                hint="A refreshed sandbox is another org, and may hold copies of deals that are billed elsewhere. "
                "If the change is meant, confirm it with `connector crm rebind`; else correct crm.url.",
                code="other-org",
            )
        self._org_id = org_id

    def _read_org(self) -> Org:
        client = self._logged_in()
        query = f"{self._prefix}query?q="
        full, plain, everything = self._ask(
            [
                _Part(
                    url=query
                    + quote(f"SELECT {_ORG_FIELDS}, DefaultCurrencyIsoCode FROM Organization LIMIT 1", safe="")
                ),
                _Part(url=query + quote(f"SELECT {_ORG_FIELDS} FROM Organization LIMIT 1", safe="")),
                _Part(url=f"{self._prefix}sobjects"),
            ]
        )
        page = self._body(full if full.status == 200 else plain, "records")
        if not page["records"]:
            raise HaltError(
                "The integration user cannot read the object Organization.",
                hint="Give the integration user the permission View Setup and Configuration.",
                code="crm-no-access",
            )
        row = page["records"][0]
        self._check_org(id18(row["Id"]))
        return Org(
            id=id18(row["Id"]),
            name=row.get("Name") or "",
            currency=row.get("DefaultCurrencyIsoCode") or "",
            is_multi_currency=any(
                one["name"] == "CurrencyType" for one in self._body(everything, "sobjects")["sobjects"]
            ),
            is_sandbox=bool(row.get("IsSandbox")),
            instance_url=self._instance_url(client.sf_instance),
        )


def _is_expired(answer: _Answer) -> bool:
    return answer.status == 400 and has_code(answer.body, "INVALID_QUERY_LOCATOR")


def _strip(rows: Sequence[dict[str, Any]]) -> None:
    """Remove `attributes` from rows and their parents, column by column: all rows of a query have the same keys."""
    if not rows:
        return
    nestable = [
        name
        for name, value in rows[0].items()
        if type(value) is dict
        or (value is None and not name.endswith("__c"))  # a parent's name ends in __r, or in neither
    ]
    for row in rows:
        row.pop("attributes", None)
    for name in nestable:
        parents = [value for row in rows if type(value := row.get(name)) is dict]
        if parents:
            # finding 3: the further pages of a subquery would be lost in silence
            invariant("records" not in parents[0], f"queries are flat, but {name} is a subquery")
            _strip(parents)
