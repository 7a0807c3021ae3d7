"""Predictions of anybody's model, read from a table: Parquet, or the CSV of the starter code of YouTube-8M.

Parquet has the columns `video_id`, `scores` list<float> and, unless each row has a score for every class, `labels`
list<int> with the class of each score. The CSV has the columns `VideoId,LabelConfidencePairs`, such as
`park-01,3 0.91 17 0.2`. Scores are in [0, 1]; a class that is not named has the score 0.
"""

import csv
import io
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, NamedTuple, NoReturn

import numpy as np
import pyarrow as pa

from yt8m_pipeline import files
from yt8m_pipeline.data_model import Float64Array, Int64Array
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.evaluation.bounds import lines, open_table, require_short

SCORES_AT_ONCE = 1 << 18
"""The number of scores, named or not, that are looked at together: 2 MB."""

MAX_ID = 1 << 13
"""The most characters of an id in a CSV."""

CSV_COLUMNS = ["VideoId", "LabelConfidencePairs"]

COLUMNS = ("video_id", "scores", "labels")
"""The columns of a table in Parquet."""


class Pairs(NamedTuple):
    """The predictions of some videos as pairs of a class and its score.

    Attributes:
        video_ids: The videos.
        first_row: The number of the first of them in the file, from 1.
        sizes: int64, (videos,): how many pairs each has.
        classes: int64, (pairs,).
        scores: float64, (pairs,).
    """

    video_ids: Sequence[str]
    first_row: int
    sizes: Int64Array
    classes: Int64Array
    scores: Float64Array


class Predictions(NamedTuple):
    """The predictions of some videos.

    Attributes:
        video_ids: The videos.
        scores: float64, (videos, classes), in [0, 1]; 0 for a class that is not predicted.
    """

    video_ids: Sequence[str]
    scores: Float64Array


def read_predictions(path: str, classes: int) -> Iterator[Predictions]:
    """Reads a table of predictions, in bounded memory.

    Args:
        path: A .parquet or .csv file, local or gs://.
        classes: The number of classes of the vocabulary.

    Raises:
        UsageError: there is no such file, it has another ending, or lacks a column.
        DataError: a row cannot be read, names a class that the vocabulary does not have or one class twice, lacks a
            score where it names no classes, or has a score that is not in [0, 1]; or the file is damaged.
    """
    readers = {"csv": _read_csv, "parquet": _read_parquet}
    ending = path.rpartition(".")[2].lower()
    if ending not in readers:
        raise UsageError(
            what="Predictions of this format cannot be read",
            where=path,
            why=f"the file ends in .{ending}",
            fix="give a .parquet or .csv file",
        )
    try:
        with files.open_read(path) as stream:
            for pairs in readers[ending](stream, path, classes):
                yield Predictions(pairs.video_ids, _matrix(pairs, path, classes))
    except FileNotFoundError:
        raise UsageError(
            what="There are no predictions", where=path, why="no such file", fix="give the path of a table"
        ) from None
    except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
        raise _damaged(path, " ".join(str(error).split())) from None


