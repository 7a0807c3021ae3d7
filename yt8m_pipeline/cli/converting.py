"""`yt8m convert`: MediaPipe's protos, one per video, into a dataset, and a dataset into such protos."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yt8m_pipeline.cli.console import AsJson, partition_rows, progress_bars, show
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.errors import UsageError

if TYPE_CHECKING:
    from yt8m_pipeline.compression.quantization import Quantizer

UNIFORM = "uniform"


class Target(StrEnum):
    """The values of --to."""

    RECORDS = "records"
    MEDIASEQUENCE = "mediasequence"


def convert(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="To records: MediaSequence protos, TFRecord files of them, or folders. To mediasequence: a DATASET.",
        ),
    ],
    to: Annotated[Target, typer.Option(help="What the output is: a dataset, or one proto per video.")],
    output: Annotated[str, typer.Option(help="A new or empty folder.")],
    *,
    partition: Annotated[
        Partition | None,
        typer.Option(help="To records: of all videos; by default each is of what its folder is called, or of train."),
    ] = None,
    quantizer: Annotated[
        str | None, typer.Option(help="To records: uniform, the default, or the quantizer.npz of a dataset.")
    ] = None,
    shards: Annotated[int | None, typer.Option(min=1, help="To records: how many per partition; default 1.")] = None,
    as_json: AsJson = False,
) -> None:
    """Convert MediaPipe's YouTube-8M features (MediaSequence protos) to a dataset, or a dataset to them."""
    from yt8m_pipeline.files import require_known

    for place in (*inputs, output):
        require_known(place)
    if to is Target.RECORDS:
        _to_records(inputs, output, partition, quantizer or UNIFORM, shards or 1, as_json)
        return
    given = [name for name, value in (("--quantizer", quantizer), ("--shards", shards)) if value is not None]
    if given or len(inputs) > 1:
        why = f"{' and '.join(given)} say how records are written" if given else f"there are {len(inputs)} inputs"
        raise UsageError(
            what="Protos are made of one dataset as it is", where="yt8m convert", why=why, fix="give one DATASET alone"
        )
    _to_media_sequences(inputs[0], output, partition, as_json)


def _to_records(
    inputs: list[str], output: str, partition: Partition | None, quantizer: str, shards: int, as_json: bool
) -> None:
    from yt8m_pipeline.dataset.layout import Layout
    from yt8m_pipeline.dataset.manifest import Manifest
    from yt8m_pipeline.interop.converting import convert_to_records
    from yt8m_pipeline.report.summaries import quantization_rows

    codebook = _codebook(quantizer)
    with _progress() as progress:
        convert_to_records(inputs, output, codebook, partition, shards, progress)
    layout = Layout(output)
    manifest = Manifest.of(layout)
    (accounts,) = manifest.accounting
    facts = {
        "partitions": partition_rows(layout, manifest),
        "quantization": quantization_rows(manifest),
        "rejected": [{"reason": reason, "protos": count} for reason, count in accounts.rejected.items()],
        "warnings": [{"warning": text} for text in manifest.warnings],
        "files": [
            {"what": "dataset", "where": output},
            {"what": "rejects", "where": layout.path(Layout.REJECTS)},
        ],
    }
    show(facts, as_json, f"{accounts.kept} of {accounts.rows_in} protos converted to {quantizer} codes")


def _to_media_sequences(dataset: str, output: str, partition: Partition | None, as_json: bool) -> None:
    from yt8m_pipeline.interop.converting import convert_to_media_sequences

    with _progress() as progress:
        counts = convert_to_media_sequences(dataset, output, partition, progress)
    rows = [{"partition": part.value, "protos": count} for part, count in counts.items()]
    note = "floats are de-quantized codes; timestamps are those of the grid, k / frames per second"
    total = sum(counts.values())
    title = f"{total} MediaSequence proto{'s' * (total != 1)} written"
    show({"partitions": rows, "note": note, "output": output}, as_json, title)


def _codebook(name: str) -> "Quantizer":
    from yt8m_pipeline import files
    from yt8m_pipeline.compression.quantization import Quantizer

    if name == UNIFORM:
        return Quantizer.uniform()
    if not files.exists(name):
        why = "it is neither `uniform` nor a file"
        raise UsageError(
            what="There is no such codebook", where=name, why=why, fix="give the quantizer.npz of a dataset"
        )
    return Quantizer.load(name)


@contextmanager
def _progress() -> Iterator[Callable[[str], Any]]:
    with progress_bars() as bars:
        yield lambda stage: bars.update(stage, done=1)
