"""The JSON Schema of mapping files, for editors: made of the same tables that the checker uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connector.mapping.language import AS_KINDS, DEAL, DISCOUNT, LINE, PER, WRITABLE, Slot

Schema = dict[str, Any]


def schema() -> Schema:
    """Return the JSON Schema (2020-12) of a mapping file."""
    condition = {"type": "string", "description": "a condition in a subset of SOQL"}
    path = {"type": "string", "description": "a field path"}
    source = _object(
        {
            "object": {"type": "string"},
            "name": path,
            "when": condition,
            "open": condition,
            "drop": condition,
            "preview": condition,
            "lines": _object({"object": {"type": "string"}, "parent": path, "skip": path}, ("object", "parent")),
            "start_from": {"type": "string", "format": "date"},
            "instead_of": path,
        },
        ("object", "name", "when", "lines"),
    )
    line = _block(LINE)
    line["properties"]["price"]["properties"]["per"] = {"enum": list(PER)}
    line["properties"]["price"]["required"].append("per")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "connector mapping",
        **_object(
            {
                "version": {"const": 1},
                "name": {"type": "string"},
                "source": source,
                "deal": _block(DEAL),
                "line": line,
                "write_back": {"type": "object", "additionalProperties": {"anyOf": [_rows(per) for per in WRITABLE]}},
                "edits": {"enum": ["flag", "amend"]},
                "on_reopen": {"enum": ["flag", "pause"]},
            },
            ("version", "name", "source", "deal", "line", "write_back"),
        ),
        "$defs": {"expression": {"type": "string", "description": "an expression of the mapping language"}},
    }


def _object(properties: Schema, required: tuple[str, ...] = ()) -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": properties, "required": list(required)}


def _block(slots: Mapping[str, Slot]) -> Schema:
    """Return the schema of a block whose keys are dotted: `price.unit_amount` lies in `price`."""
    properties: Schema = {}
    required: list[str] = []
    for key, slot in slots.items():
        head, _, rest = key.partition(".")
        if not rest:
            properties[head] = _leaf(slot)
            required += [head] if slot.is_required else []
        elif head not in properties:
            inner = {k.partition(".")[2]: s for k, s in slots.items() if k.startswith(head + ".")}
            properties[head] = _block(inner)
            required += [head] if any(s.is_required for s in inner.values()) else []
    if "discounts" not in properties and any(key in slots for key in ("start",)):
        discount = {key: _leaf(slot) for key, slot in DISCOUNT.items()}
        properties["discounts"] = {"type": "array", "items": _object({**discount, "when": {"$ref": "#/$defs/expression"}}, ("percent_off",))}
    return _object(properties, tuple(required))


def _leaf(slot: Slot) -> Schema:
    word: Schema = {"enum": list(slot.words)} if slot.words else {"type": ["string", "integer", "boolean"]}
    paths = {"type": "array", "items": {"type": "string"}, "minItems": 1}
    forms = {
        "field": {"type": "string"},
        "first": paths,
        "if_exists": paths,
        "value": word,
        "expr": {"$ref": "#/$defs/expression"},
    }
    more = {
        "default": {"type": ["string", "integer", "boolean"]},
        "required": {"type": "boolean"},
        "values": {"type": "object", "additionalProperties": {"anyOf": [word, {"type": "null"}]}},
        "when": {"$ref": "#/$defs/expression"},
        "as": {"enum": list(AS_KINDS)},
    }
    written = {
        **_object({**forms, **more}),
        "oneOf": [{"required": [form]} for form in forms],
    }
    return {"description": slot.meaning, "anyOf": [{"type": "string"}, written]}


def _rows(per: str) -> Schema:
    fields = {"type": "object", "additionalProperties": {"enum": sorted(WRITABLE[per])}}
    if per != "invoice":
        return fields
    return _object({"key": {"type": "string"}, "per": {"enum": list(WRITABLE)}, "fields": fields}, ("fields",))
