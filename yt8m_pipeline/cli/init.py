"""`yt8m init`: writes the tables and a config from what people have."""

import codecs
import os
import shlex
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yt8m_pipeline.cli.console import AsJson, require_posix, show
from yt8m_pipeline.intake.options import ANNOTATIONS, CONFIG, ENTITIES, MISSING, VIDEOS, Model, Options
from yt8m_pipeline.places import has_table_ending

if TYPE_CHECKING:
    from yt8m_pipeline.intake.understood import Understood, Unused

SHOWN = 10
"""How many names of what is missing or not used are shown; missing.csv has all that is missing."""


def _column(role: str) -> Any:
    return typer.Option(f"--{role}-column", metavar="NAME", help=f"The column of a table with the {MEANINGS[role]}.")


MEANINGS = {
    "path": "paths or URIs of videos",
    "id": "ids of videos",
    "label": "labels; give it again for each of several columns of labels, or of 0 and 1",
    "split": "partition",
    "group": "group: the videos of one group stay in one partition",
    "duration": "seconds",
    "views": "views",
    "score": "score of the labels",
    "start": "start of the labels' segment, seconds",
    "end": "end of that segment",
}

Column = str | None


def encoding_name(text: str) -> str:
    """Parses --encoding: a name that Python knows, or auto."""
    try:
        return text if text == "auto" else codecs.lookup(text).name
    except LookupError:
        raise typer.BadParameter(f"{text!r} is no encoding that Python knows, such as utf-8 or shift_jis") from None


def init(  # noqa: PLR0913  each argument is an option of the command line
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Folders of videos, local or gs://, tables of videos, and published annotation files.",
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(help="Where the tables and the config go; by default ./yt8m_NAME."),
    ] = None,
    *,
    match: Annotated[
        str | None,
        typer.Option(metavar="PATTERN", help="How ids and names of videos are joined: '{id}*.mp4', or a regex."),
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option(metavar="REGEX", help="Its first group, in the path of a video, is the video's group."),
    ] = None,
    split: Annotated[
        int | None, typer.Option(min=1, help="Which of the splits of UCF-101 or HMDB51 is taken; by default 1.")
    ] = None,
    model: Annotated[Model, typer.Option(help="The network that the config names.")] = Model.IMAGENET,
    force: Annotated[bool, typer.Option("--force", help="Replace files that were changed since.")] = False,
    path_column: Annotated[Column, _column("path")] = None,
    id_column: Annotated[Column, _column("id")] = None,
    label_column: Annotated[list[str] | None, _column("label")] = None,
    split_column: Annotated[Column, _column("split")] = None,
    group_column: Annotated[Column, _column("group")] = None,
    duration_column: Annotated[Column, _column("duration")] = None,
    views_column: Annotated[Column, _column("views")] = None,
    score_column: Annotated[Column, _column("score")] = None,
    start_column: Annotated[Column, _column("start")] = None,
    end_column: Annotated[Column, _column("end")] = None,
    encoding: Annotated[
        str,
        typer.Option(
            parser=encoding_name,
            metavar="NAME",
            help="The encoding of tables, such as shift_jis; auto takes what their bytes tell.",
        ),
    ] = "auto",
    as_json: AsJson = False,
) -> None:
    """Write tables and a config from a folder of videos, a table, or the annotations of a known dataset."""
    require_posix("init")
    named = {
        "path": path_column,
        "id": id_column,
        "split": split_column,
        "group": group_column,
        "duration": duration_column,
        "views": views_column,
        "score": score_column,
        "start": start_column,
        "end": end_column,
    }
    columns: dict[str, tuple[str, ...]] = {role: (name,) for role, name in named.items() if name is not None}
    columns |= {"label": tuple(label_column)} if label_column else {}
    folder = output or default_folder(sources[0])
    understood = initialize(
        sources, folder, Options(match, group_by, split, columns, encoding), model=model, force=force
    )
    show(_facts(understood, folder), as_json, _title(understood, folder))


def is_source(text: str) -> bool:
    """Whether the argument of `build` names what `init` takes, and not a config."""
    if text.lower().endswith((".yaml", ".yml")):
        return False
    return "://" in text or os.path.isdir(text) or has_table_ending(text)


