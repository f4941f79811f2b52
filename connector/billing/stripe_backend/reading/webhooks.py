"""Events that Stripe sends instead of being asked: accepted by their signature, kept once, and worked off like those of the poll.

An endpoint answers at once and does nothing else: what happened is looked at in the daemon's next round. The signature is a
HMAC-SHA256 over `{time}.{body}`; what is older than five minutes is refused, so that nobody can send it again later, and an event whose id is
known already is taken without a second effect. What is Stripe's and not of use (other accounts of a platform, kinds that nothing is read on) is
answered as taken and dropped; an endpoint that can never be of use is refused, so that Stripe's Dashboard shows it. The version that an endpoint
speaks does not matter: an event only says which object to ask for. Source: docs.stripe.com/webhooks (verify manually, prevent replay attacks).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from connector.billing.stripe_backend.reading import events
from connector.ports import Unit

WINDOW_S = 300
_MOST_SIGNATURES = 10


COMPARE = "Compare `stripe.webhook_secret` with the endpoint's in Stripe's Dashboard."
_WRONG_ENDPOINT = "Make the endpoint in Stripe's Dashboard anew, in this account and mode, with snapshot payloads; events are polled meanwhile."


class Unsigned(Exception):  # noqa: N818 - what is wrong with a delivery
    """A delivery that is not taken, with the reason for the log and what to do; never shown to whoever sent it."""

    def __init__(self, reason: str, hint: str = COMPARE) -> None:
        super().__init__(reason)
        self.hint = hint


def accepted(raw: bytes, header: str, secrets: Sequence[str], now: datetime, *, is_live: bool) -> Mapping[str, Any]:
    """Return the event of a delivery. Raises: Unsigned where it is not Stripe's, too old, of the other mode, or none.

    secrets - any of them may have signed it: while one endpoint takes another's place, both are known.
    """
    _check(raw, header, secrets, now)
    try:
        event = json.loads(raw)
    except ValueError as error:
        raise Unsigned("it is no JSON") from error
    said = event if isinstance(event, dict) else {}
    if str(said.get("object", "")).startswith("v2.") or "related_object" in said:
        raise Unsigned("it is a thin event, which says nothing of what it is about", _WRONG_ENDPOINT)
    if said.get("object") != "event" or not str(said.get("id", "")).startswith("evt_"):
        raise Unsigned("it is no event")
    if bool(said.get("livemode")) != is_live:
        raise Unsigned("it is of the other mode (test or live) than the key", _WRONG_ENDPOINT)
    if type(said.get("created")) is not int or not isinstance((said.get("data") or {}).get("object"), dict):
        raise Unsigned("it says nothing of an object")
    return said


def ignored(event: Mapping[str, Any], account: str) -> str:
    """Return why an event that is Stripe's is not of use to us, "" where it is. account - ours, "" while it is not known.

    An endpoint may send more than what is read here, and one of a platform sends what happens in the accounts connected to it.
    """
    of = str(event.get("account") or "")
    if of and of != account:
        return f"it happened in another account, {of}"
    wanted = event.get("type") in {name for names in events.TYPES for name in names}
    return "" if wanted else f"nothing is read on {event.get('type')}"


def _check(raw: bytes, header: str, secrets: Sequence[str], now: datetime) -> None:
    pairs = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    given = [value for name, _, value in pairs if name == "v1"][:_MOST_SIGNATURES]
    if len(times) != 1 or not times[0].isascii() or not times[0].isdigit() or not given:
        raise Unsigned("it bears no signature")
    signed = f"{times[0]}.".encode() + raw
    rights = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets if secret]
    if not any([hmac.compare_digest(right.encode(), one.encode()) for right in rights for one in given]):  # noqa: C419 - all, in the same time
        raise Unsigned("its signature does not fit the secret")
    if abs(int(now.timestamp()) - int(times[0][:12])) > WINDOW_S:
        raise Unsigned(f"it was signed more than {WINDOW_S} s away from now")


def kept(unit: Unit, event: Mapping[str, Any], now: datetime) -> None:
    """Keep an event to be worked off, as the poll keeps it; one that is known already stays as it is."""
    events.keep(unit, [event], now)
