import numpy as np
import pytest

from yt8m_pipeline.report.zipf import fit_zipf, zipf_shares


@pytest.mark.parametrize("exponent", [0.3, 0.8, 1.0, 2.5])
@pytest.mark.parametrize("entities", [5, 300])
def test_the_fit_has_the_greatest_likelihood_of_all_exponents(exponent: float, entities: int) -> None:
    drawn = np.random.default_rng(0).multinomial(20_000, zipf_shares(exponent, entities))
    ranked = np.sort(drawn[drawn > 0])[::-1]
    grid = np.arange(0, 4, 0.001)
    likelihoods = [ranked @ np.log(zipf_shares(value, len(ranked))) for value in grid]
    fitted = fit_zipf(drawn)
    assert fitted == pytest.approx(grid[np.argmax(likelihoods)], abs=0.001)
    assert fitted == pytest.approx(exponent, abs=0.15)


def test_exact_shares_give_their_exponent() -> None:
    assert fit_zipf((1e9 * zipf_shares(1.3, 100)).astype(np.int64)) == pytest.approx(1.3, abs=1e-4)


@pytest.mark.parametrize(
    ("counts", "exponent"),
    [([], None), ([0, 0], None), ([7], None), ([7, 0], None), ([3, 3, 3], 0.0), ([9, 1], 3.169925)],
)
def test_few_or_equal_counts(counts: list[int], exponent: float | None) -> None:
    assert fit_zipf(np.array(counts, np.int64)) == exponent
