"""`yt8m config`: shows, checks and describes configs."""

import json

import typer

from yt8m_pipeline.cli.console import AsJson, ConfigPath, Settings, load_config

app = typer.Typer(help="Show, check or describe configs.", no_args_is_help=True)


@app.command()
def show(config: ConfigPath, settings: Settings = None, as_json: AsJson = False) -> None:
    """Print the config with every default filled in."""
    from yt8m_pipeline.config import as_dict, as_yaml

    loaded = load_config(config, settings, None)
    print(json.dumps(as_dict(loaded), indent=2) if as_json else as_yaml(loaded), end="" if not as_json else "\n")


@app.command()
def check(config: ConfigPath, settings: Settings = None) -> None:
    """Check a config, its tables' headers and its model, which is loaded; every problem of the config at once."""
    from yt8m_pipeline.extraction.inception import load
    from yt8m_pipeline.extraction.networks import device
    from yt8m_pipeline.jobs.build_plan import plan_build

    plan = plan_build(load_config(config, settings, None))
    extractor = load(plan.config.inception, plan.dimensions)
    files = ", ".join(f"{table}: {len(source.files)}" for table, source in plan.sources.items())
    print(f"{config} is sound. Table files: {files}. Feature space: {plan.store.space}.")
    print(f"The network gives {extractor.dimensions} features per frame and runs on {device()}.")
    print(f"It is known by {', '.join(f'{name} {value}' for name, value in plan.space['model'].items())}.")
    for warning in plan.warnings:
        print(f"warning: {warning}")


@app.command()
def schema() -> None:
    """Print the JSON schema of a config: every field, its default and where in the paper it stands."""
    from yt8m_pipeline.config import Config

    print(json.dumps(Config.model_json_schema(), indent=2))
