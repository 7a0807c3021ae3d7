"""What figures of merit do not tell of predictions: which classes are confused, and single videos to look at."""

from dataclasses import dataclass

from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.reader import open_dataset
from yt8m_pipeline.evaluation.confusions import Confusions
from yt8m_pipeline.evaluation.evaluating import Reading, truth_of
from yt8m_pipeline.evaluation.examples import Examples


@dataclass(frozen=True)
class Study:
    """What one reading of predictions shows.

    Attributes:
        confusions: Which classes are taken for which.
        examples: The videos of which the model is surest, right and wrong.
    """

    confusions: Confusions
    examples: Examples


def study(
    dataset: str,
    predictions: str,
    partition: Partition | str = Partition.VALIDATE,
    *,
    rated: str | None = None,
    examples: int = 5,
) -> Study:
    """Reads predictions once, in bounded memory.

    Args:
        dataset: The folder of a finished dataset.
        predictions: A table of them.
        partition: The partition whose labels are the truth.
        rated: A table of human ratings, which is the truth in place of the partition.
        examples: The number of examples, of right and of wrong ones each.

    Raises:
        UsageError: as `evaluate` does.
        DataError: as `evaluate` does.
    """
    truth = truth_of(open_dataset(dataset), partition, rated)
    confusions, found = Confusions.zero(truth.classes), Examples(examples)
    for video_ids, batch in Reading(truth, predictions).batches():
        confusions.include(batch)
        found += Examples.from_batch(video_ids, batch, examples)
    return Study(confusions, found)
