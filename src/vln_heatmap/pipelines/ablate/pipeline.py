"""Graph of the ablate stage, which is no part of the default road: variants trained and measured side by side."""

from kedro.pipeline import Pipeline, node

from vln_heatmap.nodes.ablate import compare_variants, draw_ablation, run_variants


def create_pipeline(**_: object) -> Pipeline:
    data = ["samples", "frame_features", "tokenizer", "statistics"]
    groups = [f"params:{name}" for name in ("model", "pretrain", "finetune", "evaluate", "ablate")]
    return Pipeline(
        [
            node(
                run_variants,
                [*data, *groups, "ablation_store", "tracker"],
                "ablation_trials",
                name="run_variants",
            ),
            node(
                compare_variants,
                ["ablation_trials", "params:evaluate"],
                ["ablation_results", "ablation_table"],
                name="compare_variants",
            ),
            node(draw_ablation, "ablation_results", "ablation_figure", name="draw_ablation"),
        ]
    )
