"""Folders of videos, each a class, as in UCF-101, HMDB51, Kinetics downloads and Hugging Face's VideoFolder."""

from collections.abc import Mapping, Sequence

from yt8m_pipeline.intake.same_files import copies
from yt8m_pipeline.intake.splits import partition_of
from yt8m_pipeline.intake.understood import Label, Reading, Record
from yt8m_pipeline.intake.video_files import VideoFile

KIND, UNLABELLED = "folder of class folders", "videos without labels"


def read(video_files: Sequence[VideoFile]) -> Reading:
    """Reads classes, and partitions if there are folders such as train and test, from the folders of videos.

    Folders that hold all videos are no classes, and neither is one folder alone. A video in several class folders, by
    links or copies, is one video with several labels.
    """
    placed = {video_file: _partition_and_folders(video_file) for video_file in video_files}
    common = _common([folders for _, folders in placed.values() if folders])
    classes = {video_file: "/".join(folders[common:]) for video_file, (_, folders) in placed.items()}
    partitions = {video_file: partition for video_file, (partition, _) in placed.items()}
    if len(set(filter(None, classes.values()))) < 2:
        return Reading(
            UNLABELLED,
            [_record(video_file, (), partitions[video_file]) for video_file in video_files],
            is_labelled=False,
        )
    shared = _shared(video_files, classes, partitions)
    others = {video_file for group in shared.values() for video_file in group}
    records = [
        _record(video_file, _classes_of([video_file, *shared.get(video_file, [])], classes), partitions[video_file])
        for video_file in video_files
        if video_file not in others
    ]
    return Reading(KIND, records, notes=[_note(len(shared))] if shared else [])


def _partition_and_folders(video_file: VideoFile) -> tuple[str, list[str]]:
    """The partition that a folder's name says, and the other folders that a video is in."""
    folders = video_file.name.split("/")[:-1]
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
    video_files: Sequence[VideoFile], classes: Mapping[VideoFile, str], partitions: Mapping[VideoFile, str]
) -> dict[VideoFile, list[VideoFile]]:
    """For each video that is in several class folders of one partition, its other files."""
    shared = {}
    for group in copies(video_files):
        for partition in {partitions[video_file] for video_file in group}:
            same = [video_file for video_file in group if partitions[video_file] == partition and classes[video_file]]
            if len({classes[video_file] for video_file in same}) > 1:
                shared[same[0]] = same[1:]
    return shared


def _classes_of(video_files: Sequence[VideoFile], classes: Mapping[VideoFile, str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, (classes[video_file] for video_file in video_files))))


def _record(video_file: VideoFile, labels: tuple[str, ...], partition: str) -> Record:
    return Record("", (video_file.uri,), labels=tuple(map(Label, labels)), partition=partition)


def _note(number: int) -> str:
    verb = "video is" if number == 1 else "videos are"
    return f"{number} {verb} in several class folders, by links or copies: each is one video with several labels"
