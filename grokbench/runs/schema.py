"""Base classes of everything that is stored as JSON."""

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

Count = Annotated[int, Field(ge=0, lt=1 << 63)]


class Strict(BaseModel):
    """Takes what is declared, of just that type, and finite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Sparse(Strict):
    """Leaves out the optional keys that hold nothing, as records from before there was such a key do."""

    @model_serializer(mode="wrap")
    def _without_nothing(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = serialize(self)
        fields = type(self).model_fields
        optional = {name for name, field in fields.items() if not field.is_required()}
        return {name: value for name, value in content.items() if value is not None or name not in optional}
