"""Permission sets, computed from what mappings use: read what is read, edit what is written, and nothing else.

A path such as `Opportunity.Account.Billing_Email__c` of a quote needs the lookups on its way, too, because SOQL follows a
lookup only for who may read it. A standard field that always comes with its object has no line. Lines of deals have no
permission of their own in Salesforce: whoever reads the deal reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from connector.crm.package.catalogue import Catalogue
from connector.crm.package.components import INVOICE, MAIN
from connector.crm.package.markup import Node, document

INTEGRATION = "Billing_Connector_Integration"
REP = "Billing_Connector_Rep"
FINANCE = "Billing_Connector_Finance"
_TYPED = ("Payment_Received__c", "Payment_Received_On__c", "Payment_Reference__c", "Payment_Message__c")
"""Fields of invoice rows that are read where a payment is typed, and written when it is recorded."""
_WITHOUT_RIGHTS = frozenset({"User", "Organization", "OpportunityLineItem", "QuoteLineItem", "OrderItem", "PricebookEntry"})
_SHARED = frozenset({"Account", "Contact", "Contract", "Opportunity", "Order", "Quote", "SBQQ__Quote__c", "SBQQ__QuoteLine__c"})
"""Objects whose records are private in many orgs: reading some of them only would lose deals silently, so all are read."""
_NOBODYS = frozenset({"User", "Organization"})


@dataclass(slots=True, kw_only=True)
class Rights:
    """What one user needs: objects to read, edit, create; fields to read and edit, each as (object, name in permission sets).

    common - standard fields that are read and, as far as we know, come with their object. unknown - paths that lead nowhere we know.
    """

    objects: dict[str, set[str]] = field(default_factory=dict)
    reads: set[tuple[str, str]] = field(default_factory=set)
    edits: set[tuple[str, str]] = field(default_factory=set)
    common: set[tuple[str, str]] = field(default_factory=set)
    unknown: set[tuple[str, str]] = field(default_factory=set)

    def allow(self, object_name: str, *rights: str) -> None:
        """Note rights on an object: read, edit, create."""
        if object_name not in _WITHOUT_RIGHTS:
            self.objects.setdefault(object_name, set()).update(rights)


@dataclass(frozen=True, slots=True, kw_only=True)
class Writes:
    """What is written to one object; *key* - the external id by which its rows are created, None where rows are only updated."""

    object: str
    fields: tuple[str, ...]
    key: str | None


def integration_rights(catalogue: Catalogue, reads: Iterable[tuple[str, str]], writes: Iterable[Writes]) -> Rights:
    """Return what the integration user needs. reads - (object, path from it). unknown tells the paths that lead nowhere we know."""
    needed = Rights()
    for object_name, path in reads:
        _follow(needed, catalogue, object_name, path)
    for block in writes:
        needed.allow(block.object, "read", "edit", *(("create",) if block.key else ()))
        typed = _TYPED if block.object == INVOICE and catalogue.field(INVOICE, _TYPED[0]) else ()
        for name in {*block.fields, *([block.key] if block.key else []), *typed}:
            known = _permissioned(catalogue, block.object, name)
            needed.edits |= {(block.object, known)} if known else set()
    return needed


def _follow(needed: Rights, catalogue: Catalogue, object_name: str, path: str) -> None:
    *hops, last = path.split(".")
    current = object_name
    needed.allow(current, "read")
    for hop in hops:
        parent = catalogue.parent(current, hop)
        if parent is None:
            needed.unknown.add((object_name, path))
            return
        _read(needed, catalogue, current, f"{hop[:-1]}c" if hop.endswith("__r") else f"{hop}Id")
        current = parent
        needed.allow(current, "read")
    _read(needed, catalogue, current, last)


def _read(needed: Rights, catalogue: Catalogue, object_name: str, name: str) -> None:
    known = _permissioned(catalogue, object_name, name)
    if known is not None:
        needed.reads.add((object_name, known))
    elif object_name not in _NOBODYS:
        needed.common.add((object_name, name))


def _permissioned(catalogue: Catalogue, object_name: str, name: str) -> str | None:
    """Return under which name permission sets know a field; None for one that everybody has who has the object."""
    return name if name.endswith("__c") else catalogue.standard.get(object_name, {}).get(name)


def rep_rights(catalogue: Catalogue) -> Rights:
    """Return what a rep needs beyond the rights of selling: to read what the connector writes, to edit what it reads."""
    needed = Rights(objects={INVOICE: {"read"}})
    for object_name, specs in catalogue.fields.items():
        for spec in specs:
            (needed.edits if spec.role == "input" and object_name != INVOICE else needed.reads).add((object_name, spec.name))
    return needed


def _finance_rights(rep: Rights) -> Rights:
    """Return what somebody needs who types payments on invoice rows: to read those whole, and to edit what is typed."""
    rows = {place for place in rep.reads if place[0] == INVOICE}
    edits = {(INVOICE, name) for name in _TYPED[:-1]} & rows
    return Rights(objects={INVOICE: {"read", "edit"}}, reads=rows - edits, edits=edits)


def permission_files(integration: Rights, rep: Rights) -> Iterator[tuple[str, str]]:
    """Yield the permission sets; none names a licence, so each can be assigned to any user."""
    sees_all = _SHARED & integration.objects.keys()
    told = "For the user as whom the billing connector logs in: what its mappings read and write, and nothing else."
    nodes = [
        Node("label", "Billing Connector Integration"), Node("description", told), Node("hasActivationRequired", False),
        *(Node("userPermissions", [Node("enabled", True), Node("name", name)]) for name in _user_permissions(integration)), *_nodes(integration, sees_all),
    ]  # fmt: skip
    yield f"{MAIN}/permissionsets/{INTEGRATION}.permissionset-meta.xml", document("PermissionSet", nodes)
    told = "For people who sell: fill the billing terms of deals, read what the billing connector says."
    tab = Node("tabSettings", [Node("tab", INVOICE), Node("visibility", "Visible")])
    nodes = [Node("label", "Billing Connector Rep"), Node("description", told), Node("hasActivationRequired", False), tab, *_nodes(rep, frozenset())]
    yield f"{MAIN}/permissionsets/{REP}.permissionset-meta.xml", document("PermissionSet", nodes)
    told = "For people who record payments: type what arrived on the invoice's row. Goes with the reps' permission set or alone."
    own = [Node("label", "Billing Connector Finance"), Node("description", told), Node("hasActivationRequired", False), tab]
    finance = [*own, *_nodes(_finance_rights(rep), frozenset())]
    yield f"{MAIN}/permissionsets/{FINANCE}.permissionset-meta.xml", document("PermissionSet", finance)


def _user_permissions(rights: Rights) -> list[str]:
    """Return what is no matter of objects and fields: the API itself, and writing the status of an order that is activated."""
    return ["ApiEnabled", *(["EditActivatedOrders"] if "edit" in rights.objects.get("Order", ()) else [])]


def _nodes(rights: Rights, sees_all: Iterable[str]) -> Iterator[Node]:
    for object_name, name in sorted(rights.reads | rights.edits):
        can_edit = (object_name, name) in rights.edits
        yield Node("fieldPermissions", [Node("editable", can_edit), Node("field", f"{object_name}.{name}"), Node("readable", True)])
    for object_name, can in sorted(rights.objects.items()):
        yield Node("objectPermissions", [
            Node("allowCreate", "create" in can), Node("allowDelete", False), Node("allowEdit", "edit" in can), Node("allowRead", True),
            Node("modifyAllRecords", False), Node("object", object_name), Node("viewAllRecords", object_name in sees_all),
        ])  # fmt: skip


def as_described(rights: Rights, *, refused: Mapping[str, Iterable[str]], granted: Mapping[str, Iterable[str]]) -> Rights:
    """Return the rights as an org can give them: without the fields that take none there, with those that do after all; by object."""
    gone = {(name, f) for name, fields in refused.items() for f in fields}
    more = {(name, f) for name, fields in granted.items() for f in fields}
    return Rights(objects=rights.objects, reads=(rights.reads - gone) | more, edits=rights.edits - gone, common=rights.common, unknown=rights.unknown)
