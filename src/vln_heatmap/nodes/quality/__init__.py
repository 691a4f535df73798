"""How good a recorded sequence is: five scores in [0, 1], what they are made of, and what to do about it."""

from vln_heatmap.nodes.quality.controller import QualityController, QualityReport

__all__ = ["QualityController", "QualityReport"]
