"""The HTTP session under simple-salesforce: timeouts, bounded repeats, loopback, and what reply headers tell.

The library sets no timeout, does not repeat after a dead keep-alive socket, and always speaks https to *.salesforce.com
(salesforce.md, findings 2 and 5). This session does the first two, and sends everything to a loopback address where the CRM
is the demo CRM. Only calls that may safely happen twice are repeated: reads, updates by id, upserts by an external id.

Example: a PATCH of 200 records whose reply is lost is sent a second time at once; a third time never. A query answered by
503 is asked again after about 0.5, 1 and 2 seconds, then RetryableError(retry_after_s=30) goes up to the round.
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

from connector.crm.translate import SPENT_SIGN
from connector.errors import HaltError, RetryableError

CLIENT_NAME = "connector"
_BUSY = frozenset({420, 429, 502, 503, 504})
_USED = re.compile(r"(?<![\w-])api-usage\s*=\s*(\d+)\s*/\s*(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often a call that may safely happen twice is repeated inside one call of ours.

    attempts - sends on an overloaded CRM (406 is not one of them), the first included. resets - repeats after a lost
    connection. The n-th wait is first_wait_s * 2**(n-1), at most longest_wait_s, then shortened by up to a half at random.
    A Retry-After within longest_wait_s is obeyed instead; a longer one ends the attempts. record_repeats - repeats of single
    records that were locked or timed out.
    """

    attempts: int = 4
    resets: int = 1
    first_wait_s: float = 0.5
    longest_wait_s: float = 8.0
    record_repeats: int = 2

    def wait_s(self, failures: int) -> float:
        """Return the seconds to wait after *failures* failures in a row (1 or more)."""
        full = min(self.longest_wait_s, self.first_wait_s * float(2 ** (failures - 1)))
        return full * (1 - random.random() / 2)  # noqa: S311 - spreads retries, keeps no secret


DEFAULT_POLICY = RetryPolicy()


class _AgainError(Exception):
    """One send failed in a way that allows another; *last* goes up when there is none left."""

    def __init__(self, last: RetryableError, *, wait_s: float | None) -> None:
        self.last = last
        self.wait_s = wait_s
        super().__init__(str(last))


