"""A row may name a local path or an object in a bucket. Nothing else is opened, connected to or started."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import Workshop, yt8m
from tests.hostile_uris import hostile_uris, listening
from tests.test_faults import CAT, Bench, rejects_of, video_row
from tests.transforms.test_extraction import extraction_step
from yt8m_pipeline.accounting.reasons import DropReason
from yt8m_pipeline.data_model import Partition, Video
from yt8m_pipeline.places import ANYWHERE, Places
from yt8m_pipeline.store.feature_store import FeatureStore
from yt8m_pipeline.transforms.ledger import REJECTS

LOCAL, BUCKET = Places("/corpus"), Places("gs://anonymous@bucket/corpus", schemes=())
CLOSED, CLOSED_BUCKET = Places("/corpus", outside_root=False), Places("gs://bucket/corpus", outside_root=False)


@contextmanager
def programs_noticed(folder: Path) -> Iterator[tuple[dict[str, str], Path]]:
    """An environment in which `az`, `gcloud` and `aws` write into a file that they were started."""
    started, programs = folder / "started", folder / "bin"
    programs.mkdir()
    for name in ("az", "gcloud", "aws", "hadoop"):
        (programs / name).write_text(f"#!/bin/sh\necho {name} >>{started}\n")
        (programs / name).chmod(0o755)
    yield os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"}, started


class TestRefusal:
    def test_every_hostile_uri_is_refused(self) -> None:
        uris = hostile_uris(8080)
        assert len(uris) >= 200
        for places in (ANYWHERE, LOCAL, BUCKET, CLOSED):
            assert [uri for uri in uris if places.refusal(uri) is None] == []

    @pytest.mark.parametrize(
        "uri",
        [
            "videos/park.mp4",
            "/data/park.mp4",
            "../park.mp4",
            "what?.mp4",
            "100%.mp4",
            "#1.mp4",
            "%2e%2e/a.mp4",
            "12:30.mp4",
            "a:/b.mp4",
            "Über 東京 👩‍🚀.mp4",
            "a b.mp4",
            "-o.mp4",
            "~/park.mp4",
        ],
    )
    def test_local_names_are_names(self, uri: str) -> None:
        assert LOCAL.refusal(uri) is None
        assert LOCAL.absolute(uri) == (uri if uri.startswith("/") else f"/corpus/{uri}")

    @pytest.mark.parametrize("name", ["x.mp4", "a/b//c.mp4", "Über 東京.mp4", "a b.mp4", "a&b=c;d.mp4", "[1].mp4"])
    def test_objects_are_named_as_they_are(self, name: str) -> None:
        for uri in (f"gs://my-bucket.v_1/{name}", f"s3://my-bucket.v_1/{name}"):
            assert ANYWHERE.refusal(uri) is None
            assert ANYWHERE.absolute(uri) == uri
        assert BUCKET.absolute(name) == f"gs://anonymous@bucket/corpus/{name}"

    def test_schemes_are_those_of_the_config(self) -> None:
        only_gs = Places(schemes=("gs",))
        assert only_gs.refusal("gs://bucket/x.mp4") is None
        assert only_gs.refusal("s3://bucket/x.mp4") == (
            "a row may name a path or gs://, and nothing else (tables.uri_schemes)"
        )
        assert BUCKET.refusal("gs://bucket/x.mp4") == "a row may name a path, and nothing else (tables.uri_schemes)"

    @pytest.mark.parametrize("name", ["a?b", "a#b", "a%20b", "a\\b", "a/../b", "./a", "", "http://a/b"])
    def test_a_relative_path_below_a_uri_is_the_name_of_an_object(self, name: str) -> None:
        """Otherwise the query of a row would stand behind the bucket that the config names."""
        for places in (BUCKET, CLOSED_BUCKET, Places("hdfs://node:8020/corpus")):
            assert places.refusal(name)
        assert ANYWHERE.refusal(f"gs://bucket/{name}")

    def test_what_is_made_of_an_accepted_uri_is_accepted(self) -> None:
        for places in (LOCAL, BUCKET, CLOSED, CLOSED_BUCKET, Places("hdfs://node:8020/corpus")):
            assert places.refusal(places.absolute("a/b.mp4")) is None

    @given(st.text())
    def test_no_text_is_both_refused_and_made_absolute(self, uri: str) -> None:
        for places in (LOCAL, BUCKET):
            if places.refusal(uri) is None:
                assert places.refusal(places.absolute(uri)) is None
            else:
                with pytest.raises(ValueError, match="a place that no row may name"):
                    places.absolute(uri)

    def test_outside_of_the_root_by_its_text(self) -> None:
        assert CLOSED.refusal("gs://bucket/x.mp4") == "it is outside tables.root"
        assert CLOSED_BUCKET.refusal("gs://bucket/corpus2/x.mp4") == "it is outside tables.root"
        assert CLOSED_BUCKET.refusal("/etc/passwd") == "it is outside tables.root"
        assert CLOSED_BUCKET.refusal("gs://bucket/corpus/x.mp4") is None


class TestNobodyIsAsked:
    """Whatever the rows say, no connection is made, no program started, and no process ended."""

    def test_in_the_step_that_extracts(self, tmp_path: Path) -> None:
        """Rows are rejected when they are read; a video that came in another way is not opened either."""
        with listening() as server:
            uris = hostile_uris(server.port)
            videos = [Video(f"{row}", uri, Partition.TRAIN, (CAT,)) for row, uri in enumerate(uris)]
            store = FeatureStore(str(tmp_path / "store"), "space")
            rejects = extraction_step(store, videos)[REJECTS]
        assert {reject["reason"][0].as_py() for reject in rejects} == {DropReason.URI_NOT_ACCEPTED.value}
        assert len(rejects) == len(uris)
        assert server.visits == 0
        assert not (tmp_path / "store").exists()  # another config may accept them

    def test_in_probe(self, tmp_path: Path) -> None:
        with listening() as server, programs_noticed(tmp_path) as (environment, started):
            uris = hostile_uris(server.port)
            rows = [video_row(f"{row}", uri) for row, uri in enumerate(uris)]
            (tmp_path / "videos.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
            problems = tmp_path / "problems.parquet"
            table = ("--table", str(tmp_path / "videos.jsonl"), "--output", str(problems), "--json")
            probed = yt8m("probe", *table, environment=environment)
        assert probed.returncode == 1, probed.stderr
        assert json.loads(probed.stdout)["problems"] == [{"reason": "uri_not_accepted", "rows": len(uris)}]
        rejects = pq.read_table(problems).to_pylist()
        assert [row["id"] for row in rejects] == [row["video_id"] for row in rows]
        assert {(row["stage"], row["file"]) for row in rejects} == {("read", "videos.jsonl")}
        assert (server.visits, started.exists()) == (0, False)

    def test_in_a_build(self, workshop: Workshop, built: Path, tmp_path: Path) -> None:
        with listening() as server, programs_noticed(tmp_path) as (environment, started):
            uris = hostile_uris(server.port)
            bench = Bench(workshop, built)
            corpus = bench.corpus()
            rows = [video_row(f"hostile-{row}", uri) for row, uri in enumerate(uris)]
            corpus.videos += rows
            corpus.annotations += [{"video_id": row["video_id"], "entity_id": CAT, "score": 1} for row in rows]
            config = bench.config(corpus.write(tmp_path / "corpus"), max_failure_fraction=0.0)
            finished = yt8m("build", str(config), "--retry", "all", environment=environment)
        assert finished.returncode == 0, finished.stderr
        rejects = [row for row in rejects_of(tmp_path / "dataset") if row["reason"] == "uri_not_accepted"]
        assert {row["id"] for row in rejects} == {row["video_id"] for row in rows}
        assert {(row["stage"], row["table"]) for row in rejects} == {("read", "videos")}
        assert (server.visits, started.exists()) == (0, False)
