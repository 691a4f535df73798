"""A language model that does not read: what the rest of the model is worth without one.

Invariant: what it gives does not depend on the words. Whether there are any (an empty instruction means
everything) is the heatmap head's business, and stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vln_heatmap.nodes.model.language.base import LanguageStates
from vln_heatmap.nodes.model.vggt.base import Origin
from vln_heatmap.params import LanguageParams


class NoLanguage(nn.Module):
    """Hands the visual tokens back as they are, and one learned vector for every instruction.

    Args:
        params: of which the width counts.
        tokenizer: is kept, and not used.
        dtype: the same.
    """

    def __init__(self, params: LanguageParams, tokenizer: Any, *, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.tokenizer, self.width = tokenizer, params.dim
        self.origin: Origin | None = None
        self.instruction = nn.Parameter(torch.randn(params.dim))

    def forward(self, visual_tokens: Tensor, instructions: Sequence[str]) -> LanguageStates:
        """States of visual tokens [B, V, g, g, D] and of B instructions, which are not looked at."""
        if len(instructions) != len(visual_tokens):
            raise ValueError(
                f"there must be one instruction a sample ({len(visual_tokens)}), got {len(instructions)}"
            )
        return LanguageStates(visual_tokens, self.instruction.expand(len(visual_tokens), -1))
