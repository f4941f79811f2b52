"""Where Stripe delivers its events: the body is checked and kept as it came, byte for byte, because its signature is over these bytes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from connector.web.pages import Pages
from connector.web.views import WebServices

PATH = "/webhooks/stripe"


async def _raw(request: Request) -> bytes:
    """Return the body; the one thing here that has to wait for the network."""
    return await request.body()


def hook_routes(services: WebServices, pages: Pages) -> APIRouter:
    """Return the route of Stripe's events; it answers 400 to what is not Stripe's, so that Stripe shows and repeats it."""
    router = APIRouter()

    @router.post(PATH)
    def stripe(request: Request, body: Annotated[bytes, Depends(_raw)]) -> Response:
        taken = services.stripe_event(body, request.headers.get("stripe-signature", ""))
        if taken is None:
            return pages.missing(request)
        return Response(status_code=200 if taken else 400)

    return router
