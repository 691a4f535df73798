"""Kedro datasets of the project, imported on use so that the catalog stays cheap to build."""

from importlib import import_module
from typing import Any

_HOMES = {
    "CheckpointDataset": "checkpoint",
    "ClipDataset": "clip",
    "FrameFeatureDataset": "frame_features",
    "ObservationDataset": "observation",
    "ResultsDataset": "results",
    "NpzDataset": "npz",
    "SequenceCacheDataset": "sequence_cache",
    "SequenceStoreDataset": "sequence_store",
    "TrackerDataset": "tracker",
    "TrainingStateDataset": "checkpoint",
    "TrialStoreDataset": "trial_store",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
