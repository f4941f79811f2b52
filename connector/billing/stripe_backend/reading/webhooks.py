"""Events that Stripe sends instead of being asked: accepted by their signature, kept once, and worked off like those of the poll.

An endpoint answers at once and does nothing else: what happened is looked at in the daemon's next round. The signature is a
HMAC-SHA256 over `{time}.{body}`; what is older than five minutes is refused, so that nobody can send it again later, and an event whose id is
known already is taken without a second effect. Source: docs.stripe.com/webhooks (verify manually, prevent replay attacks).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from connector.billing import store
from connector.ports import Unit

WINDOW_S = 300
_MOST_SIGNATURES = 10


class Unsigned(Exception):  # noqa: N818 - what is wrong with a delivery
    """A delivery that is not taken, with the reason for the log; never shown to whoever sent it."""


def accepted(raw: bytes, header: str, secret: str, now: datetime, *, is_live: bool) -> Mapping[str, Any]:
    """Return the event of a delivery. Raises: Unsigned where it is not Stripe's, too old, of the other mode, or none."""
    _check(raw, header, secret, now)
    try:
        event = json.loads(raw)
    except ValueError as error:
        raise Unsigned("it is no JSON") from error
    if not isinstance(event, dict) or event.get("object") != "event" or not str(event.get("id", "")).startswith("evt_"):
        raise Unsigned("it is no event")
    if bool(event.get("livemode")) != is_live:
        raise Unsigned("it is of the other mode (test or live) than the key")
    if not isinstance(event.get("created"), int) or not isinstance((event.get("data") or {}).get("object"), dict):
        raise Unsigned("it says nothing of an object")
    return event


def _check(raw: bytes, header: str, secret: str, now: datetime) -> None:
    pairs = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    given = [value for name, _, value in pairs if name == "v1"][:_MOST_SIGNATURES]
    if len(times) != 1 or not times[0].isascii() or not times[0].isdigit() or not given:
        raise Unsigned("it bears no signature")
    right = hmac.new(secret.encode(), f"{times[0]}.".encode() + raw, hashlib.sha256).hexdigest()
    if not any(hmac.compare_digest(right.encode(), one.encode()) for one in given):
        raise Unsigned("its signature does not fit the secret")
    if abs(int(now.timestamp()) - int(times[0][:12])) > WINDOW_S:
        raise Unsigned(f"it was signed more than {WINDOW_S} s away from now")


def kept(unit: Unit, event: Mapping[str, Any], now: datetime) -> None:
    """Keep an event to be worked off; one that is known already stays as it is."""
    unit.execute(
        "INSERT INTO stripe_event (id, type, created, object_id, data, state, seen_at) VALUES (?,?,?,?,?,'new',?) ON CONFLICT (id) DO NOTHING",
        (
            event["id"], str(event.get("type") or ""), event["created"], str(event["data"]["object"].get("id") or ""),
            json.dumps(event["data"]["object"]), store.at_text(now),
        ),
    )  # fmt: skip
