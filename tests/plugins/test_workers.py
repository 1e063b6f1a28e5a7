"""Tests of `safeproxy.plugins.workers` and, through it, of `safeproxy.plugins.worker`."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from safeproxy import suspend
from safeproxy.core.filter import StreamFilter
from safeproxy.core.rule import Rule
from safeproxy.core.ruleset import RuleSet
from safeproxy.core.windows import Found
from safeproxy.errors import DetectorError, RuleError
from safeproxy.plugins.guard import PluginError
from safeproxy.plugins.settings import WorkerSettings
from safeproxy.plugins.workers import WorkerPool, in_workers

JUDGE = "tests.plugins.judges:Obedient"
ROOT = Path(__file__).parents[2]


def settings(**changed: float) -> WorkerSettings:
    return WorkerSettings.model_validate({"deadline": 2.0, "faults": 1000, "rest": 0.1, "loading": 10.0} | changed)


@contextmanager
def pool_of(*judge: str, **changed: float) -> Iterator[WorkerPool]:
    pool = WorkerPool("test", judge or (JUDGE,), settings(**changed))
    try:
        yield pool
    finally:
        pool.close()


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    """One worker for all tests that leave it in order."""
    with pool_of(deadline=1.0) as shared:
        yield shared


def fault(pool: WorkerPool, text: str) -> str:
    """What comes of a text that cannot be judged; the text is not in it."""
    with pytest.raises(DetectorError) as caught:
        pool.ask(text).result(10)
    assert isinstance(caught.value, PluginError)
    assert str(caught.value).startswith("the detector 'test' could not judge: ")
    assert text.rstrip(".") not in str(caught.value)
    return str(caught.value.fault)


def pid(pool: WorkerPool) -> int:
    (found,) = pool.ask("Who?").result(10)
    return int(found.label)


def gone(process: int) -> bool:
    """Whether the process ends within seconds, with all its threads: until then its files are open."""
    for _ in range(200):
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
            threads = len(list(Path(f"/proc/{process}/task").iterdir()))
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z" and threads == 1:
            return True
        time.sleep(0.02)
    return False


def test_a_worker_judges(pool: WorkerPool) -> None:
    """Findings come back as the judge gave them, and what it says of itself is known."""
    assert pool.ask("A secret.").result(10) == [Found(2, 8, "SECRET", 0.9)]
    assert pool.facts.labels == ("SECRET",)
    assert pool.longest == 200


def test_a_late_worker_is_killed_and_the_pool_goes_on(pool: WorkerPool) -> None:
    """A question that is not answered in time fails then; its worker is gone, and the next question finds a new one."""
    for text in ("Sleep.", "Spin."):
        before = pid(pool)
        started = time.monotonic()
        assert fault(pool, text) == "late"
        assert 0.9 < time.monotonic() - started < 3
        assert gone(before)
        assert pid(pool) != before


def test_a_crash_fails_one_question_and_the_pool_goes_on(pool: WorkerPool) -> None:
    """A worker that ends while it judges is replaced; the error tells its exit code."""
    with pytest.raises(DetectorError, match=r"crashed: its worker process ended \(exit code 3\)"):
        pool.ask("Die.").result(10)
    assert pool.ask("A secret.").result(10)


def test_a_worker_that_ended_while_idle_is_replaced_unnoticed(pool: WorkerPool) -> None:
    """Nobody pays for a worker that somebody killed between two questions."""
    process = pid(pool)
    os.kill(process, signal.SIGKILL)
    assert gone(process)
    assert pool.ask("A secret.").result(10)


@pytest.mark.parametrize(("text", "code"), [("Raise.", "raised"), ("Lie.", "malformed"), ("Babble.", "too_large")])
def test_bad_answers_fail_closed(pool: WorkerPool, text: str, code: str) -> None:
    """A judge that raises, finds what cannot be, or says too much fails the question and no other."""
    assert fault(pool, text) == code
    assert pool.ask("A secret.").result(10)
    assert pool.faults[code] >= 1


def test_calculating_libraries_take_one_core(pool: WorkerPool) -> None:
    """Workers do not fight for the cores, unless the environment says so."""
    (found,) = pool.ask("Threads?").result(10)
    assert found.label == os.environ.get("OMP_NUM_THREADS", "1")


def test_the_proxys_keys_stay_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model's code does not see the proxy's settings."""
    monkeypatch.setenv("SAFEPROXY_HASH_KEY", "k-5f2d")
    with pool_of() as unknowing:
        assert unknowing.ask("Keys?").result(10) == []


def test_what_a_judge_prints_goes_nowhere(pool: WorkerPool, capfd: pytest.CaptureFixture[str]) -> None:
    """A judge may print the text; nobody sees it."""
    pool.ask("A secret.").result(10)
    assert capfd.readouterr() == ("", "")


async def test_streams_wait_without_blocking_the_loop(pool: WorkerPool) -> None:
    """While a worker judges, the event loop runs; a stream that is cancelled hinders no other."""
    rules = RuleSet([Rule(id="r", entity="SECRET", detector="t")], {("t", ""): in_model(pool)})
    cancelled = asyncio.create_task(suspend.run(StreamFilter(rules).feed, "Nap. X"))
    running = asyncio.create_task(suspend.run(StreamFilter(rules).feed, "A secret. X"))
    turns = 0
    while not running.done():
        turns += 1
        await asyncio.sleep(0.01)
        cancelled.cancel()
    assert await running == "A [SECRET]. "
    assert turns > 5
    assert cancelled.cancelled()


