"""Where a request goes: the upstream's address, and which paths may pass unfiltered. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from yarl import URL

from safeproxy.errors import ClientError, ConfigError

#: Paths whose answers carry no generated text. A pattern is an optional list of methods and a path, in which
#: ``*`` stands for one segment and ``**`` for any rest; ``/v1`` in front covers the path without it too.
#: Left out on purpose: ``/v1/files/*/content`` (results of batches are answers), images (revised prompts),
#: transcriptions, stored completions and responses, threads, and all that generates.
DEFAULT_PASS_PATHS = (
    "GET|HEAD /",
    "GET|HEAD /health",
    "GET|HEAD /healthz",
    "GET|HEAD /ping",
    "GET|HEAD /version",
    "GET|HEAD|DELETE /v1/models",
    "GET|HEAD|DELETE /v1/models/**",
    "POST /v1/embeddings",
    "POST /v1/moderations",
    "POST /v1/audio/speech",
    "GET|POST /v1/files",
    "GET|DELETE /v1/files/*",
    "POST /v1/uploads",
    "POST /v1/uploads/*/parts",
    "POST /v1/uploads/*/complete",
    "POST /v1/uploads/*/cancel",
    "GET|POST /v1/batches",
    "GET /v1/batches/*",
    "POST /v1/batches/*/cancel",
    "GET|POST /v1/fine_tuning/jobs",
    "GET /v1/fine_tuning/jobs/*",
    "GET /v1/fine_tuning/jobs/*/events",
    "GET /v1/fine_tuning/jobs/*/checkpoints",
    "POST /v1/fine_tuning/jobs/*/cancel",
    "POST /v1/tokenize",
    "POST /v1/messages/count_tokens",
    "GET /openai/models",
    "GET /openai/models/*",
    "POST /openai/deployments/*/embeddings",
    "GET /v1beta/models",
    "GET /v1beta/models/*",
    "GET|HEAD /api/tags",
    "GET|HEAD /api/version",
    "GET /api/ps",
    "POST /api/show",
    "POST /api/embed",
    "POST /api/embeddings",
)

#: A first path segment that names an API version.
_VERSION = re.compile(r"/v\d+[a-z0-9]*(?=/|$)")
_PATTERN = re.compile(r"(?:(?P<methods>[A-Z]+(?:\|[A-Z]+)*) +)?(?P<path>/\S*)")
#: What a server may read in more than one way; a path with any of it matches no pattern.
_AMBIGUOUS = re.compile(r"//|/\.{1,2}(?:/|$)|[%\\;?#\x00-\x1f\x7f]")
_AMBIGUOUS_RAW = re.compile(r"%(?:2f|5c|2e|25)", re.IGNORECASE)
#: A segment that leads out of the one before it, however it is written.
_CLIMBS = re.compile(r"(?:/|%2f|\\|%5c)(?:\.|%2e){1,2}(?=/|%2f|\\|%5c|;|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Origin:
    """The upstream's address, taken apart: requests are appended to ``base``.

    ``version`` is the API version that the configured address ended in, ``""`` if none: it is put in front of
    request paths that name no version themselves, and never doubled.
    """

    base: str
    version: str

    @classmethod
    def parse(cls, address: str) -> Origin:
        """Raises ConfigError when ``address`` is not an http(s) URL that paths can be appended to."""
        try:
            url = URL(address)
        except ValueError as error:
            raise ConfigError(f"setting 'upstream': not a URL ({error}); write for example https://host/v1") from None
        if url.scheme not in ("http", "https") or not url.host:
            raise ConfigError("setting 'upstream': needs http:// or https:// and a host, for example https://host/v1")
        if url.user or url.password:
            raise ConfigError("setting 'upstream': must not hold credentials; clients send their own in a header")
        if url.query_string or url.fragment:
            raise ConfigError("setting 'upstream': must not have a query or a fragment; remove it")
        path = url.raw_path.rstrip("/")
        cut = path.rfind("/")
        version = path[cut:] if cut >= 0 and _VERSION.fullmatch(path, cut) else ""
        return cls(f"{url.scheme}://{url.raw_authority}{path.removesuffix(version)}", version)

    def url(self, raw_path: str, raw_query: str) -> URL:
        """The address for a request; path and query keep their percent-encoding byte for byte.

        It is always one below the upstream's: raises ClientError for a path that could lead out of that, or into the
        name of the host.
        """
        if not raw_path.startswith("/") or _CLIMBS.search(raw_path):
            raise ClientError("the path has to begin with / and must not have . or .. as a segment")
        version = "" if _VERSION.match(raw_path) else self.version
        query = f"?{raw_query}" if raw_query else ""
        return URL(f"{self.base}{version}{raw_path}{query}", encoded=True)


@dataclass(frozen=True, slots=True)
class PassPaths:
    """The paths that may pass unfiltered."""

    patterns: tuple[tuple[frozenset[str] | None, re.Pattern[str]], ...]

    @classmethod
    def parse(cls, patterns: tuple[str, ...]) -> PassPaths:
        """Raises ConfigError naming the pattern that cannot be read."""
        return cls(tuple(_compiled(pattern) for pattern in patterns))

    def allow(self, method: str, path: str, raw_path: str) -> bool:
        """Whether the request may pass; ``path`` is the decoded form of ``raw_path``.

        A path that a server might read otherwise than written here never may: ``/v1/models/../chat/completions``.
        """
        if _AMBIGUOUS.search(path) or _AMBIGUOUS_RAW.search(raw_path):
            return False
        return any((methods is None or method in methods) and glob.fullmatch(path) for methods, glob in self.patterns)


def _compiled(pattern: str) -> tuple[frozenset[str] | None, re.Pattern[str]]:
    match = _PATTERN.fullmatch(pattern.strip())
    if match is None:
        raise ConfigError(
            f"setting 'pass_paths': {pattern!r} is not a pattern; write a path such as /v1/files/*, "
            "with methods in front if need be: GET|HEAD /v1/files/*"
        )
    methods = match["methods"]
    path = match["path"]
    start = ""
    if path.startswith("/v1/"):
        start, path = "(?:/v1)?", path.removeprefix("/v1")
    pieces = re.split(r"(\*\*|\*)", path if path == "/" else path.rstrip("/"))
    glob = "".join({"**": ".+", "*": "[^/]+"}.get(piece) or re.escape(piece) for piece in pieces)
    return (frozenset(methods.split("|")) if methods else None), re.compile(f"{start}{glob}/?")