def _rows_at_once(classes: int) -> int:
    return max(1, SCORES_AT_ONCE // max(classes, 1))


def _read_parquet(stream: IO[bytes], path: str, classes: int) -> Iterator[Pairs]:
    file = open_table(stream, COLUMNS, classes)
    names = file.schema_arrow.names
    if any(names.count(name) != 1 for name in ("video_id", "scores")) or names.count("labels") > 1:
        _lacks(path, names, "video_id, scores and, where not every class has a score, labels, each once")
    first_row, columns = 1, [name for name in COLUMNS if name in names]
    for batch in file.iter_batches(_rows_at_once(classes), columns=columns):
        require_short(batch["video_id"], "video_id")
        yield _pairs_of(batch, first_row, path, classes)
        first_row += batch.num_rows


def _pairs_of(batch: pa.RecordBatch, first_row: int, path: str, classes: int) -> Pairs:
    ids = _column(batch, "video_id", pa.string(), first_row, path)
    scores = _column(batch, "scores", pa.list_(pa.float64()), first_row, path)
    if ids.null_count:
        raise _bad_row(path, first_row + ids.is_null().index(True).as_py(), "it has no video_id")
    sizes, named = _sizes(scores), _class_of_each(batch, scores, first_row, path, classes)
    return Pairs(ids.to_pylist(), first_row, sizes, named, np.asarray(scores.flatten(), np.float64))


def _column(batch: pa.RecordBatch, name: str, wanted: pa.DataType, first_row: int, path: str) -> pa.Array:
    """A column as the type that it should have, where no value is another one then."""
    try:
        return batch[name].cast(wanted)
    except pa.ArrowException as error:
        last_row, why = first_row + batch.num_rows - 1, " ".join(str(error).split())
        given = re.sub(r"dictionary<values=(\w+), [^>]*>", r"\1", str(batch[name].type))
        raise DataError(
            what="A column of the predictions has another type",
            where=f"{path}, {name}, row {first_row} to {last_row}",
            why=f"it is {given}: {why}",
            fix=f"write the column {name} as {wanted}",
        ) from None


def _sizes(lists: pa.Array) -> Int64Array:
    return np.asarray(lists.value_lengths().fill_null(0), np.int64)


def _class_of_each(batch: pa.RecordBatch, scores: pa.Array, first_row: int, path: str, classes: int) -> Int64Array:
    """The class of each score: as `labels` says, or its place in the row, which then has a score for each class."""
    sizes = _sizes(scores)
    if "labels" in batch.schema.names:
        labels = _column(batch, "labels", pa.list_(pa.int64()), first_row, path)
        differs, why = _sizes(labels) != sizes, "it has not as many labels as scores"
        named = np.asarray(labels.flatten().fill_null(-1), np.int64)
    else:
        differs, why = (
            sizes != classes,
            f"it has no labels, and not as many scores as the vocabulary has classes: {classes}",
        )
        named = np.tile(np.arange(classes), len(sizes))
    if differs.any():
        raise _bad_row(path, first_row + int(differs.argmax()), why)
    return named


def _read_csv(stream: IO[bytes], path: str, classes: int) -> Iterator[Pairs]:
    text = io.TextIOWrapper(stream, "utf-8-sig", "backslashreplace", newline="")
    reader = csv.reader(lines(text))
    names = next(reader, [])
    if names != CSV_COLUMNS:
        _lacks(path, names, ",".join(CSV_COLUMNS))
    first_row = 1
    while (found := _parsed(itertools.islice(reader, _rows_at_once(classes)), first_row, path, classes)).video_ids:
        yield found
        first_row += len(found.video_ids)


def _parsed(rows: Iterable[Sequence[str]], first_row: int, path: str, classes: int) -> Pairs:
    ids, numbers, sizes = list[str](), list[float](), list[int]()
    for row, cells in enumerate(rows, first_row):
        try:
            video_id, pairs = cells
            values = [float(number) for number in pairs.split()]
        except ValueError as error:
            raise _bad_row(path, row, str(error)) from None
        if len(values) % 2 or any(label % 1 for label in values[::2]):
            raise _bad_row(path, row, "its pairs are no whole number and a score each")
        if len(video_id) > MAX_ID:
            raise _bad_row(path, row, f"its video_id has more than {MAX_ID:,} characters")
        ids.append(video_id)
        numbers += values[: 2 * classes + 2]  # what has more pairs than classes names one twice
        sizes.append(min(len(values) // 2, classes + 1))
    flat = np.array(numbers, np.float64)
    return Pairs(ids, first_row, np.array(sizes, np.int64), flat[::2].astype(np.int64), flat[1::2])


def _matrix(pairs: Pairs, path: str, classes: int) -> Float64Array:
    """The scores of all classes: float64, (videos, classes)."""
    videos = np.repeat(np.arange(len(pairs.sizes)), pairs.sizes)
    for wrong, why in (
        (~((pairs.scores >= 0) & (pairs.scores <= 1)), "a score is not in [0, 1]"),
        ((pairs.classes < 0) | (pairs.classes >= classes), f"a class is none of the {classes} of the vocabulary"),
    ):
        if wrong.any():
            raise _bad_row(path, pairs.first_row + int(videos[wrong.argmax()]), why)
    cells = videos * classes + pairs.classes
    unique, counts = np.unique(cells, return_counts=True)
    if len(unique) < len(cells):
        row = pairs.first_row + int(unique[counts.argmax()] // classes)
        raise _bad_row(path, row, "it names a class twice")
    scores = np.zeros((len(pairs.sizes), classes))
    scores[videos, pairs.classes] = pairs.scores
    return scores


def _lacks(path: str, names: Sequence[str], wanted: str) -> NoReturn:
    raise UsageError(
        what="This is no table of predictions",
        where=path,
        why=f"its columns are {', '.join(names) or 'none'}",
        fix=f"give one with the columns {wanted}",
    )


def _bad_row(path: str, row: int, why: str) -> DataError:
    return DataError(
        what="A prediction cannot be read", where=f"{path}, row {row}", why=why, fix="correct the row, or predict again"
    )


def _damaged(path: str, why: str) -> DataError:
    return DataError(what="The predictions cannot be read to their end", where=path, why=why, fix="copy the file again")
