"""Plain calls that wait without blocking the loop."""

from __future__ import annotations

import asyncio
import gc
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar
from typing import cast

import pytest

from safeproxy.suspend import Gathering, run, suspended_here, wait

NAME: ContextVar[str] = ContextVar("NAME")


def nested(pending: asyncio.Future[str] | Future[str]) -> str:
    """Waits some calls deep, as a detector does."""
    return "".join([part.upper() for part in [wait(pending)]])


async def test_the_loop_goes_on_while_a_call_waits() -> None:
    """The answer is given by the loop that the call would otherwise block."""
    pending: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(pending.set_result, "done")
    assert await run(nested, pending) == "DONE"


async def test_a_thread_s_answer_can_be_waited_for() -> None:
    """Pools give futures of this kind."""
    pending: Future[str] = Future()
    asyncio.get_running_loop().call_soon(pending.set_result, "done")
    assert await run(nested, pending) == "DONE"


async def test_errors_go_where_the_waiting_is_done() -> None:
    """What the pending work raises comes out of `wait`, what the call raises out of `run`."""

    def call() -> str:
        try:
            wait(pending)
        except KeyError:
            raise ValueError("in the call") from None
        return "not here"

    pending: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    pending.set_exception(KeyError("x"))
    with pytest.raises(ValueError, match="in the call"):
        await run(call)


async def test_a_cancelled_call_unwinds() -> None:
    """Its own clean-up runs, and the cancellation goes on."""
    seen = []

    def call() -> None:
        try:
            wait(asyncio.get_running_loop().create_future())
        finally:
            seen.append("cleaned up")

    task = asyncio.create_task(run(call))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cleaned up"]


async def test_calls_wait_side_by_side() -> None:
    """Each has a stack and a context of its own."""
    order = []

    def call(name: str, pending: asyncio.Future[None]) -> None:
        order.append(f"{name} begins as {NAME.get()}")
        wait(pending)
        order.append(f"{name} ends as {NAME.get()}")

    async def one(name: str, pending: asyncio.Future[None]) -> None:
        NAME.set(name.upper())
        await run(call, name, pending)

    loop = asyncio.get_running_loop()
    first, second = loop.create_future(), loop.create_future()
    tasks = [asyncio.create_task(one("a", first)), asyncio.create_task(one("b", second))]
    await asyncio.sleep(0)
    second.set_result(None)
    await tasks[1]
    first.set_result(None)
    await tasks[0]
    assert order == ["a begins as A", "b begins as B", "b ends as B", "a ends as A"]


async def test_an_idle_worker_keeps_nothing_of_its_last_call() -> None:
    """What a stream held goes with the stream."""

    class Held:
        pass

    def call(held: Held, fail: bool) -> Held:
        if fail:
            raise ValueError(held)
        return held

    held = Held()
    seen = weakref.ref(held)
    assert await run(call, held, False) is held
    with suppress(ValueError):
        await run(call, held, True)
    del held
    gc.collect()
    assert seen() is None


async def test_calls_within_calls_have_a_worker_each() -> None:
    """One that waits is not given to another."""
    loop = asyncio.get_running_loop()

    def call(number: int) -> int:
        pending = loop.create_future()
        loop.call_soon(pending.set_result, number)
        return cast("int", wait(pending)) + cast("int", wait(asyncio.ensure_future(run(inner, number))))

    def inner(number: int) -> int:
        pending = loop.create_future()
        loop.call_soon(pending.set_result, 10 * number)
        return cast("int", wait(pending))

    assert await asyncio.gather(*(run(call, number) for number in range(20))) == [11 * n for n in range(20)]


def test_each_loop_and_thread_has_its_own() -> None:
    """A greenlet cannot change its thread; a new loop in the same one may use it again."""

    def call(number: int) -> int:
        return number if suspended_here() else -1

    with ThreadPoolExecutor(2) as pool:
        results = pool.map(lambda number: asyncio.run(run(call, number)), range(8))
        assert list(results) == list(range(8))
    assert asyncio.run(run(call, 1)) == asyncio.run(run(call, 1)) == 1


