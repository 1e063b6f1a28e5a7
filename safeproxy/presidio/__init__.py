"""Presidio's recognizers in a stream: the findings of `AnalyzerEngine.analyze` on the whole text, found as it comes.

The package presidio-analyzer is imported when a rule names a recognizer, not before.
"""

from __future__ import annotations

from safeproxy.presidio.model import PresidioModel, load, load_all
from safeproxy.presidio.recognizers import NER_LABELS

__all__ = ["NER_LABELS", "PresidioModel", "load", "load_all"]
