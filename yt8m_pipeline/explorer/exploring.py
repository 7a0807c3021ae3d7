"""Writing the explorer of a dataset: what is read, drawn and compared becomes chunks of data beside the page.

| chunk | what it holds |
| --- | --- |
| `site` | numbers of the dataset and of the site, verticals, the funnel: what every page needs |
| `entities/N` | rows of entities, those with most videos first |
| `texts/N` | the descriptions of the same entities |
| `entity/INDEX` | an entity's page |
| `partition/NAME` | the grid of a partition |
| `videos/BUCKET` | the pages of videos, by a hash of the id |
| `map/N` | the points of the map |
| `rejected/BUCKET` | why ids are not in the dataset, by a hash of the id |
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, TypeAlias

import numpy as np

from yt8m_pipeline import __version__, files
from yt8m_pipeline.data_model import Int64Array
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import Manifest, require_intact_tables
from yt8m_pipeline.dataset.reader import FinishedDataset, open_dataset
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.explorer.chunks import Buckets, amount, bucket_of, chunk, chunk_path
from yt8m_pipeline.explorer.drawing import Drawn, draw
from yt8m_pipeline.explorer.folder import SiteFolder
from yt8m_pipeline.explorer.media import Media
from yt8m_pipeline.explorer.rejected import UNASKED, funnel, gather_rejects
from yt8m_pipeline.explorer.similarity import Neighbours, near_duplicate, neighbours, plane, read_means
from yt8m_pipeline.explorer.sources import Sources
from yt8m_pipeline.explorer.videos import PARTITIONS, Batch, read_batches
from yt8m_pipeline.explorer.vocabulary import Entity, read_entities
from yt8m_pipeline.report.coefficients import store_beside
from yt8m_pipeline.store.thumbnails import FOLDER as THUMBNAILS
from yt8m_pipeline.store.thumbnails import Thumbnails

LOGGER = logging.getLogger(__name__)

ENTITIES_OF_CHUNK = 500
"""The entities of a chunk, some 40 kB: what the first page of a large vocabulary loads."""

TEXTS_OF_CHUNK = 100
"""The descriptions of a chunk: some 40 kB, where they have 400 characters each."""

VIDEOS_OF_BUCKET = 50
"""The videos of a chunk, on average. The page of one loads all, some 40 kB."""

POINTS_OF_CHUNK = 5_000
"""The points of a chunk of the map."""

TOGETHER = 24
"""How many entities are named that most often occur together with an entity."""

PAGE = ("index.html", "app.js", "style.css", "icon.svg")
"""The files of the page itself."""

DETAILS = (
    "video_id",
    "frames",
    "decoded_fraction",
    "deviation_seconds",
    "uri",
    "duration_seconds",
    "view_count",
    "codec",
    "width",
    "height",
    "frame_rate",
    "file_bytes",
    "shard",
    "video_offset",
    "video_bytes",
)
"""The columns of videos.parquet that a page tells of, and those by which its features are found."""

Card: TypeAlias = list[Any]
"""A video in a grid: its id, row, number of thumbnails, partition, seconds, and share of sound frames."""

OnStep: TypeAlias = Callable[[str, int, int | None], None]
"""Hears of progress: the stage, how much of it was done since, and of how much, where that is known."""


@dataclass(frozen=True, slots=True)
class Explored:
    """What was written.

    Attributes:
        videos: How many videos the dataset has.
        shown: How many of them have a page.
        compared: How many of these were compared, and are on the map.
        entities: How many entities there are.
        pictures: How many videos have thumbnails in the site.
        files: How many files the site has.
        bytes: How many bytes they have.
        first_view_bytes: How many of them the first view loads.
        notes: What the site leaves out, and why.
    """

    videos: int
    shown: int
    compared: int
    entities: int
    pictures: int
    files: int
    bytes: int
    first_view_bytes: int
    notes: tuple[str, ...]


def unheard(_stage: str, _done: int, _total: int | None) -> None:
    """Hears of progress, and tells nobody."""


def explore(
    dataset: str,
    output: str,
    *,
    store: str | None = None,
    media: Media = Media.URIS,
    media_root: str | None = None,
    videos_per_entity: int = 200,
    with_withheld: bool = False,
    on_step: OnStep = unheard,
) -> Explored:
    """Writes the explorer of a finished dataset. The same dataset and arguments make the same bytes.

    Args:
        dataset: The folder of the dataset, local or gs://.
        output: The folder of the site, local or gs://; new, empty, or with a site in it, which is replaced.
        store: The feature store that has the thumbnails; by default `features` beside the dataset, if it is there.
        media: Whether the site has the uris of the videos.
        media_root: What relative uris are relative to, a local folder or a uri; a dataset does not say it.
        videos_per_entity: The most videos of the grid of an entity, and of a partition.
        with_withheld: Whether the labels of test that are withheld are shown.
        on_step: Hears of progress.

    Raises:
        UsageError: there is no dataset or store, the output is not ours, or withheld labels are asked for that are not
            there.
        DataError: the dataset is unfinished or damaged, or the site cannot be written.
    """
    opened = open_dataset(dataset)
    manifest = Manifest.of(opened.layout)
    require_intact_tables(opened.layout, manifest, Layout.VIDEOS, Layout.VOCABULARY)
    site = _Site(
        dataset=opened,
        manifest=manifest,
        entities=read_entities(opened.layout),
        thumbnails=_thumbnails(dataset, store),
        sources=Sources(output, media_root) if media is Media.URIS else None,
        most=videos_per_entity,
        with_withheld=with_withheld,
        folder=SiteFolder(output),
        on_step=on_step,
    )
    site.folder.require_ours(dataset)
    drawn = draw(site.batches("count", ["video_id"]), site.kinds, videos_per_entity)
    site.folder.begin(__version__)
    mapped = _write_thumbnails(site, drawn)
    alike = _write_map(site, mapped)
    _write_videos(site, drawn, mapped, alike)
    _write_entities(site, drawn)
    _write_rejects(site)
    _write_page(site, drawn)
    for note in site.notes:
        LOGGER.info(note)
    return _explored(site, drawn)


def _explored(site: "_Site", drawn: Drawn) -> Explored:
    return Explored(
        videos=int(drawn.partition_videos.sum()),
        shown=len(drawn.shown),
        compared=len(drawn.mapped),
        entities=len(site.entities),
        pictures=len(site.pictures),
        files=site.folder.written,
        bytes=site.folder.size,
        first_view_bytes=site.first_view_bytes,
        notes=tuple(site.notes),
    )


@dataclass(slots=True)
class _Site:
    """What a site is made of, and what has been made of it so far.

    Attributes:
        pictures: How many thumbnails each video has, by its row; videos without any are not there.
        buckets: How many chunks there are of the videos, of the points and of the rejects, by the chunks' name.
        explained: The share of the variance that the map shows.
        notes: What the site leaves out, and why.
        first_view_bytes: What the first view loads.
    """

    dataset: FinishedDataset
    manifest: Manifest
    entities: list[Entity]
    thumbnails: Thumbnails | None
    sources: Sources | None
    most: int
    with_withheld: bool
    folder: SiteFolder
    on_step: OnStep
    verticals: list[str] = field(init=False)
    kinds: list[list[int]] = field(init=False)
    pictures: dict[int, int] = field(default_factory=dict)
    buckets: dict[str, int] = field(default_factory=dict)
    explained: float = 0.0
    notes: list[str] = field(default_factory=list)
    first_view_bytes: int = 0

    def __post_init__(self) -> None:
        self.verticals = sorted({name for entity in self.entities for name in entity.verticals})
        numbers = {name: number for number, name in enumerate(self.verticals)}
        self.kinds = [[numbers[name] for name in dict.fromkeys(entity.verticals)] for entity in self.entities]

    def batches(self, stage: str, columns: Sequence[str]) -> Iterator[Batch]:
        """All rows of videos.parquet; who listens hears of each batch when it is done."""
        layout, total = self.dataset.layout, sum(row.videos for row in self.manifest.partitions.values())
        published = self.manifest.published
        for batch in read_batches(layout, columns, len(self.entities), published, with_withheld=self.with_withheld):
            yield batch
            self.on_step(stage, len(batch.partitions), total)

    def write_chunk(self, name: str, value: Any) -> int:
        """Writes a chunk, and returns how many bytes it has."""
        data = chunk(name, value)
        self.folder.write(chunk_path(name), data)
        return len(data)

    def write_chunks(self, name: str, rows: Sequence[Any], most: int) -> None:
        """Divides rows among chunks of at most so many."""
        self.buckets[name] = -(-len(rows) // most)
        for number in range(self.buckets[name]):
            self.write_chunk(f"{name}/{number}", rows[number * most : (number + 1) * most])


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of videos.parquet that is shown: its number, its columns `DETAILS`, and what the page has of them."""

    number: int
    columns: dict[str, Any]
    partition: int
    labels: list[int] | None

    @property
    def video_id(self) -> str:
        return str(self.columns["video_id"])


