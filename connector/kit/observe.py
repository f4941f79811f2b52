"""Events, logs and metrics: the only door to structlog and prometheus.

An event is a constant `noun.past_verb` of `EVENTS` with fixed keys; text is never put into its name. Secrets never reach a
log: keys that sound like one are blanked, and every value registered with `register_secret` is blanked wherever it stands.
A repeated error is logged at most every 30 s with its count (style.md section 6).
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, Literal, TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from connector.errors import invariant

EVENTS = frozenset(
    {
        "run.started",
        "run.finished",
        "run.failed",
        "run.recovered",
        "pass.finished",
        "portal.closed",
        "record.staged",
        "record.parked",
        "record.applied",
        "record.written",
        "contract.created",
        "invoice.finalized",
        "charge.failed",
        "pull.differs",
        "pull.failed",
        "pull.finished",
        "push.failed",
        "push.found",
        "push.late",
        "push.left",
        "push.lost",
        "push.unclaimed",
        "push.refused",
        "hook.ignored",
        "hook.refused",
        "mail.sent",
        "mail.failed",
        "mail.stuck",
        "crm.called",
        "crm.limited",
        "text.shortened",
        "source.paused",
        "source.resumed",
        "config.reloaded",
        "config.rejected",
        "daemon.refused",
        "daemon.started",
        "daemon.stopping",
        "daemon.stopped",
        "page.failed",
        "webhook.failed",
        "webhook.given_up",
    }
)
ERRORS = frozenset({"charge.failed", "mail.failed", "mail.stuck", "run.failed", "daemon.refused", "record.parked", "config.rejected", "page.failed", "crm.limited", "source.paused", "webhook.given_up", "pull.failed", "push.failed", "push.left", "push.refused"})
REPEAT_S = 30.0
_SECRET_WORDS = ("secret", "token", "password", "authorization", "api_key", "private_key", "assertion")
_BLANK = "[hidden]"
_secrets: set[str] = set()
_repeats: dict[tuple[str, str], tuple[float, int]] = {}
_lock = threading.Lock()

REGISTRY = CollectorRegistry()
RECORDS = Counter("connector_records", "CRM records that passed a step.", ["step"], registry=REGISTRY)
INVOICES = Counter("connector_invoices", "Invoices finalized.", registry=REGISTRY)
CRM_CALLS = Gauge("connector_crm_calls", "Calls to the CRM since start.", registry=REGISTRY)
DEALS = Gauge("connector_deals", "Deals by state.", ["state"], registry=REGISTRY)
SWEPT = Gauge("connector_swept_records", "Records that the last sweep compared, and those of them that had drifted, by kind.", ["kind"], registry=REGISTRY)
PUSHES = Gauge("connector_stripe_pushes", "What is to be sent to Stripe (waiting), and contracts whose last sending Stripe refused (refused).", ["state"], registry=REGISTRY)
EVENTS_KEPT = Gauge("connector_stripe_events", "Events of Stripe that were read and not carried out yet (new), or could not be (failed).", ["state"], registry=REGISTRY)
LAST_READ = Gauge("connector_stripe_last_read_seconds", "When Stripe's events were last read to the end, Unix time; 0 before the first time.", registry=REGISTRY)
LAST_POLL = Gauge("connector_last_complete_poll_seconds", "When the CRM was last read to the end, Unix time.", registry=REGISTRY)
RUN_SECONDS = Histogram("connector_run_seconds", "Duration of a job.", ["job"], registry=REGISTRY)
RUNS = Counter("connector_runs", "Runs of a job by outcome.", ["job", "outcome"], registry=REGISTRY)


def register_secret(value: str) -> None:
    """Blank *value* wherever a log line would show it; very short values are not secrets."""
    if len(value) >= 6:
        _secrets.add(value)


def redacted(value: Any) -> Any:
    """Return *value* with every registered secret blanked."""
    if isinstance(value, str):
        for secret in _secrets:
            value = value.replace(secret, _BLANK)
        return value
    if isinstance(value, Mapping):
        return {k: _BLANK if _is_secret_key(str(k)) else redacted(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [redacted(v) for v in value]
    return value


def _is_secret_key(key: str) -> bool:
    return any(word in key.lower() for word in _SECRET_WORDS)


def _redact(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {k: _BLANK if _is_secret_key(k) else redacted(v) for k, v in event.items()}


def configure(form: Literal["json", "console"] = "json", level: str = "info", stream: TextIO | None = None) -> None:
    """Set up logging to *stream* (default stderr), from *level* on."""
    render: Any = structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _redact,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=stream or sys.stderr),
        cache_logger_on_first_use=False,
    )


def log(event: str, **keys: Any) -> None:
    """Log one event; a repeated error at most every 30 s, with how often it came meanwhile."""
    invariant(event in EVENTS, f"the event {event} is registered")
    if event in ERRORS:
        count = _repeated(event, str(keys.get("error", "")) + str(keys.get("record_id", "")))
        if count is None:
            return
        if count:
            keys["repeated"] = count
        structlog.get_logger().error(event, **keys)
        return
    structlog.get_logger().info(event, **keys)


def _repeated(event: str, what: str) -> int | None:
    """Return how often this error was held back since it was last logged; None to hold it back again."""
    now = time.monotonic()
    with _lock:
        last, held = _repeats.get((event, what), (-REPEAT_S, 0))
        if now - last < REPEAT_S:
            _repeats[event, what] = (last, held + 1)
            return None
        if len(_repeats) > 1000:
            _repeats.clear()
        _repeats[event, what] = (now, 0)
        return held


def gauge_deals(counts: Mapping[str, int]) -> None:
    """Show how many deals are in each state."""
    for state in ("staged", "mapped", "applied", "written", "waiting", "parked", "idle"):
        DEALS.labels(state).set(counts.get(state, 0))


def gauge_drift(found: Sequence[Mapping[str, int]]) -> None:
    """Show what the last sweeps compared and found, all sources together."""
    for kind in ("checked", "unseen", "changed", "calculated", "gone"):
        SWEPT.labels(kind).set(sum(one[kind] for one in found))


def gauge_stripe(pushes: Mapping[str, int], events: Mapping[str, int], read_at: float) -> None:
    """Show what is on its way to Stripe and what came from there; *read_at*: when it was last asked, Unix time, 0 for never."""
    for state in ("waiting", "refused"):
        PUSHES.labels(state).set(pushes.get(state, 0))
    for state in ("new", "failed"):
        EVENTS_KEPT.labels(state).set(events.get(state, 0))
    LAST_READ.set(read_at)


def render_metrics() -> bytes:
    """Return all metrics in the text format of Prometheus."""
    return generate_latest(REGISTRY)
