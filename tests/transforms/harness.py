"""Runs one transform on the local engine and gives what it yields as lists."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PCollection

from yt8m_pipeline.jobs.engine import beam_pipeline

_FOUND: defaultdict[str, list[Any]] = defaultdict(list)


def run(transform: Callable[..., Any], **inputs: Iterable[Any]) -> Any:
    """Applies a function of PCollections to the given elements.

    Args:
        transform: Gets each input as a PCollection, by its name, and returns a PCollection or a NamedTuple of them.
        inputs: The elements of each input.

    Returns:
        The elements of the output as a list, or the NamedTuple with a list for each output.
    """
    _FOUND.clear()
    with beam_pipeline([]) as root:
        output = transform(**{name: root | name >> beam.Create(list(given)) for name, given in inputs.items()})
        named = {"": output} if isinstance(output, PCollection) else output._asdict()
        for name, elements in named.items():
            _ = elements | f"found {name}" >> beam.Map(_keep, name)
    return _FOUND[""] if "" in named else output._replace(**{name: _FOUND[name] for name in named})


def _keep(element: Any, name: str) -> None:
    _FOUND[name].append(element)
