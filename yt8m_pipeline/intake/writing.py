"""Writing of what is understood: the tables, a commented config, and init.json, which says what was written.

The bytes depend on what is understood alone. A file that somebody has changed since it was written is not replaced.
"""

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence

from yt8m_pipeline import files
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.intake.options import ANNOTATIONS, CONFIG, ENTITIES, MISSING, VIDEOS, WRITTEN, Model
from yt8m_pipeline.intake.splits import partition_of
from yt8m_pipeline.intake.understood import Understood, Video
from yt8m_pipeline.parsing import parse_json

MODELS = {Model.IMAGENET: "{keras: imagenet}", Model.RANDOM: "{random: 0}"}
REMARKS = {
    Model.IMAGENET: "Inception-V3 with ImageNet weights, from Keras' own cache",
    Model.RANDOM: "random weights, for a try without a network: its features mean nothing",
}


def write(understood: Understood, folder: str, *, model: Model = Model.IMAGENET, force: bool = False) -> list[str]:
    """Writes the tables and the config into a folder, which may hold those of an earlier run.

    Args:
        understood: What to write.
        folder: Local or gs://; it is made where it is missing, and other files in it are left alone.
        model: The network that the config names.
        force: Whether files are replaced that somebody has changed since they were written.

    Returns:
        The names of the files, written or already as they are to be.

    Raises:
        UsageError: if files have been changed since, or were there before.
    """
    contents = render(understood, folder, model)
    before = _written_before(folder)
    there = {name: files.read_bytes(files.join(folder, name)) for name in _all_there(folder, contents, before)}
    foreign = [name for name, data in there.items() if data != contents.get(name) and before.get(name) != _sha256(data)]
    if foreign and not force:
        raise _changed(folder, foreign)
    for name, data in contents.items():
        if there.get(name) != data:
            files.write_bytes(files.join(folder, name), data)
    for name in set(there) - set(contents):
        files.delete(files.join(folder, name))
    record = json.dumps({name: _sha256(data) for name, data in contents.items()}, indent=2) + "\n"
    _write_if_new(files.join(folder, WRITTEN), record.encode())
    return [*contents, WRITTEN]


def _write_if_new(place: str, data: bytes) -> None:
    if not files.exists(place) or files.read_bytes(place) != data:
        files.write_bytes(place, data)


def _written_before(folder: str) -> Mapping[str, str]:
    """The digests of the files that an earlier run wrote."""
    place = files.join(folder, WRITTEN)
    if not files.exists(place):
        return {}
    try:
        record = parse_json(files.read_bytes(place))
    except ValueError:
        record = None
    if not isinstance(record, dict) or not all(isinstance(value, str) for value in record.values()):
        fix = "remove it, and move the tables away that you want to keep"
        raise DataError(what="A file of `yt8m init` is damaged", where=place, why="it is not what was written", fix=fix)
    return {name: digest for name, digest in record.items() if name in (VIDEOS, ANNOTATIONS, ENTITIES, CONFIG, MISSING)}


def _all_there(folder: str, contents: Iterable[str], before: Iterable[str]) -> list[str]:
    names = dict.fromkeys([*contents, *before])
    return [name for name in names if files.exists(files.join(folder, name))]


def _changed(folder: str, names: Sequence[str]) -> UsageError:
    return UsageError(
        what="Files are not replaced that are not as `yt8m init` wrote them",
        where=", ".join(files.join(folder, name) for name in names),
        why="somebody has changed them since, or they were there before",
        fix=f"build what is there (`yt8m build {files.join(folder, CONFIG)}`), name another folder with --output, or "
        "replace them with --force",
    )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def render(understood: Understood, folder: str, model: Model) -> dict[str, bytes]:
    """The contents of the files by their names."""
    contents = {VIDEOS: _videos(understood.videos, folder)}
    if understood.classes:
        contents[ANNOTATIONS] = _annotations(understood.videos)
        if understood.entities:
            contents[ENTITIES] = _table(
                ("entity_id", "name", "description", "wiki_url", "verticals"),
                [(item.entity_id, item.name, item.description, item.wiki_url, ";".join(item.verticals))
                 for item in understood.entities],
            )  # fmt: skip
        contents[CONFIG] = config(understood, model).encode()
    if understood.lacking:
        contents[MISSING] = _table(("lacks", "video_id", "uri"), understood.lacking)
    return contents


