"""Metadata after an update, as Stripe does it, and its limits. Source: docs.stripe.com/api/metadata."""

from __future__ import annotations

from connector.lookalike.stripe.account import Data


def merged(old: Data | None, new: Data | str | None) -> Data:
    """Return metadata after an update: "" for the whole clears it, an empty value deletes its key, an absent key stays."""
    if new == "":
        return {}
    both = {**(old or {}), **(new if isinstance(new, dict) else {})}
    return {key: str(value) for key, value in both.items() if value not in ("", None)}
