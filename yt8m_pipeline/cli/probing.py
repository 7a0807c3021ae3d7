"""`yt8m probe`: what videos are, or why a build cannot use them."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yt8m_pipeline.accounting.reasons import VideoRejected
from yt8m_pipeline.cli.console import AsJson, load_config, local_path, progress_bars, require_posix, show
from yt8m_pipeline.errors import UsageError

if TYPE_CHECKING:
    from yt8m_pipeline.config import Config
    from yt8m_pipeline.decoding.facts import VideoFacts
    from yt8m_pipeline.decoding.sandbox.threads import Probing


def probe(
    videos: Annotated[
        list[str] | None, typer.Argument(metavar="FILE|FOLDER", help="Videos, or folders of them, local or gs://.")
    ] = None,
    *,
    table: Annotated[str | None, typer.Option(help="Probe the videos of a videos table; globs allowed.")] = None,
    output: Annotated[str, typer.Option(help="Where the table of problems of --table goes.")] = "problems.parquet",
    config: Annotated[
        Path | None,
        typer.Option(
            parser=local_path,
            help="Take `decoding` from a config, and for --table `tables.root`, to which URIs then are relative (by "
            "default they are to the table's folder), and `store`, which keeps the durations for builds.",
        ),
    ] = None,
    frames: Annotated[bool, typer.Option("--frames", help="Decode all frames that a build would take.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Videos at once; by default one per core.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what videos are, or why a build cannot use them; of one, a few or all that a table lists."""
    require_posix("probe")
    from yt8m_pipeline.config import Decoding, Tables
    from yt8m_pipeline.decoding.sandbox.threads import Probing
    from yt8m_pipeline.places import Places

    if bool(videos) == bool(table):
        what = "Videos and a table exclude each other" if videos else "Nothing to probe"
        raise UsageError(
            what=what,
            where="yt8m probe",
            why="there are both" if videos else "there is neither a video nor a table",
            fix="give FILE..., FOLDER... or --table TABLE",
        )
    loaded = load_config(config, None, None) if config else None
    places = (loaded.tables if loaded else Tables()).places if table else Places()
    probing = Probing(loaded.decoding if loaded else Decoding(), frames, workers or os.cpu_count() or 1, places)
    if table:
        all_sound = _probe_table(table, loaded, output, probing, as_json)
    else:
        all_sound = _probe_videos(videos or [], probing, as_json)
    if not all_sound:
        raise typer.Exit(1)


def _probe_table(table: str, config: "Config | None", output: str, probing: "Probing", as_json: bool) -> bool:
    """Shows what is wrong in a videos table; whether nothing is."""
    from yt8m_pipeline.config import Tables, absolute_path
    from yt8m_pipeline.jobs.preflight import count_videos, probe_table, require_replaceable
    from yt8m_pipeline.tables.headers import check_source
    from yt8m_pipeline.tables.reading import as_configured, find_files

    found_files = find_files(".", absolute_path(table, Path.cwd()), "videos")
    configured = as_configured(found_files, config.tables if config else Tables())
    source = replace(configured, ignored=("labels",), max_malformed_fraction=1.0)  # each bad row is told
    require_replaceable(output)
    check_source(source)
    root, store = (config.tables.root, config.store) if config else (source.root, None)
    with progress_bars() as bars:
        bars.update("probe", total=count_videos(source, replace(probing.places, root=root)))
        found = probe_table(source, root, output, probing, lambda: bars.update("probe", done=1), store)
    problems = found.problems.total()
    facts = {
        "videos": found.videos,
        "hours": round(found.seconds / 3600, 3),
        "without_duration": found.without_duration,
        "problems": [{"reason": reason, "rows": rows} for reason, rows in found.problems.most_common()],
        "wrong_durations": found.wrong_durations,
        "worst_durations": [_readable(duration._asdict()) for duration in found.worst_durations],
        "table_of_problems": output,
    }
    show(facts, as_json, f"{table}: {problems or 'no'} problem{'s' * (problems != 1)}")
    return not problems


def _probe_videos(uris: Sequence[str], probing: "Probing", as_json: bool) -> bool:
    """Shows what each video is, or why a build cannot use it; whether it can use all."""
    from yt8m_pipeline.jobs.preflight import find_videos

    found = find_videos(uris)
    videos = _probed(found.videos, probing, is_folder=found.videos != list(uris))
    rejected = [video for video in videos if "reason" in video]
    title = f"{len(videos)} videos, {len(rejected) or 'none'} of them unusable"
    if len(videos) == 1:
        title = f"1 video, {'unusable' if rejected else 'usable'}"
    seconds = sum(video.get("duration_seconds_from_content", 0.0) for video in videos)
    total = {"hours": round(seconds / 3600, 3), "hidden_files": found.hidden, "other_files": found.others}
    if as_json or len(videos) == 1:
        show({"videos": videos, **total} if as_json else _readable(videos[0]), as_json, title)
    else:
        tables = {
            **total,
            "videos": [_video_row(video) for video in videos if "reason" not in video],
            "unusable": [{name: video[name] for name in ("file", "reason", "detail")} for video in rejected],
            "frames": [{"file": video["file"], **frame} for video in videos for frame in video.get("frames", ())],
        }
        show(tables, as_json, title)
    return not rejected


def _probed(uris: "Sequence[str]", probing: "Probing", *, is_folder: bool) -> list[dict[str, Any]]:
    """What each video is, or why a build cannot use it. Of those in folders, which may be many, progress is shown."""
    from yt8m_pipeline.jobs.preflight import probe_all

    with progress_bars() as bars:
        if is_folder:
            bars.update("probe", total=len(uris))
        tell = (lambda: bars.update("probe", done=1)) if is_folder else (lambda: None)
        results = probe_all(uris, probing, tell)
    return [{"file": uri, **_video_facts(result)} for uri, result in zip(uris, results, strict=True)]


def _video_facts(result: "VideoFacts | VideoRejected") -> dict[str, Any]:
    from yt8m_pipeline.decoding.facts import VideoFacts

    if isinstance(result, VideoFacts):
        return result.to_json()
    return {"reason": result.reason.value, "detail": result.detail, "decoded_fraction": result.decoded_fraction}


def _video_row(video: Mapping[str, Any]) -> dict[str, Any]:
    """What a table of several videos has room for."""
    facts = _readable(video)
    return {
        "file": facts["file"],
        "codec": facts["codec"],
        "size": f"{facts['width']}×{facts['height']}",
        "rotation": facts["rotation_degrees"],
        "frame_rate": facts.get("frame_rate", ""),
        "in_header": facts.get("duration_seconds_from_header", ""),
        "seconds": facts["duration_seconds_from_content"],
        "frames": facts["grid_frames"],
    }


def _readable(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The known facts, with times in milliseconds."""
    known = {name: value for name, value in facts.items() if value is not None}
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in known.items()}
