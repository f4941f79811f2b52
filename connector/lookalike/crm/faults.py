"""What a test may make the demo CRM do wrong: each knob is one documented behaviour of the real thing.

`faults.apply({"late_commit": {"seconds": 540}, "child_page_size": 199})` turns two knobs; `{"reset": true}` turns all off, and
`{"reset": ["lock"]}` one. The same body goes by POST /demo/faults. docs/demo-crm.md lists every knob with an example.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from connector.lookalike.crm.failures import FailNext, fail_next
from connector.lookalike.crm.ids import id18
from connector.lookalike.crm.refusal import Refusal

_LOCATOR_LIFE_S = 2 * 24 * 3600
_LOCKED = "unable to obtain exclusive access to this record or 1 records"
Change = Callable[["Faults"], None]


@dataclass(slots=True, kw_only=True)
class Drop:
    """The next *times* calls of *kind* lose their reply: `before` they are carried out, or `after` it. "" - any write."""

    when: str
    times: int = 1
    kind: str = ""


@dataclass(slots=True, kw_only=True)
class Late:
    """The next *times* transactions are seen *seconds* after they were made, with the stamps of then.

    by - `others`: those of anybody but the integration user; `any`: everybody's.
    """

    seconds: int
    times: int = 1
    by: str = "others"


@dataclass(slots=True, kw_only=True)
class Faults:
    """The knobs, all off at first.

    locked - id of a record or its account -> how many saves still fail with UNABLE_TO_LOCK_ROW. refused - id -> the error of a
    rule that never lets a save through. required - (object, field) -> the message of the rule that wants it filled.
    record_locks - ids under an approval. window_s - widest window of stamps that a query survives. page_range - smallest,
    largest and seed of the sizes of pages.
    """

    fail: list[FailNext] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)
    late: list[Late] = field(default_factory=list)
    frozen_stamp: str = ""
    hidden: set[tuple[str, str]] = field(default_factory=set)
    read_only: set[tuple[str, str]] = field(default_factory=set)
    calculated: set[tuple[str, str]] = field(default_factory=set)
    not_unique: set[tuple[str, str]] = field(default_factory=set)
    locked: dict[str, int] = field(default_factory=dict)
    refused: dict[str, Refusal] = field(default_factory=dict)
    required: dict[tuple[str, str], str] = field(default_factory=dict)
    record_locks: set[str] = field(default_factory=set)
    page_size: int = 2000
    page_range: Random | None = None
    page_bounds: tuple[int, int] = (200, 2000)
    child_page_size: int = 200
    locator_life_s: int = _LOCATOR_LIFE_S
    locator_life_pages: int = 0
    limit_reached: bool = False
    limit_suffix: str = ""
    limit_used: int | None = None
    limit_max: int | None = None
    latency_ms: int = 0
    bulk_polls: int = 0
    clock_skew_s: int = 0
    window_s: int = 0
    timeout_rows: int = 0
    retired_below: int = 0
    instance_url: str = ""
    generation: int = 0

    def apply(self, spec: dict[str, Any]) -> None:
        """Set the knobs named in *spec*: all of them, or none. Raises: Refusal with everything that is wrong."""
        problems: list[str] = []
        changes: list[Change] = []
        for name, value in sorted(spec.items(), key=lambda one: one[0] != "reset"):
            read = _KNOBS.get(name)
            if read is None:
                problems.append(f"there is no knob {name}; there are {', '.join(_KNOBS)}")
                continue
            try:
                changes.append(read(value))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                problems.append(f"{name}: {error}")
        if problems:
            raise Refusal("INVALID_INPUT", "; ".join(problems))
        for change in changes:
            change(self)
        self.generation += 1

    def failing(self, kind: str) -> FailNext | None:
        """Return the failure that the next call of *kind* must get, and count it."""
        return next((one for one in self.fail if one.takes(kind)), None)

    def drops_reply(self, when: str, kind: str, *, is_write: bool) -> bool:
        """Say whether the reply of this call is lost at that moment, and count it."""
        for one in self.drops:
            if one.when == when and one.times > 0 and (one.kind == kind or (not one.kind and is_write)):
                one.times -= 1
                return True
        return False

    def holding(self, *, is_integration: bool) -> int:
        """Return for how many seconds the transaction that ends now stays unseen, and count it."""
        for one in self.late:
            if one.times > 0 and (one.by == "any" or not is_integration):
                one.times -= 1
                return one.seconds
        return 0

    def next_page_size(self) -> int:
        """Return how many rows the next page holds at most."""
        if self.page_range is None:
            return self.page_size
        return self.page_range.randint(*self.page_bounds)

    def check_save(self, records: tuple[str | None, ...]) -> None:
        """Raise the Refusal that a save of these records (itself, its account) must get."""
        if not self.locked and not self.refused and not self.record_locks:
            return
        if records[0] in self.record_locks:
            text = (
                "the entity is locked for editing. This record is locked. If you need to edit it, contact your admin."
            )
            raise Refusal("ENTITY_IS_LOCKED", text)
        for record in records:
            if record and self.locked.get(record, 0) > 0:
                self.locked[record] -= 1
                raise Refusal("UNABLE_TO_LOCK_ROW", f"{_LOCKED}: {records[0]}")
        if records[0] in self.refused:
            raise self.refused[records[0]]

    def check_filled(self, kind: str, draft: dict[str, Any]) -> None:
        """Raise the Refusal of a rule that wants a field of the record filled."""
        for (owner, name), message in self.required.items():
            if owner == kind and draft.get(name) in (None, ""):
                raise Refusal("FIELD_CUSTOM_VALIDATION_EXCEPTION", message, fields=(name,))

    def shown(self) -> dict[str, Any]:
        """Return the knobs that are on, for people."""
        fresh = Faults()
        changed = {name: getattr(self, name) for name in self.__slots__ if name not in ("generation", "page_range")}
        out = {name: _plain(value) for name, value in changed.items() if value != getattr(fresh, name)}
        return out | ({"page_sizes": list(self.page_bounds)} if self.page_range else {})


def locked_record() -> Refusal:
    """Return the refusal of a record that an approval or a rule has locked."""
    return Refusal("ENTITY_IS_LOCKED", "This record is locked. If you need to edit it, contact your admin.")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {".".join(key) if isinstance(key, tuple) else str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(".".join(one) if isinstance(one, tuple) else str(one) for one in value)
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, Refusal):
        return value.entry()
    if isinstance(value, (FailNext, Drop, Late)):
        return {name: _plain(getattr(value, name)) for name in value.__slots__}
    return value


# -- reading knobs: value -> the change it asks for. Raises: ValueError, or what a value of the wrong shape brings -----------


def _set(attribute: str, check: Callable[[Any], Any]) -> Callable[[Any], Change]:
    def read(value: Any) -> Change:
        checked = check(value)
        return lambda faults: setattr(faults, attribute, checked)

    return read


def _extend(attribute: str, check: Callable[[Any], Any]) -> Callable[[Any], Change]:
    def read(value: Any) -> Change:
        if not isinstance(value, (list, tuple, set)):
            raise TypeError("takes a list")
        checked = [check(one) for one in value]

        def change(faults: Faults) -> None:
            held = getattr(faults, attribute)
            held.update(checked) if isinstance(held, set) else held.extend(checked)

        return change

    return read


def _drop_fields(attribute: str) -> Callable[[Any], Change]:
    def read(value: list[str]) -> Change:
        names = {_field(one) for one in value}
        return lambda faults: setattr(faults, attribute, getattr(faults, attribute) - names)

    return read


def _fill(attribute: str, key: Callable[[str], Any], check: Callable[[Any], Any]) -> Callable[[Any], Change]:
    def read(value: dict[str, Any]) -> Change:
        checked = {key(name): check(one) for name, one in value.items()}
        return lambda faults: getattr(faults, attribute).update(checked)

    return read


def _number(low: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise ValueError(f"takes a whole number, {low} or more")
        return value

    return check


def _maybe_number(value: Any) -> int | None:
    return None if value is None else _number(0)(value)


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("takes true or false")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("takes a text")
    return value


def _signed(value: Any) -> int:
    return _number(-(10**9))(value)


def _field(dotted: Any) -> tuple[str, str]:
    kind, dot, name = _text(dotted).partition(".")
    if not dot or not kind or not name:
        raise ValueError("names a field as Object.Field")
    return kind, name


def _record(value: Any) -> str:
    full = id18(_text(value))
    if full is None:
        raise ValueError(f"{value} is no record id")
    return full


def _rule(value: Any) -> Refusal:
    if isinstance(value, str):
        return Refusal("FIELD_CUSTOM_VALIDATION_EXCEPTION", value)
    code, fields = value.get("code", "FIELD_CUSTOM_VALIDATION_EXCEPTION"), tuple(value.get("fields", ()))
    return Refusal(_text(code), _text(value["message"]), fields=fields)


def _late(value: Any) -> Change:
    seconds, by = _number(1)(value["seconds"]), value.get("by", "others")
    if by not in ("others", "any"):
        raise ValueError('`by` is "others" or "any"')
    one = Late(seconds=seconds, times=_number(1)(value.get("times", 1)), by=by)
    return lambda faults: faults.late.append(one)


def _drop(value: Any) -> Drop:
    if value["when"] not in ("before", "after"):
        raise ValueError('`when` is "before" or "after" the call is carried out')
    return Drop(when=value["when"], times=_number(1)(value.get("times", 1)), kind=_text(value.get("kind", "")))


def _drop_times(when: str) -> Callable[[Any], Change]:
    def read(value: Any) -> Change:
        times = _number(0)(value)
        return lambda faults: faults.drops.append(Drop(when=when, times=times))

    return read


def _page_sizes(value: Any) -> Change:
    low, high, seed = _number(1)(value.get("min", 200)), _number(1)(value.get("max", 2000)), value.get("seed", 1)
    if low > high:
        raise ValueError("`min` is at most `max`")

    def change(faults: Faults) -> None:
        faults.page_bounds, faults.page_range = (low, high), Random(seed)  # noqa: S311 - sizes of pages keep no secret

    return change


_OWN_NAME = {
    "hide": "hidden", "lock": "locked", "refuse": "refused", "require": "required", "drop": "drops", "late_commit": "late",
    "equal_stamps": "frozen_stamp", "query_timeout_over_s": "window_s", "query_timeout_over_rows": "timeout_rows",
    "drop_after_commit": "drops", "drop_before_commit": "drops", "page_sizes": "page_range", "formula": "calculated",
}  # fmt: skip


def _reset(value: Any) -> Change:
    if value is not True and not (isinstance(value, list) and all(one in _KNOBS for one in value)):
        raise ValueError("takes true, or a list of knobs")
    names = (
        [one for one in Faults.__slots__ if one != "generation"]
        if value is True
        else [_OWN_NAME[one] if one in _OWN_NAME else str(one) for one in value]
    )

    def change(faults: Faults) -> None:
        fresh = Faults()
        for name in names:
            setattr(faults, name, getattr(fresh, name))

    return change


def _nothing(value: Any) -> Change:
    """Check a knob that the control endpoint turns: it is no state."""
    _bool(value)
    return lambda _faults: None


def _frozen(value: Any) -> Change:
    if not isinstance(value, (bool, str)):
        raise TypeError("takes true, false or an instant")
    return lambda faults: setattr(faults, "frozen_stamp", "" if value is False else "now" if value is True else value)


_KNOBS: dict[str, Callable[[Any], Change]] = {
    "reset": _reset,
    "fail": _extend("fail", fail_next),
    "drop": _extend("drops", _drop),
    "drop_after_commit": _drop_times("after"),
    "drop_before_commit": _drop_times("before"),
    "late_commit": _late,
    "equal_stamps": _frozen,
    "clock_skew_s": _set("clock_skew_s", _signed),
    "hide": _extend("hidden", _field),
    "show": _drop_fields("hidden"),
    "read_only": _extend("read_only", _field),
    "writable": _drop_fields("read_only"),
    "formula": _extend("calculated", _field),
    "not_unique": _extend("not_unique", _field),
    "lock": _fill("locked", _record, _number(0)),
    "refuse": _fill("refused", _record, _rule),
    "require": _fill("required", _field, _text),
    "record_locks": _extend("record_locks", _record),
    "page_size": _set("page_size", _number(1)),
    "page_sizes": _page_sizes,
    "child_page_size": _set("child_page_size", _number(1)),
    "locator_life_s": _set("locator_life_s", _number(0)),
    "locator_life_pages": _set("locator_life_pages", _number(0)),
    "forget_locators": _nothing,
    "query_timeout_over_s": _set("window_s", _number(0)),
    "query_timeout_over_rows": _set("timeout_rows", _number(0)),
    "limit_reached": _set("limit_reached", _bool),
    "limit_suffix": _set("limit_suffix", _text),
    "limit_used": _set("limit_used", _maybe_number),
    "limit_max": _set("limit_max", _maybe_number),
    "revoke_tokens": _nothing,
    "instance_url": _set("instance_url", _text),
    "retired_below": _set("retired_below", _number(0)),
    "latency_ms": _set("latency_ms", _number(0)),
    "bulk_polls": _set("bulk_polls", _number(0)),
}
