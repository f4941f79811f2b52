"""Leaves of a mapping as functions: what a record holds at a leaf, converted, with words for people when it does not fit.

A `Leaf` is made once per key when the mapping is compiled. Its `read` takes a record dict and a `Reading` (the notebook of
one record) and returns text, a word of ours, Decimal, int, bool, or a civil day as naive midnight; None is "empty". It never
raises for what people wrote: a complaint goes into the notebook, in the labels that a rep sees on the screen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, DecimalException
from typing import Any

from connector.errors import Problem, Where
from connector.mapping.conditions import getter
from connector.mapping.functions import ExpressionError, parsed_expression
from connector.mapping.language import Describe, Kind, Slot, Value, field_at, lookup_named, payment_days, settled
from connector.ports import Org

Record = Mapping[str, Any]
Read = Callable[[Record, "Reading"], Any]

_FIRST_YEAR, _LAST_YEAR = 1970, 2199
_DAYS_KEPT = 20_000
_MAX_WHOLE = 100_000
_DAY_LENGTH = 10
AGAIN = "; it is tried again by itself."


class Reading:
    """The notebook of one record while it is mapped: its problems, the stated defaults it used, values of the deal."""

    __slots__ = ("deal_record", "deal_values", "line_record", "notes", "object", "problems", "record", "subject")

    def __init__(self, object_name: str, record: str, deal_record: Record) -> None:
        self.object = object_name
        self.record = record
        self.deal_record = deal_record
        self.deal_values: dict[str, Any] = {}
        self.line_record: tuple[str, str] | None = None
        self.subject = ""
        self.problems: list[Problem] = []
        self.notes: list[str] = []

    def fail(self, code: str, message: str, hint: str, field: str | None = None) -> None:
        """Record a problem of the record, or of the line it is at; *message* goes on after "Not billed: "."""
        object_name, record = self.line_record or (self.object, self.record)
        where = Where(object=object_name, record=record, field=field)
        self.problems.append(Problem(code=code, message=f"Not billed: {self.subject}{message}", hint=hint, where=where))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A field as people find it: its label, and the lookups that lead to it with their labels, outermost first."""

    path: str
    label: str
    of: str
    hops: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """The field and whose it is, for any record: "Billing Price on the product"."""
        return f"{self.label} on {f'the {self.hops[-1][1].lower()}' if self.hops else self.of}"

    def text(self, record: Record) -> str:
        """Return where to fill it for this record: the first empty lookup on the way, else the field itself."""
        owner = self.of
        current: Any = record
        for hop, label in self.hops:
            current = current.get(hop) if current else None
            if not current:
                return f"{label} on {owner}"
            owner = f"the {label.lower()}"
        return f"{self.label} on {owner}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """One key of `deal` or `line`, compiled. raw - what the CRM holds, before default and translation."""

    key: str
    label: str
    read: Read
    raw: Callable[[Record], Any]
    places: tuple[Place, ...]
    rule: str
    paths: tuple[str, ...]

    @property
    def field(self) -> str | None:
        """Return the path that a problem names."""
        return self.places[0].path if self.places else None

    def fill(self, record: Record) -> str:
        """Return what to fill: `A on this opportunity or B on the account`."""
        spots = dict.fromkeys(place.text(record) for place in self.places)
        return " or ".join(spots) or self.label


def _nothing(record: Record, reading: Reading) -> None:
    return None


def absent(key: str) -> Leaf:
    """Return the leaf of a key that the mapping leaves out: always empty."""
    return Leaf(key=key, label=key, read=_nothing, raw=lambda record: None, places=(), rule="", paths=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What leaves are compiled against: the object they read, how people call its record, and the org."""

    object: str
    of: str
    describe: Describe
    org: Org
    deal: Mapping[str, Leaf]


def leaf_for(key: str, slot: Slot, value: Value, scene: Scene) -> Leaf:
    """Return the compiled leaf of *value*, which fills *slot*."""
    paths = settled(value, scene.describe, scene.object, is_multi_currency=scene.org.is_multi_currency)
    places = tuple(place_of(path, scene) for path in paths if not path.startswith("$"))
    label = places[0].label if places else key
    expr_paths = parsed_expression(value.expr).paths if value.how == "expr" else ()
    when_paths = parsed_expression(value.when).paths if value.when else ()
    read_paths = tuple(path for path in (*paths, *expr_paths, *when_paths) if not path.startswith("$"))
    raw = _guarded(_raw(value, paths, scene), value)
    field = places[0].path if places else None
    own = paths[0] if len(paths) == 1 and value.how == "field" and not value.when and "." not in paths[0] and paths[0][0] != "$" else None
    read = _as_it_is(slot, value, raw, own) or _reader(raw, _converter(slot, value, label), _blank(value, scene, label, slot), field, own)
    return Leaf(key=key, label=label, read=read, raw=raw, places=places, rule=_rule(value, paths), paths=read_paths)