def test_outside_of_run_waiting_blocks() -> None:
    """A command line tool has no loop to give way to; an awaitable would wait for ever."""
    assert not suspended_here()
    pending: Future[str] = Future()
    pending.set_result("done")
    assert nested(pending) == "DONE"

    async def nothing() -> str:
        return ""

    waiting = nothing()
    with pytest.raises(RuntimeError, match=r"inside of suspend\.run only"):
        wait(waiting)
    waiting.close()


async def test_work_of_one_turn_is_done_in_one_go() -> None:
    """Streams whose text arrives together share the matrix products."""
    rounds: list[list[int]] = []
    gathering = Gathering[int](lambda items: rounds.append(sorted(items)))

    def call(number: int) -> bool:
        gathering(number)
        return suspended_here()

    assert await asyncio.gather(*(run(call, number) for number in range(4))) == [True] * 4
    assert await run(call, 9)
    assert rounds == [[0, 1, 2, 3], [9]]


async def test_rounds_keep_apart_while_there_is_more() -> None:
    """The first goes at once; what comes up soon after is gathered until the time is over."""
    rounds: list[list[int]] = []
    gathering = Gathering[int](lambda items: rounds.append(sorted(items)), apart=0.05)
    await run(gathering, 0)

    async def later(number: int) -> None:
        await asyncio.sleep(number / 1000)
        await run(gathering, number)

    await asyncio.gather(*(later(number) for number in range(1, 5)))
    assert rounds == [[0], [1, 2, 3, 4]]
    await asyncio.sleep(0.06)
    await run(gathering, 9)
    assert rounds[-1] == [9]


async def test_a_burst_waits_once() -> None:
    """A call with much to do does not wait the time between two rounds for each piece of it."""
    rounds: list[list[int]] = []
    gathering = Gathering[int](lambda items: rounds.append(sorted(items)), apart=0.05)

    def burst(first: int) -> None:
        for number in range(first, first + 20):
            gathering(number)

    loop = asyncio.get_running_loop()
    began = loop.time()
    await run(gathering, 0)
    await asyncio.gather(run(burst, 100), run(burst, 200))
    assert loop.time() - began < 0.5
    assert rounds == [[0], *([100 + n, 200 + n] for n in range(20))]


def test_a_loop_that_ended_in_the_middle_hinders_no_other() -> None:
    """Its rounds never come; those of the next loop do."""
    rounds: list[list[int]] = []
    gathering = Gathering[int](lambda items: rounds.append(sorted(items)), apart=60.0)

    async def left_alone() -> None:
        await run(gathering, 1)
        task = asyncio.create_task(run(gathering, 2))
        await asyncio.sleep(0)
        task.cancel()

    async def another() -> None:
        async with asyncio.timeout(5):
            await run(gathering, 3)

    asyncio.run(left_alone())
    asyncio.run(another())
    assert rounds == [[1], [3]]


def test_loops_in_two_threads_gather_each_for_itself() -> None:
    """Neither takes the other's work, or its clock."""
    gathering = Gathering[int](lambda items: None, apart=0.001)

    async def many() -> None:
        async with asyncio.timeout(10):
            for _ in range(50):
                await asyncio.gather(*(run(gathering, number) for number in range(5)))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: asyncio.run(many()), range(6)))


def test_work_outside_of_run_is_done_at_once() -> None:
    """There is nobody to share with."""
    rounds: list[list[int]] = []
    Gathering[int](rounds.append)(5)
    assert rounds == [[5]]


async def test_a_fault_in_the_work_reaches_all_that_wait() -> None:
    """None of them may take it for done."""

    def fail(items: list[int]) -> None:
        raise ZeroDivisionError

    gathering = Gathering[int](fail)
    results = await asyncio.gather(*(run(gathering, n) for n in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [ZeroDivisionError] * 3


async def test_one_that_is_cancelled_does_not_take_the_others_along() -> None:
    """A client that leaves in the same turn is nobody else's matter."""
    rounds: list[list[int]] = []
    gathering = Gathering[int](lambda items: rounds.append(sorted(items)))
    tasks = [asyncio.create_task(run(gathering, n)) for n in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), asyncio.CancelledError, type(None)]
    assert rounds == [[0, 1, 2]]
