"""The metadata components, each as its file's name in an SFDX project and its text.

A field of ours, an object, a list view, a quick action with which a rep fills the billing terms, the labels of the card. Names of
list-view columns and of layout parts are Salesforce's own; where they differ from API names, the table below says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from connector.crm.package.catalogue import Catalogue, FieldSpec, ObjectSpec
from connector.crm.package.labels import FRENCH, LABELS
from connector.crm.package.markup import Node, document

MAIN = "force-app/main/default"
FRENCH_FOLDER = "french/main/default"
TRACKED = "Billing_Status__c"
INVOICE = "Billing_Invoice__c"
TERMS_ACTION = "Billing_Terms"

_VIEWS: Mapping[str, tuple[tuple[str, str, tuple[str, ...], tuple[tuple[str, str, str], ...]], ...]] = {
    "Opportunity": ((
        "Billing_Needs_Attention", "Billing: needs attention",
        ("OPPORTUNITY.NAME", "ACCOUNT.NAME", "OPPORTUNITY.STAGE_NAME", "OPPORTUNITY.CLOSE_DATE", "Billing_Status__c", "Amount_Due__c", "Billing_Synced_At__c"),
        (("Billing_Status__c", "equals", "Needs attention"),),
    ),),
    "Quote": ((
        "Billing_Needs_Attention", "Billing: needs attention",
        ("QUOTE.NAME", "OPPORTUNITY.NAME", "QUOTE.STATUS", "QUOTE.EXPIRATIONDATE", "Billing_Status__c", "Quote_Number__c", "Billing_Synced_At__c"),
        (("Billing_Status__c", "equals", "Needs attention"),),
    ),),
    INVOICE: (
        ("All", "All", ("NAME", "Number__c", "Account__c", "Opportunity__c", "Status__c", "Issued_On__c", "Total__c", "Amount_Due__c", "Currency__c"), ()),
        (
            "Overdue", "Overdue", ("NAME", "Number__c", "Account__c", "Opportunity__c", "Due_On__c", "Total__c", "Amount_Due__c", "Currency__c"),
            (("Amount_Due__c", "greaterThan", "0"), ("Due_On__c", "lessThan", "TODAY")),
        ),
    ),
}  # fmt: skip
"""By object: name, label, columns and filters of its list views."""


def field_node(spec: FieldSpec, *, has_history: bool) -> list[Node]:
    """Return what stands in a custom field's file."""
    nodes = [
        Node("fullName", spec.name), Node("label", spec.label), Node("type", spec.type), Node("inlineHelpText", spec.help),
        Node("description", spec.help),
    ]  # fmt: skip
    if spec.type != "Checkbox":
        nodes.append(Node("required", False))
    if has_history and spec.name == TRACKED:
        nodes.append(Node("trackHistory", True))
    return [*nodes, *_of_type(spec)]


def _of_type(spec: FieldSpec) -> Iterator[Node]:
    if spec.type == "Checkbox":
        yield Node("defaultValue", "false")
    elif spec.type == "LongTextArea":
        yield from (Node("length", spec.length), Node("visibleLines", 4))
    elif spec.type == "Text":
        yield from (Node("length", spec.length), Node("externalId", spec.is_unique))
        yield from (Node("caseSensitive", False), Node("unique", True)) if spec.is_unique else ()
    elif spec.type in ("Number", "Currency", "Percent"):
        yield from (Node("precision", spec.digits), Node("scale", spec.scale))
    elif spec.type == "Lookup":
        yield from (
            Node("referenceTo", spec.to), Node("relationshipName", spec.children), Node("relationshipLabel", spec.children_label),
            Node("deleteConstraint", "SetNull"),
        )  # fmt: skip
    elif spec.type == "Picklist":
        values = [Node("value", [Node("fullName", v), Node("default", False), Node("label", v)]) for v in spec.values]
        definition = Node("valueSetDefinition", [Node("sorted", False), *values])
        yield Node("valueSet", [Node("restricted", True), definition])


def object_nodes(spec: ObjectSpec) -> list[Node]:
    """Return what stands in the file of an object that we create: public to read, because reps do not own its records."""
    name_field = [Node("displayFormat", spec.name_format), Node("label", spec.name_label), Node("type", "AutoNumber")]
    return [
        Node("label", spec.label), Node("pluralLabel", spec.plural), Node("description", spec.help), Node("nameField", name_field),
        Node("deploymentStatus", "Deployed"), Node("sharingModel", "Read"), Node("externalSharingModel", "Private"), Node("visibility", "Public"),
        Node("enableReports", True), Node("enableSearch", True), Node("compactLayoutAssignment", "Billing_Invoice"),
    ]  # fmt: skip


