"""The whole API as one function: key, idempotency, parameters, faults, what is due, the endpoint, what the answer shows.

In that order, as at Stripe: a request without a right key is never stored under its idempotency key, one whose parameters are wrong
neither; what an endpoint answers is, be it an error.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from connector.lookalike.stripe import resources
from connector.lookalike.stripe.account import ENDPOINTS, Account, Data, Handler, Refused, catch_up
from connector.lookalike.stripe.expand import shown
from connector.lookalike.stripe.faults import Entry, Fault, Faults
from connector.lookalike.stripe.keys import Keys
from connector.lookalike.stripe.params import typed
from connector.lookalike.stripe.replay import Replays, Stored
from connector.lookalike.stripe.wire import Reply, Request, encoded, nested

_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(?:\.[a-z]+)?")
_DOCS = "https://docs.stripe.com/error-codes/"


@dataclass(frozen=True, slots=True)
class Route:
    """An endpoint found for a path, with the ids in it."""

    handler: Handler
    params: str
    ids: Mapping[str, str]


class Front:
    """Answers every request below /v1; *faults* holds what goes wrong and the log, *keys* who may ask."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.faults = Faults()
        self.keys = Keys(account)
        self._replays = Replays()
        self._requests = itertools.count(1)
        self._routes = _sorted_routes()

    def answer(self, request: Request) -> Reply:
        """Answer one request; what is refused becomes Stripe's error body. Safe to call from several threads."""
        entry = Entry(at=self._now(), method=request.method, path=request.path, params={})
        entry.version = request.headers.get("stripe-version", "")
        entry.key = request.headers.get("idempotency-key", "") if request.method == "POST" else ""
        entry.request_id = f"req_{next(self._requests):014d}"
        self.faults.log.append(entry)
        try:
            reply = self._admitted(request, entry)
        except Refused as refused:
            reply = _refusal(refused, entry)
        entry.status = 0 if reply.is_cut else reply.status
        reply.headers["Request-Id"] = entry.request_id
        reply.headers["Stripe-Version"] = entry.version or "2026-10-28.endive"
        if entry.key:
            reply.headers["Idempotency-Key"] = entry.key
        return reply

    def _now(self) -> int:
        return int(self.account.clock().timestamp())

    def _admitted(self, request: Request, entry: Entry) -> Reply:
        self.keys.check(request.headers.get("authorization", ""), request.method, request.path)
        if entry.version and not _VERSION.fullmatch(entry.version):
            raise Refused(f"Invalid Stripe API version: {entry.version}")
        other = request.headers.get("stripe-account", self.account.id)
        if other != self.account.id:
            raise Refused(
                f"The provided key does not have access to account '{other}' (or that account does not exist). Application access may have been revoked.",
                status=403, code="account_invalid",
            )  # fmt: skip
        entry.params = nested(request.pairs)
        fault = self.faults.striking(request.method, request.path)
        entry.fault = fault.kind if fault else ""
        if fault and fault.kind in ("rate_limit", "lock_timeout"):
            raise fault.refusal()
        if fault and fault.kind == "cut_before":
            return Reply(status=500, is_cut=True)
        if not entry.key:
            return self._carried_out(request, entry, fault)
        return self._once(request, entry, fault)

    def _once(self, request: Request, entry: Entry, fault: Fault | None) -> Reply:
        """Carry out a request under its idempotency key, or replay what was answered."""
        asked = Stored(at=self._now(), method=request.method, path=request.path, pairs=request.pairs)
        found = self._replays.begin(entry.key, asked)
        if found is not None:
            entry.is_replayed = True
            headers = {"Idempotent-Replayed": "true", "Original-Request": found.request_id}
            return Reply(status=found.status, body=found.body, headers=headers)
        is_stored = False
        try:
            reply = self._carried_out(request, entry, fault)
            is_stored = reply.headers.pop("Not-Stored", "") == ""
        finally:
            if not is_stored:
                self._replays.give_back(entry.key)
        reply.body = reply.body if isinstance(reply.body, bytes) else encoded(reply.body)
        stored = Stored(
            at=asked.at, method=asked.method, path=asked.path, pairs=asked.pairs, status=reply.status, body=reply.body,
            request_id=entry.request_id,
        )  # fmt: skip
        if is_stored:
            self._replays.finish(entry.key, stored)
        return reply

    def _carried_out(self, request: Request, entry: Entry, fault: Fault | None) -> Reply:
        """Check the parameters, do the work under the account's lock, let a fault strike before or after it."""
        route = self._route(request.method, request.path)
        params = typed(route.params, entry.params) if route.params else _none(entry.params)
        asked = params.pop("expand", [])
        kind = fault.kind if fault else ""
        if fault and kind == "delay":
            time.sleep(fault.delay_s)
        if fault and kind in ("error_before", "refuse"):
            return _refusal(fault.refusal(), entry)
        try:
            reply = Reply(body=self._work(route, params, asked, entry))
        except Refused as refused:
            reply = _refusal(refused, entry)
            if refused.status in (409, 429):
                reply.headers["Not-Stored"] = "true"
        if fault and kind == "error_after":
            return _refusal(fault.refusal(), entry)
        if fault and kind == "late":
            time.sleep(fault.delay_s)
        reply.is_cut = kind == "cut_after"
        return reply

    def _work(self, route: Route, params: Data, asked: list[str], entry: Entry) -> bytes:
        account = self.account
        with account.lock:
            account.asking = {"id": None, "idempotency_key": None}
            catch_up(account)
            account.asking = {"id": entry.request_id, "idempotency_key": entry.key or None}
            try:
                return encoded(shown(account, route.handler(account, route.ids, params), asked))
            finally:
                account.asking = {"id": None, "idempotency_key": None}

    def _route(self, method: str, path: str) -> Route:
        parts = tuple(unquote(part) for part in path.strip("/").split("/"))
        for pattern, handler, params in self._routes.get((method, len(parts)), ()):
            ids = {}
            for said, part in zip(pattern, parts, strict=True):
                if said.startswith("{"):
                    ids[said[1:-1]] = part
                elif said != part:
                    break
            else:
                return Route(handler, params, ids)
        raise Refused(
            f"Unrecognized request URL ({method}: {path}). If you are trying to list objects, remove the trailing slash. If you are "
            "trying to retrieve an object, make sure you passed a valid (non-empty) identifier in your code.", status=404,
        )  # fmt: skip


