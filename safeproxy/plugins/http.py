"""Models behind HTTP: a moderation endpoint, or a guard model behind a chat completions server.

A rule names a settings file (``model: moderation.yaml``)::

    kind: moderation                    # or guard
    url: http://127.0.0.1:8000/v1/moderations
    model: omni-moderation-latest       # what the request names; may be left out
    labels: [harassment, violence]      # the categories that rules may take
    bearer: MODERATION_KEY              # environment variable whose value goes into `Authorization: Bearer`
    headers: {x-team: TEAM_NAME}        # other headers, each from an environment variable
    deadline: 2.0                       # seconds for a sentence; concurrency, waiting, faults, rest: see `HttpSettings`

Each sentence of a text is one request; one that is flagged is one finding over the whole sentence, its label the
category. A credential never stands in the file, in an error or in a record. Redirects are not followed.
"""

from __future__ import annotations

import asyncio
import atexit
import hashlib
import json
import os
import threading
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import Future
from functools import cache
from typing import Any, Literal, TypeVar

import aiohttp
from pydantic import Field, model_validator
from yarl import URL

from safeproxy import suspend
from safeproxy.core.windows import MAX_WINDOW, Found, Windows
from safeproxy.errors import RuleError
from safeproxy.plugins.guard import Breaker, Fault, Guard, PluginError
from safeproxy.plugins.model import Facts, WindowedModel
from safeproxy.plugins.settings import Limits, read

#: Longest answer that is read, in bytes.
MAX_ANSWER = 64 << 10
#: The categories of Llama Guard, which speaks of the hazards of MLCommons; "unsafe" stands for any of them.
GUARD_LABELS = ("unsafe", *(f"S{number}" for number in range(1, 15)))

T = TypeVar("T")


class HttpSettings(Limits):
    """What a settings file says."""

    kind: Literal["moderation", "guard"]
    url: str
    model: str = ""
    labels: tuple[str, ...] = ()
    judge_by: Literal["flags", "scores"] = Field(
        default="flags",
        description="Of a moderation endpoint: its own flags, or its scores, which each rule's threshold judges.",
    )
    bearer: str = ""
    headers: Mapping[str, str] = Field(default_factory=dict)
    concurrency: int = Field(default=8, ge=1, le=1000, description="Most requests at a time.")
    window: int = Field(default=MAX_WINDOW, ge=100, le=4000, description="Longest sentence, in code points.")

    @model_validator(mode="after")
    def _check(self) -> HttpSettings:
        url = URL(self.url)
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError("url: expected http://... or https://...")
        if url.user or url.password:
            raise ValueError(
                "url: expected no credentials in it; name an environment variable in 'bearer' or 'headers'"
            )
        for key, name in {"bearer": self.bearer, **self.headers}.items():
            if name and not name.isidentifier():
                raise ValueError(f"{key}: expected the name of an environment variable")
        if self.kind == "moderation" and not self.labels:
            raise ValueError("labels: expected the categories of the endpoint that rules may take")
        return self


def load(model: str) -> HttpModel:
    """The model of a settings file. Raises RuleError. Nothing is asked before the first sentence."""
    if not model:
        raise RuleError("the detector 'http' needs a settings file; name it in the rule's 'model'")
    return HttpModel(model, read(model, HttpSettings))


class HttpModel(WindowedModel):
    """A model behind HTTP. A `Scorer` as well."""

    def __init__(self, name: str, settings: HttpSettings) -> None:
        labels = settings.labels or GUARD_LABELS
        decides = settings.model_dump_json(include={"kind", "url", "model", "labels", "judge_by", "window"})
        facts = Facts(labels, settings.model, hashlib.sha256(decides.encode()).hexdigest())
        self._client = HttpClient(f"http ({name})", settings, labels)
        super().__init__(name, facts, self._client, settings.window)

    def scores(self, text: str) -> Mapping[str, float]:
        """The highest score of any sentence in each category. Raises DetectorError."""
        windows = Windows(self.longest)
        highest = dict.fromkeys(self.labels, 0.0)
        for window in (*windows.feed(text), *windows.finish()):
            for label, score in suspend.wait(self._client.ask_scores(window.text)).items():
                highest[label] = max(highest[label], score)
        return highest


