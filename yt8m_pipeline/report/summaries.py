"""What the codebook costs, as rows of a table, and how numbers of tables are rounded."""

from math import isfinite
from typing import Any

from yt8m_pipeline.compression.distortion import relative_error_of_both
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.manifest import DistortionRow, Manifest


def quantization_rows(manifest: Manifest) -> list[dict[str, Any]]:
    """What one byte per coefficient costs each split: the share that is clipped, and the error over the variance.

    The overload is the share of the coefficients beyond the outer cells of the codebook, and their part of the error.
    Codes that were made from codes have the error of those beside their own.
    """
    before = manifest.encoded.distortion
    return [
        {
            "partition": part.value,
            "clipped_fraction": rounded(manifest.distortion[part].clipped_fraction),
            "relative_error": rounded(manifest.distortion[part].relative_error),
            "overload_fraction": rounded(manifest.distortion[part].overload_fraction),
            "overload_error_fraction": rounded(manifest.distortion[part].overload_error_fraction),
            **(_source_error(manifest.distortion[part], before[part]) if before else {}),
        }
        for part in Partition
    ]


def _source_error(here: DistortionRow, before: DistortionRow) -> dict[str, float | None]:
    first, added = before.relative_error, here.relative_error
    both = None if first is None or added is None else relative_error_of_both(first, added)
    return {"error_of_the_source": rounded(first), "error_together": rounded(both)}


def rounded(value: float | None) -> float | None:
    """To four significant digits; None for what is not known or no number, which JSON has no sign for."""
    return None if value is None or not isfinite(value) else float(f"{value:.4g}")
