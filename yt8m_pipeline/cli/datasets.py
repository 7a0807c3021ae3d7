"""`yt8m verify` and `inspect`: what is on disk."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from yt8m_pipeline.accounting.reasons import DropReason, Stage
from yt8m_pipeline.cli.console import KNOWN_PLACE, AsJson, Dataset, progress_bars, show
from yt8m_pipeline.errors import UsageError

if TYPE_CHECKING:
    from yt8m_pipeline.dataset.verify import Fault

MAKERS = {"features": "yt8m build CONFIG", "codes": "yt8m export SOURCE --quantizer uniform --output {}"}
"""The command that made a dataset, by what its manifest says that it was encoded from."""
EXTRACT = "yt8m extract SOURCE --like DATASET --output {}"
"""The command that extracted new videos."""
REMAKE = "remove the folder, and run the command that made it again"
"""How exports for trainers and video-level features are mended."""
CONVERT = "yt8m convert PROTOS --to records --output NEW_FOLDER"
"""The command that made any other dataset; it wants a new folder."""


def verify(
    dataset: Dataset,
    *,
    deep: Annotated[bool, typer.Option("--deep", help="Compute everything again from the feature store.")] = False,
    store: Annotated[
        str | None, typer.Option(metavar="DIR", help="With --deep: the store; default `features` beside the dataset.")
    ] = None,
    every_shard: Annotated[
        bool, typer.Option("--all", help="With --deep: write every shard again, not one in twenty.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare everything on disk with the manifest; exit 1 and a table of what is wrong."""
    from yt8m_pipeline.dataset.verify import verify as compare

    if not deep and (store or every_shard):
        raise UsageError(
            what="Nothing is computed again",
            where="yt8m verify",
            why="--store and --all say how --deep is done",
            fix="give --deep as well",
        )
    verify_listed = _verifier_of_list(dataset)
    if verify_listed:
        _refuse_deep(dataset, deep=deep)
        faults = verify_listed(dataset)
        _show_faults(dataset, faults, {"repair": REMAKE} if faults else {}, as_json)
        return
    faults = _deep_verify(dataset, store, every_shard) if deep else compare(dataset)
    _show_faults(dataset, faults, {} if deep else _repair(dataset, faults), as_json)


def _verifier_of_list(folder: str) -> "Callable[[str], list[Fault]] | None":
    """What verifies a folder that is made of a dataset and has a list of its files; None of a dataset."""
    from yt8m_pipeline import files
    from yt8m_pipeline.interop import export_list
    from yt8m_pipeline.video_level import feature_list

    kinds = {export_list.LIST: export_list.verify_export, feature_list.LIST: feature_list.verify_features}
    return next((verifier for name, verifier in kinds.items() if files.exists(files.join(folder, name))), None)


def _refuse_deep(folder: str, *, deep: bool) -> None:
    if deep:
        raise UsageError(
            what="Only datasets are computed again",
            where=folder,
            why="it was made of a dataset, and --deep is for datasets",
            fix="leave --deep out, or verify the dataset that it was made of",
        )


def _show_faults(folder: str, faults: "Sequence[Fault]", repair: Mapping[str, str], as_json: bool) -> None:
    rows = [{"where": fault.where, "what": fault.what} for fault in faults]
    title = f"{folder}: {len(faults)} fault{'s' * (len(faults) != 1)}" if faults else f"{folder}: sound"
    show({"faults": rows, **repair}, as_json, title)
    if faults:
        raise typer.Exit(1)


def _repair(dataset: str, faults: "Sequence[Fault]") -> dict[str, str]:
    """How to mend a dataset: without its damaged files and its mark, the command that made it writes them again."""
    from yt8m_pipeline import files
    from yt8m_pipeline.dataset.layout import Layout
    from yt8m_pipeline.dataset.manifest import Manifest

    layout = Layout(dataset)
    manifest = Manifest.of(layout)
    listed = {Layout.COMPLETE, *(file.path for file in manifest.files)}
    found = {fault.where for fault in faults}
    if not found & {*listed, Layout.MANIFEST}:
        return {"repair": "move what is not in the manifest elsewhere"} if found else {}
    gone = sorted({Layout.COMPLETE, *found} & listed & set(files.list_files(dataset)))
    remove = ("rm",) if files.is_local(dataset) else ("gcloud", "storage", "rm")
    removal = [shlex.join([*remove, *map(layout.path, gone)])] if gone else []
    maker = EXTRACT if manifest.is_extraction else MAKERS.get(manifest.encoded.source, CONVERT)
    return {"repair": " && ".join([*removal, maker.format(shlex.quote(dataset))])}


def _deep_verify(dataset: str, store: str | None, every_shard: bool) -> "list[Fault]":
    from yt8m_pipeline.files import require_known
    from yt8m_pipeline.jobs.deep_verify import deep_verify
    from yt8m_pipeline.report.coefficients import store_beside

    root = require_known(store or store_beside(dataset))
    with progress_bars() as bars:
        return deep_verify(dataset, root, every_shard=every_shard, advance=lambda stage: bars.update(stage, done=1))


def inspect(
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="A shard, a store file, a codebook, a table; a dataset or a store.",
            **KNOWN_PLACE,
        ),
    ],
    records: Annotated[
        int, typer.Option(min=0, help="Records of a shard, or rows of a table or of rejects, to show.")
    ] = 3,
    *,
    rejects: Annotated[bool, typer.Option("--rejects", help="Show what is not in the dataset PATH, and why.")] = False,
    video_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="With --rejects: of this video or entity only.")
    ] = None,
    stage: Annotated[Stage | None, typer.Option(metavar="STAGE", help="With --rejects: of this stage.")] = None,
    reason: Annotated[
        DropReason | None, typer.Option(metavar="REASON", help="With --rejects: for this reason.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a file is, and show it; sum a dataset or a feature store up."""
    from yt8m_pipeline.report.inspection import inspect_path, inspect_rejects

    if not rejects and (video_id, stage, reason) != (None, None, None):
        raise UsageError(
            what="Nothing is filtered",
            where="yt8m inspect",
            why="--id, --stage and --reason say which rejects are shown",
            fix="give --rejects as well",
        )
    if rejects:
        facts = inspect_rejects(path, records, video_id=video_id, stage=stage, reason=reason)
    else:
        facts = inspect_path(path, records)
    show(facts, as_json, path)
