"""SyncDiffusion (arXiv 2306.05178): Algorithm 1.

The algorithm, with the line numbers that this package refers to. z is the canvas, x_i its window
at view i, x_0 the anchor's; phi predicts the original sample, D decodes it, L is the perceptual
distance, w_t the weight of a step:

    1  z_T ~ N(0, I), given as `latents`
    2  for t = T, ..., 1:
    3      x_i <- the window of z_t at view i, for all i
    4      I_0 <- D(phi(x_0, t))
    5      for all i but the anchor:
    6          g <- d/dx_i L(D(phi(x_i, t)), I_0)
    7          x_i <- x_i - w_t g
    8      e_i <- the model output for x_i, for all i
    9      z_(t-1) <- the average of the windows x_i, stepped with their e_i

Lines 4 to 7 are Eq. 13 and 14 of the paper; line 9 is MultiDiffusion's merge (arXiv 2302.08113,
Eq. 5). With a weight of 0 the algorithm is MultiDiffusion. The windows are averaged before the
step instead of after it, which is the same for schedulers with a linear step (see `schedulers`).

Lines 5 to 7 are repeated within a step, or left out, where the panorama has fewer or more steps
than `sync.tuned_steps` (see `sync_moves`), with `known_region`'s guidance between two moves. With
the preset `paper`, each step has them once.

The preset `paper` is this algorithm with the paper's settings: 50 DDIM steps, each synchronised,
weight 20, decay 0.95. Given the same network L, noise and scheduler, its latents are those of the
authors' released code, but for rounding. It departs from that code in these points:

- L is the network that the operator configures. The default, `stlpips-alex`, comes with its
  weights in a Python package; the authors use LPIPS on VGG16 (`lpips-vgg`), whose weights are a
  download. The weight of 20 was chosen for theirs.
- The norm in L has its epsilon inside the square root, so the gradient is finite everywhere.
- With `loop`, windows cover the whole ring; theirs leave one out.
- The anchor's model output is computed once, not twice; the result is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from panoweave.core.diffusion.appearance import Appearance
from panoweave.core.diffusion.errors import check_finite
from panoweave.core.diffusion.gradients import GradientOf, perceptual_gradient
from panoweave.core.diffusion.guidance import BatchedModel, take
from panoweave.core.diffusion.known_region import KnownRegion
from panoweave.core.diffusion.perceptual import Embedding
from panoweave.core.diffusion.regions import RegionalPrompts
from panoweave.core.diffusion.sampler_state import SamplerState
from panoweave.core.diffusion.schedulers import SchedulerAdapter, Step
from panoweave.core.diffusion.views import View, WindowPlan
from panoweave.core.params import ResolvedSync
from panoweave.core.sync_moves import moves_at, sync_weight


@dataclass(frozen=True)
class StepReport:
    """One finished step. The callback that gets it may raise an exception to stop sampling."""

    state: SamplerState  # after the step; passed as `resume`, the panorama goes on from here
    total_steps: int
    pred_original_sample: Tensor  # (1, C, H/f, W/f), predicted at the beginning of the step

    @property
    def step(self) -> int:
        """From 1."""
        return self.state.step


@torch.no_grad()
def sample_syncdiffusion(
    model: BatchedModel,
    latents: Tensor,
    scheduler: SchedulerAdapter,
    plan: WindowPlan,
    sync: ResolvedSync,
    appearance: Appearance | None,
    *,
    reference: Callable[[Sequence[View]], Embedding] | None = None,
    given_anchor: Callable[[Step], Tensor] | None = None,
    batch_anchor: bool = False,
    regional_prompts: RegionalPrompts | None = None,
    known_region: KnownRegion | None = None,
    gradient_of: GradientOf | None = None,
    resume: SamplerState | None = None,
    callback: Callable[[StepReport], None] | None = None,
) -> Tensor:
    """From unit noise to clean latents, both (1, C, H/f, W/f): Algorithm 1, as listed above.

    `model`: model(windows, step, views) -> model output, all (N, C, S, S), under the prompt.
    `appearance`: D and what L compares; needed where `sync` has a weight.
    `reference`: what each of the views follows in place of the anchor's image, embedded.
    `given_anchor`: x_0 (1, C, S, S) at a step, if it is no window of the panorama. All windows
        follow it then.
    `batch_anchor`: evaluate the anchor in one batch with windows, not alone. The result is the
        same, but for rounding. It saves a GPU a call that would not fill it, and costs a CPU a
        useless backward pass.
    `regional_prompts`: a wrapper of `model` that denoises regions under prompts of their own.
    `known_region`: latents that stay as they are.
    `gradient_of`: line 6, if it is not simply that of `model`.
    `resume`: an earlier state of the same panorama; only the remaining steps are done.
    """
    gradient_of = gradient_of or partial(perceptual_gradient, model.predict_batch)
    has_own_anchor = reference is None and given_anchor is None  # a window of the panorama
    latents = scheduler.restore(resume, latents) if resume else scheduler.prepare_latents(latents)
    for step in scheduler.steps[resume.step if resume else 0 :]:  # line 2
        if known_region:
            latents = known_region.replace(latents, step)
        grid = plan.grid(step.index)
        windows, views = grid.read(latents), grid.views  # line 3
        if known_region:
            windows = known_region.guide(windows, grid, step, model)

        cached_predictions: dict[View, Tensor] = {}
        followers = [
            i for i, view in enumerate(views) if not (has_own_anchor and view == plan.anchor)
        ]
        weight = sync_weight(sync, step.index)
        moves = moves_at(step.index, len(scheduler.steps), sync) if followers else 0
        gradients: list[tuple[Tensor, Sequence[int]]] = []
        if moves:
            if appearance is None:
                raise ValueError("a weight above 0 needs a perceptual network")
            target, compared = None, followers
            if reference is None:  # line 4
                if given_anchor:
                    anchor = given_anchor(step)
                else:  # from the canvas: few of the shifted grids have this window
                    anchor = plan.canvas.crop(latents, plan.anchor, plan.window)
                if batch_anchor and model.size > 1:  # it goes first, in the batch of the first ones
                    windows, views = torch.cat([windows, anchor]), [*views, plan.anchor]
                    compared = [len(grid), *followers]
                else:
                    output = model.predict_everywhere(anchor, step, [plan.anchor])
                    target = appearance.of(scheduler.pred_original_sample(anchor, step, output))
                    if has_own_anchor:
                        cached_predictions[plan.anchor] = output[0]
            for move in range(moves):
                if known_region and move:  # as in a step of its own
                    windows = known_region.guide(windows, grid, step, model)
                for batch in model.split(compared):  # line 5
                    seen = [views[i] for i in batch]
                    if reference:
                        target = reference(seen)
                    gradient, outputs, target = gradient_of(  # line 6
                        take(windows, batch), step, seen, scheduler, appearance, target
                    )
                    gradients.append((gradient, batch))
                    limited = limit_length(weight * gradient, sync.max_move)
                    for i, change, output in zip(batch, limited, outputs, strict=True):
                        windows[i] -= change  # line 7
                        # The anchor has not moved; one that is given is no window to denoise.
                        is_anchor = i == len(grid)
                        keeps = has_own_anchor if is_anchor else sync.reuse_prediction
                        if keeps:
                            cached_predictions[views[i]] = output
                model.share(compared, windows)
                if sync.reuse_prediction:
                    model.share_predictions(compared, views, windows, cached_predictions)
            windows, views = windows[: len(grid)], grid.views

        denoiser = regional_prompts or model
        outputs = denoiser(windows, step, views, cached_predictions)  # line 8
        canvas, output = grid.merge(torch.cat([windows, outputs], dim=1)).chunk(2, dim=1)
        latents = scheduler.step(canvas, step, output)  # line 9
        check_finite(gradients, step.index)
        if callback:
            original = scheduler.pred_original_sample(canvas, step, output)
            state = scheduler.state(step, latents)
            callback(StepReport(state, len(scheduler.steps), original))
    return known_region.restore(latents) if known_region else latents


def limit_length(moves: Tensor, limit: float | None) -> Tensor:
    """Moves (N, C, S, S), shortened to the limit (a root mean square) where they are longer.

    A window far from the anchor has a gradient many times that of the others; without a limit a
    large weight would move it to colours that no image has.
    """
    if limit is None:
        return moves
    length = moves.square().flatten(1).mean(1).sqrt()
    least = max(limit, torch.finfo(moves.dtype).tiny)  # a smaller limit is 0 in this dtype
    return moves * (limit / length.clamp(min=least))[:, None, None, None]
