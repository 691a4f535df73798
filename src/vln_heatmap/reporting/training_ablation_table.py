"""The table of the ways to train in the docs, rendered from its results file and from nothing else.

``python -m vln_heatmap.reporting.training_ablation_table`` prints it; ``--update docs/ablation.md`` rewrites what
stands between ``<!-- training_ablation -->`` and ``<!-- /training_ablation -->`` in the given files.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from vln_heatmap.reporting.ablation_table import ablation_table
from vln_heatmap.reporting.marked import MarkedTable

TABLE = MarkedTable(
    name="training_ablation",
    module="vln_heatmap.reporting.training_ablation_table",
    stage="ablate_training",
    results=Path("data/08_reporting/training_ablation_results.json"),
    render=partial(ablation_table, changes=False),  # they are long, and told in the page
)


def main(arguments: list[str] | None = None) -> int:
    """Command line: print the table, or update files."""
    return TABLE.command(__doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
