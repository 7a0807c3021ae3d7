"""Folders of films, each a class, as in UCF-101, HMDB51, Kinetics downloads and Hugging Face's VideoFolder."""

from collections.abc import Mapping, Sequence

from yt8m_pipeline.intake.films import Film
from yt8m_pipeline.intake.same_files import copies
from yt8m_pipeline.intake.splits import partition_of
from yt8m_pipeline.intake.understood import Label, Reading, Record

KIND, UNLABELLED = "folder of class folders", "videos without labels"


def read(films: Sequence[Film]) -> Reading:
    """Reads classes, and partitions if there are folders such as train and test, from the folders of films.

    Folders that hold all films are no classes, and neither is one folder alone. A film in several class folders, by
    links or copies, is one video with several labels.
    """
    placed = {film: _partition_and_folders(film) for film in films}
    common = _common([folders for _, folders in placed.values() if folders])
    classes = {film: "/".join(folders[common:]) for film, (_, folders) in placed.items()}
    partitions = {film: partition for film, (partition, _) in placed.items()}
    if len(set(filter(None, classes.values()))) < 2:
        return Reading(UNLABELLED, [_record(film, (), partitions[film]) for film in films], is_labelled=False)
    shared = _shared(films, classes, partitions)
    others = {film for group in shared.values() for film in group}
    records = [
        _record(film, _classes_of([film, *shared.get(film, [])], classes), partitions[film])
        for film in films
        if film not in others
    ]
    return Reading(KIND, records, notes=[_note(len(shared))] if shared else [])


def _partition_and_folders(film: Film) -> tuple[str, list[str]]:
    """The partition that a folder's name says, and the other folders that a film is in."""
    folders = film.name.split("/")[:-1]
    for index, folder in enumerate(folders):
        partition = partition_of(folder)
        if partition:
            return partition, folders[:index] + folders[index + 1 :]
    return "", folders


def _common(paths: Sequence[Sequence[str]]) -> int:
    """How many folders all paths begin with, of which the last folder of a path is none."""
    shortest = min((len(path) - 1 for path in paths), default=0)
    return next((depth for depth in range(shortest) if len({path[depth] for path in paths}) > 1), shortest)


def _shared(
    films: Sequence[Film], classes: Mapping[Film, str], partitions: Mapping[Film, str]
) -> dict[Film, list[Film]]:
    """For each film that is in several class folders of one partition, its other files."""
    shared = {}
    for group in copies(films):
        for partition in {partitions[film] for film in group}:
            same = [film for film in group if partitions[film] == partition and classes[film]]
            if len({classes[film] for film in same}) > 1:
                shared[same[0]] = same[1:]
    return shared


def _classes_of(films: Sequence[Film], classes: Mapping[Film, str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, (classes[film] for film in films))))


def _record(film: Film, labels: tuple[str, ...], partition: str) -> Record:
    return Record("", (film.uri,), labels=tuple(map(Label, labels)), partition=partition)


def _note(number: int) -> str:
    verb = "film is" if number == 1 else "films are"
    return f"{number} {verb} in several class folders, by links or copies: each is one video with several labels"
