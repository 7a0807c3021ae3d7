"""Steps that say why they refuse: an error of ours that is raised in a worker is written down for the launcher."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from inspect import isgeneratorfunction
from typing import Any

import apache_beam as beam

import yt8m_pipeline.transforms.coders  # noqa: F401  registers them
from yt8m_pipeline.errors import DataError, PipelineError
from yt8m_pipeline.jobs.refusals import Refusals

_REFUSALS: ContextVar[Refusals | None] = ContextVar("refusals", default=None)


@contextmanager
def refusing_to(refusals: Refusals) -> Iterator[None]:
    """Lets the steps that are made in this block write their errors there."""
    token = _REFUSALS.set(refusals)
    try:
        yield
    finally:
        _REFUSALS.reset(token)


def Map(function: Callable[..., Any], *arguments: Any, **named: Any) -> beam.ParDo:  # noqa: N802  as Beam calls it
    """A `beam.Map` that writes its errors down."""
    return beam.Map(_noting(function), *arguments, **named)


def FlatMap(function: Callable[..., Any], *arguments: Any, **named: Any) -> beam.ParDo:  # noqa: N802
    """A `beam.FlatMap` that writes its errors down."""
    return beam.FlatMap(_noting(function), *arguments, **named)


def Passes(check: Callable[..., None], *arguments: Any) -> beam.ParDo:  # noqa: N802
    """A `beam.Map` to whether a check passes.

    What it refuses is written down and becomes a verdict: an engine may try a step that raises again, up to four times.
    """
    refusals = _REFUSALS.get()

    def passes(*given: Any) -> bool:
        try:
            check(*given)
        except DataError as error:
            if refusals is None:
                raise
            refusals.write(error)
            return False
        return True

    return beam.Map(passes, *arguments)


class NotingDoFn(beam.DoFn):
    """A DoFn that writes its errors down."""

    _refusals: Refusals | None

    def __init_subclass__(cls) -> None:
        process: Callable[..., Iterator[Any]] = cls.process

        @wraps(process)
        def noted(self: NotingDoFn, *arguments: Any, **named: Any) -> Iterator[Any]:
            with _noted(self._refusals):
                yield from process(self, *arguments, **named)

        cls.process = noted  # type: ignore[assignment]

    def __new__(cls, *_: Any, **__: Any) -> "NotingDoFn":
        self = super().__new__(cls)
        self._refusals = _REFUSALS.get()
        return self


def _noting(function: Callable[..., Any]) -> Callable[..., Any]:
    refusals = _REFUSALS.get()

    @wraps(function)
    def generate(*arguments: Any, **named: Any) -> Iterator[Any]:
        with _noted(refusals):
            yield from function(*arguments, **named)

    @wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        with _noted(refusals):
            return function(*arguments, **named)

    return generate if isgeneratorfunction(function) else call


@contextmanager
def _noted(refusals: Refusals | None) -> Iterator[None]:
    try:
        yield
    except PipelineError as error:
        if refusals:
            refusals.write(error)
        raise
