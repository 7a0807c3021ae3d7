"""The recipe: how tables and videos become a dataset (paper §3). Read it from top to bottom.

Ids, small rows and paths are all that pass between stages; frames and features stay inside the fused steps of stages
4 and 5, and in the feature store. Each arrow's element type stands at the right.
"""

from typing import NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.pipeline import Pipeline
from apache_beam.pvalue import PCollection
from apache_beam.transforms.util import WaitOn

from yt8m_pipeline.accounting.reasons import Stage
from yt8m_pipeline.data_model import Partition, StoredVideo, Video
from yt8m_pipeline.jobs.build_plan import BuildPlan
from yt8m_pipeline.jobs.export_plan import ExportPlan
from yt8m_pipeline.jobs.extract_plan import ExtractPlan
from yt8m_pipeline.jobs.features_plan import FeaturesPlan
from yt8m_pipeline.jobs.trainer_export_plan import TrainerExportPlan
from yt8m_pipeline.transforms.compression import FitPca, FitQuantizer, Fitting, ImportPca, ImportQuantizer
from yt8m_pipeline.transforms.dataset import (
    CheckBuild,
    CheckOtherSplits,
    CheckSelection,
    CountTrainLabels,
    DecideShards,
    GroupByShard,
    IndexLabels,
    ListVideos,
    OnlyIf,
    SummarizePartitions,
    SumUpRejects,
    WarnOfEmptyPartitions,
    WriteManifest,
    WriteShards,
    WriteVideos,
    WriteVocabulary,
    Writing,
)
from yt8m_pipeline.transforms.duplicate_films import KeepFilmsTogether, RejectSameFeatures, RejectSameUri
from yt8m_pipeline.transforms.durations import MeasureDurations
from yt8m_pipeline.transforms.exporting import (
    CheckStore,
    Copying,
    CopyStep,
    CopyTables,
    EncodeAgain,
    ReadMembers,
    WriteExportManifest,
    WriteUniform,
)
from yt8m_pipeline.transforms.extraction import ExtractFeatures
from yt8m_pipeline.transforms.ledger import Ledger, Outputs
from yt8m_pipeline.transforms.lookup import FindInStore, RecallTransfers, RecallVideos, WarnOfHighDynamicRange
from yt8m_pipeline.transforms.new_videos import (
    CheckExtraction,
    CopyVocabulary,
    IntoPartition,
    LabelByVocabulary,
    ListNewVideos,
    WriteArrays,
)
from yt8m_pipeline.transforms.rejects import Parts, WriteRejects
from yt8m_pipeline.transforms.selection import (
    AssignPartitions,
    AttachLabels,
    CountStored,
    CountVideos,
    DeriveEntities,
    DropDuplicates,
    FilterByType,
    FilterEligible,
    FindLackingEntities,
    GivePartitions,
    KeepFrequent,
    KeepLabels,
    KeepPopular,
    KeepStored,
    LeaveUnrated,
    PruneByRaterScore,
    ReadTable,
    SampleVideos,
    SettleAnnotations,
    UnnestAnnotations,
    WarnOfLackingEntities,
    WarnOfSegments,
    WarnOfUnusedTypes,
)
from yt8m_pipeline.transforms.trainer_formats import CopyForTrainers, WriteExportList, WriteForTrainers
from yt8m_pipeline.transforms.video_level import (
    CopyVocabularyFile,
    DescribeVideos,
    FitToTrain,
    TakePca,
    WriteFeatureList,
    WriteVectors,
)


class Selected(NamedTuple):
    """What the selection hands on: the videos, the entities that label them, and the annotations that say so.

    The files of the rows that it rejects are written before any of the videos goes on, and none does if too little can
    come of them.
    """

    videos: PCollection[Video]
    entities: PCollection[pa.Table]
    annotations: PCollection[pa.Table]
    rejects: Parts
    passed: PCollection[bool]


def build_dataset(root: Pipeline, plan: BuildPlan) -> None:
    """Adds the whole build to a Beam pipeline. Run it and the dataset stands, but for its mark of completion."""
    ledger = Ledger()
    selected = select_videos(root, plan, ledger)
    stored = extract_features(selected.videos, plan, ledger)
    write_dataset(selected, stored, plan, ledger)


