"""The rule file format: what a rule may say, checked key by key, and its conversion to a `Rule`.

Descriptions here are what editors show (they go into ``rules/rule.schema.json``).
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Any, Literal, NoReturn, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict, model_validator
from pydantic_core import PydanticCustomError

from safeproxy.core import syntax
from safeproxy.core.rule import DEFAULT_MAX_LENGTH, After, Context, Engine, Filters, Overflow, Rule, View
from safeproxy.core.validators import VALIDATORS
from safeproxy.errors import RuleError
from safeproxy.events import Action, ChannelKind, Severity

#: Most entries of a word list, inline or in a file.
MAX_WORDS = 200_000
#: Longest entry of a word list, in code points.
MAX_WORD_LENGTH = 256

_FLAG_LETTERS = "imsxa"
#: Flags that mean nothing for a list of words.
_PATTERN_FLAGS = frozenset("msx")
_SOURCES = ("pattern", "words", "words_file", "detector", "presidio")
#: What says how a pattern or a list of words is read, and means nothing to a model.
_PATTERN_KEYS = ("flags", "engine", "validators", "context", "view", "overflow")
#: What only a model understands.
_MODEL_KEYS = ("model", "labels", "strict", "filters")
#: The detector behind rules with `presidio`.
_PRESIDIO = "presidio"


def refuse(message: str, *at: str | int) -> NoReturn:
    """Raise what pydantic takes for a validation error; ``at`` leads from the model to the culprit."""
    raise PydanticCustomError("rule", "{message}", {"message": message, "at": at})


def check_word(word: str) -> str:
    """Give a word list's entry without surrounding white space; refuse an empty or a very long one."""
    stripped = word.strip()
    if not stripped:
        refuse("this entry is empty; expected a word or a phrase")
    if len(stripped) > MAX_WORD_LENGTH:
        refuse(f"this entry has {len(stripped):,} characters; expected at most {MAX_WORD_LENGTH}")
    return stripped


def _check_flags(flags: str) -> str:
    for letter in flags:
        if letter not in _FLAG_LETTERS:
            refuse(f"{letter!r} is not a flag; expected letters of {_FLAG_LETTERS!r}")
    if len(set(flags)) != len(flags):
        refuse(f"a flag is given twice in {flags!r}; expected each letter once")
    return flags


def _check_validator(name: str) -> str:
    if name not in VALIDATORS:
        refuse(f"{name!r} is not a validator; expected one of {', '.join(sorted(VALIDATORS))}")
    return name


def _check_context_word(word: str) -> str:
    if not any(char.isalnum() or char == "_" for char in word):
        refuse(f"{word[:40]!r} has no letter or digit; expected a word or a phrase")
    return word


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) != len(values):
        refuse("an entry is given twice; expected each once")
    return values


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _one_or_many(schema: dict[str, Any]) -> None:
    """Let the JSON Schema of a list also take one entry alone."""
    many = {key: schema.pop(key) for key in list(schema) if key not in ("description", "default", "title")}
    schema["anyOf"] = [many["items"], many]


#: What paths in a rule are relative to if its file is not known.
_HERE = PurePath()

