"""Where an upright body can walk, on all storeys that stairs join, and the shortest way there.

Invariant: a path that is returned can be walked, and a part of a possible move is possible.
"""

from vln_heatmap.simulation.navigation.grid import NavigationGrid

__all__ = ["NavigationGrid"]
