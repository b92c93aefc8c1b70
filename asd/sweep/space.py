"""What a search tries: a yaml file of settings, each with a range or a few values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import pydantic
import yaml

from asd.errors import UserError

if TYPE_CHECKING:
    from optuna import Trial

Plain = bool | int | float | str | None


class Range(pydantic.BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """Numbers from low to high, both included; whole ones where both are. log: as many from each power of ten."""

    low: int | float
    high: int | float
    log: bool = False

    @pydantic.model_validator(mode="after")
    def _ascends(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low={self.low:g} must be below high={self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"with log, low={self.low:g} must be above 0")
        return self

    @property
    def ends(self) -> tuple[Plain, ...]:
        return (self.low, self.high)

    def suggest(self, trial: Trial, key: str) -> Plain:
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(key, self.low, self.high, log=self.log)
        return trial.suggest_float(key, self.low, self.high, log=self.log)


class Choice(pydantic.RootModel[Annotated[tuple[Plain, ...], pydantic.Field(min_length=2)]], frozen=True):
    """A few values."""

    @property
    def ends(self) -> tuple[Plain, ...]:
        return self.root

    def suggest(self, trial: Trial, key: str) -> Plain:
        return trial.suggest_categorical(key, self.root)


class Space(pydantic.RootModel[Annotated[dict[str, Range | Choice], pydantic.Field(min_length=1)]], frozen=True):
    """Setting (`optim.lr`) → what it may be."""

    def ends(self) -> list[list[str]]:
        """Words of configs that try every setting at its ends, so that what no trial could take is refused at once."""
        first = {key: values.ends[0] for key, values in self.root.items()}
        tried = [first | {key: value} for key, values in self.root.items() for value in values.ends]
        return [words_of(values) for values in tried]

    def suggest(self, trial: Trial) -> list[str]:
        """Words of a config that a trial tries."""
        return words_of({key: values.suggest(trial, key) for key, values in self.root.items()})


def words_of(values: dict[str, Any]) -> list[str]:
    """Settings as words of a command line."""
    return [f"{key}={_text(value)}" for key, value in values.items()]


def _text(value: Plain) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def read_space(path: Path) -> Space:
    """UserError where the file is none, with the setting that is wrong."""
    try:
        return Space.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not yaml: {' '.join(str(error).split())}") from None
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = str(first["loc"][0]) if first["loc"] else "it"
        raise UserError(
            f"{path}: {where}: give a range, such as {{low: 1.0e-4, high: 1.0e-2, log: true}}, or two values or more, "
            f"such as [8, 16] ({first['msg']})"
        ) from None
