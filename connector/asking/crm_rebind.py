"""`connector crm rebind`: a person confirms that another org is meant (decision D-169)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from connector import app
from connector.billing import moving
from connector.crm.login import id18
from connector.errors import HaltError
from connector.kit import lock
from connector.kit.clock import SystemClock
from connector.sync import rebinding
from connector.verbs import Result, open_config


def rebind(config_path: Path, *, is_meant: bool) -> Result:
    """Show what a move of the ledger to the org of the configuration would mean, and carry it out where it *is_meant*.

    Raises: HaltError where there is no ledger, or somebody works with it.
    """
    config = open_config(config_path)
    if not app.has_database(config):
        raise HaltError("There is no ledger yet.", hint="Run `connector sync`; it is bound at first contact.", code="not-bound")
    free = replace(config, crm=replace(config.crm, org_id=None))  # which org is expected is the very question
    with lock.ledger(config.database, app.lock_path(config), "crm rebind"):
        database = app.open_database(config, may_migrate=True)
        try:
            seam, _ = app.build_seam(free, clock=SystemClock(), database=database, crm=app.build_crm(free))
            found = rebinding.foreseen(seam)
            is_same = found.old == seam.org.id
            if is_meant and not is_same:
                rebinding.move(seam, found.old, moving.to_org)
        finally:
            database.close()
    expected = config.crm.org_id
    return {
        "old": {"id": found.old, "name": found.old_name, "is_sandbox": found.was_sandbox},
        "new": {"id": seam.org.id, "name": seam.org.name, "is_sandbox": seam.org.is_sandbox},
        "is_same": is_same,
        "kept": found.kept,
        "lost": list(found.lost),
        "fresh": len(found.fresh),
        "examples": list(found.examples),
        "done": is_meant and not is_same,
        "config_org_id": expected if expected and id18(expected) != seam.org.id else None,
    }
