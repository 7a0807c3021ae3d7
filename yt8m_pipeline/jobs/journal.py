"""The journal of a build: which steps have finished, each with a key of everything it depends on.

A step (the PCA, the codebook, one shard) is done when the journal holds its key and its files stand with the sizes
that were written. While a build runs, the journal is a folder of small files, one per step, so that a killed build
goes on where it stopped. Beneath them lies the manifest of the dataset that was finished last in the same folder: its
steps count as long as the journal has nothing newer of the same name. When a build ends, its manifest takes over.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

from yt8m_pipeline import files
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import Manifest
from yt8m_pipeline.dataset.steps import Step, is_intact
from yt8m_pipeline.files import FileState
from yt8m_pipeline.parsing import parse_json


@dataclass(frozen=True, slots=True)
class Journal:
    """The journal of the dataset in a folder."""

    layout: Layout

    def find(self, name: str, key: str, *, intact: bool = False) -> Step | None:
        """The step, if it was finished with this key and its files still stand.

        Args:
            name: The step's name.
            key: Everything that it depends on.
            intact: Whether the bytes of its files are looked at too, as those are that other steps read.
        """
        step = self._recorded(name)
        if step is None or step.key != key:
            return None
        return step if self._stands(step, intact=intact) else None

    def forget(self, name: str) -> None:
        """Says that a step is not done: call it before its files are written, which a kill may leave half changed."""
        self.layout.write_bytes(_path(name), b"")

    def record(self, step: Step) -> Step:
        """Says that a step is done, when its files stand."""
        self.layout.write_bytes(_path(step.name), json.dumps(step.to_json(), sort_keys=True).encode())
        return step

    @property
    def has_news(self) -> bool:
        """Whether any step was begun since the manifest took over."""
        return bool(files.list_states(self.layout.path(Layout.JOURNAL)))

    def clear(self) -> None:
        """Removes what the manifest has taken over."""
        files.delete_folder(self.layout.path(Layout.JOURNAL))

    def _recorded(self, name: str) -> Step | None:
        """What is known of a step; what does not parse was not done."""
        path = self.layout.path(_path(name))
        if not files.exists(path):
            return self._finished().get(name)
        try:
            return Step.from_json(parse_json(files.read_bytes(path)))
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def _finished(self) -> Mapping[str, Step]:
        """The steps of the dataset that was finished last, by name."""
        state = files.state(self.layout.path(Layout.MANIFEST))
        return finished_steps(self.layout, state) if state else {}

    def _stands(self, step: Step, *, intact: bool) -> bool:
        if intact:
            return all(is_intact(self.layout, file) for file in step.files)
        return all(files.file_size(self.layout.path(file.path)) == file.bytes for file in step.files)


def _path(name: str) -> str:
    """The path of a step's file in the dataset."""
    return f"{Layout.JOURNAL}/{quote(name, safe='')}.json"


@lru_cache(maxsize=1)
def finished_steps(layout: Layout, state: FileState) -> Mapping[str, Step]:  # noqa: ARG001  part of the cache's key
    """The steps of a manifest as it stands, read once in each process."""
    manifest = Manifest.find(layout)
    return {step.name: step for step in manifest.steps()} if manifest else {}
