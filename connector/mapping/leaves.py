"""Checks one leaf of `deal` or `line`: the way it is written, the fields it reads, and whether they fit what it fills."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal, DecimalException
from typing import Any, cast

from connector.mapping.functions import ExpressionError, parsed_expression
from connector.mapping.known import EITHER, why_missing
from connector.mapping.language import (
    AS_KINDS,
    DEAL,
    FITS,
    ORG_REFERENCES,
    Describe,
    How,
    Kind,
    Path,
    Slot,
    Value,
    field_at,
    settled,
)
from connector.mapping.report import Report, listed, nearest
from connector.mapping.written import price_misfit
from connector.ports import FieldInfo, Org

_HOWS: tuple[How, ...] = ("field", "first", "if_exists", "value", "expr")
_KEYS = (*_HOWS, "default", "required", "values", "when", "as")
_CAST: Mapping[str, tuple[Kind, ...]] = {
    "date": ("date",),
    "decimal": ("decimal", "money", "percent"),
    "integer": ("integer", "days"),
    "percent": ("percent", "decimal"),
    "text": ("text", "word"),
}
_CURRENCY: Path = ("deal", "currency")
# a field that is only hidden from us must not be taken for a slip of a rather similar name
_TYPO = 0.85
_NUMBERS: tuple[Kind, ...] = ("decimal", "money", "percent")
_CALCULATED = "{field} is calculated: a change of it does not move the record's timestamp and is seen when all records are compared (schedule.reconcile) only."


class Leaves:
    """Reads leaves into values; what is wrong goes to the report, and None comes back."""

    def __init__(self, report: Report, describe: Describe | None, org: Org | None) -> None:
        self._report = report
        self._describe = describe
        self._org = org
        self._is_multi_currency = org.is_multi_currency if org else None

    # ------------------------------------------------------------ the way it is written

    def value(self, path: Path, slot: Slot, record: str) -> Value | None:
        """Return the leaf at *path* that fills *slot* from fields of *record*."""
        node = self._report.at(path)
        if isinstance(node, str):
            value = Value(how="field", at=path, paths=(str(node),))
        elif isinstance(node, Mapping):
            parsed = self._parsed(path, node, slot, record)
            if parsed is None:
                return None
            value = parsed
        else:
            written = "true" if node is True else "false" if node is False else "a list" if isinstance(node, list) else str(node)
            hint = "Write {first: [FIELD, FIELD]}." if isinstance(node, list) else f'Write {{value: "{written}"}}.'
            self._report.add("wrong-type", path, f"`{path[-1]}` reads a field; {written} is none.", hint)
            return None
        self._sources(path, value, slot, record)
        if path == _CURRENCY:
            self._currency(path, value, record)
        return value

    def _parsed(self, path: Path, node: Mapping[Any, Any], slot: Slot, record: str) -> Value | None:
        for key in node:
            if key not in _KEYS:
                hint = nearest(str(key), _KEYS) or f"Known keys: {', '.join(_KEYS)}."
                self._report.add_key("unknown-key", (*path, key), f'{_dotted(path)} has no key "{key}".', hint)
        hows = [how for how in _HOWS if how in node]
        if len(hows) != 1:
            found = f"It has {listed(hows)}." if hows else "It has none of them."
            self._report.add("wrong-type", path, f"{_dotted(path)} needs one of {listed(_HOWS)}.", found)
            return None
        how = hows[0]
        at = (*path, how)
        paths, literal, expr = self._taken(at, how, slot, record)
        if how in ("field", "first", "if_exists") and not paths:
            return None
        is_required = node.get("required", False)
        if not isinstance(is_required, bool):
            self._report.add("wrong-type", (*path, "required"), "`required` is true or false.")
        values = self._values((*path, "values"), slot) if "values" in node else None
        default = self._default((*path, "default"), slot, values) if node.get("default") is not None else None
        when = self.expression((*path, "when"), record) if node.get("when") is not None else ""
        as_kind = self._as((*path, "as"), slot) if "as" in node else None
        return Value(
            how=how, at=path, paths=paths, literal=literal, expr=expr, default=default, is_required=is_required is True,
            values=values, when=when or "", as_kind=as_kind,
        )  # fmt: skip

    def _taken(self, at: Path, how: How, slot: Slot, record: str) -> tuple[tuple[str, ...], Any, str]:
        node = self._report.at(at)
        if how == "expr":
            return (), None, self.expression(at, record) or ""
        if how == "value":
            return (), self._literal(at, slot), ""
        if how == "field":
            if isinstance(node, str):
                return (str(node),), None, ""
            self._report.add("wrong-type", at, "`field` is the path of a field.")
            return (), None, ""
        if isinstance(node, list) and node and all(isinstance(entry, str) for entry in node):
            return tuple(str(entry) for entry in node), None, ""
        self._report.add("wrong-type", at, f"`{how}` is a list of field paths.", "Write [FIELD, FIELD].")
        return (), None, ""

    def _literal(self, at: Path, slot: Slot) -> Any:
        node = self._report.at(at)
        if isinstance(node, (float, Decimal)):
            self._report.add("unquoted-decimal", at, f"{node} has a point.", f'Put it in quotes, so that it is read exactly: "{node}".')
            return None
        if slot.kind in _NUMBERS and (number := is_plain_number(node)) is not None:
            return number
        fits = {
            "boolean": isinstance(node, bool),
            "integer": isinstance(node, int) and not isinstance(node, bool),
            "date": isinstance(node, (date, str)),
            "datetime": isinstance(node, (date, str)),
            "days": isinstance(node, (str, int)) and not isinstance(node, bool),
        }.get(slot.kind, isinstance(node, str) and slot.kind not in _NUMBERS)
        if not fits:
            self._report.add("wrong-type", at, f"{node} does not fit: {_dotted(at[:-1])} is of kind {slot.kind}.")
            return None
        if slot.kind == "word" and node not in slot.words:
            self._report.add("unknown-word", at, f'"{node}" is not one of {listed(slot.words)}.', nearest(str(node), slot.words))
        return node.isoformat() if isinstance(node, date) else str(node) if isinstance(node, str) else node

    def _values(self, path: Path, slot: Slot) -> tuple[tuple[str, str | int], ...] | None:
        node = self._report.at(path)
        if not isinstance(node, Mapping) or not node:
            self._report.add("wrong-type", path, "`values` translates the CRM's values.", "Write {Monthly: month, Annual: year}.")
            return None
        pairs: list[tuple[str, str | int]] = []
        for key, word in node.items():
            at = (*path, key)
            if word is None:
                continue  # known, and meant to be a problem of the record
            if slot.kind == "word" and word not in slot.words:
                hint = nearest(str(word), slot.words) or f"Write {listed(slot.words)}."
                self._report.add("unknown-word", at, f'"{word}" is no {path[-2]!s}.', hint)
            elif slot.kind == "days" and not (word == "automatic" or (isinstance(word, int) and not isinstance(word, bool) and word >= 0)):
                self._report.add("unknown-word", at, f'"{word}" are no payment terms.', "Write automatic, or a number of days.")
            elif isinstance(word, (str, int)):
                pairs.append((str(key), int(word) if isinstance(word, int) else str(word)))
            else:
                self._report.add("wrong-type", at, f"{word} is no text.")
        return tuple(pairs)

    def _default(self, path: Path, slot: Slot, values: tuple[tuple[str, str | int], ...] | None) -> Any:
        node = self._report.at(path)
        if path[:-1] == _CURRENCY:
            self._literal_currency(path)
            return None
        if isinstance(node, str) and node.startswith("$"):
            return self._deal_reference(path, str(node), slot)
        if values is None:
            return self._literal(path, slot)
        known = [str(key) for key in self._report.at((*path[:-1], "values"))]  # also those whose word is wrong
        if str(node) not in known:
            hint = nearest(str(node), known) or f"Write {listed(known)}."
            self._report.add("unknown-word", path, f'`values` does not translate the default "{node}".', hint)
        return str(node)

    def _deal_reference(self, path: Path, reference: str, slot: Slot) -> str | None:
        known = {f"$deal.{name}" for name, other in DEAL.items() if other.kind == slot.kind and other.words == slot.words}
        if path[0] == "line" and reference in known and self._report.at(("deal", *reference[6:].split("."))) is not None:
            return reference
        if path[0] != "line":
            hint = "Only `line` can refer to the deal."
        elif reference in known:
            hint = f"The file has no {reference[1:]}."
        else:
            hint = nearest(reference, known) or (f"Known here: {', '.join(sorted(known))}." if known else "Nothing of the deal fits here.")
        self._report.add("bad-reference", path, f"{reference} cannot be used here.", hint)
        return None

    def _as(self, path: Path, slot: Slot) -> Kind | None:
        node = self._report.at(path)
        if node not in AS_KINDS:
            self._report.add("unknown-word", path, f'"{node}" is not one of {listed(AS_KINDS)}.', nearest(str(node), AS_KINDS))
            return None
        if slot.kind not in _CAST[str(node)]:
            self._report.add("wrong-type", path, f"`as: {node}` does not fit: {_dotted(path[:-1])} is of kind {slot.kind}.")
        return cast("Kind", str(node))

    def expression(self, path: Path, record: str) -> str | None:
        """Return the expression at *path* as its text, once it and the fields it reads are known to be right."""
        node = self._report.at(path)
        if not isinstance(node, str):
            self._report.add("wrong-type", path, f"`{path[-1]}` is an expression, a text.")
            return None
        try:
            expression = parsed_expression(str(node))
        except ExpressionError as error:
            self._report.add("bad-expression", path, error.message, error.hint, offset=error.offset)
            return None
        for field in expression.paths:
            self.read(path, field, record, offset=max(0, str(node).find(field)))
        return str(node)

    # ------------------------------------------------------------ the fields it reads

    def info(self, field: str, record: str) -> FieldInfo | None:
        """Return the field that *field* leads to from *record*; None where describe does not show it."""
        if self._describe is None or record not in self._describe:
            return None
        return field_at(self._describe, record, field)[1]

    def exists(self, path: Path, field: str, record: str, *, offset: int | None = None, is_key: bool = False) -> FieldInfo | None:
        """Return the field, or report that it does not exist or is hidden; *is_key* - the key at *path* names it."""
        if self._describe is None or record not in self._describe:
            return None
        owner, info, failed = field_at(self._describe, record, field)
        if info is not None:
            return info
        shown = self._describe.get(owner)
        if shown is None:
            message = f'The object {owner}, which "{field}" leads to, is not visible to the integration user.'
            hint = f"Grant it read access to {owner}."
        elif failed != field.rsplit(".", maxsplit=1)[-1]:
            lookups = [f.relationship for f in shown.fields.values() if f.relationship]
            message, hint = f'{owner} has no lookup that is read as "{failed}".', nearest(failed, lookups)
            if not hint:
                message, hint = f"{message[:-1]}: {EITHER}", "Correct the path, or let an administrator grant access to the lookup."
        else:
            hint = nearest(failed, shown.fields, cutoff=_TYPO)
            message = f'{owner} has no field "{failed}".'
            if not hint:
                why, hint = why_missing(owner, failed, shown)
                message = f'{owner} shows no field "{failed}": {why}'
        if is_key:
            self._report.add_key("unknown-field", path, message, hint)
        else:
            self._report.add("unknown-field", path, message, hint, offset=offset)
        return None

    def read(self, path: Path, field: str, record: str, *, offset: int) -> None:
        """Report a field of a condition or expression that does not exist, or that changes unseen."""
        info = self.exists(path, field, record, offset=offset)
        if info is not None and info.is_calculated:
            self._report.add("warn-calculated-field", path, _CALCULATED.format(field=field), offset=offset)

    def field(self, path: Path, field: str, record: str, slot: Slot, *, as_kind: Kind | None = None) -> FieldInfo | None:
        """Return the field once its type fits *slot*; a formula or roll-up gets a warning."""
        info = self.exists(path, field, record)
        if info is None:
            return None
        fits = FITS[slot.kind] if as_kind is None else (*FITS[slot.kind], *FITS["text"])
        if info.type not in fits:
            kinds = [kind for kind, targets in _CAST.items() if slot.kind in targets]
            hint = f"Add `as: {kinds[0]}` to read it as one." if info.type in FITS["text"] and kinds and as_kind is None else ""
            message = f"{field} is of type {info.type}; {_dotted(_leaf(path))} needs {listed(FITS[slot.kind])}."
            self._report.add("wrong-field-type", path, message, hint)
            return info
        if info.is_calculated:
            self._report.add("warn-calculated-field", path, _CALCULATED.format(field=field))
        if slot.kind == "money" and (found := price_misfit(info, self._org)):
            self._report.add("warn-few-decimals", path, *found)
        return info

    def _sources(self, path: Path, value: Value, slot: Slot, record: str) -> None:
        paths = self._existing(path, value, slot, record)
        infos: list[FieldInfo] = []
        for number, one in enumerate(value.paths):
            at = _source_at(path, value, number, is_bare=isinstance(self._report.at(path), str))
            if one.startswith("$"):
                self._reference(at, one, slot)
            elif one in paths:
                info = self.field(at, one, record, slot, as_kind=value.as_kind)
                infos += [info] if info is not None else []
        is_read = value.how in ("field", "first", "if_exists")
        if slot.kind == "word" and is_read and self._report.at((*path, "values")) is None:
            self._report.add("missing-key", path, f"{_dotted(path)} needs `values`.", f"They translate the field into {listed(slot.words)}.")
        self._picklists(path, value, infos)

    def _existing(self, path: Path, value: Value, slot: Slot, record: str) -> tuple[str, ...]:
        if value.how != "if_exists" or self._describe is None or record not in self._describe:
            return value.paths
        is_multi = bool(self._is_multi_currency)
        found = settled(value, self._describe, record, is_multi_currency=is_multi)
        if not found and (slot.is_required or slot.kind == "money" or value.is_required) and path != _CURRENCY:
            message = f"{record} has none of {listed(value.paths)}."
            self._report.add("no-field-exists", (*path, "if_exists"), message, "They do not exist, or the integration user lacks field access.")
        return found

    def _reference(self, at: Path, reference: str, slot: Slot) -> None:
        known = [r for r in ORG_REFERENCES if (r == "$org.currency") == (slot.kind == "text")]
        if reference in known:
            return
        hint = nearest(reference, (*known, "$deal.frequency"))
        if reference.startswith("$deal."):
            hint = f"Write it as `default: {reference}`."
        self._report.add("bad-reference", at, f"{reference} cannot be used here.", hint)

    def _picklists(self, path: Path, value: Value, infos: list[FieldInfo]) -> None:
        if not value.values or not infos or any(not info.picklist for info in infos):
            return
        known = list(dict.fromkeys(entry for info in infos for entry in info.picklist))
        names = listed(info.name for info in infos)
        translated = [str(key) for key in self._report.at((*path, "values"))]
        for key in translated:
            if key not in known:
                hint = nearest(key, known) or f"Values: {', '.join(known)}."
                self._report.add_key("unknown-picklist-value", (*path, "values", key), f'{names} has no value "{key}".', hint)
        missing = [entry for entry in known if entry not in translated]
        if missing:
            message = f"{names} also has {listed(missing)}: a record with that value is not billed."
            self._report.add_key("warn-unmapped-value", (*path, "values"), message)

    # ------------------------------------------------------------ the currency (decision D-32)

    def _currency(self, path: Path, value: Value, record: str) -> None:
        if value.how in ("value", "expr"):
            self._literal_currency((*path, value.how))
            return
        if self._is_multi_currency is None or self._describe is None or record not in self._describe:
            return
        fields = [one for one in value.paths if not one.startswith("$")]
        readable = [one for one in fields if self.info(one, record) is not None]
        if self._is_multi_currency and not readable:
            if fields:
                hint = "Give it read access to the field."
                self._report.add("currency-hidden", path, f"The org has several currencies, but {record} shows no {listed(fields)}.", hint)
            else:
                hint = "Write {if_exists: [CurrencyIsoCode, $org.currency]}."
                self._report.add("currency-mode", path, "$org.currency counts only in an org with one currency.", hint)
        elif not self._is_multi_currency and not readable and "$org.currency" not in value.paths and value.how == "if_exists":
            self._report.add("currency-mode", path, f"{record} shows no {listed(fields)}.", "Add $org.currency to the list.")

    def _literal_currency(self, at: Path) -> None:
        hint = "Write {if_exists: [CurrencyIsoCode, $org.currency]}."
        self._report.add("currency-literal", at, "A currency is read, never assumed.", hint)


def is_plain_number(node: Any) -> Decimal | None:
    """Return the exact number that a whole number or quoted text states; None for anything else."""
    if isinstance(node, bool) or not isinstance(node, (int, str)):
        return None
    try:
        number = Decimal(str(node))
    except DecimalException:
        return None
    return number if number.is_finite() else None


def _dotted(path: Path) -> str:
    return ".".join(str(step) for step in path if isinstance(step, str))


def _leaf(path: Path) -> Path:
    names = [step for step in path if isinstance(step, str)]
    return tuple(names[:-1] if names[-1] in _HOWS else names)


def _source_at(path: Path, value: Value, number: int, *, is_bare: bool) -> Path:
    if is_bare:
        return path
    return (*path, "field") if value.how == "field" else (*path, value.how, number)
