"""The videos that finished datasets and videos tables need, whose features `yt8m store gc` must leave."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from yt8m_pipeline import files
from yt8m_pipeline.config import absolute_path
from yt8m_pipeline.dataset.index import read_parquet
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import Manifest
from yt8m_pipeline.dataset.rejects import failed_videos
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.store.garbage import Needs
from yt8m_pipeline.tables.headers import check_source
from yt8m_pipeline.tables.reading import find_files, read_batches


def find_needs(uris: Iterable[str]) -> Needs:
    """Reads which videos finished datasets and videos tables need.

    Args:
        uris: The folders of datasets and the places of tables, in any order.

    Raises:
        UsageError: if a place holds neither a finished dataset nor a videos table.
        DataError: if a dataset or table is damaged.
    """
    needs = Needs()
    for uri in uris:
        layout = Layout(uri)
        manifest = Manifest.find(layout)
        if manifest is None:
            needs.of_tables.update(_ids_of_table(uri))
            continue
        if not files.exists(layout.path(Layout.COMPLETE)):
            why = f"it has no {Layout.COMPLETE}: what it will need is not known yet"
            raise UsageError(what="The dataset is not finished", where=uri, why=why, fix="finish it with `yt8m build`")
        ids = needs.of_datasets.setdefault(manifest.feature_space.fingerprint, set())
        ids.update(read_parquet(layout, Layout.VIDEOS)["video_id"].to_pylist())
        ids.update(row["id"] for row in failed_videos(layout, manifest.rejects))
    return needs


def _ids_of_table(uri: str) -> Iterator[str]:
    source = replace(find_files(".", absolute_path(uri, Path.cwd()), "videos"), ignored=("labels",))
    check_source(source)
    for name in source.files:
        for outcome in read_batches(source, name):
            yield from outcome.kept["video_id"].to_pylist()
