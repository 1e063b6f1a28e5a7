"""Measures a toxicity model: `python -m safeproxy.training.toxicity_figures DATA_FOLDER [MODEL_FILE]`.

Prints, as JSON, figures on `DATA_FOLDER/development` (no text of which the model has learnt from) and the false
findings in ordinary text: assistant dialogues, encyclopedic prose and the standard library's documentation.
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import regex
from numpy.typing import NDArray

from safeproxy.core.detector import Extent
from safeproxy.core.rule import Rule
from safeproxy.core.sentences import sentences
from safeproxy.core.toxicity import ToxicityModel
from safeproxy.errors import ConfigError
from safeproxy.evaluation import ranking
from safeproxy.evaluation.ranking import FALSE_POSITIVE_RATES, Ranker
from safeproxy.models.toxicity import load
from safeproxy.rulesets import SHIPPED, load_with_sources
from safeproxy.training.toxicity_data import known_labels, read_records

#: Terms by which a text is counted to a group; a text may belong to several.
IDENTITY_TERMS = {
    "black people": r"black|african",
    "Asian people": r"asian|chinese|korean|indian",
    "Latino people": r"latin[oax]|mexican|hispanic",
    "Muslims": r"muslim|islam",
    "Jews": r"jew|jewish",
    "Christians": r"christian|catholic",
    "women": r"wom[ae]n|girl|female",
    "men": r"m[ae]n|boy|male",
    "gay, lesbian and bisexual people": r"gay|lesbian|bisexual|homosexual|queer",
    "trans people": r"trans|transgender|transsexual",
    "disabled people": r"disabled|disability|blind|deaf|autistic|wheelchair",
    "immigrants": r"immigrant|migrant|refugee|foreigner",
}
#: How many texts of each kind of ordinary text are read.
MOST_ORDINARY = 4000
#: Modules that do something when they are imported.
_NOT_READ = {"antigravity", "this", "idlelib", "test", "lib2to3", "tkinter", "turtle", "turtledemo"}

Numbers = NDArray[np.float64]


def auroc(truth: NDArray[np.bool_], scores: Numbers) -> float:
    """Area under the ROC curve, ties counted half; nan without both classes."""
    return ranking.auroc(Ranker(scores, truth).ranking(np.ones(len(scores)))) if len(scores) else float("nan")


def category_figures(model: ToxicityModel, records: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """AUROC and so on for each category that the records have labels for."""
    known = [known_labels(record["labels"]) for record in records]
    scores = [model.scores(str(record["text"])) for record in records]
    figures = {}
    for category in model.labels:
        chosen = [number for number, labels in enumerate(known) if category in labels]
        if not chosen:
            continue
        truth = np.array([known[number][category] >= 0.5 for number in chosen])
        values = np.array([scores[number][category] for number in chosen])
        if truth.all() or not truth.any():
            continue
        names = ["AUROC", "AUPRC", *(f"recall at {share:.0%} false positives" for share in FALSE_POSITIVE_RATES)]
        summary = Ranker(values, truth).summary(np.ones(len(values))).tolist()
        counts = {"texts": len(chosen), "positive": int(truth.sum())}
        figures[category] = counts | dict(zip(names, summary, strict=True))
    return figures


def group_figures(
    model: ToxicityModel, records: Sequence[dict[str, Any]], category: str
) -> dict[str, dict[str, float]]:
    """For each identity group: AUROC, and the share of its harmless and harmful texts that score 0.5 or more."""
    figures = {}
    scores = [model.scores(str(record["text"]))[category] for record in records]
    for group, terms in IDENTITY_TERMS.items():
        pattern = regex.compile(rf"\b(?:{terms})s?\b", regex.I)
        chosen = [number for number, record in enumerate(records) if pattern.search(str(record["text"]))]
        truth = np.array([records[number]["labels"][category] >= 0.5 for number in chosen])
        values = np.array([scores[number] for number in chosen])
        if len(chosen) and truth.any() and not truth.all():
            figures[group] = {
                "texts": len(chosen),
                "AUROC": auroc(truth, values),
                "harmful at 0.5": float((values[truth] >= 0.5).mean()),
                "harmless at 0.5": float((values[~truth] >= 0.5).mean()),
            }
    return figures


def function_figures(model: ToxicityModel, records: Sequence[dict[str, Any]], category: str) -> dict[str, float]:
    """For each kind of test, which the source names: the share of its texts that score 0.5 or more."""
    by_function = defaultdict(list)
    for record in records:
        by_function[str(record["source"]).partition("/")[2]].append(model.scores(str(record["text"]))[category] >= 0.5)
    return {function: float(np.mean(flags)) for function, flags in sorted(by_function.items())}


def flagged(model: ToxicityModel, rules: Sequence[Rule], texts: Iterable[str]) -> dict[str, float]:
    """Texts, sentences, findings of these rules, and the share of texts that have one."""
    counted = {"texts": 0, "sentences": 0, "findings": 0, "texts with a finding": 0}
    for text in texts:
        detector = model.detector(list(enumerate(rules)))
        spans = [*detector.feed(text), *detector.finish()]
        found = sum(span.extent is not Extent.CLOSING for span in spans)
        counted["texts"] += 1
        counted["sentences"] += len(sentences(text))
        counted["findings"] += found
        counted["texts with a finding"] += found > 0
    return counted | {
        "share of texts": counted["texts with a finding"] / max(1, counted["texts"]),
        "findings in 10,000 sentences": 1e4 * counted["findings"] / max(1, counted["sentences"]),
    }


def library_documentation() -> Iterable[str]:
    """The documentation of modules of the standard library and of what they define."""
    standard = sorted(name for name in sys.stdlib_module_names if not name.startswith("_") and name not in _NOT_READ)
    for name in standard:
        try:
            module = import_module(name)
        except Exception:  # noqa: BLE001, S112  # what does not load here is not read
            continue
        yield from _documentation(module)


def _documentation(module: Any) -> Iterable[str]:
    things = [module, *(value for name, value in sorted(vars(module).items()) if not name.startswith("_"))]
    seen: set[str] = set()
    for thing in things:
        parts = [thing, *vars(thing).values()] if inspect.isclass(thing) else [thing]
        for part in parts:
            text = inspect.getdoc(part) if callable(part) or part is module else None
            if text and text not in seen and getattr(part, "__module__", module.__name__) == module.__name__:
                seen.add(text)
                yield text


def microseconds_a_word(model: ToxicityModel, rules: Sequence[Rule], text: str, piece: int = 4) -> float:
    """Processor time of the detector for a word, the text fed in pieces of so many code points; best of three runs."""
    best = float("inf")
    for _ in range(3):
        detector = model.detector(list(enumerate(rules)))
        began = time.process_time()
        for at in range(0, len(text), piece):
            detector.feed(text[at : at + piece])
        detector.finish()
        best = min(best, time.process_time() - began)
    return 1e6 * best / max(1, len(text.split()))


def ordinary_texts(folder: Path) -> dict[str, Callable[[], Iterable[str]]]:
    """Kinds of ordinary text to look for false findings in."""

    def of(name: str) -> Callable[[], Iterable[str]]:
        return lambda: (str(record["text"]) for record in islice(read_records(folder / name), MOST_ORDINARY))

    return {
        "assistant dialogues (sgd)": of("ner/sgd.jsonl.gz"),
        "encyclopedic prose (crossner)": of("ner/crossner.jsonl.gz"),
        "documentation of the standard library": library_documentation,
    }


def figures(model: ToxicityModel, folder: Path, rules: Sequence[Rule]) -> dict[str, Any]:
    """All figures of the model card."""
    development = folder / "development"
    surge = list(read_records(development / "tox_surge.jsonl.gz"))
    hatecheck = list(read_records(development / "eval_hatecheck.jsonl.gz"))
    prompts = [str(record["text"]) for record in read_records(development / "eval_xstest_prompts.jsonl.gz")]
    dialogue = " ".join(str(record["text"]) for record in islice(read_records(folder / "ner/sgd.jsonl.gz"), 500))
    return {
        "tox_surge": category_figures(model, surge),
        "eval_hatecheck": category_figures(model, hatecheck),
        "eval_hatecheck by group": group_figures(model, hatecheck, "identity_hate"),
        "eval_hatecheck by function, share at 0.5": function_figures(model, hatecheck, "identity_hate"),
        "eval_xstest_prompts, flagged": flagged(model, rules, prompts),
        "eval_xstest_prompts, one category at 0.5": float(
            np.mean([max(model.scores(text).values()) >= 0.5 for text in prompts])
        ),
        "tox_surge, flagged": {
            name: flagged(model, rules, [r["text"] for r in surge if (r["labels"]["toxic"] >= 0.5) == toxic])[
                "share of texts"
            ]
            for name, toxic in (("toxic", True), ("not toxic", False))
        },
        "ordinary text": {name: flagged(model, rules, texts()) for name, texts in ordinary_texts(folder).items()},
        "microseconds a word": microseconds_a_word(model, rules, dialogue),
    }


def rules_in(file: Path) -> list[Rule]:
    """The toxicity model's rules in a rule file."""
    return [source.rule for source in load_with_sources([file]).sources if source.rule.detector == "toxicity"]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m safeproxy.training.toxicity_figures", description="Measure the model."
    )
    parser.add_argument("data", type=Path, help="the data folder: development/ and ner/ are read")
    parser.add_argument("model", type=Path, nargs="?", help="the .npz file; the shipped one if not given")
    parser.add_argument(
        "--rules", type=Path, default=SHIPPED / "models" / "toxicity.yaml", help="the rule file in force"
    )
    options = parser.parse_args(arguments)
    try:
        found = figures(load(options.model), options.data, rules_in(options.rules))
        print(json.dumps(found, indent=1))
    except ConfigError as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
