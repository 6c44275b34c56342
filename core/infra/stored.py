"""Reads what another version stored. During an upgrade a newer version writes beside this one, and
what this one does not know must not stop it.

Fields that are not known are ignored: stored models have `extra="ignore"`. `KeepUnknown` is for a
value that is none of an enumeration's, `AsStored` for the fields of a model that is stored whole.
"""

from __future__ import annotations

import logging
import types
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Final, TypeVar, get_args

from pydantic import (
    BaseModel,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SerializationInfo,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

log = logging.getLogger(__name__)

E = TypeVar("E", bound=StrEnum)
M = TypeVar("M", bound=BaseModel)

# A validation context: `AsStored` then accepts nothing that this version does not know.
EXACT: Final = types.MappingProxyType({"exact": True})


class KeepUnknown:
    """Annotates a StrEnum or a Literal of strings. An unknown value is kept as it is; that of a
    StrEnum becomes a member which the enumeration does not list."""

    def __get_pydantic_core_schema__(self, kind: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def validate(value: Any, validate_known: ValidatorFunctionWrapHandler) -> Any:
            try:
                return validate_known(value)
            except ValidationError:
                if not isinstance(value, str):
                    raise
                return unknown_member(kind, value) if _is_enum(kind) else value

        return core_schema.no_info_wrap_validator_function(
            validate,
            handler(kind),
            # pydantic's own would warn of a value that it does not know.
            serialization=core_schema.plain_serializer_function_ser_schema(lambda value: value),
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(_inner(schema))


class AsStored:
    """Annotates a model. Where a stored one does not fit it, each field that does is validated, and
    the others are kept as they are."""

    def __get_pydantic_core_schema__(
        self, kind: type[BaseModel], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        def validate(
            value: Any, validate_known: ValidatorFunctionWrapHandler, info: ValidationInfo
        ) -> Any:
            try:
                return validate_known(value)
            except ValidationError:
                if info.context == EXACT or not isinstance(value, dict):
                    raise
                return _read_as_stored(kind, value)

        def serialize(value: BaseModel, info: SerializationInfo) -> dict[str, Any]:
            return value.model_dump(mode=info.mode, warnings=False)

        return core_schema.with_info_wrap_validator_function(
            validate,
            handler(kind),
            serialization=core_schema.plain_serializer_function_ser_schema(
                serialize, info_arg=True
            ),
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(_inner(schema))


def read_all(kind: type[M], texts: Iterable[str | bytes]) -> list[M]:
    """The models that can be read: one that cannot does not hide the others."""
    found = []
    for text in texts:
        try:
            found.append(kind.model_validate_json(text))
        except ValidationError as error:
            # Not pydantic's own message: it may quote what is stored.
            log.warning("a stored %s is not read: %s", kind.__name__, _places(error))
    return found


def _places(error: ValidationError) -> list[str]:
    return [".".join(map(str, each["loc"])) for each in error.errors(include_input=False)]


def unknown_member(kind: type[E], value: str) -> E:
    """A member of the enumeration for a value that it does not list."""
    member = str.__new__(kind, value)
    member._name_ = member._value_ = value
    return member


def member_of(kind: type[E], value: str) -> E:
    """As `KeepUnknown` reads it."""
    try:
        return kind(value)
    except ValueError:
        return unknown_member(kind, value)


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, StrEnum)


def _inner(schema: CoreSchema) -> Any:
    assert schema["type"] == "function-wrap"
    return schema["schema"]


def _read_as_stored(kind: type[BaseModel], stored: Mapping[str, Any]) -> BaseModel:
    values: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        if name in stored:
            values[name] = _read_field(kind, name, stored[name])
        else:
            values[name] = (
                None if field.is_required() else field.get_default(call_default_factory=True)
            )
    return kind.model_construct(**values)


def _read_field(kind: type[BaseModel], name: str, value: Any) -> Any:
    try:
        return _adapter(kind, name).validate_python(value)
    except ValidationError:
        nested = _model_in(kind.model_fields[name].annotation)
        if nested is None:
            return value
    if isinstance(value, list):
        return [_read_as_stored(nested, each) for each in value if isinstance(each, dict)]
    return _read_as_stored(nested, value) if isinstance(value, dict) else value


@cache
def _adapter(kind: type[BaseModel], name: str) -> TypeAdapter[Any]:
    field = kind.model_fields[name]
    annotation: Any = field.annotation
    for each in field.metadata:
        annotation = Annotated[annotation, each]
    return TypeAdapter(annotation)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model of `Model`, `Model | None`, `Sequence[Model]` and the like."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(each) for each in get_args(annotation))
    return next((each for each in found if each is not None), None)
