"""Models in worker processes: a question late is a worker killed, and the next question finds a new one.

A worker is a fresh interpreter, not a copy of this process: it inherits no locks, shares no memory with the streams,
and does not run the program's main module again. It ends when its pipe is closed, so it cannot outlive this process.
(The packages for process pools cannot kill a worker that is late, or look at the clock ten times a second only.)
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from safeproxy.core.windows import MAX_WINDOW, Found
from safeproxy.errors import RuleError
from safeproxy.plugins.guard import Breaker, Fault, Guard, PluginError
from safeproxy.plugins.model import Facts, WindowedModel, findings
from safeproxy.plugins.settings import WorkerSettings
from safeproxy.system import calculate_on_one_core

#: Longest answer of a worker that is read, in bytes.
MAX_ANSWER = 1 << 20
#: Seconds that a worker gets to end by itself before it is killed.
_GOODBYE = 0.2


def in_workers(
    detector: str, judge: str, *arguments: str, settings: WorkerSettings | None = None, name: str = ""
) -> WindowedModel:
    """A model whose judge runs in worker processes.

    ``judge`` is the import path (``package.module:name``) of a callable that makes a `SentenceJudge` of the arguments;
    ``name`` is the model's, for people. Raises RuleError when it cannot be loaded.
    """
    settings = settings or WorkerSettings()
    if os.name != "posix":
        raise RuleError(
            f"the detector {detector!r} needs worker processes, which need Linux, macOS or another POSIX system"
        )
    pool = WorkerPool(detector, (judge, *arguments), settings)
    return WindowedModel(name or judge, pool.facts, pool, pool.longest)


@dataclass(slots=True)
class _Question:
    text: str
    until: float
    """When its answer is late, by the monotonic clock."""
    answer: Future[Sequence[Found]] = field(default_factory=Future)


class WorkerPool:
    """Some processes that have loaded the same judge; each takes the next question when it is free.

    Raises RuleError when the judge cannot be loaded.
    """

    waits = True

    def __init__(self, detector: str, judge: Sequence[str], settings: WorkerSettings) -> None:
        self._detector = detector
        self._settings = settings
        self._questions: queue.SimpleQueue[_Question | None] = queue.SimpleQueue()
        self._guard = Guard(detector, settings.workers + settings.waiting, Breaker(settings.faults, settings.rest))
        self._workers = [_Worker(detector, judge, settings) for _ in range(settings.workers)]
        self._lock = threading.Lock()
        self._closed = False
        self.at_once = settings.workers
        self.faults = self._guard.faults
        atexit.register(self.close)
        try:
            self.facts, self.longest = self._load()
        except BaseException:
            self.close()
            raise
        self._threads = [threading.Thread(target=self._serve, args=(worker,), daemon=True) for worker in self._workers]
        for thread in self._threads:
            thread.start()

    def ask(self, text: str) -> Future[Sequence[Found]]:
        """The answer to come, which raises PluginError if at all. Raises PluginError when nothing may be asked."""
        return self._guard.ask(lambda: self._put(text))

    def close(self) -> None:
        """End the workers; whoever waits, or asks later, gets a PluginError."""
        atexit.unregister(self.close)
        with self._lock:
            self._closed = True
        for worker in self._workers:
            worker.close()
            self._questions.put(None)

    def _put(self, text: str) -> Future[Sequence[Found]]:
        question = _Question(text, time.monotonic() + self._settings.deadline)
        with self._lock:
            if self._closed:
                question.answer.set_exception(PluginError(self._detector, Fault.CLOSED))
            else:
                self._questions.put(question)
        return question.answer

    def _load(self) -> tuple[Facts, int]:
        """Let all load at the same time. What the first says holds for all."""
        until = time.monotonic() + self._settings.loading
        for worker in self._workers:
            worker.start()
        try:
            facts = [worker.facts(until) for worker in self._workers]
        except PluginError as error:
            raise RuleError(f"the detector {self._detector!r} cannot start: {error.reason}") from None
        for worker in self._workers:
            worker.expected = facts[0]
        first = facts[0]
        known = Facts(tuple(first["labels"]), first["version"], first["digest"])
        return known, first["window"] or MAX_WINDOW

    def _serve(self, worker: _Worker) -> None:
        """One worker's thread: question after question."""
        while (question := self._questions.get()) is not None:
            if not question.answer.set_running_or_notify_cancel():
                continue
            try:
                found = worker.judge(question.text, question.until)
            except PluginError as error:
                question.answer.set_exception(error)
            except Exception as error:  # noqa: BLE001 - no process can be started, say: whoever waits must be told
                question.answer.set_exception(PluginError(self._detector, Fault.CRASHED, type(error).__name__))
            else:
                question.answer.set_result(found)


