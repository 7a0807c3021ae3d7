"""The recipe: how tables and videos become a dataset (paper §3). Read it from top to bottom.

Ids, small rows and paths are all that pass between stages; frames and features stay inside the fused steps of stages
4 and 5, and in the feature store. Each arrow's element type stands at the right.
"""

from typing import Any, NamedTuple

import apache_beam as beam

from yt8m_pipeline.accounting.reasons import Stage
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.jobs.build_plan import BuildPlan
from yt8m_pipeline.jobs.export_plan import ExportPlan
from yt8m_pipeline.transforms.compression import FitPca, FitQuantizer, Fitting, ImportPca
from yt8m_pipeline.transforms.dataset import (
    CheckBuild,
    CheckOtherSplits,
    CountTrainLabels,
    GroupByShard,
    IndexLabels,
    ListVideos,
    SummarizePartitions,
    WriteManifest,
    WriteRejects,
    WriteShards,
    WriteVideos,
    WriteVocabulary,
)
from yt8m_pipeline.transforms.exporting import (
    CheckStore,
    CopyPca,
    CopyTables,
    EncodeAgain,
    ReadMembers,
    WriteExportManifest,
    WriteUniform,
)
from yt8m_pipeline.transforms.extraction import DecodeFrames, ExtractPool3, StoreFeatures
from yt8m_pipeline.transforms.ledger import Ledger
from yt8m_pipeline.transforms.lookup import LACKING, WARNINGS, FindInStore, RecallVideos
from yt8m_pipeline.transforms.selection import (
    LABELS,
    AssignPartitions,
    AttachLabels,
    CountStored,
    CountVideos,
    DropDuplicates,
    FilterByType,
    FilterEligible,
    FindLackingEntities,
    KeepFrequent,
    KeepLabels,
    KeepPopular,
    KeepStored,
    PruneByRaterScore,
    ReadTable,
    SampleVideos,
    SettleAnnotations,
    UnnestAnnotations,
    WarnOfLackingEntities,
    WarnOfUnusedTypes,
)


class Selected(NamedTuple):
    """What the selection hands on: the videos, the entities that label them, and the annotations that say so."""

    videos: Any  # PCollection[Video]
    entities: Any  # PCollection[pa.Table]
    annotations: Any  # PCollection[pa.Table]


def build_dataset(root: beam.Pipeline, plan: BuildPlan) -> None:
    """Adds the whole build to a Beam pipeline. Run it and the dataset stands, but for its mark of completion."""
    ledger = Ledger()
    selected = select_videos(root, plan, ledger)
    stored = extract_features(selected.videos, plan, ledger)
    write_dataset(root, selected, stored, plan, ledger)


def export_dataset(root: beam.Pipeline, plan: ExportPlan) -> None:
    """Adds the writing of a finished dataset with another codebook; no video is decoded, no table changes."""
    groups = root | ReadMembers(plan)  # (Shard, [Member])
    checked = groups | CheckStore(plan)  # True
    pca = root | CopyPca(plan)  # Step
    tables = root | CopyTables(plan)  # FileEntry
    quantizer = pca | WriteUniform(plan)  # Step
    shards = groups | EncodeAgain(plan, quantizer, checked)  # Step
    _ = root | WriteExportManifest(plan, quantizer, shards, tables)


def select_videos(root: beam.Pipeline, plan: BuildPlan, ledger: Ledger) -> Selected:
    """Stages 1 to 3: which entities, and which videos."""
    config, sampling, buckets = plan.config, plan.config.video_sampling, plan.config.parallelism.join_buckets

    # 1. Vocabulary: entities with a whitelisted type and no blacklisted one (§3.1)
    rows = ledger.keep(root | "Entities" >> ReadTable(plan.sources["entities"]))  # pa.Table, as are all below
    entities = ledger.keep(rows | "UniqueEntities" >> DropDuplicates("entities", "entity_id", buckets))
    typed = ledger.keep(entities | FilterByType(config.vocabulary))
    ledger.warn(entities | WarnOfUnusedTypes(config.vocabulary))  # str

    # 2. Rater pruning: entities that three raters find visual (§3.1, Figure 4)
    ratings = ledger.keep(root | "Ratings" >> ReadTable(plan.sources["ratings"]))
    rated = {"typed": typed, "entities": entities, "ratings": ratings}
    visual = ledger.keep(rated | PruneByRaterScore(config.rater_scores, buckets))

    # 3. Video sampling and partitioning (§3.1, §3.2)
    rows = ledger.keep(root | "Videos" >> ReadTable(plan.sources["videos"]))
    videos = ledger.keep(rows | "UniqueVideos" >> DropDuplicates("videos", "video_id", buckets))
    eligible = ledger.keep(videos | FilterEligible(sampling))
    annotated = {"videos": videos, "eligible": eligible, "annotations": ledger.keep(_annotations(root, videos, plan))}
    attached = annotated | AttachLabels(sampling, vocabulary=visual, entities=entities, buckets=buckets)
    labelled = ledger.keep(attached)
    popular = ledger.keep(visual | KeepPopular(sampling, labelled | "Popular" >> CountVideos()))
    candidates = ledger.keep(labelled | KeepLabels(Stage.POPULARITY, popular))
    sampled = ledger.keep(candidates | SampleVideos(sampling))
    frequent = ledger.keep(popular | KeepFrequent(sampling, sampled | "Sampled" >> CountVideos(), Stage.FREQUENCY))
    selected = ledger.keep(sampled | "Frequent" >> KeepLabels(Stage.FREQUENCY, frequent))
    videos = selected | AssignPartitions(config.partitioning, config.tables.root)
    return Selected(videos, frequent, attached[LABELS])


