"""What must hold before a dataset is compressed and written: enough videos, few failures, an unchanged rest."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import ceil, floor

from yt8m_pipeline.accounting.counts import StageCount
from yt8m_pipeline.accounting.reasons import BY_DURATION, Stage
from yt8m_pipeline.config import Config, Decoding
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import PartitionSummary
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.selection.duplicate_films import Cluster, home_of

SHOWN_COPIES = 4
"""How many copies of a film an error names."""

FAILING = ((Stage.DURATION,), (Stage.DECODE, Stage.EXTRACT))
"""The stages at which videos fail; the videos that were attempted are those that came to the first of a group."""


def check_videos_left(counts: Sequence[StageCount], layout: Layout) -> None:
    """Raises a DataError that names the first filter that let nothing through, and what it took."""
    relax = "relax that filter in the config, or correct the table"
    mend = "see what is wrong with the videos: `yt8m probe --table TABLE`"
    of_interest = [count for count in counts if count.table in ("entities", "videos") and count.rows_in]
    for count in sorted(of_interest, key=lambda count: list(Stage).index(count.stage)):
        if not count.kept:
            reasons = ", ".join(f"{reason} {number}" for reason, number in count.rejected)
            raise DataError(
                what="No video is left",
                where=layout.path(Layout.REJECTS),
                why=f"stage {count.stage} kept 0 of {count.rows_in} {count.table} ({reasons})",
                fix=f"{mend if _failed(count) else relax}; "
                f"`yt8m inspect {layout.root} --rejects` shows the rows and their reasons",
            )


def check_failures(counts: Sequence[StageCount], config: Config, layout: Layout) -> None:
    """Raises a DataError if too many videos could not be measured, or of those decoded failed to decode or extract.

    What cannot be measured is judged apart: it is a share of all videos with a label, not of those that are drawn.
    """
    for stages in FAILING:
        _check_failures([count for count in counts if count.stage in stages], config, layout)


def _check_failures(counts: Sequence[StageCount], config: Config, layout: Layout) -> None:
    attempted = sum(count.rows_in for count in counts if count.stage != Stage.EXTRACT)
    failures = [failure for count in counts for failure in _failed(count)]
    failed = sum(number for _, number in failures)
    allowed = Fraction(str(config.max_failure_fraction)) * attempted
    if attempted and failed > allowed:
        reasons = ", ".join(f"{reason} {number}" for reason, number in failures)
        raise DataError(
            what=f"{failed} of {attempted} videos failed",
            where=layout.path(Layout.REJECTS),
            why=f"max_failure_fraction {config.max_failure_fraction:g} allows {float(allowed):g}; reasons: {reasons}",
            fix=f"mend the videos (`yt8m inspect {layout.root} --rejects` names them) and build again, "
            "or raise max_failure_fraction",
        )


def _failed(count: StageCount) -> list[tuple[str, int]]:
    """How many videos failed at a stage, by reason; none where it filters on purpose."""
    is_failing = any(count.stage in stages for stages in FAILING)
    return [failure for failure in count.rejected if is_failing and failure[0] not in BY_DURATION]


def check_train_frames(summaries: Mapping[str, PartitionSummary], config: Config, layout: Layout) -> None:
    """Raises a DataError if the train frames are too few for the principal components."""
    train = summaries.get(Partition.TRAIN.value, PartitionSummary())
    needed = _frames_needed(config)
    if train.frames < needed:
        raise DataError(
            what="The train partition is too small for the PCA",
            where=layout.root,
            why=f"{train.frames} train frames of {train.videos} videos cannot fit {config.pca.number or 1} "
            f"components, at least {needed} are needed",
            fix="give more videos" + (f", or set pca.components below {train.frames}" if train.frames > 1 else ""),
        )


def most_frames(duration_seconds: float | None, decoding: Decoding) -> int:
    """How many frames a video may have, by its duration in the videos table; where that is null, by the config alone.

    One frame more than the duration allows is granted, since tables round durations down.

    >>> [most_frames(duration, Decoding()) for duration in (2.9, 3.0, 500.0, None)]
    [3, 4, 360, 360]
    """
    longest = Fraction(str(decoding.max_seconds))
    seconds = longest if duration_seconds is None else min(Fraction(str(duration_seconds)), longest)
    return min(floor(seconds * decoding.rate) + 1, ceil(longest * decoding.rate))


def check_selected_frames(frames: Mapping[str, int], config: Config, layout: Layout) -> None:
    """Raises a DataError if the selected train videos cannot have enough frames, before any of them is opened.

    Args:
        frames: The sum of `most_frames` for each partition that has videos. Where none has any, `check_videos_left`
            says why.
        config: How many components are fitted.
        layout: Where the dataset goes.
    """
    most, needed = frames.get(Partition.TRAIN.value, 0), _frames_needed(config)
    if frames and most < needed:
        raise DataError(
            what="The train partition is too small for the PCA",
            where=layout.root,
            why=f"by their durations the selected train videos have {most} frames at most, which cannot fit "
            f"{config.pca.number or 1} components, at least {needed} are needed",
            fix="give more videos, or set pca.components to auto; if duration_seconds are wrong in the videos table, "
            "correct them (`yt8m probe`)",
        )


def _frames_needed(config: Config) -> int:
    """How many train frames the PCA needs: one more than components if it is fitted."""
    return (config.pca.number or 1) + 1 if config.pca.is_fitted else 1


def check_given_partitions(clusters: Sequence[Cluster], config: Config, layout: Layout) -> None:
    """Raises a DataError if the videos table gives one film several partitions, where the config has none divided."""
    apart = [cluster for cluster in clusters if home_of(cluster) is None]
    if apart and config.duplicates == "group" and config.partitioning.divided_groups == "error":
        copies = "; ".join(f"{copy.video_id} in {copy.partition}" for copy in apart[0][:SHOWN_COPIES])
        raise DataError(
            what="The videos table gives one film several partitions",
            where=layout.root,
            why=f"films with the same uri or equal features in several given partitions: {len(apart)}; first {copies}",
            fix="give each film one partition, or set duplicates: reject, or partitioning.divided_groups: warn",
        )


def check_partitions(summaries: Mapping[str, PartitionSummary], config: Config, layout: Layout) -> None:
    """Raises a DataError if a partition is empty although it gets a share of the videos, which are not given."""
    shares = config.partitioning
    if shares.by != "hash":
        return
    for partition, share in zip(Partition, (shares.train, shares.validate_, shares.test), strict=True):
        if share and not summaries.get(partition.value, PartitionSummary()).videos:
            others = ", ".join(f"{name} {summary.videos}" for name, summary in sorted(summaries.items()))
            raise DataError(
                what=f"The {partition.value} partition is empty",
                where=layout.root,
                why=f"none of the videos fell into its share {share:g} (videos: {others})",
                fix=f"give more videos, or another partitioning.salt, or set partitioning.{partition.value} to 0",
            )


def empty_partition_warnings(summaries: Mapping[str, PartitionSummary], config: Config) -> list[str]:
    """Warns of each partition without videos where partitions are given, and not shares of the videos."""
    empty = [part for part in Partition if not summaries.get(part.value, PartitionSummary()).videos]
    return [f"the {part} partition has no video" for part in empty if config.partitioning.by != "hash"]


def check_rest_unchanged(
    summaries: Mapping[str, PartitionSummary],
    previous: Mapping[Partition, PartitionSummary],
    anew: Partition,
    layout: Layout,
) -> None:
    """Raises a DataError if `rebuild-split` would leave another partition out of date."""
    for partition in sorted(set(Partition) - {anew}):
        before, now = previous[partition], summaries.get(partition.value, PartitionSummary())
        if before != now:
            effect = "the compression would change" if partition == Partition.TRAIN else "it would be out of date"
            raise DataError(
                what=f"The {partition.value} partition is no longer what the dataset holds; {effect}",
                where=layout.path(Layout.MANIFEST),
                why=f"{before.videos} videos with {before.labels} labels before, {now.videos} with {now.labels} now, "
                "or others",
                fix="run `yt8m build`, which writes every partition that changed",
            )
