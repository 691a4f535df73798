"""Low-rank adapters (LoRA, arXiv:2106.09685) in a language model, through peft.

Invariant: adapters are float32 whatever the precision of the weights they adapt; new ones change no output.
"""

from __future__ import annotations

from vln_heatmap.nodes.model.language.base import LanguageModel
from vln_heatmap.params import LoraParams

MARK = "lora_"  # in the name of every adapter's parameter


def add_lora(language: LanguageModel, params: LoraParams) -> None:
    """Put adapters into the linear layers named by ``params.targets``.

    peft freezes all other weights of the module it is given, so it is given the text model alone;
    :func:`vln_heatmap.nodes.model.tuning.tune` decides what trains.

    Raises:
        ValueError: the text model has no layer of these names.
    """
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(
        r=params.rank,
        lora_alpha=params.alpha,
        lora_dropout=params.dropout,
        target_modules=list(params.targets),
    )
    inject_adapter_in_model(config, language.model)
    for name, parameter in language.named_parameters():
        if MARK in name:
            parameter.data = parameter.data.float()


def merge_lora(language: LanguageModel) -> None:
    """Add the adapters to the weights they adapt and leave only plain layers, for export."""
    from peft.tuners.lora import LoraLayer

    adapted = [(name, module) for name, module in language.named_modules() if isinstance(module, LoraLayer)]
    for name, module in adapted:
        module.merge()
        parent, _, own = name.rpartition(".")
        setattr(language.get_submodule(parent), own, module.get_base_layer())
