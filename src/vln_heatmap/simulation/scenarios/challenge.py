"""Films that are hard to match: much hidden, changing light, clutter, changing scale, blur.

Invariant: one difficulty each; light, exposure and shutter change nothing but colour.
"""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.geometry.cameras import look_pose
from vln_heatmap.simulation.scenarios import measures_images, measures_things
from vln_heatmap.simulation.scenarios.base import Scenario
from vln_heatmap.simulation.scenarios.measures_images import picked_frames
from vln_heatmap.simulation.scenarios.recorded import SEEN, SEEN_WELL
from vln_heatmap.simulation.scenarios.stage import (
    MOST_SURVEYED,
    Rows,
    Stage,
    draw,
    filming,
    gazing_path,
    share_of,
)
from vln_heatmap.simulation.simulators.base import Observation
from vln_heatmap.simulation.take import Take
from vln_heatmap.simulation.trajectories.free_motion import free_walk
from vln_heatmap.simulation.trajectories.walks import path_length

PART = "challenge"
HIDDEN, CLUTTER, SCALE, LIGHT, BLUR = 0.25, 8.0, 2.0, 2.0, 2.0
_DIM = (0.4, 0.6)  # weight of a light at the darkest (in display values)
_GAIN = (0.2, 0.4)  # of linear light, at the darkest
_SHUTTER = (0.5, 0.9)
_PAN = math.radians(12)  # a frame


