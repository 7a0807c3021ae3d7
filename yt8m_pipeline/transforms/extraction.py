"""The Beam shell of stages 4 and 5: videos in, stored videos out, one call for each video.

Frames and features stay inside that call: they cross no step, no shuffle and no side input.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.utils.shared import Shared

from yt8m_pipeline.accounting.reasons import DropReason, Stage, VideoRejected
from yt8m_pipeline.config import Decoding, Inception
from yt8m_pipeline.data_model import StoredVideo, Video
from yt8m_pipeline.decoding.damage import conditions
from yt8m_pipeline.decoding.frames import library_version
from yt8m_pipeline.decoding.sandbox.local_files import require_accepted
from yt8m_pipeline.decoding.sandbox.parent import Sandbox, require_readable
from yt8m_pipeline.decoding.thumbnails import Strip
from yt8m_pipeline.extraction.identity import identity_of, require_same_identity
from yt8m_pipeline.extraction.inception import ANY_DIMENSIONS, FeatureExtractor, load
from yt8m_pipeline.extraction.networks import device
from yt8m_pipeline.places import ANYWHERE, Places
from yt8m_pipeline.store.failures import Source
from yt8m_pipeline.store.feature_store import FeatureStore, place
from yt8m_pipeline.store.index import IndexedFile
from yt8m_pipeline.store.thumbnails import Thumbnails
from yt8m_pipeline.transforms.ledger import COUNTS, KEPT, REJECTS, Outputs, SeveralOutputs, typed_step
from yt8m_pipeline.transforms.lookup import rejected, settled
from yt8m_pipeline.transforms.monitoring import advance, observe, say
from yt8m_pipeline.transforms.steps import Map, NotingDoFn
from yt8m_pipeline.transforms.video_features import Watch, extract_video

WRITTEN = "written"


@dataclass
class ExtractFeatures(SeveralOutputs[PCollection[Video], Outputs[StoredVideo]]):
    """PCollection[Video] → the StoredVideos, rejects and counts; a file per video, and then the indices.

    Attributes:
        store: Where the features go.
        decoding: 4. One frame per second of the first 360 s (paper §3.3).
        inception: 5. The activation pool_3 of the network (paper §3.3).
        dimensions: How many features per frame the PCA that follows can take.
        planned: The identity of the process that planned; a worker of another one refuses. None: any will do.
        places: What the rows of the videos table may name.
    """

    store: FeatureStore
    decoding: Decoding
    inception: Inception
    dimensions: range = ANY_DIMENSIONS
    planned: Mapping[str, Any] | None = None
    places: Places = ANYWHERE

    def expand(self, videos: PCollection[Video]) -> Outputs[StoredVideo]:
        given = (self.decoding, self.inception, self.dimensions, self.planned, self.places)
        extract = ExtractVideo(self.store, *given)
        step = typed_step(extract, StoredVideo, written=tuple[str, tuple[str, IndexedFile]])
        found = videos | "extract" >> step.with_outputs(REJECTS, COUNTS, WRITTEN, main=KEPT)
        _ = found[WRITTEN] | "shelf" >> beam.GroupByKey() | "index" >> Map(remember, self.store)
        return Outputs(found[KEPT], found[REJECTS], found[COUNTS])


class ExtractVideo(NotingDoFn):
    """Extracts and stores one video, unless an earlier attempt at the same bundle has stored it."""

    def __init__(
        self,
        store: FeatureStore,
        decoding: Decoding,
        inception: Inception,
        dimensions: range,
        planned: Mapping[str, Any] | None = None,
        places: Places = ANYWHERE,
    ) -> None:
        self._store, self._decoding, self._inception = store, decoding, inception
        self._dimensions, self._planned, self._places = dimensions, planned, places
        self._shared = Shared()

    def setup(self) -> None:
        self._sandbox = Sandbox(self._decoding, self._inception.decoded_size, self._places)
        self._held: FeatureExtractor | None = None

    def teardown(self) -> None:
        self._sandbox.close()

    def process(self, video: Video) -> Iterator[Any]:
        try:
            require_accepted(video.uri, self._places)
            source = Source.of(video.uri)
            stored = self._attempt(video, source)
        except VideoRejected as rejection:
            advance(Stage.EXTRACT)
            yield from rejected(video, rejection)
            return
        advance(Stage.EXTRACT, frames=stored.entry.frames)
        yield TaggedOutput(WRITTEN, (place(video.video_id)[0], (video.video_id, stored)))
        yield from settled(video, stored.entry, self._decoding)

    def _attempt(self, video: Video, source: Source) -> IndexedFile:
        """Extracts a video or remembers why not, unless it is a verdict on its uri, which another config may change."""
        try:
            return stored_before(self._store, video, source) or self._extract(video, source)
        except VideoRejected as rejection:
            if rejection.reason != DropReason.URI_NOT_ACCEPTED:
                self._store.write_failure(video.video_id, source, conditions(self._decoding), rejection)
            raise

    def _extract(self, video: Video, source: Source) -> IndexedFile:
        if not source.size:
            require_readable(video.uri, self._places)  # a corpus of which only missing files are left needs no network
        extractor, watch = self._extractor(), Watch()
        try:
            given = (extractor, self._inception, watch, self._decoding.thumbnails)
            extracted = extract_video(video, self._sandbox, *given)
        finally:
            watch.decoded()
            observe(Stage.DECODE, watch.decode_seconds)
            observe(Stage.EXTRACT, watch.network_seconds)
        decoded = extracted.decoded
        facts = (decoded.decoded_fraction, self._decoding.rate, extracted.transfer, decoded.media)
        stored = self._store.write(extracted.features, source, *facts)
        keep_strip(self._store.root, video.video_id, source, extracted.strip)
        return stored

    def _extractor(self) -> FeatureExtractor:
        """The network that all threads of this process share; the first that needs it loads it."""
        if self._held is None:
            self._held = self._shared.acquire(self._loaded)
        return self._held

    def _loaded(self) -> FeatureExtractor:
        if self._planned is not None:
            require_same_identity(self._planned, identity_of(self._inception, library_version()))
        extractor = load(self._inception, self._dimensions)
        say(f"the network runs on {device()}, in {self._inception.precision} precision", ready=Stage.EXTRACT)
        return extractor


def keep_strip(store: str, video_id: str, source: Source, strip: Strip) -> None:
    """Keeps the thumbnails of a video in a store, if it has any."""
    if strip.count:
        Thumbnails(store).write(video_id, source, strip.count, strip.to_jpeg())


def stored_before(store: FeatureStore, video: Video, source: Source) -> IndexedFile | None:
    """What the store has of a video by now, if that was made of the file as it stands.

    A video comes here because the store lacked it when it was looked up: where it does not lack it any more, an engine
    tries a bundle again.
    """
    found = store.find(video.video_id)
    return found if found and found.source == source else None


def remember(written: tuple[str, Iterable[tuple[str, IndexedFile]]], store: FeatureStore) -> None:
    """Adds what has been written on a shelf to its index."""
    name, indexed = written
    shelf = store.shelf(name)
    for video_id, file in indexed:
        shelf.remember(video_id, file)
    shelf.save()