def export_dataset(root: Pipeline, plan: ExportPlan) -> None:
    """Adds the writing of a finished dataset with another codebook; no video is decoded."""
    copying = Copying(plan.source.layout, plan.journal, plan.store)
    groups = root | ReadMembers(copying.source, plan.videos, plan.sizes)  # (Shard, [Member])
    passed = groups | CheckStore(plan.store, plan.number_of_videos)  # bool
    pca = root | CopyStep(copying, plan.pca, passed)  # Step
    tables = root | CopyTables(copying, plan.tables, plan.pca.facts.components, passed)  # FileEntry
    quantizer = pca | WriteUniform(plan.journal)  # Step
    shards = groups | EncodeAgain(copying, plan.pca, plan.quantizer, quantizer, passed)  # Step
    _ = shards | WriteExportManifest(copying, plan.for_manifest, quantizer, tables, passed)


def export_for_trainers(root: Pipeline, plan: TrainerExportPlan) -> None:
    """Adds the writing of a finished dataset in the format of another trainer, one file for each shard."""
    shards = root | beam.Create(plan.shards) | beam.Reshuffle()  # (Shard, Shard)
    written = shards | WriteForTrainers(plan)  # ListedFile
    copied = root | CopyForTrainers(plan)  # ListedFile
    _ = (written, copied) | "Files" >> beam.Flatten() | WriteExportList(plan)


def compute_features(root: Pipeline, plan: FeaturesPlan) -> None:
    """Adds one vector for each video of a finished dataset: φ = [μ; σ; Top5], normalised (paper §4.2)."""
    groups = root | ReadMembers(plan.dataset.layout, plan.videos, plan.sizes)  # (Shard, [Member])
    passed = groups | CheckStore(plan.store, plan.number_of_videos)  # bool
    described = groups | DescribeVideos(plan, passed)  # Described
    pca = described | FitToTrain(plan) if plan.is_fitted else root | TakePca(plan)  # Step, or None
    written = described | WriteVectors(plan, pca)  # ListedFile
    vocabulary = root | CopyVocabularyFile(plan)  # ListedFile
    _ = (written, vocabulary) | "Files" >> beam.Flatten() | WriteFeatureList(plan, pca, passed)


def extract_videos(root: Pipeline, plan: ExtractPlan) -> None:
    """Adds the extraction of new videos in the space of a finished dataset: its PCA, codebook and labels hold."""
    config, layout, buckets, ledger = plan.config, plan.layout, plan.config.parallelism.join_buckets, Ledger()
    copying = Copying(plan.like.layout, plan.journal, plan.store)

    # The videos, with those of their labels that the vocabulary has
    rows = ledger.keep(root | "NewVideos" >> ListNewVideos(plan.videos, config.tables.places))  # pa.Table
    unique = ledger.keep(rows | "UniqueVideos" >> DropDuplicates("videos", "video_id", buckets))
    annotations = (
        root | "Annotations" >> ReadTable(plan.annotations) if plan.annotations else unique | UnnestAnnotations()
    )
    given = {"videos": unique, "annotations": ledger.keep(annotations)}
    ledger.warn(given["annotations"] | WarnOfSegments())  # str
    labelled = given | LabelByVocabulary(plan.entity_ids, config.video_sampling, buckets)  # Attached
    videos = ledger.keep(labelled.outputs) | IntoPartition(plan.partition, config.tables.places)  # Video

    # Stages 4 and 5, for those that the feature store lacks
    stored = find_or_extract(videos, plan, ledger)  # StoredVideo
    ledger.keep({"videos": stored, "annotations": labelled.annotations} | SettleAnnotations(buckets))
    ledger.warn(stored | WarnOfHighDynamicRange())  # str
    counts, always = ledger.counts(), root | "Always" >> beam.Create([True])
    parts = ledger.take_rejects("extraction") | WriteRejects(layout)  # WrittenPart
    rejects = parts | SumUpRejects(layout, always)  # FileEntry
    passed = counts | CheckExtraction(layout, config, rejects)  # bool
    stored = stored | "Stored enough" >> OnlyIf(passed)
    counts = counts | "Counted enough" >> OnlyIf(passed)

    # Stage 8, with the PCA, the codebook and the label indices of the dataset
    pca = root | "Pca" >> CopyStep(copying, plan.manifest.pca, passed)  # Step
    quantizer = root | "Quantizer" >> CopyStep(copying, plan.manifest.quantizer, passed)  # Step
    vocabulary = root | CopyVocabulary(copying, plan.vocabulary, passed)  # FileEntry
    indices = root | "Indices" >> beam.Create([{name: index for index, name in enumerate(plan.entity_ids)}])
    summaries = stored | SummarizePartitions()  # (str, PartitionSummary)
    sizes = pca | DecideShards(config.shards, summaries)  # {str: int}
    groups = stored | GroupByShard(config.shards.salt, sizes)  # (Shard, [StoredVideo])
    writing = Writing(plan.store, plan.journal, None)
    shards = groups | WriteShards(writing, pca, quantizer, indices)  # Step
    arrays = groups | WriteArrays(copying, plan.wanted.form, plan.wanted.raw, pca, quantizer)  # FileEntry
    rows = groups | ListVideos(indices, plan.keep_columns)  # pa.Table
    tables = rows | WriteVideos(layout, passed, pca, quantizer, writing.published)  # FileEntry
    _ = counts | WriteManifest(
        layout,
        plan.for_manifest,
        steps=(pca, quantizer, shards) | "Steps" >> beam.Flatten(),
        tables=(rejects, vocabulary, tables, arrays) | "Files" >> beam.Flatten(),
        summaries=summaries,
        lacking=root | "Lacking" >> beam.Create([{}]),
        warnings=ledger.warnings(),
    )


