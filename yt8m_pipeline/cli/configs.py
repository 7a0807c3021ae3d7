"""`yt8m config`: writes, shows, checks and describes configs."""

import json
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from yt8m_pipeline.cli.console import AsJson, CommandGroup, ConfigPath, Settings, load_config, local_path
from yt8m_pipeline.errors import UsageError, printable

app = typer.Typer(cls=CommandGroup, help="Write, show, check or describe configs.", no_args_is_help=True)


class Example(StrEnum):
    """The configs that the package brings: the files of `configs/`."""

    SMALL = "small"
    PAPER = "paper"
    STARTER_CODE = "starter_code"
    DATAFLOW = "dataflow"
    SMOKE = "smoke"


EXAMPLES = (
    "small: a folder of videos; paper: the YouTube-8M dataset; starter_code: the same for the published readers; "
    "dataflow: the same in buckets; smoke: the corpus of `yt8m demo`."
)


@app.command()
def init(
    example: Annotated[Example, typer.Argument(metavar="NAME", help=EXAMPLES)],
    file: Annotated[
        Path | None,
        typer.Argument(parser=local_path, metavar="FILE", help="By default NAME.yaml; an existing file is left alone."),
    ] = None,
) -> None:
    """Write a commented config to begin with."""
    target = file or Path(f"{example.value}.yaml")
    text = resources.files("yt8m_pipeline").joinpath("configs", f"{example.value}.yaml").read_bytes()
    try:
        with target.open("xb") as stream:
            stream.write(text)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise UsageError(
            what="The config cannot be written",
            where=str(target),
            why=why,
            fix="name a new file in a folder that exists",
        ) from None
    print(f"The config is in {target}; `yt8m config check {target}` checks it and the tables that it names")


@app.command()
def show(config: ConfigPath, settings: Settings = None, as_json: AsJson = False) -> None:
    """Print the config with every default filled in."""
    from yt8m_pipeline.config import as_dict, as_yaml

    loaded = load_config(config, settings, None)
    print(json.dumps(as_dict(loaded), indent=2) if as_json else as_yaml(loaded), end="" if not as_json else "\n")


@app.command()
def check(config: ConfigPath, settings: Settings = None) -> None:
    """Check a config, its places, tables, model (which is loaded) and this machine's sandbox; all problems at once."""
    from yt8m_pipeline.decoding.sandbox.parent import missing_protections
    from yt8m_pipeline.extraction.inception import load
    from yt8m_pipeline.extraction.model_files import is_program
    from yt8m_pipeline.extraction.networks import device
    from yt8m_pipeline.jobs.access import check_access
    from yt8m_pipeline.jobs.build_plan import plan_build

    loaded = load_config(config, settings, None)
    print("\n".join(map(printable, check_access(loaded))), flush=True)  # before the network is loaded
    plan = plan_build(loaded)
    extractor = load(plan.config.inception, plan.dimensions)
    files = ", ".join(f"{table}: {len(source.files)}" for table, source in plan.sources.items())
    print(printable(f"{config} is sound. Table files: {files}. Feature space: {plan.store.space}."))
    print(f"The network gives {extractor.dimensions} features per frame and runs on {device()}.")
    print(f"It is known by {', '.join(f'{name} {value}' for name, value in plan.space['model'].items())}.")
    if is_program(plan.config.inception.model):
        print("It is a program: it can read, write and send what you can. Take it from whom you trust.")
    if not missing_protections(plan.config.decoding):
        print("Videos are decoded in a sandbox with every protection.")
    for warning in plan.warnings:
        print(f"warning: {printable(warning)}")


@app.command()
def schema() -> None:
    """Print the JSON schema of a config: every field, its default and where in the paper it stands."""
    from yt8m_pipeline.config import Config

    print(json.dumps(Config.model_json_schema(), indent=2))
