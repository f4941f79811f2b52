"""Ids of the changes that edits of a billed deal's record lead to: `006…+r3` is the one of the third revision of its decision."""

from __future__ import annotations

EDIT = "+"
"""Between a deal's name and the number of an amendment that an edit of its record led to, in that amendment's id."""


def edit_id(deal: str, revision: int) -> str:
    """Return the id of the change that an edit of a deal's record makes under a revision of its decision."""
    return f"{deal}{EDIT}r{revision}"


def is_edit_of(change_id: str, deal: str) -> bool:
    """Whether a change came from an edit of a deal's record."""
    return change_id.startswith(f"{deal}{EDIT}r")
