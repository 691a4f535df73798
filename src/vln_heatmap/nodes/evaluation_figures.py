"""The figures of the evaluate stage, from its values.

Invariant: nothing is computed here that a number in the results depends on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vln_heatmap.nodes.evaluation_windows import Truth, Window
from vln_heatmap.nodes.metrics.heatmap import Maps
from vln_heatmap.reporting.figures import Example, example_sheet, forest_plot
from vln_heatmap.reporting.tables import measured_on


def draw_examples(evaluation: Any) -> Any:
    """Figure sheet of the examples of an ``Evaluation``."""
    examples = [as_example(*parts) for parts in evaluation.examples]
    return example_sheet(examples, title="Where in the current view is what each keyframe saw?")


def draw_methods(results: Mapping[str, Any]) -> Any:
    """All methods with their intervals, from the results."""
    title = f"Frame-indexed heatmaps: {measured_on(results['meta'])}"
    return forest_plot(results["heatmap"], title=title)


def as_example(window: Window, truth: Truth, answer: Maps) -> Example:
    """What the sheet shows of a window."""
    return Example(
        instruction=window.instruction,
        current=window.rgb[-1],
        keyframes=window.rgb[:-1],
        ages=window.current - window.keyframes,
        target=truth.mask,
        predicted=answer.scores,
        validity=answer.validity_scores,
        valid=truth.targets.valid,
        origin=f"{window.sequence_id}, frame {window.current}",
    )