def _shown_rows(batch: Batch, shown: Int64Array) -> Iterator[_Row]:
    """The rows of a batch that are shown."""
    begin, end = np.searchsorted(shown, [batch.start, batch.start + len(batch.partitions)])
    local = shown[begin:end] - batch.start
    starts, ends = (np.searchsorted(batch.label_rows, local, side).tolist() for side in ("left", "right"))
    for row, first, last, columns in zip(
        local.tolist(), starts, ends, batch.table.take(local).to_pylist(), strict=True
    ):
        labels = batch.labels[first:last].tolist() if batch.is_labelled[row] else None
        yield _Row(batch.start + row, columns, int(batch.partitions[row]), labels)


def _card(site: _Site, row: _Row) -> Card:
    columns = row.columns
    seconds, sound = amount(columns["duration_seconds"], 1), amount(columns["decoded_fraction"], 4)
    return [row.video_id, row.number, site.pictures.get(row.number, 0), row.partition, seconds, sound]


# The thumbnails, and the videos that are compared --------------------------------------------------------------------


def _thumbnails(dataset: str, store: str | None) -> Thumbnails | None:
    """The thumbnails of the store that was named or stands beside the dataset; None where that has none.

    Raises:
        UsageError: the store that was named is not there.
    """
    root = store or store_beside(dataset)
    folders = files.list_folders(root)
    if store and not folders:
        raise UsageError(
            what="There is no feature store",
            where=store,
            why="the folder is not there, or has no folders",
            fix="give the folder that `store` in the config names, or leave --store out for a site without pictures",
        )
    return Thumbnails(root) if THUMBNAILS in folders else None