Text = Annotated[str, Strict(), Field(min_length=1)]
Line = Annotated[str, Strict(), Field(min_length=1, max_length=200, pattern=r"^[^\r\n]+$")]
Flag = Annotated[bool, Strict()]
Integer = Annotated[int, Strict()]
Score = Annotated[float, Strict(), Field(ge=0, le=1, allow_inf_nan=False)]
Word = Annotated[str, Strict(), Field(min_length=1, max_length=MAX_WORD_LENGTH), AfterValidator(check_word)]
ContextWord = Annotated[str, Strict(), Field(min_length=1, max_length=128), AfterValidator(_check_context_word)]
ValidatorName = Annotated[
    str,
    Strict(),
    Field(json_schema_extra={"enum": sorted(VALIDATORS)}),
    AfterValidator(_check_validator),
]
EntityName = Annotated[str, Strict(), Field(pattern=r"^[A-Z][A-Z0-9_]*$", max_length=60)]
Position = Annotated[int, Strict(), Field(ge=0)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ContextModel(_Model):
    """Words before a span that make the finding more likely."""

    words: Annotated[tuple[ContextWord, ...], Field(min_length=1, max_length=1000)]
    """Words or phrases, compared whole and without regard to case."""
    window: Annotated[int, Strict(), Field(ge=1, le=50)] = 5
    """How many words before the span are looked at (at most 128 characters back)."""
    bonus: Annotated[float, Strict(), Field(gt=0, le=1, allow_inf_nan=False)] = 0.35
    """Added to the score where one of the words is found."""


class AfterModel(_Model):
    """Findings of other rules that must come shortly before a span for it to count."""

    entities: Annotated[tuple[EntityName, ...], Field(min_length=1, max_length=100), AfterValidator(_distinct)]
    """One of these must have been found, by a rule that does more than observe."""
    within: Annotated[int, Strict(), Field(ge=0, le=1000)] = 80
    """Most characters between the end of that finding and the start of the span."""


class FiltersModel(_Model):
    """Which of a model's findings count, by their text."""

    min_length: Annotated[int, Strict(), Field(ge=1, le=1000)] = 1
    """Fewest characters."""
    full_name: Flag = False
    """Whether at least two words are asked for, so that a first name alone does not count."""
    allow: Annotated[tuple[Word, ...], Field(max_length=MAX_WORDS)] = ()
    """Texts that never count, without regard to case: names that may be said."""


class OnModel(_Model):
    """Which texts a rule looks at."""

    request: Flag = False
    """Whether the rule looks at prompts."""
    response: Flag = True
    """Whether the rule looks at answers."""
    channels: Annotated[
        tuple[ChannelKind, ...],
        Field(min_length=1, json_schema_extra={"uniqueItems": True}),
        AfterValidator(_distinct),
    ] = tuple(ChannelKind)
    """The kinds of channel of an answer that the rule looks at."""

    @model_validator(mode="after")
    def _looks_at_something(self) -> Self:
        if not (self.request or self.response):
            refuse("the rule looks at nothing; expected request or response to be true", "response")
        return self


class MatchSample(_Model):
    """A text in which the rule, alone, finds exactly these spans."""

    text: Text
    """The sample."""
    spans: Annotated[tuple[tuple[Position, Position], ...], Field(min_length=1)]
    """Every span found, each as [start, end): code points of the text, in order."""

    @model_validator(mode="after")
    def _spans_fit(self) -> Self:
        previous = 0
        for index, (start, end) in enumerate(self.spans):
            if not start < end <= len(self.text):
                refuse(
                    f"[{start}, {end}] is no span of a text of {len(self.text)} characters; "
                    f"expected [start, end) with start < end <= {len(self.text)}",
                    *("spans", index),
                )
            if start < previous:
                refuse(f"[{start}, {end}] begins before the span ahead of it ends; expected order", "spans", index)
            previous = end
        return self


class MissSample(_Model):
    """A text in which the rule finds nothing, and why."""

    text: Text
    """The sample."""
    why: Line
    """Why nothing is found here."""


class SamplesModel(_Model):
    """The rule's own samples; `safeproxy rules test` runs them."""

    match: tuple[MatchSample, ...] = ()
    """Texts with something to find."""
    no_match: tuple[MissSample, ...] = ()
    """Near misses: texts that look alike and must pass."""
    known_gap: tuple[MissSample, ...] = ()
    """Texts that ought to be found and are not yet; the test fails once one is found."""


class RuleModel(_Model):
    """One rule of a rule file."""

    model_config = ConfigDict(
        title="safeproxy rule",
        json_schema_extra={"oneOf": [{"required": [source]} for source in _SOURCES]},
    )

    id: Annotated[str, Strict(), Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=100)]
    """Name of the rule, unique over the whole set: small letters, digits and _ . -"""
    title: Line
    """What the rule finds, in a few words."""
    entity: EntityName
    """Name of what is found, in capitals, such as EMAIL_ADDRESS; the default placeholder shows it."""
    category: Literal["personal", "secret", "toxicity", "injection", "other"]
    """The group the rule belongs to."""
    severity: Literal["low", "medium", "high", "critical"] = "medium"
    """How bad a finding is; breaks ties between overlapping findings of equal action."""
    action: Action = Action.REDACT
    """What is done with a finding: observe, redact, mask, encrypt, hash or halt."""
    pattern: Annotated[str, Strict(), Field(min_length=1, max_length=65_536)] = ""
    """What to look for, in the syntax of the Python package `regex`."""
    words: Annotated[tuple[Word, ...], Field(min_length=1, max_length=MAX_WORDS)] = ()
    """Whole words or phrases to look for; a space matches any run of white space."""
    words_file: Text = ""
    """A file of words, one a line, relative to the rule file; '#' begins a comment."""
    detector: Annotated[str, Strict(), Field(pattern=r"^[a-z][a-z0-9_.-]*$", max_length=100)] = ""
    """A model that finds: ner (names and places), toxicity, or a plug-in."""
    presidio: Annotated[str, Strict(), Field(min_length=1, max_length=1000)] = ""
    """A recognizer of Presidio: its class, an entity, package.module:Class, or file.yaml#name."""
    model: Annotated[str, Strict(), Field(min_length=1, max_length=1000)] = ""
    """Which model of that kind; safeproxy's own if not given."""
    labels: Annotated[tuple[Line, ...], Field(min_length=1, max_length=100), AfterValidator(_distinct)] = ()
    """The labels of the model that the rule takes; for ner the entity, for others all, if not given."""
    strict: Flag = False
    """Whether a sentence is held until it is judged whole, where a model judges it as it grows."""
    filters: FiltersModel = FiltersModel()
    """What a model's finding must be like to count."""
    flags: Annotated[
        str,
        Strict(),
        Field(json_schema_extra={"pattern": f"^[{_FLAG_LETTERS}]*$", "maxLength": len(_FLAG_LETTERS)}),
        AfterValidator(_check_flags),
    ] = ""
    """Letters of i (ignore case), m (^ and $ at lines), s (dot takes newlines), x (verbose), a (ASCII classes)."""
    engine: Engine = Engine.AUTOMATON
    """Who runs the pattern; `regex` is slower and for what the automaton cannot run."""
    validators: Annotated[
        tuple[ValidatorName, ...],
        Field(alias="validate", min_length=1, json_schema_extra=_one_or_many),
        BeforeValidator(_as_list),
        AfterValidator(_distinct),
    ] = ()
    """Checks that the found text must pass, such as a checksum: one name or a list."""
    context: ContextModel | None = None
    """Words before a span that raise its score."""
    after: AfterModel | None = None
    """What must have been found shortly before: a street counts where somebody's name was."""
    score: Score = 1.0
    """How likely a match is a true finding, before context."""
    threshold: Score = 0.5
    """The score from which a match counts."""
    placeholder: Annotated[str, Strict(), Field(pattern=r"^[A-Za-z0-9_\-:\[\]]+$", max_length=100)] = ""
    """What stands in for a redacted span; [ENTITY] if not given."""
    keep: Annotated[int, Strict(), Field(ge=0, le=64)] = 4
    """For the action mask: how many characters stay visible at the end."""
    view: View = View.RAW
    """The alphabet the rule reads in: raw, nfkd (full-width forms folded), skeleton (look-alike letters folded).

    If not given: skeleton for words, raw for a pattern."""
    max_length: Annotated[int, Strict(), Field(ge=1, le=65_536)] = DEFAULT_MAX_LENGTH
    """Longest span, in characters."""
    overflow: Overflow = Overflow.REDACT
    """What becomes of a match still open at max_length: redact or release."""
    on: OnModel = OnModel()
    """Which prompts and answers the rule looks at."""
    enabled: Flag = True
    """Whether the rule is in force; a rule that is not is still checked."""
    tests: SamplesModel = SamplesModel()
    """The rule's own samples."""

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        given = [source for source in _SOURCES if source in self.model_fields_set]
        if not given:
            refuse(f"the rule looks for nothing; expected one of {', '.join(_SOURCES)}")
        if len(given) > 1:
            refuse(f"{' and '.join(given)} are given together; expected one of them", given[1])
        if self.after is not None and self.action is Action.OBSERVE:
            refuse("after needs an action that does more than observe; expected another action", "action")
        if self.detector == _PRESIDIO:
            refuse("Presidio's recognizers are named by the key presidio; expected that instead", "detector")
        if self.detector or self.presidio:
            self._refuse_keys(_PATTERN_KEYS, "a pattern or words")
            if self.presidio:
                self._refuse_keys(("model", "strict"), "a detector")
            return self
        self._refuse_keys(_MODEL_KEYS, "a detector")
        if self.pattern:
            self._check_pattern()
        else:
            self._check_word_list()
        best = round(self.score + (self.context.bonus if self.context else 0.0), 6)
        if best < self.threshold:
            refuse(
                f"no match can reach {self.threshold}, the best score is {best}; expected a threshold of at most that",
                "threshold" if "threshold" in self.model_fields_set else "score",
            )
        if self.words_file and PurePath(self.words_file).is_absolute():
            refuse("the path is absolute; expected one relative to the rule file", "words_file")
        return self

    def _refuse_keys(self, keys: tuple[str, ...], belongs_to: str) -> None:
        for key in keys:
            if key in self.model_fields_set:
                name = type(self).model_fields[key].alias or key
                refuse(f"{name} belongs to {belongs_to}; expected the rule without it", name)

    def _threshold(self) -> float:
        """What a names model finds counts unless the rule asks for more: then it is what spaCy itself finds."""
        if self.detector == "ner" and "threshold" not in self.model_fields_set:
            return 0.0
        return float(self.threshold)

    def _view(self) -> View:
        if "view" in self.model_fields_set or not (self.words or self.words_file):
            return self.view
        return View.SKELETON

    def _check_pattern(self) -> None:
        try:
            read = syntax.parse if self.engine is Engine.AUTOMATON else syntax.compiled
            read(self.pattern, self.flags)
        except RuleError as error:
            refuse(str(error), "pattern")

    def _check_word_list(self) -> None:
        if self.engine is not Engine.AUTOMATON:
            refuse("words always run in the automaton; expected no engine, or engine: automaton", "engine")
        useless = _PATTERN_FLAGS.intersection(self.flags)
        if useless:
            refuse(f"the flag {min(useless)!r} means nothing for words; expected i or a", "flags")

    def _reference(self, folder: PurePath) -> str:
        """Presidio's recognizer; a file is relative to the folder of the rule file."""
        file, hash_sign, name = self.presidio.partition("#")
        return f"{folder / file}#{name}" if hash_sign else file

    def rule(self, listed: tuple[str, ...] = (), folder: PurePath = _HERE) -> Rule:
        """The rule for the core; ``listed`` are the entries of its words_file, ``folder`` is that of the rule file."""
        return Rule(
            id=self.id,
            title=self.title,
            entity=self.entity,
            category=self.category,
            severity=Severity[self.severity.upper()],
            action=self.action,
            pattern=self.pattern or None,
            words=tuple(dict.fromkeys(self.words or listed)),
            detector=_PRESIDIO if self.presidio else self.detector,
            model=self._reference(folder) if self.presidio else self.model,
            labels=self.labels,
            strict=self.strict,
            filters=Filters(self.filters.min_length, self.filters.full_name, self.filters.allow),
            flags=self.flags,
            engine=self.engine,
            validators=self.validators,
            context=Context(self.context.words, self.context.window, self.context.bonus) if self.context else None,
            after=After(self.after.entities, self.after.within) if self.after else None,
            score=float(self.score),
            threshold=self._threshold(),
            placeholder=self.placeholder,
            mask_keep=self.keep,
            view=self._view(),
            max_length=self.max_length,
            overflow=self.overflow,
            channels=frozenset(self.on.channels),
            request=self.on.request,
            response=self.on.response,
        )
