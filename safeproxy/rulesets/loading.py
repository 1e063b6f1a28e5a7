"""Loading rule files: from paths to a compiled rule set, or to one error that says all that is wrong and where."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from safeproxy.core.rule import Rule
from safeproxy.core.ruleset import RuleSet
from safeproxy.errors import RuleError
from safeproxy.events import Action
from safeproxy.models.registry import models_of
from safeproxy.rulesets.faults import describe
from safeproxy.rulesets.model import MAX_WORDS, RuleModel, SamplesModel, check_word
from safeproxy.rulesets.yaml_lines import Document, Location, Place, read_text, read_yaml

#: Largest word file read, in bytes.
MAX_WORD_FILE_BYTES = 8 * 2**20
#: Most errors shown at once.
MAX_ERRORS = 20

_SUFFIXES = frozenset({".yaml", ".yml"})
_PACKAGE = Path(__file__).resolve().parent.parent


def _shipped_folder() -> Path:
    """Inside the package where it was installed from a wheel, beside it in a checkout."""
    installed = _PACKAGE / "shipped_rules"
    return installed if installed.is_dir() else _PACKAGE.parent / "rules"


#: The folder of the rules that come with safeproxy.
SHIPPED: Path = _shipped_folder()
#: Stands for that folder where paths of rules are named, unless there is a file or folder of this name. What lies in it
#: can be named too: `shipped/secrets`.
SHIPPED_NAME = "shipped"
#: The shipped rules that need models: they cost more and are asked for by name, `shipped/models`.
MODELS_FOLDER = SHIPPED / "models"


@dataclass(frozen=True, slots=True)
class LoadedRule:
    """A rule with what only its file knows: its place, its samples, whether it is in force."""

    rule: Rule
    place: Place
    tests: SamplesModel
    enabled: bool

    @property
    def lacks_samples(self) -> str:
        """Which samples the rule ought to have and has not; empty if it has them."""
        lacking = [
            name for name, samples in (("match", self.tests.match), ("no_match", self.tests.no_match)) if not samples
        ]
        return " and ".join(f"tests.{name}" for name in lacking)


@dataclass(frozen=True, slots=True)
class LoadedRules:
    """The rules in force, compiled, and every rule read (also the disabled ones) with its source."""

    ruleset: RuleSet
    sources: tuple[LoadedRule, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a rule author ought to mend, each with its place; the rules work all the same."""
        return tuple(
            f"{source.place}: rule {source.rule.id!r} has no {lacking}; expected at least one sample"
            for source in self.sources
            if (lacking := source.lacks_samples)
        )


def load(paths: Sequence[Path]) -> RuleSet:
    """The compiled rules of all files and folders in ``paths``.

    Raises RuleError with one line an error (at most 20): ``path:line:column: what was wrong; what was expected``.
    """
    return load_with_sources(paths).ruleset


def load_with_sources(paths: Sequence[Path], *, samples_required: bool = False) -> LoadedRules:
    """As `load`, and keep where each rule stands and its samples.

    With ``samples_required`` a rule without a match and a near miss is an error, not a warning.
    """
    errors: list[str] = []
    sources: list[LoadedRule] = []
    for path in _files(paths, errors):
        try:
            document = read_yaml(path)
        except RuleError as error:
            errors.append(str(error))
            continue
        sources += _rules(document, errors)
    _refuse_duplicates(sources, errors)
    if samples_required:
        errors += [
            f"{source.place}: rule {source.rule.id!r} has no {lacking}; expected both a match and a near miss"
            for source in sources
            if (lacking := source.lacks_samples)
        ]
    _refuse_waiting_in_vain(sources, errors)
    _raise_any(errors)
    if not sources:
        raise RuleError("no rule files were given; expected files or folders with rules")
    if not any(source.enabled for source in sources):
        raise RuleError(f"{sources[0].place}: every rule is disabled; expected at least one in force")
    return LoadedRules(_compiled(sources), tuple(sources))


@cache
def shipped() -> RuleSet:
    """The rules that come with safeproxy, compiled once for the process."""
    return load_with_sources([SHIPPED], samples_required=True).ruleset


def _files(paths: Iterable[Path], errors: list[str]) -> Iterator[Path]:
    """The rule files behind ``paths``, each once, those of a folder sorted; ``shipped`` names the shipped rules.

    Hidden files and folders are left out: a mounted Kubernetes ConfigMap keeps second copies in them.
    """
    seen: set[Path] = set()
    for named in map(Path, paths):
        path = _place_of(named)
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if _is_rule_file(file, path))
            if not files:
                errors.append(f"{path}: the folder holds no rules; expected *.yaml or *.yml files in it")
        elif path.exists():
            files = [path]
        else:
            errors.append(f"{path}: there is no such file or folder; expected one with rules")
            continue
        for file in files:
            resolved = file.resolve()
            if resolved not in seen:
                seen.add(resolved)
                yield file


def _place_of(named: Path) -> Path:
    """The path that is meant: one that begins with `shipped` lies in the shipped rules, unless there is one here."""
    if named.exists() or not named.parts or named.parts[0] != SHIPPED_NAME:
        return named
    return SHIPPED.joinpath(*named.parts[1:])


