"""A request and a reply of the REST surface, and their JSON: money stays Decimal in both directions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from connector.lookalike.crm.refusal import Refusal

encoded = msgspec.json.Encoder(decimal_format="number").encode
_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_VERSIONED = re.compile(r"/services/data/v(\d+)\.0(?:/(.*?))?/?")
OLDEST, RETIRED_BELOW, NEWEST = 21, 31, 68


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call. headers - names in lower case. body - decoded JSON, or text for forms and SOAP."""

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None


@dataclass(slots=True, kw_only=True)
class Reply:
    """What a call gets. body - to be sent as JSON, or text with its own media type; None is an empty body."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    media_type: str = "application/json;charset=UTF-8"
    is_dropped: bool = False


def decoded(raw: bytes) -> Any:
    """Return the value of a JSON body, numbers with a point as Decimal. Raises: Refusal JSON_PARSER_ERROR."""
    if not raw.strip():
        return None
    try:
        return _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, ArithmeticError) as error:
        raise Refusal("JSON_PARSER_ERROR", f"Unexpected content in the JSON body: {error}") from error


def subrequest(method: str, url: str, headers: dict[str, str], body: Any) -> Request:
    """Return the request that an entry of a composite stands for."""
    parts = urlsplit(url)
    return Request(
        method=method,
        path=parts.path,
        query=dict(parse_qsl(parts.query, keep_blank_values=True)),
        headers=headers,
        body=body,
    )


def versioned(path: str) -> tuple[int, list[str]] | None:
    """Return (API version, path segments behind it) of a data path; None if it is none."""
    found = _VERSIONED.fullmatch(path)
    if found is None:
        return None
    segments = [unquote(one) for one in found[2].split("/")] if found[2] else []
    return int(found[1]), segments


def release_name(version: int) -> str:
    """Return the season in which a version came out: 67 is Summer '26."""
    year, season = divmod(version - 66, 3)
    return f"{('Spring', 'Summer', 'Winter')[season]} '{26 + year + (season == 2):02d}"
