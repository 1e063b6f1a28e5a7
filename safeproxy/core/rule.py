"""What a rule is, once its file has been read and checked. Frozen, so streams may share it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from safeproxy.events import Action, ChannelKind, Severity

#: Span ceiling of a rule that names none, in code points.
DEFAULT_MAX_LENGTH = 4096


class View(StrEnum):
    """The alphabet a rule reads the text in; every view maps one code point to zero or more."""

    RAW = "raw"
    NFKD = "nfkd"
    SKELETON = "skeleton"


class Engine(StrEnum):
    """Who runs the pattern: the shared automaton, or the ``regex`` package on the side."""

    AUTOMATON = "automaton"
    REGEX = "regex"


class Overflow(StrEnum):
    """What becomes of a match still open when it reaches the rule's span ceiling."""

    REDACT = "redact"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class Context:
    """Words before a span that raise its score by ``bonus``.

    ``words`` are compared casefolded, whole word by whole word (a phrase of several words is allowed);
    looked for in the ``window`` words before the span, at most 128 code points back.
    """

    words: tuple[str, ...]
    window: int = 5
    bonus: float = 0.35


@dataclass(frozen=True, slots=True)
class Filters:
    """Which of a model's findings count, by their text."""

    min_length: int = 1
    """Fewest code points."""
    full_name: bool = False
    """Whether at least two words are asked for, so that a first name alone does not count."""
    allow: tuple[str, ...] = ()
    """Texts that never count, compared casefolded, white space as one space."""


@dataclass(frozen=True, slots=True)
class After:
    """Findings of other rules that must come shortly before a span for it to count."""

    entities: tuple[str, ...]
    """One of these, found by a rule that does more than observe."""
    within: int = 80
    """Most code points between the end of that finding and the start of the span."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One thing to look for and what to do about it.

    Exactly one of ``pattern`` (``regex`` syntax, version 0), ``words`` and ``detector`` is given. A finding counts when
    all of ``validators`` accept its text and ``score``, plus the context's bonus where a context word is
    near, reaches ``threshold`` (all between 0 and 1).
    """

    id: str
    entity: str
    title: str = ""
    category: str = "other"
    severity: Severity = Severity.MEDIUM
    action: Action = Action.REDACT
    pattern: str | None = None
    words: tuple[str, ...] = ()
    flags: str = ""
    """Any of the letters ``i`` ``m`` ``s`` ``x`` ``a``, as in ``(?i)``."""
    detector: str = ""
    """The kind of model that finds, such as ``ner``; empty for a pattern or words."""
    model: str = ""
    """Which model of that kind; empty for the kind's default."""
    labels: tuple[str, ...] = ()
    """The labels of the model that the rule takes; empty for the model's own choice."""
    strict: bool = False
    """Whether a sentence is held until it is judged whole, where the model judges as the sentence grows."""
    filters: Filters = Filters()
    engine: Engine = Engine.AUTOMATON
    validators: tuple[str, ...] = ()
    context: Context | None = None
    after: After | None = None
    score: float = 1.0
    threshold: float = 0.5
    placeholder: str = ""
    """What stands in for a redacted span; empty means ``[ENTITY]``."""
    mask_keep: int = 4
    """Code points left visible at the end by the action ``mask``."""
    view: View = View.RAW
    max_length: int = DEFAULT_MAX_LENGTH
    overflow: Overflow = Overflow.REDACT
    channels: frozenset[ChannelKind] = field(default_factory=lambda: frozenset(ChannelKind))
    """Kinds of response channel the rule looks at."""
    request: bool = False
    """Whether the rule also looks at prompts."""
    response: bool = True

    @property
    def stand_in(self) -> str:
        """The placeholder in force."""
        return self.placeholder or f"[{self.entity}]"
