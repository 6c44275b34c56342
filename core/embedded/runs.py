"""What every training run needs: a learning rate that ends low, and checkpoints to go on from."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

State = dict[str, Any]


class Stateful(Protocol):
    """A module or an optimiser."""

    def state_dict(self) -> State: ...

    def load_state_dict(self, state_dict: State, /) -> Any: ...


@dataclass(frozen=True)
class Schedule:
    """Warm-up, plateau, then a linear fall to zero over the last `decay` of all steps.

    The plateau does not depend on the number of steps, so a run that is resumed with more or
    fewer steps before its fall begins goes on as if it had been planned so.
    """

    steps: int
    peak: float
    warmup: int = 100
    decay: float = 0.35

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        rise = (step + 1) / self.warmup
        fall = (self.steps - step) / (self.decay * self.steps)
        return self.peak * min(1.0, rise, fall)


class Run:
    """Steps a training to its end, saving as it goes and resuming from what was saved."""

    def __init__(self, file: Path, parts: Mapping[str, Stateful], save_every_s: float) -> None:
        self.file = file
        self.parts = parts
        self.save_every_s = save_every_s
        self.step = 0
        if file.exists():
            state: State = torch.load(file, weights_only=True)
            self.step = state.pop("step")
            for name, part in parts.items():
                part.load_state_dict(state[name])

    def save(self) -> None:
        """Written beside and renamed, so that a kill leaves the old checkpoint or the new one."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        beside = self.file.with_suffix(".part")
        state: State = {name: part.state_dict() for name, part in self.parts.items()}
        torch.save({"step": self.step, **state}, beside)
        os.replace(beside, self.file)

    def until(
        self, steps: int, train_step: Callable[[int], torch.Tensor], stop_after: int | None = None
    ) -> None:
        """Calls `train_step` with the number of each step left; reports the mean loss.

        `stop_after` ends the run early as a kill would, but with its state saved.
        """
        last = steps if stop_after is None else min(steps, self.step + stop_after)
        saved = reported = time.monotonic()
        losses: list[torch.Tensor] = []
        while self.step < last:
            losses.append(train_step(self.step).detach())
            self.step += 1
            now = time.monotonic()
            if self.step % 100 == 0 or self.step == last:
                pace = (now - reported) / len(losses)
                loss = torch.stack(losses).mean().item()
                print(
                    f"{time.strftime('%H:%M:%S')} {self.file.stem} step {self.step}/{steps} "
                    f"loss {loss:.4f}, {pace * 1e3:.0f} ms a step",
                    flush=True,
                )
                losses, reported = [], now
            if now - saved > self.save_every_s or self.step == last:
                self.save()
                saved = now


def descend(optimiser: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    """One step down, of no more than length 1 in the gradient."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(optimiser.param_groups[0]["params"], 1.0)
    optimiser.step()


def step_generator(seed: int, step: int) -> torch.Generator:
    """The randomness of one step: a resumed run draws what the unbroken one would have drawn."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)