@filming(tries=30)
def film_heavy_occlusion(stage: Stage) -> Take | None:
    """Round something that hides much of what is behind it, looking there."""
    thing = draw(stage, stage.things)
    if thing is None:
        return None
    rows = stage.gaze(stage.around(thing, 0.7, 4.5)[: MOST_SURVEYED // 2], thing.centre)
    views = [stage.view(row) for row in rows]
    pairs = [
        (min(_hidden(stage, rows[[i, j]], [views[i], views[j]]), default=0.0), i, j)
        for i, j in combinations(range(len(rows)), 2)
    ]
    for hidden, i, j in sorted(pairs, reverse=True)[:4]:
        line = stage.gaze(stage.path(rows[i, :3], rows[j, :3]), thing.centre)
        if hidden < 2 * HIDDEN or not stage.fits(line) or path_length(line[:, :3]) < 1.0:
            continue
        take = stage.take(line)
        if _median_hidden(stage, take) >= HIDDEN + 0.03:
            return take
    return None


def _hidden(stage: Stage, rows: Rows, views: list[Observation]) -> list[float]:
    """``hidden_shares`` of the views from some poses."""
    poses = np.stack(
        [look_pose((x, y + stage.eye + lift, z), yaw, tilt) for x, y, z, yaw, tilt, lift in rows]
    )
    return measures_images.hidden_shares(np.stack([view.depth for view in views]), poses, stage.sim.camera)


def _median_hidden(stage: Stage, take: Take) -> float:
    """The measure of a take, from views of its own."""
    steps = [take.walk.steps[k] for k in picked_frames(len(take.walk.steps), measures_images.PAIR_FRAMES)]
    rows = np.array([(*step.state.position, step.state.yaw, step.tilt, step.lift) for step in steps])
    return float(np.median(_hidden(stage, rows, [stage.view(row) for row in rows]) or [0.0]))


@filming(tries=20)
def film_lighting(stage: Stage) -> Take | None:
    """Past a thing while the lights are dimmed, each by its own factor, or the camera's exposure changes."""
    thing = draw(stage, stage.things)
    rows = None if thing is None else gazing_path(stage, thing, lambda v: share_of(v, thing.id) >= SEEN_WELL)
    if thing is None or rows is None:
        return None
    wave = 0.5 - 0.5 * np.cos(math.pi * stage.rng.choice([1, 2]) * np.linspace(0, 1, stage.length))
    if stage.rng.random() < 0.5:
        wave = 1 - wave
    names = [source.name for source in stage.scene.sources]
    if not names or stage.rng.random() < 0.34:
        return stage.take(rows, exposure=1 - (1 - stage.rng.uniform(*_GAIN)) * wave, focus=(thing.id,))
    lights = {name: 1 - (1 - stage.rng.uniform(*_DIM)) * wave for name in names}
    return stage.take(rows, lights=lights, focus=(thing.id,))


@filming(tries=24)
def film_clutter(stage: Stage) -> Take | None:
    """Past many small things, looking at them."""
    small = [item for item in stage.things if measures_things.is_small(item)]
    thing = draw(stage, small)
    if thing is None:
        return None
    ids = {item.id for item in small}
    together = np.array([i.centre for i in small if np.linalg.norm(i.centre - thing.centre) <= 1.5])

    def crowded(view: Observation) -> bool:
        return len(ids & stage.things_in(view, least=SEEN).keys()) >= CLUTTER

    rows = gazing_path(stage, together.mean(axis=0), crowded, far=4.0)
    return None if rows is None else stage.take(rows)


@filming(tries=60)
def film_scale_variation(stage: Stage) -> Take | None:
    """Towards a thing or away from it, so that its image grows or shrinks a lot but is never cut off."""
    thing = draw(stage, stage.things)
    if thing is None:
        return None
    sizes: dict[bytes, float] = {}

    def whole(view: Observation) -> bool:
        mask = view.instance == thing.id
        cut = mask[[0, -1]].any() or mask[:, [0, -1]].any()
        return not cut and float(mask.mean()) >= 2 * SEEN

    def grows(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        for row in (a, b):
            if row.tobytes() not in sizes:
                sizes[row.tobytes()] = math.sqrt(share_of(stage.view(row), thing.id))
        small, large = sorted((sizes[a.tobytes()], sizes[b.tobytes()]))
        return large / small if large >= 1.15 * SCALE * small else -1.0

    rows = gazing_path(stage, thing, whole, near=0.3, far=5.0, prefer=grows)
    return None if rows is None else stage.take(rows, focus=(thing.id,))


@filming(tries=12)
def film_motion_blur(stage: Stage) -> Take | None:
    """Fast pans to and fro with a shutter that stays open for long."""
    spot = stage.spots[int(stage.rng.integers(len(stage.spots)))]
    yaw = stage.rng.uniform(-math.pi, math.pi)
    period = int(stage.rng.integers(10, 21))
    phase = np.arange(stage.length) % period
    swing = _PAN * np.where(phase < period / 2, phase, period - phase)
    rows = np.tile(np.array([*spot, yaw, 0.0, 0.0]), (stage.length, 1))
    rows[:, 3] += stage.rng.choice([-1, 1]) * swing
    if float(np.median(stage.view(rows[0]).depth)) < 0.8:
        return None
    return Take(free_walk(rows), shutter=round(float(stage.rng.uniform(*_SHUTTER)), 2))


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "heavy_occlusion", PART, "challenge", film_heavy_occlusion, measures_images.median_hidden,
        (HIDDEN, 1.0), "share", "The median share of a frame's field of view that is hidden in another.",
        {"clutter": "high"},
    ),
    Scenario(
        "lighting_variation", PART, "challenge", film_lighting, measures_images.light_ratio,
        (LIGHT, math.inf), "ratio", "The factor by which the light on the same surfaces changes.",
    ),
    Scenario(
        "clutter", PART, "challenge", film_clutter, measures_things.small_things, (CLUTTER, math.inf),
        "things", "The number of different small things that are seen.", {"clutter": "high"},
    ),
    Scenario(
        "scale_variation", PART, "challenge", film_scale_variation, measures_things.size_ratio,
        (SCALE, math.inf), "ratio", "Largest over smallest apparent size of a thing that is seen whole.",
    ),
    Scenario(
        "motion_blur", PART, "challenge", film_motion_blur, measures_images.blur_length, (BLUR, math.inf),
        "% of width", "How far the image moves while the shutter is open.",
    ),
)  # fmt: skip
