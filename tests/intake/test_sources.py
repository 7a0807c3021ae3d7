"""Published annotation files, as they are published, become the tables that they mean."""

import gzip
from pathlib import Path

import pytest
import yaml

from tests.intake.samples import (
    ACTIVITYNET,
    CHARADES,
    KINETICS,
    MOMENTS,
    MSR_VTT,
    YOUTUBE8M_VOCABULARY,
    read,
    tables,
    video_files,
    write,
)
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.intake.understood import Lacking, Unused


def test_activitynet(tmp_path: Path) -> None:
    source = write(tmp_path / "activity_net.v1-3.min.json", ACTIVITYNET)
    videos = video_files(
        tmp_path / "videos", "v_QOlSCBRmfWY.mp4", "v_ehGHCYKzyZ8.mkv", "v_nwznKOuZM7w.mp4", "v_other.mp4"
    )
    understood = read(source, videos)
    assert understood.kind == "ActivityNet JSON"
    written = tables(understood, tmp_path / "out")
    assert written["videos.csv"] == [
        "video_id,uri,duration_seconds,partition",
        "QOlSCBRmfWY,../videos/v_QOlSCBRmfWY.mp4,82.73,train",
        "ehGHCYKzyZ8,../videos/v_ehGHCYKzyZ8.mkv,61.72,validate",
    ]
    assert written["annotations.csv"] == [
        "video_id,entity_id,start_seconds,end_seconds",
        "QOlSCBRmfWY,Ballet,6.19529485179,77.730854209",
        "ehGHCYKzyZ8,Tango,0.01,20",
        "ehGHCYKzyZ8,Ballet,30.5,61",
    ]
    assert understood.lacking == [
        Lacking("file", "ogQozSI5V8U", "v_ogQozSI5V8U"),
        Lacking("labels", "", f"{videos}/v_other.mp4"),
        Lacking("labels", "nwznKOuZM7w", f"{videos}/v_nwznKOuZM7w.mp4"),
    ]
    assert any("hold for the whole video" in note for note in understood.notes)
    assert any(note.startswith("no video is in test") for note in understood.notes)


@pytest.mark.parametrize("folder", ["", "train/washing feet"])
def test_kinetics(tmp_path: Path, folder: str) -> None:
    """Clips of one YouTube video are a group, and a clip's label holds for all of the clip."""
    source = write(tmp_path / "k700" / "train.csv", KINETICS)
    names = ("---QUuC4vJs_000084_000094.mp4", "--GkrdYZ9Tc_000000_000010.mp4", "--GkrdYZ9Tc_000104_000114.mp4")
    video_files(tmp_path / "k700" / folder, *names)
    for sources in ([tmp_path / "k700"], [source, tmp_path / "k700"]):
        understood = read(*sources)
        assert understood.kind == "Kinetics CSV"
        written = tables(understood, tmp_path / "out")
        path = f"../k700/{folder}/".replace("//", "/")
        assert written["videos.csv"] == [
            "video_id,uri,group_id,partition",
            f"---QUuC4vJs_000084_000094,{path}{names[0]},---QUuC4vJs,validate",
            f"--GkrdYZ9Tc_000000_000010,{path}{names[1]},--GkrdYZ9Tc,train",
            f"--GkrdYZ9Tc_000104_000114,{path}{names[2]},--GkrdYZ9Tc,train",
        ]
        assert written["annotations.csv"][1:] == [
            "---QUuC4vJs_000084_000094,testifying",
            "--GkrdYZ9Tc_000000_000010,washing feet",
            "--GkrdYZ9Tc_000104_000114,air drumming",
        ]


