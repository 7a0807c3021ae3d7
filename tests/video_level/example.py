"""A tiny set of video-level features that is written on the spot: three videos, two classes."""

from pathlib import Path

import numpy as np

from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.file_list import ListedFile, write_list
from yt8m_pipeline.dataset.layout import Layout, Shard
from yt8m_pipeline.dataset.manifest import mark_complete
from yt8m_pipeline.dataset.steps import file_entry
from yt8m_pipeline.video_level.feature_list import FORMAT, LIST, FeatureList
from yt8m_pipeline.video_level.names import Blocks, Source, Space
from yt8m_pipeline.video_level.writing import Labelled, parquet_file, write_vectors

CONTENTS: dict[Partition, list[tuple[str, tuple[int, ...] | None, list[float]]]] = {
    Partition.TRAIN: [("a", (0, 1), [1.0, 0.0]), ("b", (1,), [-0.6, 0.8])],
    Partition.VALIDATE: [("d", (1,), [0.6, 0.8])],
    Partition.TEST: [("e", None, [0.0, -1.0])],
}


def write_features(folder: Path) -> str:
    """Writes the feature set to a folder, and gives its path."""
    layout, listed = Layout(str(folder)), []
    layout.write_bytes(Layout.VOCABULARY, b"Index,TrainVideoCount,KnowledgeGraphId,Name\n0,1,/m/a,Cat\n1,2,/m/b,\n")
    for partition, videos in CONTENTS.items():
        shard = Shard(partition, 0, 1)
        labelled = [Labelled(video_id, labels) for video_id, labels, _ in videos]
        vectors = np.array([vector for _, _, vector in videos], np.float32)
        write_vectors(layout, shard, labelled, [vectors])
        paths = (shard.file("video"), parquet_file(shard))
        listed += [ListedFile.of(file_entry(layout, path), len(videos), partition) for path in paths]
    listed.append(ListedFile.of(file_entry(layout, Layout.VOCABULARY)))
    told = FeatureList(
        format=FORMAT,
        version="0.2.0",
        key="key",
        build_key="build key",
        feature_space="space",
        frame_pca=None,
        source=Source.CODES,
        space=Space.PCA,
        blocks=Blocks.MU_SIGMA,
        top=0,
        described=4,
        dimensions=2,
        pca=None,
        model=None,
        warnings=(),
        files=tuple(listed),
    )
    write_list(layout, LIST, told)
    mark_complete(layout, LIST)
    return str(folder)
