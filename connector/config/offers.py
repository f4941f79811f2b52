"""The configuration's `quotes:` block: how long a quote can be accepted, what acceptance starts, what is written then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from connector.errors import Problem
from connector.kit.yamlpos import Path as At
from connector.ports import ObjectInfo

_EXPIRES_AFTER_S = 30 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotesConfig:
    """How quotes live.

    is_sent - a quote is mailed to the billing contact when it is presented. expires_after_s - from presenting on, where the record names no last day; 0: for good. start - whether acceptance makes the
    contract, or waits until the rep wins the opportunity. on_accept - (object, field, value) to write into the CRM when a
    customer accepts by page or command.
    """

    is_sent: bool = False
    expires_after_s: int = _EXPIRES_AFTER_S
    start: Literal["on_accept", "on_won"] = "on_accept"
    on_accept: tuple[tuple[str, str, Any], ...] = field(default=())


class Reader(Protocol):
    """What reading this block needs of the reader of the whole file."""

    def add(self, code: str, path: At, message: str, hint: str = "", *, at_key: bool = False) -> None:
        """Note a problem at a place of the file."""

    def raw(self, path: At) -> Any:
        """Return a value as written."""

    def choice(self, path: At, known: tuple[str, ...], default: Any) -> Any:
        """Return one of the known words."""

    def seconds(self, path: At, default: int) -> int:
        """Return a duration."""


def read_quotes(reader: Reader) -> QuotesConfig:
    """Return the block; problems are noted in the reader."""
    return QuotesConfig(
        is_sent=_sent(reader),
        expires_after_s=reader.seconds(("quotes", "expires_after"), _EXPIRES_AFTER_S),
        start=reader.choice(("quotes", "start"), ("on_accept", "on_won"), "on_accept"),
        on_accept=tuple(_written(reader)),
    )


def _sent(reader: Reader) -> bool:
    at: At = ("quotes", "send")
    value = reader.raw(at)
    if value in (None, False):
        return False
    if value is not True:
        reader.add("bad-type", at, "`send` is true or false.", "Write true or false, without quotes.")
    elif not reader.raw(("mail", "url")):
        reader.add("missing-key", at, "`quotes.send` needs a mail server.", "Say `mail: {url: .., from: ..}`, or write `send: false`.")
    return True


def problems_with(quotes: QuotesConfig, objects: Sequence[str], describe: Mapping[str, ObjectInfo]) -> list[Problem]:
    """Return what keeps the block from working in this org, where *objects* are polled."""
    found = []
    if quotes.start == "on_won" and "Opportunity" not in objects:
        text = "`quotes.start: on_won` waits for the opportunity to be won, but no source reads opportunities."
        found.append(Problem(code="no-opportunities", message=text, hint="Add the source of opportunities, or write `start: on_accept`."))
    for object_name, field_name, _ in quotes.on_accept:
        info = describe.get(object_name)
        known = None if info is None else info.fields.get(field_name)
        if known is None or not known.is_updateable:
            what = "cannot be written" if known is not None else "does not exist, or is hidden from the integration user"
            text = f"`quotes.on_accept`: {object_name}.{field_name} {what}."
            found.append(Problem(code="unknown-field", message=text, hint="Correct its API name, or give the user the right to edit it."))
    return found


def _written(reader: Reader) -> list[tuple[str, str, Any]]:
    at: At = ("quotes", "on_accept")
    node = reader.raw(at)
    if node is None:
        return []
    hint = "Write {Quote.Status: Accepted, Opportunity.StageName: Closed Won}."
    if not isinstance(node, Mapping):
        reader.add("bad-type", at, "`on_accept` is a mapping of CRM fields to values.", hint)
        return []
    found = []
    for key, value in node.items():
        object_name, _, field_name = str(key).partition(".")
        if object_name not in ("Quote", "Opportunity") or not field_name or "." in field_name:
            reader.add("bad-value", (*at, key), f"{key} is no field of the quote or its opportunity.", hint, at_key=True)
        elif not isinstance(value, (str, int, bool)) or value == "":
            reader.add("bad-type", (*at, key), f"`{key}` takes one value.", hint)
        else:
            found.append((object_name, field_name, value))
    return found