def select_videos(root: Pipeline, plan: BuildPlan, ledger: Ledger) -> Selected:
    """Stages 1 to 3: which entities, and which videos."""
    config, sampling, buckets = plan.config, plan.config.video_sampling, plan.config.parallelism.join_buckets

    # The videos, their annotations, and the entities that these name
    rows = ledger.keep(root | "Videos" >> ReadTable(plan.sources["videos"], config.tables.places))
    videos = ledger.keep(rows | "UniqueVideos" >> DropDuplicates("videos", "video_id", buckets))  # pa.Table, as are all
    annotations = ledger.keep(_annotations(root, videos, plan))
    entities = _entities(root, {"videos": videos, "annotations": annotations}, plan, ledger)

    # 1. Vocabulary: entities with a whitelisted type and no blacklisted one (§3.1)
    typed = entities
    if config.vocabulary:
        typed = ledger.keep(entities | FilterByType(config.vocabulary))
        ledger.warn(entities | WarnOfUnusedTypes(config.vocabulary))  # str

    # 2. Rater pruning: entities that three raters find visual (§3.1, Figure 4), or all where nobody rated them
    if "ratings" in plan.sources:
        ratings = ledger.keep(root | "Ratings" >> ReadTable(plan.sources["ratings"]))
        rated = {"typed": typed, "entities": entities, "ratings": ratings}
        visual = ledger.keep(rated | PruneByRaterScore(config.rater_scores, buckets))
    else:
        visual = typed | LeaveUnrated()

    # 3. Video sampling and partitioning (§3.1, §3.2)
    eligible = ledger.keep(videos | FilterEligible(sampling))
    ledger.warn(annotations | WarnOfSegments())  # str
    passed = None
    if config.partitioning.by != "hash":
        where = config.tables.videos
        given = eligible | GivePartitions(config.partitioning, plan.lists, where=where, buckets=buckets)
        eligible, passed = ledger.keep(given.outputs), given.passed  # bool
        ledger.warn(given.warnings)  # str
    annotated = {"videos": videos, "eligible": eligible, "annotations": annotations}
    attached = annotated | AttachLabels(sampling, vocabulary=visual, entities=entities, buckets=buckets)
    labelled = ledger.keep(attached.outputs)
    labelled = labelled | "Given well" >> OnlyIf(passed) if passed else labelled  # before any video is opened
    measured = labelled | MeasureDurations(sampling, plan.measuring)
    ledger.warn(measured.warnings)  # str
    labelled = ledger.keep(measured.outputs)  # those of a fitting duration
    popular = ledger.keep(visual | KeepPopular(sampling, labelled | "Popular" >> CountVideos()))
    candidates = ledger.keep(labelled | KeepLabels(Stage.POPULARITY, popular))
    sampled = ledger.keep(candidates | SampleVideos(sampling))
    frequent = ledger.keep(popular | KeepFrequent(sampling, sampled | "Sampled" >> CountVideos(), Stage.FREQUENCY))
    selected = ledger.keep(sampled | "Frequent" >> KeepLabels(Stage.FREQUENCY, frequent))
    if config.duplicates == "reject":
        selected = ledger.keep(selected | RejectSameUri(config.tables.places))
    videos = selected | AssignPartitions(config.partitioning, config.tables.places)  # Video

    # Why a row was not selected can be read while videos are decoded; `rebuild-split` may yet be refused, and waits
    rejected = root | beam.Create([]) if plan.anew else ledger.take_rejects("selection")  # Packed
    rejects = rejected | "SelectionRejects" >> WriteRejects(plan.layout)  # WrittenPart
    passed = videos | CheckSelection(config, plan.layout)  # bool
    videos = videos | WaitOn(rejects) | "Selected enough" >> OnlyIf(passed)
    return Selected(videos, frequent, attached.annotations, rejects, passed)


