"""Judges mapping files against the org: what `mapping.check` says becomes findings; what reaches beyond one file is looked at here. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from connector.doctor.findings import ORG_CHECKS, Finding, failed, of_problem, ok, warned
from connector.errors import Problem
from connector.mapping.language import MappingFile, field_at, settled
from connector.ports import ObjectInfo, Org

_NAMED = 5
_FINE = {
    "picklists": "every value that is read or written is active",
    "text-lengths": "every text fits",
    "digits": "amounts keep their decimal places",
    "formulas": "nothing is read from a formula or roll-up",
    "external-ids": "keys of created rows are unique external ids",
    "quotes": "nothing of quotes is left unread",
}
Describe = Mapping[str, ObjectInfo]


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A mapping file after the check: its source's name, the file, the mapping (None with errors) and what was said of it."""

    source: str
    file: str
    mapping: MappingFile | None
    problems: tuple[Problem, ...] = ()


def of_files(read: Sequence[Read], *, has_org: bool) -> list[Finding]:
    """Return what was said of the files, and a fine line for every check about which nothing was said."""
    found = [of_problem(problem, "mappings") for one in read for problem in one.problems]
    found.append(ok("mappings", ", ".join(f"{one.source}: {one.file}" for one in read)))
    if has_org and all(one.mapping is not None for one in read):
        found += [ok(name, _FINE[name]) for name in ORG_CHECKS if name in _FINE]
        found += _counted([one.mapping for one in read if one.mapping is not None])
    elif has_org:
        found.append(ok("objects", "all are there, and may be used as the mappings need"))
    return found


def _counted(mappings: Sequence[MappingFile]) -> list[Finding]:
    """Return how many objects and fields are read and written."""
    read = {o: None for m in mappings for o in (m.source.object, m.source.lines.object)}
    written = {(b.object, f) for m in mappings for b in m.write_back for f in b.fields}
    paths = {
        (m.source.object if block is m.deal else m.source.lines.object, path)
        for m in mappings
        for block in (m.deal, m.line)
        for value in block.values()
        for path in value.paths
        if not path.startswith("$")
    }
    objects = sorted({o for o, _ in written})
    return [
        ok("objects", f"{', '.join(read)} are read; {', '.join(objects)} are written"),
        ok("fields", f"{len(paths)} are read, {len(written)} are written"),
    ]


def currency(mappings: Iterable[MappingFile], describe: Describe, org: Org) -> Finding:
    """Return whether the org's own currency is known where mappings rely on it."""
    if org.is_multi_currency:
        return ok("currency", "each record's own; the org has several currencies")
    for mapping in mappings:
        value = mapping.deal.get("currency")
        paths = settled(value, describe, mapping.source.object, is_multi_currency=False) if value else ()
        if "$org.currency" in paths and not org.currency:
            return failed(
                "currency",
                f"{mapping.name} reads $org.currency, but the org's currency is hidden from the integration user.",
                "Let an administrator grant it read access to Organization.DefaultCurrencyIsoCode.",
                code="currency-hidden",
            )
    return ok("currency", f"{org.currency}, the org's only one")


def quotes(mappings: Sequence[MappingFile], describe: Describe) -> list[Finding]:
    """Return a warning where opportunities name a synced quote that no source reads."""
    read = {m.source.object for m in mappings}
    found = []
    for mapping in mappings:
        value = mapping.deal.get("synced_quote")
        shown = settled(value, describe, mapping.source.object, is_multi_currency=False) if value else ()
        targets = {t for path in shown for t in _targets(describe, mapping.source.object, path)}
        if targets and not targets & read:
            text = f"{mapping.name} names a synced quote ({', '.join(shown)}), but no source reads {' or '.join(sorted(targets))}."
            hint = "Add the source of quotes to config.yaml, else won opportunities are billed from their own lines."
            found.append(warned("quotes", text, hint))
    return found


def _targets(describe: Describe, object_name: str, path: str) -> tuple[str, ...]:
    info = field_at(describe, object_name, path)[1]
    return info.reference_to if info else ()


def price_fields(mappings: Iterable[MappingFile], describe: Describe) -> list[tuple[str, str]]:
    """Return (object, field) of every place where products name catalogue prices; fields of the lines themselves are left out."""
    places: dict[tuple[str, str], None] = {}
    for mapping in mappings:
        value, lines = mapping.line.get("price.catalog"), mapping.source.lines.object
        for path in settled(value, describe, lines, is_multi_currency=False) if value else ():
            owner, info, _ = field_at(describe, lines, path)
            if info is not None and owner != lines:
                places[owner, info.name] = None
    return list(places)


def catalogue(named: Mapping[str, Sequence[str]], known: Iterable[str]) -> list[Finding]:
    """Return the catalogue prices that products name (*named*: by price, the products) and the books do not have."""
    have = set(known)
    found = [
        failed(
            "catalogue",
            f"The books have no price {price}, which {_listed(products)} name{'s' if len(products) == 1 else ''}: such a line is not billed.",
            "Import it (`connector import catalog FILE`), or correct the field on the product.",
            code="unknown-price",
        )
        for price, products in sorted(named.items())
        if price not in have
    ]
    return found or [ok("catalogue", f"{len(named)} prices are named by products, all are in the books" if named else "no product names one")]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return f"{shown} and {len(names) - _NAMED} more" if len(names) > _NAMED else shown
