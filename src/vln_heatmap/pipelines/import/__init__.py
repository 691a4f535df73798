"""Read walks from the formats of other projects (a folder named like a word of Python imports relatively)."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
