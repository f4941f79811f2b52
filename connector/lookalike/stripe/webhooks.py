"""Webhook endpoints, and the delivery of events to them. Source: docs.stripe.com/webhooks, docs.stripe.com/api/webhook_endpoints.

An event goes to every enabled endpoint that asked for its type, from a thread of its own: a POST with the event as JSON and
`Stripe-Signature: t=<seconds>,v1=<hmac>`, the HMAC-SHA256 of `<seconds>.<body>` under the endpoint's secret. What is not answered with
2xx is tried again a few times, then left to who lists events. There is no thread until there is an endpoint.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import queue
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from connector.lookalike.stripe.account import Account, Data, Refused, endpoint
from connector.lookalike.stripe.controls import control
from connector.lookalike.stripe.expand import shown
from connector.lookalike.stripe.listing import page
from connector.lookalike.stripe.metadata import merged
from connector.lookalike.stripe.wire import encoded

KIND = "webhook_endpoint"
WAITS_S = (0.0, 0.5, 2.0, 5.0)
"""Before each try; Stripe goes on for three days."""
_TIMEOUT_S = 20
_MOST = 16
_LOGGED = 1000


@dataclass(slots=True)
class Deliveries:
    """What is on its way to endpoints, and what became of it; *waits_s* may be set shorter by tests."""

    account: Account
    waits_s: tuple[float, ...] = WAITS_S
    tries: list[Data] = field(default_factory=list)
    _waiting: queue.SimpleQueue[tuple[Data, Data] | None] = field(default_factory=queue.SimpleQueue)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def offer(self, event: Data) -> None:
        """Send an event to whom it concerns; called where it is emitted."""
        for one in self.account.kind(KIND).values():
            if one["status"] == "enabled" and _fits(event["type"], one["enabled_events"]):
                event["pending_webhooks"] += 1
                self._waiting.put((one, event))

    def begin(self) -> None:
        """Start the thread, once."""
        if self._thread is None:
            self.account.listeners.append(self.offer)
            self._thread = threading.Thread(target=self._work, name="demo-stripe-webhooks", daemon=True)
            self._thread.start()

    def end(self) -> None:
        """Deliver nothing more until it begins again."""
        if self._thread is not None:
            self._stopped.set()
            self._waiting.put(None)
            self._thread.join(_TIMEOUT_S + 1)
            self.account.listeners.remove(self.offer)
            self._thread = None
            self._stopped.clear()

    def _work(self) -> None:
        while not self._stopped.is_set():
            job = self._waiting.get()
            if job is not None:
                self._deliver(*job)

    def _deliver(self, to: Data, event: Data) -> None:
        for wait_s in self.waits_s:
            if self._stopped.wait(wait_s) or to["status"] != "enabled" or to["id"] not in self.account.kind(KIND):
                return
            with self.account.lock:
                body = encoded(shown(self.account, event))
                at = int(self.account.clock().timestamp())
            status = _posted(to["url"], body, signature(secrets_of(self.account)[to["id"]], body, at))
            self.tries = [
                *self.tries[-_LOGGED:],
                {"event": event["id"], "type": event["type"], "endpoint": to["id"], "status": status},
            ]
            if 200 <= status < 300:
                with self.account.lock:
                    event["pending_webhooks"] -= 1
                return


def signature(secret: str, body: bytes, at: int) -> str:
    """Return the value of `Stripe-Signature`."""
    said = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={said}"


def _posted(url: str, body: bytes, signed: str) -> int:
    """Post an event; return the status, 0 without an answer."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_TIMEOUT_S)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "Stripe-Signature": signed,
        "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
    }
    try:
        connection.request("POST", path, body, headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def _fits(type_: str, wanted: list[str]) -> bool:
    return "*" in wanted or type_ in wanted


def deliveries(account: Account) -> Deliveries:
    """Return what delivers the events of an account."""
    found: Deliveries = account.machine.setdefault("deliveries", Deliveries(account))
    return found


def secrets_of(account: Account) -> dict[str, str]:
    """Return the signing secrets by endpoint."""
    found: dict[str, str] = account.machine.setdefault("webhook_secrets", {})
    return found


@endpoint("POST", "/v1/webhook_endpoints", "WebhookEndpointCreateParams")
def create(account: Account, _ids: Mapping[str, str], params: Data) -> Data:
    """Make an endpoint; its secret is told this once."""
    if len(account.kind(KIND)) >= _MOST:
        raise Refused(f"You have reached the maximum of {_MOST} webhook endpoints.")
    _check_url(account, params["url"])
    _check_types(params["enabled_events"])
    made: Data = {
        "id": account.new_id("we"), "object": KIND, "api_version": params.get("api_version"), "application": None, "created": account.now(),
        "description": params.get("description") or None, "enabled_events": params["enabled_events"], "livemode": account.is_live,
        "metadata": merged(None, params.get("metadata")), "status": "enabled", "url": params["url"],
    }  # fmt: skip
    account.kind(KIND)[made["id"]] = made
    secret = secrets_of(account)[made["id"]] = f"whsec_{secrets.token_hex(16)}"
    deliveries(account).begin()
    return {**made, "secret": secret}


def _check_url(account: Account, url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Refused(
            "Invalid URL: An explicit scheme (such as https) must be provided.", code="url_invalid", param="url"
        )
    if account.is_live and parts.scheme != "https":
        raise Refused("Invalid URL: URL must be https in live mode.", code="url_invalid", param="url")


def _check_types(types: list[str]) -> None:
    if not types:
        raise Refused("Missing required param: enabled_events.", code="parameter_missing", param="enabled_events")


@endpoint("GET", "/v1/webhook_endpoints/{id}", "WebhookEndpointRetrieveParams")
def retrieve(account: Account, ids: Mapping[str, str], _params: Data) -> Data:
    """Return an endpoint, without its secret."""
    return account.get(KIND, ids["id"])


@endpoint("POST", "/v1/webhook_endpoints/{id}", "WebhookEndpointUpdateParams")
def update(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Change an endpoint, or switch it off."""
    made = account.get(KIND, ids["id"])
    wanted: Data = made | {name: params[name] for name in ("url", "enabled_events") if name in params}
    _check_url(account, wanted["url"])
    _check_types(wanted["enabled_events"])
    made.update(wanted)
    if "disabled" in params:
        made["status"] = "disabled" if params["disabled"] else "enabled"
    if "description" in params:
        made["description"] = params["description"] or None
    made["metadata"] = merged(made["metadata"], params.get("metadata"))
    return made


@endpoint("DELETE", "/v1/webhook_endpoints/{id}", "WebhookEndpointDeleteParams")
def delete(account: Account, ids: Mapping[str, str], _params: Data) -> Data:
    """Delete an endpoint."""
    made = account.get(KIND, ids["id"])
    del account.kind(KIND)[made["id"]]
    secrets_of(account).pop(made["id"], None)
    return {"id": made["id"], "object": KIND, "deleted": True}


@endpoint("GET", "/v1/webhook_endpoints", "WebhookEndpointListParams")
def listed(account: Account, _ids: Mapping[str, str], params: Data) -> Data:
    """List endpoints, newest first."""
    return page(list(reversed(account.kind(KIND).values())), params, "/v1/webhook_endpoints")


@control("deliveries")
def told(account: Account, _body: Data) -> Data:
    """Tell what was delivered, each try with its status (0: no answer)."""
    return {"tries": list(deliveries(account).tries)}


@control("resend")
def resend(account: Account, body: Data) -> Data:
    """Deliver an event again, as the Dashboard's button does: `{"event": "evt_..."}`."""
    event = next((one for one in account.events if one["id"] == body.get("event")), None)
    if event is None:
        raise Refused("event: the id of an event is required", param="event")
    deliveries(account).offer(event)
    return {"event": event["id"]}
