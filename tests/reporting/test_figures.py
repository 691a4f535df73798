"""What must be on the figures, read back from the figure objects."""

import numpy as np
import pytest

from vln_heatmap.reporting.figures import Example, class_overlay, example_sheet, forest_plot, muted

RNG = np.random.default_rng(0)


def _example(keyframes: int = 3, instruction: str = "the red chair") -> Example:
    return Example(
        instruction=instruction,
        current=RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8),
        keyframes=RNG.integers(0, 256, (keyframes, 24, 32, 3), dtype=np.uint8),
        ages=np.arange(keyframes, 0, -1) * 5,
        target=RNG.random((keyframes, 6, 8)),
        predicted=RNG.random((keyframes, 6, 8)),
        validity=np.linspace(0, 1, keyframes),
        valid=np.ones(keyframes, bool),
        origin="house_00001_00, frame 9",
    )


def _texts(figure) -> str:
    parts = [t.get_text() for t in figure.texts]
    for axes in figure.axes:
        parts += [axes.get_title(), axes.get_title(loc="left"), axes.get_xlabel()]
        parts += [t.get_text() for t in axes.texts]
    return "\n".join(parts)


def test_sheet_shows_every_keyframe_three_times():
    figure = example_sheet([_example(3), _example(2)], title="sheet")
    images = [axes for axes in figure.axes if axes.images]
    assert len(images) == (1 + 3 * 3) + (1 + 3 * 2)


def test_sheet_names_instruction_age_origin_and_rows():
    words = _texts(example_sheet([_example(2), _example(1, instruction="")], title="What was seen"))
    for word in ("What was seen", "the red chair", "everything", "10 frames ago", "house_00001_00"):
        assert word in words
    for row in ("keyframe", "target", "prediction"):
        assert row in words


def test_sheet_keeps_oldest_and_newest_of_many_keyframes():
    words = _texts(example_sheet([_example(9)], columns=4))
    assert "45 frames ago" in words
    assert "5 frames ago" in words
    assert words.count("frames ago") == 4


def test_wrong_validity_is_marked():
    figure = example_sheet([_example(2)])  # probabilities 0 and 1, both valid
    colours = {axes.get_xlabel(): axes.xaxis.label.get_color() for axes in figure.axes if axes.get_xlabel()}
    assert colours["seen: 0.00"] != colours["seen: 1.00"]


def test_a_sheet_needs_an_example():
    with pytest.raises(ValueError, match="no example"):
        example_sheet([])


def _entry(auc: float | None) -> dict:
    spread = None if auc is None else [auc - 0.1, auc + 0.1]
    return {"auc": auc, "auc_ci": spread, "everything": {"auc": auc}, "referring": {}}


def test_forest_orders_methods_and_puts_the_ceiling_last():
    methods = {"geometry": _entry(0.99), "all_ones": _entry(0.5), "model": _entry(0.8), "odd": _entry(None)}
    axes = forest_plot(methods, title="t").axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["this model", "all ones", "odd", "true depth and pose (ceiling)"]
    assert list(axes.get_yticks()) == [3, 2, 1, 0]


def test_forest_draws_values_and_intervals_where_they_are():
    axes = forest_plot({"model": _entry(0.8), "all_ones": _entry(None)}).axes[0]
    lines = [(line.get_xdata().tolist(), line.get_ydata().tolist()) for line in axes.lines]
    assert ([0.8], [1]) in lines
    assert any(x == pytest.approx([0.7, 0.9]) and y == [1, 1] for x, y in lines)
    assert all(y[0] > 0.5 for _, y in lines)  # nothing is drawn for the method without a value


def test_muted_is_darker_and_greyer():
    image = RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    quiet = muted(image).astype(float)
    assert (quiet.mean(-1) <= image.mean(-1)).all()
    assert (np.ptp(quiet, axis=-1) <= np.ptp(image.astype(float), axis=-1)).all()


def test_class_overlay_keeps_classes_apart():
    classes = np.array([[0, 1, 2]], np.uint8)
    drawn = class_overlay(np.zeros((3, 9, 3), np.uint8), classes, opacity=1)
    assert len({tuple(drawn[1, x]) for x in (1, 4, 7)}) == 3
    assert (drawn[:, :3] == drawn[0, 0]).all()
