"""What every training run needs: a learning rate that ends low, and states to go on from."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch
from torch import Tensor, nn

State = dict[str, Any]
_REPORT_EVERY = 100
_REWARM_STEPS = 100
_LOOK_EVERY = 200


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
    decay: float = 0.3

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        rise = (step + 1) / self.warmup
        fall = (self.steps - step) / (self.decay * self.steps)
        return self.peak * min(1.0, rise, fall)


class Stop:
    """When to end before the last step: after some minutes, after some steps, or when asked.

    SIGTERM and SIGINT are such a request: the step under way is finished and the state saved.
    """

    def __init__(self, minutes: float | None = None, after_steps: int | None = None) -> None:
        self._deadline = None if minutes is None else time.monotonic() + 60 * minutes
        self._after_steps = after_steps
        self._asked = False

    def catch_signals(self) -> None:
        """Ends cleanly when the process is asked to end. Only in the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def is_due(self, steps_done: int) -> bool:
        """Whether to stop after so many steps of this process."""
        if self._after_steps is not None and steps_done >= self._after_steps:
            return True
        return self._asked or (self._deadline is not None and time.monotonic() > self._deadline)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._asked = True


@dataclass(frozen=True)
class Phase:
    """From a step on, a run uses shards `first` up to `shards`, and batches of this size."""

    step: int
    first: int
    shards: int
    batch: int


class Phases:
    """Which data a step uses. Written down before it is used, so that a resumed run repeats it."""

    def __init__(self, file: Path, latest: Callable[[], tuple[int, int, int]]) -> None:
        """`latest`: the first shard, the shards and the batch that a phase would have now."""
        self._file = file
        self._latest = latest
        self._looked = False
        self._phases: list[Phase] = []
        if file.exists():
            self._phases = [Phase(**phase) for phase in json.loads(file.read_text())]

    def look(self, step: int) -> Phase:
        """The phase of a step. Now and then, and when a process begins, it asks for the latest."""
        if step % _LOOK_EVERY == 0 or not self._looked:
            self.extend(Phase(step, *self._latest()))
            self._looked = True
        return self.at(step)

    def at(self, step: int) -> Phase:
        """The phase of a step."""
        return max(
            (phase for phase in self._phases if phase.step <= step), key=lambda phase: phase.step
        )

    def extend(self, phase: Phase) -> None:
        """Begin another phase, if it differs and if its step was not taken yet."""
        last = self._phases[-1] if self._phases else None
        if last:
            if phase.step <= last.step:
                return
            if replace(phase, step=last.step) == last:
                return
        self._phases.append(phase)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(
            self._file,
            lambda beside: beside.write_text(json.dumps([asdict(p) for p in self._phases])),
        )


class Run:
    """Steps a training to its end, saving as it goes and resuming from what was saved."""

    def __init__(
        self,
        file: Path,
        parts: Mapping[str, Stateful],
        save_every_s: float,
        device: torch.device | None = None,
    ) -> None:
        self.file = file
        self.parts = parts
        self.save_every_s = save_every_s
        self.step = 0
        self.packed_at: int | None = None
        if file.exists():
            state: State = torch.load(file, weights_only=True, map_location=device or "cpu")
            self.step = state["step"]
            self.packed_at = state.get("packed_at")
            if self.step == self.packed_at:  # a parcel, of averages alone
                ema = parts["ema"]
                assert isinstance(ema, Ema)
                ema.load_state_dict(state["ema"])
                ema.write()
            else:
                for name, part in parts.items():
                    part.load_state_dict(state[name])

    def warmth(self, step: int) -> float:
        """Below 1 for a while after a parcel was unpacked: its optimiser begins anew."""
        if self.packed_at is None:
            return 1.0
        return min(1.0, (step - self.packed_at + 1) / _REWARM_STEPS)

    def save(self) -> None:
        """Written beside and renamed, so that a kill leaves the old state or the new one."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        state: State = {name: part.state_dict() for name, part in self.parts.items()}
        state |= {"step": self.step, "packed_at": self.packed_at}
        replace_file(self.file, lambda beside: torch.save(state, beside))

    def until(
        self, steps: int, train_step: Callable[[int], Mapping[str, Tensor]], stop: Stop
    ) -> None:
        """Calls `train_step` with the number of each step left; reports the means of its losses."""
        done = 0
        saved = reported = time.monotonic()
        losses: list[Mapping[str, Tensor]] = []
        while self.step < steps and not stop.is_due(done):
            losses.append({name: loss.detach() for name, loss in train_step(self.step).items()})
            self.step += 1
            done += 1
            now = time.monotonic()
            if self.step % _REPORT_EVERY == 0 or self.step == steps:
                self._report(steps, losses, now - reported)
                losses, reported = [], now
            if now - saved > self.save_every_s:
                self.save()
                saved = now
        self.save()

    def _report(self, steps: int, losses: list[Mapping[str, Tensor]], took_s: float) -> None:
        names = losses[-1].keys()
        means = {n: torch.stack([loss[n] for loss in losses if n in loss]).mean() for n in names}
        text = " ".join(f"{name} {float(mean):.4f}" for name, mean in means.items())
        pace_ms = 1e3 * took_s / len(losses)
        print(
            f"{time.strftime('%H:%M:%S')} {self.file.stem} step {self.step}/{steps} {text}, "
            f"{pace_ms:.0f} ms a step",
            flush=True,
        )


def save_averages(file: Path, step: int, averages: Mapping[str, Tensor]) -> None:
    """Write a state that has averaged weights alone: a run goes on from it with a new optimiser."""
    state: State = {"step": step, "packed_at": step, "ema": dict(averages)}
    replace_file(file, lambda beside: torch.save(state, beside))


class Ema:
    """An exponential moving average of parameters, shorter at the start of a run."""

    def __init__(self, parameters: Iterable[nn.Parameter], decay: float) -> None:
        self.decay = decay
        self.live = list(parameters)
        self.average = [p.detach().clone() for p in self.live]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Moves the average towards the parameters as they are now."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.average, [p.detach() for p in self.live], share)

    @torch.no_grad()
    def write(self) -> None:
        """Puts the average in the place of the parameters."""
        for parameter, average in zip(self.live, self.average, strict=True):
            parameter.copy_(average)

    def state_dict(self) -> State:
        """The average, by position."""
        return {str(i): average for i, average in enumerate(self.average)}

    def load_state_dict(self, state_dict: State) -> None:
        """What `state_dict` gave."""
        for i, average in enumerate(self.average):
            average.copy_(state_dict[str(i)])


def descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step down, of no more than length 1 in the gradient."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimiser.step()


def step_generator(seed: int, step: int, device: torch.device | str = "cpu") -> torch.Generator:
    """The randomness of one step: a resumed run draws what the unbroken one would have drawn."""
    return torch.Generator(device).manual_seed(seed * 1_000_003 + step)


def replace_file(file: Path, write: Callable[[Path], Any]) -> None:
    """Write a file beside its place and rename it: a kill leaves the old one or the new one."""
    beside = file.with_name(f"{file.name}.part")
    write(beside)
    os.replace(beside, file)