def extract_features(videos: PCollection[Video], plan: BuildPlan, ledger: Ledger) -> PCollection[StoredVideo]:
    """Stages 4 and 5, for the videos that the feature store lacks."""
    ours = videos | "Ours" >> beam.Filter(lambda video, anew=plan.anew: anew in (None, video.partition))  # Video
    others = videos | "Others" >> beam.Filter(lambda video, anew=plan.anew: anew not in (None, video.partition))
    recalled = others | RecallVideos(plan.layout, plan.config.decoding, plan.anew)
    wanted = (ours, recalled.unlisted) | "Wanted" >> beam.Flatten()  # Video
    stored = find_or_extract(wanted, plan, ledger)  # StoredVideo
    listed = ledger.keep(recalled.outputs)  # StoredVideo
    listed = listed | RecallTransfers(plan.store) if plan.anew else listed
    return (stored, listed) | "Stored" >> beam.Flatten()


def find_or_extract(
    videos: PCollection[Video], plan: BuildPlan | ExtractPlan, ledger: Ledger
) -> PCollection[StoredVideo]:
    """The features of videos: those that the store has, and those that must be extracted."""
    config, places = plan.config, plan.config.tables.places
    found = videos | FindInStore(plan.store, config.decoding, plan.retry, refresh=plan.refresh, verify=plan.verify)
    ledger.warn(found.warnings)  # str

    # 4. One frame per second of the first 360 s, and 5. Inception pool_3 of each (§3.3): one call for each video
    extract = ExtractFeatures(plan.store, config.decoding, config.inception, plan.dimensions, plan.identity, places)
    extracted = ledger.keep(found.lacking | extract)  # StoredVideo
    return (ledger.keep(found.outputs), extracted) | "Found or extracted" >> beam.Flatten()


