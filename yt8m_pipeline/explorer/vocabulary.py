"""The entities of a dataset as the explorer shows them: all that vocabulary.csv says of them."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass

from yt8m_pipeline import files
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.vocabulary import vocabulary_rows
from yt8m_pipeline.errors import DataError


@dataclass(frozen=True, slots=True)
class Entity:
    """One entity. Datasets that were converted may have no more than its index.

    Attributes:
        index: Its label index.
        entity_id: Its id, such as /m/04rlf.
        name: Its name; its id, or its index, where it has none.
        description: What it is.
        url: The page about it.
        verticals: Up to three verticals.
        score: The mean of the raters' scores, from 1 (visual) to 5; None where it was not rated.
        specificity: How special the raters found it: coarse, medium or fine; '' where it was not rated.
    """

    index: int
    entity_id: str
    name: str
    description: str
    url: str
    verticals: tuple[str, ...]
    score: float | None
    specificity: str

    @classmethod
    def of_row(cls, row: Mapping[str, str]) -> "Entity":
        """The entity that a row of vocabulary.csv describes."""

        def text(column: str) -> str:
            return row.get(column) or ""

        verticals = tuple(name for number in (1, 2, 3) if (name := text(f"Vertical{number}")))
        score = float(text("MeanRaterScore")) if text("MeanRaterScore") else None
        entity_id, index = text("KnowledgeGraphId"), int(row["Index"])
        named = text("Name") or entity_id or f"entity {index}"
        return cls(
            index, entity_id, named, text("WikiDescription"), text("WikiUrl"), verticals, score, text("Specificity")
        )


def read_entities(layout: Layout) -> list[Entity]:
    """The entities in the order of their label indices.

    Raises:
        DataError: vocabulary.csv is missing or damaged.
    """
    path = layout.path(Layout.VOCABULARY)
    try:
        return _parsed(files.read_bytes(path))
    except (OSError, LookupError, ValueError, csv.Error) as error:
        raise DataError(
            what="The vocabulary of the dataset cannot be read",
            where=path,
            why=" ".join(str(error).split()),
            fix="list all damage with `yt8m verify`; copy the dataset again, or build it again",
        ) from None


def _parsed(data: bytes) -> list[Entity]:
    entities = [Entity.of_row(row) for row in vocabulary_rows(data)]
    if [entity.index for entity in entities] != list(range(len(entities))):
        raise ValueError("its indices do not count from 0")
    return entities
