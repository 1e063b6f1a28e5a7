"""Settings of plug-ins: small YAML or JSON files, named by a rule's `model:`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from safeproxy.errors import RuleError

_SUFFIXES = (".yaml", ".yml", ".json")


class Limits(BaseModel):
    """What every model that is asked elsewhere has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    deadline: float = Field(default=3.0, gt=0, description="Seconds from the question to its answer, waiting included.")
    waiting: int = Field(default=256, ge=0, description="Most questions that may wait; one more is refused.")
    faults: int = Field(default=5, ge=1, description="So many failures in a row, and it is left alone.")
    rest: float = Field(default=10.0, ge=0, description="For so many seconds; then one question tries it.")


class WorkerSettings(Limits):
    """A model in worker processes."""

    model: str = Field(default="", description="The model's name, path or import path, as the detector reads it.")
    workers: int = Field(default=1, ge=1, le=64, description="Processes, each with the model loaded.")
    loading: float = Field(default=60.0, gt=0, description="Seconds that loading the model may take.")


S = TypeVar("S", bound=Limits)


def read(path: str, kind: type[S]) -> S:
    """The settings in the file. Raises RuleError, naming file, key and remedy."""
    try:
        content: Any = yaml.safe_load(Path(path).read_bytes())
    except OSError as error:
        raise RuleError(f"the settings file {path!r} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise RuleError(f"the settings file {path!r} is neither YAML nor JSON") from None
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise RuleError(f"the settings file {path!r}: {key}: {first['msg']}") from None


def worker_settings(model: str) -> WorkerSettings:
    """The settings of a model in workers, from its file, or the usual ones for the model of this name."""
    return read(model, WorkerSettings) if model.endswith(_SUFFIXES) else WorkerSettings(model=model)