def write_dataset(selected: Selected, stored: PCollection[StoredVideo], plan: BuildPlan, ledger: Ledger) -> None:
    """Stages 6 to 8: the compression, the shards, and the tables around them."""
    config, layout = plan.config, plan.layout

    # No film stands in two partitions, although several videos have it
    if config.duplicates == "reject":
        stored = ledger.keep(stored | RejectSameFeatures())  # StoredVideo
    together = stored | KeepFilmsTogether(config)
    ledger.warn(together.warnings)  # str

    # Each entity has enough videos in the dataset (§3.1), although some could not be decoded
    entities, stored = count_again(selected, together.stored, plan, ledger)  # pa.Table, StoredVideo
    lacking = stored | FindLackingEntities(entities, config.labels.published)  # {str: [str]}
    ledger.warn(lacking | WarnOfLackingEntities(entities))  # str
    ledger.warn(stored | WarnOfHighDynamicRange())  # str
    counts = ledger.counts()  # [StageCount]

    # Nothing is compressed unless there is enough, and all rejects are written down
    summaries = stored | SummarizePartitions()  # (str, PartitionSummary)
    ledger.warn(summaries | WarnOfEmptyPartitions(config))  # str
    unchanged = summaries | CheckOtherSplits(layout, plan.anew, plan.previous_partitions)  # bool
    unchanged = unchanged | "Selected and unchanged" >> OnlyIf(selected.passed)  # bool
    rejected = ledger.take_rejects("extraction") | "Unchanged" >> OnlyIf(unchanged)  # Packed
    parts = (selected.rejects, rejected | WriteRejects(layout)) | "Parts" >> beam.Flatten()  # WrittenPart
    rejects = parts | SumUpRejects(layout, unchanged)  # FileEntry
    passed = counts | CheckBuild(layout, config, summaries, together.clusters, unchanged, rejects)  # bool
    stored = stored | "Stored enough" >> OnlyIf(passed)  # StoredVideo
    counts = counts | "Counted enough" >> OnlyIf(passed)  # [StageCount]

    # 6. PCA with whitening and 7. optimal 8-bit codebook, fitted on the frames of the train partition (§3.3)
    train = stored | "Train" >> beam.Filter(lambda item: item.video.partition == Partition.TRAIN)  # StoredVideo
    fitting = Fitting(plan.store, plan.journal, frozen=plan.anew is not None, parallelism=config.parallelism)
    pca = train | (ImportPca(fitting, config.pca, plan.pca) if plan.pca else FitPca(fitting, config.pca))  # Step
    codebook = plan.codebook
    quantizer = (
        pca | ImportQuantizer(fitting, codebook) if codebook else train | FitQuantizer(fitting, config.quantizer, pca)
    )

    # 8. TFRecord shards, frame-level and video-level, and the tables around them (§3.2, §3.4)
    train_counts = stored | CountTrainLabels() | "Labelled enough" >> OnlyIf(passed)  # Counter
    indices = train_counts | IndexLabels(entities)  # {str: int}
    sizes = pca | DecideShards(config.shards, summaries)  # {str: int}
    groups = stored | GroupByShard(config.shards.salt, sizes)  # (Shard, [StoredVideo])
    writing = Writing(plan.store, plan.journal, plan.anew, config.labels.published)
    shards = groups | WriteShards(writing, pca, quantizer, indices)  # Step
    vocabulary = train_counts | WriteVocabulary(layout, entities, frozen=plan.anew is not None)  # FileEntry
    rows = groups | ListVideos(indices, config.tables.keep_columns)  # pa.Table
    tables = rows | WriteVideos(layout, passed, pca, quantizer, config.labels.published)  # FileEntry
    _ = counts | WriteManifest(
        layout,
        plan.for_manifest,
        steps=(pca, quantizer, shards) | "Steps" >> beam.Flatten(),
        tables=(rejects, vocabulary, tables) | "Files" >> beam.Flatten(),
        summaries=summaries,
        lacking=lacking,
        warnings=ledger.warnings(),
    )


def count_again(
    selected: Selected, stored: PCollection[StoredVideo], plan: BuildPlan, ledger: Ledger
) -> tuple[PCollection[pa.Table], PCollection[StoredVideo]]:
    """Drops the entities that have too few videos now, and the videos without labels; and settles the annotations."""
    counts = stored | CountStored()  # Counter
    frequent = KeepFrequent(plan.config.video_sampling, counts, Stage.RECOUNT)
    entities = ledger.keep(selected.entities | "EnoughVideos" >> frequent)  # pa.Table
    videos = ledger.keep(stored | KeepStored(entities))  # StoredVideo
    labels = {"videos": videos, "annotations": selected.annotations}
    ledger.keep(labels | SettleAnnotations(plan.config.parallelism.join_buckets))
    return entities, videos


def _entities(
    root: Pipeline, tables: dict[str, PCollection[pa.Table]], plan: BuildPlan, ledger: Ledger
) -> PCollection[pa.Table]:
    """The entities table, or the distinct labels of the annotations."""
    buckets = plan.config.parallelism.join_buckets
    if "entities" not in plan.sources:
        return tables | DeriveEntities(buckets)
    rows = ledger.keep(root | "Entities" >> ReadTable(plan.sources["entities"]))
    return ledger.keep(rows | "UniqueEntities" >> DropDuplicates("entities", "entity_id", buckets))


def _annotations(root: Pipeline, videos: PCollection[pa.Table], plan: BuildPlan) -> Outputs[pa.Table]:
    """The annotations table, or the labels nested in the videos table."""
    if "annotations" in plan.sources:
        return root | "Annotations" >> ReadTable(plan.sources["annotations"])
    return videos | UnnestAnnotations()
