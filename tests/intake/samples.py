"""Small sources in the layouts in which they are published, with videos that are files of a few bytes."""

from pathlib import Path

from yt8m_pipeline.intake.options import Model, Options
from yt8m_pipeline.intake.understanding import understand
from yt8m_pipeline.intake.understood import Understood
from yt8m_pipeline.intake.writing import render

ACTIVITYNET = """\
{"version": "VERSION 1.3", "taxonomy": [{"parentName": "Dancing", "nodeName": "Ballet", "nodeId": 8, "parentId": 7}],
 "database": {
  "QOlSCBRmfWY": {"duration": 82.73, "subset": "training", "resolution": "640x360",
   "url": "https://www.youtube.com/watch?v=QOlSCBRmfWY",
   "annotations": [{"segment": [6.195294851794072, 77.73085420904837], "label": "Ballet"}]},
  "ehGHCYKzyZ8": {"duration": 61.72, "subset": "validation", "resolution": "320x240",
   "url": "https://www.youtube.com/watch?v=ehGHCYKzyZ8",
   "annotations": [{"segment": [0.01, 20.0], "label": "Tango"}, {"segment": [30.5, 61.0], "label": "Ballet"}]},
  "nwznKOuZM7w": {"duration": 11.1, "subset": "testing", "resolution": "320x240",
   "url": "https://www.youtube.com/watch?v=nwznKOuZM7w", "annotations": []},
  "ogQozSI5V8U": {"duration": 40.2, "subset": "training", "resolution": "320x240",
   "url": "https://www.youtube.com/watch?v=ogQozSI5V8U", "annotations": [{"segment": [1, 2], "label": "Tango"}]}}}
"""

KINETICS = """\
label,youtube_id,time_start,time_end,split,is_cc
testifying,---QUuC4vJs,84,94,validate,0
washing feet,--GkrdYZ9Tc,0,10,train,0
"air drumming",--GkrdYZ9Tc,104,114,train,1
"""

MOMENTS = """\
blocking/getty-karate-video-id635808620_4.mp4,blocking,3,0
dancing/yt-5of6ffo6-Bw_205.mp4,dancing,3,1
"""

CHARADES = """\
id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length
46GP8,HR43,Kitchen,6,7,Yes,"A person cooking, at a stove.",food;stove,A person cooks.,\
c092 11.90 21.20;c147 0.00 12.60,24.83
N11GT,0KZ7,Stairs,6,7,Yes,A person walks.,stairs,A person walks.,,18.33
"""

MSR_VTT = """\
{"info": {"contributor": "MSR MM Group", "data_created": "2016-04-14", "version": "1.0",
  "description": "This is 1.0 version of the 2016 MSR-VTT dataset.", "year": "2016"},
 "videos": [
  {"category": 9, "url": "https://www.youtube.com/watch?v=9lZi22qLlEo", "video_id": "video0", "start time": 137.72,
   "end time": 149.44, "split": "train", "id": 0},
  {"category": 16, "url": "https://www.youtube.com/watch?v=w4JM08PDEng", "video_id": "video1", "start time": 184.33,
   "end time": 206.89, "split": "validate", "id": 1}],
 "sentences": [{"caption": "a car is shown", "video_id": "video0", "sen_id": 0}]}
"""

YOUTUBE8M_VOCABULARY = """\
Index,TrainVideoCount,KnowledgeGraphId,Name,WikiUrl,Vertical1,Vertical2,Vertical3,WikiDescription
0,788288,/m/03bt1gh,Game,https://en.wikipedia.org/wiki/Game,Games,,,A game is structured playing.
3,383128,/m/07yv9,Vehicle,https://en.wikipedia.org/wiki/Vehicle,Autos & Vehicles,,,"A vehicle, a machine."
"""


def write(path: Path, text: str | bytes) -> Path:
    """Writes a file, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def video_files(folder: Path, *names: str) -> Path:
    """A folder of videos that differ."""
    for name in names:
        write(folder / name, f"video {name}")
    return folder


def read(*sources: Path, **options: object) -> Understood:
    return understand([str(source) for source in sources], Options(**options))  # type: ignore[arg-type]


def tables(understood: Understood, folder: Path) -> dict[str, list[str]]:
    """The lines of the files that would be written into a folder."""
    rendered = render(understood, str(folder), Model.IMAGENET)
    return {name: data.decode().splitlines() for name, data in rendered.items()}
