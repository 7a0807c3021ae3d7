"""The known datasets of Figure 2, a CSV table beside this file, or one of the user's own."""

import csv
import io
from dataclasses import dataclass
from importlib import resources

from yt8m_pipeline import files
from yt8m_pipeline.errors import UsageError

TABLE = "known_datasets.csv"
COLUMNS = ("name", "year", "kind", "classes", "examples", "source")


@dataclass(frozen=True, slots=True)
class KnownDataset:
    """A dataset of images or videos.

    Attributes:
        name: Its name.
        year: The year in which it was published.
        kind: What its examples are: "images" or "videos".
        classes: The number of its classes; None where it has none.
        examples: The number of its images or videos.
        source: Where the numbers are from.
    """

    name: str
    year: int
    kind: str
    classes: int | None
    examples: int
    source: str


def read_known_datasets(path: str | None = None) -> list[KnownDataset]:
    """Reads a table of known datasets.

    >>> [dataset.classes for dataset in read_known_datasets() if dataset.name == "YouTube-8M"]
    [4800]

    Args:
        path: A CSV file with the columns of `known_datasets.csv`, local or gs://; None for that file itself.

    Raises:
        UsageError: the file is not such a table.
    """
    own = resources.files(__package__).joinpath(TABLE)
    try:
        text = (files.read_bytes(path) if path else own.read_bytes()).decode("utf-8-sig")
        rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        return [_dataset(row) for row in rows]
    except (OSError, ValueError, TypeError, KeyError, csv.Error) as error:
        why = " ".join(str(error).split())
    raise UsageError(
        what="The table of known datasets cannot be read",
        where=path or TABLE,
        why=why,
        fix=f"give a CSV file with the columns {', '.join(COLUMNS)}; year, classes and examples are whole numbers",
    )


def _dataset(row: dict[str, str]) -> KnownDataset:
    classes, examples = int(row["classes"]) if row["classes"] else None, int(row["examples"])
    if row["kind"] not in ("images", "videos"):
        raise ValueError(f"{row['name']}: the kind {row['kind']!r} is neither images nor videos")
    if examples < 1 or (classes is not None and classes < 1):
        raise ValueError(f"{row['name']}: classes and examples are at least 1")
    return KnownDataset(row["name"], int(row["year"]), row["kind"], classes, examples, row["source"])
