"""A trained model as it is given away: python -m vln_heatmap.nodes.model.release CHECKPOINT FOLDER.

Invariant: the weights stay bit for bit what was trained. Only settings that no weight depends on may be changed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vln_heatmap.datasets.checkpoint import Checkpoint, CheckpointDataset
from vln_heatmap.params import ModelParams

#: What is of no use to whoever gets the model: the course of its training.
PRIVATE = ("events",)


def released(checkpoint: Checkpoint, **head: Any) -> dict[str, Any]:
    """``{"state_dict", "meta"}`` of a checkpoint with other settings of its head.

    Args:
        checkpoint: of a trained model.
        head: ``residual`` of ``HeadParams``.

    Raises:
        ValidationError: a setting is out of its bounds.
    """
    content = checkpoint.meta["model"]
    changed = {**content, "head": {**content["head"], **head}}
    model = ModelParams.model_validate(changed).model_dump(mode="json", exclude={"placement"})
    meta = {k: v for k, v in checkpoint.meta.items() if k not in (*PRIVATE, "format_version")}
    return {"state_dict": checkpoint.state_dict(), "meta": {**meta, "model": model}}


def main(arguments: Sequence[str] | None = None) -> None:
    """Write a released checkpoint."""
    parser = argparse.ArgumentParser(prog="python -m vln_heatmap.nodes.model.release", description=__doc__)
    parser.add_argument("checkpoint", help="checkpoint folder, or the folder of all versions (the newest)")
    parser.add_argument("folder", type=Path, help="where to write it; what is there is replaced")
    parser.add_argument(
        "--residual", type=float, help="weight of plain cosines in the answer, HeadParams.residual"
    )
    given = parser.parse_args(arguments)
    head = {} if given.residual is None else {"residual": given.residual}
    content = released(Checkpoint.open(given.checkpoint), **head)
    CheckpointDataset(filepath=str(given.folder)).save(content)
    size = sum(file.stat().st_size for file in given.folder.iterdir()) / 1e6
    print(f"{given.folder}: {size:.1f} MB")


if __name__ == "__main__":
    main()
