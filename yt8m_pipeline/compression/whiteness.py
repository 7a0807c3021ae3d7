"""How white the coefficients are that `Pca.transform` whitens, and what a manifest says of it (paper §3.3)."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np

from yt8m_pipeline.compression.histogram import Scope
from yt8m_pipeline.compression.pca import Pca, noise_level
from yt8m_pipeline.data_model import Float32Array
from yt8m_pipeline.errors import DataError

NEARLY_WHITE = 0.99
"""The mean whitened variance below which a warning is due: more than 1 % off."""

WHITE_MEAN_SQUARES = (0.25, 4.0)
"""The range of the median component's mean square for an imported PCA on train frames. Whitening makes it 1, and other
videos than those that the PCA was fitted on move it by tens of per cent; a projection without whitening, a transposed
matrix or features of another scale move it by orders of magnitude."""

EXTREME_MEAN_SQUARES = (1 / 16, 16.0)
"""The range of all mean squares. The median may be 1 by chance where nothing is whitened, since the variances of
features fall over several powers of ten; and a wrong mean moves the leading components alone."""

FRAMES_PER_LEVEL = 100
"""The least train frames per level for a codebook per dimension. With 27 (6,912 frames and 256 levels) its error on
held-out frames was 9 times that of a shared one, with 780 they were equal."""


@dataclass(frozen=True, slots=True)
class Whitening:
    """The variances of whitened coefficients on the frames that a PCA was fitted on: λ / (λ + epsilon), 1 if white.

    Attributes:
        components: The number of components.
        components_below_epsilon: The number of those whose eigenvalue is less than epsilon: they are hardly whitened.
        components_without_variance: The number of those whose eigenvalue is rounding noise.
        minimum: The least variance.
        median: The median of the variances.
        mean: The mean of the variances.
    """

    components: int
    components_below_epsilon: int
    components_without_variance: int
    minimum: float
    median: float
    mean: float

    @classmethod
    def of(cls, pca: Pca) -> "Whitening":
        """What a PCA does to the frames that it was fitted on."""
        variances = pca.whitened_variances
        noise = noise_level(pca.eigenvalues, len(pca.mean))
        return cls(
            components=pca.components,
            components_below_epsilon=int(np.count_nonzero(pca.eigenvalues < pca.epsilon)),
            components_without_variance=int(np.count_nonzero(pca.eigenvalues <= noise)),
            minimum=float(variances.min()),
            median=float(np.median(variances)),
            mean=float(variances.mean()),
        )

    def facts(self) -> dict[str, float]:
        """The attributes by name, for a manifest."""
        return asdict(self)

    def require_most(self) -> None:
        """Raises a DataError if most components are below epsilon, so that the PCA does not whiten at all."""
        if 2 * self.components_below_epsilon > self.components:
            raise DataError(
                what="The PCA does not whiten the features",
                where="pca.epsilon",
                why=f"the variance of {self.components_below_epsilon} of {self.components} components is below epsilon"
                f"; the median variance after whitening is {self.median:.3g}, not 1",
                fix="lower pca.epsilon, or make it relative (`pca: {epsilon: {relative: 0.01}}`): that fits all",
            )

    def warnings(self) -> list[str]:
        """What a manifest should warn of."""
        found = []
        if self.mean < NEARLY_WHITE:
            found.append(
                f"the PCA whitens only in part: the mean variance of the whitened coefficients is {self.mean:.3g}, not "
                f"1 (least {self.minimum:.3g}, median {self.median:.3g}); {self.components_below_epsilon} of "
                f"{self.components} components are below pca.epsilon"
            )
        if self.components_without_variance:
            found.append(
                f"{self.components_without_variance} of {self.components} PCA components have no variance; lower "
                "pca.components"
            )
        return found


@dataclass(frozen=True, slots=True)
class Suitability:
    """The mean squares of the coefficients of an imported PCA on frames of the dataset, component by component.

    Attributes:
        frames: The number of the frames.
        minimum: The least mean square.
        median: The median of the mean squares.
        maximum: The greatest mean square.
        mean: The mean of all coefficients, which is near 0 where the PCA's mean is that of the frames.
    """

    frames: int
    minimum: float
    median: float
    maximum: float
    mean: float

    @classmethod
    def of(cls, coefficients: Iterable[Float32Array]) -> "Suitability":
        """How an imported PCA suits frames, from their coefficients, float32 (frames, components), in blocks."""
        frames, totals, squares = 0, 0.0, 0.0
        for block in coefficients:
            exact = block.astype(np.float64)
            frames += len(exact)
            totals, squares = totals + exact.sum(axis=0), squares + np.square(exact).sum(axis=0)
        mean_squares = squares / np.float64(frames)
        return cls(
            frames=frames,
            minimum=float(np.min(mean_squares)),
            median=float(np.median(mean_squares)),
            maximum=float(np.max(mean_squares)),
            mean=float(np.mean(totals) / frames),
        )

    def facts(self) -> dict[str, float]:
        """The attributes by name, for a manifest."""
        return asdict(self)

    def warnings(self) -> list[str]:
        """What a manifest should warn of."""
        low, high = WHITE_MEAN_SQUARES
        least, most = EXTREME_MEAN_SQUARES
        if low <= self.median <= high and least <= self.minimum and self.maximum <= most:
            return []
        return [
            f"the imported PCA does not whiten these features: on {self.frames:,} train frames the mean squares of its "
            f"coefficients are {self.minimum:.3g} to {self.maximum:.3g} (median {self.median:.3g}), not 1, their mean "
            f"is {self.mean:.3g}; it is a projection without whitening, a transposed matrix, or one of other features"
        ]


def warnings_of_few_frames(scope: Scope, levels: int, train_frames: int) -> list[str]:
    """What a manifest should warn of where codebooks per dimension know their few train frames by heart."""
    if scope == "shared" or train_frames >= FRAMES_PER_LEVEL * levels:
        return []
    return [
        f"each dimension has its own codebook of {levels} levels, fitted to {train_frames:,} train frames; below "
        f"{FRAMES_PER_LEVEL * levels:,} frames the error on other frames is far above that of a shared codebook "
        "(`quantizer: {scope: shared}`)"
    ]
