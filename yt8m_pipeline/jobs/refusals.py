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
    """The errors that the steps of one run have written down.

    Attributes:
        folder: The folder of these files, which every worker can write.
        spare: A local folder for a worker that cannot write there, because a disk is full, say. It is of use where the
            worker runs on the launcher's machine.
    """

    folder: str
    spare: str | None = None

    def write(self, error: PipelineError) -> None:
        """Writes an error down. Where that fails everywhere, the engine's own words must do."""
        text = json.dumps({"kind": type(error).__name__, **error.parts}, sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()[:16]
        for folder in self._folders():
            with suppress(DataError):
                files.write_bytes(files.join(folder, f"{name}.json"), text.encode())
                return

    def first(self) -> PipelineError | None:
        """The error that was written first, as it was raised; None where there is none."""
        written = [
            (state.modified_ns, files.join(folder, name))
            for folder in self._folders()
            for name, state in files.list_states(folder).items()
        ]
        for _, uri in sorted(written):
            values = json.loads(files.read_bytes(uri))
            return _kinds(PipelineError)[values.pop("kind")](**values)
        return None

    def _folders(self) -> list[str]:
        return [folder for folder in (self.folder, self.spare) if folder]

    def clear(self) -> None:
        """Forgets the errors of earlier runs."""
        files.delete_folder(self.folder)


def _kinds(base: type[PipelineError]) -> dict[str, type[PipelineError]]:
    """A class of errors and all its subclasses, by name."""
    found = {base.__name__: base}
    for subclass in base.__subclasses__():
        found |= _kinds(subclass)
    return found
