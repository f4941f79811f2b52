"""From an SFDX project to what the Metadata API takes: a zip in metadata format, with package.xml naming each component.

An SFDX project has one file a field and list view; the Metadata API wants them inside their object's file. Everything else only
loses `-meta.xml` from its name. The same project gives the same bytes.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from connector.crm.package.markup import NAMESPACE, Node, document
from connector.errors import ConfigError, Problem, Where

_IN_OBJECTS = {"fields": ("field", "fields", "CustomField"), "listViews": ("listView", "listViews", "ListView"), "compactLayouts": ("compactLayout", "compactLayouts", "CompactLayout")}
_FOLDERS = {
    "permissionsets": ("permissionset", "PermissionSet"), "layouts": ("layout", "Layout"), "quickActions": ("quickAction", "QuickAction"),
    "tabs": ("tab", "CustomTab"), "translations": ("translation", "Translations"), "labels": ("labels", "CustomLabels"),
}  # fmt: skip
_WHEN = (1980, 1, 1, 0, 0, 0)
_OBJECT_FILE = re.compile(r"objects/([^/]+)/(?:([^/]+)\.object-meta\.xml|([^/]+)/([^/]+)\.([A-Za-z]+)-meta\.xml)")
_OTHER_FILE = re.compile(r"([^/]+)/(.+)\.([A-Za-z]+)-meta\.xml")
_NOT_SENT = re.compile(r"lwc/(?:[^/]+/__tests__/.*|jsconfig\.json|\.eslintrc\.json)|(?:.*/)?\.[^/]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """What is sent: the zip's files by name, and the components by metadata type."""

    files: Mapping[str, str]
    components: Mapping[str, tuple[str, ...]]

    @property
    def count(self) -> int:
        """How many components there are."""
        return sum(map(len, self.components.values()))

    def zipped(self) -> bytes:
        """Return the zip, equal for equal files."""
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
            for name, text in sorted(self.files.items()):
                target.writestr(zipfile.ZipInfo(name, _WHEN), text.encode(), zipfile.ZIP_DEFLATED)
        return out.getvalue()


def archived(sources: Mapping[str, str], api_version: str) -> Archive:
    """Return the archive of a project. *sources* - texts by their path below a package directory, such as `objects/Quote/...`.

    Raises: ConfigError naming every file that cannot be sent.
    """
    maker = _Maker()
    for name, text in sorted(sources.items()):
        if not _NOT_SENT.fullmatch(name):
            maker.take(name, text)
    if maker.problems:
        raise ConfigError(maker.problems)
    components = {kind: tuple(sorted(names)) for kind, names in sorted(maker.components.items())}
    files = {**maker.files, **maker.object_files(), "package.xml": manifest(components, api_version)}
    return Archive(files=files, components=components)


def manifest(components: Mapping[str, tuple[str, ...]], api_version: str) -> str:
    """Return package.xml."""
    types = [Node("types", [*(Node("members", m) for m in members), Node("name", kind)]) for kind, members in sorted(components.items())]
    return document("Package", [*types, Node("version", api_version)])


class _Maker:
    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.components: dict[str, set[str]] = {}
        self.problems: list[Problem] = []
        self._objects: dict[str, list[ET.Element]] = {}

    def take(self, name: str, text: str) -> None:
        if name.startswith("lwc/"):
            self._card(name, text)
        elif match := _OBJECT_FILE.fullmatch(name):
            self._of_object(name, text, match)
        elif (match := _OTHER_FILE.fullmatch(name)) and _FOLDERS.get(match[1], ("",))[0] == match[3]:
            self._other(name, text, match)
        else:
            hint = "Deploy it with Salesforce's own command line (sf project deploy start), or take it out of the folder."
            self._problem("unknown-component", name, "This kind of component is not one that `crm deploy` can send.", hint)

    def _problem(self, code: str, name: str, message: str, hint: str) -> None:
        self.problems.append(Problem(code=code, message=message, hint=hint, where=Where(file=name)))

    def _add(self, kind: str, member: str) -> None:
        self.components.setdefault(kind, set()).add(member)

    def _card(self, name: str, text: str) -> None:
        self.files[name] = text
        self._add("LightningComponentBundle", name.split("/")[1])

    def _other(self, name: str, text: str, match: re.Match[str]) -> None:
        if match[1] == "labels":
            root = self._root(name, text)
            for label in root.iterfind(f"{{{NAMESPACE}}}labels/{{{NAMESPACE}}}fullName") if root is not None else ():
                self._add("CustomLabel", label.text or "")
        else:
            self._add(_FOLDERS[match[1]][1], match[2])
        self.files[f"{match[1]}/{match[2]}.{match[3]}"] = text

    def _of_object(self, name: str, text: str, match: re.Match[str]) -> None:
        object_name, own, folder, member, ending = match.groups()
        root = self._root(name, text)
        if root is None:
            return
        inside = self._objects.setdefault(object_name, [])
        if own is not None:
            inside.extend(root)
            self._add("CustomObject", object_name)
            return
        known_ending, element, kind = _IN_OBJECTS.get(folder, ("", "", ""))
        if known_ending != ending:
            self._problem("unknown-component", name, f"`crm deploy` cannot send {folder} of objects.", "Deploy it with sf project deploy start.")
            return
        root.tag = f"{{{NAMESPACE}}}{element}"
        inside.append(root)
        self._add(kind, f"{object_name}.{member}")

    def _root(self, name: str, text: str) -> ET.Element | None:
        try:
            root = ET.fromstring(text)  # noqa: S314 - as above
        except ET.ParseError as error:
            line, column = error.position
            where = Where(file=name, line=line, column=column + 1)
            self.problems.append(Problem(code="bad-xml", message=f"The file is no XML: {error}.", hint="Correct it, or write the package anew.", where=where))
            return None
        if any(not element.tag.startswith(f"{{{NAMESPACE}}}") for element in root.iter()):
            self._problem("bad-xml", name, "Its elements are not Salesforce metadata.", f'The first element needs xmlns="{NAMESPACE}".')
            return None
        return root

    def object_files(self) -> dict[str, str]:
        """Return the files of objects, what they hold in the order of its names."""
        out = {}
        for name, inside in self._objects.items():
            root = ET.Element(f"{{{NAMESPACE}}}CustomObject")
            root.extend(sorted(inside, key=lambda element: element.tag))
            ET.indent(root, "    ")
            text = ET.tostring(root, encoding="unicode", default_namespace=NAMESPACE)
            out[f"objects/{name}.object"] = f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'
        return out
