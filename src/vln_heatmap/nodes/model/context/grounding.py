"""Where a view shows what words name, and what of that lies in which direction from the robot.

An instruction is matched with every cell of a view, word by word; with depth and poses, the matches of all views
in the context become a value map as of VLFM (arXiv:2312.03275), here in polar cells round the robot: a language
model of few tokens a view loses a chair four metres off, a direction and a distance it can read.

Invariant: a map depends on the views in the context, the instruction and the present pose alone, so training,
which has whole walks, and the running agent have the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vln_heatmap.params.navigation_model import ValueMapParams

if TYPE_CHECKING:
    from vln_heatmap.nodes.model.action_dialogue import ActionDialogue

_NEIGHBOURS = 3  # words that say together what each of them names: "washing machine"
_SHARPNESS = 4.0  # of matches before training
_NEVER = -1e4
_RARE = -3.0  # logit of a match before training: most words name nothing that is in a cell


class Grounding(nn.Module):
    """Matches words with cells.

    Args:
        channels: D of what the eyes see in a cell.
        words: width of a token's embedding.
        width: in which both are compared.
    """

    def __init__(self, channels: int, words: int, width: int = 128) -> None:
        super().__init__()
        self.key = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, width))
        self.norm = nn.LayerNorm(words, elementwise_affine=False)
        self.query = nn.Conv1d(words, width + 1, _NEIGHBOURS, padding=_NEIGHBOURS // 2)

    def keys(self, looks: Tensor) -> Tensor:
        """Of what was seen [N, D, g, g]: [N, g, g, E]."""
        return self.key(looks.movedim(1, -1).to(self.query.weight.dtype))

    def queries(self, embedded: Tensor, known: Tensor) -> Tensor:
        """Of texts of L tokens [B, L, D'], and where there are any [B, L]: [B, L, E + 1]."""
        words = self.norm(embedded.to(self.query.weight.dtype)) * known[..., None]
        queries = self.query(words.transpose(1, 2)).transpose(1, 2)
        return torch.cat([queries[..., :-1], queries[..., -1:].masked_fill(~known[..., None], _NEVER)], -1)

    def scores(self, keys: Tensor, queries: Tensor) -> Tensor:
        """Logits of cells [..., E] and texts [B, L, E + 1] [..., B]: of each text the word that fits best."""
        products = keys @ queries[..., :-1].flatten(0, 1).T * (_SHARPNESS / math.sqrt(keys.shape[-1]))
        return (products.unflatten(-1, queries.shape[:2]) + queries[..., -1] + _RARE).amax(-1)


def text_queries(model: ActionDialogue, texts: Sequence[str]) -> Tensor:
    """What a model's ``Grounding`` looks for after B texts, whose first words count like those inside a sentence
    [B, L, E + 1]."""
    ids = [model.language.tokenizer.encode(f" {text}", add_special_tokens=False) or [0] for text in texts]
    rows = [torch.tensor(row, device=model.device) for row in ids]
    padded = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    known = nn.utils.rnn.pad_sequence([torch.ones_like(row, dtype=torch.bool) for row in rows], True)
    return model.context.grounding.queries(model.language.embed_text(padded), known)


@torch.no_grad()
def match(model: ActionDialogue, looks: Tensor, instruction: str) -> Tensor | None:
    """How well what an instruction names fits what is seen in each cell of N views [N, g, g], probabilities
    without gradients: matching is taught by names, not by actions; None where the model does not match words.

    Args:
        looks: see ``looking.look`` [N, D, g, g].
        instruction: its words.
    """
    if model.action.context.value_map is None:
        return None
    grounding = model.context.grounding
    return grounding.scores(grounding.keys(looks), text_queries(model, [instruction]))[..., 0].sigmoid()


@torch.no_grad()
def value_maps(
    matches: Tensor, spots: Tensor, headings: Tensor, params: ValueMapParams, known: Tensor
) -> Tensor:
    """The best match in each direction and at each distance from each of S places, for K ways to say which views
    are known [K, S, rings * sectors], in [0, 1]; 0 where nothing was seen.

    Args:
        matches: probabilities of the cells of V views [V, g, g].
        spots: where on the floor they lie, x and z in metres [V, g, g, 2]; NaN where unknown.
        headings: x, z of each place, and x, z of the direction ahead (+Y up, OpenCV camera) [S, 4].
        params: the cells.
        known: which views have been seen at each place [K, S, V].
    """
    x, z = (spots.reshape(-1, 2) - headings[:, None, :2]).unbind(-1)  # [S, V * g * g] each
    forward = x * headings[:, 2:3] + z * headings[:, 3:]
    right = z * headings[:, 2:3] - x * headings[:, 3:]  # +X is to the right of -Z
    turn = torch.atan2(right, forward) / (2 * math.pi) + 0.5
    sector = (turn * params.sectors).nan_to_num().long().clamp(0, params.sectors - 1)
    edges = torch.tensor(params.rings, dtype=right.dtype, device=right.device)
    ring = torch.bucketize(torch.hypot(right, forward).nan_to_num(), edges)
    nowhere = params.cells  # one cell more, which is not read
    cell = (ring * params.sectors + sector).masked_fill(right.isnan(), nowhere)
    of_view = known.repeat_interleave(spots.shape[1] * spots.shape[2], -1)  # [K, S, V * g * g]
    cells = torch.where(of_view, cell, nowhere)
    values = matches.flatten().expand(cells.shape)
    return matches.new_zeros(*known.shape[:2], nowhere + 1).scatter_reduce(2, cells, values, "amax")[..., :-1]


def floor_spots(
    depth: NDArray[np.floating], pose: NDArray[np.floating], params: ValueMapParams, grid: int
) -> NDArray[np.float32]:
    """Where on the floor lies what is in the middle of each cell of a view [grid, grid, 2], see ``value_map``.

    Args:
        depth: z-depth in metres [H, W], 0 = unknown.
        pose: camera_to_world [4, 4] (OpenCV camera, +Y up).
        params: for the camera's field of view.
        grid: cells along a side.
    """
    from vln_heatmap.nodes.model.context.voxels import cell_points

    return cell_points(depth, pose, params.hfov, grid)[..., [0, 2]]


def heading(pose: NDArray[np.floating]) -> NDArray[np.float32]:
    """x, z of a pose, and x, z of its direction ahead, of length 1 [4]."""
    pose = np.asarray(pose, np.float64)
    ahead = pose[[0, 2], 2] / max(float(np.linalg.norm(pose[[0, 2], 2])), 1e-9)
    return np.concatenate([pose[[0, 2], 3], ahead]).astype(np.float32)


def mirrored_spots(spots: NDArray[np.floating]) -> NDArray[Any]:
    """Spots [N, g, g, 2] in the mirror image of the building, where x is -x."""
    return (spots[:, :, ::-1] * np.array([-1, 1], spots.dtype)).copy()


def mirrored_headings(headings: NDArray[np.floating]) -> NDArray[Any]:
    """Headings [S, 4] in it."""
    return headings * np.array([-1, 1, -1, 1], headings.dtype)