def in_model(pool: WorkerPool) -> object:
    from safeproxy.plugins.model import WindowedModel

    return WindowedModel("test", pool.facts, pool)


def test_a_full_queue_refuses(pool: WorkerPool) -> None:
    """What cannot even wait fails at once."""
    with pool_of(waiting=1) as small:
        asked = [small.ask("Nap."), small.ask("Nap.")]
        assert fault(small, "More.") == "busy"
        assert [future.result(10) for future in asked] == [[], []]
        assert small.ask("A secret.").result(10)


def test_waiting_counts_for_the_deadline() -> None:
    """What waits behind a stuck question is late too, and does not cost the new worker its life."""
    with pool_of(deadline=0.6) as small:
        stuck, behind = small.ask("Sleep."), small.ask("A secret.")
        started = time.monotonic()
        for asked in (stuck, behind):
            with pytest.raises(DetectorError, match="late"):
                asked.result(10)
        assert time.monotonic() - started < 2
        time.sleep(0.5)
        assert small.ask("A secret.").result(10)


def test_the_breaker_opens_and_closes() -> None:
    """After failures in a row nothing is asked; after the rest a good answer closes it."""
    with pool_of(faults=2, rest=0.5) as frail:
        assert fault(frail, "Raise.") == "raised"
        assert fault(frail, "Raise.") == "raised"
        assert fault(frail, "Fine.") == "resting"
        time.sleep(0.6)
        assert frail.ask("A secret.").result(10)
        assert frail.ask("A secret.").result(10)


def test_several_workers_judge_at_the_same_time() -> None:
    """Two workers take half the time."""
    with pool_of(workers=2) as two:
        started = time.monotonic()
        for asked in [two.ask("Nap."), two.ask("Nap.")]:
            asked.result(10)
        assert time.monotonic() - started < 0.55
        assert two.at_once == 2


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        (("nothing.here:Judge",), "cannot start: its model cannot be loaded .ModuleNotFoundError"),
        (("nothing",), "'nothing' is no import path; expected package.module:name"),
        ((JUDGE, "impossible"), "OSError: no such model"),
        ((JUDGE, "deadly"), "exit code 9"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_refused(judge: tuple[str, ...], message: str) -> None:
    """The operator learns why, when the rules are loaded."""
    with pytest.raises(RuleError, match=message), pool_of(*judge):
        pass


def test_a_model_that_loads_for_ever_is_refused() -> None:
    """Loading has a deadline as well."""
    with (
        pytest.raises(RuleError, match="the detector 'test' cannot start: no answer"),
        pool_of(JUDGE, "endless", loading=0.3),
    ):
        pass


def test_a_changed_model_is_not_used(tmp_path: Path) -> None:
    """A worker that loads something else than its predecessors would make the audit trail lie."""
    file = tmp_path / "weights"
    file.write_text("old")
    with pool_of(JUDGE, str(file)) as changing:
        file.write_text("new")
        assert fault(changing, "Die.") == "crashed"
        assert fault(changing, "A secret.") == "changed"
        assert fault(changing, "A secret.") == "changed"


def test_closing_ends_the_workers_and_whoever_waits() -> None:
    """Nothing is left running, and nobody waits for ever."""
    with pool_of() as closing:
        process = pid(closing)
        asked = [closing.ask("Sleep."), closing.ask("A secret.")]
        time.sleep(0.1)
        closing.close()
        assert gone(process)
        for future in asked:
            with pytest.raises(DetectorError):
                future.result(10)
        assert fault(closing, "Later.") == "closed"


@pytest.mark.parametrize("text", ["A secret.", "Spin."])
def test_workers_end_with_a_killed_parent(text: str) -> None:
    """A parent that is killed leaves no worker behind, not even one that is busy."""
    code = (
        "from safeproxy.plugins.settings import WorkerSettings; from safeproxy.plugins.workers import WorkerPool;"
        f"p = WorkerPool('test', ({JUDGE!r},), WorkerSettings(deadline=50));"
        f"print(p.ask('Who?').result()[0].label, flush=True); p.ask({text!r}).result(); input()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        time.sleep(0.1)
        assert not gone_now(worker)
        parent.kill()
    assert gone(worker)


def gone_now(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


def test_workers_end_with_a_program_that_does_not_close_them() -> None:
    """Leaving the program is enough."""
    code = (
        "from safeproxy.plugins.workers import in_workers; from safeproxy.plugins.settings import WorkerSettings;"
        f"m = in_workers('test', {JUDGE!r}, settings=WorkerSettings(workers=2)); print(m.judge(['Who?'])[0][0].label)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stderr == ""
    assert gone(int(done.stdout))


def test_a_model_of_workers_has_what_the_audit_trail_names() -> None:
    """Name, version, digest and labels are those of the judge."""
    model = in_workers("test", JUDGE, settings=settings(), name="obedient")
    try:
        assert (model.name, model.version, model.labels, model.longest) == ("obedient", "1", ("SECRET",), 200)
        assert len(model.digest) == 64
        assert model.waits
    finally:
        model.close()
