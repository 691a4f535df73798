"""Action dialogues in checkpoints: made from a finetuned heatmap model, stored and brought back bit for bit.

Invariant: a checkpoint of an action dialogue is enough to act: it names the heatmap model's sizes, the context
and the wording that its training used. Weights that have a file of their own are not stored under any name.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from vln_heatmap.datasets.checkpoint import Checkpoint, CheckpointMismatchError, load_into
from vln_heatmap.nodes.model.action_dialogue import ActionDialogue
from vln_heatmap.nodes.model.assemble import checkpoint_meta, model_from_checkpoint, untrained
from vln_heatmap.nodes.model.language.lora import MARK
from vln_heatmap.params.navigation_data import DialogueParams
from vln_heatmap.params.navigation_model import ActionModelParams, DialoguePart


def dialogue_from_finetuned(
    checkpoint: Checkpoint, params: ActionModelParams, dialogue: DialogueParams
) -> ActionDialogue:
    """An action dialogue with the weights of a finetuned heatmap model; what is new begins at random.

    Args:
        checkpoint: of a ``HeatmapModel``.
        params, dialogue: see ``ActionDialogue``.

    Raises:
        CheckpointMismatchError: as ``model_from_checkpoint``.
        ValueError: a model that cannot do what is asked for.
    """
    import torch

    model = model_from_checkpoint(checkpoint)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ActionDialogue(model, params, dialogue)


def dialogue_from_checkpoint(
    checkpoint: Checkpoint, *, tunable_parts: tuple[DialoguePart, ...] | None = None
) -> ActionDialogue:
    """A stored action dialogue, in evaluation mode.

    Args:
        checkpoint: of an ``ActionDialogue``.
        tunable_parts: what is to train from now on; None = what was trained last.

    Raises:
        CheckpointMismatchError: it is of something else, or of another version.
        FileNotFoundError: the source of frozen weights that it leaves out is not there.
    """
    try:
        params = ActionModelParams.model_validate(checkpoint.meta["action"])
        dialogue = DialogueParams.model_validate(checkpoint.meta["dialogue"])
        changed = tuple(checkpoint.meta["changed_parts"])
    except (KeyError, ValidationError) as error:
        raise CheckpointMismatchError(
            f"checkpoint {checkpoint.path} is not of an action dialogue of this version: {error}. "
            "Run `kedro run --pipelines=navigation` first"
        ) from error
    if tunable_parts is not None:
        params = ActionModelParams.model_validate(params.model_dump() | {"tunable_parts": tunable_parts})
    model, _ = untrained(checkpoint)
    made = ActionDialogue(model, params, dialogue, changed=changed)
    external = left_out(made, checkpoint.meta.get("external", {}))
    load_into(made, checkpoint, preset=model.params.preset, external=external)
    return made.eval()


def dialogue_meta(model: ActionDialogue, tokenizer: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Metadata with which ``dialogue_from_checkpoint`` can rebuild ``model``."""
    parts: Any = model  # has what of a heatmap model is asked for
    return {
        **checkpoint_meta(parts, model.params, tokenizer),
        "action": model.action.model_dump(mode="json"),
        "dialogue": model.dialogue.model_dump(mode="json"),
        "changed_parts": list(model.changed),
        **more,
    }


def left_out(model: ActionDialogue, external: Any) -> set[str]:
    """Names of the weights that a checkpoint leaves out: those of ``external`` parts, the drawer's names for the
    same tensors among them."""
    tensors = model.state_dict()
    own = {n for n in tensors if n.partition(".")[0] in external and MARK not in n}
    places = {tensors[name].data_ptr() for name in own}
    return own | {n for n in tensors if n.startswith("drawer.") and tensors[n].data_ptr() in places}
