"""A person at the demo CRM's pages: reads them, fills fields by their labels and presses buttons by their names, over HTTP.

Forms are sent with everything that stands in them, as a browser without JavaScript sends them.
"""

from __future__ import annotations

import re
from typing import Any, Self
from urllib.parse import urljoin

import requests
from lxml import html

_TIMEOUT_S = 20


class Rep:
    """The page that is open, and what can be done on it."""

    def __init__(self, base: str) -> None:
        self.session = requests.Session()
        self.url = base
        self.status = 0
        self.tree: Any = None

    def open(self, path: str) -> Self:
        """Go to an address."""
        return self._read(self.session.get(urljoin(self.url, path), timeout=_TIMEOUT_S))

    def _read(self, answer: requests.Response) -> Self:
        self.url, self.status, self.tree = answer.url, answer.status_code, html.fromstring(answer.text)
        return self

    @property
    def text(self) -> str:
        """What the page says."""
        return _words(self.tree)

    @property
    def record(self) -> str:
        """The id in the address."""
        return self.url.partition("?")[0].partition("#")[0].rpartition("/")[2]

    def parts(self, css: str) -> list[Any]:
        """The elements that a selector of tags, #ids, .classes and [attributes], one inside the other, finds."""
        steps = ["descendant::" + _step(one) for one in css.split(" ")]
        return list(self.tree.xpath("/".join(steps)))

    def said(self, css: str) -> str:
        """What a part of the page says; empty where there is none."""
        return " ".join(_words(one) for one in self.parts(css))

    def follow(self, name: str) -> Self:
        """Follow the link of that name."""
        links = [a for a in self.tree.iter("a") if name in (_words(a), a.get("aria-label"))]
        assert links, f"no link {name!r} on {self.url}: {[_words(a) for a in self.tree.iter('a')]}"
        return self.open(links[0].get("href"))

    def fields(self) -> dict[str, Any]:
        """The fields of the page by their labels."""
        found = {}
        for label in self.tree.iter("label"):
            target = self.tree.get_element_by_id(label.get("for"), None)
            if target is not None:
                found[_words(label).removesuffix(" *")] = target
        for one in self.tree.xpath("//form//*[self::input or self::select or self::textarea][@aria-label]"):
            found[one.get("aria-label")] = one
        return found

    def press(self, button: str, typed: dict[str, str] | None = None) -> Self:
        """Fill fields by label, press a button, and read what comes. A tick is `1`, no tick is empty."""
        known = self.fields()
        for label, value in (typed or {}).items():
            assert label in known, f"no field {label!r}: {sorted(known)}"
            _fill(known[label], value)
        pressed = [b for b in self.tree.iter("button") if button in (_words(b), b.get("aria-label"))]
        assert pressed, f"no button {button!r} on {self.url}: {[_words(b) for b in self.tree.iter('button')]}"
        (form,) = pressed[0].iterancestors("form")
        values = [(name, value) for name, value in form.form_values() if name]
        if pressed[0].get("name"):
            values.append((pressed[0].get("name"), pressed[0].get("value")))
        target = urljoin(self.url, form.get("action"))
        if form.get("method") == "post":
            origin = "/".join(self.url.split("/")[:3])
            return self._read(self.session.post(target, data=values, headers={"Origin": origin}, timeout=_TIMEOUT_S))
        return self._read(self.session.get(target, params=values, timeout=_TIMEOUT_S))


def _step(simple: str) -> str:
    tag, *rest = re.split(r"(?=[#.\[])", simple)
    tests = ""
    for one in rest:
        if one[0] == "#":
            tests += f"[@id='{one[1:]}']"
        elif one[0] == ".":
            tests += f"[contains(concat(' ', @class, ' '), ' {one[1:]} ')]"
        else:
            name, _, value = one[1:-1].partition("=")
            tests += f"[@{name}='{value}']" if value else f"[@{name}]"
    return (tag or "*") + tests


def _words(element: Any) -> str:
    return " ".join(" ".join(element.itertext()).split())


def _fill(field: Any, value: str) -> None:
    if field.tag == "input" and field.get("type") == "checkbox":
        field.checked = value == "1"
    elif field.tag == "select":
        choices = {" ".join((o.text or "").split()): o.get("value", o.text) for o in field.iter("option")}
        found = [key for key in choices if key == value] or [key for key in choices if key.startswith(value)] if value else [""]
        assert found, f"no choice {value!r}: {list(choices)}"
        field.value = choices[found[0]] if value else ""
    else:
        field.value = value
