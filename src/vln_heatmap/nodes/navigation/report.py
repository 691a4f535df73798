"""What the closed loop found, as a figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from vln_heatmap.reporting.navigation_figure import navigation_plot


def draw_navigation(results: Mapping[str, Any]) -> Figure:
    """Measures of all policies side by side.

    Args:
        results: with the section "navigation".
    """
    section = results["navigation"]
    title = f"Navigation in {section['houses']} unseen houses, {section['episodes']} episodes"
    return navigation_plot(section["policies"], title=title)
