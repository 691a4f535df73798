"""A trained policy for one moment at a time: images, prompt and state to a chunk of actions.

Invariant: everything it needs comes from the checkpoint; images of any size are brought to the policy's as in
training, numbers are those of the robot.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vln_heatmap.datasets.checkpoint import Checkpoint
from vln_heatmap.datasets.episode_windows import resized


class Policy:
    """Use :meth:`open`.

    Attributes:
        cameras: names, in the order in which images are wanted.
        state_names, action_names: of the dimensions.
        horizon: actions of a chunk.
    """

    def __init__(self, model: Any, statistics: dict[str, Any], device: str) -> None:
        self.model, self.device = model.to(device), device
        self.cameras = tuple(statistics["cameras"])
        self.state_names, self.action_names = (tuple(statistics[k]["names"]) for k in ("state", "action"))
        self.horizon: int = model.head.horizon

    @classmethod
    def open(cls, checkpoint: Checkpoint | str | Path, *, device: str = "cpu") -> Policy:
        """A policy from a checkpoint: a folder, or one that is open already.

        Raises:
            CheckpointMismatchError: it is not one of a policy.
        """
        from vln_heatmap.nodes.model.policy.assemble import policy_from_checkpoint

        found = (
            checkpoint
            if isinstance(checkpoint, Checkpoint)
            else Checkpoint.open(checkpoint, made_by="policy")
        )
        return cls(policy_from_checkpoint(found), found.meta["statistics"], device)

    def act(
        self,
        images: Sequence[NDArray[np.uint8]],
        prompt: str,
        state: ArrayLike,
        *,
        previous: ArrayLike | None = None,
        seed: int = 0,
        left: ArrayLike | None = None,
        delay: int = 0,
        strength: float = 5.0,
    ) -> NDArray[np.float64]:
        """The actions from now on, [horizon, A] in the units of the data.

        Args:
            images: one of each camera, in the order of ``cameras``, [H, W, 3] uint8 of any size.
            prompt: what to do.
            state: [D], in the units of the data.
            previous: the action taken last [A]; None = none yet.
            seed: of the noise that a random head starts from.
            left: real-time chunking: the actions of the last chunk that were not done yet when the images were
                taken [m, A], m <= horizon; None = a chunk that knows of no other.
            delay: of those, how many are done before the answer is there: it begins with them.
            strength: of the pull towards ``left``.

        Raises:
            ValueError: another number of images, or of numbers of the state or action; or real-time chunking with
                more actions than a chunk has, or by a head that cannot do it.
        """
        import torch

        guide = None if left is None else self._guide(left, delay, strength)
        observation = self._observation(images, prompt, state, previous)
        shape = (1, self.horizon, len(self.action_names))
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(self.device)
        with torch.no_grad():
            chunk = self.model(observation, noise, guide)[0].double().cpu().numpy()
        if left is not None:
            chunk[:delay] = np.asarray(left)[:delay]
        return chunk

    def _observation(
        self, images: Sequence[NDArray[np.uint8]], prompt: str, state: ArrayLike, previous: ArrayLike | None
    ) -> Any:
        import torch

        from vln_heatmap.nodes.model.policy.policy_model import Observation

        if len(images) != len(self.cameras):
            raise ValueError(f"there must be an image of each of {list(self.cameras)}, got {len(images)}")
        size = self.model.vision.image_size
        shown = np.stack([resized(np.asarray(image), size) for image in images]).transpose(0, 3, 1, 2)
        before = np.zeros(len(self.action_names)) if previous is None else previous
        return Observation(
            torch.from_numpy(np.ascontiguousarray(shown))[None].to(self.device),
            [prompt],
            self._row(state, self.state_names, "state"),
            self._row(before, self.action_names, "previous"),
            torch.tensor([previous is not None], device=self.device),
        )

    def _guide(self, left: ArrayLike, delay: int, strength: float) -> Any:
        import torch

        from vln_heatmap.nodes.model.policy.chunking import Guide, soft_mask

        rows = np.asarray(left, np.float32)
        if rows.ndim != 2 or rows.shape[1] != len(self.action_names):
            raise ValueError(f"left must be actions of {list(self.action_names)}, got shape {rows.shape}")
        weights = soft_mask(self.horizon, len(rows), delay).to(self.device)[None]
        known = np.zeros((1, self.horizon, rows.shape[1]), np.float32)
        known[0, : len(rows)] = rows
        return Guide(torch.from_numpy(known).to(self.device), weights, strength)

    def _row(self, values: ArrayLike, names: tuple[str, ...], what: str) -> Any:
        import torch

        row = np.asarray(values, np.float32)
        if row.shape != (len(names),):
            raise ValueError(f"{what} must be the {len(names)} numbers {list(names)}, got shape {row.shape}")
        return torch.from_numpy(row.copy())[None].to(self.device)
