"""The recipe: how tables and videos become a dataset (paper §3). Read it from top to bottom.

Ids, small rows and paths are all that pass between stages; frames and features stay inside the fused steps of stages
4 and 5, and in the feature store. Each arrow's element type stands at the right.
"""

from typing import Any

import apache_beam as beam

from yt8m_pipeline.data_model import DropReason, Partition
from yt8m_pipeline.plan import BuildPlan
from yt8m_pipeline.transforms.compression import FitPca, FitQuantizer, Fitting
from yt8m_pipeline.transforms.dataset import (
    CheckBuild,
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
from yt8m_pipeline.transforms.extraction import (
    LACKING,
    DecodeFrames,
    ExtractPool3,
    FindInStore,
    RecallVideos,
    StoreFeatures,
)
from yt8m_pipeline.transforms.ledger import Ledger
from yt8m_pipeline.transforms.selection import (
    AssignPartitions,
    AttachLabels,
    CountVideos,
    DropDuplicates,
    FilterByType,
    FilterEligible,
    KeepFrequent,
    KeepLabels,
    KeepPopular,
    PruneByRaterScore,
    ReadTable,
    SampleVideos,
    UnnestAnnotations,
    WarnOfUnusedTypes,
)


def build_dataset(root: beam.Pipeline, plan: BuildPlan) -> None:
    """Adds the whole build to a Beam pipeline. Run it and the dataset stands, but for its mark of completion."""
    config, ledger = plan.config, Ledger()

    # 1. Vocabulary: entities with a whitelisted type and no blacklisted one (§3.1)
    rows = ledger.keep(root | "Entities" >> ReadTable(plan.sources["entities"]))  # pa.Table
    entities = ledger.keep(rows | "UniqueEntities" >> DropDuplicates("entities", "entity_id", config.table_buckets))
    typed = ledger.keep(entities | FilterByType(config.vocabulary))  # pa.Table
    warnings = entities | WarnOfUnusedTypes(config.vocabulary)  # str

    # 2. Rater pruning: entities that three raters find visual (§3.1, Figure 4)
    ratings = ledger.keep(root | "Ratings" >> ReadTable(plan.sources["ratings"]))  # pa.Table
    visual = ledger.keep(
        {"typed": typed, "entities": entities, "ratings": ratings}
        | PruneByRaterScore(config.rater_scores, config.table_buckets)  # pa.Table
    )

    # 3. Video sampling and partitioning (§3.1, §3.2)
    rows = ledger.keep(root | "Videos" >> ReadTable(plan.sources["videos"]))  # pa.Table
    videos = ledger.keep(rows | "UniqueVideos" >> DropDuplicates("videos", "video_id", config.table_buckets))
    eligible = ledger.keep(videos | FilterEligible(config.video_sampling))  # pa.Table
    labelled = ledger.keep(
        {"videos": videos, "eligible": eligible, "annotations": ledger.keep(_annotations(root, videos, plan))}
        | AttachLabels(vocabulary=visual, entities=entities, buckets=config.table_buckets)  # pa.Table
    )
    popular = ledger.keep(visual | KeepPopular(config.video_sampling, labelled | "Popular" >> CountVideos()))
    candidates = ledger.keep(labelled | KeepLabels("popularity", DropReason.NO_VOCABULARY_LABEL, popular))
    sampled = ledger.keep(candidates | SampleVideos(config.video_sampling))  # pa.Table
    frequent = ledger.keep(popular | KeepFrequent(config.video_sampling, sampled | "Sampled" >> CountVideos()))
    selected = ledger.keep(sampled | "Frequent" >> KeepLabels("frequency", DropReason.NO_LABEL_LEFT, frequent))
    partitioned = selected | AssignPartitions(config.partitioning, config.tables.root)  # Video

    # 4. Decoding at one frame per second, and 5. Inception pool_3 (§3.3), for what the store lacks
    ours = partitioned | "Ours" >> beam.Filter(lambda video: plan.anew in (None, video.partition))  # Video
    others = partitioned | "Others" >> beam.Filter(lambda video: plan.anew not in (None, video.partition))
    found = ours | FindInStore(plan.store)
    extracted = ledger.keep(
        found[LACKING]
        | DecodeFrames(config.decoding, config.inception)  # [FrameBatch]
        | ExtractPool3(config.inception)  # FeatureBatch
        | StoreFeatures(plan.store, config.inception.dtype)  # StoredVideo
    )
    recalled = ledger.keep(others | RecallVideos(plan.layout))  # StoredVideo
    stored = (ledger.keep(found), extracted, recalled) | "Stored" >> beam.Flatten()  # StoredVideo

    # Nothing is compressed unless there is enough, and all rejects are written down
    rejects = root | WriteRejects(plan.layout, ledger.rejects())  # FileEntry
    counts = ledger.counts()  # [StageCount]
    summaries = stored | SummarizePartitions()  # {str: Summary}
    passed = root | CheckBuild(plan, counts, summaries, rejects)  # True

    # 6. PCA with whitening and 7. optimal 8-bit codebook, fitted on the frames of the train partition (§3.3)
    train = stored | "Train" >> beam.Filter(_is_train, beam.pvalue.AsSingleton(passed))  # StoredVideo
    fitting = Fitting(plan.store, plan.journal, frozen=plan.anew is not None, units=config.table_buckets)
    pca = train | FitPca(fitting, config.pca)  # Step
    quantizer = train | FitQuantizer(fitting, config.quantizer, pca)  # Step

    # 8. TFRecord shards, frame-level and video-level, and the tables around them (§3.2, §3.4)
    train_counts = stored | CountTrainLabels()  # Counter
    indices = train_counts | IndexLabels(frequent)  # {str: int}
    groups = stored | GroupByShard(config.shards)  # (Shard, [StoredVideo])
    shards = groups | WriteShards(plan, pca, quantizer, indices)  # Step
    vocabulary = root | WriteVocabulary(plan, frequent, train_counts)  # FileEntry
    tables = root | WriteVideos(plan.layout, groups | ListVideos(indices))  # FileEntry
    written = (rejects, vocabulary, tables) | "Files" >> beam.Flatten()  # FileEntry
    _ = root | WriteManifest(
        plan,
        pca=pca,
        quantizer=quantizer,
        shards=shards,
        tables=written,
        summaries=summaries,
        counts=counts,
        warnings=warnings,
    )


def _annotations(root: beam.Pipeline, videos: Any, plan: BuildPlan) -> Any:
    """The annotations table, or the labels nested in the videos table."""
    if "annotations" in plan.sources:
        return root | "Annotations" >> ReadTable(plan.sources["annotations"])
    return videos | UnnestAnnotations()


def _is_train(stored: Any, passed: bool) -> bool:
    return passed and stored.video.partition == Partition.TRAIN