def test_an_asked_group_comes_before_that_of_the_source(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", KINETICS)
    video_files(tmp_path, "--GkrdYZ9Tc_000000_000010.mp4", "--GkrdYZ9Tc_000104_000114.mp4")
    assert [video.group_id for video in read(tmp_path, group_by="_0000(..)_").videos] == ["00", "--GkrdYZ9Tc"]


def test_a_split_that_only_the_name_of_a_file_says(tmp_path: Path) -> None:
    write(tmp_path / "kinetics_val.csv", "label,youtube_id,time_start,time_end\nski,x1,0,10\n")
    assert read(video_files(tmp_path, "x1_000000_000010.mp4")).partitions == {"validate": 1}


def test_kinetics_without_labels_is_no_dataset(tmp_path: Path) -> None:
    write(tmp_path / "test.csv", "youtube_id,time_start,time_end,split\nx1,0,10,test\n")
    video_files(tmp_path, "x1_000000_000010.mp4")
    with pytest.raises(UsageError, match="No video has a label"):
        read(tmp_path)


def test_moments_in_time(tmp_path: Path) -> None:
    write(tmp_path / "trainingSet.csv", MOMENTS)
    write(tmp_path / "validationSet.csv", "dancing/yt-x_1.mp4,dancing,2,2\n")
    write(tmp_path / "moments_categories.txt", "blocking,0\ndancing,1\n")
    video_files(
        tmp_path / "training", "blocking/getty-karate-video-id635808620_4.mp4", "dancing/yt-5of6ffo6-Bw_205.mp4"
    )
    video_files(tmp_path / "validation", "dancing/yt-x_1.mp4")
    understood = read(tmp_path)
    assert understood.kind == "Moments in Time CSV"
    written = tables(understood, tmp_path / "out")
    assert written["annotations.csv"] == [
        "video_id,entity_id,score",
        "training_blocking_getty-karate-video-id635808620_4,blocking,1",
        "training_dancing_yt-5of6ffo6-Bw_205,dancing,0.75",
        "validation_dancing_yt-x_1,dancing,0.5",
    ]
    assert understood.partitions == {"train": 2, "validate": 1}
    assert not understood.unused


UCF = ("Archery/v_Archery_g01_c01.avi", "Archery/v_Archery_g08_c01.avi", "Biking/v_Biking_g08_c02.avi")


def _ucf(folder: Path) -> Path:
    lists = folder / "ucfTrainTestlist"
    write(lists / "classInd.txt", "1 Archery\r\n2 Biking\r\n")
    write(lists / "testlist01.txt", f"{UCF[0]}\r\n")
    write(lists / "trainlist01.txt", f"{UCF[1]} 1\r\n{UCF[2]} 2\r\n")
    write(lists / "testlist02.txt", f"{UCF[1]}\r\n")
    write(lists / "trainlist02.txt", f"{UCF[0]} 1\r\n{UCF[2]} 2\r\n")
    video_files(folder / "UCF-101", *UCF)
    return lists


def test_ucf101(tmp_path: Path) -> None:
    understood = read(_ucf(tmp_path), tmp_path / "UCF-101")
    assert understood.kind == "UCF-101 lists"
    assert tables(understood, tmp_path / "out")["videos.csv"] == [
        "video_id,uri,group_id,partition",
        f"v_Archery_g01_c01,../UCF-101/{UCF[0]},Archery_g01,test",
        f"v_Archery_g08_c01,../UCF-101/{UCF[1]},Archery_g08,train",
        f"v_Biking_g08_c02,../UCF-101/{UCF[2]},Biking_g08,train",
    ]
    assert understood.classes == {"Archery": 2, "Biking": 1}
    config = yaml.safe_load("\n".join(tables(understood, tmp_path)["config.yaml"]))
    assert config["partitioning"] == {"by": "column", "without": "reject", "train": 0.9, "validate": 0, "test": 0.1}
    assert understood.notes[0] == "split 1 is taken; --split takes another (2)"


def test_another_split_of_ucf101(tmp_path: Path) -> None:
    understood = read(_ucf(tmp_path), tmp_path / "UCF-101", split=2)
    assert [video.partition for video in understood.videos] == ["train", "test", "train"]
    with pytest.raises(UsageError, match="There is no such split"):
        read(tmp_path, split=4)


def test_ucf101_without_its_lists(tmp_path: Path) -> None:
    _ucf(tmp_path)
    understood = read(tmp_path / "UCF-101")
    assert understood.kind == "folder of class folders"
    assert set(understood.groups) == {"Archery_g01", "Archery_g08", "Biking_g08"}
    assert not understood.has_partitions


HMDB = ("April_09_brush_hair_u_nm_np1_ba_goo_0.avi", "April_09_brush_hair_u_nm_np1_ba_goo_1.avi",
        "atrapado_brush_hair_h_cm_np2_fr_med_0.avi")  # fmt: skip


def test_hmdb51(tmp_path: Path) -> None:
    lists = tmp_path / "testTrainMulti_7030_splits"
    write(lists / "brush_hair_test_split1.txt", f"{HMDB[0]} 1 \n{HMDB[1]} 1 \n{HMDB[2]} 2 \n")
    write(lists / "wave_test_split1.txt", "20060723sfjffbartsinger_wave_f_cm_np1_ba_med_0.avi 0 \n")
    videos = video_files(tmp_path / "hmdb51_org", *(f"brush_hair/{name}" for name in HMDB))
    video_files(videos, "wave/20060723sfjffbartsinger_wave_f_cm_np1_ba_med_0.avi")
    understood = read(lists, videos)
    assert understood.kind == "HMDB51 lists"
    assert [(video.group_id, video.partition) for video in understood.videos] == [
        ("April_09_brush_hair", "train"),
        ("April_09_brush_hair", "train"),
        ("atrapado_brush_hair", "test"),
        ("20060723sfjffbartsinger_wave", ""),
    ]
    assert understood.notes[0].startswith("1 videos are marked 0")
    assert any(note.startswith("1 videos have no partition") for note in understood.notes)
    assert "  without: reject" in "\n".join(tables(understood, tmp_path)["config.yaml"])


def test_charades(tmp_path: Path) -> None:
    write(tmp_path / "Charades" / "Charades_v1_train.csv", CHARADES)
    classes = "c092 Watching a laptop or something on a laptop\nc147 Someone is cooking something\n"
    write(tmp_path / "Charades" / "Charades_v1_classes.txt", classes)
    video_files(tmp_path / "Charades_v1_480", "46GP8.mp4", "N11GT.mp4")
    understood = read(tmp_path / "Charades", tmp_path / "Charades_v1_480")
    assert understood.kind == "Charades CSV"
    written = tables(understood, tmp_path / "out")
    assert written["annotations.csv"] == [
        "video_id,entity_id,start_seconds,end_seconds",
        "46GP8,c092,11.9,21.2",
        "46GP8,c147,0,12.6",
    ]
    assert written["videos.csv"][1] == "46GP8,../Charades_v1_480/46GP8.mp4,24.83,train"
    assert written["entities.csv"][1] == "c092,Watching a laptop or something on a laptop,,,"
    assert understood.lacking == [Lacking("labels", "N11GT", f"{tmp_path}/Charades_v1_480/N11GT.mp4")]


def test_msr_vtt(tmp_path: Path) -> None:
    source = write(tmp_path / "train_val_videodatainfo.json", MSR_VTT)
    names = write(tmp_path / "category.txt", "music\t0\nmovie/comedy\t9\nfood/drink\t16\n")
    understood = read(source, names, video_files(tmp_path / "TrainValVideo", "video0.mp4", "video1.mp4"))
    assert understood.kind == "MSR-VTT JSON"
    written = tables(understood, tmp_path / "out")
    assert written["videos.csv"] == [
        "video_id,uri,group_id,partition",
        "video0,../TrainValVideo/video0.mp4,9lZi22qLlEo,train",
        "video1,../TrainValVideo/video1.mp4,w4JM08PDEng,validate",
    ]
    assert written["entities.csv"][1:] == ["16,food/drink,,,", "9,movie/comedy,,,"]
    assert "1 sentences are not used" in understood.notes[0]


def test_sports1m(tmp_path: Path) -> None:
    lists = tmp_path / "original"
    write(lists / "train_partition.txt", "https://www.youtube.com/watch?v=UDqivjS-lpI 2,1\nnonsense\n")
    write(lists / "test_partition.txt", "http://www.youtube.com/watch?v=ABPsSSS2uY0 0\n")
    labels = write(tmp_path / "labels.txt", "boomerang\nboxing\nyağlı güreş\n")
    understood = read(lists, labels, video_files(tmp_path / "clips", "UDqivjS-lpI.webm", "ABPsSSS2uY0.mp4"))
    assert understood.kind == "Sports-1M lists"
    assert understood.partitions == {"train": 1, "test": 1}
    written = tables(understood, tmp_path / "out")
    assert written["annotations.csv"][1:] == ["ABPsSSS2uY0,0", "UDqivjS-lpI,2", "UDqivjS-lpI,1"]
    assert written["entities.csv"][3] == "2,yağlı güreş,,,"
    assert understood.unused == [Unused("a line that is no URL and labels", "train_partition.txt, line 2")]


def test_lists_may_be_compressed_as_they_are_published(tmp_path: Path) -> None:
    line = b"https://www.youtube.com/watch?v=UDqivjS-lpI 168,169\n"
    write(tmp_path / "original" / "train_partition.txt.gz", gzip.compress(line))
    write(tmp_path / "json" / "activity_net.v1-3.min.json.gz", gzip.compress(ACTIVITYNET.encode()))
    clips = video_files(tmp_path / "clips", "UDqivjS-lpI.mp4", "v_QOlSCBRmfWY.mp4")
    assert set(read(tmp_path / "original", clips).classes) == {"168", "169"}
    assert set(read(tmp_path / "json", clips).classes) == {"Ballet"}
    write(tmp_path / "cut.json.gz", gzip.compress(ACTIVITYNET.encode())[:-9])
    with pytest.raises(UsageError, match="A source cannot be read"):
        read(tmp_path / "cut.json.gz", clips)


def test_youtube8m(tmp_path: Path) -> None:
    video_files(tmp_path / "clips", "a.mp4", "b,c.mp4")
    source = write(tmp_path / "videos.csv", 'clips/a.mp4,0;3;5\n"clips/b,c.mp4",3\n')
    vocabulary = write(tmp_path / "vocabulary.csv", YOUTUBE8M_VOCABULARY)
    understood = read(source, vocabulary)
    assert understood.kind == "YouTube-8M extractor's CSV"
    written = tables(understood, tmp_path / "out")
    assert written["annotations.csv"][1:] == ["a,/m/03bt1gh", "a,/m/07yv9", "a,5", "b_c,/m/07yv9"]
    assert written["entities.csv"] == [
        "entity_id,name,description,wiki_url,verticals",
        "/m/03bt1gh,Game,A game is structured playing.,https://en.wikipedia.org/wiki/Game,Games",
        '/m/07yv9,Vehicle,"A vehicle, a machine.",https://en.wikipedia.org/wiki/Vehicle,Autos & Vehicles',
        "5,5,,,",
    ]
    assert set(read(source).classes) == {"0", "3", "5"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metadata.csv", "file_name,label,caption\ntrain/0001.mp4,dog,a dog\ntest/0002.mp4,cat,a cat\n"),
        (
            "metadata.jsonl",
            '{"file_name": "train/0001.mp4", "label": "dog", "caption": "a dog"}\n'
            '{"file_name": "test/0002.mp4", "label": "cat", "caption": "a cat"}\n',
        ),
    ],
)
def test_hugging_face(tmp_path: Path, name: str, text: str) -> None:
    video_files(tmp_path / "data", "train/0001.mp4", "test/0002.mp4", "test/0003.mp4")
    write(tmp_path / "data" / name, text)
    understood = read(tmp_path / "data")
    assert understood.kind == "Hugging Face metadata"
    assert understood.partitions == {"train": 1, "test": 1}
    assert understood.classes == {"dog": 1, "cat": 1}
    assert understood.columns == {"path": "file_name", "label": "label"}
    assert "columns that are not used: caption" in understood.notes
    assert understood.lacking == [Lacking("labels", "", f"{tmp_path}/data/test/0003.mp4")]


def test_metadata_of_each_split(tmp_path: Path) -> None:
    for split in ("train", "test"):
        video_files(tmp_path / split, f"{split}.mp4")
        write(tmp_path / split / "metadata.csv", f"file_name,label\n{split}.mp4,dog\n")
    assert read(tmp_path).partitions == {"train": 1, "test": 1}


def test_a_known_name_with_other_contents_is_not_taken(tmp_path: Path) -> None:
    video_files(tmp_path, "a/1.mp4", "b/2.mp4")
    write(tmp_path / "train.csv", "x,y\n1,2\n")
    understood = read(tmp_path)
    assert understood.kind == "folder of class folders"
    assert [item.name for item in understood.unused] == ["train.csv"]
