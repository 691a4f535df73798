"""The stage up to the model, for scripts that measure many models on the same windows.

Invariant: it is the graph of the stage itself, run on datasets of the same kinds as the catalog's; films and
features are kept in the folder and made once.
"""

from __future__ import annotations

from pathlib import Path

from kedro.io import DataCatalog, MemoryDataset, Version
from kedro.runner import SequentialRunner

from vln_heatmap.datasets.frame_features import FrameFeatureDataset
from vln_heatmap.datasets.sequence_cache import SequenceCacheDataset
from vln_heatmap.datasets.sequence_store import SequenceStoreDataset
from vln_heatmap.nodes.generality import Looks
from vln_heatmap.params import CollectParams, EvaluateParams, GeneralityParams, ModelParams
from vln_heatmap.pipelines.generality.pipeline import create_pipeline


def prepare_looks(
    params: GeneralityParams,
    *,
    collect: CollectParams,
    evaluate: EvaluateParams,
    model: ModelParams,
    folder: str | Path,
) -> Looks:
    """Film and encode the looks (or find them in ``folder``), and measure the baselines.

    Args:
        params: looks and recordings.
        collect: how the collection is filmed.
        evaluate: sizes of the maps, keyframes, bootstrap.
        model: parameters of the models that will be measured; encoder and VGGT's resolution matter.
        folder: for films and features; the stage's own is ``data/generality``.

    Returns:
        What ``nodes.generality.measure_looks(model_method(checkpoint), looks)`` takes, for any checkpoint with
        that encoder.
    """
    films, features = Path(folder) / "sequences", Path(folder) / "features"
    given = {
        "params:generality": params,
        "params:collect": collect,
        "params:evaluate": evaluate,
        "generality_settings": model,
    }
    catalog = DataCatalog({name: MemoryDataset(value, copy_mode="assign") for name, value in given.items()})
    catalog["generality_sequences"] = SequenceCacheDataset(filepath=str(films))
    catalog["generality_unfinished"] = SequenceStoreDataset(
        filepath=str(films), version=Version(None, None), unfinished=True
    )
    catalog["generality_features"] = FrameFeatureDataset(filepath=str(features))
    catalog["looks"] = MemoryDataset(copy_mode="assign")
    stage = create_pipeline()
    graph = stage.only_nodes("plan_looks", "film_looks", "look_windows", "encode_looks", "gather_looks")
    SequentialRunner().run(graph, catalog)
    return catalog.load("looks")
