"""Loads the toxicity model from its numpy file."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from safeproxy.core.toxicity import ToxicityModel, Weights
from safeproxy.errors import RuleError

#: The model that comes with the package.
SHIPPED = Path(__file__).parent / "data" / "toxicity" / "toxicity.npz"
#: The layout of the file that this version reads and writes.
FORMAT = 1

#: Shapes of the arrays, in letters that mean the same size wherever they stand.
_SHAPES = {
    "categories": "c",
    "keys": "V",
    "vocabulary": "Vd",
    "vocabulary_scale": "V",
    "buckets": "Bd",
    "bucket_scale": "B",
    "filters": "rdf",
    "filter_bias": "f",
    "hidden": "fh",
    "hidden_bias": "h",
    "out": "hc",
    "direct": "fc",
    "out_bias": "c",
    "calibration": "c2",
}
_KEPT_AS_THEY_ARE = {"categories", "keys", "vocabulary", "buckets", "calibration"}


def load(path: Path | str | None = None) -> ToxicityModel:
    """The model in a file, or the shipped one. Raises RuleError for a file that is none, saying what is wrong."""
    file = Path(path) if path else SHIPPED
    try:
        data = file.read_bytes()
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, BadZipFile, EOFError) as error:
        raise RuleError(f"{file} is no readable numpy file of a toxicity model ({type(error).__name__})") from None
    fault = _fault(arrays)
    if fault:
        raise RuleError(
            f"{file} is no toxicity model of format {FORMAT}: {fault}; "
            "train one with 'python -m safeproxy.training.toxicity'"
        )
    values: dict[str, Any] = {
        name: arrays[name] if name in _KEPT_AS_THEY_ARE else arrays[name].astype(np.float32) for name in _SHAPES
    }
    values["categories"] = tuple(str(category) for category in arrays["categories"])
    return ToxicityModel(Weights(**values), version=str(arrays["version"]), digest=hashlib.sha256(data).hexdigest())


def save(path: Path, arrays: Mapping[str, NDArray[Any]], version: str) -> None:
    """Write a model's arrays, named as in `Weights`. The same arrays give the same bytes."""
    missing = [name for name in _SHAPES if name not in arrays]
    if missing:
        raise RuleError(f"the model has no {missing[0]!r}")
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, format=np.array(FORMAT), version=np.array(version), **arrays)


def _fault(arrays: Mapping[str, NDArray[Any]]) -> str:
    """What is wrong with a file's arrays; empty if nothing is."""
    if "format" not in arrays or int(arrays["format"]) != FORMAT or "version" not in arrays:
        return "its format is another"
    sizes: dict[str, int] = {"2": 2}
    for name, letters in _SHAPES.items():
        if name not in arrays:
            return f"it has no {name!r}"
        shape = arrays[name].shape
        if len(shape) != len(letters):
            return f"{name!r} has {len(shape)} dimensions, not {len(letters)}"
        for letter, size in zip(letters, shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                return f"{name!r} has the shape {shape}, which does not fit the others"
    return ""
