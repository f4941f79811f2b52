"""Prebilling: periods ahead are billed at once or on the next cycle date, and none of them again (`billing_schedules`).

Monthly at 1000 with bill_until a year ahead: twelve lines now, `billed_until` a year ahead, the next invoice after it.
Limits: flexible mode, no usage, coupons only in percent and once or forever, at most 50 cycles and 5 years, no schedule, prorations on
(the preview said so, and no page says otherwise since). What becomes of items that change while they are billed ahead is documented nowhere: here
they are billed anew from the next boundary on, so that whoever relies on it bills twice and sees it.
Source: docs.stripe.com/billing/subscriptions/prebilling.
"""

from __future__ import annotations

from collections.abc import Sequence

from connector.lookalike.stripe.account import Account, Data, Refused
from connector.lookalike.stripe.machine import cycle, items
from connector.lookalike.stripe.machine.discounts import coupon_of
from connector.lookalike.stripe.machine.lines import Draft
from connector.lookalike.stripe.machine.pricing import is_metered
from connector.lookalike.stripe.machine.subscriptions import Wanted, is_trialing
from connector.lookalike.stripe.machine.times import every_of, next_boundary, shifted

MOST_CYCLES = 50
MOST_YEARS = 5


def checked(account: Account, params: Data, wanted: Sequence[Wanted], anchor: int, start: int) -> list[Data]:
    """Return the schedules of a request as a subscription keeps them. Raises: Refused (whatever prebilling does not go with)."""
    given = params.get("billing_schedules") or []
    if not given:
        return []
    _checked_coupons(account, params)
    if params.get("proration_behavior") == "none" or params.get("payment_behavior") == "pending_if_incomplete":
        raise Refused("billing_schedules cannot be used without prorations, nor with pending updates.", param="billing_schedules")
    if (params.get("billing_mode") or {"type": "flexible"})["type"] != "flexible":
        raise Refused("billing_schedules can only be used with billing_mode flexible.", param="billing_schedules")
    if all(is_metered(one.price) for one in wanted):
        raise Refused("Usage-based prices cannot be prebilled.", param="billing_schedules")
    found, cycles = [], 0
    for place, one in enumerate(given):
        param = f"billing_schedules[{place}]"
        until = _until(one["bill_until"], start)
        if until > shifted(start, ("year", MOST_YEARS)):
            raise Refused(f"bill_until may lie at most {MOST_YEARS} years ahead.", param=f"{param}[bill_until]")
        if (
            params.get("cancel_at") is not None
            and not isinstance(params["cancel_at"], str)
            and until > params["cancel_at"]
        ):
            raise Refused("bill_until may not lie beyond the scheduled cancellation.", param=f"{param}[bill_until]")
        for item in concerned(wanted, one):
            cycles += _cycles(item, anchor, start, until, param)
        found.append({
            "applies_to": one.get("applies_to"), "key": one.get("key") or f"schedule_{place + 1}", "bill_until": {
                "computed_timestamp": until, "duration": one["bill_until"].get("duration"), "timestamp": one["bill_until"].get("timestamp"),
                "type": one["bill_until"]["type"],
            },
        })  # fmt: skip
    if cycles > MOST_CYCLES:
        raise Refused(f"At most {MOST_CYCLES} billing cycles can be prebilled.", param="billing_schedules")
    return found


def _checked_coupons(account: Account, params: Data) -> None:
    """Refuse coupons that do not go with prebilling: fixed amounts, repeating ones."""
    entries = [
        *(params.get("discounts") or ()),
        *(one for item in params.get("items") or () for one in item.get("discounts") or ()),
    ]
    for entry in entries:
        coupon = coupon_of(account, entry, "discounts")
        if coupon.get("amount_off") or coupon["duration"] == "repeating":
            raise Refused(
                "Only percent_off coupons with a duration of once or forever can be used with billing_schedules.",
                param="discounts",
            )


def _until(given: Data, start: int) -> int:
    if given["type"] == "timestamp":
        return int(given["timestamp"])
    duration = given.get("duration") or {}
    return shifted(start, (duration["interval"], duration.get("interval_count") or 1))


def concerned(wanted: Sequence[Wanted], schedule: Data) -> list[Wanted]:
    """Return the licensed items that a schedule applies to."""
    only = [one["price"] for one in schedule.get("applies_to") or () if one.get("price")]
    return [one for one in wanted if not is_metered(one.price) and (not only or one.price["id"] in only)]


def _cycles(item: Wanted, anchor: int, start: int, until: int, param: str) -> int:
    end, count = next_boundary(anchor, every_of(item.price), start), 1
    if until < end:
        raise Refused("bill_until must be at or after the end of the first period.", param=f"{param}[bill_until]")
    while end < until and count <= MOST_CYCLES:
        end, count = next_boundary(anchor, every_of(item.price), end), count + 1
    return count


def ahead(account: Account, subscription: Data) -> list[Draft]:
    """Return the lines of the periods after the first, up to where each item is prebilled."""
    if not subscription["billing_schedules"] or is_trialing(subscription):
        return []
    drafts: list[Draft] = []
    for item in subscription["items"]["data"]:
        until = _billed_until(subscription, item)
        if until is None:
            continue
        start = max(item["current_period_end"], item["billed_until"] or 0)
        while start < until:
            end = next_boundary(subscription["billing_cycle_anchor"], every_of(item["price"]), start)
            drafts.append(cycle.charge(account, subscription, item, start, end))
            start = end
        item["billed_until"] = max(start, item["billed_until"] or 0)
    return drafts


def wait(account: Account, subscription: Data, drafts: Sequence[Draft]) -> None:
    """Let the lines of periods ahead wait for the next cycle date."""
    for draft in drafts:
        items.item_from(account, subscription["customer"], draft)


def _billed_until(subscription: Data, item: Data) -> int | None:
    if is_metered(item["price"]):
        return None
    ends = [
        int(one["bill_until"]["computed_timestamp"])
        for one in subscription["billing_schedules"]
        if not one["applies_to"] or item["price"]["id"] in [price.get("price") for price in one["applies_to"]]
    ]
    return max(ends, default=None)
