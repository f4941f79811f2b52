"""Events: what happened in the account, newest first, for thirty days."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

from connector.lookalike.stripe.account import Account, Data, Refused, endpoint
from connector.lookalike.stripe.listing import page, within

KEPT_S = 30 * 86_400


@endpoint("GET", "/v1/events", "EventListParams")
def listed(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """List events; *types* takes names, and `invoice.*` for all of a kind."""
    del ids
    wanted = [*(params.get("types") or ()), *([params["type"]] if params.get("type") else ())]
    created = params.get("created")
    since = account.now() - KEPT_S
    if isinstance(created, dict):
        since = max(since, int(created.get("gte", created.get("gt", since)) or 0))
    first = bisect_left(account.events, since, key=lambda event: event["created"])
    found = [e for e in reversed(account.events[first:]) if _is_wanted(e["type"], wanted) and within(e["created"], created)]
    return page(found, params, "/v1/events")


@endpoint("GET", "/v1/events/{id}", "EventRetrieveParams")
def retrieved(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Return one event."""
    del params
    found = next((e for e in account.events if e["id"] == ids["id"]), None)
    if found is None:
        raise Refused(f"No such event: '{ids['id']}'", status=404, code="resource_missing", param="id")
    return found


def _is_wanted(name: str, wanted: list[str]) -> bool:
    return not wanted or name in wanted or any(w.endswith(".*") and name.startswith(w[:-1]) for w in wanted) or "*" in wanted
