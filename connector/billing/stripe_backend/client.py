"""The door to Stripe: the one module that knows its SDK. One method carries out any call; answers are plain data, errors are ours.

A call is a dotted path below `StripeClient.v1`: `calls.do("invoices.pay", {}, target="in_1", key="d-7/pay")` is POST /v1/invoices/in_1/pay.
The SDK repeats nothing (`max_network_retries=0`): whoever calls decides, by the class of the error (see `refusals`). Every call has a
time-out. The key goes to api.stripe.com by https, or to a loopback address where `connector demo` and tests listen; nowhere else.

Figures: Stripe takes 100 calls a second in live mode, 25 in test mode. A new deal is about 6 of them.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Any, ClassVar
from urllib.parse import urlsplit

import requests
import stripe
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProxyError

from connector import __version__
from connector.billing.stripe_backend.refusals import Answer, lost, meant, without_secrets
from connector.billing.stripe_backend.rights import is_read
from connector.errors import ConfigError, ConnectorError, InvariantError, Problem, invariant

API_BASE = "https://api.stripe.com"
API_VERSION = "2026-10-28.endive"
"""The version that is asked for, whatever the SDK in use would ask for; SDK_VERSION knows it as its own where they agree."""
SDK_VERSION, SDK_API_VERSION = stripe.VERSION, stripe.api_version
CONNECT_S = 10
PAGE = 100
LONGEST_KEY = 255

Watcher = Callable[[str, Mapping[str, Any], str | None, str], None]


class _PlainDecimal(Decimal):
    """A decimal that never writes itself with an exponent; the SDK sends `str` of it."""

    def __str__(self) -> str:
        return format(self, "f")


class StripeCalls:
    """Calls of one account (see `steps.Calls`). Thread-safe as the SDK is.

    Args: api_key - secret or restricted key. api_base - https, or http of a loopback address. http_client - the SDK's transport,
    for tests. timeout_s - of one call, for connecting and for each read. account - `acct_...` of a connected account, "" for the key's own.
    """

    sees: ClassVar[Watcher | None] = None
    """Told of every call before it is sent, (call, params, target, key); tests check parameters here."""

    def __init__(
        self,
        api_key: str,
        *,
        api_base: str = API_BASE,
        http_client: stripe.HTTPClient | None = None,
        timeout_s: float = 30,
        account: str = "",
    ) -> None:
        problems = _wrong(api_key, api_base)
        if problems:
            raise ConfigError(problems)
        base = api_base.rstrip("/")
        stripe.enable_telemetry = False  # else the SDK keeps a file in the home folder and tells about this machine
        stripe.set_app_info("connector", version=__version__)
        self._client = stripe.StripeClient(
            api_key,
            stripe_account=account or None,
            stripe_version=API_VERSION,
            base_addresses={"api": base, "connect": base, "files": base, "meter_events": base},
            max_network_retries=0,
            http_client=http_client or _transport(base, timeout_s),
        )
        self.api_base = base

    def do(self, call: str, params: Mapping[str, Any], *, target: str | None = None, key: str = "") -> dict[str, Any]:
        """Carry out one call and return its answer as plain data (decimal strings as Decimal).

        Args: target - the id in the path; "cus_1/txi_2" for a path with two. key - idempotency key, needed by what changes something.
        Raises: RetryableError, Unanswered, Refusal, HaltError (see `refusals`); InvariantError for a call that Stripe does not have.
        """
        invariant(is_read(call) or key, f"{call} changes something and needs an idempotency key")
        invariant(len(key) <= LONGEST_KEY, f"an idempotency key has at most {LONGEST_KEY} characters: {key}")
        answer = self._send(call, _to_stripe(params), target, key)
        plain = _plain(answer)
        invariant(isinstance(plain, dict), f"{call} answers with an object")
        return dict(plain)

    def listed(
        self, call: str, params: Mapping[str, Any], *, target: str | None = None, limit: int = 1000
    ) -> list[dict[str, Any]]:
        """Return up to *limit* objects of a list call, in Stripe's order (newest first), over as many pages as that takes."""
        return list(self._pages(call, params, target, limit))

    def account(self) -> dict[str, Any]:
        """Return the account that the key belongs to."""
        return self.do("accounts.retrieve_current", {})

    def server_now(self) -> datetime | None:
        """Return the time of Stripe's clock, None where the answer does not say."""
        answer = self._send("accounts.retrieve_current", {}, None, "")
        headers = getattr(getattr(answer, "last_response", None), "headers", None) or {}
        said = next((str(v) for k, v in headers.items() if str(k).lower() == "date"), "")
        try:
            return parsedate_to_datetime(said).astimezone(UTC)
        except ValueError:
            return None

    def _pages(self, call: str, params: Mapping[str, Any], target: str | None, limit: int) -> Iterator[dict[str, Any]]:
        asked = dict(params)
        left = limit
        while left > 0:
            asked["limit"] = min(left, PAGE)
            page = self.do(call, asked, target=target)
            found = page.get("data") or []
            yield from found[:left]
            left -= len(found)
            if not page.get("has_more") or not found:
                return
            last = found[-1].get("id")
            invariant(last and last != asked.get("starting_after"), f"the pages of {call} go on")
            asked["starting_after"] = last

    def _send(self, call: str, params: dict[str, Any], target: str | None, key: str) -> Any:
        service = self._service(call)
        if (sees := type(self).sees) is not None:
            sees(call, params, target, key)
        options: dict[str, Any] = {"idempotency_key": key} if key else {}
        try:
            return service(*(target.split("/") if target else ()), params=params, options=options)
        except stripe.APIConnectionError as error:
            raise _unconnected(error, call) from error
        except stripe.StripeError as error:
            raise _meant(error, call) from error

    def _service(self, call: str) -> Callable[..., Any]:
        found: Any = self._client.v1
        for part in call.split("."):
            found = None if part.startswith("_") else getattr(found, part, None)
            if found is None:
                break
        if not callable(found):
            raise InvariantError(f"Stripe has a call {call}")
        return found  # type: ignore[no-any-return]


