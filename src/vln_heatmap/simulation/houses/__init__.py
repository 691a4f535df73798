"""Procedural houses: varied, textured, furnished and reproducible from a seed.

Invariant: ``generate_house(seed, params)`` is a pure function; its scenes have a ground floor at y = 0, and
all their rooms are connected, those of two storeys by stairs.
"""

from vln_heatmap.simulation.houses.generator import generate_house

__all__ = ["generate_house"]
