"""Facts that are written down, for tests of the page: a class and videos whose names attack it, and a failed model."""

from itertools import pairwise

import numpy as np

from yt8m_pipeline.baselines.history import Epoch
from yt8m_pipeline.results.facts import (
    FORMAT,
    Bin,
    Class,
    Confused,
    Facts,
    Guess,
    Looked,
    Measured,
    Model,
    Row,
    Table,
)
from yt8m_pipeline.results.plan import plan_tables

HOSTILE = (
    "<script>alert(1)</script>",
    "'\"><img src=x onerror=alert(1)>",
    "=cmd|' /C calc'!A0",
    "a|b\n# head [x](javascript:alert(1)) `code`",
    "\x1b[2J\u202egnp.exe &lt; $\\frac{",
    "</svg></title></style><!--",
)
"""Names that would end an element, a cell, a line or a formula."""

FAILED = "dbof"
METRICS = ("map", "hit@1", "perr", "gap")


def model(name: str, random: np.random.Generator, classes: int) -> Model:
    if name == FAILED:
        return Model(name, "frames of codes", why="Out of memory: " + HOSTILE[0])
    precision = tuple(None if index == 2 else float(value) for index, value in enumerate(random.random(classes)))
    epochs = tuple(Epoch(number, 1 / number, {"map": 1 - 0.9**number}, 1.5) for number in range(1, 6))
    bins = tuple(
        Bin(int(10 ** (4 - place / 3)), 0.05 + place / 10, min(1.0, place / 8)) if place != 3 else Bin(0, None, None)
        for place in range(10)
    )
    return Model(name, "codes", {"experts": 2, "batch": 32}, epochs, 4, precision, bins, 0.0625)


def rows(names: dict[str, tuple[str, ...]], papers: dict[str, tuple[dict[str, float], ...]]) -> tuple[Row, ...]:
    random = np.random.default_rng(4)
    found = []
    for name, labels in names.items():
        values = {metric: float(value) for metric, value in zip(METRICS, random.uniform(0.3, 0.7, 4), strict=True)}
        measured = {metric: Measured(value, value - 0.07, value + 0.05) for metric, value in values.items()}
        failed = name == FAILED
        found.append(Row(name, labels, {} if failed else measured, papers[name], HOSTILE[0] if failed else None))
    return tuple(found)


def planted_facts() -> Facts:
    """Facts of a dataset of six classes with seven models, one of which failed."""
    planned, random = plan_tables().benchmarks, np.random.default_rng(3)
    names = {row.model.name: row.labels for row in planned}
    papers = {row.model.name: tuple(map(dict, row.papers)) for row in planned}
    counts = [400, 90, 30, 8, 3, 1]
    classes = tuple(
        Class(name, f"/m/{place}", counts[place], 0 if place == 2 else 4) for place, name in enumerate(HOSTILE)
    )
    table = Table(
        "table-3", "Table 3", "A note.", ("Input features", "Approach"), METRICS, ("YouTube-8M",), rows(names, papers)
    )
    losses = {"moe-mu": ("Mixture-of-2-Experts, μ", "PCA and codes")}
    loss = Row("moe-mu", losses["moe-mu"], {"map": Measured(-0.004, -0.02, 0.0004)})
    guesses = tuple(Guess(name, 0.9 - place / 10) for place, name in enumerate(HOSTILE[:3]))
    looked = tuple(Looked(name, HOSTILE[place : place + 2], guesses) for place, name in enumerate(HOSTILE))
    return Facts(
        format=FORMAT,
        dataset=HOSTILE[0],
        build_key="0123",
        partition="validate",
        videos={"train": 480, "validate": 60, "test": 60},
        samples=100,
        command=f"yt8m results '{HOSTILE[1]}'",
        versions={"yt8m_pipeline": "0.2.0"},
        warnings=("Only 60 videos.", f"A class: {HOSTILE[3]}"),
        classes=classes,
        tables=(table, Table("loss", "Loss", "A note.", ("Approach", "From"), ("map",), (), (loss,), True)),
        models=tuple(model(name, random, len(classes)) for name in names),
        best="moe-mu",
        confusions=tuple(Confused(*pair, 3) for pair in pairwise(HOSTILE)),
        right=looked[:3],
        wrong=looked[3:],
        seconds={"features mu": 3.5, "train moe-mu": 4000.0},
    )
