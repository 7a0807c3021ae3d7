"""The state of an LSTM at the last frame, against the cells computed by hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from yt8m_pipeline import open_dataset
from yt8m_pipeline.baselines.networks import load_network
from yt8m_pipeline.baselines.states import open_states
from yt8m_pipeline.data_model import Float64Array
from yt8m_pipeline.errors import UsageError


def sigmoid(values: Float64Array) -> Float64Array:
    return np.asarray(1 / (1 + np.exp(-values)))


def outputs(frames: Float64Array, kernel: Float64Array, recurrent: Float64Array, bias: Float64Array) -> Float64Array:
    """The outputs of an LSTM (Hochreiter and Schmidhuber 1997; gates as Keras orders them: i, f, c, o)."""
    units = len(recurrent)
    state, cell, found = np.zeros(units), np.zeros(units), []
    for frame in frames:
        into, forget, new, out = np.split(frame @ kernel + state @ recurrent + bias, 4)
        cell = sigmoid(forget) * cell + sigmoid(into) * np.tanh(new)
        state = sigmoid(out) * np.tanh(cell)
        found.append(state)
    return np.array(found)


def test_the_states_are_the_outputs_of_both_layers_at_the_last_frame(
    separable: str, trained: Callable[[str], Path]
) -> None:
    folder = str(trained("lstm"))
    states, network = open_states(folder), load_network(folder)
    assert (states.dimensions, states.frame_dimensions) == (16, 8)
    layers = [[array.astype(np.float64) for array in network.get_layer(f"lstm_{k}").get_weights()] for k in (0, 1)]
    for video in open_dataset(separable).frames("validate")[:4]:
        first = outputs(video.features.astype(np.float64), *layers[0])
        second = outputs(first, *layers[1])
        found = states(video.features)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, [*first[-1], *second[-1]], atol=1e-5)


def test_frames_of_another_shape_are_refused(trained: Callable[[str], Path]) -> None:
    states = open_states(str(trained("lstm")))
    for shape in ((3, 7), (0, 8), (8,)):
        with pytest.raises(ValueError, match=r"\(frames, 8\)"):
            states(np.zeros(shape, np.float32))


def test_another_model_has_no_states(trained: Callable[[str], Path]) -> None:
    with pytest.raises(UsageError, match="it is moe"):
        open_states(str(trained("moe")))