def place_of(path: str, scene: Scene) -> Place:
    """Return how people find the field at *path*."""
    hops: list[tuple[str, str]] = []
    current = scene.object
    for hop in path.split(".")[:-1]:
        lookup = lookup_named(scene.describe, current, hop)
        name = (lookup.label or hop) if lookup else hop
        hops.append((hop, name.removesuffix(" ID").rstrip("2")))  # people say product, not Product2
        current = lookup.reference_to[0] if lookup and lookup.reference_to else ""
    _, info, _ = field_at(scene.describe, scene.object, path)
    label = (info.label or info.name) if info else path
    return Place(path=path, label=label.removesuffix(" ID"), of=scene.of, hops=tuple(hops))


def _raw(value: Value, paths: tuple[str, ...], scene: Scene) -> Callable[[Record], Any]:
    if value.how == "value":
        literal = value.literal
        return lambda record: literal
    if value.how == "expr":
        return parsed_expression(value.expr).evaluate
    reads = tuple(_source(path, scene.org) for path in paths)
    if not reads:
        return lambda record: None
    if len(reads) == 1:
        return reads[0]

    def first(record: Record) -> Any:
        for read in reads:
            found = read(record)
            if found is not None and found != "":
                return found
        return None

    return first


def _source(path: str, org: Org) -> Callable[[Record], Any]:
    constants = {"$org.currency": None if org.is_multi_currency else org.currency, "$org.multi_currency": org.is_multi_currency}
    if path in constants:
        constant = constants[path]
        return lambda record: constant
    return getter(path)


def _guarded(raw: Callable[[Record], Any], value: Value) -> Callable[[Record], Any]:
    if not value.when:
        return raw
    holds = parsed_expression(value.when).evaluate
    return lambda record: raw(record) if holds(record) else None


def _blank(value: Value, scene: Scene, label: str, slot: Slot) -> Callable[[Reading], Any] | None:
    """Return what an empty source becomes; None: it stays empty."""
    default = value.default
    if default is None:
        return None
    if isinstance(default, str) and default.startswith("$deal."):
        name = default[len("$deal.") :]
        leaf = scene.deal[name]

        def of_deal(reading: Reading) -> Any:
            values = reading.deal_values
            if name not in values:
                subject, line = reading.subject, reading.line_record
                reading.subject, reading.line_record = "", None
                values[name] = leaf.read(reading.deal_record, reading)
                reading.subject, reading.line_record = subject, line
            return values[name]

        return of_deal
    note = f"{label}: {default} by default"
    convert = _converter(slot, value, label)
    fixed = convert(default)

    def stated(reading: Reading) -> Any:
        if note not in reading.notes:
            reading.notes.append(note)
        return fixed

    return stated


class _UnfitError(Exception):
    """A value that does not fit its slot: what is wrong with it, and what to do."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        self.code = code
        self.message = message
        self.hint = hint
        super().__init__(message)


def _as_it_is(slot: Slot, value: Value, raw: Callable[[Record], Any], own: str | None) -> Read | None:
    """Return the quick way for fields whose type already is what the slot takes; None where there is something to do."""
    if slot.kind not in ("text", "id", "boolean") or value.how not in ("field", "first", "if_exists"):
        return None
    if value.when or value.as_kind or value.default is not None or value.values or any(p.startswith("$") for p in value.paths):
        return None
    if own is not None:
        return lambda record, reading: record.get(own)
    return lambda record, reading: raw(record)


def _reader(
    raw: Callable[[Record], Any],
    convert: Callable[[Any], Any],
    blank: Callable[[Reading], Any] | None,
    field: str | None,
    own: str | None,
) -> Read:
    """Return the leaf's `read`; *own* - the field, where it is one of the record itself, read without a further call."""

    def read(record: Record, reading: Reading) -> Any:
        try:
            value = raw(record) if own is None else record.get(own)
            if value is None or value == "":
                return None if blank is None else blank(reading)
            return convert(value)
        except _UnfitError as unfit:
            reading.fail(unfit.code, unfit.message, unfit.hint, field)
        except ExpressionError as error:
            reading.fail("expression-failed", f"the mapping cannot calculate a value: {error.message}", "Ask the admin of the mapping.", field)
        return None

    return read


# ---------------------------------------------------------------- conversions


_days: dict[str, datetime] = {}


def day_from_text(text: str) -> datetime:
    """Return the midnight of a day written 2026-01-31. Raises: ValueError."""
    found = _days.get(text)
    if found is None:
        found = datetime.fromisoformat(text[:_DAY_LENGTH])
        if len(_days) >= _DAYS_KEPT:
            _days.clear()
        _days[text] = found
    return found


