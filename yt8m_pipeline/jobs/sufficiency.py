"""What must hold before a dataset is compressed and written: enough videos, few failures, an unchanged rest."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

from yt8m_pipeline.accounting.counts import StageCount
from yt8m_pipeline.accounting.reasons import Stage
from yt8m_pipeline.config import FIT, Config
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import PartitionSummary
from yt8m_pipeline.errors import DataError


def check_videos_left(counts: Sequence[StageCount], layout: Layout) -> None:
    """Raises a DataError that names the first filter that let nothing through, and what it took."""
    relax = "relax that filter in the config, or correct the table"
    mend = "see what is wrong with the videos: `yt8m probe --table TABLE`"
    of_interest = [count for count in counts if count.table in ("entities", "videos", "new_videos") and count.rows_in]
    for count in sorted(of_interest, key=lambda count: list(Stage).index(count.stage)):
        if not count.kept:
            reasons = ", ".join(f"{reason} {number}" for reason, number in count.rejected)
            raise DataError(
                what="No video is left",
                where=layout.path(Layout.REJECTS),
                why=f"stage {count.stage} kept 0 of {count.rows_in} {count.table} ({reasons})",
                fix=f"{mend if count.stage in (Stage.DECODE, Stage.EXTRACT) else relax}; "
                f"`yt8m inspect {layout.root} --rejects` shows the rows and their reasons",
            )


def check_failures(counts: Sequence[StageCount], config: Config, layout: Layout) -> None:
    """Raises a DataError if too many of the videos attempted failed to decode or extract."""
    failures = [count for count in counts if count.stage in (Stage.DECODE, Stage.EXTRACT)]
    attempted = sum(count.rows_in for count in failures if count.stage == Stage.DECODE)
    failed = sum(count.rows_in - count.kept for count in failures)
    allowed = Fraction(str(config.max_failure_fraction)) * attempted
    if attempted and failed > allowed:
        reasons = ", ".join(f"{reason} {number}" for count in failures for reason, number in count.rejected)
        raise DataError(
            what=f"{failed} of {attempted} videos failed",
            where=layout.path(Layout.REJECTS),
            why=f"max_failure_fraction {config.max_failure_fraction:g} allows {float(allowed):g}; reasons: {reasons}",
            fix=f"mend the videos (`yt8m inspect {layout.root} --rejects` names them) and build again, "
            "or raise max_failure_fraction",
        )


def check_train_frames(summaries: Mapping[str, PartitionSummary], config: Config, layout: Layout) -> None:
    """Raises a DataError if the train frames are too few for the principal components."""
    train = summaries.get(Partition.TRAIN.value, PartitionSummary())
    needed = config.pca.components + 1 if config.pca.source == FIT else 1
    if train.frames < needed:
        raise DataError(
            what="The train partition is too small for the PCA",
            where=layout.root,
            why=f"{train.frames} train frames of {train.videos} videos cannot fit {config.pca.components} components, "
            f"at least {needed} are needed",
            fix="give more videos" + (f", or set pca.components below {train.frames}" if train.frames > 1 else ""),
        )


def check_partitions(summaries: Mapping[str, PartitionSummary], config: Config, layout: Layout) -> None:
    """Raises a DataError if a partition is empty although the config gives it a share of the videos."""
    shares = config.partitioning
    for partition, share in zip(Partition, (shares.train, shares.validate_, shares.test), strict=True):
        if share and not summaries.get(partition.value, PartitionSummary()).videos:
            others = ", ".join(f"{name} {summary.videos}" for name, summary in sorted(summaries.items()))
            raise DataError(
                what=f"The {partition.value} partition is empty",
                where=layout.root,
                why=f"none of the videos fell into its share {share:g} (videos: {others})",
                fix=f"give more videos, or another partitioning.salt, or set partitioning.{partition.value} to 0",
            )


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
