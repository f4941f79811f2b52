"""A validator of metadata files against Salesforce's own description, the WSDL that simple-salesforce ships (Metadata API 63.0).

It knows what the description knows: element names, their order and number, types, enumerations, the forms of booleans and
numbers. What the description does not know (does that field exist, may that type change) only an org can tell.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from xml.etree import ElementTree as ET

import simple_salesforce

XSD = "{http://www.w3.org/2001/XMLSchema}"
MET = "{http://soap.sforce.com/2006/04/metadata}"
FORMS = {
    "xsd:boolean": r"true|false", "xsd:int": r"-?\d+", "xsd:double": r"-?\d+(\.\d+)?", "xsd:date": r"\d{4}-\d\d-\d\d",
}  # fmt: skip
XML_INSIDE = {("LightningComponentBundle", "targetConfigs")}
"""Described as base64, because it travels so; in files it is XML of its own."""


@dataclass(frozen=True)
class Element:
    """One child of a type: its name, its type, how often it may stand."""

    name: str
    type: str
    least: int
    most: int | None


@cache
def description() -> tuple[dict[str, ET.Element], dict[str, frozenset[str]]]:
    """Return complex types by name, and enumerations by name."""
    file = Path(simple_salesforce.__file__).parent / "metadata.wsdl"
    root = ET.fromstring(file.read_bytes())
    types = {node.attrib["name"]: node for node in root.iter(f"{XSD}complexType") if "name" in node.attrib}
    words = {
        node.attrib["name"]: frozenset(one.attrib["value"] for one in node.iter(f"{XSD}enumeration"))
        for node in root.iter(f"{XSD}simpleType")
        if "name" in node.attrib
    }
    return types, words


@cache
def children(kind: str) -> tuple[Element, ...]:
    """Return the children of a type in their order, those of its base first."""
    node = description()[0][kind]
    extension = node.find(f".//{XSD}extension")
    base = children(extension.attrib["base"].removeprefix("tns:")) if extension is not None else ()
    own = []
    for one in node.iter(f"{XSD}element"):
        most = one.attrib.get("maxOccurs", "1")
        own.append(Element(one.attrib["name"], one.attrib["type"], int(one.attrib.get("minOccurs", "1")), None if most == "unbounded" else int(most)))
    return (*base, *own)


def faults(text: str) -> list[str]:
    """Return everything that is wrong with a metadata file; its type is the name of its root."""
    root = ET.fromstring(text)
    kind = root.tag.removeprefix(MET)
    return _faults(root, kind, kind) if kind in description()[0] else [f"{root.tag} is no metadata type"]


def _faults(node: ET.Element, kind: str, path: str) -> list[str]:
    known = children(kind)
    places = {one.name: number for number, one in enumerate(known)}
    found, last, counts = [], -1, dict.fromkeys(places, 0)
    for child in node:
        name = child.tag.removeprefix(MET)
        if name not in places:
            found.append(f"{path}: {kind} has no {name}")
            continue
        if places[name] < last:
            found.append(f"{path}: {name} stands too late")
        last = max(last, places[name])
        counts[name] += 1
        found += _value_faults(child, kind, known[places[name]], f"{path}/{name}")
    for one in known:
        if counts[one.name] < one.least:
            found.append(f"{path}: {one.name} is missing")
        if one.most is not None and counts[one.name] > one.most:
            found.append(f"{path}: {one.name} stands {counts[one.name]} times")
    return found


def _value_faults(node: ET.Element, owner: str, told: Element, path: str) -> list[str]:
    name = told.type.removeprefix("tns:")
    types, words = description()
    if (owner, told.name) in XML_INSIDE:
        return []
    if told.type.startswith("tns:") and name in types:
        return _faults(node, name, path)
    value = node.text or ""
    if len(node):
        return [f"{path}: holds elements, but is a plain value"]
    if words.get(name):
        return [] if value in words[name] else [f"{path}: {value!r} is no {name}"]
    form = FORMS.get(told.type)
    return [] if form is None or re.fullmatch(form, value) else [f"{path}: {value!r} is no {told.type}"]
