"""Answers the proxy gives in its own name, in the shape of the API that was asked."""

from __future__ import annotations

import json

from multidict import CIMultiDict

from safeproxy.wire.dialect import Dialect


class Refusal(Exception):  # noqa: N818 - an answer, not a fault
    """The request gets this answer instead of one from the upstream. Raised before any byte has left.

    ``ended`` is what the record says; ``retry`` tells SDKs whether to ask again (they retry 5xx by default).
    ``headers`` go along with the answer. ``native`` is content type and body where they are no error of the API's.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        ended: str = "refused",
        retry: bool = False,
        headers: CIMultiDict[str] | None = None,
        native: tuple[str, bytes] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.ended = ended
        self.retry = retry
        self.headers = CIMultiDict() if headers is None else headers
        self.native = native

    def body(self, dialect: Dialect | None) -> bytes:
        """The answer's body; without a dialect the widespread ``{"error": {...}}``."""
        if self.native is not None:
            return self.native[1]
        if dialect is not None:
            return dialect.error_body(self.message, status=self.status, code=self.code)
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        if self.status == 429:
            kind = "rate_limit_error"
        error = {"message": self.message, "type": kind, "param": None, "code": self.code}
        return json.dumps({"error": error}).encode()
