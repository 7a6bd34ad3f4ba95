"""How a long-running process of the city treats its memory."""

from __future__ import annotations

import gc


def spare_the_collector() -> None:
    """Look for reference cycles a hundred times more rarely: documents are trees, and looking costs time.

    Called once, when everything is imported. Measured: docs/decisions/0003-hub-storage.md.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)
