"""The traits of a checkpoint, and the error by which it refuses parameters. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from panoweave.core.presets import PresetName, SchedulerName

PAPER_GUIDANCE_SCALE = 7.5


class InvalidParams(ValueError):
    """A parameter that this checkpoint cannot satisfy. It names the field and what is legal."""

    def __init__(self, field: str, problem: str, legal: str) -> None:
        super().__init__(f"{field}: {problem}; legal: {legal}")
        self.field = field
        self.problem = problem
        self.legal = legal


class Params(BaseModel):
    # Errors must not quote the input: a traceback would bring a prompt into a log.
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True
    )

    # Whether it is in answers alone: their fields have their values.
    is_only_answered: ClassVar[bool] = False

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, given: Any) -> Any:
        """Also for fields that have another default than null."""
        if not isinstance(given, dict):
            return given
        fields = cls.model_fields
        return {
            name: value
            for name, value in given.items()
            if value is not None or name not in fields or not _replaces_null(fields[name])
        }

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core_schema)
        if not cls.is_only_answered:
            own = handler.resolve_ref_schema(schema)
            for name, field in cls.model_fields.items():
                if _replaces_null(field):
                    own["properties"][name] = _or_null(own["properties"][name])
        return schema


def _replaces_null(field: FieldInfo) -> bool:
    """Whether null stands for another default. A field whose default is null accepts it anyway."""
    return not field.is_required() and field.default is not None


def _or_null(schema: JsonSchemaValue) -> JsonSchemaValue:
    kept = ("default", "description", "title")
    about: JsonSchemaValue = {name: schema[name] for name in kept if name in schema}
    if isinstance(about.get("default"), dict):
        del about["default"]  # client generators take no object as the default of a union
    rest = {name: value for name, value in schema.items() if name not in kept}
    described = {**rest, "description": about["description"]} if "description" in about else rest
    branches = rest["anyOf"] if rest.keys() == {"anyOf"} else [described]
    return {"anyOf": [*branches, {"type": "null"}], **about}


MAX_STEPS = 250

GuidanceScale = Annotated[float, Field(ge=1, le=30)]
StepCount = Annotated[int, Field(ge=1, le=MAX_STEPS)]
Weight = Annotated[float, Field(ge=0, le=1_000)]
MaxMove = Annotated[float, Field(gt=0, le=1_000)]
TunedSteps = Annotated[int, Field(ge=1, le=MAX_STEPS)]


class CheckpointDefaults(Params):
    """The checkpoint's own defaults, by the field names of the parameters.

    They come before the preset's.
    """

    is_only_answered: ClassVar[bool] = True

    guidance_scale: GuidanceScale = PAPER_GUIDANCE_SCALE
    # Left out where it is false: version 0.1.0 refuses fields that it does not know.
    perturbed_attention: bool = Field(False, exclude_if=lambda value: not value)
    scheduler: SchedulerName = "ddim"
    steps: StepCount | None = Field(None, description="Null: the preset's.")


class SyncDefaults(Params):
    """The checkpoint's own values for some of `sync`, in place of a preset's.

    The presets' were chosen for Stable Diffusion; how far one weight moves the windows depends on
    the network and its decoder.
    """

    is_only_answered: ClassVar[bool] = True

    weight: Weight | None = None
    max_move: MaxMove | None = None
    tuned_steps: TunedSteps | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="The steps that these values are meant for.",
    )


class PublishedSyncDefaults(SyncDefaults):
    model_config = ConfigDict(extra="ignore")  # as in CheckpointTraits


class CheckpointNotes(CheckpointDefaults):
    """What a checkpoint says of itself, in `panoweave.json` beside `model_index.json`.

    Workers publish the defaults only: version 0.1.0 refuses to read other fields.
    """

    trained_height: int | None = Field(
        None, gt=0, description="Pixels, of the pictures that it was trained on. Null: not known."
    )
    window_px: int | None = Field(
        None, gt=0, description="The side of a window, where the network names no size: FLUX.1's."
    )
    sync: Mapping[PresetName, SyncDefaults] = Field({}, description="By preset.")
    examples: Sequence[str] = Field([], description="Prompts to try.")

    @property
    def defaults(self) -> CheckpointDefaults:
        names = CheckpointDefaults.model_fields.keys() & self.model_fields_set
        return CheckpointDefaults(**{name: getattr(self, name) for name in names})


class LoraTraits(Params):
    """A LoRA that requests may name in `loras`."""

    is_only_answered: ClassVar[bool] = True

    model_config = ConfigDict(extra="ignore")  # as in CheckpointTraits

    name: str
    triggers: Sequence[str] = Field([], description="Words in a prompt that it was trained with.")


class CheckpointTraits(Params):
    """What depends on the checkpoint: the sizes it works in, what it can do, and its defaults.

    `window_px = window_latents * px_per_latent`.
    """

    is_only_answered: ClassVar[bool] = True

    # Workers publish it: a field that a newer worker added must not stop an older API.
    model_config = ConfigDict(extra="ignore")

    window_px: int = Field(gt=0)
    px_per_latent: int = Field(gt=0)
    tiny_decoder: bool = Field(False, description="Whether sync.decoder can be 'tiny'.")
    controlnet: bool = Field(False, description="Whether a request can bring `control`.")
    family: str = Field(
        "stable-diffusion",
        description="The kind of checkpoint, such as `stable-diffusion-xl`; docs/models.md says "
        "what each can do.",
    )
    guidance: bool = Field(
        True, description="Whether `guidance_scale` can be another number than 1."
    )
    negative_prompt: bool = Field(
        True,
        description="Whether `negative_prompt` is read. It is not where the network takes the "
        "guidance scale as an input.",
    )
    defaults: CheckpointDefaults = CheckpointDefaults()
    sync: Mapping[str, PublishedSyncDefaults] = Field(
        {}, description="The checkpoint's own values for some of `sync`, by preset."
    )
    examples: Sequence[str] = Field([], description="Prompts to try.")
    loras: Sequence[LoraTraits] = Field([], description="What a request can name in `loras`.")

    @property
    def window_latents(self) -> int:
        return self.window_px // self.px_per_latent
