"""What holds for every test: hypothesis takes its time from no clock, and prints what reproduces a failure; each logs for itself."""

from __future__ import annotations

import structlog
from hypothesis import HealthCheck, settings

settings.register_profile(
    "suite",
    deadline=None,  # two cores are shared by several workers: time says nothing about a property
    max_examples=60,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("suite")


def pytest_runtest_teardown() -> None:
    """Set logging back: a command that a test ran in this process has set it to that test's stderr, which is closed now."""
    structlog.reset_defaults()
