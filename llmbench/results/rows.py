"""The base of a record's parts: numbers as JSON has them, and rows that keep unknown keys."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    SerializerFunctionWrapHandler,
    StrictFloat,
    StrictInt,
    model_serializer,
)


def _number(value: Any) -> Any:
    """Infinite bits are the string "inf" in JSON. Less than nothing is never infinite, and what no
    float can hold is no measurement.
    """
    if value == "inf":
        return math.inf
    if isinstance(value, int | float) and (
        value == -math.inf or (isinstance(value, int) and value.bit_length() > 1000)
    ):
        raise ValueError("beyond all that can be measured")
    return value


Number = Annotated[StrictFloat | StrictInt, BeforeValidator(_number)]


class Row(BaseModel):
    """A part of the record. Keys that only a newer llmbench knows are kept aside and written back;
    no code reads them.
    """

    model_config = ConfigDict(extra="allow")


class SparseRow(Row):
    """A part of the record that is written without the fields it was not given, except ALWAYS."""

    ALWAYS: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_absent(self, write: SerializerFunctionWrapHandler) -> dict[str, object]:
        absent = type(self).model_fields.keys() - self.model_fields_set - self.ALWAYS
        return {key: value for key, value in write(self).items() if key not in absent}
