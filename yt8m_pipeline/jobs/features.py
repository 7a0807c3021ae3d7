"""The life of a set of video-level features: plan it, take its folder, run the pipeline, and close the folder."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from yt8m_pipeline import files
from yt8m_pipeline.dataset.reader import choice
from yt8m_pipeline.jobs.build_folder import exclusive
from yt8m_pipeline.jobs.listed_folder import written_list
from yt8m_pipeline.jobs.progress import OnProgress, observed
from yt8m_pipeline.video_level.feature_list import LIST, PHI
from yt8m_pipeline.video_level.feature_set import FeatureSet, open_features
from yt8m_pipeline.video_level.names import Blocks, Space

if TYPE_CHECKING:
    from yt8m_pipeline.jobs.features_plan import FeaturesPlan


@dataclass(frozen=True, slots=True)
class FeaturesResult:
    """What was done.

    Attributes:
        plan: What was planned.
        is_new: Whether anything was done; False: the features were complete already.
        elapsed_seconds: By the clock on the wall.
    """

    plan: "FeaturesPlan"
    is_new: bool
    elapsed_seconds: float = 0.0

    @property
    def features(self) -> FeatureSet:
        """The features, open for reading."""
        return open_features(self.plan.layout.root)


def features(  # noqa: PLR0913  each is an option of the command line
    dataset: str,
    output: str,
    store: str | None = None,
    beam_arguments: Sequence[str] = (),
    *,
    space: Space | str | None = None,
    blocks: Blocks | str | None = None,
    top: int | None = None,
    components: int | None = None,
    like: str | None = None,
    model: str | None = None,
    on_progress: OnProgress | None = None,
) -> FeaturesResult:
    """Writes one vector for each video of a finished dataset: φ = [μ; σ; Top5], normalised (paper §4.2).

    The same dataset gives the same bytes on every engine, whatever was killed in between: a second call goes on, and
    does nothing where the features are complete. No label that is withheld is read.

    Args:
        dataset: The folder of the finished dataset.
        output: The folder of the features.
        store: The feature store that the dataset was built from, for the exact features; None: they are reconstructed
            from the codes, by inverting quantization and PCA as the paper does (§5.2).
        beam_arguments: Beam's own options.
        space: "relu" (the default): φ of the network's own features; "pca": of the coefficients of the PCA.
        blocks: "mu", "mu+sigma" or "mu+sigma+top5" (the default): the parts of φ.
        top: The number of largest values of each feature; None: five, as in the paper (§4.2.1).
        components: The number of values of a vector; None: the largest power of two of which there are ten times as
            many train videos, at most 1,024 and the values of φ.
        like: The folder of other features, whose PCA is taken (paper §5.3); None: it is fitted to the train videos.
        model: The folder of a trained LSTM, whose states at the last frame are taken in place of φ (paper §4.1.3).
        on_progress: Is told of the progress.

    Raises:
        DataError: if the dataset or the other features are not finished or damaged, the store lacks videos, or the
            train videos are too few or all alike.
        UsageError: if a folder, a choice or an option of Beam is wrong.
    """
    from yt8m_pipeline.jobs.features_plan import Wanted, plan_features  # with SciPy and pydantic

    chosen_space = None if space is None else choice(Space, space, "space")
    chosen_blocks = None if blocks is None else choice(Blocks, blocks, "block")
    plan = plan_features(dataset, output, Wanted(store, chosen_space, chosen_blocks, top, components, like, model))
    if plan.is_done:
        return FeaturesResult(plan, is_new=False)
    from yt8m_pipeline.jobs.engine import beam_pipeline, run  # Beam takes seconds to import: only where there is work
    from yt8m_pipeline.pipeline import compute_features

    start = time.monotonic()
    beam_pipeline(beam_arguments)
    with observed(on_progress), exclusive(plan.layout) as layout, written_list(layout, LIST):
        run(beam_arguments, layout, partial(compute_features, plan=replace(plan, layout=layout)))
        files.delete_folder(layout.path(PHI))
    return FeaturesResult(plan, is_new=True, elapsed_seconds=time.monotonic() - start)
