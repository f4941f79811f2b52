"""The control endpoints under /demo/: turn knobs, do to the records what others would do, count calls.

They need no login and cost no API call. `POST /demo/delete {"object": "Opportunity", "id": "006…"}` deletes as the rep does;
a mistake in a body is a 400 that says what is expected. GET /demo lists them all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from connector.lookalike.crm import mischief
from connector.lookalike.crm.org import Org
from connector.lookalike.crm.refusal import Refusal, not_found
from connector.lookalike.crm.wire import Reply, Request

Body = dict[str, Any]


class Control:
    """Answers requests under /demo/. revoke, forget - end all sessions, let all query locators expire."""

    def __init__(self, org: Org, *, revoke: Callable[[], None], forget: Callable[[], None]) -> None:
        self._org = org
        self._revoke, self._forget = revoke, forget
        self._deeds: dict[str, Callable[[Body], Any]] = {
            "bump": self._bump,
            "flip": self._flip,
            "late": self._late,
            "delete": self._delete,
            "undelete": self._undelete,
            "purge": lambda body: {"removed": mischief.purge(org, _text(body, "object"), _text(body, "id"))},
            "empty-bin": self._empty_bin,
            "merge": self._merge,
            "resync": lambda body: {"ids": mischief.resync(org, _text(body, "quote"))},
            "refresh": self._refresh,
        }

    def answer(self, request: Request) -> Reply:
        """Answer one request; counters are the front's. Raises: Refusal."""
        name = request.path.removeprefix("/demo").strip("/")
        if not name and request.method == "GET":
            paths = ["counters", "faults", *self._deeds]
            return Reply(body={"endpoints": [f"/demo/{one}" for one in paths], "knobs": self._org.faults.shown()})
        if name == "faults":
            return self._knobs(request)
        deed = self._deeds.get(name)
        if deed is None:
            raise not_found(f"there is no /demo/{name}; there are {', '.join(('counters', 'faults', *self._deeds))}")
        if request.method != "POST":
            raise Refusal(
                "METHOD_NOT_ALLOWED", f"HTTP Method '{request.method}' not allowed. Allowed are POST", status=405
            )
        done = deed(_body(request))
        return Reply(status=204) if done is None else Reply(body=done)

    def _knobs(self, request: Request) -> Reply:
        if request.method == "GET":
            return Reply(body=self._org.faults.shown())
        if request.method == "DELETE":
            self._org.faults.apply({"reset": True})
            return Reply(status=204)
        spec = _body(request)
        self._org.faults.apply(spec)
        if spec.get("revoke_tokens"):
            self._revoke()
        if spec.get("forget_locators"):
            self._forget()
        return Reply(status=204)

    # -- deeds ------------------------------------------------------------------------------------------------------------

    def _bump(self, body: Body) -> Any:
        ids, seconds = body.get("ids"), body.get("seconds", 0)
        if ids is not None and not (isinstance(ids, list) and all(isinstance(one, str) for one in ids)):
            raise _wanted("ids", "a list of record ids")
        if isinstance(seconds, bool) or not isinstance(seconds, int):
            raise _wanted("seconds", "a whole number")
        return {"moved": mischief.bump(self._org, _text(body, "object"), ids, seconds=seconds)}

    def _flip(self, body: Body) -> None:
        mischief.set_quietly(self._org, _text(body, "object"), _text(body, "id"), _fields(body))

    def _late(self, body: Body) -> Any:
        """Save one record as the rep does, seen *seconds* later."""
        org, kind, record = self._org, _text(body, "object"), body.get("id")
        org.faults.apply({"late_commit": {"seconds": body.get("seconds", 0)}})
        try:
            with org.transaction(user=org.rep_user):
                made = org.update(kind, str(record), _fields(body)) if record else org.create(kind, _fields(body))
        except Refusal:
            org.faults.late.pop()
            raise
        return {"id": made}

    def _delete(self, body: Body) -> None:
        with self._org.transaction(user=self._org.rep_user):
            self._org.delete(_text(body, "object"), _text(body, "id"))

    def _undelete(self, body: Body) -> None:
        with self._org.transaction(user=self._org.rep_user):
            self._org.undelete(_text(body, "object"), _text(body, "id"))

    def _empty_bin(self, body: Body) -> Any:
        days = body.get("older_than_days", 0)
        if isinstance(days, bool) or not isinstance(days, int) or days < 0:
            raise _wanted("older_than_days", "a whole number")
        kind = _text(body, "object") if "object" in body else None
        return {"removed": mischief.empty_bin(self._org, kind, older_than_days=days)}

    def _merge(self, body: Body) -> None:
        with self._org.transaction(user=self._org.rep_user):
            self._org.merge(_text(body, "object"), _text(body, "winner"), _text(body, "loser"))

    def _refresh(self, body: Body) -> Any:
        """Make this org another one, as a sandbox refresh does: new org id, no token lives on."""
        self._org.become_another(is_sandbox=body.get("is_sandbox", True) is True)
        self._revoke()
        self._forget()
        return {"org_id": self._org.org_id}


def _body(request: Request) -> Body:
    if request.body is None:
        return {}
    if not isinstance(request.body, dict):
        raise Refusal("JSON_PARSER_ERROR", "a JSON object is required")
    return request.body


def _text(body: Body, name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise _wanted(name, "a text")
    return value


def _fields(body: Body) -> Body:
    fields = body.get("fields")
    if not isinstance(fields, dict) or not fields:
        raise _wanted("fields", "an object of field names and values")
    return fields


def _wanted(name: str, what: str) -> Refusal:
    return Refusal("INVALID_INPUT", f"{name}: {what} is required")
