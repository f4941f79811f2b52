"""Lists as Stripe answers them: newest first, by pages that begin after or end before an id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from connector.lookalike.stripe.account import Data, Refused


def page(newest_first: Sequence[Data], params: Data, url: str) -> Data:
    """Return one page of a list. params - limit (10, at most 100), starting_after, ending_before."""
    limit = params.get("limit", 10)
    if not 1 <= limit <= 100:
        raise Refused("This value must be between 1 and 100 (inclusive).", param="limit")
    first, last = 0, len(newest_first)
    if after := params.get("starting_after"):
        first = _place(newest_first, after, "starting_after") + 1
    elif before := params.get("ending_before"):
        last = _place(newest_first, before, "ending_before")
        first = max(0, last - limit)
    found = list(newest_first[first:last][:limit])
    more = first > 0 if params.get("ending_before") else first + limit < last
    return {"object": "list", "data": found, "has_more": more, "url": url}


def _place(objects: Sequence[Data], id_: str, param: str) -> int:
    for place, one in enumerate(objects):
        if one["id"] == id_:
            return place
    raise Refused(f"No such object: '{id_}'", status=404, code="resource_missing", param=param)


def within(at: int | None, asked: Any) -> bool:
    """Whether an instant fits a filter: None for any, an instant, or its gt, gte, lt, lte."""
    if asked is None:
        return True
    if at is None:
        return False
    if not isinstance(asked, dict):
        return bool(at == asked)
    tests = {"gt": at.__gt__, "gte": at.__ge__, "lt": at.__lt__, "lte": at.__le__}
    return all(tests[name](bound) for name, bound in asked.items())
