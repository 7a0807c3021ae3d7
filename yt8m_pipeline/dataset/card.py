"""The card of a dataset, README.md: what is in it and how it was made, by its manifest, for people who find it.

It begins with the YAML header by which Hugging Face lists a dataset. Everything is a function of the manifest and of
the numbers of the classes, so the same build writes the same bytes.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.layout import LEVELS, Layout
from yt8m_pipeline.dataset.manifest import Manifest
from yt8m_pipeline.dataset.offsets import OFFSET_COLUMNS
from yt8m_pipeline.errors import printable

CARD = "card"
"""The section of a config that says what only people know of a dataset."""

SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
)
"""The size categories of Hugging Face, by the number of videos below which they are."""

LICENCE_ID = re.compile(r"[a-z0-9][a-z0-9.+-]*")
"""What an identifier of a licence looks like to Hugging Face, in small letters; another licence is `other`."""

COLUMNS: Mapping[str, str] = {
    "video_id": "the id of the video",
    "partition": "train, validate or test",
    "labels": f"label indices, which count the rows of {Layout.VOCABULARY} from 0; null where they are withheld",
    "frames": "how many frames the records have",
    "shard": "the name of the shard of its records",
    "features_sha256": "the SHA-256 of its features before compression",
    "features_magnitude": "the largest absolute value of these",
    "decoded_fraction": "the share of the grid times that have a sound frame",
    "deviation_seconds": "the largest distance of a frame from its grid time",
    "uri": "where the video was, as the videos table had it",
    "duration_seconds": "its duration, as far as it is known",
    "view_count": "how often it was viewed, as far as the videos table tells",
    "transfer": "PQ or HLG for high dynamic range, which is not tone-mapped; null for others",
    "container": "FFmpeg's name of the container of its file; like the seven after it, null if version 0.1.0 stored it",
    "codec": "FFmpeg's name of its codec",
    "file_bytes": "the size of its file",
    "width": "the width of its frames as they are coded, in pixels",
    "height": "their height",
    "frame_rate": "its frames per second by the header; null where it tells none",
    "packets": "how many packets its file has up to the last frame of the dataset, nearly all a frame each",
    "decoded_packets": "how many packets were decoded to get its frames",
    OFFSET_COLUMNS[0]: "where its frame-level record begins in the file of the shard, in bytes",
    OFFSET_COLUMNS[1]: "how many bytes that record has",
    OFFSET_COLUMNS[2]: "where its video-level record begins",
    OFFSET_COLUMNS[3]: "how many bytes that record has",
}
"""What the columns of videos.parquet hold."""

KEPT = "as the videos table had it, as text (`tables.keep_columns`)"
"""What any other column of videos.parquet holds."""


def card(manifest: Manifest, train_videos: Sequence[int], columns: Sequence[str]) -> bytes:
    """The text of README.md, as UTF-8.

    Args:
        manifest: The manifest.
        train_videos: The number of train videos of each class, in the order of the label indices.
        columns: The names of the columns of videos.parquet.
    """
    told = told_by_config(manifest)
    sections = [
        _header(manifest, told),
        f"# {plain(title_of(manifest))}",
        *([told["description"].strip()] if "description" in told else []),
        _summary(manifest, len(train_videos)),
        _splits(manifest),
        _making(manifest),
        _feature_space(manifest),
        _fields(manifest, columns),
        _reading(manifest),
        _limits(manifest, train_videos),
        _rights(told),
    ]
    return ("\n\n".join(sections) + "\n").encode()


def told_by_config(manifest: Manifest) -> dict[str, str]:
    """The fields of the section `card` of the config that are given."""
    section = manifest.config.get(CARD)
    return {name: str(value) for name, value in section.items() if value} if isinstance(section, Mapping) else {}


def title_of(manifest: Manifest) -> str:
    """The title that the config gives; else what the dataset is."""
    return told_by_config(manifest).get("title") or "Video features in the format of YouTube-8M"


def plain(text: str) -> str:
    r"""A stranger's text as Markdown that shows it as it is, in one line.

    >>> print(plain("<b> [a](b) *c*\n"))
    \<b\> \[a\]\(b\) \*c\*\\n
    """
    return re.sub(r"([\\`*_{}\[\]()<>#+!|~$&])", r"\\\1", printable(text))


def _code(name: str) -> str:
    """A name as code of Markdown, which no character of it ends."""
    shown = printable(name).replace("`", "'")
    return f"`{shown}`"


def _header(manifest: Manifest, told: Mapping[str, str]) -> str:
    licence = told.get("licence", "")
    known = licence.lower()
    values: dict[str, Any] = {"pretty_name": printable(title_of(manifest))}
    if LICENCE_ID.fullmatch(known):
        values["license"] = known
    elif licence:
        values |= {"license": "other", "license_name": printable(licence)}
    number = sum(row.videos for row in manifest.partitions.values())
    values |= {
        "size_categories": [next((name for bound, name in SIZES if number < bound), "100M<n<1B")],
        "task_categories": ["video-classification"],
        "tags": ["video", "video-understanding", "multi-label-classification", "youtube-8m", "tfrecord"],
        "configs": [
            {"config_name": name.partition(".")[0], "data_files": name} for name in (Layout.VIDEOS, Layout.VOCABULARY)
        ],
    }
    return f"---\n{yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=1000)}---"


def _summary(manifest: Manifest, classes: int) -> str:
    rows, pca = manifest.partitions.values(), manifest.pca.facts
    videos, frames = sum(row.videos for row in rows), sum(row.frames for row in rows)
    levels = manifest.quantizer.facts.more.get("levels", 256)
    like = " The videos are new ones in the feature space of another dataset." if manifest.is_extraction else ""
    return (
        f"Features of {videos:,} videos with labels of {classes:,} classes: {frames:,} frames, "
        f"{manifest.frames_per_second:g} a second, each of {pca.components:,} coefficients with {levels} levels. The "
        f"format is that of YouTube-8M (Abu-El-Haija et al., 2016, arXiv:1609.08675).{like} There are no pictures and "
        "no sound in it."
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _splits(manifest: Manifest) -> str:
    shards = {part: [row for row in manifest.shards if row.partition == part] for part in Partition}
    rows = [
        (
            part.value,
            manifest.partitions[part].videos,
            manifest.partitions[part].frames,
            manifest.partitions[part].labels if part in manifest.published else "withheld",
            sum(row.level == LEVELS[0] for row in shards[part]),
            sum(row.bytes for row in shards[part]),
        )
        for part in Partition
    ]
    return "## Splits\n\n" + _table(["split", "videos", "frames", "labels", "shards of each level", "bytes"], rows)


def _making(manifest: Manifest) -> str:
    rows = [
        (
            row.stage,
            plain(row.table),
            row.rows_in,
            row.kept,
            ", ".join(f"{plain(reason)} {number:,}" for reason, number in row.rejected.items()),
        )
        for row in manifest.accounting
    ]
    versions = ", ".join(f"{plain(name)} {plain(version)}" for name, version in manifest.versions.items())
    numbers = "".join(
        f"- `{name}`: {plain(', '.join(f'{key} {value}' for key, value in flat(section)))}\n"
        for name, section in manifest.config.items()
        if name != CARD and isinstance(section, Mapping) and section
    )
    return (
        f"## How it was made\n\nBuild `{printable(manifest.build_key)}`, by {versions or 'unknown versions'}. "
        f"Each stage kept and rejected these rows; `rejects/` has every one that was rejected:\n\n"
        f"{_table(['stage', 'table', 'rows in', 'kept', 'rejected'], rows)}\n\n"
        f"The numbers of the config:\n\n{numbers or 'None: the dataset was converted.'}".rstrip()
    )


def flat(section: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    """The fields of a section of a config, with the names that lead to them.

    >>> flat({"model": {"random": 8}, "image_size": 299, "types": ["a", "b"]})
    [('model.random', '8'), ('image_size', '299'), ('types', 'a b')]
    """
    found: list[tuple[str, str]] = []
    for name, value in section.items():
        if isinstance(value, Mapping):
            found += flat(value, f"{above}{name}.")
        elif value not in (None, [], ()):
            shown = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            found.append((f"{above}{name}", shown))
    return found


def _feature_space(manifest: Manifest) -> str:
    pca, codebook = manifest.pca.facts, manifest.quantizer.facts
    rows = [("fingerprint", manifest.feature_space.fingerprint), *flat(manifest.feature_space.more)]
    rows += [("PCA", f"{pca.source}, {pca.components} components, fingerprint {pca.fingerprint}")]
    rows += [("codebook", f"{codebook.method}, {codebook.scope}, fingerprint {codebook.fingerprint}")]
    text = "Features of two datasets can be compared only if their fingerprints are equal."
    return f"## Feature space\n\n{text}\n\n" + _table(["of", "value"], [(plain(a), plain(b)) for a, b in rows])


def _fields(manifest: Manifest, columns: Sequence[str]) -> str:
    feature = manifest.quantizer.facts.more.get("feature_name", "rgb")
    told = [f"- {_code(name)}: {COLUMNS.get(name, KEPT)}" for name in columns]
    return (
        "## Fields\n\n"
        f"- `frame/SPLIT/*.tfrecord`: a `SequenceExample` for each video: context `id` (bytes) and `labels` (int64 "
        f"list), and the feature list `{feature}`, one bytes value of {manifest.pca.facts.components:,} codes a frame. "
        f"`{Layout.QUANTIZER}` has the value of each code.\n"
        f"- `video/SPLIT/*.tfrecord`: an `Example` for each video: `id`, `labels`, and `mean_rgb`, the mean of its "
        f"frames (float list).\n"
        f"- `{Layout.VOCABULARY}`: a row for each class, in the order of the label indices.\n"
        f"- `{Layout.MANIFEST}`: the sizes and SHA-256 of all files, and all that this page says.\n\n"
        f"`{Layout.VIDEOS}` has a row for each video:\n\n" + "\n".join(told)
    )


def _reading(manifest: Manifest) -> str:
    filled = [part for part in Partition if manifest.partitions[part].videos]
    split = filled[0].value if filled else Partition.TRAIN.value
    numpy = (
        "from read_dataset import classes, read_frames\n\n"
        "names = classes()\n"
        f'for video in read_frames("{split}"):\n'
        "    print(video.video_id, [names[label] for label in video.labels], video.features().shape)\n"
        "    break"
    )
    torch = (
        "import torch\nfrom read_dataset import read_videos\n\n\n"
        "class Videos(torch.utils.data.IterableDataset):\n"
        "    def __iter__(self):\n"
        f'        for video in read_videos("{split}"):\n'
        "            yield video.video_id, torch.from_numpy(video.mean_rgb)\n\n\n"
        "for ids, means in torch.utils.data.DataLoader(Videos(), batch_size=32):\n"
        "    print(len(ids), means.shape)\n"
        "    break"
    )
    tensorflow = (
        "import tensorflow as tf\n\n"
        "fields = {\n"
        '    "id": tf.io.FixedLenFeature([], tf.string),\n'
        '    "labels": tf.io.VarLenFeature(tf.int64),\n'
        f'    "mean_rgb": tf.io.FixedLenFeature([{manifest.pca.facts.components}], tf.float32),\n'
        "}\n"
        f'shards = tf.data.Dataset.list_files("video/{split}/*.tfrecord", shuffle=False)\n'
        "for record in tf.data.TFRecordDataset(shards).take(1):\n"
        "    video = tf.io.parse_single_example(record, fields)\n"
        '    print(video["id"].numpy(), video["mean_rgb"].shape)'
    )
    blocks = (("NumPy, with the reader beside this file", numpy), ("PyTorch", torch), ("TensorFlow", tensorflow))
    shown = "\n\n".join(f"{name}:\n\n```python\n{code}\n```" for name, code in blocks)
    return f"## How to read it\n\nIn the folder of the dataset:\n\n{shown}"


def _limits(manifest: Manifest, train_videos: Sequence[int]) -> str:
    facts = [
        "The labels are those of the annotations that the dataset was made of; nobody has checked them here.",
        *_of_classes(train_videos),
        *_of_partitions(manifest),
        *(plain(text) for text in manifest.warnings),
    ]
    return "## Limits and biases\n\n" + "\n".join(f"- {fact}" for fact in facts)


def _of_classes(train_videos: Sequence[int]) -> list[str]:
    total, ordered = sum(train_videos), sorted(train_videos, reverse=True)
    if not total:
        return []
    tenth = ordered[: max(1, len(ordered) // 10)]
    lacking = sum(number == 0 for number in ordered)
    return [
        f"The most frequent {len(tenth):,} of {len(ordered):,} classes have {sum(tenth) / total:.1%} of the labels of "
        f"train; the median class has {ordered[len(ordered) // 2]:,} train videos, the most frequent {ordered[0]:,}; "
        f"{lacking:,} have none."
    ]


def _of_partitions(manifest: Manifest) -> Iterable[str]:
    salvaged = sum(row.salvaged for row in manifest.partitions.values())
    if salvaged:
        yield f"{salvaged:,} videos lack a sound frame at some of their grid times (`decoded_fraction` below 1)."
    for part in Partition:
        error = manifest.distortion[part].relative_error
        if error is not None:
            yield f"Quantization adds an error of {error:.2e} of the variance to the coefficients of {part.value}."


def _rights(told: Mapping[str, str]) -> str:
    citation = told.get("citation", "").strip()
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", citation)), default=0))
    parts = {
        "Licence": plain(told["licence"]) if "licence" in told else "None is given: ask before you use the dataset.",
        "Homepage": plain(told.get("homepage", "")),
        "Contact": plain(told.get("contact", "")),
        "Take-down": plain(told.get("take_down", "")),
        "Citation": f"\n\n{fence}\n{citation}\n{fence}" if citation else "",
    }
    return "## Licence and contact\n\n" + "\n\n".join(f"**{name}:** {text}" for name, text in parts.items() if text)
