"""The page behind the link that is written back to the CRM: one invoice, read-only, for the customer's eyes.

The token (128 random bits, stored with the invoice, decision D-29) is the only key. A wrong one, a revoked one and one that
cannot be a token at all get the same friendly page.
"""

from __future__ import annotations

import re

from fastapi import APIRouter, Request, Response

from connector.documents.texts import known_language, language_of_request, texts_in
from connector.web.pages import Pages
from connector.web.views import Pdf, WebServices

# 128 bits take 22 characters of base64url or 32 of hex; nothing else is worth a look-up
_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,128}")


def public_routes(services: WebServices, pages: Pages) -> APIRouter:
    """Return the routes that need a token and no sign-in."""
    router = APIRouter()

    def missing(request: Request) -> Response:
        language = language_of_request(request.headers.get("accept-language", ""))
        return pages.known_message("missing", status=404, language=language)

    @router.api_route("/i/{token}.pdf", methods=["GET", "HEAD"])
    def invoice_pdf(token: str, request: Request) -> Response:
        found = services.invoice_pdf_by_token(token) if _TOKEN.fullmatch(token) else None
        return missing(request) if found is None else download(found)

    @router.api_route("/i/{token}", methods=["GET", "HEAD"])
    def invoice(token: str, request: Request) -> Response:
        page = services.invoice_by_token(token) if _TOKEN.fullmatch(token) else None
        if page is None:
            return missing(request)
        language = known_language(page.language)
        view = {"page": page, "language": language, "text": texts_in(language), "pdf_url": f"/i/{token}.pdf"}
        return pages.page("invoice.html", view, headers={"Content-Language": language})

    return router


def download(pdf: Pdf) -> Response:
    """Return a document as the reply, under its own name."""
    return Response(
        pdf.content, media_type="application/pdf", headers={"Content-Disposition": f'inline; filename="{pdf.name}"'}
    )
