"""Stopped means stopped: a job that outlives the command that started it can write nothing more to the dataset.

The job runs in processes of its own, as on a cluster: a job server, and a pool of workers that the test can freeze.
"""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.command_line import listen_to_interrupts, run
from tests.conftest import Workshop, published_bytes
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.verify import verify

SERVER = "-m apache_beam.runners.portability.local_job_service_main -p {port}"
WORKERS = """
import sys, time
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
address, server = BeamFnExternalWorkerPoolServicer.start(port=int(sys.argv[1]))
while True:
    time.sleep(3600)
"""
GOES_ON = "stopped; the same command goes on from here\n"
PATIENCE = 120
"""Seconds within which each thing that is waited for must happen, on a busy machine too."""


def wait_for(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass(frozen=True)
class Cluster:
    """A job server and its workers, in two processes.

    Attributes:
        server: The process of the job server.
        workers: The process of the workers.
        options: Beam's options to run a job there.
        log: What the job server says.
    """

    server: "subprocess.Popen[bytes]"
    workers: "subprocess.Popen[bytes]"
    options: tuple[str, ...]
    log: Path

    @contextmanager
    def frozen(self, process: "subprocess.Popen[bytes]") -> Iterator[None]:
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def has_ended(self) -> bool:
        """Whether the job has, which the server may call cancelled while its workers go on."""
        said = self.log.read_text()
        return "Completed job in" in said or "Error running pipeline" in said


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    ports, log = (free_port(), free_port()), tmp_path / "server.log"
    options = (
        "--runner=PortableRunner",
        f"--job_endpoint=127.0.0.1:{ports[0]}",
        "--environment_type=EXTERNAL",
        f"--environment_config=127.0.0.1:{ports[1]}",
    )
    with log.open("w") as stream:
        server = [sys.executable, *SERVER.format(port=ports[0]).split()]
        processes = [
            subprocess.Popen(command, stdout=stream, stderr=stream)
            for command in (server, [sys.executable, "-c", WORKERS, str(ports[1])])
        ]
    try:
        wait_for(lambda: all(map(answers, ports)))
        yield Cluster(processes[0], processes[1], options, log)
    finally:
        for process in processes:
            process.kill()
            process.wait()


@contextmanager
def launched(config: Path, cluster: Cluster) -> Iterator["subprocess.Popen[str]"]:
    """A build with a PCA of its own that runs on the cluster."""
    arguments = ["build", str(config), "--set", "pca.components=8", "--", *cluster.options]
    process = subprocess.Popen(
        [sys.executable, "-m", "yt8m_pipeline", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=listen_to_interrupts,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def stop(process: "subprocess.Popen[str]", _: Cluster) -> None:
    """One interrupt: the job is cancelled, and so it says."""
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 130
    assert "cancelling job " in said
    assert said.endswith(GOES_ON)


def kill(process: "subprocess.Popen[str]", _: Cluster) -> None:
    """Nobody cancels the job."""
    process.kill()
    process.wait()


def detach(process: "subprocess.Popen[str]", cluster: Cluster) -> None:
    """The job server does not answer, and a second interrupt leaves the job alone."""
    with cluster.frozen(cluster.server):
        process.send_signal(signal.SIGINT)
        assert process.stderr
        while "cancelling job " not in (line := process.stderr.readline()):
            assert line
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "is left to itself (interrupted again)" in said
    assert f"use the job server at {cluster.options[1].partition('=')[2]}" in said
    assert said.endswith(GOES_ON)


def test_a_job_server_in_the_process_itself_is_stopped_with_it(workshop: Workshop, tmp_path: Path) -> None:
    options = ["--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK"]
    command = [sys.executable, "-m", "yt8m_pipeline", "build", str(workshop.config(tmp_path)), "--", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    wait_for(lambda: any(tmp_path.glob("features/*/*/*.npz")) or process.poll() is not None)
    process.terminate()
    said = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 143
    assert "Traceback" not in said
    assert said.endswith(GOES_ON)
    left = {path.name for path in (tmp_path / "dataset").iterdir()}
    assert Layout.UNFINISHED in left
    assert not left & {Layout.COMPLETE, Layout.LOCK}
    assert not list(tmp_path.rglob("*.tmp-*"))


@pytest.mark.parametrize(
    ("end", "reached"), [(stop, "rejects*"), (kill, ".journal/train-*"), (detach, ".journal/train-*")]
)
def test_a_build_that_was_ended_changes_nothing_of_the_next_one(
    workshop: Workshop,
    built: Path,
    tmp_path: Path,
    cluster: Cluster,
    end: Callable[["subprocess.Popen[str]", Cluster], None],
    reached: str,
) -> None:
    """The workers of the first build are frozen while it is ended and the second one is built, and then go on."""
    config, dataset = workshop.config(tmp_path, stored=built), tmp_path / "dataset"
    with launched(config, cluster) as first:
        wait_for(lambda: any(dataset.glob(reached)) or first.poll() is not None)
        with cluster.frozen(cluster.workers):
            assert first.poll() is None, first.stderr and first.stderr.read()
            assert not cluster.has_ended()
            end(first, cluster)
            assert (dataset / ".lock").exists() == (end is kill)
            second = run("build", str(config))
            assert second.returncode == 0, second.stderr
            finished = published_bytes(dataset)
    wait_for(cluster.has_ended)
    assert "This build no longer owns the folder" in cluster.log.read_text()
    assert published_bytes(dataset) == finished == published_bytes(built / "dataset")
    assert verify(str(dataset)) == []
