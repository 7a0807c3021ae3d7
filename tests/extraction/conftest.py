"""Networks that are made on the spot: a SavedModel of any function, and Keras' Inception-V3 with random weights."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.extraction.models import SEED, SIZE
from yt8m_pipeline.extraction import networks

Save: TypeAlias = Callable[..., str]


@pytest.fixture(scope="session")
def tf() -> Any:
    return networks.tensorflow()


@pytest.fixture(scope="session")
def keras_inception() -> Any:
    """Keras' own network of random weights; tests that change them put them back."""
    return networks.random_inception(SIZE, SEED).func  # type: ignore[attr-defined]


@pytest.fixture
def built(keras_inception: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The same, given out in place of building it anew, which takes seconds."""
    monkeypatch.setattr(networks, "keras_application", lambda *_: keras_inception)
    weights = keras_inception.get_weights()
    yield keras_inception
    keras_inception.set_weights(weights)


@pytest.fixture
def save(tf: Any, tmp_path: Path) -> Save:
    """Saves a function of images as a SavedModel with a variable, with or without a serving signature."""

    def saved(
        function: Callable[[Any], Any], *, signature: bool = True, shape: tuple[int | None, ...] = (None, None, None, 3)
    ) -> str:
        module = tf.Module()
        module.one = tf.Variable(1.0)
        spec = tf.TensorSpec(shape, tf.float32)
        module.__call__ = tf.function(lambda images: function(module.one * images), input_signature=[spec])
        folder = str(tmp_path / "saved")
        tf.saved_model.save(module, folder, signatures=module.__call__ if signature else {})
        return folder

    return saved


@pytest.fixture
def mean_colour(save: Save, tf: Any) -> str:
    return save(lambda images: tf.reduce_mean(images, (1, 2)))
