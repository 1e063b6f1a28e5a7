"""All upstreams, and which of them a request goes to: by the beginning of its path, then by its model."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import unquote

from safeproxy.errors import ConfigError
from safeproxy.shell.keyring import KeyFile, Keyring, KeyVariable
from safeproxy.shell.sections import UpstreamSettings
from safeproxy.shell.settings import Settings
from safeproxy.shell.upstream import Upstream
from safeproxy.wire.registry import Route

#: The name of a single upstream, given by the setting ``upstream``.
DEFAULT = "default"
#: Where a path names the model: Gemini and Vertex AI, by what is to be done with it; Azure.
_MODEL_IN_PATH = re.compile(
    r"/(?:models|tunedModels)/([^/:]+):(?:\w*[gG]enerate|\w*[pP]redict|\w*[eE]mbed|count)\w*$|/openai/deployments/([^/]+)/"
)


@dataclass(frozen=True, slots=True)
class Group:
    """The upstreams for one beginning of paths, in the order of the settings; never empty."""

    prefix: str
    members: tuple[Upstream, ...]

    def below(self, path: str) -> str:
        """The path that is sent on."""
        return path.removeprefix(self.prefix) or "/"

    @property
    def by_model(self) -> bool:
        """Whether the model decides, so that it must be known."""
        return any(upstream.models for upstream in self.members)

    @property
    def route(self) -> Route | None:
        """How answers are read on paths that tell nothing, as long as it is not known who is asked."""
        return next((upstream.route for upstream in self.members if upstream.route is not None), None)

    def choose(self, model: str | None) -> Upstream | None:
        """The first that serves the model. One that is for some models also serves what names none, if it must."""
        if model is None:
            return next((upstream for upstream in self.members if not upstream.models), self.members[0])
        return next((upstream for upstream in self.members if _serves(upstream, model)), None)


class Upstreams:
    """All upstreams. Raises ConfigError where one cannot be used as the settings say.

    ``complain`` is told, by the upstream's name, of keys that cannot be read again or that are refused.
    """

    def __init__(self, settings: Settings, complain: Callable[[str, str], None]) -> None:
        self._complain = complain
        given = settings.upstreams
        if settings.upstream is not None:
            given = (UpstreamSettings(name=DEFAULT, url=settings.upstream),)
        self._all = {one.name: Upstream(one, settings, self._keyring(one)) for one in given}
        prefixes = sorted({upstream.prefix for upstream in self._all.values()}, key=len, reverse=True)
        self._groups = tuple(
            Group(prefix, tuple(upstream for upstream in self._all.values() if upstream.prefix == prefix))
            for prefix in prefixes
        )

    def under(self, raw_path: str) -> Group | None:
        """The upstreams that a request with this path may go to: those with the longest beginning that fits."""
        return next((group for group in self._groups if f"{raw_path}/".startswith(f"{group.prefix}/")), None)

    def after(self, first: Upstream) -> tuple[Upstream, ...]:
        """Whom to ask if ``first`` fails, in this order."""
        return tuple(self._all[name] for name in first.failover)

    def complain(self, upstream: Upstream, message: str) -> None:
        """Tell the operator something of an upstream."""
        self._complain(upstream.name, message)

    def reload(self) -> None:
        """Read all keys again, also those of the environment: whoever runs the proxy inside a program may set them."""
        for upstream in self._all.values():
            if upstream.keyring is not None:
                upstream.keyring.reload()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Requests can be sent while this lasts."""
        async with AsyncExitStack() as stack:
            for upstream in self._all.values():
                await stack.enter_async_context(upstream.running())
            yield

    def _keyring(self, one: UpstreamSettings) -> Keyring | None:
        if one.keys_file is not None and one.keys_env is not None:
            raise ConfigError(
                f"setting 'upstreams': {one.name!r} has its keys in 'keys_file' and in 'keys_env'; keep one of them"
            )
        if one.keys_file is not None:
            source: KeyFile | KeyVariable = KeyFile(one.keys_file)
        elif one.keys_env is not None:
            source = KeyVariable(one.keys_env)
        else:
            return None
        try:
            return Keyring(source, one.key_choice, time.monotonic, lambda message: self._complain(one.name, message))
        except ConfigError as error:
            raise ConfigError(f"upstream {one.name!r}: {error}") from None


def model_in_path(raw_path: str) -> str | None:
    """The model that a path names, None if it names none."""
    match = _MODEL_IN_PATH.search(raw_path)
    return None if match is None else unquote(match[1] or match[2])


def _serves(upstream: Upstream, model: str) -> bool:
    return not upstream.models or any(fnmatchcase(model, glob) for glob in upstream.models)
