"""The files that travel with the package: the shipped mappings and the example config.

In a source checkout they stand at top level, where people look for them; a wheel carries them in `connector/shipped/`
(see hatch_build.py). Callers need not know which.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from connector.errors import HaltError

PACKAGE = Path(__file__).resolve().parent.parent
SUFFIXES = (".yaml", ".yml", ".md")


def shipped_files() -> Mapping[str, str]:
    """Return the text of each shipped file by its relative path, e.g. "mappings/salesforce-quote.yaml"; sorted.

    Raises: HaltError if the installation lacks them.
    """
    for root in (PACKAGE / "shipped", PACKAGE.parent):
        if (root / "config.example.yaml").is_file():
            found = [root / "config.example.yaml"]
            found += [path for path in (root / "mappings").glob("**/*") if path.suffix in SUFFIXES]
            return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in sorted(found)}
    raise HaltError(
        "The shipped mappings and config.example.yaml are missing from this installation.",
        hint="Install the package again.",
        code="installation-incomplete",
    )
