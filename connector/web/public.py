"""The page behind the link that is written back to the CRM: one invoice, read-only, for the customer's eyes.

The token (128 random bits, stored with the invoice, decision D-29) is the only key. A wrong one, a revoked one and one that
cannot be a token at all get the same friendly page. What Stripe has issued leads on to its page there.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from connector.documents.texts import known_language, texts_in
from connector.web.pages import Pages, is_token
from connector.web.views import Hosted, Pdf, WebServices


def public_routes(services: WebServices, pages: Pages) -> APIRouter:
    """Return the routes that need a token and no sign-in."""
    router = APIRouter()

    @router.api_route("/i/{token}.pdf", methods=["GET", "HEAD"])
    def invoice_pdf(token: str, request: Request) -> Response:
        found = services.invoice_pdf_by_token(token) if is_token(token) else None
        if isinstance(found, Hosted):
            return RedirectResponse(found.url, status_code=303)
        return pages.missing(request) if found is None else download(found)

    @router.api_route("/i/{token}", methods=["GET", "HEAD"])
    def invoice(token: str, request: Request) -> Response:
        page = services.invoice_by_token(token) if is_token(token) else None
        if page is None:
            return pages.missing(request)
        if isinstance(page, Hosted):
            return RedirectResponse(page.url, status_code=303)
        language = known_language(page.language)
        view = {"page": page, "language": language, "text": texts_in(language), "pdf_url": f"/i/{token}.pdf"}
        return pages.page("invoice.html", view, headers={"Content-Language": language})

    return router


def download(pdf: Pdf) -> Response:
    """Return a document as the reply, under its own name."""
    return Response(
        pdf.content, media_type="application/pdf", headers={"Content-Disposition": f'inline; filename="{pdf.name}"'}
    )
