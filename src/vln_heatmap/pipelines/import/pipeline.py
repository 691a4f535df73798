"""params → sequences → index and report.

The outputs lie where those of collect do, under names of their own, since a dataset has one maker.
"""

from kedro.pipeline import Pipeline, node

from vln_heatmap.nodes.import_sequences import import_sequences, summarise_import


def create_pipeline(**_: object) -> Pipeline:
    """The import stage."""
    return Pipeline(
        [
            node(
                import_sequences,
                ["unfinished_sequences", "params:import"],
                "imported_sequences",
                name="import_sequences",
            ),
            node(
                summarise_import,
                ["imported_sequences", "params:import"],
                ["imported_index", "import_report"],
                name="summarise_import",
            ),
        ]
    )
