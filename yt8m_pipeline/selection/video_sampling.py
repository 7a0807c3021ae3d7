"""Stage 3: the choice of eligible videos, and the draw of a sample of them (paper §3.2)."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from yt8m_pipeline.accounting.outcome import Drop, Outcome, mask, split
from yt8m_pipeline.accounting.reasons import DropReason, Stage
from yt8m_pipeline.chance import salted_hashes
from yt8m_pipeline.config import VideoSampling
from yt8m_pipeline.data_model import Int64Array

PREFIX_BITS = 16
"""The number of leading bits of a hash by which videos are counted; 65,536 counts find the cut of any sample."""

PREFIXES = 1 << PREFIX_BITS
"""The number of hash prefixes."""


def filter_eligible(videos: pa.Table, config: VideoSampling) -> Outcome:
    """Keeps the videos with enough views that are neither too short nor too long (paper §3.2).

    A video whose duration is still to be measured is not judged by it: `durations.settle_durations` does that.

    Args:
        videos: Columns `video_id`, `view_count` int64 or null, `duration_seconds` float64 or null, provenance.
        config: The thresholds. A video that has exactly a threshold's value is eligible. Where `min_views` is 0, the
            views need not be known.
    """
    views = videos["view_count"]
    by_views = [
        Drop(
            DropReason.MISSING_VALUE,
            mask(views.is_null()) & (config.min_views > 0),
            f"view_count is empty, and min_views is {config.min_views}",
        ),
        Drop(
            DropReason.TOO_FEW_VIEWS,
            mask(pc.less(views, pa.scalar(config.min_views, pa.int64()))),
            f"view_count {{view_count}} is below min_views {config.min_views}",
        ),
    ]
    by_duration = duration_drops(videos, config) if config.durations == "table" else []
    return split(videos, [*by_views, *by_duration], Stage.ELIGIBILITY, "videos")


def duration_drops(videos: pa.Table, config: VideoSampling) -> list[Drop]:
    """Makes the reasons that apply to videos that are too short or too long; none applies to an unknown duration."""
    seconds = np.asarray(videos["duration_seconds"])  # null is NaN, which no threshold is above or below
    shortest, longest = config.min_duration_seconds, config.max_duration_seconds
    return [
        Drop(DropReason.TOO_SHORT, seconds < shortest, f"{{duration_seconds}} s is below {shortest} s"),
        Drop(DropReason.TOO_LONG, seconds > longest, f"{{duration_seconds}} s is above {longest} s"),
    ]


@dataclass(frozen=True, slots=True)
class Cut:
    """The place in the order of (hash, id) where the sample ends.

    Attributes:
        prefix: Videos with a smaller hash prefix are drawn, those with a larger one are not. At 65,536 all are drawn.
        quota: The number of videos with this very prefix that are drawn: the first by (hash, id).
    """

    prefix: int
    quota: int

    def __post_init__(self) -> None:
        if not 0 <= self.prefix <= PREFIXES or self.quota < 0:
            raise ValueError(f"a cut has a prefix of 0 … {PREFIXES} and a quota of at least 0, got {self}")


class CutVideos(NamedTuple):
    """The videos below the prefix of a cut (kept) and above it (rejected), and those at it, still undecided."""

    outcome: Outcome
    boundary: pa.Table


def hash_prefix_counts(videos: pa.Table, config: VideoSampling) -> Int64Array:
    """Counts the videos of each hash prefix: int64, (65536,). The sum over tables is that of all videos."""
    return np.bincount(_prefixes(_hashes(videos, config)), minlength=PREFIXES)


def sampling_cut(counts: Int64Array, config: VideoSampling) -> Cut:
    """Finds the cut that draws exactly `sample_size` videos, or all if there are no more (paper §3.2).

    Args:
        counts: The `hash_prefix_counts` of all videos: int64, (65536,).
        config: The sample size.
    """
    below = np.cumsum(counts)
    if below[-1] <= config.sample_size:
        return Cut(PREFIXES, 0)
    prefix = int(np.searchsorted(below, config.sample_size))
    return Cut(prefix, int(config.sample_size - (below[prefix] - counts[prefix])))


def cut_sample(videos: pa.Table, cut: Cut, config: VideoSampling) -> CutVideos:
    """Decides on all videos but those at the cut, which must be gathered for `draw_boundary`."""
    prefixes = _prefixes(_hashes(videos, config))
    decided = videos.filter(pa.array(prefixes != cut.prefix))
    above = prefixes[prefixes != cut.prefix] > cut.prefix
    return CutVideos(_drop_unsampled(decided, above, config), videos.filter(pa.array(prefixes == cut.prefix)))


def draw_boundary(boundary: pa.Table, cut: Cut, config: VideoSampling) -> Outcome:
    """Keeps the first `quota` videos by (hash, id) of those at the cut, all of which must be in this one table."""
    by_hash = pa.table({"hash": _hashes(boundary, config), "id": boundary["video_id"]})
    order = pc.sort_indices(by_hash, sort_keys=[("hash", "ascending"), ("id", "ascending")])
    beyond = np.ones(boundary.num_rows, np.bool_)
    beyond[np.asarray(order)[: cut.quota]] = False
    return _drop_unsampled(boundary, beyond, config)


def sample_videos(videos: pa.Table, config: VideoSampling) -> Outcome:
    """Keeps the `sample_size` first videos of one table by (salted hash, id) (paper §3.2)."""
    cut = sampling_cut(hash_prefix_counts(videos, config), config)
    decided, boundary = cut_sample(videos, cut, config)
    drawn = draw_boundary(boundary, cut, config)
    rejects = pa.concat_tables([decided.rejects, drawn.rejects])
    return Outcome(Stage.SAMPLING, "videos", pa.concat_tables([decided.kept, drawn.kept]), rejects)


def _drop_unsampled(videos: pa.Table, unsampled: npt.NDArray[np.bool_], config: VideoSampling) -> Outcome:
    drop = Drop(DropReason.NOT_SAMPLED, unsampled, f"not among the first {config.sample_size} by salted hash")
    return split(videos, [drop], Stage.SAMPLING, "videos")


def _hashes(videos: pa.Table, config: VideoSampling) -> npt.NDArray[np.uint64]:
    return salted_hashes(config.salt, videos["video_id"].to_pylist())


def _prefixes(hashes: npt.NDArray[np.uint64]) -> Int64Array:
    return (hashes >> np.uint64(64 - PREFIX_BITS)).astype(np.int64)
