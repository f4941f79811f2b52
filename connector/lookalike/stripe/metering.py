"""Billing meters, the usage events that they count, and their sums. Source: docs.stripe.com/api/billing/meter, /meter-event.

Stripe looks at some mistakes of an event only later, and reports them by an event of its own; here each is refused at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from connector.lookalike.stripe.account import Account, Data, Refused, endpoint
from connector.lookalike.stripe.listing import page

METER, EVENT = "billing.meter", "billing.meter_event"
_OLDEST_S = 35 * 86_400
_AHEAD_S = 300
_UNIQUE_S = 86_400
_WINDOWS = {"hour": 3600, "day": 86_400}
_LONGEST_NAME = 100


@endpoint("POST", "/v1/billing/meters", "billing.MeterCreateParams")
def create(account: Account, _ids: Mapping[str, str], params: Data) -> Data:
    """Make a meter; the name of its events belongs to it alone while it is active."""
    name, now = params["event_name"], account.now()
    if len(name) > _LONGEST_NAME:
        raise Refused(f"event_name must be at most {_LONGEST_NAME} characters.", param="event_name")
    if _active(account, name) is not None:
        raise Refused(
            f"There is already an active meter with the event name {name}.",
            code="resource_already_exists",
            param="event_name",
        )
    meter: Data = {
        "id": account.new_id("mtr"), "object": METER, "created": now,
        "customer_mapping": params.get("customer_mapping") or {"event_payload_key": "stripe_customer_id", "type": "by_id"},
        "default_aggregation": {"formula": params["default_aggregation"]["formula"]}, "display_name": params["display_name"],
        "event_name": name, "event_time_window": params.get("event_time_window"), "livemode": account.is_live, "status": "active",
        "status_transitions": {"deactivated_at": None}, "updated": now,
        "value_settings": params.get("value_settings") or {"event_payload_key": "value"},
    }  # fmt: skip
    account.kind(METER)[meter["id"]] = meter
    account.emit("billing.meter.created", meter)
    return meter


def _active(account: Account, name: str) -> Data | None:
    found = (one for one in account.kind(METER).values() if one["event_name"] == name and one["status"] == "active")
    return next(found, None)


@endpoint("GET", "/v1/billing/meters/{id}", "billing.MeterRetrieveParams")
def retrieve(account: Account, ids: Mapping[str, str], _params: Data) -> Data:
    """Return a meter."""
    return account.get(METER, ids["id"])


@endpoint("POST", "/v1/billing/meters/{id}", "billing.MeterUpdateParams")
def update(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Rename a meter."""
    meter = account.get(METER, ids["id"])
    meter["display_name"] = params.get("display_name", meter["display_name"])
    meter["updated"] = account.now()
    account.emit("billing.meter.updated", meter)
    return meter


@endpoint("GET", "/v1/billing/meters", "billing.MeterListParams")
def listed(account: Account, _ids: Mapping[str, str], params: Data) -> Data:
    """List meters, newest first."""
    status = params.get("status")
    found = [one for one in reversed(account.kind(METER).values()) if status in (None, one["status"])]
    return page(found, params, "/v1/billing/meters")


@endpoint("POST", "/v1/billing/meters/{id}/deactivate", "billing.MeterDeactivateParams")
def deactivate(account: Account, ids: Mapping[str, str], _params: Data) -> Data:
    """Let a meter count no more."""
    meter = account.get(METER, ids["id"])
    if meter["status"] == "inactive":
        raise Refused("The meter is already inactive.", param="id")
    meter.update(status="inactive", status_transitions={"deactivated_at": account.now()}, updated=account.now())
    account.emit("billing.meter.deactivated", meter)
    return meter


@endpoint("POST", "/v1/billing/meters/{id}/reactivate", "billing.MeterReactivateParams")
def reactivate(account: Account, ids: Mapping[str, str], _params: Data) -> Data:
    """Let a meter count again."""
    meter = account.get(METER, ids["id"])
    if meter["status"] == "active" or _active(account, meter["event_name"]) is not None:
        raise Refused(f"There is already an active meter with the event name {meter['event_name']}.", param="id")
    meter.update(status="active", status_transitions={"deactivated_at": None}, updated=account.now())
    account.emit("billing.meter.reactivated", meter)
    return meter


# -- events -------------------------------------------------------------------------------------------------------------------


@endpoint("POST", "/v1/billing/meter_events", "billing.MeterEventCreateParams")
def create_event(account: Account, _ids: Mapping[str, str], params: Data) -> Data:
    """Note usage of a customer; an identifier counts once a day."""
    now, name, payload = account.now(), params["event_name"], params["payload"]
    meter = _active(account, name)
    if meter is None:
        raise Refused(f"No active meter found for event name {name}.", code="no_meter", param="event_name")
    at = params.get("timestamp", now)
    if at < now - _OLDEST_S:
        raise Refused(
            "The timestamp of an event must be within the past 35 days.",
            code="timestamp_too_far_in_past",
            param="timestamp",
        )
    if at > now + _AHEAD_S:
        raise Refused(
            "The timestamp of an event must be at most 5 minutes in the future.",
            code="timestamp_in_future",
            param="timestamp",
        )
    _check_payload(account, meter, payload)
    identifier = params.get("identifier") or account.new_id("usage")
    known = _identified(account, identifier, now)
    if known is not None:
        raise Refused(
            f"An event already exists with identifier {identifier}.", code="duplicate_meter_event", param="identifier"
        )
    event: Data = {
        "id": account.new_id("mevt"), "object": EVENT, "created": now, "event_name": name, "identifier": identifier,
        "livemode": account.is_live, "payload": dict(payload), "timestamp": at,
    }  # fmt: skip
    account.kind(EVENT)[event["id"]] = event
    _identifiers(account)[identifier] = event
    return {key: value for key, value in event.items() if key != "id"}