def thumbnail_path(row: int) -> str:
    """The path of a video's thumbnails in the site.

    >>> thumbnail_path(1000)
    'thumbnails/232/1000.jpg'
    """
    return f"thumbnails/{row % 256}/{row}.jpg"


def _write_thumbnails(site: _Site, drawn: Drawn) -> list[_Row]:
    """Copies the thumbnails of the videos that are shown, and returns the rows of those that are compared."""
    mapped, compared = [], set(drawn.mapped.tolist())
    for batch in site.batches("thumbnails", DETAILS):
        for row in _shown_rows(batch, drawn.shown):
            _copy_pictures(site, row)
            if row.number in compared:
                mapped.append(row)
    lacking = len(drawn.shown) - len(site.pictures)
    if site.thumbnails is None:
        site.notes.append("There are no pictures: the feature store is not at hand, or has no thumbnails.")
    elif lacking:
        site.notes.append(f"{lacking:,} of the videos have no thumbnails in the feature store.")
    return mapped


def _copy_pictures(site: _Site, row: _Row) -> None:
    found = site.thumbnails.read(row.video_id) if site.thumbnails else None
    if found:
        site.folder.write(thumbnail_path(row.number), found.jpeg)
        site.pictures[row.number] = found.count


# The map -------------------------------------------------------------------------------------------------------------


def _write_map(site: _Site, mapped: Sequence[_Row]) -> Neighbours:
    """Compares the videos, writes the map of them, and returns which are alike."""
    site.on_step("compare", 0, None)
    means = read_means(site.dataset, [row.columns for row in mapped])
    found = plane(means)
    points = [
        [*_card(site, row)[:4], row.labels, *place] for row, place in zip(mapped, found.places.tolist(), strict=True)
    ]
    site.write_chunks("map", points, POINTS_OF_CHUNK)
    site.explained = found.explained
    return neighbours(means)


# The videos ----------------------------------------------------------------------------------------------------------