class LoopbackAdapter(HTTPAdapter):
    """Sends what is meant for *.salesforce.com to one loopback address, and refuses every other host.

    The library turns http://127.0.0.1:PORT into https; that, and other names of this machine with the port, go there too.
    """

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._netloc = parts.netloc
        self._port = parts.port
        self._prefix = f"http://{parts.netloc}"
        super().__init__()

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """Send the request to the loopback address.

        Raises: HaltError for a host that is neither Salesforce's nor that address.
        """
        parts = urlsplit(request.url or "")
        is_home = is_loopback(request.url or "") and parts.port == self._port
        if not is_home and not (parts.hostname or "").endswith(".salesforce.com"):
            raise _stray(parts.netloc, f"crm.url is the loopback address {self._netloc}")
        local = request.copy()
        local.url = self._prefix + (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return super().send(local, *args, **kwargs)


class _NoPlainText(BaseAdapter):
    """Refuses http://, so that a token never leaves unencrypted."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        raise _stray(urlsplit(request.url or "").netloc, "the CRM is spoken to by https only")

    def close(self) -> None:
        """Hold nothing open."""


def _stray(host: str, why: str) -> HaltError:
    return HaltError(
        f"Refused to send CRM data to {host!r}: {why}.",
        hint="Check crm.url, and the instance_url that the CRM's login answers with.",
        code="crm-stray-host",
    )


def is_loopback(url: str) -> bool:
    """Whether *url* names this very machine (localhost, 127.0.0.0/8, ::1)."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class CrmSession(requests.Session):
    """A requests session with the manners above; counts calls and remembers the CRM's clock and allocation.

    calls - requests to /services/data sent since start, repeats included. used, limit - the rolling 24 h allocation as last
    seen (0: not yet). is_spent - the last reply was that it is used up. server_date - the Date of the last reply.
    """

    def __init__(
        self,
        url: str,
        *,
        timeouts_s: tuple[float, float],
        policy: RetryPolicy,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__()
        self._timeouts_s = timeouts_s
        self._policy = policy
        self._lock = threading.Lock()
        self.calls = 0
        self.used = 0
        self.limit = 0
        self.is_spent = False
        self.server_date: datetime | None = None
        self.headers["Sforce-Call-Options"] = f"client={CLIENT_NAME}"  # P10: customers' automation can tell our writes
        if is_loopback(url):
            adapter = LoopbackAdapter(url)
            self.mount("https://", adapter)
            self.mount("http://", adapter)
        else:
            # Proxy and CA bundle of the environment are read once: looking them up on every call costs a quarter of it.
            found = self.merge_environment_settings(url, {}, None, None, None)
            self.proxies.update(found["proxies"])
            self.verify = found["verify"]
            self.mount("http://", _NoPlainText())
        self.trust_env = False
        self._retrying = Retrying(
            sleep=sleep,
            stop=stop_after_attempt(policy.attempts),
            wait=self._wait_s,
            retry=retry_if_exception_type(_AgainError),
            reraise=True,
        )

    def request(
        self, method: str | bytes, url: str | bytes, *args: Any, repeatable: bool | None = None, **kwargs: Any
    ) -> requests.Response:
        """Send one request, repeated within the policy if it may safely happen twice.

        Args: repeatable - None: by the method (GET and PATCH are).
        Raises: RetryableError where the CRM is unreachable, too slow or overloaded. HaltError for a foreign host.
        """
        kwargs.setdefault("allow_redirects", False)
        if repeatable is None:
            repeatable = method in ("GET", "HEAD", "PATCH")
        resets_left = self._policy.resets if repeatable else 0

        def once() -> requests.Response:
            nonlocal resets_left
            try:
                response = requests.Session.request(self, method, url, *args, **kwargs)
            except requests.RequestException as error:
                last = _unreachable(error, self._timeouts_s)
                resets_left -= 1
                if resets_left < 0 or isinstance(error, requests.Timeout):
                    raise last from error
                raise _AgainError(last, wait_s=0.0) from error
            return self._judged(response, repeatable=bool(repeatable))

        try:
            return self._retrying(once)
        except _AgainError as error:
            raise error.last from error

    def _judged(self, response: requests.Response, *, repeatable: bool) -> requests.Response:
        """Return the reply, or raise what an overloaded CRM means: again if *repeatable*, else RetryableError."""
        status = response.status_code
        if status not in _BUSY and not (status == 500 and repeatable):  # a login's refusal comes as 500 too
            return response
        asked = _seconds(response.headers.get("Retry-After"))
        last = RetryableError(
            f"The CRM is overloaded or in maintenance (HTTP {status}{_error_code(response)}).",
            hint="Nothing to do: it is asked again by itself. If it lasts, look at status.salesforce.com.",
            retry_after_s=asked or 30,
        )
        if not repeatable or (asked or 0) > self._policy.longest_wait_s:
            raise last
        raise _AgainError(last, wait_s=asked)

    def _wait_s(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, _AgainError) and error.wait_s is not None:
            return error.wait_s
        return self._policy.wait_s(state.attempt_number)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send one prepared request with both timeouts set, and read what its reply's headers tell."""
        if not kwargs.get("timeout"):
            kwargs["timeout"] = self._timeouts_s
        if "/services/data/v" in (request.url or ""):
            with self._lock:
                self.calls += 1
        response = super().send(request, **kwargs)
        if "/services/data/v" in (request.url or ""):
            self.is_spent = response.status_code == 403 and SPENT_SIGN.encode() in response.content
        self._note(response.headers.get("Sforce-Limit-Info"), response.headers.get("Date"))
        return response

    def _note(self, limit_info: str | None, date: str | None) -> None:
        if limit_info and (found := allocation(limit_info)):
            self.used, self.limit = found
        if date:
            try:
                self.server_date = parsedate_to_datetime(date).astimezone(UTC)
            except ValueError:
                return  # a proxy's nonsense; the clock last seen holds


def allocation(limit_info: str) -> tuple[int, int] | None:
    """Return (used, limit) of a Sforce-Limit-Info header in any of its forms, or None (P25).

    `api-usage=18/5000`, also with `; api-bursts=1/750` or `; per-app-api-usage=17/250(appName=x)` before or behind.
    """
    found = _USED.search(limit_info)
    return (int(found[1]), int(found[2])) if found else None


def _seconds(retry_after: str | None) -> int | None:
    """Return the seconds of a Retry-After header; the form with a date is not used by the CRM."""
    return int(retry_after) if retry_after and retry_after.isdigit() else None


def _error_code(response: requests.Response) -> str:
    try:
        body = response.json()
        return f", {body[0]['errorCode']}"
    except (ValueError, LookupError, TypeError):
        return ""


def _unreachable(error: requests.RequestException, timeouts_s: tuple[float, float]) -> RetryableError:
    host = urlsplit((error.request.url if error.request is not None else "") or "").netloc
    if isinstance(error, requests.exceptions.SSLError):
        return RetryableError(
            f"The certificate of {host} could not be verified.",
            hint="Check crm.url, the machine's clock, and REQUESTS_CA_BUNDLE if a proxy opens encrypted traffic.",
            retry_after_s=300,
        )
    if isinstance(error, requests.ConnectTimeout):
        what = f"did not accept a connection within {timeouts_s[0]:g} s"
    elif isinstance(error, requests.Timeout):
        what = f"did not answer within {timeouts_s[1]:g} s"
    else:
        what = "could not be reached, or dropped the connection"
    return RetryableError(
        f"The CRM at {host} {what}.", hint="Check the network and crm.url; it is asked again by itself."
    )
