"""Merging the results of several stages in one file."""

import json

import pytest
from kedro.io import DatasetError

from vln_heatmap.datasets import ResultsDataset


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "results.json"


def test_sections_of_other_stages_are_kept(path):
    dataset = ResultsDataset(filepath=str(path))
    dataset.save({"navigation": {"sr": 0.5}, "meta": {"episodes": 9, "seed": 1}})
    dataset.save({"heatmap": {"model": {"auc": 0.9}}, "meta": {"seed": 2}})
    assert dataset.load() == {
        "navigation": {"sr": 0.5},
        "heatmap": {"model": {"auc": 0.9}},
        "meta": {"episodes": 9, "seed": 2},
    }


def test_a_section_is_replaced_whole(path):
    dataset = ResultsDataset(filepath=str(path))
    dataset.save({"heatmap": {"model": {"auc": 0.9}, "gone": {}}})
    dataset.save({"heatmap": {"model": {"auc": 0.8}}})
    assert dataset.load() == {"heatmap": {"model": {"auc": 0.8}}}


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), object()])
def test_what_is_no_json_is_refused_and_the_old_file_stays(path, bad):
    dataset = ResultsDataset(filepath=str(path))
    dataset.save({"heatmap": {"auc": 0.9}})
    with pytest.raises(DatasetError, match="plain JSON"):
        dataset.save({"heatmap": {"auc": bad}})
    assert json.loads(path.read_text()) == {"heatmap": {"auc": 0.9}}
    assert [p.name for p in path.parent.iterdir()] == ["results.json"]


def test_a_missing_file_names_the_command(path):
    with pytest.raises(DatasetError, match="kedro run --pipelines=evaluate"):
        ResultsDataset(filepath=str(path)).load()


def test_an_optional_file_is_empty_until_there_is_one(path):
    dataset = ResultsDataset(filepath=str(path), optional=True)
    assert dataset.exists()
    assert dataset.load() == {}
    dataset.save({"navigation": {"sr": 1}})
    assert dataset.load() == {"navigation": {"sr": 1}}


@pytest.mark.parametrize("content", ["{", "[1]"])
def test_a_broken_file_is_named_and_not_overwritten(path, content):
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(DatasetError, match=r"results\.json"):
        ResultsDataset(filepath=str(path)).save({"heatmap": {}})
    assert path.read_text() == content
