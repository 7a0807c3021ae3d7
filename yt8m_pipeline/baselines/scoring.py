"""The scores of a network for the videos of a partition, and how good they are: what training and predicting share."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from yt8m_pipeline.baselines.inputs import partition_batches, read
from yt8m_pipeline.baselines.layers import tf
from yt8m_pipeline.baselines.models import Family, Network
from yt8m_pipeline.baselines.settings import Settings
from yt8m_pipeline.baselines.sources import Source
from yt8m_pipeline.data_model import Float32Array, Partition, UInt8Array
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.evaluation.batch import Batch
from yt8m_pipeline.evaluation.metrics import Evaluation

Inputs: TypeAlias = Mapping[str, Any]


class Scored(NamedTuple):
    """The scores of some videos.

    Attributes:
        video_ids: Their ids.
        scores: float32, (videos, classes), in [0, 1].
        labels: uint8, (videos, classes): 1 for each true label that their records have.
    """

    video_ids: list[str]
    scores: Float32Array
    labels: UInt8Array


class Scorer:
    """Asks a network for scores. It is compiled once, and uses the weights that the network has when it is asked."""

    def __init__(self, family: Family, network: Network) -> None:
        def score(inputs: Inputs) -> Any:
            return family.probabilities(network(inputs, training=False), inputs)

        self._score = tf.function(score, reduce_retracing=True)

    def scores(self, source: Source, settings: Settings, partition: Partition) -> Iterator[Scored]:
        """Yields the scores of a partition in the order of its shards, in bounded memory."""
        for batch in read(partition_batches(source, settings, partition), source.dataset.layout.root):
            scores = self._score({name: batch[name] for name in ("features", "counts") if name in batch})
            ids = [video_id.decode() for video_id in batch["id"].numpy().tolist()]
            found = Scored(ids, scores.numpy(), batch["labels"].numpy())
            _require_numbers(found)
            yield found

    def evaluation(self, source: Source, settings: Settings, partition: Partition) -> Evaluation:
        """The metrics of a partition, by the labels in its records, as `evaluation.evaluating.evaluate` finds them."""
        batches = (
            Batch.of(found.scores.astype(np.float64), found.labels.astype(np.bool_))
            for found in self.scores(source, settings, partition)
        )
        return Evaluation.from_batches(batches, source.classes)


def _require_numbers(found: Scored) -> None:
    wrong = np.isnan(found.scores).any(axis=1)
    if wrong.any():
        raise DataError(
            what="A score is not a number",
            where=found.video_ids[int(wrong.argmax())],
            why="the weights have grown beyond all bounds, or a feature is no number",
            fix="train in a new folder with a smaller learning_rate",
        )
