"""The benchmark_samplers stage."""

from vln_heatmap.pipelines.benchmark_samplers.pipeline import create_pipeline

__all__ = ["create_pipeline"]
