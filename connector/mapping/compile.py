"""A clean mapping becomes functions: what to select, when a record is a deal, what it means, whether it changed.

Everything that does not depend on the record is done once, in `compile_mapping`: paths are split, picklists become dicts, labels
are looked up in describe, `if_exists` is settled. What is left per record is reading dicts and building terms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Context, Decimal
from hashlib import blake2b
from typing import Any, Literal

from connector.core.terms import ProrationBasis, Settings
from connector.errors import ConfigError, Problem
from connector.mapping.conditions import Matches, condition_paths, getter, matcher, soql
from connector.mapping.deals import Deals, Discounts, Frame
from connector.mapping.language import (
    DEAL,
    DISCOUNT,
    LINE,
    Describe,
    DiscountRule,
    MappingFile,
    Slot,
    SourceRule,
    Value,
    field_at,
    lookup_named,
    payment_days,
)
from connector.mapping.lines import LineDiscounts, LineReader
from connector.mapping.readers import Leaf, Reading, Record, Scene, absent, leaf_for
from connector.mapping.results import MappedValue, MapResult
from connector.ports import NAMED_IN, Condition, Org

_NOT_BILLING = ("label", "editor")
_NOT_WATCHED = ("User", "SBQQ__QuoteLine__c")  # what CPQ quoted stays as it was when it was ordered
_FOUND_BY = ("Account", "Contact")
_PLAIN = Context(prec=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of the configuration that a contract copies or falls back on (deals.md sections 2 and 8).

    payment_terms - as written in `billing.payment_terms`, such as "Net 30". supports - features beyond the plain ones that the
    engine can bill: prebill, paid_trial, usage, tax_exempt; fields of any other are a problem of the record that fills them.
    """

    timezone: str
    proration: ProrationBasis
    tax_rounding: Literal["line", "invoice"]
    cancellation_day: Literal["free", "billed"]
    payment_terms: str
    supports: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """One mapping revision as functions over records; every function is pure and safe to share between threads.

    record_fields, line_fields - the paths to select. related - by object, the relationship path from the record to it
    (`Opportunity.Account`): a change of it may change the deal; line_related - the same from a line (`Product2`). first_load - SOQL that only the first load adds. write_back -
    by object, CRM field -> source name; write_back_keys - the external id field of objects whose rows we create.
    """

    name: str
    object: str
    line_object: str
    line_parent: str
    record_fields: tuple[str, ...]
    line_fields: tuple[str, ...]
    related: Mapping[str, str]
    line_related: Mapping[str, str]
    first_load: str
    start_from: date | None
    edits: Literal["flag", "amend"]
    on_reopen: Literal["flag", "pause"]
    write_back: Mapping[str, Mapping[str, str]]
    write_back_keys: Mapping[str, str]
    _is_won: Matches
    _is_open: Matches | None
    _is_dropped: Matches | None
    _is_previewed: Matches | None
    _name: Callable[[Record], Any]
    _instead_of: Callable[[Record], Any] | None
    _skip: Callable[[Record], Any] | None
    _deals: Deals
    _deal_leaves: tuple[Leaf, ...]
    _line_leaves: tuple[Leaf, ...]
    _deal_digest: tuple[Callable[[Record], Any], ...]
    _line_digest: tuple[Callable[[Record], Any], ...]

    def condition(self, record: Record) -> Condition:
        """Return which source condition holds: won before open before dropped before preview; idle if none does."""
        if self._is_won(record):
            return "won"
        if self._is_open is not None and self._is_open(record):
            return "open"
        if self._is_dropped is not None and self._is_dropped(record):
            return "dropped"
        return "preview" if self.is_previewed(record) else "idle"

    @property
    def shows_offers(self) -> bool:
        """Whether its records may be quotes: shown to customers, or priced before."""
        return self._is_open is not None or self._is_previewed is not None

    def is_previewed(self, record: Record) -> bool:
        """Say whether the record is to be shown what it would bill (`source.preview`)."""
        return self._is_previewed is not None and self._is_previewed(record)

    def deal_name(self, record: Record) -> str:
        """Return the deal's name: the record's `source.name`, its own id where that is empty (decision D-01)."""
        return str(self._name(record) or record.get("Id") or "")

    @property
    def stands_instead(self) -> bool:
        """Whether its records may be billed in place of other deals."""
        return self._instead_of is not None

    def instead_of(self, record: Record) -> str | None:
        """Return the deal that the record is billed in place of, as an order is of its opportunity (decision D-01); None for none."""
        found = self._instead_of(record) if self._instead_of is not None else None
        return str(found) if found else None

    def map(self, record: Record, lines: Sequence[Record], *, as_won: bool = False, as_gone: bool = False) -> MapResult:
        """Return what the record asks for, or every problem it has.

        A record that is neither won nor open gets a desired state without terms; *as_won* gives it its terms all the same,
        for previews; *as_gone* never gives any, for a deleted record or to know whose chain a faulty one belongs to.
        """
        condition = self.condition(record)
        is_full = (as_won or condition in ("won", "open")) and not as_gone
        return self._deals.result(record, lines, condition, self.deal_name(record), is_full=is_full)

    def digest(self, record: Record, lines: Sequence[Record]) -> str:
        """Return a digest of everything that billing reads of the record and its lines, and of the condition it fulfils.

        Neither the order of lines nor the way a number is written (10 or 10.00) counts.
        """
        parts = [self.condition(record), *[_plain(read(record)) for read in self._deal_digest]]
        skip = self._skip
        rows = ["\x1f".join([_plain(read(line)) for read in self._line_digest]) for line in lines if skip is None or not skip(line)]
        rows.sort()
        text = "\x1e".join(["\x1f".join(parts), *rows])
        return blake2b(text.encode(), digest_size=16).hexdigest()

    def leaves(self, record: Record, lines: Sequence[Record]) -> Iterator[tuple[str, Leaf, Record, Reading]]:
        """Yield every leaf that the mapping fills, with the record it reads: of the deal, then of each line that is billed."""
        reading = Reading(self.object, record.get("Id") or "", record)
        for leaf in self._deal_leaves:
            yield f"deal.{leaf.key}", leaf, record, reading
        number = 0
        for line in lines:
            if self._skip is not None and self._skip(line):
                continue
            number += 1
            reading.line_record = (self.line_object, line["Id"])
            for leaf in self._line_leaves:
                yield f"line {number}.{leaf.key}", leaf, line, reading

    def in_its_words(self, problem: Problem, record: str) -> Problem:
        """Return billing's problem with the names that a record uses, with the labels of the fields in which they stand."""
        if problem.where.field not in NAMED_IN:
            return problem
        message, hint, field = problem.message, problem.hint, None
        for name, words in NAMED_IN.items():
            of_deal, _, key = name.partition(".")
            leaf = next((x for x in (self._deal_leaves if of_deal == "deal" else self._line_leaves) if x.key == key and x.places), None)
            if leaf is not None:
                message, hint = message.replace(words, leaf.places[0].name), hint.replace(words, leaf.places[0].name)
                field = leaf.field if name == problem.where.field else field
        return replace(problem, message=message, hint=hint, where=replace(problem.where, object=self.object, record=record, field=field))

    def explain(self, record: Record, lines: Sequence[Record]) -> list[MappedValue]:
        """Return field by field where a value came from and what it became; a value that does not fit is None."""
        return [
            MappedValue(target=target, source=", ".join(leaf.paths), value=leaf.read(held, reading), rule=leaf.rule)
            for target, leaf, held, reading in self.leaves(record, lines)
        ]


