"""Graph of the pretrain_geometry stage, which is no part of the default road: VGGT from the simulator's truth."""

from kedro.pipeline import Pipeline, node

from vln_heatmap.nodes.features import cache_frames
from vln_heatmap.nodes.pretrain_geometry import pretrain_geometry


def create_pipeline(**_: object) -> Pipeline:
    return Pipeline(
        [
            node(
                cache_frames,
                ["sequences", "samples", "params:model", "params:features"],
                "frame_features",
                name="cache_frames",
            ),
            node(
                pretrain_geometry,
                [
                    "samples",
                    "frame_features",
                    "params:model",
                    "params:pretrain_geometry",
                    "geometry_state",
                    "tracker",
                ],
                ["geometry_model", "geometry_history"],
                name="pretrain_geometry",
            ),
        ]
    )
