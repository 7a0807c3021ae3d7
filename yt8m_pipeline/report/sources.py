"""What the files of a dataset's videos are, and what decoding them took: sums over rows of videos.parquet. A monoid."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from yt8m_pipeline.data_model import HIGHEST_RATE, Float64Array, Int64Array
from yt8m_pipeline.report.spread import PARTITIONS, Spread

NUMBERS = ("file_bytes", "width", "height", "frame_rate", "packets", "decoded_packets", "view_count")
"""The columns of videos.parquet that are numbers here."""

NAMES = ("container", "codec")
"""The columns that are texts."""

KILOBYTE_BINS, KILOBIT_BINS = 200_001, 100_001
"""Files of 200 MB or more, and of 100 Mbit/s or more, are counted together."""

SIDES = (144, 240, 360, 480, 720, 1080, 1440, 2160)
"""The usual smaller sides of videos, in pixels. A class reaches from one of them to below the next."""

DECADES = 16
"""Views are counted by their number of digits; 16 digits or more together."""

TOTALLED = ("file_bytes", "packets", "decoded_packets")
"""The columns whose sums are told of each kind of file."""

Names: TypeAlias = Mapping[str, pa.Array]
"""The columns `container` and `codec` of some rows: null where nothing is known."""

Numbers: TypeAlias = Mapping[str, Float64Array]
"""The columns `NUMBERS` and `duration_seconds` of some rows, as float64, (rows,): below 2⁵³, not negative, and
NaN where nothing is known."""


@dataclass(frozen=True, slots=True)
class KindTotals:
    """What the videos of one kind add up to.

    Attributes:
        videos: How many they are.
        frames: The frames of the dataset that they have.
        file_bytes: The bytes of their files.
        packets: The packets of their files, up to the last frame of the dataset.
        decoded_packets: The packets that were decoded.
    """

    videos: int
    frames: int
    file_bytes: int
    packets: int
    decoded_packets: int

    def __add__(self, other: "KindTotals") -> "KindTotals":
        return KindTotals(
            self.videos + other.videos,
            self.frames + other.frames,
            self.file_bytes + other.file_bytes,
            self.packets + other.packets,
            self.decoded_packets + other.decoded_packets,
        )


@dataclass(frozen=True, eq=False, slots=True)
class SourceCounts:
    """What the files of some videos are.

    Attributes:
        kinds: What the videos of each container and codec add up to.
        kilobytes: The sizes of their files, in units of 10³ bytes.
        kilobits: Their bit rates, in units of 10³ bits per second, of those whose duration is known.
        sides: int64, (partitions, classes): the videos by the smaller side of their frames, below `SIDES[class]`.
        rates: int64, (partitions, rates): the videos by their frames per second, rounded.
        views: The sum, number and largest of the views.
        decades: int64, (partitions, digits): the videos by the number of digits of their views.
    """

    kinds: Mapping[tuple[str, str], KindTotals]
    kilobytes: Spread
    kilobits: Spread
    sides: Int64Array
    rates: Int64Array
    views: Spread
    decades: Int64Array

    @classmethod
    def zero(cls) -> "SourceCounts":
        parts = len(PARTITIONS)
        return cls(
            kinds={},
            kilobytes=Spread.zero(KILOBYTE_BINS),
            kilobits=Spread.zero(KILOBIT_BINS),
            sides=np.zeros((parts, len(SIDES) + 1), np.int64),
            rates=np.zeros((parts, HIGHEST_RATE + 1), np.int64),
            views=Spread.zero(1),
            decades=np.zeros((parts, DECADES + 1), np.int64),
        )

    @classmethod
    def of(cls, names: Names, numbers: Numbers, parts: Int64Array, frames: Float64Array) -> "SourceCounts":
        """Counts some videos.

        Args:
            names: Their containers and codecs.
            numbers: Their numbers.
            parts: int64, (rows,): the place of each video's partition in `PARTITIONS`.
            frames: float64, (rows,): the frames of each.
        """
        seconds, views = numbers["duration_seconds"], numbers["view_count"]
        kilobits = numbers["file_bytes"] * 8 / 1000 / np.where(seconds > 0, seconds, np.nan)
        rates, sides = numbers["frame_rate"], np.fmin(numbers["width"], numbers["height"])
        digits = np.searchsorted(10.0 ** np.arange(DECADES), views, side="right")
        return cls(
            kinds=_kinds(names, numbers, frames),
            kilobytes=_spread(parts, numbers["file_bytes"] / 1e3, KILOBYTE_BINS),
            kilobits=_spread(parts, kilobits, KILOBIT_BINS),
            sides=_counted(parts, np.searchsorted(SIDES, sides, side="right"), np.isfinite(sides), len(SIDES) + 1),
            rates=_counted(parts, np.rint(rates), rates <= HIGHEST_RATE, HIGHEST_RATE + 1),
            views=_spread(parts, views, 1),
            decades=_counted(parts, digits, np.isfinite(views), DECADES + 1),
        )

    def __add__(self, other: "SourceCounts") -> "SourceCounts":
        zero = KindTotals(0, 0, 0, 0, 0)
        return SourceCounts(
            {
                kind: self.kinds.get(kind, zero) + other.kinds.get(kind, zero)
                for kind in sorted({*self.kinds, *other.kinds})
            },
            self.kilobytes + other.kilobytes,
            self.kilobits + other.kilobits,
            self.sides + other.sides,
            self.rates + other.rates,
            self.views + other.views,
            self.decades + other.decades,
        )

    @property
    def known(self) -> int:
        """The number of videos of which the container and codec are known."""
        return sum(totals.videos for totals in self.kinds.values())


def _kinds(names: Names, numbers: Numbers, frames: Float64Array) -> dict[tuple[str, str], KindTotals]:
    """What the videos of each container and codec add up to."""
    summed = {"videos": np.ones(len(frames)), "frames": frames, **{name: numbers[name] for name in TOTALLED}}
    table = pa.table({**names, **{name: np.nan_to_num(column) for name, column in summed.items()}})
    known = table.filter(pc.and_(table["container"].is_valid(), table["codec"].is_valid()))
    groups = known.group_by(["container", "codec"], use_threads=False)
    rows = groups.aggregate([(name, "sum") for name in summed]).to_pylist()
    return {(row["container"], row["codec"]): KindTotals(*(int(row[f"{name}_sum"]) for name in summed)) for row in rows}


def _spread(parts: Int64Array, values: Float64Array, bins: int) -> Spread:
    """The spread of those values that are known."""
    is_known = np.isfinite(values)
    return Spread.of(parts[is_known], values[is_known], bins)


def _counted(
    parts: Int64Array, places: npt.NDArray[np.number], is_known: npt.NDArray[np.bool_], bins: int
) -> Int64Array:
    """int64, (partitions, bins): how often each place occurs, where it is known."""
    cells = parts[is_known] * bins + places[is_known].astype(np.int64)
    return np.bincount(cells, minlength=len(PARTITIONS) * bins).reshape(len(PARTITIONS), bins)
