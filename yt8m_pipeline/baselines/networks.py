"""A network in Keras' own format, in a folder anywhere: Keras itself reads and writes local files alone."""

import tempfile
import zipfile
from pathlib import Path

from yt8m_pipeline import files
from yt8m_pipeline.baselines.layers import keras
from yt8m_pipeline.baselines.models import Network
from yt8m_pipeline.baselines.saved import BEST
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.parsing import DAMAGE


def save_network(layout: Layout, name: str, network: Network) -> None:
    """Writes a network into a model's folder, whole or not at all."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.keras")
        network.save(path)
        layout.write_bytes(name, path.read_bytes())


def load_network(model_dir: str) -> Network:
    """Loads the best network of a model's folder.

    Raises:
        DataError: the file is missing or damaged.
    """
    uri = files.join(model_dir, BEST)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.keras")
        try:
            path.write_bytes(files.read_bytes(uri))
            _require_whole(path)
            return keras.saving.load_model(path, compile=False, safe_mode=True)
        except (OSError, ValueError, *DAMAGE) as error:
            raise DataError(
                what="The weights of a model cannot be read",
                where=uri,
                why=" ".join(str(error).split())[:300],
                fix="copy the folder again, or train the model in a new folder",
            ) from None


def _require_whole(path: Path) -> None:
    """Raises a ValueError, or one of `DAMAGE`, if a checksum of the file is wrong: Keras checks some of them, late."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged:
        raise ValueError(f"the checksum of {damaged} in it is wrong")
