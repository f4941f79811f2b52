"""Judges the org: which one it is, its clock, its time zone, and what polling costs of its calls. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from connector.doctor.findings import Finding, failed, ok, warned
from connector.ports import ApiUsage, Org

_SKEW_WARN_S, _SKEW_FAIL_S = 60, 900
_FAR = timedelta(hours=4)
_DAY_S = 86_400


def which(org: Org, bound_to: str | None) -> Finding:
    """Return which org it is; another than the ledger is bound to fails."""
    kind = "sandbox" if org.is_sandbox else "production"
    if bound_to and bound_to != org.id:
        return failed(
            "org",
            f"This is org {org.id} ({org.name}, {kind}), but the ledger belongs to {bound_to}.",
            "Point `database:` to another file, or `crm.url` to the other org; a refreshed sandbox is a new org.",
            code="other-org",
        )
    currency = "several currencies" if org.is_multi_currency else org.currency or "its currency is not readable"
    more = "; a sandbox: mails leave to mail.test_to only" if org.is_sandbox else ""
    return ok("org", f"{org.name} ({org.id}, {kind}), {currency}{more}")


def clock(ours: datetime, theirs: datetime) -> Finding:
    """Return how far this machine's clock is from the CRM's."""
    skew_s = int((ours - theirs).total_seconds())
    apart = f"{_span(abs(skew_s))} {'ahead of' if skew_s > 0 else 'behind'} the CRM's"
    if abs(skew_s) <= _SKEW_WARN_S:
        return ok("clock", f"{abs(skew_s)} s apart from the CRM's")
    message = f"This machine's clock is {apart}: changes are read by the CRM's clock, but invoices, due dates and logins go by ours."
    how = failed if abs(skew_s) > _SKEW_FAIL_S else warned
    return how("clock", message, "Switch on time synchronization (NTP) on this machine.")


def time_zone(ours: str, theirs: str | None, now: datetime) -> Finding:
    """Return whether the business time zone is plausible beside the org's own."""
    if not theirs:
        return ok("time-zone", ours)
    try:
        zone = ZoneInfo(theirs)
    except (ValueError, KeyError, OSError):
        return ok("time-zone", f"{ours}; the org says {theirs}")
    days = (now, now + timedelta(days=182))
    apart = max((abs(_offset(d, ZoneInfo(ours)) - _offset(d, zone)) for d in days), default=timedelta())
    if not apart:
        return ok("time-zone", f"{ours}, as the org's {theirs}" if ours != theirs else ours)
    text = f"`timezone: {ours}` and the org's {theirs} are up to {_hours(apart)} apart: what is won near midnight counts for another day."
    if ours == "UTC" or apart >= _FAR:
        return warned("time-zone", text, "Set `timezone` to where your business day is counted, before the first contract is made.")
    return ok("time-zone", f"{ours}; the org works in {theirs}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What is asked of the CRM: calls of one round in which nothing changed, and those of a day's billing runs and comparisons."""

    every_s: int
    a_round: int
    beside: int

    @property
    def a_day(self) -> int:
        """Calls of a day in which nothing changed."""
        return -(-_DAY_S // max(1, self.every_s)) * self.a_round + self.beside


def calls(usage: ApiUsage, *, share: Decimal, asking: Asking) -> Finding:
    """Return whether polling as configured stays within our share of the org's calls of 24 hours."""
    if not usage.limit:
        return warned("api-calls", "The CRM does not say how many calls it allows.", "Look under Setup, System Overview, API Usage.")
    planned, budget = asking.a_day, int(usage.limit * share)
    told = f"{usage.used:,} of {usage.limit:,} calls used in 24 hours"
    polling = f"polling every {asking.every_s} s makes {planned - asking.beside:,} a day, billing runs and comparisons {asking.beside:,}"
    if usage.used >= usage.limit:
        return failed("api-calls", f"The org has no calls left: {told}.", "It goes on as the count falls; find who else calls so much.")
    if usage.used > budget:
        return failed(
            "api-calls",
            f"The CRM is asked every 15 minutes only, and not written to: {told}, more than our share of {budget:,} (crm.daily_api_budget {share}).",
            "It goes on by itself as the count falls; raise crm.daily_api_budget, or find who else calls so much.",
        )
    if planned > budget:
        least = -(-_DAY_S * asking.a_round // max(1, budget - asking.beside))
        slower = f"Set `every: {least}s` or longer for all sources, or raise crm.daily_api_budget."
        return warned(
            "api-calls",
            f"{polling[0].upper()}{polling[1:]}; our share is {budget:,} of {usage.limit:,} (crm.daily_api_budget {share}).",
            slower if asking.beside < budget else "Raise crm.daily_api_budget, and let `schedule.billing_run` come less often.",
        )
    if budget - usage.used < planned // 24:
        return warned("api-calls", f"Less than an hour of polling is left of our share of {budget:,}: {told}.", "Find who else calls so much.")
    return ok("api-calls", f"{told}; {polling}, our share is {budget:,}")


def _offset(at: datetime, zone: ZoneInfo) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta()


def _hours(span: timedelta) -> str:
    minutes = int(span.total_seconds()) // 60
    return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")


def _span(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h" if seconds < 2 * _DAY_S else f"{seconds // _DAY_S} days"
