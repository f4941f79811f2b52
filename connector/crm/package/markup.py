"""Metadata as XML: nested values in, text out; children in the order that Salesforce's description of the type gives.

That order is the alphabet's, with `fullName` first; so a writer needs no table of types. `Node` values: text, bool, int, or
the children. The same child name may stand several times, and then stands together, as the Metadata API demands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

NAMESPACE = "http://soap.sforce.com/2006/04/metadata"
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'


@dataclass(frozen=True, slots=True)
class Node:
    """One element."""

    name: str
    content: str | bool | int | Sequence[Node]


def document(root: str, children: Sequence[Node]) -> str:
    """Return a metadata file with *root* as its type."""
    return f'{_HEAD}<{root} xmlns="{NAMESPACE}">\n{_written(children, 1)}</{root}>\n'


def _written(children: Sequence[Node], depth: int) -> str:
    return "".join(_element(child, depth) for child in in_order(children))


def in_order(children: Sequence[Node]) -> list[Node]:
    """Return siblings as the metadata types want them: `fullName`, then by name, equal names as given."""
    return sorted(children, key=lambda node: (node.name != "fullName", node.name))


def _element(node: Node, depth: int) -> str:
    space, content = "    " * depth, node.content
    if isinstance(content, bool):
        text = "true" if content else "false"
    elif isinstance(content, (str, int)):
        text = escape(str(content))
    else:
        return f"{space}<{node.name}>\n{_written(content, depth + 1)}{space}</{node.name}>\n"
    return f"{space}<{node.name}>{text}</{node.name}>\n"