def compile_mapping(mapping: MappingFile, describe: Describe, org: Org, options: Options) -> Compiled:
    """Return *mapping* as functions for this org; it must have been checked against the same describe.

    Raises: ConfigError if `options.payment_terms` is not understood.
    """
    source = mapping.source
    record_scene = Scene(object=source.object, of=f"this {_called(describe, source.object)}", describe=describe, org=org, deal={})
    deal = _leaves(DEAL, mapping.deal, record_scene)
    line_scene = Scene(object=source.lines.object, of="the line", describe=describe, org=org, deal=deal)
    line = _leaves(LINE, mapping.line, line_scene)
    deal_discounts = [_discount(rule, record_scene) for rule in mapping.deal_discounts]
    line_discounts = [_discount(rule, line_scene) for rule in mapping.line_discounts]
    skip = getter(source.lines.skip) if source.lines.skip else None
    reader = LineReader(
        source.lines.object, line, [LineDiscounts(p, m) for p, m in line_discounts], per=mapping.per, skip=skip, supports=options.supports
    )
    deals = Deals(_frame(source.object, options), deal, [Discounts(percent=p, months=m) for p, m in deal_discounts], reader)

    def type_of(path: str) -> str:
        info = field_at(describe, source.object, path)[1]
        return info.type if info else ""

    deal_leaves = _filled(deal, deal_discounts)
    line_leaves = _filled(line, line_discounts)
    conditions = [c for c in (source.when, source.open, source.drop, source.preview) if c is not None]
    condition_fields = [path for c in conditions for path in condition_paths(c)]
    record_paths = [path for leaf in deal_leaves for path in leaf.paths]
    watched = [path for leaf in deal_leaves if leaf.key not in _NOT_BILLING for path in leaf.paths]
    return Compiled(
        name=mapping.name,
        object=source.object,
        line_object=source.lines.object,
        line_parent=source.lines.parent,
        record_fields=_unique(["Id", source.name, *([source.instead_of] if source.instead_of else []), *condition_fields, *record_paths]),
        line_fields=_unique(["Id", source.lines.parent, *([source.lines.skip] if source.lines.skip else []), *[p for f in line_leaves for p in f.paths]]),
        related=_record_related(describe, source, watched),
        line_related=_line_related(describe, source.lines.object, source.object, line_leaves),
        first_load=soql(source.when) if len(conditions) == 1 else " OR ".join(f"({soql(c)})" for c in conditions if c is not source.drop),
        start_from=source.start_from,
        edits=mapping.edits,
        on_reopen=mapping.on_reopen,
        write_back={block.object: block.fields for block in mapping.write_back},
        write_back_keys={block.object: block.key for block in mapping.write_back if block.key},
        _is_won=matcher(source.when, type_of),
        _is_open=matcher(source.open, type_of) if source.open else None,
        _is_dropped=matcher(source.drop, type_of) if source.drop else None,
        _is_previewed=matcher(source.preview, type_of) if source.preview else None,
        _name=getter(source.name),
        _instead_of=getter(source.instead_of) if source.instead_of else None,
        _skip=skip,
        _deals=deals,
        _deal_leaves=deal_leaves,
        _line_leaves=line_leaves,
        _deal_digest=tuple(getter(path) for path in _unique([source.name, *([source.instead_of] if source.instead_of else []), *watched])),
        _line_digest=tuple(getter(path) for path in _unique([path for leaf in line_leaves for path in leaf.paths])),
    )


