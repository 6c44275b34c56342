"""LoRAs (arXiv 2106.09685) that a request asks for, among those that its model has. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field

from panoweave.core.checkpoint import (
    CheckpointTraits,
    InvalidParams,
    LoraTraits,
    Params,
)

MAX_LORAS: Final = 8
MAX_LORA_NAME_CHARS: Final = 64


class LoraSource(BaseModel):
    """A LoRA that an operator offers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = Field(min_length=1)  # as of PANOWEAVE_LORA
    triggers: tuple[str, ...] = ()  # words in a prompt that it was trained with


def lora_traits(offered: Mapping[str, LoraSource]) -> list[LoraTraits]:
    return [LoraTraits(name=name, triggers=each.triggers) for name, each in offered.items()]


class Lora(Params):
    """A LoRA of the model, and how strongly it changes the model's weights."""

    name: str = Field(
        min_length=1,
        max_length=MAX_LORA_NAME_CHARS,
        description="One of the model's, as `traits.loras` of `GET /models` names them.",
    )
    scale: Annotated[float, Field(ge=-5, le=5)] = Field(
        1.0,
        description="1 is the strength that it was trained for; at 0 it changes nothing.",
    )


class ResolvedLora(Lora):
    is_only_answered: ClassVar[bool] = True

    # Stored with jobs: a field that a newer version added must not stop an older one.
    model_config = ConfigDict(extra="ignore")


_FIELD: Final = Field(
    max_length=MAX_LORAS,
    exclude_if=lambda loras: not loras,  # see `sphere`
    description=f"a list of up to {MAX_LORAS} of the model's LoRAs, each named once; what they "
    "change is added up, so their order does not matter. Default: none",
)
LorasField = Annotated[Sequence[Lora], _FIELD]
ResolvedLorasField = Annotated[Sequence[ResolvedLora], _FIELD]


def resolve_loras(asked: Sequence[Lora], traits: CheckpointTraits) -> list[ResolvedLora]:
    """Raises InvalidParams for a LoRA that the model does not have."""
    names = [lora.name for lora in traits.loras]
    if asked and not names:
        raise InvalidParams(
            "loras", "this model has none", "an empty list, or a worker with some (PANOWEAVE_LORAS)"
        )
    for number, lora in enumerate(asked):
        field = f"loras.{number}.name"
        left = [name for name in names if name not in {each.name for each in asked[:number]}]
        if lora.name not in left:
            known = lora.name in names
            problem = "it is named twice" if known else "this model has no LoRA of this name"
            legal = " or ".join(map(repr, left)) or "nothing more: all of them are named"
            raise InvalidParams(field, problem, legal)
    return [ResolvedLora.model_validate(lora.model_dump()) for lora in asked]
