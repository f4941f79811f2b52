"""What happens to an org behind the back of whoever reads it: mass bumps, silent formulas, emptied bins, refreshed sandboxes.

Every function is one transaction. The saves people make (delete, undelete, merge) are verbs of the org itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from connector.lookalike.crm import rules
from connector.lookalike.crm.ids import id18
from connector.lookalike.crm.org import Org
from connector.lookalike.crm.refusal import Refusal, not_found
from connector.lookalike.crm.values import instant_text, stored


def bump(org: Org, kind: str, records: Iterable[str] | None = None, *, seconds: int = 0) -> int:
    """Move the stamps of records (None: all that are not deleted) to now plus *seconds*, and nothing else; return how many.

    LastModifiedDate stays, as when a picklist value is renamed or a roll-up field is made.
    """
    name = org.type(kind).name
    found = [row["Id"] for row in org.rows(name)] if records is None else [_known(org, name, one) for one in records]
    org.restamp(name, found, seconds=seconds)
    return len(found)


def set_quietly(org: Org, kind: str, record: str, fields: dict[str, Any]) -> None:
    """Give fields of a record other values without moving its stamp, as a formula does whose input lies elsewhere."""
    one = org.type(kind)
    with org.transaction():
        row = dict(org.table(one.name).rows[_known(org, one.name, record)])
        for name, value in fields.items():
            field = one.by_lower.get(name.lower())
            if field is None:
                raise Refusal("INVALID_FIELD", f"No such column '{name}' on sobject of type {one.name}")
            row[field.name] = stored(field, value)
        org.put(one.name, row["Id"], {key: value for key, value in row.items() if value is not None})


def purge(org: Org, kind: str, record: str) -> int:
    """Remove a record, deleted or not, and what hangs on it, so that even queryAll does not see them; return how many."""
    name = org.type(kind).name
    with org.transaction():
        return _purge(org, name, _known(org, name, record))


def _purge(org: Org, kind: str, record: str) -> int:
    gone = 1
    for child, field in org.schema.children[kind].values():
        if field.cascades:
            gone += sum(_purge(org, child.name, one) for one in org.table(child.name).children(field.name, record))
    row = org.table(kind).rows[record]
    org.put(kind, record, None)
    rules.after_delete(org, kind, row)
    return gone


def empty_bin(org: Org, kind: str | None = None, *, older_than_days: int = 0) -> int:
    """Remove what lies in the recycle bin, of one object or all; return how many records."""
    oldest = instant_text(org.now() - timedelta(days=older_than_days))
    names = [org.type(kind).name] if kind else [one.name for one in org.schema.types]
    with org.transaction():
        gone = [
            (name, record)
            for name in names
            for record, row in org.table(name).rows.items()
            if row["IsDeleted"] and row["SystemModstamp"] <= oldest
        ]
        for name, record in gone:
            org.put(name, record, None)
    return len(gone)


def resync(org: Org, quote: str) -> list[str]:
    """Sync a quote to its opportunity once more: its lines go for good, equal ones come under new ids; return those.

    Raises: Refusal 404 if the org has no quotes, or not this one.
    """
    row = org.get(org.type("Quote").name, quote)
    opportunity = row["OpportunityId"]
    with org.transaction(user=org.rep_user):
        if row.get("IsSyncing"):
            rules.replace_lines(org, opportunity, org.live_children("QuoteLineItem", "QuoteId", row["Id"]))
        else:
            org.update("Opportunity", opportunity, {"SyncedQuoteId": row["Id"]})
    return [line["Id"] for line in org.live_children("OpportunityLineItem", "OpportunityId", opportunity)]


def _known(org: Org, kind: str, record: str) -> str:
    found = id18(record)
    if found is None or found not in org.table(kind).rows:
        raise not_found(f"there is no {kind} {record}")
    return found