class _Worker:
    """One process and its pipe. Used by one thread at a time, but for `close`."""

    def __init__(self, detector: str, judge: Sequence[str], settings: WorkerSettings) -> None:
        self._detector = detector
        self._judge = judge
        self._loading = settings.loading
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._loaded_by = 0.0
        self._ready = False
        self._closed = False
        self._lock = threading.Lock()
        self.expected: dict[str, Any] | None = None
        """What the judge must say of itself, once that is known."""

    def start(self) -> None:
        """Start the process and let it load. Raises PluginError once the worker is closed."""
        ours, theirs = Pipe()
        with self._lock, theirs:
            if self._closed:
                ours.close()
                raise PluginError(self._detector, Fault.CLOSED)
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-P", "-m", "safeproxy.plugins.worker", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # a judge that prints might print the text
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=_environment(),
            )
            self._pipe = ours
        self._ready = False
        self._loaded_by = time.monotonic() + self._loading
        with contextlib.suppress(OSError):  # it may have ended at once; whoever reads finds out
            ours.send_bytes(json.dumps(self._judge).encode())

    def close(self) -> None:
        """End the process, for good."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.kill()
                self._process.wait()

    def facts(self, until: float) -> dict[str, Any]:
        """What the judge says of itself, once it is loaded. Raises PluginError, and restarts a process that failed."""
        facts = self._receive(until, late=lambda: time.monotonic() >= self._loaded_by)
        if "failed" in facts:
            self._restart()
            raise PluginError(self._detector, Fault.NOT_LOADED, facts["failed"])
        if self.expected not in (None, facts):
            self._restart()
            raise PluginError(self._detector, Fault.CHANGED)
        self._ready = True
        return facts

    def judge(self, text: str, until: float) -> list[Found]:
        """What is found in the text. Raises PluginError."""
        if time.monotonic() >= until:
            raise PluginError(self._detector, Fault.LATE)
        assert self._process is not None
        if self._process.poll() is not None or self._has_let_go():  # it ended while nobody asked
            self._restart()
        if not self._ready:
            self.facts(until)
        assert self._pipe is not None
        with contextlib.suppress(OSError):  # the process has ended; the next line finds out
            self._pipe.send_bytes(json.dumps(text).encode())
        answer = self._receive(until)
        if "raised" in answer:
            raise PluginError(self._detector, Fault.RAISED, answer["raised"])
        try:
            return findings(answer["found"], len(text))
        except ValueError as error:
            raise PluginError(self._detector, Fault.MALFORMED, str(error)) from None

    def _has_let_go(self) -> bool:
        """Whether the pipe of a worker that owes no answer has something to read: its end."""
        return self._ready and self._pipe is not None and self._pipe.poll(0)

    def _receive(self, until: float, late: Callable[[], bool] = lambda: True) -> dict[str, Any]:
        """The next message. When none comes in time the process is killed, if that is too ``late`` for it."""
        assert self._pipe is not None
        try:
            if self._pipe.poll(max(0.0, until - time.monotonic())):
                message: dict[str, Any] = json.loads(self._pipe.recv_bytes(MAX_ANSWER))
                return message
        except (EOFError, ConnectionError):
            raise PluginError(self._detector, Fault.CRASHED, f"exit code {self._restart()}") from None
        except OSError:  # the message is too long
            self._restart()
            raise PluginError(self._detector, Fault.TOO_LARGE) from None
        if late():
            assert self._process is not None
            self._process.kill()
            self._restart()
        raise PluginError(self._detector, Fault.LATE)

    def _restart(self) -> int:
        """End the process and start another; the first one's exit code, negative for a signal."""
        assert self._process is not None
        assert self._pipe is not None
        self._pipe.close()  # it ends by itself now, if it still can
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GOODBYE)
        self._process.kill()
        code = self._process.wait()
        self.start()
        return code


def _environment() -> dict[str, str]:
    """A worker imports what this process can import; the proxy's settings, keys among them, are not its business."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("SAFEPROXY_")}
    paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    environment = {**ours, "PYTHONPATH": paths}
    calculate_on_one_core(environment)
    return environment