class HttpClient:
    """Asks the server, on an event loop of its own thread, so that it can be asked from any other."""

    waits = True

    def __init__(self, detector: str, settings: HttpSettings, labels: Sequence[str]) -> None:
        self._detector = detector
        self._settings = settings
        self._labels = labels
        self._headers = _headers(settings)
        self._guard = Guard(detector, settings.concurrency + settings.waiting, Breaker(settings.faults, settings.rest))
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._background = _background()
        self.at_once = min(4, settings.concurrency)
        self.faults = self._guard.faults
        atexit.register(self.close)

    def ask(self, text: str) -> Future[Sequence[Found]]:
        """The answer to come, which raises PluginError if at all. Raises PluginError when nothing may be asked."""
        return self._guard.ask(lambda: self._background.submit(self._found(text)))

    def ask_scores(self, text: str) -> Future[Mapping[str, float]]:
        """The same, but for the scores of all categories."""
        return self._guard.ask(lambda: self._background.submit(self._scores(text)))

    def close(self) -> None:
        """Close the connections."""
        atexit.unregister(self.close)
        self._background.submit(self._close()).result()

    async def _close(self) -> None:
        self._closed = True
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _found(self, text: str) -> Sequence[Found]:
        verdicts = await self._asked(text)
        if self._settings.judge_by == "scores":
            return [Found(0, len(text), label, score) for label, (_, score) in verdicts.items()]
        return [Found(0, len(text), label, 1.0) for label, (flagged, _) in verdicts.items() if flagged]

    async def _scores(self, text: str) -> Mapping[str, float]:
        return {label: score for label, (_, score) in (await self._asked(text)).items()}

    async def _asked(self, text: str) -> dict[str, tuple[bool, float]]:
        """Of each label whether the text is flagged with it, and its score."""
        try:
            async with asyncio.timeout(self._settings.deadline):
                answer = await self._post(_request(self._settings, text))
        except TimeoutError:
            raise PluginError(self._detector, Fault.LATE) from None
        except (aiohttp.ClientError, OSError) as error:
            raise PluginError(self._detector, Fault.UNREACHABLE, type(error).__name__) from None
        except ValueError as error:  # a header that cannot be sent, say
            raise PluginError(self._detector, Fault.RAISED, type(error).__name__) from None
        understand = _moderation if self._settings.kind == "moderation" else _safe_or_unsafe
        try:
            return understand(json.loads(answer), self._labels)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            raise PluginError(self._detector, Fault.MALFORMED) from None

    async def _post(self, request: bytes) -> bytes:
        """The answer's body. Asks once more when a connection breaks: one that was kept open may have been closed."""
        try:
            return await self._post_once(request)
        except (aiohttp.ServerDisconnectedError, ConnectionResetError):
            return await self._post_once(request)

    async def _post_once(self, request: bytes) -> bytes:
        if self._closed:
            raise PluginError(self._detector, Fault.CLOSED)
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=self._settings.concurrency)
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=aiohttp.ClientTimeout(), cookie_jar=aiohttp.DummyCookieJar()
            )
        url, headers = self._settings.url, self._headers
        async with self._session.post(url, data=request, headers=headers, allow_redirects=False) as response:
            if response.status != 200:
                raise PluginError(self._detector, Fault.STATUS, str(response.status))
            body = b""
            async for piece in response.content.iter_any():
                body += piece
                if len(body) > MAX_ANSWER:
                    raise PluginError(self._detector, Fault.TOO_LARGE)
        return body


def _headers(settings: HttpSettings) -> dict[str, str]:
    """The headers with what the environment holds. Raises RuleError, naming the key whose variable is not set."""
    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
    for header, variable in settings.headers.items():
        headers[header] = _variable(variable, f"headers.{header}")
    if settings.bearer:
        headers["Authorization"] = f"Bearer {_variable(settings.bearer, 'bearer')}"
    return headers


def _variable(name: str, key: str) -> str:
    """The environment variable's value. Its name is not shown: a credential may stand there by mistake."""
    value = os.environ.get(name, "")
    if not value:
        raise RuleError(
            f"the detector 'http': the environment variable that {key!r} names is not set; "
            "expected the name of a variable that holds the credential"
        )
    return value


def _request(settings: HttpSettings, text: str) -> bytes:
    request: dict[str, Any] = {"model": settings.model} if settings.model else {}
    if settings.kind == "moderation":
        request["input"] = text
    else:
        request |= {"messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": 64}
    return json.dumps(request).encode()


def _moderation(answer: Any, labels: Sequence[str]) -> dict[str, tuple[bool, float]]:
    """What a moderation endpoint answers; a category that it does not speak of makes it unreadable."""
    (result,) = answer["results"]
    verdicts = {}
    scores = result.get("category_scores")
    for label in labels:
        flagged = result["categories"][label]
        score = float(flagged if scores is None else scores[label])
        if not isinstance(flagged, bool) or not 0 <= score <= 1:
            raise ValueError
        verdicts[label] = flagged, score
    return verdicts


def _safe_or_unsafe(answer: Any, labels: Sequence[str]) -> dict[str, tuple[bool, float]]:
    """What a guard model answers: ``safe``, or ``unsafe`` and the categories in the next line."""
    verdict, *more = answer["choices"][0]["message"]["content"].split(maxsplit=1)
    if verdict not in ("safe", "unsafe"):
        raise ValueError
    flagged = {"unsafe"} if verdict == "unsafe" else set()
    if flagged and more:
        flagged |= {category.strip() for category in more[0].split(",")}
    return {label: (label in flagged, float(label in flagged)) for label in labels}


class _Background:
    """An event loop in a thread of its own, until the process ends."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="safeproxy-http")
        self._thread.start()
        atexit.register(self._stop)

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """The work's result to come."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


@cache
def _background() -> _Background:
    return _Background()
