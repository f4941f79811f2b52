"""Write docs/billing.md: every scenario of docs/scenarios with the output that the program gives for it (`make docs`).

A folder is a section. A file begins with its title and a sentence as two comments; an impossible scenario is shown with its
problems, as the program prints them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from connector.errors import ConfigError
from connector.simulate import simulated

FOLDER = Path(__file__).parents[1] / "docs" / "scenarios"
HEAD = """# What the billing engine does, by example

Each example is a scenario file of `docs/scenarios` and what `connector simulate FILE` prints for it. This page is written by
`make docs`, and a test compares it with what the program does. Amounts in scenarios are in cents.

In the drawings an item's bar begins with its quantity: `=` is charged, `-` a paid trial, `.` free, blank not served. A `*`
is an invoice, a digit several of them in one column.
"""


def _anchor(title: str) -> str:
    return "".join(c for c in title.lower().replace(" ", "-") if c.isalnum() or c in "-_")


def _printed(text: str, name: str) -> str:
    try:
        return simulated(text, name)[1].rstrip()
    except ConfigError as error:
        return "\n\n".join(p.text() for p in error.problems)


def page() -> str:
    """Return the whole page."""
    contents, parts = list[str](), list[str]()
    for folder in sorted(p for p in FOLDER.iterdir() if p.is_dir()):
        section = folder.name.split("-", 1)[1].replace("-", " ").capitalize()
        contents.append(f"- [{section}](#{_anchor(section)})")
        parts.append(f"## {section}\n")
        for file in sorted(folder.glob("*.yaml")):
            text = file.read_text(encoding="utf-8")
            title, sentence, rest = text.split("\n", 2)
            title, sentence = title.removeprefix("# "), sentence.removeprefix("# ")
            contents.append(f"  - [{title}](#{_anchor(title)})")
            parts.append(f"### {title}\n\n{sentence}\n\n`{folder.name}/{file.name}`\n\n```yaml\n{rest.strip()}\n```\n")
            parts.append(f"```text\n{_printed(text, file.name)}\n```\n")
    return "\n".join([HEAD, *contents, "", *parts])


if __name__ == "__main__":
    sys.stdout.write(page())
