"""Checkpoints are whole or absent and say what is wrong; a training's state outlives a failed save."""

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kedro.io import DataCatalog, DatasetError, Version
from kedro.pipeline import node, pipeline
from kedro.runner import SequentialRunner
from torch import nn

from vln_heatmap.datasets import CheckpointDataset, TrainingStateDataset
from vln_heatmap.datasets.checkpoint import (
    Checkpoint,
    CheckpointMismatchError,
    MissingCheckpointError,
    TrainingState,
    load_into,
)
from vln_heatmap.datasets.tensor_file import CorruptCheckpointError, read_tensors, untied, write_tensors


class Tied(nn.Module):
    """A language model's habit: input and output embedding are one tensor."""

    def __init__(self, size: int = 6, width: int = 3) -> None:
        super().__init__()
        self.embed = nn.Embedding(size, width)
        self.head = nn.Linear(width, size, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("mean", torch.zeros(width))


def checkpoint_of(model: nn.Module, **meta: Any) -> dict[str, Any]:
    return {"state_dict": model.state_dict(), "meta": {"preset": "tiny", "metrics": {"auc": 0.9}, **meta}}


def dataset(folder: Path, load: str | None = None, save: str | None = None) -> CheckpointDataset:
    return CheckpointDataset(filepath=str(folder / "finetuned"), version=Version(load, save))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Folder of a stored checkpoint."""
    dataset(tmp_path, save="v1").save(checkpoint_of(Tied()))
    return tmp_path / "finetuned" / "v1" / "finetuned"


def test_what_is_saved_is_loaded_bit_for_bit(tmp_path: Path):
    model = Tied()
    tokenizer = {"model": {"vocab": {"Stuhl": 0, "ü": 1}}}
    dataset(tmp_path).save(checkpoint_of(model, tokenizer=tokenizer, size=np.float32(1.5), ids=np.arange(3)))
    checkpoint = dataset(tmp_path).load()
    assert checkpoint.meta["tokenizer"] == tokenizer
    assert (checkpoint.meta["size"], checkpoint.meta["ids"]) == (1.5, [0, 1, 2])
    assert checkpoint.preset == "tiny"
    weights = checkpoint.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    assert weights["head.weight"].data_ptr() == weights["embed.weight"].data_ptr()
    assert sorted(path.name for path in checkpoint.path.iterdir()) == ["model.safetensors", "state.json"]


def test_tied_weights_are_stored_once_and_views_of_one_storage_do_not_mix():
    base = torch.arange(12.0)
    tensors = {
        "a": base[:6],
        "b": base[6:],
        "again": base[:6],
        "t": base.view(3, 4).t(),
        "none": torch.ones(0),
    }
    unique, aliases = untied(tensors)
    assert aliases == {"again": "a"}
    assert all(torch.equal(unique[name], tensors[name]) for name in unique)
    pointers = [t.untyped_storage().data_ptr() for name, t in unique.items() if name != "none"]
    assert len(set(pointers)) == len(pointers)


def test_the_newest_version_is_loaded_and_any_other_on_demand(tmp_path: Path):
    for version in ("2026-01-01T00.00.00.000Z", "2026-01-02T00.00.00.000Z"):
        dataset(tmp_path, save=version).save(checkpoint_of(Tied(), name=version))
    assert dataset(tmp_path).load().meta["name"].startswith("2026-01-02")
    assert dataset(tmp_path, load="2026-01-01T00.00.00.000Z").load().meta["name"].startswith("2026-01-01")
    assert Checkpoint.open(tmp_path / "finetuned").meta["name"].startswith("2026-01-02")


def test_a_user_may_name_the_folder_or_the_file(saved: Path):
    assert Checkpoint.open(saved).path == saved
    assert Checkpoint.open(str(saved / "model.safetensors")).path == saved


def test_a_missing_checkpoint_names_the_command_that_makes_it(tmp_path: Path):
    missing = CheckpointDataset(
        filepath=str(tmp_path / "pretrained"), version=Version(None, None), made_by="pretrain"
    )
    assert not missing.exists()
    with pytest.raises(MissingCheckpointError, match=r"run `kedro run --pipelines=pretrain` first"):
        missing.load()
    with pytest.raises(MissingCheckpointError, match=r"no checkpoint in .*nowhere; run .*finetune"):
        Checkpoint.open(tmp_path / "nowhere")


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_truncated_weights_are_noticed_when_the_checkpoint_is_opened(saved: Path, keep: int):
    file = saved / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(CorruptCheckpointError, match=r"model\.safetensors cannot be read: .+"):
        Checkpoint.open(saved)


@pytest.mark.parametrize("text", ["", '{"preset": "ti', "[1]", '{"preset": "tiny"}', "\x00\xff"])
def test_a_damaged_description_is_noticed_when_the_checkpoint_is_opened(saved: Path, text: str):
    (saved / "state.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(CorruptCheckpointError, match=r"state\.json cannot be read \(.+\)"):
        Checkpoint.open(saved)


def test_half_a_checkpoint_and_one_from_the_future_are_refused(saved: Path):
    (saved / "state.json").write_text(json.dumps({"format_version": 99}))
    with pytest.raises(CorruptCheckpointError, match="format 99; this version reads up to 1"):
        Checkpoint.open(saved)
    (saved / "state.json").unlink()
    with pytest.raises(CorruptCheckpointError, match=r"state\.json cannot be read \(FileNotFoundError"):
        Checkpoint.open(saved)
    with pytest.raises(CorruptCheckpointError, match="state"):  # through kedro, with its own type and words
        CheckpointDataset(filepath=str(saved)).load()


def test_a_checkpoint_is_loaded_into_a_model_of_its_shape(saved: Path):
    model = Tied()
    load_into(model, Checkpoint.open(saved), preset="tiny")
    stored = Checkpoint.open(saved).state_dict()
    assert all(torch.equal(value, stored[name]) for name, value in model.state_dict().items())
    assert model.head.weight is model.embed.weight


def test_a_checkpoint_of_another_preset_is_one_clear_error_and_changes_nothing(saved: Path):
    model = nn.ModuleDict({"embed": nn.Embedding(6, 4), "extra": nn.Sequential(*[nn.Linear(1, 1)] * 4)})
    before = model["embed"].weight.detach().clone()
    with pytest.raises(CheckpointMismatchError) as caught:
        load_into(model, Checkpoint.open(saved), preset="full")
    message = str(caught.value)
    assert "of preset 'tiny' does not fit the model of preset 'full'" in message
    assert "head.weight is not in the model" in message
    assert "extra.0.weight is not in the checkpoint" in message
    assert "and 7 more" in message  # 2 + 8 + 1 problems, of which 4 are named
    assert torch.equal(model["embed"].weight, before)
    with pytest.raises(
        CheckpointMismatchError, match=r"is \(6, 3\) in the checkpoint and \(5, 3\) in the model"
    ):
        load_into(Tied(size=5), Checkpoint.open(saved))


def test_a_save_of_something_else_is_refused(tmp_path: Path):
    with pytest.raises(DatasetError, match=r"made of state_dict and meta, got \['weights'\]"):
        dataset(tmp_path).save({"weights": {}})
    with pytest.raises(DatasetError, match="object cannot be stored as JSON"):
        dataset(tmp_path).save(checkpoint_of(Tied(), strange=object()))
    assert not dataset(tmp_path).exists()


def test_an_unversioned_checkpoint_is_replaced_as_a_whole(tmp_path: Path):
    plain = CheckpointDataset(filepath=str(tmp_path / "model"))
    for name in ("first", "second"):
        plain.save(checkpoint_of(Tied(), name=name))
    assert plain.load().meta["name"] == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


FULL_DISK = """
    import resource, signal, sys
    from pathlib import Path
    import torch
    from vln_heatmap.datasets.checkpoint import CheckpointDataset, TrainingState

    state = TrainingState(Path(sys.argv[1]) / "training.safetensors")
    model = CheckpointDataset(filepath=str(Path(sys.argv[1]) / "model"))
    state.save("me", {"x": torch.ones(10)}, {"step": 1})
    model.save({"state_dict": {"x": torch.ones(10)}, "meta": {}})
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # writing more fails, as on a full disk
    big = {"x": torch.ones(100_000)}
    for save in (lambda: state.save("me", big, {}), lambda: model.save({"state_dict": big, "meta": {}})):
        try:
            save()
        except Exception as error:
            print(type(error).__name__, error)
    tensors, rest = state.load("me")
    assert rest == {"step": 1} and len(tensors["x"]) == 10 and len(model.load().state_dict()["x"]) == 10
    print(sorted(path.name for path in Path(sys.argv[1]).iterdir()))
"""


def test_a_full_disk_is_one_clear_error_and_what_was_stored_stays(tmp_path: Path):
    command = [sys.executable, "-c", textwrap.dedent(FULL_DISK), str(tmp_path)]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
    first, second, files = output.strip().splitlines()
    for line, name in ((first, "training.safetensors"), (second, "model")):
        assert line.startswith("DatasetError could not write")
        assert f"/{name}: " in line
        assert line.endswith("what was stored before is untouched")
    assert files == "['model', 'training.safetensors']"


def test_a_state_is_given_back_to_its_own_fingerprint_only(tmp_path: Path):
    state = TrainingStateDataset(filepath=str(tmp_path / "pretrain_state")).load()
    assert state.load("me") is None
    state.save("me", {"x": torch.arange(3)}, {"step": 7, "loss": 0.1 + 0.2})
    tensors, rest = state.load("me") or ({}, {})
    assert torch.equal(tensors["x"], torch.arange(3))
    assert rest == {"step": 7, "loss": 0.1 + 0.2}
    assert state.load("you") is None
    assert state.load("me") is not None
    state.clear()
    state.clear()
    assert state.load("me") is None


def test_a_damaged_state_says_how_to_go_on(tmp_path: Path):
    state = TrainingState(tmp_path / "training.safetensors")
    state.save("me", {"x": torch.ones(100)}, {})
    state.path.write_bytes(state.path.read_bytes()[:-7])
    with pytest.raises(
        CorruptCheckpointError, match=r"training\.safetensors cannot be read.*delete it to train"
    ):
        state.load("me")


def test_half_precision_and_integers_keep_their_type(tmp_path: Path):
    tensors = {"a": torch.ones(2, dtype=torch.bfloat16), "b": torch.tensor([2**40]), "c": torch.tensor(True)}
    write_tensors(tmp_path / "x.safetensors", tensors)
    loaded, state = read_tensors(tmp_path / "x.safetensors")
    assert {k: v.dtype for k, v in loaded.items()} == {k: v.dtype for k, v in tensors.items()}
    assert state is None


def training_node(state: TrainingState, weight: float) -> Iterator[dict[str, Any]]:
    """As a training stage is written: the state is cleared after the outputs were saved."""
    state.save("me", {"x": torch.tensor([weight])}, {"finished": True})
    yield {"state_dict": {"x": torch.tensor([weight])}, "meta": {}}
    state.clear()


def road(folder: Path, model: Any) -> tuple[Any, DataCatalog]:
    catalog = DataCatalog(
        {
            "state": TrainingStateDataset(filepath=str(folder / "state")),
            "trained": model,
            "weight": _given(2.0),
        }
    )
    return pipeline([node(training_node, ["state", "weight"], "trained", name="training")]), catalog


def _given(value: Any) -> Any:
    from kedro.io import MemoryDataset

    return MemoryDataset(value)


def test_in_kedro_the_state_is_cleared_once_the_checkpoint_is_stored(tmp_path: Path):
    graph, catalog = road(tmp_path, CheckpointDataset(filepath=str(tmp_path / "trained")))
    SequentialRunner().run(graph, catalog)
    assert catalog.load("trained").state_dict()["x"].item() == 2.0
    assert catalog.load("state").load("me") is None


def test_in_kedro_the_state_is_kept_if_the_checkpoint_cannot_be_stored(tmp_path: Path):
    (tmp_path / "file").write_text("")  # where the checkpoint's folder should be
    graph, catalog = road(tmp_path, CheckpointDataset(filepath=str(tmp_path / "file" / "trained")))
    with pytest.raises(DatasetError):
        SequentialRunner().run(graph, catalog)
    assert catalog.load("state").load("me") is not None


def test_a_cleared_state_does_not_make_kedro_train_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    graph, catalog = road(tmp_path, CheckpointDataset(filepath=str(tmp_path / "trained")))
    SequentialRunner().run(graph, catalog)
    assert catalog.exists("state")
    monkeypatch.setattr(TrainingState, "save", lambda *_: pytest.fail("trained again"))
    SequentialRunner().run(graph, catalog, only_missing_outputs=True)


def test_the_catalog_is_built_without_torch():
    code = (
        "import sys; from vln_heatmap.datasets import CheckpointDataset, TrainingStateDataset;"
        "CheckpointDataset(filepath='x').exists(); TrainingStateDataset(filepath='x').load();"
        "assert not {'torch', 'safetensors', 'accelerate'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# --- the checkpoint of the package ------------------------------------------------------------------------


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reference checkpoint as the package has one."""
    folder = tmp_path / "package" / "reference"
    folder.parent.mkdir()
    CheckpointDataset(filepath=str(folder)).save(checkpoint_of(Tied(), origin="package"))
    monkeypatch.setattr("vln_heatmap.datasets.checkpoint.REFERENCE", folder)
    return folder


def at_home(folder: Path, version: str | None = None) -> CheckpointDataset:
    return CheckpointDataset(
        filepath=str(folder / "finetuned"), home="finetuned", version=Version(version, None)
    )


def test_the_reference_stands_in_until_a_model_is_trained(tmp_path: Path, shipped: Path):
    assert at_home(tmp_path).load().path == shipped
    assert not at_home(tmp_path).exists()  # so that --only-missing-outputs trains
    dataset(tmp_path, save="v1").save(checkpoint_of(Tied()))
    assert at_home(tmp_path).load().path == tmp_path / "finetuned" / "v1" / "finetuned"


def test_the_reference_never_hides_a_wrong_path_or_version(tmp_path: Path, shipped: Path):
    elsewhere = CheckpointDataset(
        filepath=str(tmp_path / "tuned"), home="finetuned", version=Version(None, None)
    )
    for wrong in (elsewhere, at_home(tmp_path, "v7"), dataset(tmp_path)):
        with pytest.raises(MissingCheckpointError):
            wrong.load()


def test_the_reference_can_be_asked_for_by_name(tmp_path: Path, shipped: Path):
    assert Checkpoint.open("reference").path == shipped
    dataset(tmp_path, save="v1").save(checkpoint_of(Tied()))
    named = CheckpointDataset(
        filepath=str(tmp_path / "reference"), home="finetuned", version=Version(None, None)
    )
    assert named.load().path == shipped
