"""Errors as data: what a worker refuses stands in a small file, which the launcher reads when the engine has ended.

Engines hand the exception of a worker on as text, each in its own way, or retry it. A file says the same everywhere.
"""

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass

from yt8m_pipeline import files
from yt8m_pipeline.errors import DataError, PipelineError


@dataclass(frozen=True, slots=True)
class Refusals:
    """The errors that the steps of one run have written down, in a folder of their own."""

    folder: str

    def write(self, error: PipelineError) -> None:
        """Writes an error down. Where that fails too, the engine's own words must do."""
        text = json.dumps({"kind": type(error).__name__, **error.parts}, sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()[:16]
        with suppress(DataError):
            files.write_bytes(files.join(self.folder, f"{name}.json"), text.encode())

    def first(self) -> PipelineError | None:
        """The error that was written first, as it was raised; None where there is none."""
        states = files.list_states(self.folder)
        for name in sorted(states, key=lambda name: (states[name].modified_ns, name)):
            values = json.loads(files.read_bytes(files.join(self.folder, name)))
            return _kinds(PipelineError)[values.pop("kind")](**values)
        return None

    def clear(self) -> None:
        """Forgets the errors of earlier runs."""
        files.delete_folder(self.folder)


def _kinds(base: type[PipelineError]) -> dict[str, type[PipelineError]]:
    """A class of errors and all its subclasses, by name."""
    found = {base.__name__: base}
    for subclass in base.__subclasses__():
        found |= _kinds(subclass)
    return found