def default_folder(source: str) -> str:
    """The folder for the tables of a source: its name in the current folder."""
    from yt8m_pipeline.tables.video_files import identify

    name = os.path.basename(os.path.abspath(source)) if "://" not in source else source.rstrip("/").rpartition("/")[2]
    stem = name.partition(".")[0] or name
    return f"yt8m_{identify([stem])[0][stem]}"


def initialize(
    sources: Sequence[str], folder: str, options: Options, *, model: Model = Model.IMAGENET, force: bool = False
) -> "Understood":
    """Understands sources and writes what a build needs of them into a folder."""
    from yt8m_pipeline.files import require_known
    from yt8m_pipeline.intake.understanding import understand
    from yt8m_pipeline.intake.writing import write

    for place in (*sources, folder):
        require_known(place)
    understood = understand(sources, options, without=folder)
    write(understood, folder, model=model, force=force)
    return understood


def summary(understood: "Understood", folder: str) -> list[str]:
    """What `build` says of a source before it builds, in lines."""
    videos, classes = len(understood.videos), len(understood.classes)
    first = f"{understood.kind}: {videos} videos of {classes} classes; the tables and the config are in {folder}"
    left = {
        "videos are missing": sum(item.lacks == "file" for item in understood.lacking),
        "videos have no labels": sum(item.lacks == "labels" for item in understood.lacking),
        "files, rows or cells are not used": len(understood.unused),
    }
    rest = ", ".join(f"{number} {what}" for what, number in left.items() if number)
    return [first, *understood.notes, *([f"{rest}; `yt8m init` names them"] if rest else [])]


def _title(understood: "Understood", folder: str) -> str:
    """What was understood and written, and the next command."""
    if understood.classes:
        command = shlex.join(["yt8m", "build", os.path.join(folder, CONFIG)])
        return f"{understood.kind}: the tables and the config are in {folder}; `{command}` builds the dataset"
    command = f"{shlex.join(['yt8m', 'extract', os.path.join(folder, VIDEOS)])} --like DATASET --output DIR"
    return f"{understood.kind}: {VIDEOS} is in {folder}; `{command}` extracts their features in the space of a dataset"


def _facts(understood: "Understood", folder: str) -> dict[str, Any]:
    classes, counts, groups = understood.classes, understood.partitions, understood.groups
    facts: dict[str, Any] = {"videos": len(understood.videos), "classes": len(classes)}
    for name, ranked in (("largest", _ranked(classes, -1)), ("smallest", _ranked(classes, 1))):
        facts[f"{name}_classes"] = [{"class": label, "videos": videos} for label, videos in ranked]
    if understood.has_partitions:
        facts["partitions"] = [{"partition": name or "(none)", "videos": counts[name]} for name in sorted(counts)]
    facts["groups"] = len(groups)
    facts["columns"] = [{"role": role, "column": name} for role, name in understood.columns.items()]
    facts["notes"] = [{"note": note} for note in understood.notes]
    facts["not_used"] = _tallied(understood.unused)
    for lacks in ("file", "labels"):
        names = [item.video_id or item.uri for item in understood.lacking if item.lacks == lacks]
        facts[f"without_{lacks}"] = len(names)
        facts[f"without_{lacks}_first"] = [{"video": name} for name in names[:SHOWN]]
    names = [VIDEOS, ANNOTATIONS, ENTITIES, CONFIG, MISSING]
    facts["files"] = [{"file": os.path.join(folder, name)} for name in names if _is_written(name, understood)]
    return facts


def _is_written(name: str, understood: "Understood") -> bool:
    conditions = {MISSING: understood.lacking, ENTITIES: understood.entities, VIDEOS: True}
    return bool(conditions.get(name, understood.classes))


def _ranked(classes: Any, sign: int) -> list[tuple[str, int]]:
    """The three classes with the most or the fewest videos; of equals the first by name."""
    ranked: list[tuple[str, int]] = sorted(classes.items(), key=lambda item: (sign * item[1], item[0]))
    return ranked[:3]


def _tallied(unused: Sequence["Unused"]) -> list[dict[str, Any]]:
    """How many files or rows could not be used for each reason, with the first of their names."""
    ordered = sorted(unused)
    groups = [(why, [item.name for item in items]) for why, items in groupby(ordered, key=lambda item: item.why)]
    return [{"why": why, "count": len(names), "first": ", ".join(names[:SHOWN])} for why, names in groups]
