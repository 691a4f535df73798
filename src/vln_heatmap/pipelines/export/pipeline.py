"""sequences → files of another project → report."""

from kedro.pipeline import Pipeline, node

from vln_heatmap.nodes.export import export_sequences, summarise_export


def create_pipeline(**_: object) -> Pipeline:
    """The export stage."""
    return Pipeline(
        [
            node(export_sequences, ["sequences", "params:export"], "export", name="export_sequences"),
            node(summarise_export, "export", "export_report", name="summarise_export"),
        ]
    )
