"""What released versions saved is read by this one."""

from pathlib import Path

import numpy as np
import pytest

from yt8m_pipeline.compression.pca import Pca
from yt8m_pipeline.compression.quantization import Quantizer

GOLDEN = Path(__file__).parent.parent / "golden_formats"

FRAMES = (np.arange(96).reshape(16, 6) ** 2 % 37).astype(np.float32)


def test_a_pca_of_version_0_1_0_is_read_with_the_epsilon_that_its_manifest_tells() -> None:
    folder = str(GOLDEN / "0.1.0" / "pca")
    pca = Pca.load(folder, epsilon=1e-4)
    assert pca.fingerprint == "d374428c7720d63fdbe8191bbc71306cbf871499c5709458d5dc20ec1cdbf214"
    assert Pca.load(folder).fingerprint == pca.fingerprint
    assert pca.total_variance == pytest.approx(842.3541666666666, rel=1e-15)
    np.testing.assert_allclose(
        pca.transform(FRAMES)[0],
        [-1.6703176498413086, 0.03487696498632431, 0.5079165697097778, -0.1790800243616104],
        rtol=1e-6,
    )


def test_a_pca_of_version_0_2_0_tells_its_epsilon_itself() -> None:
    """It has other bits than that of version 0.1.0, which depended on the processor."""
    pca = Pca.load(str(GOLDEN / "0.2.0" / "pca"))
    assert (pca.epsilon, pca.fingerprint) == (1e-4, "dd9318002ef88aa2e028dfe7adef355f843ce44b0edb52b6dd5e7e6d997157de")
    before = Pca.load(str(GOLDEN / "0.1.0" / "pca"), epsilon=1e-4)
    np.testing.assert_allclose(pca.transform(FRAMES), before.transform(FRAMES), rtol=1e-5)


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0"])
def test_codebooks_of_every_version_are_read(version: str) -> None:
    shared = Quantizer.load(str(GOLDEN / version / "quantizer.npz"))
    assert shared.fingerprint == "968d13735b3d71482e8c09a30f9412db3fd9591fa8cdbeb5938b355579c8455c"
    np.testing.assert_allclose(shared.levels, [-1.6684878, -0.9784124, -0.26505765, 0.374583, 1.5344])
    own = Quantizer.load(str(GOLDEN / version / "quantizer_per_dimension.npz"))
    assert own.fingerprint == "f942866f6a8e5e18cea016f4d36e3192d977c28cd6c8a220e7c17d535109c46f"
    assert own.levels.shape == (4, 5)
