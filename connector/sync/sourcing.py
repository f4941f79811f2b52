"""A compiled mapping becomes a source: what describe says of the org decides by which fields it is polled and checked."""

from __future__ import annotations

from collections.abc import Mapping

from connector.errors import ConfigError, Problem, Where
from connector.mapping.compile import Compiled
from connector.ports import FieldInfo, ObjectInfo
from connector.sync.seam import STAMP, Source

# The roll-up of an object's lines, and what it adds up: a line deleted for good shows in nothing else.
TOTALS = {"Opportunity": ("Amount", "TotalPrice"), "Quote": ("TotalPrice", "TotalPrice"), "Order": ("TotalAmount", "TotalPrice")}
# What is read of every record where describe shows it: who saved it last and when, for the answer to "why is this amount so?".
_ALWAYS = {"LastModifiedDate": "LastModifiedDate", "LastModifiedBy.Name": "LastModifiedById", "IsDeleted": "IsDeleted", "CreatedDate": "CreatedDate"}
# By which stamp an object is polled, best first: LastModifiedDate may be back-dated on import and misses system changes (P1).
_STAMPS = (STAMP, "LastModifiedDate", "CreatedDate")


def made_source(name: str, file: str, text: str, digest: str, compiled: Compiled, describe: Mapping[str, ObjectInfo]) -> Source:
    """Return the source of a mapping whose text has this *digest*.

    Raises: ConfigError where an object shows no stamp to poll by.
    """
    total, line_total = TOTALS.get(compiled.object, ("", ""))
    objects = [o for o in (compiled.object, compiled.line_object, *compiled.related, *compiled.line_related) if o]
    return Source(
        name=name,
        object=compiled.object,
        line_object=compiled.line_object or None,
        line_parent=compiled.line_parent or None,
        compiled=compiled,
        related=compiled.related,
        line_related=compiled.line_related,
        first_load=compiled.first_load,
        start_from=compiled.start_from,
        hash=digest,
        file=file,
        text=text,
        total=total if _shows(describe, compiled.object, total) else None,
        line_total=line_total if _shows(describe, compiled.line_object, line_total) else None,
        stamps={o: found for o in objects if (found := _stamp_of(o, file, describe)) != STAMP},
        always=tuple(path for path, field in _ALWAYS.items() if _shows(describe, compiled.object, field)),
        calculated=_calculated(compiled.object, compiled.record_fields, describe),
        line_calculated=_calculated(compiled.line_object, compiled.line_fields, describe),
        lengths={o: {f: i.length for f, i in describe[o].fields.items() if i.length} for o in compiled.write_back if o in describe},
    )


def _shows(describe: Mapping[str, ObjectInfo], object_name: str, field: str) -> bool:
    found = describe.get(object_name)
    return found is not None and field in found.fields


def _stamp_of(object_name: str, file: str, describe: Mapping[str, ObjectInfo]) -> str:
    shown = describe.get(object_name)
    for field in _STAMPS:
        if shown is None or field in shown.fields:
            return field
    text = f"{object_name} shows none of the fields {', '.join(_STAMPS)} to the integration user, so that its changes cannot be seen."
    hint = f"Give the integration user read access to {object_name}.{STAMP}."
    raise ConfigError([Problem(code="no-stamp", message=text, hint=hint, where=Where(file=file))])


def _calculated(object_name: str, paths: tuple[str, ...], describe: Mapping[str, ObjectInfo]) -> tuple[str, ...]:
    """Return the formulas among these paths: their results change without moving a stamp (P11)."""
    return tuple(p for p in paths if (info := _field_at(object_name, p, describe)) is not None and info.is_calculated)


def _field_at(object_name: str, path: str, describe: Mapping[str, ObjectInfo]) -> FieldInfo | None:
    *hops, last = path.split(".")
    for hop in hops:
        shown = describe.get(object_name)
        lookups = [f for f in shown.fields.values() if f.relationship == hop and f.reference_to] if shown is not None else []
        if not lookups:
            return None
        object_name = lookups[0].reference_to[0]
    shown = describe.get(object_name)
    return shown.fields.get(last) if shown is not None else None