def is_loopback(url: str) -> bool:
    """Whether *url* names this very machine."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _wrong(api_key: str, api_base: str) -> list[Problem]:
    """Return what is wrong with key and address; the key itself is never told."""
    problems = []
    if not api_key.strip() or api_key != api_key.strip() or not api_key.isascii() or any(c.isspace() for c in api_key):
        hint = "Put the secret or restricted key (sk_..., rk_...) of the dashboard there, without spaces or line ends."
        problems.append(Problem(code="bad-stripe-key", message="stripe.api_key is empty or not a key.", hint=hint))
    elif api_key.startswith("pk_"):
        hint = "Use a restricted key (rk_...) with the rights of docs/stripe.md."
        problems.append(Problem(code="bad-stripe-key", message="stripe.api_key is a publishable key, which may not bill.", hint=hint))
    parts = urlsplit(api_base)
    is_plain = not parts.path.strip("/") and not parts.query and not parts.username
    if not parts.hostname or not is_plain or parts.scheme not in ("http", "https"):
        problems.append(Problem(code="bad-stripe-base", message=f"stripe.api_base {without_secrets(api_base)!r} is not an address.", hint=f"Leave it out, or write {API_BASE}."))
    elif not is_loopback(api_base) and (parts.scheme != "https" or not parts.hostname.endswith(".stripe.com")):
        hint = "Leave stripe.api_base out; another address is only for a Stripe look-alike on this machine (http://127.0.0.1:PORT)."
        message = f"stripe.api_base leads to {parts.hostname}; the key goes to Stripe by https, and nowhere else."
        problems.append(Problem(code="bad-stripe-base", message=message, hint=hint))
    return problems


def _transport(base: str, timeout_s: float) -> stripe.HTTPClient:
    if is_loopback(base):  # a proxy of the environment has no business with this machine
        return stripe.RequestsClient(timeout=(CONNECT_S, timeout_s), proxy={"http": "", "https": ""})
    return stripe.RequestsClient(timeout=(CONNECT_S, timeout_s))


def _to_stripe(value: Any) -> Any:
    """Return parameters as the SDK sends them: its own encoder knows dict and list alone, and would send an exponent."""
    if isinstance(value, Mapping):
        return {k: _to_stripe(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_to_stripe(v) for v in value]
    if isinstance(value, Decimal):
        invariant(value.is_finite(), "a number that is sent is finite")
        return _PlainDecimal(value)
    return value


def _plain(value: Any) -> Any:
    """Return an answer without objects of the SDK, at any depth."""
    if isinstance(value, stripe.StripeObject):
        return {k: _plain(v) for k, v in value.to_dict(recursive=False).items()}
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


def _meant(error: stripe.StripeError, call: str) -> ConnectorError:
    body = error.json_body
    found = body.get("error") if isinstance(body, dict) else None
    headers = {str(k).lower(): str(v) for k, v in (error.headers or {}).items()}
    answer = Answer(status=error.http_status or 0, error=found if isinstance(found, dict) else {}, headers=headers)
    return meant(answer, call, is_read=is_read(call))


def _unconnected(error: stripe.APIConnectionError, call: str) -> ConnectorError:
    """Return what a connection that failed means: whether the request can have reached Stripe decides."""
    causes = list(_causes(error))
    if any(isinstance(c, ssl.SSLCertVerificationError) for c in causes):
        return lost(call, "its certificate was not accepted, or something on the way reads along", is_sent=False, is_read=is_read(call))
    unsent = (ConnectTimeoutError, NewConnectionError, ProxyError, requests.exceptions.ConnectTimeout, requests.exceptions.InvalidURL)
    is_sent = not any(isinstance(c, unsent) for c in causes)
    is_late = any(isinstance(c, requests.exceptions.Timeout) for c in causes)
    why = "no answer in time" if is_late and is_sent else "the connection was lost" if is_sent else "no connection"
    return lost(call, why, is_sent=is_sent, is_read=is_read(call))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield every error behind *error*, however the libraries have wrapped it; bounded, as causes can go round."""
    todo: list[Any] = [error]
    seen: set[int] = set()
    while todo and len(seen) < 50:
        one = todo.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        todo += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