def _converter(slot: Slot, value: Value, label: str) -> Callable[[Any], Any]:
    if slot.kind in ("word", "days"):
        return _worded(slot, value, label)
    return _CONVERTERS[slot.kind](label)


def _worded(slot: Slot, value: Value, label: str) -> Callable[[Any], Any]:
    table: dict[Any, str | int] = dict(value.values or ())

    def translated(found: Any) -> str | int:
        word = table.get(found)
        if word is None:
            word = table.get(str(found))
        if word is None:
            hint = f"Choose one of {', '.join(table)}, or ask the admin to add it to the mapping{AGAIN}"
            raise _UnfitError("unmapped-value", f'{label} "{found}" is not known to the mapping.', hint)
        return word

    def understood(found: Any) -> str | int:
        terms = payment_days(str(found))
        if terms is None:
            raise _UnfitError("unmapped-value", f'{label} "{found}" are no payment terms.', f"Write Net 30 or Due on receipt{AGAIN}")
        return terms

    def one_of(found: Any) -> str:
        if found not in slot.words:
            raise _UnfitError("unmapped-value", f'{label} "{found}" is none of {", ".join(slot.words)}.', "Ask the admin of the mapping.")
        return str(found)

    if table:
        return translated
    return understood if slot.kind == "days" else one_of


def _texts(label: str) -> Callable[[Any], Any]:
    return lambda found: found if type(found) is str else format(found, "f") if isinstance(found, Decimal) else str(found)


def _dates(label: str) -> Callable[[Any], Any]:
    days = _days

    def convert(found: Any) -> datetime:
        try:
            day = days.get(found) or day_from_text(found)
        except (ValueError, TypeError):
            raise _UnfitError("not-a-date", f'{label} "{found}" is no date.', f"Write it as 2026-01-31{AGAIN}") from None
        if not _FIRST_YEAR <= day.year <= _LAST_YEAR:
            hint = f"Write a year from {_FIRST_YEAR} to {_LAST_YEAR}{AGAIN}"
            raise _UnfitError("date-out-of-range", f'{label} "{found}" is no day that can be billed.', hint)
        return day

    return convert


def _instants(label: str) -> Callable[[Any], Any]:
    def convert(found: Any) -> datetime:
        try:
            at = datetime.fromisoformat(found)
        except (ValueError, TypeError):
            raise _UnfitError("not-a-date", f'{label} "{found}" is no instant.', "Ask the admin of the mapping.") from None
        return at if at.tzinfo else at.replace(tzinfo=UTC)

    return convert


def _numbers(label: str) -> Callable[[Any], Any]:
    def convert(found: Any) -> Decimal:
        if type(found) is Decimal and found.is_finite():
            return found
        try:
            number = Decimal("NaN") if isinstance(found, bool) else Decimal(found)
        except (DecimalException, TypeError, ValueError):
            number = Decimal("NaN")
        if not number.is_finite():
            raise _UnfitError("not-a-number", f'{label} "{found}" is no number.', f"Correct it{AGAIN}")
        return number

    return convert


def _wholes(label: str) -> Callable[[Any], Any]:
    as_number = _numbers(label)

    def convert(found: Any) -> int:
        number = found if type(found) is int else as_number(found)
        if number != int(number) or abs(number) > _MAX_WHOLE:
            raise _UnfitError("not-a-whole-number", f"{label} {found} is no whole number up to {_MAX_WHOLE}.", f"Correct it{AGAIN}")
        return int(number)

    return convert


def _booleans(label: str) -> Callable[[Any], Any]:
    def convert(found: Any) -> bool:
        if isinstance(found, bool):
            return found
        raise _UnfitError("not-a-checkbox", f'{label} "{found}" is neither true nor false.', "Ask the admin of the mapping.")

    return convert


_CONVERTERS: Mapping[Kind, Callable[[str], Callable[[Any], Any]]] = {
    "text": _texts,
    "id": _texts,
    "date": _dates,
    "datetime": _instants,
    "integer": _wholes,
    "decimal": _numbers,
    "percent": _numbers,
    "money": _numbers,
    "boolean": _booleans,
}


def _rule(value: Value, paths: tuple[str, ...]) -> str:
    """Return the leaf's rule in words, for previews."""
    words = {
        "field": "as it is",
        "first": f"first of {', '.join(paths)}",
        "if_exists": f"{', '.join(paths) or 'nothing'}, the first that exists here",
        "value": "said in the mapping",
        "expr": value.expr,
    }
    parts = [words[value.how]]
    if value.values:
        parts.append("values " + ", ".join(f"{k} = {v}" for k, v in value.values))
    if value.default is not None:
        parts.append(f"empty = {value.default}")
    if value.when:
        parts.append(f"when {value.when}")
    return "; ".join(parts)
