"""What has been built already: each step by its name and the key of everything it depends on.

A step (the PCA, the codebook, one shard) is done when the journal holds its key and its files stand with the sizes
that were written. While a build runs the journal is a folder of small files, one per step, so that a killed build
goes on where it stopped; when it ends the manifest takes the entries over.
"""

import json
from dataclasses import dataclass
from urllib.parse import quote

from yt8m_pipeline import files
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.steps import Step


@dataclass(frozen=True, slots=True)
class Journal:
    """The journal of the dataset in a folder."""

    layout: Layout

    def find(self, name: str, key: str) -> Step | None:
        """The step, if it was finished with this key and its files still stand."""
        path = self._path(name)
        if not files.exists(path):
            return None
        step = Step.from_json(json.loads(files.read_bytes(path)))
        return step if step.key == key and self._stands(step) else None

    def record(self, step: Step) -> Step:
        files.write_bytes(self._path(step.name), json.dumps(step.to_json(), sort_keys=True).encode())
        return step

    def clear(self) -> None:
        files.delete_folder(self.layout.path(Layout.JOURNAL))

    def _path(self, name: str) -> str:
        return self.layout.path(f"{Layout.JOURNAL}/{quote(name, safe='')}.json")

    def _stands(self, step: Step) -> bool:
        return all(files.file_size(self.layout.path(file.path)) == file.bytes for file in step.files)
