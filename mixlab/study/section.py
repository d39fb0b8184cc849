"""What every part of study.yaml is made of: closed, frozen sections, quantities and weights."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from mixlab.errors import ConfigError
from mixlab.units import parse_quantity


def refusal(message: str, hint: str | None, at: str = "") -> PydanticCustomError:
    """A reason of ours inside a pydantic validator; `at` is the key it is about, from the model that validates."""
    return PydanticCustomError("refused", "{message}", {"message": message, "hint": hint, "at": at})


def _quantity(value: object) -> float:
    try:
        return parse_quantity(value)
    except ConfigError as error:
        raise refusal(error.message, error.hint) from None


Quantity = Annotated[float, BeforeValidator(_quantity), Field(gt=0)]
Weight = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A part of the study file: frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
