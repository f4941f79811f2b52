"""Texts that are longer than their CRM field: cut with an ellipsis, so that no write fails for a long reason (pure).

Example: a message of 300 characters into a field of 255 becomes 254 of them and "…". An address or a number cut short would be
another one, so that a field too short for it stays empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WHOLE = frozenset((
    "contract_id", "customer_id", "invoice_id", "number", "last_invoice_number", "url", "last_invoice_url", "portal_url",
    "quote_url", "quote_pdf_url", "quote_number",
))  # fmt: skip
_ELLIPSIS = "…"


def fitted(values: Mapping[str, Any], names: Mapping[str, str], lengths: Mapping[str, int]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the values as they fit into their fields, and the fields whose text did not.

    Args: values - by CRM field. names - by CRM field, what the value is. lengths - by CRM field, the characters it holds; where
    it is not known the text stays as it is.
    """
    made = dict(values)
    cut = tuple(f for f, v in values.items() if isinstance(v, str) and 0 < lengths.get(f, 0) < len(v))
    for field in cut:
        is_whole = names.get(field) in _WHOLE
        made[field] = None if is_whole else values[field][: lengths[field] - 1].rstrip() + _ELLIPSIS
    return made, cut
