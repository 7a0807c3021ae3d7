"""`train`: a model of the paper on a dataset, in a folder of its own."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from yt8m_pipeline.baselines.plan import TrainingPlan, plan_training
from yt8m_pipeline.baselines.saved import ModelCard
from yt8m_pipeline.jobs.build_folder import exclusive
from yt8m_pipeline.jobs.progress import OnProgress, observed


@dataclass(frozen=True)
class Trained:
    """What a training did.

    Attributes:
        plan: What was planned.
        card: What model.json says of the finished model.
        is_new: Whether anything was done; False: the model was finished already.
        elapsed_seconds: By the clock on the wall.
    """

    plan: TrainingPlan
    card: ModelCard
    is_new: bool
    elapsed_seconds: float = 0.0


def train(
    model: str,
    dataset: str,
    output: str,
    *,
    features: str | None = None,
    settings: Sequence[str] = (),
    small: bool = False,
    init_from: str | None = None,
    on_progress: OnProgress | None = None,
) -> Trained:
    """Trains a model until a metric of the validate videos rises no more, or all epochs are done.

    A training that was killed, at any moment, goes on when the same call comes again, and ends with the same weights
    to the bit on the same machine. A finished one is not done again.

    Args:
        model: "frame_logistic", "dbof" or "lstm" (paper §4.1), or "hinge", "logistic" or "moe" (§4.3).
        dataset: The folder of a finished dataset.
        output: The folder of the model: a new one, or that of the same training.
        features: The folder of a feature set of the dataset (`yt8m features`), for the last three. Without it they read
            the dataset's own `mean_rgb`, each vector divided by its length.
        settings: Settings that differ from the paper's, as `name=value` (`baselines.settings`).
        small: Whether settings for a demo are the defaults.
        init_from: The folder of a trained model whose weights are the first ones. If its classes are others, the last
            layer is new.
        on_progress: Is told of the progress.

    Raises:
        UsageError: a name, a setting or a folder is wrong, or the other model does not fit.
        DataError: the dataset is unfinished, damaged or lacks train or validate videos; the loss is not a number; or
            the memory does not suffice.
    """
    plan = plan_training(model, dataset, output, features=features, settings=settings, small=small, init_from=init_from)
    if plan.is_done:
        return Trained(plan, ModelCard.of(output), is_new=False)
    start = time.monotonic()
    with observed(on_progress), exclusive(plan.layout) as layout:
        from yt8m_pipeline.baselines.learning import learn  # TensorFlow takes seconds to import

        learn(replace(plan, layout=layout), layout)
    return Trained(plan, ModelCard.of(output), is_new=True, elapsed_seconds=time.monotonic() - start)
