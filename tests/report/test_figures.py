import io
import re
import subprocess
import sys
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.image import imread

from yt8m_pipeline.compression.histogram import Histogram
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.data_model import Float32Array
from yt8m_pipeline.report.figures import FORMATS, LOOK, Format, plot_codebook
from yt8m_pipeline.report.quantizer_statistics import central_span


def plot(values: Float32Array, form: Format, title: str = "A title") -> bytes:
    histogram = Histogram.from_values(values)
    levels = Quantizer.fit(histogram).levels
    return plot_codebook(histogram.bucket_counts[0], levels, title, form)


@pytest.fixture(scope="module")
def sample() -> Float32Array:
    return np.random.default_rng(0).laplace(size=20_000).astype(np.float32)


@pytest.fixture(scope="module")
def plots(sample: Float32Array) -> dict[Format, bytes]:
    return {form: plot(sample, form) for form in FORMATS}


def test_a_png_is_a_column_wide_at_300_dots_per_inch_and_not_blank(plots: dict[Format, bytes]) -> None:
    picture = imread(io.BytesIO(plots["png"]))
    assert picture.shape[1] == 3.5 * 300
    assert 0.02 < (picture[:, :, :3].min(axis=2) < 0.9).mean() < 0.5


def test_a_pdf_is_a_column_wide(plots: dict[Format, bytes]) -> None:
    assert plots["pdf"].startswith(b"%PDF")
    assert b"/MediaBox [ 0 0 252 " in plots["pdf"]  # 3.5 inches of 72 points


def test_the_x_axis_is_cut_at_quantiles_and_says_so(sample: Float32Array) -> None:
    """Where one outlier lies changes nothing."""
    levels = np.linspace(-6, 6, 13, dtype=np.float32)
    low, high = np.quantile(sample, [1e-3, 1 - 1e-3])
    beyond = int(((levels < low) | (levels > high)).sum())
    for outlier in (50, 1000):
        values = np.append(sample, np.float32(outlier))
        counts = Histogram.from_values(values).bucket_counts[0]
        assert central_span(counts, 1e-3) == pytest.approx((low, high), abs=0.2)
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(LOOK, "svg.fonttype", "none")
            text = plot_codebook(counts, levels, "A title", "svg").decode()
        assert f"0.1% to 99.9% quantile; {beyond} of 13 levels lie beyond" in text


def test_an_svg_has_a_mark_for_every_level(plots: dict[Format, bytes]) -> None:
    text = plots["svg"]
    assert ET.fromstring(text).tag.endswith("svg")
    dots = [group for group in re.split(rb'<g id="', text) if group.count(b"<use ") >= 255]
    assert [group.count(b"<use ") for group in dots] == [255]


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_figure_is_the_same_bytes_without_a_date_whatever_the_user_set_in_matplotlib(
    sample: Float32Array, plots: dict[Format, bytes], form: Format
) -> None:
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black", "svg.fonttype": "none"}):
        assert plot(sample, form) == plots[form]
        assert mpl.rcParams["font.size"] == 30
    assert not re.search(rb"<dc:date>|Creation|Matplotlib v", plots[form])


@pytest.mark.parametrize("values", [[0.5], [0.5, 0.5, -3.0], [0.0, 100.0]])
def test_a_codebook_of_few_levels_is_drawn_without_a_warning(values: list[float]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.showwarning", lambda *_: pytest.fail("warned"))
        assert plot(np.array(values, np.float32), "png").startswith(b"\x89PNG")


def test_no_window_system_is_asked_for() -> None:
    code = "import sys, yt8m_pipeline.report.figures\nassert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