def _videos(videos: Sequence[Video], folder: str) -> bytes:
    """The videos table, with only those optional columns that have a value."""
    optional: dict[str, list[str | float | None]] = {
        "duration_seconds": [video.duration_seconds for video in videos],
        "view_count": [video.view_count for video in videos],
        "group_id": [video.group_id or None for video in videos],
        "partition": [video.partition or None for video in videos],
    }
    columns = {name: values for name, values in optional.items() if any(value is not None for value in values)}
    ids, uris = [video.video_id for video in videos], [_uri(video.uri, folder) for video in videos]
    return _table(("video_id", "uri", *columns), zip(ids, uris, *columns.values(), strict=True))


def _annotations(videos: Sequence[Video]) -> bytes:
    rows = [(video.video_id, label) for video in videos for label in video.labels]
    optional = ("score", "start_seconds", "end_seconds")
    known = [name for name in optional if any(getattr(label, name) is not None for _, label in rows)]
    lines = ([video_id, label.entity_id, *(getattr(label, name) for name in known)] for video_id, label in rows)
    return _table(("video_id", "entity_id", *known), lines)


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(map(_cells, rows))
    return text.getvalue().encode("utf-8", "backslashreplace")


def _cells(row: Sequence[object]) -> list[object]:
    return [f"{value:.12g}" if isinstance(value, float) else value for value in row]


def _uri(uri: str, folder: str) -> str:
    """The uri of a video in a table: relative where the video is near the table, so that both can be moved together."""
    if not files.is_local(folder) or "://" in uri:
        return uri
    parent = os.path.dirname(os.path.abspath(folder))
    is_near = parent != "/" and uri.startswith(f"{parent}/")
    return os.path.relpath(uri, os.path.abspath(folder)) if is_near else uri


def config(understood: Understood, model: Model) -> str:
    """The config, as commented YAML."""
    alternative = Model.RANDOM if model is Model.IMAGENET else Model.IMAGENET
    schemes = "  uri_schemes: [gs, s3]\n" * any(video.uri.startswith("s3://") for video in understood.videos)
    entities = (
        f"{ENTITIES}  # the names of the labels" if understood.entities else "null          # each label is an entity"
    )
    return f"""\
# Written by `yt8m init` from: {understood.kind}.
# Paths are relative to this file. `yt8m config schema` lists all fields.
tables:
  root: .
  videos: {VIDEOS}
  annotations: {ANNOTATIONS}
  entities: {entities}
  ratings: null          # nobody rated the entities: stage 2 keeps all
{schemes}store: features          # where the features of each video are kept, once for all datasets made of them
output: dataset
vocabulary: null         # entities of every type are kept
video_sampling:
  min_views: 0                 # the paper: 1,000
  min_duration_seconds: 1      # the paper: 120
  max_duration_seconds: 36000  # the paper: 500; the first 360 s are used
  min_videos_per_entity: 1     # the paper: 200
{_partitioning(understood)}labels:
  test: withheld         # published: the labels of test videos are in the dataset too
inception:
  model: {MODELS[model]}  # {REMARKS[model]}
  # model: {MODELS[alternative]}  # {REMARKS[alternative]}
  # model: {{graph: classify_image_graph_def.pb}}  # the network of the paper
  # model: {{saved_model: FOLDER}}  # one of your own
pca:
  components: auto       # the paper: 1,024; auto takes what the train frames can bear
shards: {{train: auto, validate: auto, test: auto}}
"""


def _partitioning(understood: Understood) -> str:
    if not understood.has_partitions:
        return (
            "partitioning:\n"
            "  by: hash               # by chance, as 70 : 20 : 10; column honours a column partition of videos.csv\n"
        )
    unknown = sorted(name for name in understood.partitions if name and not partition_of(name))
    names = f"  # values: {{train: {json.dumps(unknown)}, validate: [], test: []}}  # divide what the column says\n"
    return (
        "partitioning:\n"
        "  by: column             # as the column partition of videos.csv says; hash divides all videos by chance\n"
        "  without: reject        # hash divides those by chance that have no partition\n"
    ) + (names if unknown else _shares(understood.partitions))


def _shares(videos: Mapping[str, int]) -> str:
    """The paper's shares (§3.2), of which a partition without videos gives its own to the first with some.

    A build ends if a partition is empty that has a share.
    """
    shares = {"train": 7, "validate": 2, "test": 1}
    given = {name: tenths for name, tenths in shares.items() if videos.get(name)}
    if len(given) in (0, len(shares)):
        return ""
    first = next(iter(given))
    given[first] += sum(shares.values()) - sum(given.values())
    lines = [f"  {name}: {given.get(name, 0) / 10:g}\n" for name in shares]
    return "  # what is divided by chance; the paper: 0.7, 0.2, 0.1. An empty partition has no share\n" + "".join(lines)
