"""Steps, plans and what Stripe holds as JSON text and back, exactly: what a push needs outlives the process that made it.

Canonical: the same value gives the same text (keys sorted, no spaces), so that texts can be compared. Versioned: a text of another
version is a ValueError, never half read. Three values that JSON does not know are written as objects with a `$` key, which no
parameter of Stripe's has: `{"$ref": "customer", "path": "id"}`, `{"$decimal": "0.125"}` and `{"$note": "lines", "lines": [...]}`. Tuples become lists, Mappings dicts;
an instant is int seconds, so a datetime in parameters is a bug of ours.

Worked example: `Step(name="item", call="invoice_items.create", params={"customer": Ref(step="customer"), "amount": 250})` is
`{"call":"invoice_items.create","name":"item","params":{"amount":250,"customer":{"$ref":"customer","path":"id"}}}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

import msgspec

from connector.billing.stripe_backend.steps import Held, NoteLine, NoteLines, Plan, Ref, Step
from connector.core.lines import Line
from connector.errors import Problem, invariant

VERSION = 1
_PLAIN = (str, int, bool, float, type(None))


def to_data(value: Any) -> Any:
    """Return parameters or an answer in what JSON has; InvariantError for a type that has no place in them."""
    if isinstance(value, Mapping):
        invariant(all(isinstance(k, str) and not k.startswith("$") for k in value), f"parameters have plain names: {sorted(map(str, value))}")
        return {k: to_data(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_data(v) for v in value]
    if isinstance(value, Ref):
        return {"$ref": value.step, "path": value.path, **({"or_none": True} if value.or_none else {})}
    if isinstance(value, NoteLines):
        return {"$note": value.step, "lines": [msgspec.to_builtins(line) for line in value.lines], "is_taxed": value.is_taxed}
    if isinstance(value, Decimal):
        return {"$decimal": str(value)}
    invariant(isinstance(value, _PLAIN), f"{type(value).__name__} has no place in the parameters of a step")
    return value


def from_data(data: Any) -> Any:
    """Return what `to_data` was given, with lists and dicts."""
    if isinstance(data, dict):
        if "$ref" in data:
            return Ref(step=data["$ref"], path=data["path"], or_none=bool(data.get("or_none")))
        if "$note" in data:
            return NoteLines(step=data["$note"], lines=tuple(msgspec.convert(line, NoteLine) for line in data["lines"]), is_taxed=data["is_taxed"])
        if "$decimal" in data:
            return Decimal(data["$decimal"])
        return {k: from_data(v) for k, v in data.items()}
    if isinstance(data, list):
        return [from_data(v) for v in data]
    return data


def _text(body: Any) -> str:
    return msgspec.json.encode({"body": body, "v": VERSION}, order="deterministic").decode()


def _body(text: str) -> Any:
    found = msgspec.json.decode(text)
    if not isinstance(found, dict) or found.get("v") != VERSION:
        version = found.get("v") if isinstance(found, dict) else None
        raise ValueError(f"written in version {version}, this is version {VERSION}")
    return found["body"]


def _step_to_data(step: Step) -> dict[str, Any]:
    """Return a step, without the fields that say nothing."""
    said = {f.name: getattr(step, f.name) for f in fields(Step)}
    return {name: to_data(value) for name, value in said.items() if name in ("name", "call") or value not in (None, (), {}, "")}


def _step_from_data(data: Mapping[str, Any]) -> Step:
    said: dict[str, Any] = {name: from_data(value) for name, value in data.items()}
    told: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in said.items()}
    return Step(**told)


def push_text(value: Plan | Mapping[str, Any]) -> str:
    """Return a plan as text; or the results or tries of a push."""
    if isinstance(value, Plan):
        rest = msgspec.to_builtins(replace(value, steps=()))
        return _text({**rest, "steps": [_step_to_data(step) for step in value.steps]})
    return _text(to_data(value))


def plan_from_text(text: str) -> Plan:
    """Return a plan; ValueError if another version wrote it."""
    body = _body(text)
    plan = msgspec.convert({**body, "steps": []}, Plan)
    return replace(plan, steps=tuple(_step_from_data(step) for step in body["steps"]))


def results_from_text(text: str) -> dict[str, Any]:
    """Return the results (or tries) of a push; ValueError if another version wrote them."""
    return dict(from_data(_body(text)))


def held_text(held: Held) -> str:
    """Return what Stripe holds of a contract as text."""
    return _text(msgspec.to_builtins(held))


def held_from_text(text: str) -> Held:
    """Return what Stripe holds of a contract; ValueError if another version wrote it."""
    return msgspec.convert(_body(text), Held)


def line_text(line: Line) -> str:
    """Return a line of ours as text."""
    return _text(msgspec.to_builtins(line))


def line_from_text(text: str) -> Line:
    """Return a line of ours; ValueError if another version wrote it."""
    return msgspec.convert(_body(text), Line)


def problem_text(problem: Problem) -> str:
    """Return why a push was refused as text."""
    return _text(msgspec.to_builtins(problem))


def problem_from_text(text: str) -> Problem:
    """Return why a push was refused; ValueError if another version wrote it."""
    return msgspec.convert(_body(text), Problem)
