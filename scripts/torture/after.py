"""The commands around a finished dataset: stopped, short of memory or descriptors, or unheard."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from random import Random
from types import MappingProxyType

from torture.bench import Bench, Job, differences, require_orderly, yt8m
from torture.kills import kill_at_random
from torture.limits import CLOSED_PIPE, OUTPUTS, limited
from torture.rounds import NotHeld

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "extract": "extract {corpus}/videos --like {built} --model {model} --store {folder}/features",
        "features": "features {built} --store {store}",
        "train": "train logistic {built} --small",
        "explore": "explore {built} --store {store}",
        "report": "report {built}",
    }
)
"""The arguments of each command, but for its output."""

DATED = (".keras", ".npz", "model.json")
"""The endings of the files of a model that hold the times at which they were written."""


def after(bench: Bench, folder: Path, random: Random) -> str:
    """Torments one of the commands; then the same command, undisturbed, ends with the bytes of an undisturbed run."""
    name = random.choice(list(COMMANDS))
    job = _job(bench, folder, name)
    try:
        done = _torment(job, folder, random)
    except NotHeld as law:
        _require_same(job, folder)
        raise NotHeld(f"{name}: {law}; the same command then went on") from None
    _require_same(job, folder)
    return f"{name}: {done}"


def _torment(job: Job, folder: Path, random: Random) -> str:
    way = random.choice(("kill", "kill", "kill", "-v", "-n", "output"))
    if way == "kill":
        return ", ".join(kill_at_random(job, folder, random) for _ in range(random.randint(1, 3)))
    if way == "output":
        heard = random.choice(list(OUTPUTS))
        ended = yt8m(job.arguments, folder, ["bash", "-c", OUTPUTS[heard]])
        if "Traceback" in ended.err or ended.code not in (0, 1, 2, CLOSED_PIPE):
            raise NotHeld(f"{heard}: exit code {ended.code}, {ended.last}")
        return f"{heard}: exit code {ended.code}"
    limit = int(2 ** random.uniform(18, 24)) if way == "-v" else int(2 ** random.uniform(2.4, 7))
    ended = yt8m(job.arguments, folder, limited(way, limit))
    try:
        require_orderly(ended)
    except NotHeld as law:
        raise NotHeld(f"ulimit {way} {limit}: {law}") from None
    return f"ulimit {way} {limit}: exit code {ended.code}"


def _job(bench: Bench, folder: Path, name: str) -> Job:
    """The command with its output in the folder; its undisturbed run is made if it is not there yet."""
    home = bench.folder / "after" / name
    seconds = home / "seconds.json"
    if not seconds.exists():
        home.mkdir(parents=True, exist_ok=True)
        begin = time.monotonic()
        ended = yt8m(_arguments(bench, home, name), home)
        if ended.code:
            raise NotHeld(f"the undisturbed {name} ended with {ended.code}: {ended.err}")
        seconds.write_text(json.dumps(time.monotonic() - begin))
    arguments = _arguments(bench, folder, name)
    return Job(arguments, folder / "output", folder / "features", home / "output", json.loads(seconds.read_text()))


def _arguments(bench: Bench, folder: Path, name: str) -> tuple[str, ...]:
    places = {"built": bench.built / "dataset", "store": bench.built / "features", "folder": folder}
    words = COMMANDS[name].format(corpus=bench.workshop.corpus, model=bench.workshop.model, **places).split()
    return (*words, "--output", str(folder / "output"))


def _require_same(job: Job, folder: Path) -> None:
    ended = yt8m(job.arguments, folder)
    require_orderly(ended)
    if ended.code:
        raise NotHeld(f"the same command did not go on: {ended.err[-600:]}")
    different = [name for name in differences(job.dataset, job.reference) if not name.endswith(DATED)]
    if different:
        raise NotHeld(f"other bytes than an undisturbed run's: {', '.join(different)}")
    if left := sorted(path.name for path in folder.rglob("*.tmp-*")):
        raise NotHeld(f"temporary files are left: {', '.join(left)}")
