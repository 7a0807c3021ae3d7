"""Torn, truncated and flipped files of a store and a dataset: told or mended, never passed off as sound."""

from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from types import MappingProxyType

from torture.bench import Bench, Job, deep_verify, differences, require_orderly, yt8m
from torture.kills import kill_at_random
from torture.rounds import NotHeld

Damage = Callable[[Random, bytes, bytes], bytes]
"""Damages the bytes of a file, perhaps with those of another one."""

PRIVATE = (".journal/", ".lock", ".refusals/")
"""What stands in a dataset's folder and is no part of the dataset."""


def _truncated(random: Random, data: bytes, _: bytes) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _flipped(random: Random, data: bytes, _: bytes) -> bytes:
    place = random.randrange(max(len(data), 1))
    return data[:place] + bytes(byte ^ 1 << random.randrange(8) for byte in data[place : place + 1]) + data[place + 1 :]


def _torn(random: Random, data: bytes, _: bytes) -> bytes:
    """The length is right and the end is zeros, as after a power failure."""
    place = random.randrange(len(data) + 1)
    return data[:place] + bytes(len(data) - place)


def _appended(random: Random, data: bytes, _: bytes) -> bytes:
    return data + random.randbytes(random.randint(1, 5000))


def _exchanged(_: Random, __: bytes, other: bytes) -> bytes:
    return other


def _emptied(_: Random, __: bytes, ___: bytes) -> bytes:
    return b""


DAMAGES: Mapping[str, Damage] = MappingProxyType(
    {function.__name__[1:]: function for function in (_truncated, _flipped, _torn, _appended, _exchanged, _emptied)}
)


def damage(bench: Bench, folder: Path, random: Random) -> str:
    """Damages one to three files of a finished or a killed build, looks at them, and builds again."""
    finished = random.random() < 0.5
    job = _finished(bench, folder) if finished else bench.build(folder, stored=True)
    state = "finished" if finished else kill_at_random(job, folder, random)
    done = _spoil(folder, random)
    try:
        _require_told(job, folder)
    except NotHeld as broken:
        raise NotHeld(f"{broken} ({state}; {done})") from None
    return f"{state}; {done}"


def _finished(bench: Bench, folder: Path) -> Job:
    bench.copy(folder)
    return Job(
        ("build", str(folder / "config.yaml")), folder / "dataset", folder / "features", bench.built / "dataset", 0.0
    )


def _spoil(folder: Path, random: Random) -> str:
    """Damages some files, and says which and how."""
    places = [path for root in ("dataset", "features") for path in sorted((folder / root).rglob("*"))]
    files = [path for path in places if path.is_file() and path.name != ".lock"]
    done = []
    for path in random.sample(files, min(len(files), random.randint(1, 3))):
        name = random.choice(list(DAMAGES))
        path.write_bytes(DAMAGES[name](random, path.read_bytes(), random.choice(files).read_bytes()))
        done.append(f"{name} {path.relative_to(folder)}")
    return ", ".join(done)


def _require_told(job: Job, folder: Path) -> None:
    """Whoever finds a dataset sound finds the bytes of an undisturbed run."""
    _look(job, folder, "before a build")
    built = yt8m(job.arguments, folder)
    require_orderly(built)
    verdict = _look(job, folder, "after a build")
    if not built.code and verdict and "Nothing to do" not in built.out:
        raise NotHeld("the build ends well, and verify finds faults in what it wrote")


def _look(job: Job, folder: Path, when: str) -> int:
    """Verifies a dataset; one that is said to be sound must be the undisturbed one."""
    plain = yt8m(("verify", str(job.dataset)), folder)
    require_orderly(plain)
    deep = deep_verify(job, folder)
    different = [name for name in differences(job.dataset, job.reference) if not name.startswith(PRIVATE)]
    if different and not (plain.code and deep.code):
        raise NotHeld(f"{when}, verify says sound, and these have other bytes: {', '.join(different)}")
    return plain.code or deep.code
