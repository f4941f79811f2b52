"""The recycle bin: what was deleted and can come back."""

from __future__ import annotations

from dataclasses import dataclass

from connector.lookalike.crm.ids import id18
from connector.lookalike.crm.org import Org
from connector.lookalike.crm.refusal import Refusal
from connector.lookalike.crm.rep import words
from connector.lookalike.crm.rep.kinds import KINDS, LABELS
from connector.lookalike.crm.rep.words import Complaint
from connector.lookalike.crm.schema import labelled

ROWS_SHOWN = 100
_LINES = {"OpportunityLineItem": ("Opportunity", "OpportunityId"), "QuoteLineItem": ("Quote", "QuoteId")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Binned:
    """A deleted record."""

    id: str
    what: str
    name: str
    when: str
    by: str


def _kinds(org: Org) -> list[str]:
    named = [kind.name for kind in KINDS if not kind.is_read_only] + list(_LINES)
    return [name for name in named if name.lower() in org.schema.by_lower]


def deleted(org: Org) -> tuple[Binned, ...]:
    """Return what lies in the recycle bin, the latest first; what went with its parent comes back with it and is left out."""
    found = []
    for kind in _kinds(org):
        for row in org.table(kind).rows.values():
            if not row["IsDeleted"] or row.get("MasterRecordId"):
                continue
            parent_kind, lookup = _LINES.get(kind, ("", ""))
            if parent_kind and org.row(parent_kind, row.get(lookup)) is None:
                continue
            user = org.row("User", row.get("LastModifiedById")) or {}
            label = LABELS.get(kind) or labelled(kind)
            name = row.get("Name") or (org.row("Product2", row.get("Product2Id")) or {}).get("Name") or row["Id"]
            found.append((row["SystemModstamp"], Binned(
                id=row["Id"], what=label, name=str(name), when=words.instant_text(row["LastModifiedDate"]), by=str(user.get("Name", "")),
            )))  # fmt: skip
    found.sort(key=lambda one: (one[0], one[1].id), reverse=True)
    return tuple(binned for _, binned in found[:ROWS_SHOWN])


def restored(org: Org, record: str) -> tuple[Complaint | None, str]:
    """Bring a record back; return why it cannot, or the address of its page."""
    full = id18(record) or ""
    kind = next((name for name in _kinds(org) if full in org.table(name).rows), None)
    if kind is None:
        return Complaint(text="It is not in the recycle bin any more."), ""
    try:
        with org.transaction(user=org.rep_user):
            org.undelete(kind, full)
    except Refusal as refusal:
        return words.complaint_of(org, kind, refusal), ""
    owner, lookup = _LINES.get(kind, (kind, "Id"))
    return None, f"{words.url_of(owner, org.table(kind).rows[full][lookup])}?done=restored"
