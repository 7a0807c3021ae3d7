"""The description of a dataset for machines, croissant.json: Croissant 1.1 of MLCommons, a JSON-LD vocabulary.

It lists the tables and arrays with their SHA-256, the shards as sets of files, the columns of the tables as record
sets, and by PROV what the dataset was made of. scripts/test_croissant lets MLCommons' own program read it.
"""

import json
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.card import COLUMNS, title_of, told_by_config
from yt8m_pipeline.dataset.layout import LEVELS, Layout
from yt8m_pipeline.dataset.manifest import Manifest
from yt8m_pipeline.dataset.steps import FileEntry

CROISSANT = "http://mlcommons.org/croissant/1.1"
"""The version of the specification that the file conforms to."""

CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context of the specification (its Appendix 1), and PROV."""

FORMATS = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".md": "text/markdown",
    ".npy": "application/x-npy",
    ".npz": "application/x-npz",
    ".parquet": "application/x-parquet",
    ".py": "text/x-python",
    ".tfrecord": "application/x-tfrecord",
}
"""The media types of the files, by their endings. That of Parquet is the one that MLCommons' program knows; those of
NumPy and TensorFlow are not registered."""

SPLITS = {
    Partition.TRAIN: "cr:TrainingSplit",
    Partition.VALIDATE: "cr:ValidationSplit",
    Partition.TEST: "cr:TestSplit",
}

OTHER = "application/octet-stream"
WITHHELD = "withheld/"


def croissant(manifest: Manifest, files: Sequence[FileEntry], videos: pa.Schema, vocabulary: Sequence[str]) -> bytes:
    """The text of croissant.json, as UTF-8.

    Args:
        manifest: The manifest.
        files: The tables and arrays of the dataset.
        videos: The columns of videos.parquet.
        vocabulary: The names of the columns of vocabulary.csv.
    """
    told = told_by_config(manifest)
    values = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": title_of(manifest),
        "description": told.get("description") or _description(manifest),
        "conformsTo": CROISSANT,
        "version": f"1.0.0+{manifest.build_key[:16]}",
        "keywords": ["video", "video understanding", "multi-label classification", "YouTube-8M"],
        **{key: told[name] for key, name in (("license", "licence"), ("url", "homepage")) if name in told},
        **({"citeAs": told["citation"]} if "citation" in told else {}),
        "prov:wasDerivedFrom": _inputs(manifest),
        "prov:wasGeneratedBy": _activity(manifest),
        "distribution": [*_file_objects(files), *_file_sets(manifest)],
        "recordSet": [_splits(), _videos(videos), _vocabulary(vocabulary)],
    }
    return (json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode()


def _description(manifest: Manifest) -> str:
    videos = sum(row.videos for row in manifest.partitions.values())
    return f"Frame-level and video-level features of {videos:,} videos with labels, in the format of YouTube-8M."


def _inputs(manifest: Manifest) -> list[dict[str, Any]]:
    """The tables that the dataset was made of, with their digests."""
    listed = [(table, row) for table, rows in sorted(manifest.inputs.items()) if isinstance(rows, list) for row in rows]
    return [
        {"@type": "prov:Entity", "name": f"{table}: {row.get('file', '')}", "sha256": row.get("sha256", "")}
        for table, row in listed
        if isinstance(row, dict)
    ]


def _activity(manifest: Manifest) -> dict[str, Any]:
    """The build, and the programs that it ran."""
    agents = [
        {"@type": "prov:SoftwareAgent", "name": name, "version": version} for name, version in manifest.versions.items()
    ]
    return {"@type": "prov:Activity", "name": f"build {manifest.build_key}", "prov:wasAssociatedWith": agents}


def _file_objects(files: Sequence[FileEntry]) -> list[dict[str, Any]]:
    """The files that are no set. What is withheld is not published, so it is not listed."""
    return [
        {
            "@type": "cr:FileObject",
            "@id": file.path,
            "name": file.path,
            "contentUrl": file.path,
            "contentSize": f"{file.bytes} B",
            "encodingFormat": FORMATS.get(PurePosixPath(file.path).suffix, OTHER),
            "sha256": file.sha256,
        }
        for file in files
        if not (file.path.startswith(WITHHELD) or Layout.is_rejects(file.path))
    ]


def _file_sets(manifest: Manifest) -> list[dict[str, Any]]:
    """The shards of each level and partition, and the rejects. The manifest has their digests, since they are many."""
    shards = [
        _file_set(
            f"{level}-{part.value}",
            f"{level}-level records of {manifest.partitions[part].videos:,} videos",
            f"{level}/{part.value}/*.tfrecord",
        )
        for level in LEVELS
        for part in Partition
    ]
    return [
        *shards,
        _file_set(Layout.REJECTS, "Every row and video that is not in the dataset", f"{Layout.REJECTS}/*.parquet"),
    ]


def _file_set(name: str, description: str, includes: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": name,
        "name": name,
        "description": description,
        "encodingFormat": FORMATS[PurePosixPath(includes).suffix],
        "includes": includes,
    }


def _splits() -> dict[str, Any]:
    """The partitions, as the specification names splits."""
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [
            {"@type": "cr:Field", "@id": "splits/name", "name": "name", "dataType": "sc:Text"},
            {"@type": "cr:Field", "@id": "splits/url", "name": "url", "dataType": "sc:URL"},
        ],
        "data": [{"splits/name": part.value, "splits/url": url} for part, url in SPLITS.items()],
    }


def _videos(schema: pa.Schema) -> dict[str, Any]:
    fields = [_field("videos", Layout.VIDEOS, field.name, _type(field.type)) for field in schema]
    for field in fields:
        if field["name"] == "labels":
            field |= {"isArray": True, "arrayShape": "-1"}
        if field["name"] == "partition":
            field["references"] = {"field": {"@id": "splits/name"}}
    return _record_set("videos", "A row for each video.", fields, "video_id")


def _type(of: pa.DataType) -> str:
    """The data type of a column, or of the values of its lists."""
    inner = of.value_type if pa.types.is_list(of) else of
    return "sc:Integer" if pa.types.is_integer(inner) else "sc:Float" if pa.types.is_floating(inner) else "sc:Text"


def _vocabulary(columns: Sequence[str]) -> dict[str, Any]:
    numbers = {"Index": "sc:Integer", "TrainVideoCount": "sc:Integer", "MeanRaterScore": "sc:Float"}
    fields = [_field("vocabulary", Layout.VOCABULARY, name, numbers.get(name, "sc:Text")) for name in columns]
    return _record_set("vocabulary", "A row for each class, in the order of the label indices.", fields, "Index")


def _record_set(name: str, description: str, fields: list[dict[str, Any]], key: str) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": description,
        "key": {"@id": f"{name}/{key}"},
        "field": fields,
    }


def _field(record_set: str, file: str, column: str, data_type: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"{record_set}/{column}",
        "name": column,
        **({"description": COLUMNS[column]} if record_set == "videos" and column in COLUMNS else {}),
        "dataType": data_type,
        "source": {"fileObject": {"@id": file}, "extract": {"column": column}},
    }
