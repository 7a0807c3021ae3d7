"""Errors as data: what a worker refuses stands in a small file, which the launcher reads when the engine has ended.

Engines hand the exception of a worker on as text, each in its own way, or retry it. A file says the same everywhere.
"""

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass

from yt8m_pipeline import files
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.errors import DataError, PipelineError
from yt8m_pipeline.parsing import parse_json


@dataclass(frozen=True, slots=True)
class Refusals:
    """The errors that the steps of one run have written down.

    Attributes:
        layout: The dataset, in which every worker can write these files.
        spare: A local folder for a worker that cannot write there, because a disk is full or its build no longer owns
            the dataset, say. It is of use where the worker runs on the launcher's machine.
    """

    layout: Layout
    spare: str | None = None

    def write(self, error: PipelineError) -> None:
        """Writes an error down. Where that fails everywhere, the engine's own words must do."""
        text = json.dumps({"kind": type(error).__name__, **error.parts}, sort_keys=True)
        name = f"{Layout.REFUSALS}/{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
        for place in self._places():
            with suppress(DataError):
                place.write_bytes(name, text.encode())
                return

    def first(self) -> PipelineError | None:
        """The error that was written first, as it was raised; None where there is none."""
        written = [
            (state.modified_ns, files.join(folder, name))
            for folder in (place.path(Layout.REFUSALS) for place in self._places())
            for name, state in files.list_states(folder).items()
        ]
        for _, uri in sorted(written):
            values = parse_json(files.read_bytes(uri))
            return _kinds(PipelineError)[values.pop("kind")](**values)
        return None

    def _places(self) -> list[Layout]:
        return [self.layout, *([Layout(self.spare)] if self.spare else [])]

    def clear(self) -> None:
        """Forgets the errors of earlier runs."""
        files.delete_folder(self.layout.path(Layout.REFUSALS))


def _kinds(base: type[PipelineError]) -> dict[str, type[PipelineError]]:
    """A class of errors and all its subclasses, by name."""
    found = {base.__name__: base}
    for subclass in base.__subclasses__():
        found |= _kinds(subclass)
    return found
