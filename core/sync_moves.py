"""How often windows are moved in each step: what a preset's number of steps means. Torch-free."""

from __future__ import annotations

from typing import Final

from panoweave.core.params import ResolvedSync

# With fewer steps than a tenth of `tuned_steps`, no step makes more moves than it would with that
# many: so few steps were not measured, and the cost stays bounded.
_FEWEST_STEPS: Final = 10


def moves_at(step: int, steps: int, sync: ResolvedSync) -> int:
    """How many times the windows are moved in a step (from 0) of so many steps.

    A schedule of `tuned_steps` steps makes one move in each. These moves keep their times: a step
    makes all those that fall between its own timestep and the next step's. So a panorama of fewer
    or more steps is pulled together as often, over the same noise levels.
    """
    if step >= sync.steps or (step + 1) % sync.every:
        return 0
    if sync.tuned_steps is None:
        return 1
    before, after = (-(-place * sync.tuned_steps // steps) for place in (step, step + 1))
    return min(after - before, max(1, sync.tuned_steps // _FEWEST_STEPS))
