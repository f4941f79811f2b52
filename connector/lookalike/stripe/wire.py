"""Requests and answers as values: forms with brackets in, JSON out.

`phases[0][items][0][price]=p_1&metadata[a]=` is {"phases": {"0": {"items": {"0": {"price": "p_1"}}}}, "metadata": {"a": ""}}: whether
digits are places of a list is known to the types (`params`). Source: docs.stripe.com/api (form-encoded bodies, JSON answers).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from connector.lookalike.stripe.account import Data, Refused

_ENCODER = msgspec.json.Encoder(decimal_format="string")
_DEEPEST = 10
_MOST_FIELDS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as it came: *path* still quoted, *headers* with names in lower case, *pairs* of query and form in their order."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    pairs: tuple[tuple[str, str], ...] = ()
    body: Any = None


@dataclass(slots=True, kw_only=True)
class Reply:
    """An answer; *body* is data, or text where *media* says so. is_cut - the connection breaks instead."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    media: str = "application/json"
    is_cut: bool = False


def encoded(body: Any) -> bytes:
    """Return data as JSON; decimals are text, as at Stripe."""
    return _ENCODER.encode(body)


def json_of(raw: bytes) -> Any:
    """Return the data of a JSON body, None for an empty one. Raises: Refused."""
    if not raw.strip():
        return None
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        raise Refused(f"the body is no JSON: {error}") from error


def pairs_of(text: str) -> tuple[tuple[str, str], ...]:
    """Return the fields of a form or query string in their order. Raises: Refused."""
    try:
        return tuple(parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError as error:
        raise Refused(f"Invalid request body: {error}") from error


def nested(pairs: Iterable[tuple[str, str]]) -> Data:
    """Return fields with brackets in their names as nested data; `a[]` counts on by itself. Raises: Refused."""
    made: Data = {}
    for name, value in pairs:
        place = made
        *way, last = _steps(name)
        for step in way:
            found = place.setdefault(_next(place) if step == "" else step, {})
            if not isinstance(found, dict):
                raise Refused("Invalid object", param=name)
            place = found
        last = _next(place) if last == "" else last
        if isinstance(place.get(last), dict):
            raise Refused("Invalid object", param=name)
        place[last] = value
    return made


def _steps(name: str) -> list[str]:
    first, bracket, rest = name.partition("[")
    if not bracket:
        return [name]
    if not first or not rest.endswith("]"):
        raise Refused(f"Received unknown parameter: {name}", code="parameter_unknown", param=name)
    steps = [first, *rest[:-1].split("][")]
    if len(steps) > _DEEPEST or any("[" in step or "]" in step for step in steps):
        raise Refused(f"Received unknown parameter: {name}", code="parameter_unknown", param=name)
    return steps


def _next(place: Data) -> str:
    return str(len(place))
