"""The eigen-decomposition against LAPACK's, and its bits on several kinds of processor."""

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from yt8m_pipeline.compression.eigen import leading_eigenpairs
from yt8m_pipeline.data_model import Float64Array

TOLERANCE = 1e-13

squares = st.integers(1, 12).flatmap(
    lambda size: hnp.arrays(np.float64, (size, size), elements=st.integers(-3, 3) | st.floats(-1e3, 1e3))
)


def assert_decomposed(matrix: Float64Array, count: int) -> None:
    """Eigenvalues are LAPACK's, eigenvectors are orthonormal, and the one times the other is right."""
    before = matrix.copy()
    values, vectors = leading_eigenpairs(matrix, count)
    np.testing.assert_array_equal(matrix, before)
    every = np.linalg.eigvalsh(matrix)
    bound = TOLERANCE * max(float(np.abs(every).max()), np.finfo(np.float64).tiny)
    assert (np.diff(values) <= 0).all()
    np.testing.assert_allclose(values, every[::-1][:count], rtol=0, atol=bound)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(count), atol=TOLERANCE)
    np.testing.assert_allclose(vectors @ matrix, values[:, np.newaxis] * vectors, rtol=0, atol=bound)


@settings(max_examples=150)
@given(squares, st.data())
def test_any_symmetric_matrix_is_decomposed(square: Float64Array, data: st.DataObject) -> None:
    assert_decomposed((square + square.T) / 2, data.draw(st.integers(1, len(square))))


@pytest.mark.parametrize("size", [2, 3, 64, 131])
@pytest.mark.parametrize("spectrum", ["one", "zero", "three", "steep", "near", "of few frames"])
def test_repeated_near_and_vanishing_eigenvalues_have_orthonormal_vectors(size: int, spectrum: str) -> None:
    random = np.random.default_rng(size)
    values = {
        "one": np.ones(size),
        "zero": np.zeros(size),
        "three": np.repeat([3.0, 1.0, 1e-9], [size // 3, size // 3, size - 2 * (size // 3)]),
        "steep": np.geomspace(1, 1e-20, size),
        "near": 1 + 1e-14 * np.arange(size),
        "of few frames": np.where(np.arange(size) < size // 4, 1.0 + np.arange(size), 0.0),
    }[spectrum]
    axes = np.linalg.qr(random.normal(size=(size, size)))[0]
    matrix = (axes * values) @ axes.T
    assert_decomposed((matrix + matrix.T) / 2, size)
    assert_decomposed(np.diag(values), size)


@pytest.mark.parametrize("scale", [2.0**-400, 1e-30, 1e30, 2.0**400])
def test_the_scale_of_a_matrix_scales_its_eigenvalues(scale: float) -> None:
    square = np.random.default_rng(0).normal(size=(20, 20))
    assert_decomposed((square + square.T) * scale, 20)


KERNELS = ("Prescott", "Nehalem", "Sandybridge", "Haswell", "Zen", "SkylakeX")
"""Kinds of processor that OpenBLAS has kernels for, from SSE3 to AVX-512."""

FIT = """
import json, hashlib
import numpy as np
from threadpoolctl import threadpool_info
from yt8m_pipeline.compression.histogram import Histogram
from yt8m_pipeline.compression.moments import Moments
from yt8m_pipeline.compression.pca import Pca
from yt8m_pipeline.compression.quantization import Quantizer
frames = np.random.default_rng(0).gamma(0.4, 1.0, (400, 120)).round(3) * np.geomspace(1, 1e-3, 120)
frames[:, 7] = frames[:, 8]
frames[:, 50:60] = np.tile(np.eye(10), (40, 1))  # eigenvalues that are equal
moments = Moments.from_frames(frames, -16)
pca = Pca.fit(moments, components=100, epsilon=1e-6)
lapack = np.linalg.eigh(moments.covariance())[1]
digest = lambda array: hashlib.sha256(array.tobytes()).hexdigest()
kernels = [row.get("architecture") for row in threadpool_info() if row["user_api"] == "blas"]
coefficients = pca.transform(frames)
codebooks = [Quantizer.fit(Histogram.from_values(coefficients, count)) for count in (1, 100)]
codes = [digest(codebook.encode(coefficients)) for codebook in codebooks]
print(json.dumps([kernels, digest(lapack), [pca.fingerprint, digest(coefficients), codes]]))
"""


def test_fits_coefficients_and_codes_have_the_same_bits_on_every_kind_of_processor() -> None:
    """Where OpenBLAS is not the library, or the processor lacks what a kernel needs, fewer kernels are compared.

    NumPy's own loops are those of the processor at first, and then those without any extension.
    """
    config: Any = np.show_config(mode="dicts")
    without = " ".join(config["SIMD Extensions"].get("found", ()))
    found = []
    for kernel, disabled in [*((kernel, "") for kernel in KERNELS), (KERNELS[0], without)]:
        environment = {**os.environ, "OPENBLAS_CORETYPE": kernel, "NPY_DISABLE_CPU_FEATURES": disabled}
        run = subprocess.run([sys.executable, "-c", FIT], env=environment, capture_output=True, text=True, check=False)
        if run.returncode >= 0:  # not killed by an instruction that this processor does not have
            assert run.returncode == 0, run.stderr
            found.append(json.loads(run.stdout))
    kernels, by_lapack, ours = zip(*found, strict=True)
    if len({tuple(names) for names in kernels}) == 1:
        pytest.skip(f"only the kernels {kernels[0]} are here")
    assert len(set(by_lapack)) > 1, "these kernels do not differ, and so nothing is shown"
    assert all(bits == ours[0] for bits in ours)