def _leaves(slots: Mapping[str, Slot], values: Mapping[str, Value], scene: Scene) -> dict[str, Leaf]:
    return {key: leaf_for(key, slot, values[key], scene) if key in values else absent(key) for key, slot in slots.items()}


def _discount(rule: DiscountRule, scene: Scene) -> tuple[Leaf, Leaf]:
    value = rule.percent_off
    if rule.when:
        value = replace(value, when=f"({rule.when}) and ({value.when})" if value.when else rule.when)
    percent = leaf_for("discounts.percent_off", DISCOUNT["percent_off"], value, scene)
    months = leaf_for("discounts.months", DISCOUNT["months"], rule.months, scene) if rule.months else absent("discounts.months")
    return percent, months


def _frame(object_name: str, options: Options) -> Frame:
    payment = payment_days(options.payment_terms)
    if payment is None:
        hint = 'Write "Net 30", "Due on receipt" or "Charge automatically".'
        raise ConfigError([Problem(code="bad-payment-terms", message=f'billing.payment_terms "{options.payment_terms}" is not understood.', hint=hint)])
    settings = Settings(proration=options.proration, tax_rounding=options.tax_rounding, cancellation_day=options.cancellation_day)
    return Frame(
        object=object_name, timezone=options.timezone, settings=settings, payment=payment, payment_text=options.payment_terms,
        supports=options.supports,
    )  # fmt: skip


def _filled(leaves: Mapping[str, Leaf], discounts: Sequence[tuple[Leaf, Leaf]]) -> tuple[Leaf, ...]:
    every = [*leaves.values(), *[leaf for pair in discounts for leaf in pair]]
    return tuple(leaf for leaf in every if leaf.rule)


def _called(describe: Describe, object_name: str) -> str:
    info = describe.get(object_name)
    return (info.label if info and info.label else object_name).lower()


def _unique(paths: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(paths))


def _record_related(describe: Describe, source: SourceRule, paths: Sequence[str]) -> dict[str, str]:
    """Return by object the path from a record to what it points to and is found by: its account and contact, and who names its deal."""
    shown = describe.get(source.object)
    naming = shown.fields[source.name].relationship if shown is not None and source.name in shown.fields else None
    return {name: path for name, path in _related(describe, source.object, paths).items() if name in _FOUND_BY or path == naming}


def _related(describe: Describe, object_name: str, paths: Sequence[str]) -> dict[str, str]:
    """Return by object the relationship path that leads to it, for every parent that billing reads."""
    found: dict[str, str] = {}
    for path in paths:
        current = object_name
        hops: list[str] = []
        for hop in path.split(".")[:-1]:
            lookup = lookup_named(describe, current, hop)
            if lookup is None or not lookup.reference_to:
                break
            current = lookup.reference_to[0]
            hops.append(hop)
            if current not in _NOT_WATCHED:
                found.setdefault(current, ".".join(hops))
    return found


def _line_related(describe: Describe, line_object: str, record_object: str, leaves: Sequence[Leaf]) -> dict[str, str]:
    """Return by object the path from a line to what it points to, without the record that it belongs to."""
    found = _related(describe, line_object, [path for leaf in leaves for path in leaf.paths])
    return {name: path for name, path in found.items() if name not in (record_object, line_object)}


def _plain(value: Any) -> str:
    """Return a value as text that does not depend on how it was written."""
    if type(value) is str:
        return value
    if value is None:
        return ""
    if value is True or value is False:
        return "1" if value else "0"
    if isinstance(value, (int, Decimal)):
        return str(Decimal(value).normalize(_PLAIN) + 0)
    return str(value)
