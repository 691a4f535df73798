"""Write walks in the formats of other projects."""

from vln_heatmap.pipelines.export.pipeline import create_pipeline

__all__ = ["create_pipeline"]
