"""What a deployment holds, read and checked against the org as it would be afterwards.

Everything that is wrong is found in one pass and told as Salesforce tells it: component, file, line, column, problem. A component
of a kind that the demo CRM does not know is refused, never waved through. Texts marked [G] are from memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from connector.lookalike.crm.custom import custom_object, merged, next_prefix
from connector.lookalike.crm.metadata_xml import NAMESPACE, Part, XmlError, parsed
from connector.lookalike.crm.schema import Field, ObjectType, Schema

DESCRIBED = {
    "Text": "string", "TextArea": "textarea", "LongTextArea": "textarea", "Email": "email", "Url": "url", "Phone": "phone", "Picklist": "picklist",
    "Number": "double", "Currency": "currency", "Percent": "percent", "Date": "date", "DateTime": "datetime", "Checkbox": "boolean",
    "Lookup": "reference",
}  # fmt: skip
_LENGTHS = {"TextArea": 255, "Email": 80, "Url": 255, "Phone": 40, "Picklist": 255, "Lookup": 18}
_FIELD_PARTS = frozenset((
    "fullName", "caseSensitive", "defaultValue", "deleteConstraint", "description", "externalId", "inlineHelpText", "label", "length", "precision",
    "referenceTo", "relationshipLabel", "relationshipName", "required", "scale", "trackHistory", "trackTrending", "type", "unique", "valueSet",
    "visibleLines",
))  # fmt: skip
_OBJECT_PARTS = frozenset((
    "compactLayoutAssignment", "compactLayouts", "deploymentStatus", "description", "enableActivities", "enableBulkApi", "enableFeeds",
    "enableHistory", "enableReports", "enableSearch", "enableSharing", "enableStreamingApi", "externalSharingModel", "fields", "label", "listViews",
    "nameField", "pluralLabel", "searchLayouts", "sharingModel", "visibility",
))  # fmt: skip
FOLDERS = {
    "permissionsets": "PermissionSet", "layouts": "Layout", "quickActions": "QuickAction", "tabs": "CustomTab", "translations": "Translations",
    "labels": "CustomLabels", "lwc": "LightningComponentBundle", "objects": "CustomObject",
}  # fmt: skip
KINDS = frozenset({*FOLDERS.values(), "CustomField", "ListView", "CompactLayout", "CustomLabel"})
_STANDARD_COLUMN = re.compile(r"[A-Z]+(?:[._][A-Z]+)*|NAME")
_RIGHTS = ("allowCreate", "allowDelete", "allowEdit", "allowRead", "modifyAllRecords", "viewAllRecords")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """One problem of a deployment."""

    kind: str
    name: str
    file: str
    problem: str
    line: int = 1
    column: int = 1


@dataclass(slots=True, kw_only=True)
class Read:
    """A deployment that was read: its components as (kind, name, file), what is wrong, and the fields it brings by object."""

    components: list[tuple[str, str, str]] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    types: dict[str, ObjectType] = field(default_factory=dict)
    fields: dict[str, dict[str, Field]] = field(default_factory=dict)
    labels: set[str] = field(default_factory=set)


def read_deployment(files: Mapping[str, bytes], schema: Schema, labels: set[str]) -> Read:
    """Read the files of a zip for an org with *schema* and custom *labels*."""
    return _Reader(files, schema, labels).read()


class _Reader:
    def __init__(self, files: Mapping[str, bytes], schema: Schema, labels: set[str]) -> None:
        self._files = files
        self._out = Read(types={one.name: one for one in schema.types}, labels=set(labels))
        self._roots: dict[str, Part] = {}
        self._later: list[Callable[[], None]] = []

    def read(self) -> Read:
        wanted = self._wanted()
        for name in sorted(self._files):
            if name != "package.xml":
                self._take(name)
        for check in self._later:  # what a component points to may come with the same deployment
            check()
        found = {(kind, name) for kind, name, _ in self._out.components}
        for kind, members in wanted.items():
            for name in sorted(members - {"*"}):
                if kind in KINDS and (kind, name) not in found:
                    self._refuse("", name, "package.xml", f"An object '{name}' of type {kind} was named in package.xml, but was not found in zipped directory")
        for kind, name, file in self._out.components:
            if name not in wanted.get(kind, ()) and "*" not in wanted.get(kind, ()):
                self._refuse(kind, name, file, "Not in package.xml")
        return self._out

    def _refuse(self, kind: str, name: str, file: str, problem: str, at: Part | None = None) -> None:
        line, column = (at.line, at.column) if at is not None else (1, 1)
        self._out.refused.append(Refused(kind=kind, name=name, file=file, problem=problem, line=line, column=column))

    def _root(self, file: str, kind: str, name: str) -> Part | None:
        try:
            root = parsed(self._files[file])
        except XmlError as error:
            self._out.refused.append(Refused(kind=kind, name=name, file=file, problem=f"Error parsing file: {error}", line=error.line, column=error.column))
            return None
        if root.name != kind or root.space != NAMESPACE:
            self._refuse(kind, name, file, f"Entity type {root.name} cannot stand in {file}", root)  # [G]
            return None
        return root

    def _wanted(self) -> dict[str, set[str]]:
        if "package.xml" not in self._files:
            self._refuse("", "package.xml", "package.xml", "No package.xml found")
            return {}
        root = self._root("package.xml", "Package", "package.xml")
        out: dict[str, set[str]] = {}
        for one in root.children("types") if root is not None else ():
            kind = one.value("name")
            if kind not in KINDS:
                self._refuse("", kind, "package.xml", f"Unknown type name '{kind}' specified in package.xml", one)
            out.setdefault(kind, set()).update(member.text.strip() for member in one.children("members"))
        return out

    def _take(self, file: str) -> None:
        folder, _, rest = file.partition("/")
        if folder == "lwc" and rest.count("/") == 1:
            self._bundle(file, rest.partition("/")[0])
            return
        kind = FOLDERS.get(folder)
        if kind is None or "/" in rest or kind == "LightningComponentBundle":
            self._refuse("", file, file, f"Unknown file in the package: {file}")  # [G]
            return
        name = rest.rpartition(".")[0]
        root = self._root(file, kind, name)
        if root is not None:
            getattr(self, f"_of_{folder.lower()}")(name, file, root)

    def _bundle(self, file: str, name: str) -> None:
        if file.endswith(f"/{name}.js-meta.xml"):
            self._out.components.append(("LightningComponentBundle", name, f"lwc/{name}"))
            root = self._root(file, "LightningComponentBundle", name)
            if root is not None and f"lwc/{name}/{name}.js" not in self._files:
                self._refuse("LightningComponentBundle", name, file, f"Cannot find the Lightning web component bundle's {name}.js", root)  # [G]
            for one in root.child("targetConfigs").parts if root is not None and root.child("targetConfigs") else ():  # type: ignore[union-attr]
                for inside in (o for objects in one.children("objects") for o in objects.children("object")):
                    self._needs_object("LightningComponentBundle", name, file, inside)

    # -- objects and fields -----------------------------------------------------------------------------------------------

    def _of_objects(self, name: str, file: str, root: Part) -> None:
        for one in root.parts:
            if one.name not in _OBJECT_PARTS:
                self._refuse("CustomObject", name, file, f"Element {one.name} invalid at this location in type CustomObject", one)
        has_own = any(one.name not in ("fields", "listViews", "compactLayouts") for one in root.parts)
        if has_own:
            self._out.components.append(("CustomObject", name, file))
        if name not in self._out.types and not self._create(name, file, root, has_own=has_own):
            return
        for one in root.children("fields"):
            self._field(name, file, one)
        for one in root.children("listViews"):
            self._out.components.append(("ListView", f"{name}.{one.value('fullName')}", file))
            self._later.append(lambda one=one: self._list_view(name, file, one))  # type: ignore[misc]
        for one in root.children("compactLayouts"):
            self._out.components.append(("CompactLayout", f"{name}.{one.value('fullName')}", file))
            self._later.append(lambda one=one: self._needs_fields("CompactLayout", name, file, one.children("fields")))  # type: ignore[misc]

    def _create(self, name: str, file: str, root: Part, *, has_own: bool) -> bool:
        if not name.endswith("__c") or not has_own:
            self._refuse("CustomObject", name, file, f"Entity of type 'CustomObject' named '{name}' cannot be found", root)
            return False
        missing = [one for one in ("label", "pluralLabel", "nameField", "deploymentStatus", "sharingModel") if root.child(one) is None]
        for one in missing:
            self._refuse("CustomObject", name, file, f"Must specify a non-empty {one} for the CustomObject", root)  # [G]
        given = root.child("nameField")
        form = given.value("displayFormat") if given is not None and given.value("type") == "AutoNumber" else ""
        zeros = re.search(r"\{(0+)\}", form)
        auto = form.replace(zeros[0], f"{{:0{len(zeros[1])}d}}") if zeros else ""
        prefix = next_prefix(self._out.types.values())
        self._out.types[name] = custom_object(name, prefix, auto, root.value("pluralLabel"))
        self._out.fields.setdefault(name, {})
        return not missing

    def _field(self, object_name: str, file: str, one: Part) -> None:
        name = one.value("fullName")
        full = f"{object_name}.{name}"
        self._out.components.append(("CustomField", full, file))
        problems = list(_field_problems(one))
        made = None if problems else _field_of(one)
        if made is not None:
            problems = list(self._clashes(object_name, made))
        for problem, at in problems:
            self._refuse("CustomField", full, file, problem, at or one)
        if made is None or problems:
            return
        self._out.fields.setdefault(object_name, {})[name] = made
        self._out.types[object_name] = merged(self._out.types[object_name], (made,))
        if made.target:
            target = one.child("referenceTo")
            self._later.append(lambda: self._needs_target(full, file, target))

    def _clashes(self, object_name: str, made: Field) -> Iterator[tuple[str, Part | None]]:
        old = self._out.types[object_name].by_lower.get(made.name.lower())
        if old is not None and old.type != made.type:
            yield f"Cannot update a field to a {made.type} from something else", None
        if made.children:
            for kind in self._out.types.values():
                for other in kind.fields:
                    is_same = (kind.name, other.name) == (object_name, made.name)
                    if not is_same and other.target == made.target and other.children == made.children:
                        yield f"There is already a Child Relationship named {made.children.removesuffix('__r')} on {made.target}.", None

    def _needs_target(self, full: str, file: str, at: Part | None) -> None:
        if at is not None and at.text.strip() not in self._out.types:
            self._refuse("CustomField", full, file, f"referenceTo value of '{at.text.strip()}' does not resolve to a valid sObject type", at)

    # -- what points to fields --------------------------------------------------------------------------------------------

    def _has_field(self, object_name: str, name: str) -> bool:
        kind = self._out.types.get(object_name)
        if kind is None:
            return False
        found = kind.by_lower.get(name.lower())
        is_compound = any(f.compound == name for f in kind.fields)
        return (found is not None and found.name == name) or is_compound

    def _needs_fields(self, kind: str, object_name: str, file: str, named: list[Part]) -> None:
        for one in named:
            if not self._has_field(object_name, one.text.strip()):
                self._refuse(kind, object_name, file, f"In field: field - no CustomField named {object_name}.{one.text.strip()} found", one)

    def _needs_object(self, kind: str, name: str, file: str, one: Part) -> None:
        if one.text.strip() not in self._out.types:
            self._later.append(lambda: self._object_or_refuse(kind, name, file, one))

    def _object_or_refuse(self, kind: str, name: str, file: str, one: Part) -> None:
        if one.text.strip() not in self._out.types:
            self._refuse(kind, name, file, f"In field: object - no CustomObject named {one.text.strip()} found", one)

    def _list_view(self, object_name: str, file: str, view: Part) -> None:
        name = f"{object_name}.{view.value('fullName')}"
        if not view.value("filterScope"):
            self._refuse("ListView", name, file, "Required field is missing: filterScope", view)
        for one in (*view.children("columns"), *(f for x in view.children("filters") for f in x.children("field"))):
            column = one.text.strip()
            if not (self._has_field(object_name, column) or (not column.endswith("__c") and _STANDARD_COLUMN.fullmatch(column))):
                self._refuse("ListView", name, file, f"Could not resolve list view column: {column}", one)

    def _of_permissionsets(self, name: str, file: str, root: Part) -> None:
        self._out.components.append(("PermissionSet", name, file))
        self._later.append(lambda: self._permission_set(name, file, root))

    def _permission_set(self, name: str, file: str, root: Part) -> None:
        if not root.value("label"):
            self._refuse("PermissionSet", name, file, "Required field is missing: label", root)
        for one in root.children("fieldPermissions"):
            self._field_right(name, file, one)
        for one in root.children("objectPermissions"):
            self._object_right(name, file, one)
        for one in root.children("tabSettings"):
            if one.value("tab").endswith("__c") and one.value("tab") not in self._out.types:
                self._refuse("PermissionSet", name, file, f"In field: tab - no CustomTab named {one.value('tab')} found", one)

    def _field_right(self, name: str, file: str, one: Part) -> None:
        object_name, _, field_name = one.value("field").partition(".")
        if not self._has_field(object_name, field_name):
            self._refuse("PermissionSet", name, file, f"In field: field - no CustomField named {one.value('field')} found", one)
            return
        found = self._out.types[object_name].by_lower.get(field_name.lower())
        if found is not None and not found.nillable and found.type != "boolean":
            self._refuse("PermissionSet", name, file, f"You cannot deploy to a required field: {one.value('field')}", one)
        if one.is_true("editable") and not one.is_true("readable"):
            self._refuse("PermissionSet", name, file, f"Field {one.value('field')} cannot be editable and not readable", one)  # [G]

    def _object_right(self, name: str, file: str, one: Part) -> None:
        object_name = one.value("object")
        if object_name not in self._out.types:
            self._refuse("PermissionSet", name, file, f"In field: field - no CustomObject named {object_name} found", one)
        for right in (r for r in _RIGHTS if one.child(r) is None):
            self._refuse("PermissionSet", name, file, f"Required field is missing: {right}", one)
        if one.is_true("modifyAllRecords") and not one.is_true("allowDelete"):
            problem = f"Permission Modify All {object_name} depends on permission(s): Delete {object_name}"
            self._refuse("PermissionSet", name, file, problem, one)

    def _of_layouts(self, name: str, file: str, root: Part) -> None:
        self._out.components.append(("Layout", name, file))
        object_name = name.partition("-")[0]
        items = [f for s in root.children("layoutSections") for c in s.children("layoutColumns") for i in c.children("layoutItems") for f in i.children("field")]
        self._later.append(lambda: self._needs_fields("Layout", object_name, file, items))

    def _of_quickactions(self, name: str, file: str, root: Part) -> None:
        self._out.components.append(("QuickAction", name, file))
        object_name = name.partition(".")[0]
        columns = [c for layout in root.children("quickActionLayout") for c in layout.children("quickActionLayoutColumns")]
        items = [f for c in columns for i in c.children("quickActionLayoutItems") for f in i.children("field")]
        self._later.append(lambda: self._needs_fields("QuickAction", object_name, file, items))

    def _of_tabs(self, name: str, file: str, root: Part) -> None:
        self._out.components.append(("CustomTab", name, file))
        if root.is_true("customObject"):
            self._later.append(lambda: self._object_or_refuse("CustomTab", name, file, Part(name, "", root.line, root.column, text=name)))

    def _of_labels(self, _name: str, file: str, root: Part) -> None:
        for one in root.children("labels"):
            self._out.components.append(("CustomLabel", one.value("fullName"), file))
            self._out.labels.add(one.value("fullName"))
            for needed in ("language", "value", "shortDescription"):
                if not one.value(needed):
                    self._refuse("CustomLabel", one.value("fullName"), file, f"Required field is missing: {needed}", one)

    def _of_translations(self, name: str, file: str, root: Part) -> None:
        self._out.components.append(("Translations", name, file))
        self._later.append(lambda: self._translated(name, file, root))

    def _translated(self, name: str, file: str, root: Part) -> None:
        for one in root.children("customLabels"):
            if one.value("name") not in self._out.labels:
                self._refuse("Translations", name, file, f"In field: customLabels - no CustomLabel named {one.value('name')} found", one)


def _field_problems(one: Part) -> Iterator[tuple[str, Part | None]]:
    kind, name = one.value("type"), one.value("fullName")
    for part in one.parts:
        if part.name not in _FIELD_PARTS:
            yield f"Element {part.name} invalid at this location in type CustomField", part
    if not re.fullmatch(r"[A-Za-z](?:_?[A-Za-z0-9])*__c", name):
        yield "The field name can only contain alphanumeric characters and must end with: __c", one.child("fullName")
    if not one.value("label"):
        yield "Must specify a non-empty label for the CustomField", None
    if kind not in DESCRIBED:
        yield f"Invalid field type: {kind}", one.child("type")  # [G]
        return
    yield from _size_problems(one, kind)
    if kind == "Picklist" and not _picklist(one):
        yield "Must specify a valueSet with values for a CustomField of type Picklist", one.child("valueSet")  # [G]
    if kind == "Lookup" and not (one.value("referenceTo") and one.value("relationshipName")):
        yield "Must specify 'referenceTo' and 'relationshipName' for a CustomField of type Lookup", None  # [G]
    if kind == "Checkbox" and one.value("defaultValue") not in ("true", "false"):
        yield "Must specify 'defaultValue' for a CustomField of type Checkbox", None  # [G]
    if len(one.value("inlineHelpText")) > 510:
        yield "Help text is longer than 510 characters", one.child("inlineHelpText")  # [G]


def _size_problems(one: Part, kind: str) -> Iterator[tuple[str, Part | None]]:
    length, precision, scale = (int(one.value(part)) if one.value(part).isdigit() else -1 for part in ("length", "precision", "scale"))
    if kind == "Text" and not 1 <= length <= 255:
        yield "Text field length must be between 1 and 255", one.child("length")  # [G]
    if kind == "LongTextArea" and not 256 <= length <= 131_072:
        yield "Long text area length must be between 256 and 131072", one.child("length")  # [G]
    if kind == "LongTextArea" and not one.value("visibleLines"):
        yield "Must specify 'visibleLines' for a CustomField of type LongTextArea", None
    if kind in ("Number", "Currency", "Percent") and not (1 <= precision <= 18 and 0 <= scale <= precision):
        yield "Must specify 'precision' and 'scale', of at most 18 digits together", one.child("precision")  # [G]


def _picklist(one: Part) -> tuple[str, ...]:
    definition = next((d for v in one.children("valueSet") for d in v.children("valueSetDefinition")), None)
    return tuple(v.value("fullName") for v in definition.children("value")) if definition is not None else ()


def _field_of(one: Part) -> Field:
    kind, name = one.value("type"), one.value("fullName")
    length = int(one.value("length") or 0) or _LENGTHS.get(kind, 0)
    values = next((v for v in one.children("valueSet")), None)
    return Field(
        name=name, type=DESCRIBED[kind], label=one.value("label"), length=length, precision=int(one.value("precision") or 0),
        scale=int(one.value("scale") or 0), nillable=kind != "Checkbox" and not one.is_true("required"), picklist=_picklist(one),
        restricted=values is not None and values.is_true("restricted"), target=one.value("referenceTo"),
        relationship=f"{name[:-1]}r" if kind == "Lookup" else "", children=f"{one.value('relationshipName')}__r" if kind == "Lookup" else "",
        external_id=one.is_true("externalId"), unique=one.is_true("unique"),
    )  # fmt: skip
