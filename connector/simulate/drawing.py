"""A contract on one time axis, in plain characters: a bar per item, marks for changes and invoices; at most 90 columns."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from connector.core.matching import quantity_text
from connector.core.schedule import timeline
from connector.core.segments import Segment
from connector.core.terms import Change, Contract

WIDTH = 72
_LABEL = 14
_SHOWN_ITEMS = 20
_LETTERS = {"amend": "A", "one-off": "O", "cancel": "C", "renew": "R", "pause": "P", "resume": "U"}


class _Axis:
    """Columns of the days from *start* to *stop*."""

    def __init__(self, start: datetime, stop: datetime) -> None:
        self.start, self.span = start, max(stop - start, timedelta(days=1))

    def column(self, at: datetime) -> int:
        """Return the column of an instant, 0 to WIDTH; what lies outside is moved to the nearer end."""
        return min(max((at - self.start) * WIDTH // self.span, 0), WIDTH)


def _row(label: str, cells: Iterable[str]) -> str:
    short = label if len(label) <= _LABEL else f"{label[: _LABEL - 2]}.."
    return f"{short:<{_LABEL}}  {''.join(cells)}".rstrip()


def _fill(segment: Segment) -> str:
    if segment.is_free:
        return "."
    return "=" if segment.price is segment.item.price else "-"


def _bar(axis: _Axis, segments: Iterable[Segment]) -> list[str]:
    """Return the bar of one item: its quantity where a stretch begins, then = paid, - paid trial, . free."""
    cells = [" "] * WIDTH
    for segment in segments:
        low, high = axis.column(segment.start), WIDTH if segment.end is None else axis.column(segment.end)
        cells[low:high] = _fill(segment) * (high - low)
        head = "|" + ("" if segment.item.quantity is None else quantity_text(segment.item.quantity))
        if len(head) < high - low:
            cells[low : low + len(head)] = head
    return cells


def _kind(change: Change) -> str:
    """Return what a change is called here: one that only adds items charged once is a one-off."""
    is_one_off = change.one_time and change == Change(
        id=change.id, kind="amend", effective=change.effective, made_at=change.made_at, one_time=change.one_time
    )
    return "one-off" if is_one_off else change.kind


def _legend(segments: Iterable[Segment], kinds: Iterable[str], *, has_several: bool) -> str:
    """Return what the letters and the uncommon signs mean; a paid bar explains itself."""
    parts = [f"{_LETTERS[k]} {k}" for k in dict.fromkeys(kinds)]
    parts += ["+ several"] if has_several else []
    fills = {_fill(s) for s in segments}
    return ", ".join(parts + [f"{sign} {word}" for sign, word in (("-", "paid trial"), (".", "free")) if sign in fills])


def _phases(axis: _Axis, starts: Iterable[datetime]) -> list[str]:
    """Return the number of each phase where it begins, as far as there is room."""
    cells = [" "] * WIDTH
    for number, start in enumerate(starts, 1):
        at, text = axis.column(start), f"|{number}"
        if at + len(text) <= WIDTH and cells[at] == " ":
            cells[at : at + len(text)] = text
    return cells


def _marks(axis: _Axis, at: Iterable[datetime]) -> list[str]:
    """Return one mark a column: * for one, the number of several, + for ten and more."""
    counts = [0] * WIDTH
    for instant in at:
        counts[min(axis.column(instant), WIDTH - 1)] += 1
    return [" " if n == 0 else "*" if n == 1 else str(n) if n < 10 else "+" for n in counts]


def drawn(contract: Contract, until: datetime, invoices: Iterable[datetime]) -> list[str]:
    """Return the contract's lines from its start to *until*, or to its end where that is later.

    invoices - when they were made. All instants are naive local ones.
    """
    plan = timeline(contract, horizon=until)
    axis = _Axis(contract.terms.start, max(until, plan.end or until))
    stop = axis.start + axis.span
    first, last = axis.start.date().isoformat(), stop.date().isoformat()
    out = [_row("", f"{first}{last:>{WIDTH - len(first)}}")]
    if len(contract.terms.phases) > 1:
        out.append(_row("phases", _phases(axis, (p.start for p in contract.terms.phases))))
    by_item: dict[str, list[Segment]] = {}
    for segment in plan.segments:
        if segment.start < stop:
            by_item.setdefault(segment.item.id, []).append(segment)
    shown = list(by_item.items())[:_SHOWN_ITEMS]
    out += [_row(s[0].item.price.description or s[0].item.price.product or name, _bar(axis, s)) for name, s in shown]
    if len(by_item) > len(shown):
        out.append(_row(f"and {len(by_item) - len(shown)} more", ""))
    cells = [" "] * WIDTH
    if contract.changes:
        for change in contract.changes:
            at = min(axis.column(change.effective), WIDTH - 1)
            letter = _LETTERS[_kind(change)]
            cells[at] = letter if cells[at] in (" ", letter) else "+"
        out.append(_row("changes", cells))
    legend = _legend((s for _, group in shown for s in group), (_kind(c) for c in contract.changes), has_several="+" in cells)
    if legend:
        out.append(_row("", [legend]))
    out.append(_row("invoices", _marks(axis, invoices)))
    return out
