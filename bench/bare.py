"""A bare import: what our side weighs before it does anything."""

from __future__ import annotations

import bench.ours  # noqa: F401 - the import is what is weighed
from bench.watch import hand_back, peak_mib

if __name__ == "__main__":
    hand_back({"peak_mib": peak_mib()})
