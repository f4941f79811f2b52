"""The page on which a person plays the sales rep: opportunities, one opportunity, a form that moves its stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import BaseRoute

if TYPE_CHECKING:
    from connector.lookalike.crm.front import Front


def routes(front: Front) -> list[BaseRoute]:
    """Return the routes of the pages."""
    return []
