"""Where the periods of a new subscription are counted from: its start, a future instant, or a day of the month.

`billing_cycle_anchor_config`: day 31 means month end, missing parts are those of the creation, UTC.
Source: docs.stripe.com/billing/subscriptions/billing-cycle.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Sequence
from datetime import UTC, datetime

from connector.lookalike.stripe.account import Data, Refused
from connector.lookalike.stripe.machine.subscriptions import Wanted
from connector.lookalike.stripe.machine.times import every_of, length_rank, shifted


def anchor_for(params: Data, wanted: Sequence[Wanted], start: int, now: int, trial_end: int | None) -> int:
    """Return the anchor that a request asks for. Raises: Refused (in the past, beyond the first period)."""
    if config := params.get("billing_cycle_anchor_config"):
        return configured(config, now)
    asked = params.get("billing_cycle_anchor")
    if asked is None:
        return start
    if asked < now:
        raise Refused("billing_cycle_anchor cannot be in the past.", param="billing_cycle_anchor")
    shortest = min((every_of(one.price) for one in wanted), key=length_rank)
    if asked > shifted(trial_end or now, shortest):
        raise Refused(
            "billing_cycle_anchor cannot be later than next natural billing date for plan.",
            param="billing_cycle_anchor",
        )
    return int(asked)


def configured(config: Data, now: int) -> int:
    """Return the next instant that fits a configuration."""
    moment = datetime.fromtimestamp(now, UTC)
    clock = {name: config[name] for name in ("hour", "minute", "second") if config.get(name) is not None}
    for ahead in range(13):
        year, month = divmod(moment.year * 12 + moment.month - 1 + ahead, 12)
        if config.get("month") not in (None, month + 1):
            continue
        day = min(config["day_of_month"], monthrange(year, month + 1)[1])
        if day < config["day_of_month"] and config.get("month") is None and config["day_of_month"] == 31:
            continue  # an anchor on a 30th would never come back to the 31st
        found = moment.replace(year=year, month=month + 1, day=day, **clock)
        if found.timestamp() >= now:
            return int(found.timestamp())
    raise Refused("No instant fits the billing_cycle_anchor_config.", param="billing_cycle_anchor_config")
