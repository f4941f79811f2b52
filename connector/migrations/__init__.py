"""One history of the schema for the ledger and the books together (deals.md section 10).

Owns: the revisions in `versions/` and the rule what a start does on an older or newer schema. A revision is history: it spells
its tables out and never imports the table classes of today.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from connector.errors import HaltError

HEAD = "0006"
KNOWN = ("0001", "0002", "0003", "0004", "0005", "0006")


def state(version: str | None) -> str:
    """Return "new", "current" or "older" for the version a database holds.

    Raises: HaltError for a version that this program does not know: a newer one wrote it.
    """
    if version is None:
        return "new"
    if version == HEAD:
        return "current"
    if version in KNOWN:
        return "older"
    raise HaltError(
        f"The database has schema {version}, which a newer version of the connector wrote; this one knows up to {HEAD}.",
        hint="Install the newer version again, or restore the backup that was made before it was first started.",
        code="newer-schema",
    )


def upgrade(connection: Any) -> None:
    """Bring the schema of an open SQLAlchemy connection to the newest revision."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
