"""`predict`: the scores of a trained model for the videos of a partition, as a table that `yt8m evaluate` reads."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from yt8m_pipeline import files
from yt8m_pipeline.baselines.saved import ModelCard
from yt8m_pipeline.baselines.sources import Source, open_source, require_same
from yt8m_pipeline.data_model import Float32Array, Int64Array, Partition
from yt8m_pipeline.dataset.reader import choice
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.jobs.build_folder import require_apart
from yt8m_pipeline.jobs.progress import PROGRESS, OnProgress, observed

ALL_CLASSES = pa.schema([("video_id", pa.string()), ("scores", pa.list_(pa.float32()))])
BEST_CLASSES = ALL_CLASSES.append(pa.field("labels", pa.list_(pa.int64())))
"""The columns of a table of predictions: a score for each class, or the best classes with theirs."""


ROWS_OF_GROUP = 1_024
"""A row group has at least so many videos, 20 MB of scores of 4,800 classes: readers take at most 8,192 row groups."""


@dataclass(frozen=True)
class Predicted:
    """What a prediction did: the number of videos in the table, and the seconds by the clock on the wall."""

    videos: int
    elapsed_seconds: float


def predict(
    model_dir: str,
    dataset: str,
    output: str,
    *,
    features: str | None = None,
    partition: Partition | str = "validate",
    top: int | None = None,
    on_progress: OnProgress | None = None,
) -> Predicted:
    """Writes the scores of the best weights of a model, a row for each video in the order of the shards.

    Args:
        model_dir: The folder of a finished training.
        dataset: The folder of a finished dataset of the same feature space, PCA, codebook and classes.
        output: The table, a .parquet file; one that is there is replaced.
        features: The folder of a feature set of the dataset, if the model was trained on one.
        partition: The partition, or its name.
        top: The number of best classes of each video that are written; None for all.
        on_progress: Is told of the progress.

    Raises:
        UsageError: there is no model, dataset or partition; the dataset is not what the model was trained on; or the
            output is no .parquet file, or in the dataset or the features.
        DataError: something is unfinished or damaged.
    """
    card, part = ModelCard.of(model_dir), choice(Partition, partition, "partition")
    _require_table(output, top)
    source = open_source(card.name, dataset, features)
    for read in filter(None, (dataset, features)):
        require_apart(read, output, "A table of predictions")
    require_same(card.identity, source.identity, model_dir, dataset)
    start = time.monotonic()
    with observed(on_progress), files.open_atomic(output) as stream:
        schema = ALL_CLASSES if top is None else BEST_CLASSES
        with pq.ParquetWriter(stream, schema, compression="zstd") as table:
            for rows in _grouped(_rows(model_dir, card, source, part, top)):
                table.write_table(rows)
    return Predicted(source.videos(part), time.monotonic() - start)


def _grouped(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Tables of at least `ROWS_OF_GROUP` rows, but for the last one."""
    pending: list[pa.RecordBatch] = []
    for batch in batches:
        pending.append(batch)
        if sum(item.num_rows for item in pending) >= ROWS_OF_GROUP:
            yield pa.Table.from_batches(pending)
            pending = []
    if pending:
        yield pa.Table.from_batches(pending)


def _rows(
    model_dir: str, card: ModelCard, source: Source, partition: Partition, top: int | None
) -> Iterator[pa.RecordBatch]:
    from yt8m_pipeline.baselines.models import FAMILIES  # TensorFlow takes seconds to import
    from yt8m_pipeline.baselines.networks import load_network
    from yt8m_pipeline.baselines.scoring import Scorer

    total = source.videos(partition)
    PROGRESS.info("predict: %d to do", total, extra={"stage": "predict", "total": total})
    scorer = Scorer(FAMILIES[card.name], load_network(model_dir))
    for found in scorer.scores(source, card.parsed_settings, partition):
        yield _batch(found.video_ids, found.scores, top)
        done = {"stage": "predict", "done": len(found.video_ids)}
        PROGRESS.info("predict: %d done", len(found.video_ids), extra=done)


def _batch(video_ids: list[str], scores: Float32Array, top: int | None) -> pa.RecordBatch:
    if top is None:
        return pa.record_batch([pa.array(video_ids), _lists(scores)], schema=ALL_CLASSES)
    labels = best_classes(scores, top)
    best = np.take_along_axis(scores, labels, axis=1)
    return pa.record_batch([pa.array(video_ids), _lists(best), _lists(labels)], schema=BEST_CLASSES)


def best_classes(scores: Float32Array, top: int) -> Int64Array:
    """The classes with the highest scores, best first, and of equal ones the first: int64, (videos, top)."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :top]


def _lists(rows: Float32Array | Int64Array) -> pa.ListArray:
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(rows.ravel()))


def _require_table(output: str, top: int | None) -> None:
    if not output.endswith(".parquet"):
        raise UsageError(
            what="Predictions are written as Parquet",
            where=f"--output {output}",
            why="the name has another ending",
            fix="give a file that ends in .parquet",
        )
    if top is not None and top < 1:
        raise UsageError(
            what="No class would be left of a video", where="--top", why=f"it is {top}", fix="give 1 or more"
        )
