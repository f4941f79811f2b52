"""A process of its own that bills what is due, as one of several at once; it rolls back and dies as its arguments say.

Usage: billing_worker.py DATABASE DAY SEED (steady | shaky | doomed)
"""

from __future__ import annotations

import os
import random
import signal
import sys
from datetime import datetime

from connector.billing.internal import InternalBilling
from connector.errors import RetryableError
from connector.kit.db import Database

CHUNK = 3


class ThinkAgainError(Exception):
    """Raised in the middle of a transaction, after everything was written."""


def main(url: str, day: str, seed: str, manner: str) -> None:
    """Bill until nothing is due."""
    chance = random.Random(int(seed))
    database = Database(url)
    billing = InternalBilling(org="00Dorg", timezone="UTC")
    now = datetime.fromisoformat(f"{day}T09:00:00+00:00")
    left = chance.randint(2, 5)
    while True:
        try:
            with database.transaction() as unit:
                run = billing.bill(unit, now, limit=CHUNK, hold=False)
                if run.invoices and manner != "steady":
                    left -= 1
                    if manner == "doomed" and left == 0:
                        os.kill(os.getpid(), signal.SIGKILL)
                    if chance.random() < 0.4:
                        raise ThinkAgainError
        except (ThinkAgainError, RetryableError):
            continue
        if not run.contracts:
            break
    database.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
