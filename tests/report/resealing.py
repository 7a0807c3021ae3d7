"""Datasets whose tables a test has changed, with a manifest that lists them as they are now."""

import json
from pathlib import Path

from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import mark_complete
from yt8m_pipeline.dataset.steps import file_entry


def reseal(dataset: Path) -> None:
    """Lists the tables of a dataset as they stand, and marks it complete."""
    layout, path = Layout(str(dataset)), dataset / Layout.MANIFEST
    values = json.loads(path.read_text())
    for row in values["files"]:
        found = file_entry(layout, row["path"])
        row |= {"bytes": found.bytes, "sha256": found.sha256}
    path.write_text(json.dumps(values))
    mark_complete(layout)
