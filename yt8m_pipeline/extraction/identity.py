"""The identity of a process: what its features depend on, beside the config.

The fingerprint of the feature space is computed when a build is planned, in one process. Workers compute the features,
maybe on other machines, with other installations and other files at the model's path. Each compares its own identity
with the planned one before its first result. TensorFlow is not imported here.
"""

import os
import socket
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from yt8m_pipeline import __version__
from yt8m_pipeline.config import Inception
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.extraction.model_files import identity

LIBRARIES = ("av", "tensorflow")
"""The libraries that compute frames and features, by the names of their packages."""


def identity_of(inception: Inception, decoder: str) -> dict[str, Any]:
    """Describes what the features of this process depend on, beside the config.

    Args:
        inception: The config of the network, whose model's bytes are read here.
        decoder: What decoded pixels depend on, as the decoder tells it.

    Returns:
        A JSON-able mapping: the model, the versions of this package, PyAV and TensorFlow, and the decoder.

    Raises:
        UsageError: if the model is missing or cannot be fetched.
    """
    versions = {"yt8m_pipeline": __version__, **{name: version(name) for name in LIBRARIES}}
    return {"model": identity(inception.model), **versions, "decoder": decoder}


def require_same_identity(planned: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Refuses to compute features in a process that is not as the build was planned.

    Args:
        planned: The `identity_of` the process that planned the build.
        found: The `identity_of` this process.

    Raises:
        UsageError: if they differ, with every difference.
    """
    differing = sorted(name for name in planned.keys() | found.keys() if planned.get(name) != found.get(name))
    if differing:
        raise UsageError(
            what="A worker would compute other features than were planned",
            where=f"process {os.getpid()} on {socket.gethostname()}",
            why="; ".join(f"{name}: {planned.get(name)} planned, {found.get(name)} here" for name in differing),
            fix="give every worker the same installation and the same model, then run the build again",
        )
