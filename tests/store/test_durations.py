"""Kept durations: what is read back, what is measured again, and what two builds at once lose."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from tests.command_line import four_parts, run
from yt8m_pipeline import files
from yt8m_pipeline.accounting.reasons import DropReason, Measured, Retry, VideoRejected
from yt8m_pipeline.store.durations import DurationCache, DurationShelf, duration_files, open_durations, shelf_of
from yt8m_pipeline.store.failures import Source
from yt8m_pipeline.store.formats import FORMAT, NewerFormatError
from yt8m_pipeline.store.sealed_lines import seal_lines
from yt8m_pipeline.store.stored_file import DamagedFile
from yt8m_pipeline.store.upkeep import DurationStats, survey_durations

SOURCE = Source("gs://corpus/guitar.mp4", 123456, "2016-09-28T00:00:00+00:00")
MISSING = VideoRejected(DropReason.MISSING_FILE, "no such file")
DAMAGED = VideoRejected(DropReason.TRUNCATED, "it ends at 3 s")


@pytest.fixture
def cache(tmp_path: Path) -> DurationCache:
    return DurationCache(str(tmp_path), {"damage": "strict"})


def shelf(cache: DurationCache, source: Source = SOURCE) -> DurationShelf:
    return cache.shelf(shelf_of(source.uri))


def keep(cache: DurationCache, found: Measured, source: Source = SOURCE) -> Path:
    opened = shelf(cache, source)
    opened.remember(source, found)
    opened.save()
    return Path(cache.path(shelf_of(source.uri)))


class TestKeeping:
    @pytest.mark.parametrize("seconds", [0.04, 212.5, 1 / 3, 1e6])
    def test_a_duration_is_read_back_to_the_bit(self, cache: DurationCache, seconds: float) -> None:
        keep(cache, seconds)
        assert shelf(cache).find(SOURCE, Retry.ALL) == seconds

    def test_it_is_no_duration_of_another_file_size_time_or_of_other_conditions(self, cache: DurationCache) -> None:
        keep(cache, 212.5)
        for uri, size, modified in [
            ("gs://corpus/other.mp4", SOURCE.size, SOURCE.modified),
            (SOURCE.uri, SOURCE.size + 1, SOURCE.modified),
            (SOURCE.uri, SOURCE.size, "2016-09-29T00:00:00+00:00"),
            (SOURCE.uri, 0, ""),
        ]:
            assert shelf(cache).find(Source(uri, size, modified), Retry.TRANSIENT) is None
        assert shelf(DurationCache(cache.root, {"damage": "salvage"})).find(SOURCE, Retry.TRANSIENT) is None

    @pytest.mark.parametrize(
        ("failure", "retry", "counts"),
        [
            (DAMAGED, Retry.NONE, True),
            (DAMAGED, Retry.TRANSIENT, True),
            (DAMAGED, Retry.ALL, False),
            (MISSING, Retry.NONE, True),
            (MISSING, Retry.TRANSIENT, False),
        ],
    )
    def test_a_failure_counts_unless_it_is_tried_again(
        self, cache: DurationCache, failure: VideoRejected, retry: Retry, counts: bool
    ) -> None:
        keep(cache, failure)
        found = shelf(cache).find(SOURCE, retry)
        assert (found is not None) == counts
        if isinstance(found, VideoRejected):
            assert (found.reason, found.detail) == (failure.reason, failure.detail)

    def test_the_bytes_do_not_depend_on_the_order(self, cache: DurationCache, tmp_path: Path) -> None:
        others = [Source(f"{number}.mp4", number, "") for number in range(2000)]
        same = [source for source in others if shelf_of(source.uri) == shelf_of(SOURCE.uri)] + [SOURCE]
        assert len(same) > 2
        found: list[bytes] = []
        for order in (same, same[::-1]):
            own = DurationCache(str(tmp_path / str(len(found))), cache.conditions)
            opened = shelf(own)
            for source in order:
                opened.remember(source, float(source.size))
            opened.save()
            found.append(Path(own.path(shelf_of(SOURCE.uri))).read_bytes())
        assert found[0] == found[1]

    def test_what_another_build_wrote_meanwhile_stays(self, cache: DurationCache) -> None:
        other = next(uri for uri in map("{}.mp4".format, range(9999)) if shelf_of(uri) == shelf_of(SOURCE.uri))
        ours = shelf(cache)
        keep(cache, 7.0, Source(other, 1, ""))
        ours.remember(SOURCE, 212.5)
        ours.save()
        again = shelf(cache)
        assert (again.find(SOURCE, Retry.ALL), again.find(Source(other, 1, ""), Retry.ALL)) == (212.5, 7.0)

    def test_a_store_that_can_only_be_read_costs_a_warning(
        self, cache: DurationCache, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "durations").write_text("a file, where a folder would be made")
        keep(cache, 212.5)
        assert "measured durations cannot be kept in a feature store" in caplog.text

    def test_a_damaged_file_costs_its_durations_and_a_warning(
        self, cache: DurationCache, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = keep(cache, 212.5)
        path.write_bytes(path.read_bytes().replace(b"212.5", b"213.5"))
        with pytest.raises(DamagedFile, match="it holds no durations"):
            open_durations(str(path), cache.fingerprint)
        assert shelf(cache).find(SOURCE, Retry.ALL) is None
        assert "its videos are measured again" in caplog.text
        keep(cache, 212.5)
        assert shelf(cache).find(SOURCE, Retry.ALL) == 212.5


def write_later(path: Path, cache: DurationCache) -> None:
    """The file as a later version would have written it."""
    data = seal_lines([], {"durations": cache.fingerprint})
    first, _ = data.splitlines()
    body = json.dumps({**json.loads(first), "format": FORMAT + 1}).encode() + b"\n"
    seal = {"durations": cache.fingerprint, "sha256": hashlib.sha256(body).hexdigest()}
    path.write_bytes(body + json.dumps(seal).encode() + b"\n")


class TestLaterFormat:
    def test_it_is_refused_and_never_removed(self, cache: DurationCache) -> None:
        path = keep(cache, 212.5)
        write_later(path, cache)
        before = path.read_bytes()
        with pytest.raises(NewerFormatError, match="upgrade yt8m_pipeline"):
            shelf(cache)
        for command in (["stats"], ["check"], ["gc", "--delete"]):
            finished = run("store", command[0], cache.root, *command[1:])
            assert (finished.returncode, four_parts(finished)[1]) == (1, str(path))
        assert path.read_bytes() == before

    def test_a_reason_that_is_not_known_is_a_later_versions(self, cache: DurationCache) -> None:
        path = keep(cache, DAMAGED)
        row = {"uri": SOURCE.uri, "size": 1, "modified": "", "reason": "too_colourful", "detail": ""}
        path.write_bytes(seal_lines([row], {"durations": cache.fingerprint}))
        with pytest.raises(NewerFormatError, match="this version knows no reason 'too_colourful'"):
            shelf(cache)

    def test_a_field_that_is_not_known_is_skipped(self, cache: DurationCache) -> None:
        path = keep(cache, 1.0)
        row = {"uri": SOURCE.uri, "size": SOURCE.size, "modified": SOURCE.modified, "seconds": 2.0, "colour": "red"}
        path.write_bytes(seal_lines([row], {"durations": cache.fingerprint}))
        assert shelf(cache).find(SOURCE, Retry.ALL) == 2.0


class TestUpkeep:
    def test_durations_are_counted_and_damage_and_leavings_go(self, cache: DurationCache) -> None:
        sound, damaged = keep(cache, 212.5), keep(cache, 7.0, Source("a.mp4", 1, ""))
        keep(cache, DAMAGED, Source("b.mp4", 1, ""))
        damaged.write_bytes(b"\n")
        leaving = Path(f"{sound}.tmp-elsewhere-{'0' * 32}")
        leaving.write_bytes(b"half")
        os.utime(leaving, (0, 0))
        size = sum(file.state.size for file in duration_files(cache.root))
        assert survey_durations(cache.root) == [DurationStats(cache.fingerprint, 1, 1, size, 1, 1)]
        faults = run("store", "check", cache.root, "--json")
        assert faults.returncode == 1
        assert [fault["where"] for fault in json.loads(faults.stdout)["faults"]] == [str(damaged)]
        gone = run("store", "gc", cache.root, "--delete", "--json")
        assert gone.returncode == 0, gone.stderr
        assert {row["why"] for row in json.loads(gone.stdout)["files"]} == {
            "damaged",
            "half written, its writer is gone",
        }
        assert [leaving.exists(), damaged.exists(), sound.exists()] == [False, False, True]
        assert run("store", "check", cache.root).returncode == 0

    @pytest.mark.usefixtures("bucket")
    def test_a_store_in_a_bucket_keeps_them_too(self) -> None:
        cache = DurationCache("gs://bucket/features", {"damage": "strict"})
        opened = shelf(cache)
        opened.remember(SOURCE, 212.5)
        opened.save()
        assert shelf(cache).find(SOURCE, Retry.ALL) == 212.5
        assert [file.uri for file in duration_files(cache.root)] == [cache.path(shelf_of(SOURCE.uri))]
        assert files.list_folders("gs://bucket/features") == ["durations"]
