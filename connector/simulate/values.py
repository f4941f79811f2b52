"""Plain values of a scenario file: words, numbers, instants and names, with a complaint at the path of each bad one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from connector.core.period import Interval, to_local

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """A problem at a path of the file; at_key - it is the key that is wrong, not its value."""

    code: str
    path: Path
    message: str
    hint: str = ""
    at_key: bool = False


class Values:
    """Reads plain values and collects complaints; a value that cannot be read becomes its default."""

    def __init__(self, tree: Any) -> None:
        self.tree = tree
        self.complaints: list[Complaint] = []
        self.timezone = "UTC"

    # ------------------------------------------------------------------ plain values

    def complain(self, code: str, path: Path, message: str, hint: str = "", *, at_key: bool = False) -> None:
        """Note a problem at *path*."""
        self.complaints.append(Complaint(code=code, path=path, message=message, hint=hint, at_key=at_key))

    def mapping(self, value: Any, path: Path, keys: Iterable[str], required: Iterable[str] = ()) -> dict[str, Any]:
        """Return a mapping whose keys are known; unknown and missing ones are problems."""
        if not isinstance(value, dict):
            self.complain("wrong-type", path, f"{name_of(path)} must be a mapping, not {shown(value)}.")
            return {}
        known = (*keys, "description")
        for key in value:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1)
                hint = f'Did you mean "{near[0]}"?' if near else f"Known are: {', '.join(sorted(known))}."
                self.complain("unknown-key", (*path, key), f"{name_of(path)} has no key {key!r}.", hint, at_key=True)
        for key in required:
            if value.get(key) is None:
                self.complain("missing-key", path, f"{name_of(path)} needs the key {key!r}.")
        return value

    def listed(self, value: Any, path: Path) -> list[Any]:
        """Return a list, empty where the value is blank."""
        if value is None:
            return []
        if not isinstance(value, list):
            self.complain("wrong-type", path, f"{name_of(path)} must be a list, not {shown(value)}.")
            return []
        return value

    def word(self, value: Any, path: Path, words: Iterable[str], default: str) -> Any:
        """Return one of *words*."""
        if value is None:
            return default
        if value not in tuple(words):
            near = difflib.get_close_matches(str(value), tuple(words), n=1)
            hint = f'Did you mean "{near[0]}"?' if near else f"It is one of: {', '.join(words)}."
            self.complain("unknown-value", path, f"{name_of(path)} is {shown(value)}.", hint)
            return default
        return value

    def whole(self, value: Any, path: Path, default: int, *, low: int | None = None) -> int:
        """Return an integer, at least *low*."""
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            self.complain(
                "not-an-integer",
                path,
                f"{name_of(path)} must be a whole number, not {shown(value)}.",
                "Amounts are in minor units.",
            )
            return default
        if low is not None and value < low:
            self.complain("too-small", path, f"{name_of(path)} is {value}, but must be at least {low}.")
            return default
        return value

    def number(
        self, value: Any, path: Path, *, is_money: bool = False, default: Decimal | None = None
    ) -> Decimal | None:
        """Return a decimal; money with a point must stand in quotes."""
        if value is None:
            return default
        if isinstance(value, bool) or (is_money and isinstance(value, (Decimal, float))):
            hint = 'Write minor units: 1050 for 10.50, or "0.5" in quotes for less than one.'
            self.complain("not-money", path, f"{name_of(path)} is {shown(value)}.", hint)
            return default
        try:
            found = Decimal(str(value).strip())
            exponent = found.as_tuple().exponent
            if found.is_finite() and isinstance(exponent, int) and exponent >= -12 and abs(found) < Decimal(10) ** 18:
                return found
        except InvalidOperation:
            pass
        self.complain(
            "not-a-number", path, f"{name_of(path)} is {shown(value)}, not a number with at most 12 decimals."
        )
        return default

    def truth(self, value: Any, path: Path, *, default: bool) -> bool:
        """Return true or false."""
        if value is None:
            return default
        if not isinstance(value, bool):
            self.complain("wrong-type", path, f"{name_of(path)} must be true or false, not {shown(value)}.")
            return default
        return value

    def instant(self, value: Any, path: Path) -> datetime | None:
        """Return a date as its midnight, an instant with offset in local time."""
        if value is None:
            return None
        text = value if isinstance(value, str) else str(value)
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            at = None
        if at is None or (at.tzinfo is None and len(text) > 10):
            hint = "Write 2026-04-16, or 2026-04-16T12:00:00Z with an offset."
            self.complain("not-an-instant", path, f"{name_of(path)} is {shown(value)}.", hint)
            return None
        return to_local(at, self.timezone)

    def interval(self, value: Any, path: Path, extra: Iterable[str] = ()) -> Interval | None:
        """Return a length of time from its `interval` and `interval_count`."""
        if value is None:
            return None
        data = self.mapping(value, path, ("interval", "interval_count", *extra), ("interval",))
        unit = self.word(data.get("interval"), (*path, "interval"), ("day", "week", "month", "year"), "month")
        return Interval(unit=unit, count=self.whole(data.get("interval_count"), (*path, "interval_count"), 1, low=1))

    def named(self, value: Any, path: Path, known: Mapping[str, Any], what: str) -> Any:
        """Return what a name stands for in one of the lists above the contract."""
        if isinstance(value, str) and value in known:
            return known[value]
        near = difflib.get_close_matches(str(value), tuple(known), n=1)
        hint = f'Did you mean "{near[0]}"?' if near else f"Known are: {', '.join(known) or 'none'}."
        self.complain(f"unknown-{what}", path, f"There is no {what.replace('-', ' ')} {shown(value)}.", hint)
        return None

    def all_named(self, value: Any, path: Path, known: Mapping[str, Any], what: str) -> tuple[Any, ...]:
        """Return what a list of names stands for."""
        found = (self.named(v, (*path, i), known, what) for i, v in enumerate(self.listed(value, path)))
        return tuple(f for f in found if f is not None)


def name_of(path: Path) -> str:
    """Return a path as people read it."""
    return ".".join(str(p) for p in path) if path else "The scenario"


def shown(value: Any) -> str:
    """Return a bad value, shortened."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
