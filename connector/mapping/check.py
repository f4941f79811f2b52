"""Checks a mapping file against the grammar and against the CRM's describe, and says everything that is wrong at once.

`check` never stops at the first complaint: a file with five mistakes gives five problems in the order of the file. A file
without errors becomes a `MappingFile`; warnings (`report.WARNINGS`) do not keep it from being used. Without a describe
(offline) only the grammar is checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, Literal, cast

from connector.errors import Problem
from connector.mapping.conditions import (
    Condition,
    ConditionError,
    condition_literals,
    condition_paths,
    parsed_condition,
)
from connector.mapping.known import why_no_object
from connector.mapping.language import (
    DEAL,
    DISCOUNT,
    LINE,
    PER,
    WRITABLE,
    Describe,
    DiscountRule,
    LinesRule,
    MappingFile,
    Path,
    Slot,
    SourceRule,
    SourceText,
    Value,
    WriteBlock,
)
from connector.mapping.leaves import Leaves
from connector.mapping.report import Report, listed, nearest
from connector.mapping.written import misfits
from connector.ports import Org

VERSION = 1
_TOP = ("version", "name", "source", "deal", "line", "write_back", "edits", "on_reopen")
_SOURCE = ("object", "name", "when", "open", "drop", "preview", "lines", "start_from", "instead_of")
_CONDITIONS = ("when", "open", "drop", "preview")
_CHOICES = {"edits": ("flag", "amend"), "on_reopen": ("flag", "pause")}
_TEXT_TYPES = ("string", "textarea", "picklist", "multipicklist", "combobox", "email", "phone", "url", "id", "reference", "encryptedstring")
_NUMBER_TYPES = ("double", "currency", "percent", "int", "long")
_WRITES = {
    "text": ("string", "textarea", "picklist", "url", "email"),
    "date": ("date",),
    "datetime": ("datetime",),
    "money": ("currency", "double"),
    "id": ("reference",),
}


def check(
    source: SourceText, *, describe: Describe | None, org: Org | None, public_url: str = ""
) -> tuple[MappingFile | None, tuple[Problem, ...]]:
    """Return the mapping that the file states, None if it has errors, and every problem in the order of the file.

    public_url - of our pages: links that are written must fit into their fields.
    """
    report = Report(source)
    missing = [] if describe is None else missing_packages(source.located.value, describe)
    for namespace, path, offset in missing:
        name = _PACKAGES.get(namespace, f"the package {namespace}")
        message = f"The mapping reads fields of {name} ({namespace}__), and the org shows none of them to the integration user."
        hint = "Install the package, give the integration user its permission sets and licence, or take this mapping out of `sources`."
        report.add("package-missing", path, message, hint, offset=offset)
    # without the package every one of its fields would be a problem of its own: only the grammar is looked at
    mapping = _Check(report, None if missing else describe, None if missing else org, public_url).file(source.located.value)
    return (None if report.has_errors() else mapping), report.problems()


_PACKAGES = {"SBQQ": "Salesforce CPQ", "blng": "Salesforce Billing"}
_PACKAGED = re.compile(r"\b([A-Za-z]\w{0,14}?)__\w+?__[cr]\b")
_MAX_NODES = 20_000


def missing_packages(tree: Any, describe: Describe) -> list[tuple[str, Path, int]]:
    """Return the managed packages that a file reads and of which the org shows nothing: namespace, and where it is read first."""
    shown = {n.split("__")[0] for name, info in describe.items() for n in (name, *info.fields) if n.count("__") > 1}
    found: dict[str, tuple[str, Path, int]] = {}
    todo: list[tuple[Path, Any]] = [((), tree)]
    for _ in range(_MAX_NODES):
        if not todo:
            break
        path, node = todo.pop(0)
        if isinstance(node, str):
            for match in _PACKAGED.finditer(node):
                if match.group(1) not in shown:
                    found.setdefault(match.group(1), (match.group(1), path, match.start()))
        elif isinstance(node, Mapping):
            todo = [((*path, k), v) for k, v in node.items()] + todo
        elif isinstance(node, (list, tuple)):
            todo = [((*path, n), v) for n, v in enumerate(node)] + todo
    return list(found.values())


class _Check:
    """The walk over one file; every method returns None where it found an error, and says so in the report."""

    def __init__(self, report: Report, describe: Describe | None, org: Org | None, public_url: str) -> None:
        self._report = report
        self._describe = describe
        self._org = org
        self._public_url = public_url
        self._leaves = Leaves(report, describe, org)

    def file(self, tree: Any) -> MappingFile | None:
        if not isinstance(tree, Mapping):
            self._report.add("wrong-type", (), "A mapping file is a block of keys.", "Start it with `version: 1`.")
            return None
        self._keys((), tree, _TOP, required=("version", "name", "source", "deal", "line", "write_back"))
        if "version" in tree and tree["version"] != VERSION:
            self._report.add("wrong-version", ("version",), f"This release reads mapping files of version {VERSION}.", "Write `version: 1`.")
        name = self._text(("name",))
        source = self._source(("source",))
        record = source.object if source else str(self._report.at(("source", "object")) or "")
        line_object = source.lines.object if source else str(self._report.at(("source", "lines", "object")) or "")
        deal = self._block(("deal",), DEAL, record, extra=("discounts",))
        line = self._block(("line",), LINE, line_object, extra=("discounts", "price.per"))
        discounts = self._discounts(("deal", "discounts"), record), self._discounts(("line", "discounts"), line_object)
        per = self._choice(("line", "price", "per"), PER, "") if isinstance(self._report.at(("line", "price")), Mapping) else None
        blocks = self._write_back(("write_back",), record)
        choices = {key: self._choice((key,), words, "flag") for key, words in _CHOICES.items()}
        if source is None or name is None or per is None or self._report.has_errors():
            return None
        return MappingFile(
            name=name, source=source, deal=deal, line=line, per=cast("Any", per), deal_discounts=discounts[0], line_discounts=discounts[1],
            write_back=blocks, edits=cast("Any", choices["edits"]), on_reopen=cast("Any", choices["on_reopen"]),
        )  # fmt: skip

    # ------------------------------------------------------------ keys

    def _keys(self, path: Path, node: Mapping[Any, Any], known: Iterable[str], *, required: Iterable[str] = ()) -> None:
        names = tuple(dict.fromkeys(known))
        where = ".".join(str(p) for p in path) or "The file"
        for key in node:
            if key not in names:
                hint = nearest(str(key), names) or f"Known keys: {', '.join(names)}."
                self._report.add_key("unknown-key", (*path, key), f'{where} has no key "{key}".', hint)
        for key in required:
            if node.get(key) is None:
                self._report.add("missing-key", path, f"{where} needs `{key}`.", self._meaning(path, key))

    def _meaning(self, path: Path, key: str) -> str:
        table = {"deal": DEAL, "line": LINE}.get(str(path[0])) if path else None
        slot = table.get(".".join((*map(str, path[1:]), key))) if table else None
        return f"It is {slot.meaning}." if slot else ""

    def _text(self, path: Path, *, is_required: bool = True) -> str | None:
        node = self._report.at(path)
        if node is None and not is_required:
            return None
        if isinstance(node, str) and node.strip():
            return str(node)
        if node is not None:
            self._report.add("wrong-type", path, f"`{path[-1]}` is a text.")
        return None

    def _choice(self, path: Path, words: tuple[str, ...], default: str) -> str | None:
        node = self._report.at(path)
        if node is None:
            if default:
                return default
            self._report.add("missing-key", path[:-1], f"{'.'.join(map(str, path[:-1]))} needs `{path[-1]}`.", f"Write {listed(words)}.")
            return None
        if node in words:
            return str(node)
        self._report.add("unknown-word", path, f'"{node}" is not one of {listed(words)}.', nearest(str(node), words))
        return None

    # ------------------------------------------------------------ source

    def _source(self, path: Path) -> SourceRule | None:
        node = self._report.at(path)
        if not isinstance(node, Mapping):
            if node is not None:
                self._report.add("wrong-type", path, "`source` is a block of keys.", f"Known keys: {', '.join(_SOURCE)}.")
            return None
        self._keys(path, node, _SOURCE, required=("object", "name", "when", "lines"))
        record = self._object((*path, "object"))
        name = self._text((*path, "name"))
        if name and record:
            self._leaves.field((*path, "name"), name, record, Slot(kind="id", meaning=""))
        instead_of = self._text((*path, "instead_of"), is_required=False)
        if instead_of and record:
            self._leaves.field((*path, "instead_of"), instead_of, record, Slot(kind="id", meaning=""))
        conditions = {key: self._condition((*path, key), record) for key in _CONDITIONS}
        lines = self._lines((*path, "lines"))
        start_from = self._day((*path, "start_from"))
        when = conditions["when"]
        if not record or not name or when is None or lines is None:
            return None
        return SourceRule(
            object=record, name=name, when=when, lines=lines, open=conditions["open"], drop=conditions["drop"],
            preview=conditions["preview"], start_from=start_from, instead_of=instead_of,
        )  # fmt: skip

    def _object(self, path: Path) -> str | None:
        name = self._text(path)
        if name and self._describe is not None and (found := self._no_object(name)):
            self._report.add(*_at(path, found))
        return name

    def _no_object(self, name: str) -> tuple[str, str, str] | None:
        """Return (code, message, hint) where the org does not show an object, or does not let us read it."""
        shown = (self._describe or {}).get(name)
        if shown is not None and not shown.is_queryable:
            return "no-object-right", f"The integration user may not read {name}.", "Grant it read access to the object."
        if shown is not None:
            return None
        code, hint = why_no_object(name)
        message = f'The org shows no object "{name}" to the integration user.'
        return code, message, hint if code == "quotes-disabled" else nearest(name, self._describe or ()) or hint

    def _condition(self, path: Path, record: str | None) -> Condition | None:
        text = self._text(path, is_required=False)
        if text is None:
            return None
        try:
            condition = parsed_condition(text)
        except ConditionError as error:
            self._report.add("bad-condition", path, error.message, error.hint, offset=error.offset)
            return None
        for field in condition_paths(condition) if record else ():
            self._leaves.read(path, field, record or "", offset=max(0, text.find(field)))
        if record and self._describe is not None:
            self._literals(path, condition, record)
        return condition

    def _literals(self, path: Path, condition: Condition, record: str) -> None:
        text = str(self._report.at(path))
        for field, value in condition_literals(condition):
            info = self._leaves.info(field, record)
            if info is None or value is None:
                continue
            if isinstance(value, bool):
                fits, wanted = info.type == "boolean", "true or false"
            elif isinstance(value, str):
                fits, wanted = info.type in _TEXT_TYPES, "a text in quotes"
            elif isinstance(value, date):
                fits, wanted = info.type == ("datetime" if hasattr(value, "hour") else "date"), "a date"
            else:
                fits, wanted = info.type in _NUMBER_TYPES, "a number"
            offset = max(0, text.find(field))
            if not fits:
                message = f"{field} is of type {info.type}, and {wanted} cannot be compared with it."
                self._report.add("bad-condition", path, message, offset=offset)
            elif isinstance(value, str) and info.picklist and value not in info.picklist and "%" not in value:
                hint = nearest(value, info.picklist) or f"Values: {', '.join(info.picklist)}."
                self._report.add("unknown-picklist-value", path, f'{field} has no value "{value}".', hint, offset=offset)

    def _lines(self, path: Path) -> LinesRule | None:
        node = self._report.at(path)
        if not isinstance(node, Mapping):
            if node is not None:
                self._report.add("wrong-type", path, "`lines` is a block.", "Write {object: .., parent: .., skip: ..}.")
            return None
        self._keys(path, node, ("object", "parent", "skip"), required=("object", "parent"))
        name = self._object((*path, "object"))
        parent = self._text((*path, "parent"))
        skip = self._text((*path, "skip"), is_required=False)
        if name and parent:
            self._leaves.field((*path, "parent"), parent, name, Slot(kind="id", meaning=""))
        if name and skip:
            self._leaves.field((*path, "skip"), skip, name, Slot(kind="boolean", meaning=""))
        return LinesRule(object=name, parent=parent, skip=skip) if name and parent else None

    def _day(self, path: Path) -> date | None:
        node = self._report.at(path)
        if node is None or (isinstance(node, date) and not hasattr(node, "hour")):
            return node
        try:
            return date.fromisoformat(str(node))
        except ValueError:
            self._report.add("wrong-type", path, f"{node} is no day of the calendar.", "Write it as 2026-01-31.")
            return None

    # ------------------------------------------------------------ deal and line

    def _block(self, path: Path, slots: Mapping[str, Slot], record: str, *, extra: tuple[str, ...]) -> dict[str, Value]:
        node = self._report.at(path)
        if node is None:
            return {}
        if not isinstance(node, Mapping):
            self._report.add("wrong-type", path, f"`{path[-1]}` is a block of keys.")
            return {}
        heads = [name.split(".")[0] for name in (*slots, *extra)]
        groups = {name.split(".")[0] for name in (*slots, *extra) if "." in name}
        required = [n for n, s in slots.items() if s.is_required and "." not in n]
        required += sorted(g for g in groups if any(n.startswith(g + ".") and s.is_required for n, s in slots.items()))
        self._keys(path, node, heads, required=required)
        values: dict[str, Value] = {}
        for key, child in node.items():
            if key in groups:
                inner = {n.split(".", 1)[1]: s for n, s in slots.items() if n.startswith(key + ".")}
                rest = tuple(e.split(".", 1)[1] for e in extra if e.startswith(key + "."))
                found = self._block((*path, key), inner, record, extra=rest)
                values.update({f"{key}.{name}": value for name, value in found.items()})
            elif key in slots and child is not None:
                value = self._leaves.value((*path, key), slots[key], record)
                if value is not None:
                    values[key] = value
        return values

    def _discounts(self, path: Path, record: str) -> tuple[DiscountRule, ...]:
        node = self._report.at(path)
        if node is None:
            return ()
        if not isinstance(node, list):
            self._report.add("wrong-type", path, "`discounts` is a list.", "Write [{percent_off: FIELD}].")
            return ()
        rules = []
        for number, entry in enumerate(node):
            at = (*path, number)
            if not isinstance(entry, Mapping):
                self._report.add("wrong-type", at, "A discount is a block.", "Write {percent_off: FIELD}.")
                continue
            self._keys(at, entry, (*DISCOUNT, "when"), required=("percent_off",))
            found = {k: self._leaves.value((*at, k), s, record) for k, s in DISCOUNT.items() if entry.get(k) is not None}
            when = self._leaves.expression((*at, "when"), record) if entry.get("when") is not None else ""
            percent = found.get("percent_off")
            if percent is not None:
                rules.append(DiscountRule(percent_off=percent, months=found.get("months"), when=when or ""))
        return tuple(rules)

    # ------------------------------------------------------------ write_back

    def _write_back(self, path: Path, record: str) -> tuple[WriteBlock, ...]:
        node = self._report.at(path)
        if node is None:
            return ()
        if not isinstance(node, Mapping):
            self._report.add("wrong-type", path, "`write_back` is a block of objects.", "Write Opportunity: {FIELD: source}.")
            return ()
        blocks = (self._write_block((*path, name), record) for name in node)
        return tuple(block for block in blocks if block is not None)

    def _write_block(self, path: Path, record: str) -> WriteBlock | None:
        node = self._report.at(path)
        name = str(path[-1])
        if not isinstance(node, Mapping):
            self._report.add("wrong-type", path, f"`{name}` is a block of fields.", "Write FIELD: source.")
            return None
        if self._describe is not None and (found := self._no_object(name)):
            self._report.add_key(*_at(path, found))
            return None
        per: str | None = "customer" if name == "Account" else "deal"
        key: str | None = None
        fields_at = path
        if "fields" in node:
            self._keys(path, node, ("key", "per", "fields"), required=("fields",))
            fields_at = (*path, "fields")
            per = self._choice((*path, "per"), ("deal", "customer", "invoice"), str(per))
            key = self._text((*path, "key"), is_required=False)
            if key:
                self._key_field((*path, "key"), key, name)
            elif per == "invoice":
                self._report.add("missing-key", path, "Rows per invoice need `key`.", "It is the external id field that tells them apart.")
        fields = self._report.at(fields_at)
        if per is None or not isinstance(fields, Mapping):
            return None
        has_rights = self._may_write(path, name, is_created=key is not None)
        written = {}
        for field in fields:
            source = self._written((*fields_at, field), name, per, is_created=key is not None, has_rights=has_rights)
            if source:
                written[str(field)] = source
        return WriteBlock(object=name, per=cast("Literal['deal', 'customer', 'invoice']", per), fields=written, key=key)

    def _may_write(self, path: Path, name: str, *, is_created: bool) -> bool:
        """Return whether the integration user may edit records of the object, and create them where we do."""
        shown = (self._describe or {}).get(name)
        if shown is None:
            return True
        lacking = [right for right, has in (("create", shown.is_createable or not is_created), ("edit", shown.is_updateable)) if not has]
        if lacking:
            rights = " and ".join(lacking)
            self._report.add_key("no-object-right", path, f"The integration user may not {rights} {name} records.", f"Grant it {rights} on the object.")
        return not lacking

    def _key_field(self, path: Path, field: str, name: str) -> None:
        info = self._leaves.exists(path, field, name)
        hint = "Mark it as external id and unique in Setup."
        if info is not None and not info.is_external_id:
            self._report.add("not-an-external-id", path, f"{name}.{field} is no external id, so rows cannot be told apart by it.", hint)
        elif info is not None and not info.is_unique:
            message = f"{name}.{field} is not unique: once two rows have one value, the CRM refuses to write either."
            self._report.add("warn-not-unique", path, message, hint)

    def _written(self, path: Path, name: str, per: str, *, is_created: bool, has_rights: bool) -> str | None:
        source = self._report.at(path)
        field = str(path[-1])
        kinds = WRITABLE[per]
        if not isinstance(source, str) or source not in kinds:
            hint = nearest(str(source), kinds) or f"Known: {', '.join(sorted(kinds))}."
            self._report.add("unknown-source", path, f'There is nothing called "{source}" to write per {per}.', hint)
            return None
        info = self._leaves.exists(path, field, name, is_key=True)
        if info is None:
            return str(source)
        if not info.is_updateable or (is_created and not info.is_createable):
            if has_rights:  # else it has been said of the whole object
                hint = "Give it edit access to the field, or leave the field out."
                self._report.add_key("not-writeable", path, f"{name}.{field} cannot be written by the integration user.", hint)
        elif info.type not in _WRITES[kinds[source]]:
            wanted = listed(_WRITES[kinds[source]])
            self._report.add_key("wrong-field-type", path, f"{name}.{field} is of type {info.type}; {source} needs {wanted}.")
        else:
            for code, message, hint in misfits(info, name, source, scope=per, org=self._org, public_url=self._public_url):
                self._report.add_key(code, path, message, hint)
        return str(source)


def _at(path: Path, found: tuple[str, str, str]) -> tuple[str, Path, str, str]:
    code, message, hint = found
    return code, path, message, hint