def _is_rule_file(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    left_out = folder == SHIPPED and file.is_relative_to(MODELS_FOLDER)
    return file.suffix in _SUFFIXES and not (hidden or left_out) and file.is_file()


def _rules(document: Document, errors: list[str]) -> Iterator[LoadedRule]:
    """The rules of one file that are sound by themselves; what is wrong with the others goes to ``errors``."""
    data = document.data
    entries: list[tuple[Location, object]] = [((), data)]
    if isinstance(data, list):
        entries = [((index,), entry) for index, entry in enumerate(data)]
    if not data:
        errors.append(f"{document.place(())}: no rule in this file; expected a rule, or a list of rules")
        return
    for location, entry in entries:
        if not isinstance(entry, dict):
            errors.append(f"{document.place(location)}: this is no mapping; expected a rule: keys with values")
            continue
        try:
            model = RuleModel.model_validate(entry)
            words = _listed_words(model, document, location)
        except ValidationError as error:
            errors += describe(error, document, location)
        except RuleError as error:
            errors.append(str(error))
        else:
            yield LoadedRule(
                model.rule(words, document.path.parent), document.place(location), model.tests, model.enabled
            )


def _listed_words(model: RuleModel, document: Document, location: Location) -> tuple[str, ...]:
    """The entries of the model's words_file, if it names one."""
    if not model.words_file:
        return ()
    place = document.place((*location, "words_file"))
    path = document.path.parent / model.words_file
    try:
        return read_words(path)
    except RuleError as error:
        raise RuleError(f"{place}: words_file {model.words_file!r} cannot be used: {error}") from None


def read_words(path: Path) -> tuple[str, ...]:
    """The entries of a word file: one a line, each once; blank lines and comments (``#`` after white space) dropped.

    Raises RuleError if the file cannot be read, is too large (judged before it is read), or holds no entry or
    too many.
    """
    text = read_text(path, MAX_WORD_FILE_BYTES, "a word file")
    entries: dict[str, None] = {}
    for number, line in enumerate(text.split("\n"), 1):
        bare = _without_comment(line).strip()
        if not bare:
            continue
        try:
            entries[check_word(bare)] = None
        except PydanticCustomError as error:
            raise RuleError(f"{Place(path, number)}: {error.message()}") from None
        if len(entries) > MAX_WORDS:
            raise RuleError(f"{Place(path, number)}: too many entries; expected at most {MAX_WORDS:,}")
    if not entries:
        raise RuleError(f"{path}: the file holds no entry; expected one word or phrase a line")
    return tuple(entries)


def _without_comment(line: str) -> str:
    start = line.find("#")
    while start > 0 and not line[start - 1].isspace():
        start = line.find("#", start + 1)
    return line if start < 0 else line[:start]


def _refuse_duplicates(sources: Iterable[LoadedRule], errors: list[str]) -> None:
    first: dict[str, Place] = {}
    for source in sources:
        earlier = first.setdefault(source.rule.id, source.place)
        if earlier is not source.place:
            errors.append(
                f"{source.place}: the id {source.rule.id!r} is taken by the rule at {earlier}; "
                "expected an id of its own"
            )


def _refuse_waiting_in_vain(sources: Iterable[LoadedRule], errors: list[str]) -> None:
    """A rule with `after` needs rules in force that find what it comes after, and do something about it."""
    in_force = [source.rule for source in sources if source.enabled]
    found = {rule.entity for rule in in_force if rule.action is not Action.OBSERVE}
    for source in sources:
        after = source.rule.after
        if source.enabled and after is not None and not found.intersection(after.entities):
            errors.append(
                f"{source.place}: the rule comes after {' or '.join(after.entities)}, which no rule in force finds and "
                "acts on; expected one that does"
            )


def _compiled(sources: Sequence[LoadedRule]) -> RuleSet:
    """Compile the rules in force; if that fails, find the culprits by compiling each rule alone.

    Rules that are disabled or look at prompts only are compiled alone too: they must bring no surprise later.
    """
    try:
        for source in sources:
            if not (source.enabled and source.rule.response):
                _compile_alone(source.rule)
        return ruleset_of([source.rule for source in sources if source.enabled])
    except RuleError as error:
        _raise_any(list(_culprits(sources)))
        raise RuleError(f"{sources[0].place}: the rules cannot be compiled together: {error}") from None


def _culprits(sources: Iterable[LoadedRule]) -> Iterator[str]:
    for source in sources:
        try:
            _compile_alone(source.rule)
        except RuleError as error:
            yield f"{source.place}: {error}"


def _compile_alone(rule: Rule) -> None:
    ruleset_of([dataclasses.replace(rule, response=True)])


def ruleset_of(rules: Sequence[Rule]) -> RuleSet:
    """The rules with the models that they name. Raises RuleError."""
    return RuleSet(rules, models_of(rules))


def _raise_any(errors: Sequence[str]) -> None:
    if not errors:
        return
    shown = list(errors[:MAX_ERRORS])
    if len(errors) > MAX_ERRORS:
        shown.append(f"... and {len(errors) - MAX_ERRORS} more")
    raise RuleError("\n".join(shown))
