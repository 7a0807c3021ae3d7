"""The tables of a report: the facts of `statistics`, as rows that a page, a CSV file and a terminal can show."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from yt8m_pipeline.data_model import Float64Array, Int64Array, Partition
from yt8m_pipeline.dataset.manifest import Manifest
from yt8m_pipeline.report import paper
from yt8m_pipeline.report.known_datasets import KnownDataset
from yt8m_pipeline.report.sources import SIDES
from yt8m_pipeline.report.spread import PARTITIONS
from yt8m_pipeline.report.statistics import DatasetStatistics
from yt8m_pipeline.report.summaries import quantization_rows, rounded
from yt8m_pipeline.report.zipf import fit_zipf

Cell: TypeAlias = str | int | float | None
Row: TypeAlias = Mapping[str, Cell]

TOP_ENTITIES = 7
"""Table 1 of the paper has this many entities of each vertical."""

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\0")
"""A cell of a CSV file that begins with one of these may be a formula to spreadsheets (OWASP, CSV Injection; OWASP
Application Security Verification Standard 5.0, 1.2.10)."""

LONE_SURROGATES = "backslashreplace"
"""How half a character, which JSON may have in a manifest and UTF-8 has not, is written: as JSON escapes it."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a report.

    Attributes:
        name: The name of its files.
        title: What stands above it.
        note: What a reader must know of it.
        rows: Its rows, which all have the same columns.
        shown: How many rows a page and a terminal show; files have them all.
    """

    name: str
    title: str
    note: str
    rows: Sequence[Row]
    shown: int = 200

    def to_csv(self) -> bytes:
        """The rows as CSV, where no cell is a formula."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([self.rows[0]] if self.rows else [])
        writer.writerows([_inert(cell) for cell in row.values()] for row in self.rows)
        return text.getvalue().encode(errors=LONE_SURROGATES)

    def to_json(self) -> bytes:
        values = {"title": self.title, "note": self.note, "rows": self.rows}
        return (json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode(errors=LONE_SURROGATES)


def shown_number(cell: float | None) -> str:
    """A number as people read it; nothing for what is not known.

    >>> shown_number(8264650), shown_number(2597000.0), shown_number(0.7002), shown_number(None)
    ('8,264,650', '2,597,000', '0.7002', '')
    """
    if cell is None:
        return ""
    return f"{cell:,.0f}" if isinstance(cell, int) or abs(cell) >= 1000 else f"{cell:.4g}"


def _inert(cell: Cell) -> Cell:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell


def tables_of(statistics: DatasetStatistics, known: Sequence[KnownDataset], name: str) -> list[Table]:
    """The tables of a report, in the order of the paper; the last one has every entity.

    Args:
        statistics: The statistics of the dataset.
        known: The datasets that it stands beside.
        name: The name of the dataset.
    """
    return [
        overview(statistics),
        known_datasets(statistics, known, name),
        top_entities(statistics),
        partition_sizes(statistics),
        funnel(statistics.manifest),
        verticals(statistics),
        labels_per_video(statistics),
        lengths(statistics),
        damage(statistics),
        kinds_of_files(statistics),
        picture_sizes(statistics),
        frame_rates(statistics),
        views(statistics),
        codebook(statistics),
        quantization(statistics.manifest),
        balance(statistics),
        lacking(statistics),
        entities(statistics),
    ]


def overview(statistics: DatasetStatistics) -> Table:
    """What the dataset has, beside YouTube-8M."""
    videos = statistics.videos
    zipf = fit_zipf(statistics.videos_of_entities)
    facts: list[tuple[str, Cell, Cell]] = [
        ("videos", videos.frames.number, sum(paper.VIDEOS.values())),
        ("classes", len(statistics.entities), 4_800),
        ("verticals", len(statistics.verticals), 24),
        ("labels per video, mean", rounded(videos.labels_per_video.mean), paper.LABELS_PER_VIDEO),
        ("seconds per video, mean", rounded(videos.seconds.mean), paper.SECONDS_PER_VIDEO),
        ("frames", int(videos.frames.sums.sum()), paper.FRAMES),
        ("frames per video, mean", rounded(videos.frames.mean), None),
        ("views per video, mean", rounded(videos.sources.views.mean), None),
        ("Zipf exponent, maximum likelihood", rounded(zipf), None),
    ]
    rows = [{"of": name, "this dataset": here, "YouTube-8M": there} for name, here, there in facts]
    return Table("overview", "The dataset", _counted(statistics), rows)


def _counted(statistics: DatasetStatistics) -> str:
    """Whose labels are counted."""
    counted = ", ".join(part.value for part in PARTITIONS if part in statistics.counted)
    rest = [part.value for part in PARTITIONS if part not in statistics.counted]
    shown = [part.value for part in PARTITIONS if part in statistics.counted - statistics.manifest.published]
    withheld = f" Those of {', '.join(rest)} are withheld, and in no figure." if rest else ""
    alarm = f" The dataset withholds those of {', '.join(shown)}: do not publish this report." if shown else ""
    return f"Labels are those of {counted}.{withheld}{alarm} An empty cell is not known, or not in the paper."


def _counted_places(statistics: DatasetStatistics) -> list[tuple[int, Partition]]:
    return [(place, part) for place, part in enumerate(PARTITIONS) if part in statistics.counted]


def known_datasets(statistics: DatasetStatistics, known: Sequence[KnownDataset], name: str) -> Table:
    """The numbers of Figure 2."""
    own = KnownDataset(name, 0, "videos", len(statistics.entities), statistics.videos.frames.number, "this dataset")
    rows = [{**asdict(dataset), "year": str(dataset.year or "")} for dataset in (*known, own)]
    return Table("known_datasets", "Known datasets (Figure 2)", "Each number has its source.", rows)


def top_entities(statistics: DatasetStatistics) -> Table:
    """The paper's Table 1: the entities of each vertical with most videos."""
    counts, of = statistics.videos_of_entities, statistics.entities_of_verticals()
    everything = [*of.items(), ("Full vocabulary", statistics.by_videos())]
    rows: list[Row] = [
        {
            "vertical": vertical,
            **{
                f"entity {place + 1}": _name(statistics, indices[place]) if place < len(indices) else None
                for place in range(TOP_ENTITIES)
            },
        }
        for vertical, indices in ((name, found[counts[found] > 0]) for name, found in everything)
    ]
    return Table("table_1", "Table 1: most frequent entities of each vertical", _counted(statistics), rows)


def _name(statistics: DatasetStatistics, index: np.int64) -> str:
    return statistics.entities[index].name


def partition_sizes(statistics: DatasetStatistics) -> Table:
    """The paper's Table 2: the sizes of the partitions, and the shares that the config asks for."""
    asked, total = _asked(statistics.manifest), max(statistics.videos.frames.number, 1)
    published = sum(paper.VIDEOS.values())
    rows: list[Row] = [
        {
            "partition": part.value,
            "videos": statistics.number_of_videos(part),
            "share": rounded(statistics.number_of_videos(part) / total),
            "share asked for": asked.get(part),
            "frames": int(statistics.videos.frames.part(part).sums.sum()),
            "YouTube-8M videos": paper.VIDEOS[part],
            "YouTube-8M share": rounded(paper.VIDEOS[part] / published),
        }
        for part in PARTITIONS
    ]
    note = "Shares are asked for by the config." if asked else "The manifest does not say which shares were asked for."
    return Table("table_2", "Table 2: partition sizes", note, rows)


def _asked(manifest: Manifest) -> dict[Partition, float]:
    """The shares of the videos that the config asks for; {} where it does not ask for shares."""
    section = manifest.config.get("partitioning")
    if not isinstance(section, Mapping) or section.get("by", "hash") != "hash":
        return {}
    shares = {part: section.get(part.value) for part in PARTITIONS}
    return {part: float(share) for part, share in shares.items() if isinstance(share, int | float) and 0 <= share <= 1}


def funnel(manifest: Manifest) -> Table:
    """What each stage got, kept and rejected, beside the paper's numbers."""
    of_paper = {(stage.value, table): text for (stage, table), text in paper.KEPT.items()}
    rows: list[Row] = [
        {
            "stage": row.stage,
            "table": row.table,
            "rows in": row.rows_in,
            "kept": row.kept,
            "rejected": row.rows_in - row.kept,
            "reasons": ", ".join(f"{reason} {number:,}" for reason, number in row.rejected.items()),
            "kept in the paper": of_paper.get((row.stage, row.table)),
        }
        for row in manifest.accounting
    ]
    return Table(
        "funnel", "The funnel: what each stage kept", "The command yt8m inspect --rejects shows the rows.", rows
    )


def verticals(statistics: DatasetStatistics) -> Table:
    """The numbers of the paper's Figure 6: a video counts once in each vertical that one of its labels has."""
    of = statistics.entities_of_verticals()
    rows: list[Row] = [
        {"vertical": name, "entities": len(of[name]), "train videos": int(videos)}
        for name, videos in zip(statistics.verticals, statistics.videos.verticals, strict=True)
    ]
    note = "An entity of several verticals counts in each of them."
    return Table("verticals", "Entities and train videos of each vertical (Figure 6)", note, rows)


def labels_per_video(statistics: DatasetStatistics) -> Table:
    """How many videos have how many labels."""
    counts = statistics.videos.labels_per_video.counts
    last = counts.shape[1] - 1
    rows: list[Row] = [
        {
            "labels": f"{number} or more" if number == last else str(number),
            **{part.value: int(counts[place, number]) for place, part in _counted_places(statistics)},
        }
        for number in np.flatnonzero(counts.sum(axis=0))
    ]
    return Table("labels_per_video", "Labels per video", _counted(statistics), rows)


def lengths(statistics: DatasetStatistics) -> Table:
    """Durations as far as they are known, frames, and the sizes and bit rates of the files."""
    videos, files = statistics.videos, statistics.videos.sources
    spreads = {"seconds": videos.seconds, "frames": videos.frames, "kB": files.kilobytes, "kbit/s": files.kilobits}
    rows: list[Row] = [
        {"of": part, "what": name, "videos": spread.number, "mean": rounded(spread.mean), "median": spread.median}
        for name, whole in spreads.items()
        for part, spread in {"all": whole, **{part.value: whole.part(part) for part in PARTITIONS}}.items()
    ]
    longest = ", ".join(f"{shown_number(spread.largest)} {name}" for name, spread in spreads.items() if spread.number)
    note = (
        "A median is whole, the lower of two in the middle, and not told from two hours, 3,600 frames, 200 MB and "
        f"100 Mbit/s on. The largest: {longest or 'none'}. kB and kbit/s are those of whole files. The paper's mean is "
        "229.6 seconds (§3.4)."
    )
    return Table("lengths", "Durations, frames, file sizes and bit rates of the videos", note, rows)


def damage(statistics: DatasetStatistics) -> Table:
    """Videos that lack a sound frame for some of their grid times."""
    videos = statistics.videos
    rows: list[Row] = [
        {
            "partition": part.value,
            "videos": statistics.number_of_videos(part),
            "salvaged": int(videos.salvaged[place]),
            "grid times they lack, mean": _ratio(float(videos.lost[place]), int(videos.salvaged[place])),
        }
        for place, part in enumerate(PARTITIONS)
    ]
    note = (
        "A salvaged video lacks a sound frame at some seconds of its grid. Videos that could not be decoded are in "
        "the funnel, at the stage decode."
    )
    return Table("damage", "Damage", note, rows)


def kinds_of_files(statistics: DatasetStatistics) -> Table:
    """The containers and codecs of the videos, and what decoding each kind took."""
    known, kinds = statistics.videos.sources.known, statistics.videos.sources.kinds
    rows: list[Row] = [
        {
            "container": container,
            "codec": codec,
            "videos": totals.videos,
            "share": rounded(totals.videos / known),
            "MB, mean": rounded(totals.file_bytes / totals.videos / 1e6),
            "packets per frame": _ratio(totals.packets, totals.frames),
            "decoded packets per frame": _ratio(totals.decoded_packets, totals.frames),
            "share of packets decoded": _ratio(totals.decoded_packets, totals.packets),
        }
        for (container, codec), totals in sorted(kinds.items(), key=lambda kind: (-kind[1].videos, kind[0]))
    ]
    note = (
        "Decoding costs what the decoded packets cost: those that no frame of the dataset depends on are left out. "
        f"A share above 1 is of videos that were decoded twice.{_unknown(statistics)}"
    )
    return Table("files", "Containers, codecs and decode cost", note, rows)


def _unknown(statistics: DatasetStatistics) -> str:
    """Of how many videos nothing is known of their files."""
    unknown = statistics.videos.frames.number - statistics.videos.sources.known
    return f" Of {unknown:,} videos the dataset does not tell: version 0.1.0 stored them." if unknown else ""


def picture_sizes(statistics: DatasetStatistics) -> Table:
    """The videos by the smaller side of their frames."""
    edges = [0, *SIDES]
    labels = [*(f"{low} to {high - 1}" for low, high in pairwise(edges)), f"{edges[-1]} or more"]
    note = f"The smaller side of the frames as they are coded, in pixels.{_unknown(statistics)}"
    rows = _by_partition("pixels", labels, statistics.videos.sources.sides)
    return Table("picture_sizes", "Picture sizes", note, rows)


def frame_rates(statistics: DatasetStatistics) -> Table:
    """The videos by their frames per second."""
    rates = statistics.videos.sources.rates
    note = f"By the header, rounded; where it tells none, a video is not counted.{_unknown(statistics)}"
    rows = _by_partition("frames per second", list(map(str, range(rates.shape[1]))), rates)
    return Table("frame_rates", "Frame rates", note, rows, shown=20)


def views(statistics: DatasetStatistics) -> Table:
    """The videos by the number of digits of their views (§3.2)."""
    decades = statistics.videos.sources.decades
    last = decades.shape[1] - 1
    labels = ["0", *(f"{10 ** (digits - 1):,} to {10**digits - 1:,}" for digits in range(1, last))]
    rows = _by_partition("views", [*labels, f"{10 ** (last - 1):,} or more"], decades)
    spread = statistics.videos.sources.views
    largest = f" The most: {spread.largest:,.0f}." if spread.number else ""
    note = f"As the videos table tells them, which needs them where min_views is above 0 (§3.2: 1,000).{largest}"
    return Table("views", "Views", note, rows)


def _by_partition(what: str, labels: Sequence[str], counts: Int64Array) -> list[Row]:
    """A row for each label that has a video, with its videos in each partition."""
    return [
        {what: labels[place], **{part.value: int(counts[of, place]) for of, part in enumerate(PARTITIONS)}}
        for place in map(int, np.flatnonzero(counts.sum(axis=0)))
    ]


def codebook(statistics: DatasetStatistics) -> Table:
    """How the codes of a sample are used."""
    codes = statistics.codes
    shares = codes.counts / max(int(codes.counts.sum()), 1)
    facts: list[tuple[str, Cell]] = [
        ("partition", codes.partition.value if codes.partition else None),
        ("videos", codes.videos),
        ("frames", codes.frames),
        ("levels", len(codes.counts)),
        ("levels in use", int(np.count_nonzero(codes.counts))),
        ("entropy, bits of 8", rounded(codes.bits)),
        ("share of the first level", rounded(float(shares[0]))),
        ("share of the last level", rounded(float(shares[-1]))),
        ("share of the most frequent level", rounded(float(shares.max()))),
    ]
    rows = [{"of": name, "value": value} for name, value in facts]
    return Table("codebook", "Use of the codebook", "Counted over the first videos of one partition.", rows)


def quantization(manifest: Manifest) -> Table:
    """What quantization cost each partition, as the manifest has it."""
    note = "Over all coefficients; relative_error is the mean squared error over the variance."
    return Table("quantization", "What one byte per coefficient costs", note, quantization_rows(manifest))


def balance(statistics: DatasetStatistics) -> Table:
    """How evenly the videos of the entities are spread over the partitions whose labels are counted."""
    scores = balance_scores(statistics)
    rows: list[Row] = []
    for place, part in _counted_places(statistics):
        of_part, missing = np.abs(scores[place]), statistics.lacking(part)
        furthest = int(of_part.argmax()) if of_part.any() else None
        rows.append(
            {
                "partition": part.value,
                "entities without a video": len(missing),
                "entities beyond 3 standard deviations": int((of_part > 3).sum()),
                "furthest entity": None if furthest is None else statistics.entities[furthest].name,
                "its standard deviations": None if furthest is None else rounded(float(of_part[furthest])),
            }
        )
    note = (
        "Standard deviations of the binomial distribution by which each video of an entity is in a partition with the "
        "share of this partition of all labels. By chance, 0.3 % of the entities are beyond 3."
    )
    return Table("balance", "Label balance over the partitions", note, rows)


def balance_scores(statistics: DatasetStatistics) -> Float64Array:
    """float64, (partitions, classes): by how many standard deviations the videos of a class in a partition differ from
    the partition's share of all labels; 0 where nothing can be said."""
    labels = statistics.videos.labels.astype(np.float64)
    totals, shares = labels.sum(axis=0), labels.sum(axis=1) / max(labels.sum(), 1)
    deviation = np.sqrt(totals * (shares * (1 - shares))[:, None])
    apart = labels - totals * shares[:, None]
    scores: Float64Array = np.divide(apart, deviation, out=np.zeros_like(apart), where=deviation > 0)
    return scores


def lacking(statistics: DatasetStatistics) -> Table:
    """The entities that no video of a partition has."""
    rows: list[Row] = [
        {
            "partition": part.value,
            "index": int(index),
            "entity": statistics.entities[index].name,
            "videos elsewhere": int(statistics.videos_of_entities[index]),
        }
        for _, part in _counted_places(statistics)
        for index in statistics.lacking(part)
    ]
    return Table("lacking", "Entities that a partition lacks", _counted(statistics), rows, shown=20)


def entities(statistics: DatasetStatistics) -> Table:
    """Every entity, with its videos in each partition whose labels are counted."""
    counted = _counted_places(statistics)
    rows: list[Row] = [
        {
            "rank": rank + 1,
            "index": int(index),
            "entity_id": statistics.entities[index].entity_id,
            "name": statistics.entities[index].name,
            "verticals": "; ".join(statistics.entities[index].verticals),
            "specificity": statistics.entities[index].specificity or None,
            **{part.value: int(statistics.videos.labels[place, index]) for place, part in counted},
        }
        for rank, index in enumerate(statistics.by_videos())
    ]
    return Table("entities", "Entities by the number of their videos (Figure 5)", _counted(statistics), rows, shown=20)


def _ratio(part: float, whole: int) -> float | None:
    return rounded(part / whole) if whole else None
