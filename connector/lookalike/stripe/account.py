"""One Stripe account in memory: its objects, its clock, its events; and the table of endpoints that work on it.

Objects are plain dicts shaped as Stripe's answers, kept by kind ("customer", "subscription_schedule" …) and id. Times are whole
seconds since 1970. Resources register functions with `endpoint`; the server finds, checks and calls them.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Data = dict[str, Any]


class Refused(Exception):  # noqa: N818 - what the account says no to
    """A request that is refused, in Stripe's shape: HTTP *status*, error *type*, *code*, *message*, *param*."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        code: str = "",
        param: str = "",
        **more: Any,
    ) -> None:
        super().__init__(message)
        self.message, self.status, self.kind, self.code, self.param, self.more = (
            message,
            status,
            kind,
            code,
            param,
            more,
        )


def snapshot(value: Any) -> Any:
    """Return a copy of plain data that later changes do not reach."""
    if isinstance(value, dict):
        return {key: snapshot(one) for key, one in value.items()}
    return [snapshot(one) for one in value] if isinstance(value, list) else value


@dataclass(slots=True, kw_only=True)
class Account:
    """The account; *clock* returns an aware instant and only moves forwards. *dues* are functions that bring it up to now."""

    clock: Callable[[], datetime]
    id: str = "acct_demo"
    is_live: bool = False
    country: str = "US"
    currency: str = "usd"
    objects: dict[str, dict[str, Data]] = field(default_factory=dict)
    events: list[Data] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    moment: int | None = None
    listeners: list[Callable[[Data], None]] = field(default_factory=list)
    machine: Data = field(default_factory=dict)
    """What the billing machine keeps beside the objects: its queue and indexes, rebuilt by nobody, answered to nobody."""
    asking: Data = field(default_factory=lambda: {"id": None, "idempotency_key": None})
    """The request that is being answered, as events name it."""
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    def now(self) -> int:
        """Return the time in seconds; while it catches up, the moment that it has reached."""
        return self.moment if self.moment is not None else int(self.clock().timestamp())

    def new_id(self, prefix: str) -> str:
        """Return an id that nobody has yet."""
        return f"{prefix}_{next(self._numbers):014d}"

    def kind(self, name: str) -> dict[str, Data]:
        """Return the objects of a kind by id, in order of creation."""
        return self.objects.setdefault(name, {})

    def get(self, name: str, id_: str, *, param: str = "id") -> Data:
        """Return an object. Raises: Refused (404 resource_missing)."""
        found = self.kind(name).get(id_)
        if found is None:
            raise Refused(f"No such {name}: '{id_}'", status=404, code="resource_missing", param=param)
        return found

    def emit(self, type_: str, about: Data, previous: Mapping[str, Any] | None = None) -> None:
        """Note an event with the object as it stands now, and tell the listeners."""

        data: Data = {"object": snapshot(about)}
        if previous is not None:
            data["previous_attributes"] = dict(previous)
        event: Data = {
            "id": self.new_id("evt"), "object": "event", "api_version": "2026-10-28.endive", "created": self.now(), "type": type_,
            "livemode": self.is_live, "pending_webhooks": 0, "request": dict(self.asking), "data": data,
        }  # fmt: skip
        self.events.append(event)
        for listener in self.listeners:
            listener(event)


Handler = Callable[[Account, Mapping[str, str], Data], Data]
"""An endpoint: (account, ids in the path by name, checked parameters) -> the object to answer with."""

ENDPOINTS: dict[tuple[str, str], tuple[Handler, str]] = {}
"""(method, path pattern such as `/v1/invoices/{id}/pay`) -> (handler, name of the SDK's params type, "" for none)."""

DUES: list[Callable[[Account, int], int | None]] = []
"""Functions that do what falls due next up to an instant: (account, until) -> the instant they worked at, None where nothing is due."""


def endpoint(method: str, path: str, params: str = "") -> Callable[[Handler], Handler]:
    """Register an endpoint. params - class below `stripe.params` that types its parameters, e.g. `SubscriptionScheduleCreateParams`."""

    def registered(handler: Handler) -> Handler:
        ENDPOINTS[method, path] = (handler, params)
        return handler

    return registered


def catch_up(account: Account) -> None:
    """Do everything that fell due up to now, in order of time; called under the lock before each request."""
    until = int(account.clock().timestamp())
    try:
        for due in DUES:
            while due(account, until) is not None:
                pass
    finally:
        account.moment = None
