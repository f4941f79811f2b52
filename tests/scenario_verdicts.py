"""What a scenario expects, held against what a backend outside made of it: days for instants, and where it must be, a day's invoices together.

Three things differ by nature and are taken for the same: Stripe bills at a time of day, the engine at midnight; lines and invoices
of 0.00 are not made there; and an invoice that is void before anybody owed it is not kept.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from test_simulate import moment, verdict

Data = dict[str, Any]
_SUMS = ("subtotal", "discount", "tax", "total")
_INSTANTS = ("created", "start", "end")


def difference(expect: Data, result: Data, engine: Data, zone: ZoneInfo, *, by_day: bool) -> str | None:
    """Return the first difference in words, None where there is none. engine - what the internal engine makes of the scenario.

    by_day - what is issued on one day counts as one invoice.
    """
    expect, result = _by_days(expect, zone), dict(result)
    result["invoices"] = [one for i in result["invoices"] if (one := _without_nothing(i)) is not None]
    if expect.get("complete") and not expect.get("ignore_zero"):
        said = zip(expect["invoices"], engine["invoices"], strict=True)
        expect["invoices"] = [_without_nothing(want) or {} for want, made in said if _without_nothing(made) is not None]
    if by_day:
        result["invoices"] = _together(result["invoices"], lambda i: moment(i["created"], zone).astimezone(zone).date().isoformat())
        if all("created_on" in i for i in expect.get("invoices", ())) and "invoices" in expect:
            expect["invoices"] = _together(expect["invoices"], lambda i: i["created_on"])
    return verdict(expect, result, zone)


def totals_by_day(result: Data, zone: ZoneInfo) -> dict[str, int]:
    """Return what is invoiced on each day, void invoices left out."""
    found: dict[str, int] = {}
    for invoice in result["invoices"]:
        if invoice["status"] != "void":
            day = moment(invoice["created"], zone).astimezone(zone).date().isoformat()
            found[day] = found.get(day, 0) + invoice["total"]
    return {day: total for day, total in found.items() if total}


def _by_days(want: Any, zone: ZoneInfo) -> Any:
    """Return an expectation whose instants are days."""
    if isinstance(want, list):
        return [_by_days(one, zone) for one in want]
    if not isinstance(want, dict):
        return want
    found: Data = {}
    for key, value in want.items():
        if key in _INSTANTS and isinstance(value, str):
            at = datetime.fromisoformat(value)
            found[f"{key}_on"] = (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(zone).date().isoformat()
        else:
            found[key] = _by_days(value, zone)
    return found


def _without_nothing(invoice: Data) -> Data | None:
    """Return an invoice without lines of nothing, None where that leaves nothing; what says no amounts stands."""
    lines = invoice.get("lines")
    kept = [line for line in lines if line.get("amount", 1)] if lines is not None else None
    if kept == [] and invoice.get("total", 0) == 0:
        return None
    return invoice if lines is None else {**invoice, "lines": kept}


def _together(invoices: list[Data], day: Any) -> list[Data]:
    """Return the invoices of each day as one: sums and lines, in order; void ones by themselves. What only some of them say is left out."""
    found: dict[Any, Data] = {}
    for number, invoice in enumerate(invoices):
        key = (day(invoice), number) if invoice.get("status") == "void" else day(invoice)
        if key not in found:
            found[key] = dict(invoice)
            continue
        before = found[key]
        found[key] = {k: v for k, v in before.items() if k in invoice and k not in ("status", "amount_due", "amount_paid", "amount_remaining")}
        found[key] |= {k: before[k] + invoice[k] for k in (*_SUMS, "lines") if k in before and k in invoice}
    return list(found.values())
