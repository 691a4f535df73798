"""Graph of the ablate stage, which is no part of the default road: variants trained and measured side by side."""

from kedro.pipeline import Pipeline, node

from vln_heatmap.nodes.ablate import compare_variants, draw_ablation, run_variants


def create_pipeline(**_: object) -> Pipeline:
    return comparison("ablate", "ablation")


def comparison(group: str, outputs: str, suffix: str = "") -> Pipeline:
    """The graph for the variants of one parameter group; what it makes is called ``<outputs>_…``.

    All comparisons share one store, so that a training that several of them need is done once.
    """
    data = ["samples", "frame_features", "tokenizer", "statistics"]
    groups = [f"params:{name}" for name in ("model", "pretrain", "finetune", "evaluate", group)]
    trials, results = f"{outputs}_trials", f"{outputs}_results"
    return Pipeline(
        [
            node(
                run_variants,
                [*data, *groups, "ablation_store", "tracker"],
                trials,
                name=f"run_variants{suffix}",
            ),
            node(
                compare_variants,
                [trials, "params:evaluate"],
                [results, f"{outputs}_table"],
                name=f"compare_variants{suffix}",
            ),
            node(draw_ablation, results, f"{outputs}_figure", name=f"draw_ablation{suffix}"),
        ]
    )