def _write_videos(site: _Site, drawn: Drawn, mapped: Sequence[_Row], alike: Neighbours) -> None:
    """Writes the pages of videos, and the grids of entities and partitions."""
    numbers = {row.number: number for number, row in enumerate(mapped)}
    cards = [_card(site, row) for row in mapped]
    groups = len(site.entities) + len(PARTITIONS)
    site.buckets["videos"] = max(1, -(-len(drawn.shown) // VIDEOS_OF_BUCKET))
    with Buckets(site.buckets["videos"]) as pages, Buckets(groups) as grids:
        for batch in site.batches("write", DETAILS):
            for row in _shown_rows(batch, drawn.shown):
                number = numbers.get(row.number)
                similar = None if number is None else _similar(cards, alike, number)
                pages.add(bucket_of(row.video_id, pages.count), _page(site, row, similar))
                for group in drawn.groups_of(row.number):
                    grids.add(group, _card(site, row))
        for bucket, rows in pages:
            site.write_chunk(f"videos/{bucket}", rows)
        for group, rows in grids:
            _write_grid(site, drawn, group, rows)


def _similar(cards: Sequence[Card], alike: Neighbours, number: int) -> list[Card]:
    """The cards of the videos that are like one, with the cosine behind each."""
    pairs = zip(alike.rows[number].tolist(), alike.cosines[number].tolist(), strict=True)
    return [[*cards[other], cosine] for other, cosine in pairs]


def _page(site: _Site, row: _Row, similar: list[Card] | None) -> dict[str, Any]:
    columns = row.columns
    source = site.sources.of(columns["uri"]) if site.sources and columns["uri"] else None
    return {
        "card": _card(site, row),
        "labels": row.labels,
        "frames": amount(columns["frames"]),
        "deviation": amount(columns["deviation_seconds"], 3),
        "views": amount(columns["view_count"]),
        "file": _file(columns),
        "source": source,
        "similar": similar,
    }


def _file(columns: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of the file of a video: nothing, if version 0.1.0 stored it."""
    sizes = {name: amount(columns[name]) for name in ("width", "height")}
    rate, size = amount(columns["frame_rate"], 2), amount(columns["file_bytes"])
    return {"codec": columns["codec"], **sizes, "rate": rate, "bytes": size}


def _write_grid(site: _Site, drawn: Drawn, group: int, cards: list[Card]) -> None:
    if group >= len(site.entities):
        site.write_chunk(f"partition/{PARTITIONS[group - len(site.entities)]}", cards)
    else:
        site.write_chunk(f"entity/{group}", _entity_page(site, drawn, group, cards))


# The entities --------------------------------------------------------------------------------------------------------


def _entity_page(site: _Site, drawn: Drawn, index: int, cards: list[Card]) -> dict[str, Any]:
    entity = site.entities[index]
    together = [[other, count] for other, count in drawn.together_with(index) if other != index][:TOGETHER]
    return {"description": entity.description, "url": entity.url, "together": together, "videos": cards}


def _write_entities(site: _Site, drawn: Drawn) -> None:
    """Writes the rows and the descriptions of all entities."""
    counts = drawn.counts.tolist()
    ordered = sorted(site.entities, key=lambda entity: (-sum(counts[entity.index]), entity.index))
    rows = [
        [
            entity.index,
            entity.entity_id,
            entity.name,
            site.kinds[entity.index],
            counts[entity.index],
            amount(entity.score, 2),
            entity.specificity,
        ]
        for entity in ordered
    ]
    site.write_chunks("entities", rows, ENTITIES_OF_CHUNK)
    site.write_chunks("texts", [[entity.index, entity.description] for entity in ordered], TEXTS_OF_CHUNK)


def _write_rejects(site: _Site) -> None:
    site.on_step("rejects", 0, None)
    with gather_rejects(site.dataset.layout, site.manifest, with_uris=site.sources is not None) as buckets:
        site.buckets["rejected"] = buckets.count
        for bucket, rows in buckets:
            site.write_chunk(f"rejected/{bucket}", sorted(rows))


# The page ------------------------------------------------------------------------------------------------------------


def _write_page(site: _Site, drawn: Drawn) -> None:
    """Writes the chunk that every page needs, and last the page itself."""
    videos, shown, compared = int(drawn.partition_videos.sum()), len(drawn.shown), len(drawn.mapped)
    if shown < videos:
        site.notes.append(
            f"{shown:,} of the {videos:,} videos have a page: at most {site.most:,} of each entity and partition, "
            "drawn by a hash of their ids."
        )
    if compared < shown:
        site.notes.append(
            f"{compared:,} videos are on the map and were compared with each other; the other {shown - compared:,} "
            "that have a page have no similar videos."
        )
    loaded = site.write_chunk("site", _site_chunk(site, drawn))
    loaded += files.file_size(files.join(site.folder.root, chunk_path("entities/0"))) or 0
    page = {name: resources.files(__package__).joinpath("site", name).read_bytes() for name in PAGE}
    for name in sorted(page, key=lambda name: name == site.folder.INDEX):
        site.folder.write(name, page[name])
    site.first_view_bytes = loaded + sum(map(len, page.values()))


def _site_chunk(site: _Site, drawn: Drawn) -> dict[str, Any]:
    of_vertical = [sum(kind in kinds for kinds in site.kinds) for kind in range(len(site.verticals))]
    return {
        "name": files.last_name(site.dataset.layout.root),
        "version": __version__,
        "entities": len(site.entities),
        "is_rated": any(entity.score is not None or entity.specificity for entity in site.entities),
        "verticals": list(zip(site.verticals, of_vertical, drawn.vertical_videos.tolist(), strict=True)),
        "partitions": [
            {"name": name, "videos": videos, "labelled": labelled}
            for name, videos, labelled in zip(
                PARTITIONS, drawn.partition_videos.tolist(), drawn.labelled.tolist(), strict=True
            )
        ],
        "shown": len(drawn.shown),
        "compared": len(drawn.mapped),
        "most": site.most,
        "buckets": site.buckets,
        "explained": site.explained,
        "near_duplicate": near_duplicate(site.dataset.dimensions),
        "withheld_shown": site.with_withheld,
        "has_pictures": bool(site.pictures),
        "has_uris": site.sources is not None,
        "funnel": funnel(site.manifest.accounting),
        "unasked": list(UNASKED),
        "notes": site.notes,
        "warnings": list(site.manifest.warnings),
    }
