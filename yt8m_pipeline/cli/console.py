"""What the commands share: their common arguments, how a config is loaded, and how facts are shown."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yt8m_pipeline.data_model import Partition

if TYPE_CHECKING:
    from yt8m_pipeline.cli.progress import StageProgress
    from yt8m_pipeline.config import Config


def _known(place: str) -> str:
    from yt8m_pipeline.files import require_known

    return require_known(place)


ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML config; see configs/.")]
KNOWN_PLACE: Any = {"callback": _known}
"""Of arguments that name a place."""
Dataset = Annotated[
    str, typer.Argument(metavar="DATASET", help="The folder of a finished dataset, local or gs://.", **KNOWN_PLACE)
]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one config field.")]
Output = Annotated[str | None, typer.Option("--output", help="Folder of the dataset; overrides the config's.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
TOTALS = ("videos", "frames", "labels")
PIPED_WIDTH = 250
"""Columns of the tables where there is no terminal to fit them into."""


def quieten() -> None:
    """Shows warnings of ours and errors of others; libraries log while they are imported, so call this before."""
    logging.getLogger().setLevel(logging.ERROR)
    logging.getLogger("yt8m_pipeline").setLevel(logging.WARNING)


@contextmanager
def progress_bars() -> Iterator["StageProgress"]:
    """Shows the progress of stages on stderr while the block runs."""
    from rich.console import Console

    from yt8m_pipeline.cli.progress import StageProgress

    bars = StageProgress(Console(stderr=True))
    with bars.shown():
        yield bars


def load_config(path: Path, settings: Sequence[str] | None, output: str | None) -> "Config":
    from yt8m_pipeline.config import load

    return load(path, [*(settings or []), *([f"output={json.dumps(output)}"] if output else [])])


def partition_rows(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """How much is in each split, from the values of a manifest."""
    return [
        {"partition": part.value, **{name: manifest["partitions"][part][name] for name in TOTALS}} for part in Partition
    ]


def quantization_rows(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What one byte per coefficient costs each split: the share that is clipped, and the error over the variance.

    The overload is the share of the coefficients beyond the outer cells of the codebook, and their part of the error.
    Codes that were made from codes have the error of those beside their own.
    """
    before = manifest["encoded"].get("distortion")
    return [
        {
            "partition": part.value,
            "clipped_fraction": rounded(manifest["distortion"][part]["clipped_fraction"]),
            "relative_error": rounded(manifest["distortion"][part]["relative_error"]),
            "overload_fraction": rounded(manifest["distortion"][part].get("overload_fraction")),
            "overload_error_fraction": rounded(manifest["distortion"][part].get("overload_error_fraction")),
            **(_source_error(manifest["distortion"][part], before[part]) if before else {}),
        }
        for part in Partition
    ]


def _source_error(here: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, float | None]:
    from yt8m_pipeline.compression.distortion import relative_error_of_both

    first, added = before["relative_error"], here["relative_error"]
    both = None if first is None or added is None else relative_error_of_both(first, added)
    return {"error_of_the_source": rounded(first), "error_together": rounded(both)}


def rounded(value: float | None) -> float | None:
    """To four significant digits."""
    return None if value is None else float(f"{value:.4g}")


def show(facts: Mapping[str, Any], as_json: bool, title: str) -> None:
    """Prints facts as JSON, or lists of rows as tables and the rest as lines."""
    if as_json:
        print(json.dumps({"title": title, **facts}, indent=2, default=str))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False)
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    console.print(title, style="bold", markup=False)
    for name, value in facts.items():
        if not isinstance(value, list):
            console.print(f"{name}: {value}", markup=False)
        elif value:
            table = Table(*value[0], title=name, title_justify="left")
            for row in value:
                table.add_row(*(Text(str(cell)) for cell in row.values()))
            console.print(table)
