"""Detectors of one's own: how to write a package that brings one.

A package registers a detector's name in its ``pyproject.toml``::

    [project.entry-points."safeproxy.detectors"]
    tickets = "acme_tickets:load"

and a rule uses it: ``detector: tickets``, with ``labels``, ``threshold``, ``filters`` and any action as everywhere.
What is registered is a callable that takes the rule's ``model:`` (empty if there is none) and gives a
`safeproxy.core.detector.Model`. There are three ways to make one.

**Whole sentences, in worker processes** (ONNX, transformers, anything that takes milliseconds or may crash). Write a
judge, `safeproxy.plugins.model.SentenceJudge`; this is a whole package::

    import hashlib
    import re

    from safeproxy.plugins.settings import worker_settings
    from safeproxy.plugins.workers import in_workers

    PATTERN = re.compile(r"TICKET-[0-9]{4}")

    class Tickets:
        labels = ("TICKET",)
        version = "1.0"
        digest = hashlib.sha256(PATTERN.pattern.encode()).hexdigest()

        def __init__(self, model: str) -> None:
            self.least = model or "TICKET-0000"  # load weights here: it happens once in each worker

        def __call__(self, text: str):
            for found in PATTERN.finditer(text):
                if found.group() >= self.least:
                    yield found.start(), found.end(), "TICKET", 0.9

    def load(model: str):
        settings = worker_settings(model)  # `model:` may name a settings file with deadline, workers, waiting ...
        return in_workers("tickets", "acme_tickets:Tickets", settings.model, settings=settings)

A judge must judge a sentence by its text alone. A sentence that it does not judge within the deadline costs the worker
its life and halts the stream (or lets it pass, where the operator has chosen so); so do an error and a crash. After
several in a row the worker is left alone for a while. What a judge prints goes nowhere.

**Whole sentences, somewhere else**: `safeproxy.plugins.http` asks a moderation endpoint or a guard model, and needs a
settings file only. Other services: write an `safeproxy.plugins.model.Asker` (see `HttpClient`) and give it to
`safeproxy.plugins.model.WindowedModel`; let it ask through a `safeproxy.plugins.guard.Guard`.

**In the process.** `safeproxy.plugins.model.in_process` takes a judge of sentences that needs microseconds. What
finds as the text grows, without waiting for the sentence's end, is a `safeproxy.core.detector.Model` whose ``waits`` is
False and whose ``detector`` gives a `safeproxy.core.detector.Detector` of its own. Its spans must not depend on how the
text is cut, and none may start before its ``frontier``; it raises `safeproxy.errors.DetectorError` when it cannot
judge.
"""
