"""A process whose model or libraries are not the planned ones refuses to compute features."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.extraction.conftest import Save
from tests.extraction.models import config
from yt8m_pipeline.config import GraphModel, RandomModel, SavedModel
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.extraction import identity as identity_module
from yt8m_pipeline.extraction.identity import identity_of, require_same_identity
from yt8m_pipeline.extraction.model_files import model_sha256

DECODER = "PyAV 18, libavcodec 62.28"


def refusal(planned: dict[str, object], found: dict[str, object]) -> UsageError:
    with pytest.raises(UsageError, match="A worker would compute other features than were planned") as refused:
        require_same_identity(planned, found)
    return refused.value


def test_the_same_process_is_accepted_also_after_json() -> None:
    inception = config(RandomModel(random=1))
    planned = json.loads(json.dumps(identity_of(inception, DECODER)))
    require_same_identity(planned, identity_of(inception, DECODER))
    assert planned.keys() == {"model", "yt8m_pipeline", "av", "tensorflow", "decoder"}


def test_another_model_at_the_same_path_is_refused_with_both_digests(tmp_path: Path) -> None:
    path = tmp_path / "classify_image_graph_def.pb"
    inception = config(GraphModel(graph=str(path)))
    path.write_bytes(b"the planned one")
    planned, before = identity_of(inception, DECODER), model_sha256(str(path))
    path.write_bytes(b"one of a worker")
    error = refusal(planned, identity_of(inception, DECODER))
    assert error.where == f"process {os.getpid()} on {socket.gethostname()}"
    assert error.why.startswith(f"model: {{'source': 'graph', 'sha256': '{before}'}} planned, ")
    assert error.why.endswith(f"'sha256': '{model_sha256(str(path))}'}} here")
    assert error.fix == "give every worker the same installation and the same model, then run the build again"


def test_other_weights_in_the_same_folder_are_refused(save: Save) -> None:
    inception = config(SavedModel(saved_model=save(lambda images: images[:, 0, 0])))
    planned = identity_of(inception, DECODER)
    require_same_identity(planned, identity_of(inception, DECODER))
    save(lambda images: images[:, 1, 1])
    assert refusal(planned, identity_of(inception, DECODER)).why.startswith("model: ")


@pytest.mark.parametrize("library", ["av", "tensorflow"])
def test_another_version_of_a_library_is_refused(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    inception = config(RandomModel(random=1))
    planned = identity_of(inception, DECODER)
    monkeypatch.setattr(identity_module, "version", lambda name: "0.0" if name == library else planned[name])
    assert refusal(planned, identity_of(inception, DECODER)).why == f"{library}: {planned[library]} planned, 0.0 here"


def test_every_difference_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    planned = identity_of(config(RandomModel(random=1)), DECODER)
    monkeypatch.setattr(identity_module, "__version__", "9.9")
    why = refusal(planned, identity_of(config(RandomModel(random=2)), "another")).why
    assert [part.partition(":")[0] for part in why.split("; ")] == ["decoder", "model", "yt8m_pipeline"]
    assert refusal({}, planned).why.count(" planned, ") == len(planned)


def test_it_needs_no_tensorflow() -> None:
    code = (
        "import sys\n"
        "from yt8m_pipeline.config import Inception, RandomModel\n"
        "from yt8m_pipeline.extraction.identity import identity_of\n"
        "identity_of(Inception(model=RandomModel(random=1)), '')\n"
        "assert not {'tensorflow', 'av'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
