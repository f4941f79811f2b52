"""The list of fields as values: read once from fields.yaml, chosen by what an org uses.

`catalogue()` is everything for standard Salesforce; `has_quotes=False` leaves quotes out for orgs where they are switched off.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from connector.errors import invariant
from connector.kit import yamlpos

HERE = Path(__file__).resolve().parent
TYPES = (
    "Text", "TextArea", "LongTextArea", "Email", "Url", "Picklist", "Number", "Currency", "Percent", "Date", "DateTime", "Checkbox", "Lookup",
)  # fmt: skip
_QUOTES = ("Quote", "QuoteLineItem")
_ORDERS = ("Order", "OrderItem")
Role = Literal["input", "output"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSpec:
    """One field of ours. digits, scale - of numbers, digits before and after the point together. to - what a lookup points to."""

    name: str
    type: str
    label: str
    help: str
    role: Role
    length: int = 0
    digits: int = 0
    scale: int = 0
    values: tuple[str, ...] = ()
    is_unique: bool = False
    to: str = ""
    children: str = ""
    children_label: str = ""

    def __post_init__(self) -> None:
        invariant(self.type in TYPES, f"{self.name}: unknown type {self.type}")
        invariant(0 < len(self.help) <= 510, f"{self.name}: a help text has 1 to 510 characters")
        invariant(len(self.label) <= 40, f"{self.name}: a label has at most 40 characters")
        invariant((self.type == "Picklist") == bool(self.values), f"{self.name}: values belong to picklists")
        invariant((self.type == "Lookup") == bool(self.to), f"{self.name}: a lookup points somewhere")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectSpec:
    """An object that the package creates; its records are numbered by *name_format*."""

    name: str
    label: str
    plural: str
    name_label: str
    name_format: str
    help: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All fields by object, the objects we create, and what is to be known about standard ones.

    standard - by object: standard field -> its name in permission sets. parents - by object: relationship -> parent object.
    """

    fields: Mapping[str, tuple[FieldSpec, ...]]
    objects: Mapping[str, ObjectSpec]
    standard: Mapping[str, Mapping[str, str]]
    parents: Mapping[str, Mapping[str, str]]

    def field(self, object_name: str, name: str) -> FieldSpec | None:
        """Return our field of that name, or None."""
        return next((f for f in self.fields.get(object_name, ()) if f.name == name), None)

    def parent(self, object_name: str, relationship: str) -> str | None:
        """Return the object that *relationship* leads to (`Account`, `Billing_Contact__r`), or None if it is not known."""
        known = self.parents.get(object_name, {}).get(relationship)
        if known is not None or not relationship.endswith("__r"):
            return known
        own = self.field(object_name, f"{relationship[:-1]}c")
        return own.to if own is not None and own.to else None


def catalogue(*, has_quotes: bool = True, has_cpq: bool = False) -> Catalogue:
    """Return the list for an org: without quotes nothing stands on one, with CPQ its orders have our fields, too."""
    whole = _whole()
    gone = {*(() if has_quotes else _QUOTES), *(() if has_cpq else _ORDERS)}
    return Catalogue(
        fields={name: fields for name, fields in whole.fields.items() if name not in gone},
        objects=whole.objects,
        standard={name: known for name, known in whole.standard.items() if name not in gone},
        parents={name: known for name, known in whole.parents.items() if name not in gone},
    )


@cache
def _whole() -> Catalogue:
    file = HERE / "fields.yaml"
    tree = yamlpos.loads(file.read_text(encoding="utf-8"), file.name).value
    fields: dict[str, list[FieldSpec]] = {}
    for block in tree["blocks"]:
        for object_name in block["objects"]:
            known = fields.setdefault(object_name, [])
            known.extend(_alike(fields[block["like"]], block) if "like" in block else _specs(block["fields"], block["role"]))
    for object_name, specs in fields.items():
        invariant(len({f.name for f in specs}) == len(specs), f"{object_name} has a field twice")
    return Catalogue(
        fields={name: tuple(specs) for name, specs in fields.items()},
        objects={name: ObjectSpec(name=name, **told) for name, told in tree["objects"].items()},
        standard=tree["standard"],
        parents=tree["parents"],
    )


def _alike(specs: list[FieldSpec], block: Mapping[str, Any]) -> list[FieldSpec]:
    found = [s for s in specs if s.role == block["role"] and s.name in block["names"]]
    invariant(len(found) == len(block["names"]), f"{block['like']} has not all of {block['names']}")
    return found


_SIZES = {"Currency": (18, 2), "Percent": (5, 2)}


def _specs(fields: Mapping[str, Mapping[str, Any]], role: Role) -> Iterator[FieldSpec]:
    for name, told in fields.items():
        digits, scale = _SIZES.get(told["type"], (int(told.get("digits", 0)), int(told.get("scale", 0))))
        yield FieldSpec(
            name=name, type=told["type"], label=told.get("label") or labelled(name), help=told["help"], role=role,
            length=int(told.get("length", 0)), digits=digits, scale=scale, values=tuple(map(str, told.get("values", ()))),
            is_unique=bool(told.get("unique", False)), to=told.get("to", ""), children=told.get("children", ""),
            children_label=told.get("children_label", ""),
        )  # fmt: skip


def labelled(name: str) -> str:
    """Return the words of an API name: `Billing_Email__c` is `Billing Email`."""
    return re.sub(r"__c$", "", name).replace("_", " ")
