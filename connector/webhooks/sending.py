"""One webhook request: its body, its signature, and what the answer means.

The signature is HMAC-SHA256 with the endpoint's secret over `TIMESTAMP.BODY`, so that nobody can send an old body again later or
make one up: `Connector-Signature: t=1774000000,v1=5257a8...`. An answer of 2xx means taken; anything else, a redirect too, is tried again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from collections.abc import Callable
from datetime import datetime

import requests

from connector import __version__
from connector.billing.events import EventRecord
from connector.webhooks.endpoint import Endpoint

CONNECT_S, READ_S = 5, 10
logging.getLogger("urllib3").setLevel(logging.INFO)  # at debug it writes whole addresses, and a path may be a secret
SIGNATURE = "Connector-Signature"
EVENT_ID = "Connector-Event-Id"


Send = Callable[[Endpoint, EventRecord, datetime], str]
"""Sends one event and returns "" where it was taken, else what went wrong in a few words."""


def body_of(event: EventRecord) -> bytes:
    """Return what is sent of an event; the same event has the same body at each try. Amounts are in minor units."""
    return json.dumps(
        {
            "id": event.id,
            "type": event.name,
            "created_at": event.at,
            "seq": event.seq,
            "data": {
                "contract": event.contract_id or None,
                "customer": event.customer_id or None,
                "invoice": event.invoice_id or None,
                "number": event.number or None,
                "currency": event.currency or None,
                "before": event.before,
                "after": event.after,
                "details": event.data,
            },
        },
        ensure_ascii=False,
        separators=(",", ":"),
    ).encode()


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """Return the value of the signature header."""
    mac = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={mac}"


def send(endpoint: Endpoint, event: EventRecord, now: datetime, *, read_s: float = READ_S) -> str:
    """Send an event; return "" where it was taken, else what went wrong, without the address or anything the receiver wrote."""
    body = body_of(event)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"connector/{__version__}",
        EVENT_ID: event.id,
        SIGNATURE: signature(endpoint.secret, int(now.timestamp()), body),
    }
    try:
        with requests.post(
            endpoint.url, data=body, headers=headers, timeout=(CONNECT_S, read_s), allow_redirects=False, stream=True, auth=_as_it_is
        ) as answer:
            return "" if answer.ok and answer.status_code < 300 else f"answered {answer.status_code}"
    except requests.Timeout:
        return f"no answer within {read_s:g} s"
    except requests.exceptions.SSLError:
        return "its certificate is not trusted"
    except requests.ConnectionError:
        return "cannot be reached"
    except requests.RequestException as error:
        return f"cannot be sent ({type(error).__name__})"


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request  # keeps a password of ~/.netrc out of it
