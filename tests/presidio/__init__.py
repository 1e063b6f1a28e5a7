"""Tests of Presidio's recognizers in a stream; left out where presidio-analyzer is not installed."""

import pytest

pytest.importorskip("presidio_analyzer")
