"""Framing, dialect and filters put together: upstream bytes in, safe bytes and a report out. Pure."""

from safeproxy.pipeline.body import BodyPipeline
from safeproxy.pipeline.lines import LinesPipeline
from safeproxy.pipeline.policy import Policy, Report
from safeproxy.pipeline.prompt import PromptVerdict, filter_prompt
from safeproxy.pipeline.reframed import Reframed
from safeproxy.pipeline.sockets import SocketPipeline
from safeproxy.pipeline.stream import StreamPipeline

__all__ = [
    "BodyPipeline",
    "LinesPipeline",
    "Policy",
    "PromptVerdict",
    "Reframed",
    "Report",
    "SocketPipeline",
    "StreamPipeline",
    "filter_prompt",
]
