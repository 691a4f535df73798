"""Measuring in several looks, in a world in closed form: a camera that passes a painted wall."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from box_walks import walk
from evaluation_world import GROUPS, SIDE, PaintedWorld, painted_world

from vln_heatmap.nodes.baselines import geometry
from vln_heatmap.nodes.generality import (
    MEASURES,
    Looks,
    draw_look_examples,
    draw_looks,
    gather_looks,
    look_windows,
    measure_looks,
)
from vln_heatmap.nodes.metrics.heatmap import Maps
from vln_heatmap.nodes.model import encoder2d
from vln_heatmap.params import EvaluateParams, GeneralityParams, ModelParams
from vln_heatmap.reporting.tables import MODEL

EVALUATE = EvaluateParams(keyframes=2, size=14, sampled=SIDE, sigma=0, resamples=50, workers=1)
PARAMS = GeneralityParams(looks={"plain": {"counted": False}, "loud": {}, "noisy": {}})


class Oracle:
    """A model that knows the geometry."""

    groups, origin = GROUPS, {"checkpoint": "2026-01-01", "preset": "oracle"}

    def __call__(self, window: Any, size: Any) -> Maps:
        return geometry(window, size, sigma=0)


class Blind(Oracle):
    """A model that knows it in all looks but one."""

    def __call__(self, window: Any, size: Any) -> Maps:
        maps = super().__call__(window, size)
        wrong = window.sequence_id.startswith("noisy")
        return Maps(-maps.scores if wrong else maps.scores)


def windows_of(world: PaintedWorld, samples: pd.DataFrame) -> pd.DataFrame:
    """The test windows of a painted world as three looks of the same houses, and as a recording of two parts."""
    test = samples[(samples["split"] == "test") & (samples["task"] == "finetune")]
    parts = []
    for look in ("plain", "loud", "noisy"):
        keys = [f"{look}.{key}" for key in test["sequence_id"]]
        parts.append(test.assign(look=look, sequence_id=keys))
        world |= {f"{look}.{key}": world[key] for key in test["sequence_id"].unique()}
    real = test[(test["instruction"] == "") & (test["scene"] < "house_00002")]
    keys = [f"room.{key}" for key in real["sequence_id"]]
    parts.append(real.assign(look="room", sequence_id=keys, scene=keys))
    world |= {f"room.{key}": world[key] for key in real["sequence_id"].unique()}
    rows = pd.concat(parts, ignore_index=True)
    keyframes = [[0, current - 1] for current in rows["current"]]
    return rows.assign(keyframes=keyframes, sample_id=np.arange(len(rows)))


@pytest.fixture(scope="module")
def looks() -> Looks:
    world, samples = painted_world()
    windows = windows_of(world, samples)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder2d, "make_encoder", lambda params: SimpleNamespace(groups=GROUPS))
        return gather_looks(windows, world, world, ModelParams(), PARAMS, EVALUATE)


@pytest.fixture(scope="module")
def measured(looks: Looks) -> tuple[dict[str, Any], pd.DataFrame]:
    return measure_looks(Oracle(), looks)


def test_a_model_that_knows_everything_is_right_in_every_look(measured: Any) -> None:
    results, _ = measured
    assert list(results["looks"]) == ["plain", "loud", "noisy", "room"]
    for section in results["looks"].values():
        assert section[MODEL]["auc"] > 0.99
        assert section[MODEL]["iou"] > 0.95
        assert section[MODEL] == section["geometry"]
    assert results["score"] == results["mean"][MODEL]["auc"] > 0.99
    assert results["score_all"] > 0.99
    assert results["meta"]["checkpoint"] == "2026-01-01"


def test_the_score_is_the_mean_over_the_counted_looks(looks: Looks) -> None:
    results, _ = measure_looks(Blind(), looks)
    by_look = {look: section[MODEL]["auc"] for look, section in results["looks"].items()}
    assert results["meta"]["counted"] == ["loud", "noisy", "room"]
    assert by_look["noisy"] < 0.1
    expected = np.mean([by_look[look] for look in ("loud", "noisy", "room")])
    assert results["score"] == pytest.approx(expected)
    over = results["margin"]["over"]
    assert results["margin"]["value"] == pytest.approx(results["score"] - results["mean"][over]["auc"])
    assert over != "geometry"


def test_a_recording_is_asked_for_everything_alone_and_stands_for_itself(looks: Looks, measured: Any) -> None:
    results, table = measured
    assert looks.scenes == (
        tuple(f"house_{k:05d}" for k in range(4)),
        ("room.house_00000_00", "room.house_00001_00"),
    )
    room = table[(table["look"] == "room") & (table["method"] == MODEL) & (table["kind"] == "referring")]
    assert room.set_index("metric")["value"].loc[["auc", "auc_within"]].isna().all()
    assert results["meta"]["scenes"] == {"plain": 4, "loud": 4, "noisy": 4, "room": 2}


def test_the_bootstrap_draws_houses_among_houses_and_parts_of_a_recording_among_its_own(looks: Looks) -> None:
    weights = looks.weights()
    assert weights.shape == (50, 6)
    np.testing.assert_array_equal(weights[:, :4].sum(1), 4)
    np.testing.assert_array_equal(weights[:, 4:].sum(1), 2)


def test_the_table_has_every_look_method_kind_and_measure_once(measured: Any) -> None:
    results, table = measured
    keys = ["look", "method", "kind", "metric"]
    assert len(table) == len(table[keys].drop_duplicates())
    assert len(table) == 5 * len(results["mean"]) * 3 * len(MEASURES)
    known = table.dropna(subset=["value", "low", "high"])
    assert (known["low"] <= known["high"]).all()
    assert set(table[table["counted"]]["look"]) == {"loud", "noisy", "room"}


def test_a_look_of_one_scene_has_no_interval() -> None:
    world, samples = painted_world()
    windows = windows_of(world, samples)
    windows = windows[windows["sequence_id"] != "room.house_00001_00"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder2d, "make_encoder", lambda params: SimpleNamespace(groups=GROUPS))
        one = gather_looks(windows, world, world, ModelParams(), PARAMS, EVALUATE)
    results, _ = measure_looks(Oracle(), one)
    assert results["looks"]["room"][MODEL]["auc_ci"] is None
    assert results["looks"]["loud"][MODEL]["auc_ci"] is not None


def test_figures_are_drawn_from_the_results(looks: Looks, measured: Any) -> None:
    results, _ = measured
    figure = draw_looks(results)
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == ["(plain)", "loud", "noisy", "room", "mean of the counted"]
    assert len(draw_look_examples(Oracle(), looks).axes) > 4 * 2 * 3


class Stored(dict):
    """Sequences in memory, as a store gives them."""

    version, skipped = "now", {}


def recorded(key: str, *absent: str) -> SimpleNamespace:
    """A walk through a box; one without ids has nothing to say of what is seen."""
    sequence = walk(key, "fflfrffl")
    walls = [{"text": f"wall {k}", "kind": "category", "instances": [k], "frame": None} for k in range(1, 7)]
    metadata = {**sequence.metadata, "objects": [], "rooms": [], "instructions": walls}
    if absent:
        for name in ("visible_ids", "visible_pixels", "visible_u", "visible_v", "visible_depth"):
            sequence.frames[name] = [[]] * len(sequence)
        metadata |= {"instructions": [], "absent": list(absent)}
    return SimpleNamespace(frames=sequence.frames, metadata=metadata, absent=frozenset(absent))


def test_windows_of_walks_name_things_and_those_of_recordings_do_not() -> None:
    stored = Stored(
        {
            "plain.house_00000_00": recorded("plain.house_00000_00"),
            "spoilt.house_00000_00": recorded("spoilt.house_00000_00"),
            "room.seq_000": recorded("room.seq_000", "instance", "state", "velocity"),
        }
    )
    samples = PARAMS.samples.model_copy(update={"everything": 0.1, "test": 4, "min_candidates": 2})
    params = PARAMS.model_copy(update={"samples": samples})
    windows = look_windows(stored, params, EVALUATE)
    assert windows["look"].unique().tolist() == ["plain", "spoilt", "room"]
    same = ["current", "candidates", "instruction", "keyframes"]
    plain, spoilt = (windows.loc[windows["look"] == name, same] for name in ("plain", "spoilt"))
    assert plain.to_dict("list") == spoilt.to_dict("list")
    rows = windows[windows["look"] == "room"]
    assert (rows["instruction"] == "").all()
    assert (rows["scene"] == "room.seq_000").all()
    assert (windows[windows["look"] == "plain"]["instruction"] != "").any()
    for row in windows.itertuples(index=False):
        assert len(row.keyframes) == 2
        assert max(row.keyframes) < row.current
    assert windows["sample_id"].is_unique


def test_windows_need_the_reference_look() -> None:
    stored = Stored({"loud.house_00000_00": recorded("loud.house_00000_00")})
    with pytest.raises(ValueError, match="'plain' could be filmed"):
        look_windows(stored, PARAMS, EVALUATE)
