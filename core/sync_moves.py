"""How often windows are moved in each step: what a preset's number of steps means. Torch-free."""

from __future__ import annotations

from panoweave.core.params import ResolvedSync


def sync_weight(sync: ResolvedSync, step: int) -> float:
    """w_t = w * decay^i at step i (from 0)."""
    return sync.weight * sync.decay**step


def moves_at(step: int, steps: int, sync: ResolvedSync) -> int:
    """How many times the windows are moved in a step (from 0) of so many steps.

    A schedule of `tuned_steps` steps makes one move in each. These moves keep their times: a step
    makes all those that fall between its own timestep and the next step's. So a panorama of fewer
    or more steps is pulled together as often, over the same noise levels. A weight of 0, which a
    small `decay` comes to in a few steps, moves nothing.
    """
    tuned_steps = sync.tuned_steps or steps
    before, after = (-(-place * tuned_steps // steps) for place in (step, step + 1))
    # Where steps without a move stand between the others, `every` counts those that have one.
    number = before if tuned_steps < steps else step
    if step >= sync.steps or (number + 1) % sync.every or not sync_weight(sync, step):
        return 0
    return after - before
