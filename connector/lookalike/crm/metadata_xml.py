"""XML with places: an element knows its line and column, so that a refused component can be pointed at."""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.parsers.expat import ExpatError, ParserCreate
from xml.parsers.expat import errors as reasons

NAMESPACE = "http://soap.sforce.com/2006/04/metadata"


class XmlError(Exception):
    """The text is no XML; line and column (from 1) say where."""

    def __init__(self, message: str, line: int, column: int) -> None:
        self.line, self.column = line, column
        super().__init__(message)


@dataclass(slots=True)
class Part:
    """One element: its name without namespace, the namespace, what is in it, and where it begins."""

    name: str
    space: str
    line: int
    column: int
    text: str = ""
    parts: list[Part] = field(default_factory=list)

    def child(self, name: str) -> Part | None:
        """Return the first child of that name, or None."""
        return next((one for one in self.parts if one.name == name), None)

    def children(self, name: str) -> list[Part]:
        """Return all children of that name."""
        return [one for one in self.parts if one.name == name]

    def value(self, name: str) -> str:
        """Return the text of the first child of that name; empty where there is none."""
        found = self.child(name)
        return found.text.strip() if found is not None else ""

    def is_true(self, name: str) -> bool:
        """Say whether the child of that name says true."""
        return self.value(name).lower() == "true"


def parsed(text: str | bytes) -> Part:
    """Return the root element. Raises: XmlError."""
    parser = ParserCreate(namespace_separator=" ")
    open_parts: list[Part] = []
    roots: list[Part] = []

    def start(name: str, _attributes: dict[str, str]) -> None:
        space, _, bare = name.rpartition(" ")
        part = Part(bare, space, parser.CurrentLineNumber, parser.CurrentColumnNumber + 1)
        (open_parts[-1].parts if open_parts else roots).append(part)
        open_parts.append(part)

    def end(_name: str) -> None:
        open_parts.pop()

    def characters(data: str) -> None:
        if open_parts:
            open_parts[-1].text += data

    def no_entities(*_told: object) -> None:
        raise XmlError("entities are not allowed", parser.CurrentLineNumber, parser.CurrentColumnNumber + 1)

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, characters
    parser.EntityDeclHandler = no_entities
    try:
        parser.Parse(text, True)
    except ExpatError as error:
        raise XmlError(reasons.messages.get(error.code, "not well-formed"), error.lineno, error.offset + 1) from error
    return roots[0]