def _check_payload(account: Account, meter: Data, payload: Data) -> None:
    mapped, valued = meter["customer_mapping"]["event_payload_key"], meter["value_settings"]["event_payload_key"]
    if not payload.get(mapped):
        raise Refused(
            f"The payload has no {mapped}.", code="meter_event_no_customer_defined", param=f"payload[{mapped}]"
        )
    if payload[mapped] not in account.kind("customer"):
        raise Refused(
            f"No such customer: '{payload[mapped]}'", code="meter_event_customer_not_found", param=f"payload[{mapped}]"
        )
    if meter["default_aggregation"]["formula"] == "count":
        return
    if not payload.get(valued):
        raise Refused(f"The payload has no {valued}.", code="meter_event_value_not_found", param=f"payload[{valued}]")
    try:
        is_number = Decimal(payload[valued]).is_finite()
    except InvalidOperation:
        is_number = False
    if not is_number:
        raise Refused(
            f"The value {payload[valued]} is no number.", code="meter_event_invalid_value", param=f"payload[{valued}]"
        )


def _identifiers(account: Account) -> dict[str, Data]:
    found: dict[str, Data] = account.machine.setdefault("meter_identifiers", {})
    return found


def _identified(account: Account, identifier: str, now: int) -> Data | None:
    """Return the event of an identifier, where it is not older than a day."""
    found = _identifiers(account).get(identifier)
    return found if found is not None and found["created"] >= now - _UNIQUE_S else None


@endpoint("POST", "/v1/billing/meter_event_adjustments", "billing.MeterEventAdjustmentCreateParams")
def cancel_event(account: Account, _ids: Mapping[str, str], params: Data) -> Data:
    """Cancel an event of the last 24 hours by its identifier."""
    identifier = params.get("cancel", {}).get("identifier", "")
    event = _identified(account, identifier, account.now())
    if event is None or event["event_name"] != params["event_name"] or event.get("canceled"):
        raise Refused(f"No event with identifier {identifier} can be canceled.", param="cancel[identifier]")
    event["canceled"] = True
    return {
        "object": "billing.meter_event_adjustment", "cancel": {"identifier": identifier}, "event_name": params["event_name"],
        "livemode": account.is_live, "status": "complete", "type": "cancel",
    }  # fmt: skip


@endpoint("GET", "/v1/billing/meters/{id}/event_summaries", "billing.MeterEventSummaryListParams")
def summaries(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Add up the usage of a customer in `[start_time, end_time)`, by hour or day where that is asked for; newest first."""
    meter, start, end = account.get(METER, ids["id"]), params["start_time"], params["end_time"]
    step = _WINDOWS.get(params.get("value_grouping_window", ""), end - start)
    unit = step if "value_grouping_window" in params else 60
    for name, at in (("start_time", start), ("end_time", end)):
        if at % unit:
            raise Refused(
                f"{name} must be aligned with {'the window' if unit != 60 else 'minute'} boundaries.", param=name
            )
    if end <= start:
        raise Refused("end_time must be after start_time.", param="end_time")
    mapped = meter["customer_mapping"]["event_payload_key"]
    events = [
        one
        for one in account.kind(EVENT).values()
        if one["event_name"] == meter["event_name"]
        and one["payload"].get(mapped) == params["customer"]
        and start <= one["timestamp"] < end
        and not one.get("canceled")
    ]
    made = []
    for begin in range(start, end, step):
        inside = sorted(
            (one for one in events if begin <= one["timestamp"] < begin + step), key=lambda one: one["timestamp"]
        )
        if inside or step == end - start:
            made.append({
                "id": f"mtrusg_{meter['id'].removeprefix('mtr_')}_{begin}", "object": "billing.meter_event_summary",
                "aggregated_value": _sum(meter, [one["payload"] for one in inside]), "end_time": min(begin + step, end),
                "livemode": account.is_live, "meter": meter["id"], "start_time": begin,
            })  # fmt: skip
    return page(made[::-1], params, f"/v1/billing/meters/{meter['id']}/event_summaries")


def _sum(meter: Data, payloads: list[Data]) -> float:
    formula, key = meter["default_aggregation"]["formula"], meter["value_settings"]["event_payload_key"]
    if formula == "count":
        return float(len(payloads))
    values = [Decimal(payload[key]) for payload in payloads]
    return float(values[-1] if formula == "last" and values else sum(values))
