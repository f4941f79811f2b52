"""What monitors ask: is the process there, can it work, how much has it done."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from connector.web.views import Check, WebServices

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def monitor_routes(services: WebServices) -> APIRouter:
    """Return /healthz (the process answers), /readyz (503 while a check fails, 200 and "degraded" while one only heals) and /metrics."""
    router = APIRouter()

    @router.api_route("/healthz", methods=["GET", "HEAD"])
    def healthz() -> Response:
        return JSONResponse({"status": "ok"})

    @router.api_route("/readyz", methods=["GET", "HEAD"])
    def readyz() -> Response:
        checks = services.ready()
        is_ready = all(check.is_ok for check in checks)
        standing = "degraded" if any(check.is_degraded for check in checks) else "ready"
        body = {"status": standing if is_ready else "not ready", "checks": [_check_to_json(check) for check in checks]}
        return JSONResponse(body, status_code=200 if is_ready else 503)

    @router.api_route("/metrics", methods=["GET", "HEAD"])
    def metrics() -> Response:
        return Response(services.metrics(), media_type=METRICS_TYPE)

    return router


def _check_to_json(check: Check) -> dict[str, object]:
    body: dict[str, object] = {"name": check.name, "ok": check.is_ok, "detail": check.detail}
    if check.is_degraded:
        body["degraded"] = True
    return body | ({"hint": check.hint} if check.hint else {})
