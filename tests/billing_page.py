"""Write docs/billing.md: every scenario of docs/scenarios with the output that the program gives for it (`make docs`)."""

from __future__ import annotations

import sys
from pathlib import Path

from connector.simulate import simulated

FOLDER = Path(__file__).parents[1] / "docs" / "scenarios"
HEAD = """# What the billing engine does, by example

Each example is a scenario file of `docs/scenarios` and what `connector simulate FILE` prints for it. This page is written by
`make docs`, and a test compares it with what the program does. Amounts in scenarios are in cents.
"""


def _anchor(title: str) -> str:
    return "".join(c for c in title.lower().replace(" ", "-") if c.isalnum() or c in "-_")


def page() -> str:
    """Return the whole page. Raises: ConfigError if a scenario is impossible."""
    contents, parts = [], []
    for file in sorted(FOLDER.glob("*.yaml")):
        text = file.read_text(encoding="utf-8")
        title, sentence, rest = text.split("\n", 2)
        title, sentence = title.removeprefix("# "), sentence.removeprefix("# ")
        table = simulated(text, file.name)[1]
        contents.append(f"- [{title}](#{_anchor(title)})")
        parts.append(f"## {title}\n\n{sentence}\n\n`{file.name}`\n\n```yaml\n{rest.strip()}\n```\n\n```text\n{table.rstrip()}\n```\n")
    return "\n".join([HEAD, *contents, "", *parts])


if __name__ == "__main__":
    sys.stdout.write(page())
