"""Variants become trials that differ in what they name and in nothing else."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
import synthetic
from box_walks import ROOT
from kedro.config import OmegaConfigLoader

from vln_heatmap.nodes.ablate_features import features_for
from vln_heatmap.nodes.ablate_variants import Trial, make_trials, overridden
from vln_heatmap.nodes.training.director import EpochReport, make_director
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


def updates(stage: StageParams) -> int:
    """Steps of a training whose criteria never hold."""
    samples = pd.DataFrame([synthetic.sample_row()])
    director = make_director(stage.train, stage.curriculum, samples, None, window=stage.window)
    step, decision = 0, "continue"
    while decision == "continue":
        plan = director.plan()
        step += plan.steps
        decision = director.report(EpochReport(plan.epoch, step, {"loss": 1.0}, {"geometric_loss": 9.0}))
    return step


PHASES = {
    "one": {"epochs": 20, "data": {"geometric": 1.0}, "criteria": {"geometric_loss": {"most": 10.0}}},
    "two": {"epochs": 40, "data": {"geometric": 1.0}, "criteria": {"geometric_loss": {"most": 0.1}}},
}


def test_a_curriculum_has_the_same_steps_whether_its_criteria_hold_or_not() -> None:
    changes = {"finetune.curriculum.epoch_scale": 0.1, "finetune.curriculum.phases": PHASES}
    plain, phased = trials({"phased": changes}, steps=24)
    assert phased.finetune.curriculum is not None
    assert phased.finetune.curriculum.steps_per_epoch == 4  # 2 + 4 epochs
    assert updates(phased.finetune) == updates(plain.finetune) == 24
    with pytest.raises(ValueError, match=r"variant phased .*multiple of the curriculum's 6 epochs, got 25"):
        trials({"phased": changes}, steps=25)


def test_sets_of_loss_weights_add_to_what_is_chosen_by_name() -> None:
    named = {"finetune.train.loss.sets": "finetuning", "finetune.train.loss.weights.temporal": 0.2}
    plain, other = trials({"other": named})
    before, after = (trial.finetune.train.loss.weights for trial in (plain, other))
    assert (after.entropy, after.distinctness, after.temporal) == (0.4, 0.3, 0.2)
    assert (after.referred, before.entropy) == (before.referred, 0.0)


def test_some_variants_are_tried_with_what_they_are_compared_with() -> None:
    variants = {"b": {"ablate.against": "a"}, "a": {"ablate.against": "c"}, "c": {}, "d": {}}
    assert [t.variant for t in trials(variants, only="b+d")] == ["reference", "b", "a", "c", "d"]
    assert [t.variant for t in trials(variants, only="c")] == ["reference", "c"]
    with pytest.raises(ValueError, match=r"ablate\.only must be one of reference, b, a, c, d, got 'e'"):
        trials(variants, only="b+e")


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
@pytest.mark.parametrize("group", ["ablate", "ablate_training"])
def test_the_variants_that_are_shipped_are_valid_and_read_the_cached_features(env: str, group: str) -> None:
    loader = OmegaConfigLoader(
        str(ROOT / "conf"), base_env="base", default_run_env=env, merge_strategy={"parameters": "soft"}
    )
    given = loader["parameters"]
    model = ModelParams.model_validate(given["model"])
    stages = [StageParams.model_validate(given[name]) for name in ("pretrain", "finetune")]
    params = AblateParams.model_validate(given[group])

    class Cached(dict[str, Any]):
        fingerprint = "cached"

    made = make_trials(params, model, *stages)
    assert len(made) == len(params.variants) * len(params.seeds)
    for trial in made:
        features_for(trial.model, Cached(), model)
        assert (trial.changes == {}) == (trial.variant == params.reference)
        assert updates(trial.finetune) == trial.settings.steps
    if group == "ablate_training":
        assert {trial.settings.steps for trial in made if trial.variant != "longer"} == {params.steps}
        assert all(trial.pretrain == made[0].pretrain for trial in made if trial.seed == made[0].seed)
    if env == "base":
        assert params.steps == stages[1].train.steps  # the budget of the tiny preset
        assert params.pretrain_steps == stages[0].train.steps