def field_files(catalogue: Catalogue, *, has_history: bool) -> Iterator[tuple[str, str]]:
    """Yield the files of all fields and of the objects that carry them."""
    for name, made in catalogue.objects.items():
        yield f"{MAIN}/objects/{name}/{name}.object-meta.xml", document("CustomObject", object_nodes(made))
    for name, specs in catalogue.fields.items():
        if has_history and name not in catalogue.objects and any(s.name == TRACKED for s in specs):
            yield f"{MAIN}/objects/{name}/{name}.object-meta.xml", document("CustomObject", [Node("enableHistory", True)])
        for spec in specs:
            yield f"{MAIN}/objects/{name}/fields/{spec.name}.field-meta.xml", document("CustomField", field_node(spec, has_history=has_history))


def view_files(catalogue: Catalogue) -> Iterator[tuple[str, str]]:
    """Yield the list views, the layouts of our object, its tab, and the quick actions."""
    for name in catalogue.fields:
        for view, label, columns, filters in _VIEWS.get(name, ()):
            nodes = [
                Node("fullName", view), Node("label", label), Node("filterScope", "Everything"), *(Node("columns", c) for c in columns),
                *(Node("filters", [Node("field", f), Node("operation", o), Node("value", v)]) for f, o, v in filters),
            ]  # fmt: skip
            yield f"{MAIN}/objects/{name}/listViews/{view}.listView-meta.xml", document("ListView", nodes)
    shown = [Node("fields", f) for f in ("Number__c", "Status__c", "Total__c", "Amount_Due__c", "Due_On__c", "URL__c")]
    compact = [Node("fullName", "Billing_Invoice"), Node("label", "Billing Invoice"), *shown]
    yield f"{MAIN}/objects/{INVOICE}/compactLayouts/Billing_Invoice.compactLayout-meta.xml", document("CompactLayout", compact)
    yield f"{MAIN}/layouts/{INVOICE}-Billing Invoice Layout.layout-meta.xml", document("Layout", _layout(catalogue.fields[INVOICE]))
    yield f"{MAIN}/tabs/{INVOICE}.tab-meta.xml", document("CustomTab", [Node("customObject", True), Node("motif", "Custom18: Form")])
    for name in ("Opportunity", "Quote", "Order"):
        if name in catalogue.fields:
            file = f"{MAIN}/quickActions/{name}.{TERMS_ACTION}.quickAction-meta.xml"
            yield file, document("QuickAction", _terms(catalogue.fields[name]))


def _layout(specs: Sequence[FieldSpec]) -> list[Node]:
    """Return the page of a billing invoice: everything on it is written by the connector, so nothing can be edited."""
    names = {"Name": "Readonly"} | {s.name: "Edit" if s.role == "input" else "Readonly" for s in specs}
    items = [Node("layoutItems", [Node("behavior", how), Node("field", name)]) for name, how in names.items()]
    half = (len(items) + 1) // 2
    columns = [Node("layoutColumns", part) for part in (items[:half], items[half:])]
    section = [
        Node("customLabel", False), Node("detailHeading", False), Node("editHeading", True), Node("label", "Information"), *columns,
        Node("style", "TwoColumnsTopToBottom"),
    ]  # fmt: skip
    return [Node("layoutSections", section)]


def _terms(specs: Sequence[FieldSpec]) -> list[Node]:
    """Return the action "Billing terms": the inputs of a deal, filled on one page without touching anybody's page layout."""
    inputs = [s for s in specs if s.role == "input"]
    items = [
        Node("quickActionLayoutItems", [Node("emptySpace", False), Node("field", s.name), Node("uiBehavior", "Edit")]) for s in inputs
    ]
    half = (len(items) + 1) // 2
    columns = [Node("quickActionLayoutColumns", part) for part in (items[:half], items[half:])]
    return [
        Node("label", "Billing terms"), Node("optionsCreateFeedItem", False), Node("type", "Update"),
        Node("quickActionLayout", [Node("layoutSectionStyle", "TwoColumnsLeftToRight"), *columns]),
    ]  # fmt: skip


def label_files() -> Iterator[tuple[str, str]]:
    """Yield the card's labels in English, and in French in a folder of their own, which needs the Translation Workbench."""
    labels = [
        Node("labels", [
            Node("fullName", name), Node("categories", "Billing"), Node("language", "en_US"), Node("protected", False),
            Node("shortDescription", name.replace("_", " ")), Node("value", text),
        ])
        for name, text in LABELS.items()
    ]  # fmt: skip
    yield f"{MAIN}/labels/CustomLabels.labels-meta.xml", document("CustomLabels", labels)
    french = [Node("customLabels", [Node("name", name), Node("label", text)]) for name, text in FRENCH.items()]
    yield f"{FRENCH_FOLDER}/translations/fr.translation-meta.xml", document("Translations", french)
