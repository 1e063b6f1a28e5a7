"""Sentences without names: prose and code of the running Python's standard library, and texts of common words only.

Two thirds of the modules (by the CRC-32 of their path) are to train on, one third is held out for the figures.
What has a name in it (an author in a comment, `# by Fred Drake`) is left out by looks: see `may_have_name`.
"""

from __future__ import annotations

import ast
import gzip
import io
import json
import re
import sysconfig
import tokenize
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from safeproxy.training.corpus import UNCLEAR, read
from safeproxy.training.names_gazetteer import known_names

_SKIP = (
    "site-packages",
    "test",
    "tests",
    "lib2to3/tests",
    "idlelib/idle_test",
    "turtledemo",
    "encodings",
    "__pycache__",
)

_WORD_OR_NUMBER = re.compile(r"[#@]?\w+(?:['\u2019-]\w+)*")

PACKAGES = ("numpy", "scipy", "sklearn", "spacy", "thinc", "pydantic", "jinja2", "requests", "click", "aiohttp", "rich")
"""Packages to train on, whose licences (BSD, MIT, Apache-2.0) permit it."""

_CREDIT = re.compile(
    r"copyright|\(c\)|©|author|written by|contributed|thanks|credit|maintain|courtesy|@|licen[cs]e|FSF|Inc\.",
    re.IGNORECASE,
)

_KNOWN = re.compile(
    r"\b(?:U\.?S\.?A?|U\.?K|EU|IBM|W3C|IETF|ISO|Microsoft|Apple|Mozilla|Netscape|Motorola|Google|Amazon|NIST|IEEE)\b"
)

_SENTENCE_END = re.compile(r"(?<=[.!?:])\s+(?=[A-Z\"'(`])")

_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][a-z]+)?")


def modules() -> list[Path]:
    """The modules of the standard library, without tests and tables."""
    root = Path(sysconfig.get_path("stdlib"))
    found = sorted(root.rglob("*.py"))
    return [path for path in found if not set(path.relative_to(root).parts[:-1]) & set(_SKIP)]


def is_held_out(path: Path) -> bool:
    """Whether a module judges instead of teaching."""
    root = Path(sysconfig.get_path("stdlib"))
    return zlib.crc32(path.relative_to(root).as_posix().encode()) % 3 == 0


def docstrings(source: str) -> Iterator[str]:
    """The docstrings of a module's source."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def comments(source: str) -> Iterator[str]:
    """The comments of a module's source, those on neighbouring lines joined."""
    block: list[str] = []
    last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if block and token.start[0] != last + 1:
                yield " ".join(block)
                block = []
            block.append(token.string.lstrip("# "))
            last = token.start[0]
    yield " ".join(block)


def sentences(prose: str) -> Iterator[str]:
    """The sentences of a text, its paragraphs joined to lines."""
    for paragraph in re.split(r"\n\s*\n", prose):
        for sentence in _SENTENCE_END.split(" ".join(paragraph.split())):
            if 3 <= len(sentence.split()) <= 60:
                yield sentence


def code_lines(source: str) -> Iterator[str]:
    """The lines of code with something in them."""
    for line in source.splitlines():
        if len(line.strip()) > 8 and not line.lstrip().startswith("#"):
            yield line.strip()


def may_have_name(sentence: str) -> bool:
    """Whether a sentence of the library looks as if it names somebody or some place."""
    if _CREDIT.search(sentence):
        return True
    if _KNOWN.search(sentence):
        return True
    # Class names (OrderedDict) and words in capitals are none of these; "Paris" and "Guido van Rossum" are.
    return any(word.istitle() and word in known_names() and not is_common(word) for word in _WORD.findall(sentence))


@cache
def _library_words() -> Counter[str]:
    return Counter(word for path in modules() for word in _WORD.findall(_source(path)))


def is_common(word: str) -> bool:
    """Whether the library uses the word in small letters too, as a word of the language ("Will", "Mark", "May")."""
    words = _library_words()
    return words[word.lower()] >= 5 and words[word.lower()] >= words[word] / 2


def _source(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        return ""


def library(held_out: bool) -> tuple[list[str], list[str]]:
    """Sentences of prose and lines of code of the modules that are held out, or of the others; each once, in order."""
    return _prose_and_code([path for path in modules() if is_held_out(path) == held_out])


def packages(names: Iterable[str] = PACKAGES) -> tuple[list[str], list[str]]:
    """The same of installed packages; of those that are not installed nothing."""
    roots = [Path(spec.origin).parent for name in names if (spec := find_spec(name)) and spec.origin]
    found = [path for root in roots for path in sorted(root.rglob("*.py"))]
    return _prose_and_code([path for path in found if not {"tests", "test", "lang"} & set(path.parts)])


def _prose_and_code(paths: Iterable[Path]) -> tuple[list[str], list[str]]:
    prose: dict[str, None] = {}
    code: dict[str, None] = {}
    for path in paths:
        source = _source(path)
        prose |= dict.fromkeys(s for text in [*docstrings(source), *comments(source)] for s in sentences(text))
        code |= dict.fromkeys(code_lines(source))
    return [s for s in prose if not may_have_name(s)], [s for s in code if not may_have_name(s)]


class CommonWords:
    """Knows from many texts which words are words of the language: those mostly written in small letters."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._count: Counter[str] = Counter()
        for text in texts:
            self._count.update(_WORD.findall(text))

    def all_common(self, sentence: str) -> bool:
        """Whether no word of the sentence can be a name: each is mostly written small, capitals only begin it."""
        words = _WORD.findall(sentence)
        if not words or any(
            word != word.lower() and word not in ("I", "I'm", "I've", "I'll", "I'd") for word in words[1:]
        ):
            return False
        return all(self._is_common(word.lower()) for word in words)

    def doubts(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Unclear stretches: every word that may be a name, or part of one. The words between them are none."""
        for match in _WORD_OR_NUMBER.finditer(text):
            word = match[0]
            small = word.islower() and word.title() not in known_names()
            if not small and not self._is_common(word.lower()):
                yield match.start(), match.end(), UNCLEAR

    def _is_common(self, word: str) -> bool:
        small = self._count[word]
        return small >= 5 and small > self._count[word.title()]


def held_out_sentences(data: Path) -> dict[str, list[str]]:
    """10,000 sentences without names by which false findings are counted, evenly spaced over those there are:

    5,000 of prose and 2,500 lines of code of the modules held out, and 2,500 of the texts in `development/` in which
    every word is a common one.
    """
    prose, code = library(held_out=True)
    return {
        "prose": _spread(prose, 5000),
        "code": _spread(code, 2500),
        "common": _spread(_common_sentences(data), 2500),
    }


def _spread(items: list[str], count: int) -> list[str]:
    """`count` of the items at even distances, all if there are no more."""
    return items if len(items) <= count else [items[at * len(items) // count] for at in range(count)]


def _common_sentences(data: Path) -> list[str]:
    found: list[str] = []
    for name in ("eval_xstest_prompts", "inj_deepset", "tox_surge", "eval_hatecheck"):
        with gzip.open(data / "development" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            found += [json.loads(line)["text"] for line in lines]
    return common_sentences(data, found)


def common_sentences(data: Path, texts: Iterable[str]) -> list[str]:
    """The sentences of `texts` of which every word is common in the texts to train on, each once."""
    words = common_words(data)
    return list(dict.fromkeys(s for text in texts for s in sentences(text) if words.all_common(s)))


def common_words(data: Path) -> CommonWords:
    """What the texts to train on know of the words of the language."""
    return CommonWords(text.text for part in ("ner", "toxicity") for text in read(data, part))
