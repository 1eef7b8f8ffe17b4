"""Base classes of all data that is stored as JSON."""

import re
from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from grokbench.tasks.images import IMAGES_ID
from grokbench.tasks.tables import TABLE_ID

_TASK_FORMS = [TABLE_ID.pattern.replace("(?P<ratio>.+)", r"[0-9]{0,3}\.?[0-9]{0,12}"), IMAGES_ID.pattern]
_FOLLOWED = "(?:-to[1-9][0-9]{0,8})?"
# The form of a task's id without version, as JSON schemas can state it. `parse_id` knows which of them are tasks.
TASK_FORM = re.sub(r"\?P<\w+>", "?:", f"(?:{'|'.join(_TASK_FORMS)}){_FOLLOWED}")
COUNTS_END = 1 << 63  # a record's whole numbers are smaller
StoredCount = Annotated[int, Field(ge=0, lt=COUNTS_END)]


class Strict(BaseModel):
    """Accepts the declared keys alone, with the declared types and finite numbers. Immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Sparse(Strict):
    """Omits unset optional keys, so that older records stay byte-identical."""

    _optional: ClassVar[frozenset[str]]

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Note which keys are optional."""
        cls._optional = frozenset(name for name, field in cls.model_fields.items() if not field.is_required())

    @model_serializer(mode="wrap")
    def _without_unset(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = serialize(self)
        return {name: value for name, value in content.items() if value is not None or name not in self._optional}
