"""The command line. Heavy libraries are imported by the commands that need them: `yt8m --help` answers at once."""

import json
import logging
import os
import re
import sys
import time
from argparse import ArgumentError, ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yt8m_pipeline.data_model import Retry
from yt8m_pipeline.errors import DataError, PipelineError, UsageError, VideoRejected

if TYPE_CHECKING:
    from yt8m_pipeline.config import Config
    from yt8m_pipeline.data_model import FilmFacts, Partition
    from yt8m_pipeline.plan import BuildPlan
    from yt8m_pipeline.preflight import Probing

app = typer.Typer(
    name="yt8m",
    help="Build a YouTube-8M-style dataset from your own videos.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
config_app = typer.Typer(help="Show, check or describe configs.", no_args_is_help=True)
app.add_typer(config_app, name="config")

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML config; see configs/.")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one config field.")]
Output = Annotated[str | None, typer.Option("--output", help="Folder of the dataset; overrides the config's.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
TOTALS = ("videos", "frames", "labels")
BEAM = {"allow_extra_args": True}
PIPED_WIDTH = 250
"""Columns of the tables where there is no terminal to fit them into."""
INTERRUPTED = 130
"""The exit code that shells and Typer give to Ctrl-C."""
RESUMABLE = ("build", "rebuild-split")


class Split(StrEnum):
    """The values of the argument of `rebuild-split`."""

    TRAIN = "train"
    VALIDATE = "validate"
    TEST = "test"


class PcaFormat(StrEnum):
    """The values of --format of `export-pca`."""

    MEDIAPIPE = "mediapipe"
    PUBLISHED = "published"


def main() -> None:
    """Runs a command; an error of ours becomes its four parts on stderr and an exit code."""
    try:
        app()
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            goes_on = "; the same command goes on from here" * (sys.argv[1] in RESUMABLE)
            print(f"stopped{goes_on}", file=sys.stderr)
        raise


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write the corpus.")],
    videos: Annotated[int, typer.Option(min=24, help="How many videos to encode.")] = 40,
    seconds: Annotated[float, typer.Option(min=2, max=40, help="Their typical length.")] = 10.0,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives another corpus.")] = 0,
    nested_labels: Annotated[bool, typer.Option(help="Labels inside the videos table, no annotations table.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a tiny corpus: the four tables and real, encoded, learnable videos."""
    from rich.console import Console

    from yt8m_pipeline.cli_progress import StageProgress
    from yt8m_pipeline.demo.corpus import write_corpus

    bars = StageProgress(Console(stderr=True))

    def progress(_: int, total: int) -> None:
        bars.update("encode", total=total, done=1)

    with bars.shown():
        summary = write_corpus(
            folder, videos=videos, seconds=seconds, seed=seed, nested_labels=nested_labels, progress=progress
        )
    _show(summary.to_json(), as_json, f"The demo corpus is in {folder}; configs/smoke.yaml builds a dataset of it")


@app.command(context_settings=BEAM)
def build(
    context: typer.Context,
    config: ConfigPath,
    output: Output = None,
    settings: Settings = None,
    retry: Annotated[
        Retry | None,
        typer.Option(
            help="Which failed videos to try again, also if the dataset is complete. An unfinished or changed build "
            "tries the transient failures again, if this does not say otherwise."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Build the dataset, or go on where a stopped build left it. Beam's own options go after `--`."""
    _build(_load(config, settings, output), None, context.args, as_json, retry)


@app.command(context_settings=BEAM)
def rebuild_split(
    context: typer.Context,
    split: Split,
    config: ConfigPath,
    output: Output = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Write one split's shards again with the existing PCA, codebook and vocabulary; the others stay untouched."""
    from yt8m_pipeline.data_model import Partition

    _build(_load(config, settings, output), Partition(split.value), context.args, as_json, retry=None)


@app.command("verify")
def verify_dataset(dataset: Annotated[str, typer.Argument(metavar="DATASET")], as_json: AsJson = False) -> None:
    """Compare everything on disk with the manifest; exit 1 and a table of what is wrong."""
    from yt8m_pipeline.dataset.verify import verify

    faults = verify(dataset)
    rows = [{"where": fault.where, "what": fault.what} for fault in faults]
    title = f"{dataset}: {len(faults)} fault{'s' * (len(faults) != 1)}" if faults else f"{dataset}: sound"
    _show({"faults": rows}, as_json, title)
    if faults:
        raise typer.Exit(1)


@app.command()
def export_pca(
    dataset: Annotated[str, typer.Argument(metavar="DATASET")],
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Where the files go.")],
    form: Annotated[
        PcaFormat, typer.Option("--format", help="MediaPipe's MatrixData, or the .npy files of the public extractor.")
    ] = PcaFormat.MEDIAPIPE,
) -> None:
    """Write a dataset's PCA for other programs."""
    from yt8m_pipeline.inspection import open_pca

    pca = open_pca(dataset)
    (pca.save_mediapipe if form is PcaFormat.MEDIAPIPE else pca.save_published)(folder)
    print(f"The PCA of {dataset} is in {folder}: {pca.components} components of {len(pca.mean)} dimensions")


@app.command()
def inspect(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A shard, a store file, a codebook, a table.")],
    records: Annotated[int, typer.Option(min=0, help="Records of a shard to show.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Say what a file is, and show it."""
    from yt8m_pipeline.inspection import inspect_file

    _show(inspect_file(file, records), as_json, file)


@app.command()
def probe(
    films: Annotated[list[str] | None, typer.Argument(metavar="FILE", help="Videos, local or gs://.")] = None,
    *,
    table: Annotated[str | None, typer.Option(help="Probe the videos of a videos table; globs allowed.")] = None,
    output: Annotated[str, typer.Option(help="Where the table of problems of --table goes.")] = "problems.parquet",
    config: Annotated[Path | None, typer.Option(help="Take `decoding` and `tables.root` from a config.")] = None,
    frames: Annotated[bool, typer.Option("--frames", help="Decode all frames that a build would take.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Films at once; by default one per core.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what films are, or why a build cannot use them; of one, a few or all that a table lists."""
    from yt8m_pipeline.config import Decoding
    from yt8m_pipeline.preflight import Probing

    if bool(films) == bool(table):
        why = "there are both" if films else "there is neither"
        raise UsageError("Films and a table exclude each other", "yt8m probe", why, "give FILE... or --table TABLE")
    loaded = _load(config, None, None) if config else None
    probing = Probing(loaded.decoding if loaded else Decoding(), frames, workers or os.cpu_count() or 1)
    if table:
        all_sound = _probe_table(table, loaded.tables.root if loaded else None, output, probing, as_json)
    else:
        all_sound = _probe_films(films or [], probing, as_json)
    if not all_sound:
        raise typer.Exit(1)


@config_app.command("show")
def config_show(config: ConfigPath, settings: Settings = None, as_json: AsJson = False) -> None:
    """Print the config with every default filled in."""
    from yt8m_pipeline.config import as_dict, as_yaml

    loaded = _load(config, settings, None)
    print(json.dumps(as_dict(loaded), indent=2) if as_json else as_yaml(loaded), end="" if not as_json else "\n")


@config_app.command("check")
def config_check(config: ConfigPath, settings: Settings = None) -> None:
    """Check a config, its tables' headers and its model; every problem of the config at once."""
    from yt8m_pipeline.plan import plan_build

    plan = plan_build(_load(config, settings, None))
    files = ", ".join(f"{table}: {len(source.files)}" for table, source in plan.sources.items())
    print(f"{config} is sound. Table files: {files}. Feature space: {plan.store.space}.")


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON schema of a config: every field, its default and where in the paper it stands."""
    from yt8m_pipeline.config import Config

    print(json.dumps(Config.model_json_schema(), indent=2))


def _load(path: Path, settings: Sequence[str] | None, output: str | None) -> "Config":
    from yt8m_pipeline.config import load

    return load(path, [*(settings or []), *([f"output={json.dumps(output)}"] if output else [])])


def _probe_table(table: str, root: str | None, output: str, probing: "Probing", as_json: bool) -> bool:
    """Shows what is wrong in a videos table; whether nothing is."""
    from rich.console import Console

    from yt8m_pipeline.cli_progress import StageProgress
    from yt8m_pipeline.config import absolute_path
    from yt8m_pipeline.dataset.tables import check_schema, find_files
    from yt8m_pipeline.preflight import count_videos, probe_table

    source = find_files(".", absolute_path(table, Path.cwd()), "videos")
    for name in source.files:
        check_schema(source.path(name), "videos")
    bars = StageProgress(Console(stderr=True))
    with bars.shown():
        bars.update("probe", total=count_videos(source))
        found = probe_table(source, root or source.root, output, probing, lambda: bars.update("probe", done=1))
    problems = found.problems.total()
    facts = {
        "videos": found.videos,
        "problems": [{"reason": reason, "rows": rows} for reason, rows in found.problems.most_common()],
        "wrong_durations": found.wrong_durations,
        "worst_durations": [_readable(duration._asdict()) for duration in found.worst_durations],
        "table_of_problems": output,
    }
    _show(facts, as_json, f"{table}: {problems or 'no'} problem{'s' * (problems != 1)}")
    return not problems


def _probe_films(uris: Sequence[str], probing: "Probing", as_json: bool) -> bool:
    """Shows what each film is, or why a build cannot use it; whether it can use all."""
    from yt8m_pipeline.preflight import prober

    with prober(probing) as probe:
        results = dict(probe(uris))
    films = [{"file": uri, **_film_facts(results[number])} for number, uri in enumerate(uris)]
    rejected = [film for film in films if "reason" in film]
    title = f"{len(films)} film{'s' * (len(films) != 1)}, {len(rejected) or 'none'} of them unusable"
    if as_json or len(films) == 1:
        _show({"films": films} if as_json else _readable(films[0]), as_json, title)
    else:
        tables = {
            "films": [_film_row(film) for film in films if "reason" not in film],
            "unusable": [{name: film[name] for name in ("file", "reason", "detail")} for film in rejected],
            "frames": [{"file": film["file"], **frame} for film in films for frame in film.get("frames", ())],
        }
        _show(tables, as_json, title)
    return not rejected


def _film_facts(result: "FilmFacts | VideoRejected") -> dict[str, Any]:
    from yt8m_pipeline.data_model import FilmFacts

    if isinstance(result, FilmFacts):
        return result.to_json()
    return {"reason": result.reason.value, "detail": result.detail, "decoded_fraction": result.decoded_fraction}


def _film_row(film: Mapping[str, Any]) -> dict[str, Any]:
    """What a table of several films has room for."""
    facts = _readable(film)
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


def _build(
    config: "Config", anew: "Partition | None", beam_args: Sequence[str], as_json: bool, retry: Retry | None
) -> None:
    from yt8m_pipeline.dataset.build_folder import begin, exclusive, finish, withdraw
    from yt8m_pipeline.dataset.manifest import Manifest
    from yt8m_pipeline.extraction.feature_store import open_store
    from yt8m_pipeline.files import delete_temporaries
    from yt8m_pipeline.plan import plan_build

    plan = plan_build(config, anew, retry or Retry.TRANSIENT)
    if plan.is_done and not anew and not (retry and plan.has_failures_to_retry):
        _report(plan, {}, as_json, "Nothing to do: the dataset is complete, and its config and tables are the same")
        return
    root = _beam_pipeline(beam_args)
    with exclusive(plan.layout):
        plan = replace(plan, previous=Manifest.read(plan.layout))
        begin(plan.layout, plan.previous, anew)
        delete_temporaries(open_store(config.store, plan.space).folder)
        start = time.monotonic()
        try:
            seconds = _run(root, plan)
        except DataError:
            if anew:
                withdraw(plan.layout, anew)
            raise
        finish(plan.layout)
    _report(plan, seconds, as_json, f"Built in {time.monotonic() - start:.0f} s")


def _beam_pipeline(arguments: Sequence[str]) -> Any:
    """An empty pipeline with Beam's own options.

    Raises:
        UsageError: if Beam does not know or take one of them; Beam itself ignores those that it does not know.
    """
    logging.getLogger().setLevel(logging.ERROR)
    logging.getLogger("yt8m_pipeline").setLevel(logging.WARNING)
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    options = PipelineOptions(list(arguments))
    chosen = any(argument.startswith("--runner") for argument in arguments)
    try:
        unknown = _unknown_options(options, arguments)
        if unknown and not chosen:
            raise _refused(arguments, f"no such option: {' '.join(unknown)}")
        return beam.Pipeline(runner=None if chosen else FnApiRunner(), options=options)
    except (ArgumentError, ValueError, ImportError) as error:
        raise _refused(arguments, " ".join(str(error).split())) from None


def _unknown_options(options: Any, arguments: Sequence[str]) -> list[str]:
    """The arguments that Beam's SDK does not know. Another runner's job server may know them all the same."""
    unknown: list[str] = []

    def parse(parser: ArgumentParser) -> None:
        parser.exit_on_error = False
        unknown.extend(parser.parse_known_args(arguments)[1])

    options.get_all_options(add_extra_args_fn=parse)
    return unknown


def _refused(arguments: Sequence[str], why: str) -> UsageError:
    return UsageError(
        "Beam does not take these options", " ".join(arguments), why, "correct what stands after `--`, or leave it out"
    )


def _run(root: Any, plan: "BuildPlan") -> dict[str, float]:
    """Runs the pipeline and returns the seconds that workers spent in each stage."""
    from rich.console import Console

    from yt8m_pipeline.cli_progress import StageProgress
    from yt8m_pipeline.pipeline import build_dataset
    from yt8m_pipeline.transforms.monitoring import stage_seconds

    build_dataset(root, plan)
    with StageProgress(Console(stderr=True)).shown():
        try:
            result = root.run()
            result.wait_until_finish()
        except RuntimeError as error:
            raise _engine_error(str(error)) from error
    return stage_seconds(result)


def _engine_error(text: str) -> DataError | KeyboardInterrupt:
    """An engine hands a worker's exception on as text: ours still has its four parts, others their last line."""
    found = re.search(r"Error: (.+)\n  where: (.+)\n  why:   (.+)\n  fix:   (.+)", text)
    if found:
        return DataError(*found.groups())
    last = [line for line in text.splitlines() if line.strip()][-1]
    if last.startswith("KeyboardInterrupt"):
        return KeyboardInterrupt()
    return DataError("The engine stopped", "the Beam runner", last, "see its log; the same command goes on from here")


def _report(plan: "BuildPlan", seconds: Mapping[str, float], as_json: bool, title: str) -> None:
    """The closing table of a build."""
    from yt8m_pipeline.data_model import Partition
    from yt8m_pipeline.dataset.layout import Layout
    from yt8m_pipeline.dataset.manifest import Manifest

    manifest = Manifest.read(plan.layout)
    values = manifest.values if manifest else {}
    rejected = [
        {"stage": row["stage"], "table": row["table"], "reason": reason, "rows": number}
        for row in values["accounting"]
        for reason, number in row["rejected"].items()
    ]
    facts = {
        "partitions": [
            {
                "partition": part.value,
                **{name: values["partitions"][part][name] for name in TOTALS},
            }
            for part in Partition
        ],
        "rejected": rejected,
        "seconds": [{"stage": stage, "seconds": round(value, 1)} for stage, value in seconds.items()],
        "warnings": [{"warning": text} for text in values["warnings"]],
        "files": [
            {"what": "dataset", "where": plan.layout.root},
            {"what": "manifest", "where": plan.layout.path(Layout.MANIFEST)},
            {"what": "rejects", "where": plan.layout.path(Layout.REJECTS)},
            {"what": "feature store", "where": plan.store.folder},
        ],
    }
    _show(facts, as_json, title)


def _show(facts: Mapping[str, Any], as_json: bool, title: str) -> None:
    """Prints facts as JSON, or lists of rows as tables and the rest as lines."""
    if as_json:
        print(json.dumps({"title": title, **facts}, indent=2, ensure_ascii=False, default=str))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)
    console.print(title, style="bold", markup=False)
    for name, value in facts.items():
        if not isinstance(value, list):
            console.print(f"{name}: {value}", markup=False)
        elif value:
            table = Table(*value[0], title=name, title_justify="left")
            for row in value:
                table.add_row(*(Text(str(cell)) for cell in row.values()))
            console.print(table)
