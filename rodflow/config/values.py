"""What the values of a config may be: numbers within bounds, paths, sections that refuse what they do not know."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


def word(value: Any) -> Any:
    """``on`` and ``off``, which YAML 1.1 reads as true and false, as they were written."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Decay = Annotated[Number, Field(ge=0, lt=1)]
Share = Annotated[Number, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, lt=2**31)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
PathName = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Strict(BaseModel):
    """A section that refuses unknown keys, and values of another type than it names: ``true`` is no number.

    The text under a field describes it, here and in the JSON schema.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)
