"""How the small rows that cross a shuffle are encoded: as JSON arrays, a fifth of the size and time of a pickle.

Importing this module registers the coders; a coder travels with the pipeline, so that every worker has it too.
"""

import json

from apache_beam.coders.coders import Coder
from apache_beam.coders.typecoders import registry

from yt8m_pipeline.data_model import Partition, StoredEntry, StoredVideo, Video


class VideoCoder(Coder):
    """Encodes a `Video`."""

    def encode(self, value: Video) -> bytes:
        return _pack(_video_values(value))

    def decode(self, encoded: bytes) -> Video:
        return _video(*json.loads(encoded))

    def is_deterministic(self) -> bool:
        return True


class StoredVideoCoder(Coder):
    """Encodes a `StoredVideo`: the values of its video, then those of its entry."""

    def encode(self, value: StoredVideo) -> bytes:
        entry = value.entry
        numbers = (entry.frames, entry.magnitude, entry.sha256, entry.decoded_fraction, entry.deviation_seconds)
        return _pack((*_video_values(value.video), *numbers, entry.transfer))

    def decode(self, encoded: bytes) -> StoredVideo:
        values = json.loads(encoded)
        return StoredVideo(_video(*values[:4]), StoredEntry(*values[4:]))

    def is_deterministic(self) -> bool:
        return True


registry.register_coder(Video, VideoCoder)
registry.register_coder(StoredVideo, StoredVideoCoder)


def _pack(values: tuple[object, ...]) -> bytes:
    return json.dumps(values, separators=(",", ":")).encode()


def _video_values(video: Video) -> tuple[object, ...]:
    return video.video_id, video.uri, video.partition, video.entity_ids


def _video(video_id: str, uri: str, partition: str, entity_ids: list[str]) -> Video:
    return Video(video_id, uri, Partition(partition), tuple(entity_ids))
