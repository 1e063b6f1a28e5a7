"""What the commands share: options, and how errors are shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from safeproxy.errors import SafeproxyError

if TYPE_CHECKING:
    from safeproxy.core.ruleset import RuleSet

#: The exit status when what the user gave cannot be used, as click has it for wrong options.
UNUSABLE = 2
P = ParamSpec("P")
R = TypeVar("R")

rules_option = click.option(
    "--rules",
    "paths",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Rule file or folder, or `shipped`; may be repeated. [default: shipped]",
)
paths_argument = click.argument("paths", nargs=-1, type=click.Path(path_type=Path))


class Unusable(click.ClickException):
    """What the user gave cannot be used; shown as its message alone."""

    exit_code = UNUSABLE


def plain_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Turn safeproxy's own errors into a message on standard error and exit status 2."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except SafeproxyError as error:
            raise Unusable(str(error)) from None

    return run


def ruleset_of(paths: Sequence[Path]) -> RuleSet:
    """The rules of the paths; the shipped ones if there are none."""
    from safeproxy import rulesets

    return rulesets.load(paths) if paths else rulesets.shipped()
