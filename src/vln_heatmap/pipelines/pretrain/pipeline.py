"""Graph of the pretrain stage: cache features, learn the tokenizer, train on single views."""

from kedro.pipeline import Pipeline, node

from vln_heatmap.nodes.features import cache_frames
from vln_heatmap.nodes.pretrain import learn_tokenizer, pretrain


def create_pipeline(**_: object) -> Pipeline:
    return Pipeline(
        [
            node(
                cache_frames,
                ["sequences", "samples", "params:model", "params:features"],
                "frame_features",
                name="cache_frames",
            ),
            node(learn_tokenizer, ["samples", "params:model"], "tokenizer", name="learn_tokenizer"),
            node(
                pretrain,
                [
                    "samples",
                    "frame_features",
                    "tokenizer",
                    "statistics",
                    "params:model",
                    "params:pretrain",
                    "pretrain_state",
                    "tracker",
                ],
                ["pretrained_model", "pretrain_history", "pretrain_report"],
                name="pretrain",
            ),
        ]
    )