def extract_features(videos: Any, plan: BuildPlan, ledger: Ledger) -> Any:
    """Stages 4 and 5, for the videos that the feature store lacks: PCollection[Video] → PCollection[StoredVideo]."""
    config = plan.config
    ours = videos | "Ours" >> beam.Filter(lambda video: plan.anew in (None, video.partition))  # Video
    others = videos | "Others" >> beam.Filter(lambda video: plan.anew not in (None, video.partition))  # Video
    found = ours | FindInStore(plan.store, config.decoding, plan.retry, refresh=plan.refresh, verify=plan.verify)
    ledger.warn(found[WARNINGS])  # str
    extracted = ledger.keep(
        found[LACKING]
        | DecodeFrames(config.decoding, config.inception)  # [FrameBatch]: 4. one frame per second (§3.3)
        | ExtractPool3(config.inception, plan.dimensions)  # FeatureBatch: 5. Inception pool_3 (§3.3)
        | StoreFeatures(plan.store, config.decoding, config.inception.dtype)  # StoredVideo
    )
    recalled = ledger.keep(others | RecallVideos(plan.layout, config.decoding))  # StoredVideo
    return (ledger.keep(found), extracted, recalled) | "Stored" >> beam.Flatten()


def write_dataset(root: beam.Pipeline, selected: Selected, stored: Any, plan: BuildPlan, ledger: Ledger) -> None:
    """Stages 6 to 8: the compression, the shards, and the tables around them."""
    config = plan.config

    # Each entity has enough videos in the dataset (§3.1), although some could not be decoded
    entities, stored = count_again(selected, stored, plan, ledger)  # pa.Table, StoredVideo
    counts = ledger.counts()  # [StageCount]

    # Nothing is compressed unless there is enough, and all rejects are written down
    summaries = stored | SummarizePartitions()  # (str, PartitionSummary)
    unchanged = root | CheckOtherSplits(plan, summaries)  # True
    rejects = root | WriteRejects(plan.layout, ledger.rejects(), unchanged)  # FileEntry
    passed = root | CheckBuild(plan, counts, summaries, rejects)  # True
    stored = stored | "Passed" >> beam.Filter(lambda _, passed: passed, beam.pvalue.AsSingleton(passed))

    # 6. PCA with whitening and 7. optimal 8-bit codebook, fitted on the frames of the train partition (§3.3)
    train = stored | "Train" >> beam.Filter(lambda item: item.video.partition == Partition.TRAIN)  # StoredVideo
    fitting = Fitting(plan.store, plan.journal, frozen=plan.anew is not None, parallelism=config.parallelism)
    pca = train | (ImportPca(fitting, config.pca, plan.pca) if plan.pca else FitPca(fitting, config.pca))  # Step
    quantizer = train | FitQuantizer(fitting, config.quantizer, pca)  # Step

    # 8. TFRecord shards, frame-level and video-level, and the tables around them (§3.2, §3.4)
    train_counts = stored | CountTrainLabels()  # Counter
    indices = train_counts | IndexLabels(entities)  # {str: int}
    groups = stored | GroupByShard(config.shards)  # (Shard, [StoredVideo])
    shards = groups | WriteShards(plan, pca, quantizer, indices)  # Step
    lacking = stored | FindLackingEntities(entities)  # {str: [str]}
    ledger.warn(lacking | WarnOfLackingEntities(entities))  # str
    vocabulary = root | WriteVocabulary(plan, entities, train_counts)  # FileEntry
    tables = root | WriteVideos(plan.layout, groups | ListVideos(indices))  # FileEntry
    _ = root | WriteManifest(
        plan,
        pca=pca,
        quantizer=quantizer,
        shards=shards,
        tables=(rejects, vocabulary, tables) | "Files" >> beam.Flatten(),
        summaries=summaries,
        lacking=lacking,
        counts=counts,
        warnings=ledger.warnings(),
    )


def count_again(selected: Selected, stored: Any, plan: BuildPlan, ledger: Ledger) -> tuple[Any, Any]:
    """Drops the entities that have too few videos now, and the videos without labels; and settles the annotations."""
    counts = stored | CountStored()  # Counter
    frequent = KeepFrequent(plan.config.video_sampling, counts, Stage.RECOUNT)
    entities = ledger.keep(selected.entities | "EnoughVideos" >> frequent)  # pa.Table
    videos = ledger.keep(stored | KeepStored(entities))  # StoredVideo
    labels = {"videos": videos, "annotations": selected.annotations}
    ledger.keep(labels | SettleAnnotations(plan.config.parallelism.join_buckets))
    return entities, videos


def _annotations(root: beam.Pipeline, videos: Any, plan: BuildPlan) -> Any:
    """The annotations table, or the labels nested in the videos table."""
    if "annotations" in plan.sources:
        return root | "Annotations" >> ReadTable(plan.sources["annotations"])
    return videos | UnnestAnnotations()
