"""The control endpoints below /_control: let things go wrong, move the clock, do what a customer or the dashboard would do.

They need no key. `POST /_control/faults {"kind": "lock_timeout", "path": "/v1/subscription_schedules"}`; GET /_control lists them all.
Rooms register more of them in `controls`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from connector.lookalike.stripe.account import Data, Refused, catch_up
from connector.lookalike.stripe.controls import CONTROLS, number_of, text_of
from connector.lookalike.stripe.faults import KINDS, fault_from
from connector.lookalike.stripe.front import Front
from connector.lookalike.stripe.wire import Reply, Request

ROOT = "/_control"


class MovedClock:
    """A clock that is ahead of another one; it never goes back."""

    def __init__(self, beneath: Callable[[], datetime]) -> None:
        self._beneath = beneath
        self._ahead = timedelta()

    def __call__(self) -> datetime:
        """Return the moved time."""
        return self._beneath() + self._ahead

    def advance(self, by_s: int) -> None:
        """Go ahead. Raises: Refused where that would be back."""
        if by_s < 0:
            raise Refused("the clock only moves forwards", param="advance_s")
        self._ahead += timedelta(seconds=by_s)


class Control:
    """Answers requests below /_control."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._own: dict[str, Callable[[str, Data], Any]] = {
            "faults": self._faults,
            "log": self._log,
            "clock": self._clock,
            "keys": self._keys,
        }

    def answer(self, request: Request) -> Reply:
        """Answer one control request; a mistake in it is a 400 that says what is expected."""
        name = request.path.removeprefix(ROOT).strip("/")
        try:
            done = self._done(name, request)
        except Refused as refused:
            return Reply(
                status=refused.status, body={"error": {"message": refused.message, "param": refused.param or None}}
            )
        return Reply(status=204) if done is None else Reply(body=done)

    def _done(self, name: str, request: Request) -> Any:
        names = sorted([*self._own, *CONTROLS])
        if not name:
            return {"endpoints": [f"{ROOT}/{one}" for one in names], "faults": KINDS}
        body = request.body if request.body is not None else {}
        if not isinstance(body, dict):
            raise Refused("a JSON object is required")
        if name in self._own:
            return self._own[name](request.method, body)
        deed = CONTROLS.get(name)
        if deed is None:
            raise Refused(f"there is no {ROOT}/{name}; there are {', '.join(names)}", status=404)
        if request.method != "POST":
            raise Refused(f"{ROOT}/{name} wants POST", status=405)
        account = self._front.account
        with account.lock:
            catch_up(account)
            return deed(account, body)

    def _faults(self, method: str, body: Data) -> Any:
        faults = self._front.faults
        if method == "POST":
            return asdict(fault_from(body, faults))
        if method == "DELETE":
            return faults.clear()
        return {"faults": [asdict(one) for one in faults.waiting]}

    def _log(self, method: str, _body: Data) -> Any:
        if method == "DELETE":
            return self._front.faults.log.clear()
        return {"requests": [asdict(one) for one in list(self._front.faults.log)]}

    def _clock(self, method: str, body: Data) -> Any:
        """Tell the time, or move it ahead: `{"to": 1767225600}` or `{"advance_s": 86400}`; what falls due meanwhile is done."""
        account = self._front.account
        with account.lock:
            if method == "POST":
                now = int(account.clock().timestamp())
                by_s = number_of(body, "to") - now if "to" in body else number_of(body, "advance_s")
                if not isinstance(account.clock, MovedClock):
                    account.clock = MovedClock(account.clock)
                account.clock.advance(by_s)
                catch_up(account)
            return {"now": int(account.clock().timestamp())}

    def _keys(self, method: str, body: Data) -> Any:
        """Give a restricted key its rights, or `{"key": ..., "revoke": true}`."""
        if method != "POST":
            raise Refused(f"{ROOT}/keys wants POST", status=405)
        key = text_of(body, "key")
        if body.get("revoke") is True:
            return self._front.keys.revoke(key)
        rights = body.get("rights")
        if not isinstance(rights, dict):
            raise Refused('rights: an object is required, e.g. {"customer": "read"}', param="rights")
        return self._front.keys.restrict(key, rights)
