"""Settings for all tests: hypothesis profiles, chosen with HYPOTHESIS_PROFILE=quick|ci|deep.

`quick` looks elsewhere each time; `ci` always at the same examples, so that a change is judged by what it changed.
"""

from __future__ import annotations

import os
from contextlib import suppress

from hypothesis import HealthCheck, settings

with suppress(ImportError):
    # It keeps the socket class it finds when it is imported; within a unit test it would find the blocked one.
    import uvloop  # noqa: F401

_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
settings.register_profile("quick", max_examples=40, **_COMMON)
settings.register_profile("ci", max_examples=40, derandomize=True, **_COMMON)
settings.register_profile("deep", max_examples=3000, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
