"""The wall of ``wall_windows``, stored once a test file."""

import pytest
from wall_windows import wall_arrays

from vln_heatmap.datasets.frame_features import FeatureStream, FrameFeatureDataset, FrameFeatures


@pytest.fixture(scope="module")
def wall(tmp_path_factory: pytest.TempPathFactory) -> FrameFeatures:
    dataset = FrameFeatureDataset(filepath=str(tmp_path_factory.mktemp("wall")))
    dataset.save(FeatureStream("wall", ("wall",), lambda ids: ((i, wall_arrays()) for i in ids)))
    return dataset.load()
