"""Variants become trials that differ in what they name and in nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import synthetic
from box_walks import ROOT
from kedro.config import OmegaConfigLoader

from vln_heatmap.nodes.ablate_features import features_for
from vln_heatmap.nodes.ablate_variants import Trial, make_trials, overridden
from vln_heatmap.params import AblateParams, ModelParams, StageParams


def trials(variants: dict[str, dict[str, Any]], **more: Any) -> list[Trial]:
    params = AblateParams.model_validate({"variants": {"reference": {}, **variants}, "seeds": [3], **more})
    return make_trials(params, synthetic.PARAMS, synthetic.STAGE, synthetic.STAGE)


def test_a_variant_changes_what_it_names_and_nothing_else() -> None:
    changes = {
        "model.fusion.kind": "additive",
        "finetune.train.loss.weights.dice": 0.5,
        "pretrain.window.mirror": 0.0,
        "ablate.sampler": "fast",
    }
    plain, other = trials({"other": changes}, steps=7, pretrain_steps=5)
    assert other.model == synthetic.PARAMS.model_copy(
        update={"fusion": synthetic.PARAMS.fusion.model_copy(update={"kind": "additive"})}
    )
    assert other.finetune.train.loss.weights.dice == 0.5
    assert other.finetune.train.loss.weights.mask == plain.finetune.train.loss.weights.mask
    assert other.pretrain.window.mirror == 0 != other.finetune.window.mirror
    assert (plain.settings.sampler, other.settings.sampler) == ("uniform", "fast")
    for trial in (plain, other):
        assert (trial.pretrain.train.steps, trial.finetune.train.steps) == (5, 7)
        assert trial.pretrain.train.seed == trial.finetune.train.seed == trial.seed == 3


def test_the_budget_is_the_same_unless_a_variant_says_so() -> None:
    _, longer, unprepared = trials(
        {"longer": {"ablate.steps": 20}, "unprepared": {"ablate.pretrain_steps": 0}}, steps=10
    )
    assert longer.finetune.train.steps == 20
    assert unprepared.finetune.train.steps == 10
    assert unprepared.settings.pretrain_steps == 0


def test_every_variant_has_its_first_seed_before_any_has_its_second() -> None:
    names = [(t.variant, t.seed) for t in trials({"b": {}, "a": {}}, seeds=[4, 2], reference="a")]
    assert names == [(v, s) for s in (4, 2) for v in ("a", "reference", "b")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.fusion.kindness": 1}, r"variant odd .*kindness"),
        ({"model.fusion.kind": "subtractive"}, r"variant odd .*'concat_mlp', 'additive'"),
        ({"model.preset.name": "x"}, r"preset is 'toy', which has no keys"),
        ({"optimizer.lr": 1}, r"key of variant odd must be model"),
        ({"model": {}}, r"key of variant odd must be model"),
        ({"ablate.seeds": [1]}, r"variant odd may set ablate.steps"),
        ({"ablate.against": "nobody"}, r"ablate.against of variant odd must be one of reference, odd"),
    ],
)
def test_what_does_not_exist_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"(?s){message}"):
        trials({"odd": changes})


def test_references_and_seeds_must_make_sense() -> None:
    with pytest.raises(ValueError, match=r"ablate\.reference must be one of"):
        AblateParams(reference="nobody")
    with pytest.raises(ValueError, match="distinct"):
        AblateParams(seeds=(1, 1))


def test_groups_that_are_off_can_be_switched_on() -> None:
    params = overridden(synthetic.PARAMS, {"tuning.lora.rank": 4})
    assert params.tuning.lora is not None
    assert params.tuning.lora.rank == 4


@pytest.mark.parametrize("env", ["base", "test"])
def test_the_variants_that_are_shipped_are_valid_and_read_the_cached_features(env: str) -> None:
    loader = OmegaConfigLoader(
        str(ROOT / "conf"), base_env="base", default_run_env=env, merge_strategy={"parameters": "soft"}
    )
    given = loader["parameters"]
    model = ModelParams.model_validate(given["model"])
    stages = [StageParams.model_validate(given[name]) for name in ("pretrain", "finetune")]
    params = AblateParams.model_validate(given["ablate"])

    class Cached(dict[str, Any]):
        fingerprint = "cached"

    made = make_trials(params, model, *stages)
    assert len(made) == len(params.variants) * len(params.seeds)
    for trial in made:
        features_for(trial.model, Cached(), model)
        assert (trial.changes == {}) == (trial.variant == params.reference)
    if env == "base":
        assert params.steps == stages[1].train.steps  # the budget of the tiny preset
        assert params.pretrain_steps == stages[0].train.steps
