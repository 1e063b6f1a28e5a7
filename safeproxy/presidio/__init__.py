"""Presidio's recognizers in a stream: the findings of `AnalyzerEngine.analyze` on the whole text, found as it comes.

A rule finds what an engine with the rule's recognizers alone finds, with the rule's threshold as `score_threshold` and
an NLP engine whose lemmas are the lower-cased words (`safeproxy.presidio.engine`). Where a stream must not wait without
end, or remember without end, the findings may differ:

- patterns that look around without bound see 64 characters ahead or 160 behind, and a host name in a URL without scheme
  may be longer than 253 characters (`python -m safeproxy.presidio` lists these recognizers). Only one is met in
  practice: to `InPanRecognizer` every word of ten letters is a finding with a score of 0.01 if four digits follow
  anywhere, be it pages later;
- for context words a run of more than 256 characters without white space is split there, and where the token in which
  a match begins is no word itself, the next one is looked for in the 256 characters after it;
- a token with a colon ("is:3") counts as no word. In Presidio its parts make a stop word of the same spelling count in
  all of the text, before and after;
- a match longer than the rule's `max_length` is treated as any rule's; `phonenumbers` gives up after 65,535 candidates
  that are no numbers, and Presidio skips a pattern that takes more than 60 seconds: here neither is so;
- a validator that raises an exception stops the stream, where it would stop Presidio's call.

The package presidio-analyzer is imported when a rule names a recognizer, not before.
"""

from __future__ import annotations

from safeproxy.presidio.model import PresidioModel, load, load_all
from safeproxy.presidio.recognizers import NER_LABELS

__all__ = ["NER_LABELS", "PresidioModel", "load", "load_all"]