assert resources.ROOMS, "endpoints are registered when their rooms are imported"


def _sorted_routes() -> dict[tuple[str, int], list[tuple[tuple[str, ...], Handler, str]]]:
    """Return the endpoints by method and length of path; words come before ids."""
    found: dict[tuple[str, int], list[tuple[tuple[str, ...], Handler, str]]] = {}
    for (method, path), (handler, params) in ENDPOINTS.items():
        parts = tuple(path.strip("/").split("/"))
        found.setdefault((method, len(parts)), []).append((parts, handler, params))
    for routes in found.values():
        routes.sort(key=lambda route: [part.startswith("{") for part in route[0]])
    return found


def _none(sent: Data) -> Data:
    """Return the parameters of an endpoint that the SDK calls without any."""
    strange = [name for name in sent if name != "expand"]
    if strange:
        raise Refused(f"Received unknown parameter: {strange[0]}", code="parameter_unknown", param=strange[0])
    expand = sent.get("expand")
    return {"expand": list(expand.values()) if isinstance(expand, dict) else []}


def _refusal(refused: Refused, entry: Entry) -> Reply:
    """Return Stripe's error body. Source: docs.stripe.com/api/errors."""
    error: dict[str, Any] = {}
    if refused.code:
        error["code"] = refused.code
        error["doc_url"] = _DOCS + refused.code.replace("_", "-")
    error["message"] = refused.message
    if refused.param:
        error["param"] = refused.param
    error["type"] = refused.kind
    error.update(refused.more)
    error["request_log_url"] = f"https://dashboard.stripe.com/logs/{entry.request_id}"
    entry.code, entry.message = refused.code or refused.kind, refused.message
    headers = {"Stripe-Should-Retry": "true"} if refused.status in (409, 429) else {}
    return Reply(status=refused.status, body={"error": error}, headers=headers)
