"""`yt8m report`: what is in the folder, that nothing in it is dangerous, and what is refused."""

import csv
import io
import json
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib.image import imread

from tests.command_line import four_parts, run
from tests.conftest import published_bytes
from tests.dataset.example import write_example
from tests.report.resealing import reseal
from yt8m_pipeline.dataset.index import VIDEOS, VOCABULARY_COLUMNS
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.report.html_page import inline_svg
from yt8m_pipeline.report.known_datasets import read_known_datasets
from yt8m_pipeline.report.tables import Table

FIGURES = {
    "codes",
    "figure_2_known_datasets",
    "figure_3_tag_cloud",
    "figure_4b_specificity",
    "figure_5_videos_by_rank",
    "figure_6_verticals",
    "files",
    "labels_per_video",
    "lengths",
}
HOSTILE = [
    '<script>alert("1")</script>',
    "</style></svg><img src=x onerror=alert(2)>",
    '" onmouseover="alert(3)',
    '=HYPERLINK("http://example.org")',
    "$\\frac{1}{0}$ &amp; \\",
    "\x1b[2J\u202egnp\n\x00".replace("\x00", ""),
    "漢字 العربية 🎉",
    "--><!-- x" + "y" * 5_000,
]
"""A name for each class of the dataset of the tests."""


class Tags(HTMLParser):
    """What a page consists of."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(folder: Path) -> Tags:
    tags = Tags()
    tags.feed((folder / "index.html").read_text())
    assert tags.open == []
    return tags


def assert_harmless(folder: Path) -> Tags:
    """A page with no script, no style but its own sheet, and no request to anybody."""
    tags = parsed(folder)
    assert not tags.names & {"script", "img", "iframe", "object", "link", "form", "foreignObject", "a:href"}
    for name, value in tags.attributes:
        assert not name.startswith("on")
        assert name != "style"
        if name in ("href", "xlink:href", "src"):
            assert value.startswith(("#", "figures/", "tables/"))
    (policy,) = [value for name, value in tags.attributes if value.startswith("default-src")]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    ids = [value for name, value in tags.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {value.removeprefix("#") for name, value in tags.attributes if name == "href" and value[0] == "#"} <= {*ids}
    return tags


def make(dataset: Path | str, output: Path, *options: str) -> Path:
    finished = run("report", str(dataset), "--output", str(output), *options)
    assert finished.returncode == 0, finished.stderr
    return output


@pytest.fixture(scope="module")
def report(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(built / "dataset", tmp_path_factory.mktemp("report") / "report")


def test_every_figure_is_there_as_svg_and_png_and_can_be_opened(report: Path) -> None:
    assert {path.stem for path in (report / "figures").iterdir()} == FIGURES
    for name in FIGURES:
        assert ET.parse(report / f"figures/{name}.svg").getroot().tag.endswith("svg")
        picture = imread(report / f"figures/{name}.png")
        assert picture.shape[1] in (1050, 2100)
        assert (picture[:, :, :3].min(axis=2) < 0.9).mean() > 0.005


def test_every_table_is_there_as_csv_and_json_with_the_same_rows(report: Path) -> None:
    names = {path.stem for path in (report / "tables").iterdir()}
    assert {"overview", "table_1", "table_2", "funnel", "verticals", "entities", "balance", "lacking"} <= names
    for name in names:
        rows = json.loads((report / f"tables/{name}.json").read_text())["rows"]
        found = list(csv.DictReader(io.StringIO((report / f"tables/{name}.csv").read_text())))
        assert [list(row) for row in found] == [list(row) for row in rows]
        assert [[*row.values()] for row in found] == [
            ["" if cell is None else str(cell) for cell in row.values()] for row in rows
        ]


def test_the_page_is_harmless_and_shows_the_numbers(report: Path, built: Path) -> None:
    tags = assert_harmless(report)
    manifest = json.loads((built / "dataset/manifest.json").read_text())
    for row in manifest["accounting"]:
        assert row["stage"] in tags.text
    assert "Those of test are withheld" in tags.text
    rows = pq.read_table(built / "dataset" / Layout.VIDEOS).to_pylist()
    for codec in {row["codec"] for row in rows}:
        assert codec in tags.text
    assert "nan" not in tags.text.lower().split()


def test_the_same_dataset_has_the_same_report(report: Path, built: Path, tmp_path: Path) -> None:
    assert published_bytes(make(built / "dataset", tmp_path / "again")) == published_bytes(report)


def test_withheld_labels_are_in_no_file_unless_they_are_asked_for(report: Path, copied: Path, tmp_path: Path) -> None:
    """The report is the same where the withheld labels are gone, and another one where they are asked for."""
    shown = make(copied / "dataset", tmp_path / "shown", "--with-withheld")
    rows = json.loads((shown / "tables/entities.json").read_text())["rows"]
    withheld = pq.read_table(copied / "dataset" / Layout.TEST_LABELS)["labels"].to_pylist()
    assert sum(row["test"] for row in rows) == sum(map(len, withheld)) > 0
    alarm = "The dataset withholds those of test: do not publish this report."
    assert alarm in (shown / "index.html").read_text()
    assert alarm not in (report / "index.html").read_text()
    (copied / "dataset" / Layout.TEST_LABELS).unlink()
    assert published_bytes(make(copied / "dataset", tmp_path / "hidden")) == published_bytes(report)
    assert "test" not in json.loads((report / "tables/entities.json").read_text())["rows"][0]


def test_hostile_names_in_every_field_stay_text(copied: Path, tmp_path: Path) -> None:
    dataset = copied / "dataset"
    with (dataset / Layout.VOCABULARY).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(HOSTILE)
    for row, text in zip(rows, HOSTILE, strict=True):
        keep = {name: row[name] for name in ("Index", "TrainVideoCount", "Specificity")}
        row.update(dict.fromkeys(row, text) | keep)
    with (dataset / Layout.VOCABULARY).open("w", newline="") as stream:
        writer = csv.DictWriter(stream, VOCABULARY_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    manifest = json.loads((dataset / Layout.MANIFEST).read_text())
    manifest["feature_space"]["fingerprint"] = HOSTILE[0].replace("/", "")
    manifest["build_key"] = f"{HOSTILE[0]}\ud800"
    manifest["accounting"].append(
        {"stage": HOSTILE[0], "table": HOSTILE[1], "rows_in": 1, "kept": 0, "rejected": {HOSTILE[2]: 1}}
    )
    (dataset / Layout.MANIFEST).write_text(json.dumps(manifest))
    reseal(dataset)
    known = tmp_path / "known.csv"
    with known.open("w", newline="") as stream:
        writer_of_known = csv.writer(stream)
        writer_of_known.writerow(["name", "year", "kind", "classes", "examples", "source"])
        writer_of_known.writerows([text, 2000, "videos", 3, 4, text] for text in HOSTILE)
    folder = make(dataset, tmp_path / "report", "--known", str(known))
    tags = assert_harmless(folder)
    assert HOSTILE[0] in tags.text
    assert "\x1b" not in tags.text
    for path in (folder / "tables").glob("*.csv"):
        for cells in csv.reader(io.StringIO(path.read_text())):
            assert not [cell for cell in cells if cell.startswith("=")]
    printed = run("report", str(dataset), "--output", str(tmp_path / "again"))
    assert (printed.returncode, "\x1b" in printed.stdout) == (0, False)


@pytest.mark.parametrize("cell", ["=1", "+1", "-1", "@A1", "\t=1", "\r=1", "\0=1"])
def test_no_cell_is_a_formula(cell: str) -> None:
    assert Table("entities", "", "", [{"name": cell}]).to_csv().decode().splitlines()[1].lstrip('"').startswith("'")


def test_half_a_character_of_the_manifest_is_written_as_json_has_it() -> None:
    """JSON can say \\ud800, which UTF-8 cannot."""
    table = Table("funnel", "", "", [{"table": "\ud800"}])
    assert table.to_csv() == b"table\n\\ud800\n"
    assert json.loads(table.to_json())["rows"] == table.rows


@pytest.mark.parametrize("kind", ["no verticals", "one video", "no train videos", "nothing labelled"])
def test_small_and_empty_datasets_have_a_report(tmp_path: Path, kind: str) -> None:
    """The dataset of examples has no verticals, no specificity and no durations."""
    dataset = tmp_path / "dataset"
    write_example(dataset)
    table = pq.read_table(dataset / Layout.VIDEOS).to_pylist()
    if kind == "one video":
        table = table[:1]
        (dataset / Layout.VOCABULARY).write_text("Index,TrainVideoCount\n0,1\n")
        table[0]["labels"] = [0]
    elif kind == "no train videos":
        table = [row for row in table if row["partition"] == "test"]
    elif kind == "nothing labelled":
        table = [{**row, "labels": None} for row in table]
    pq.write_table(pa.Table.from_pylist(table, VIDEOS), dataset / Layout.VIDEOS)
    reseal(dataset)
    folder = make(dataset, tmp_path / "report")
    text = assert_harmless(folder).text
    assert "nan" not in text.lower().split()
    assert "inf" not in text.lower().split()
    for path in (folder / "tables").glob("*.json"):
        assert "NaN" not in path.read_text()
    drawn = {path.stem for path in (folder / "figures").glob("*.svg")}
    labelled = kind in ("no verticals", "one video")
    assert drawn == {"figure_2_known_datasets", "lengths", "codes"} | (
        {"figure_3_tag_cloud", "figure_5_videos_by_rank", "labels_per_video"} if labelled else set()
    )


def test_a_dataset_without_any_video_has_a_report(tmp_path: Path) -> None:
    dataset = tmp_path / "dataset"
    write_example(dataset)
    pq.write_table(VIDEOS.empty_table(), dataset / Layout.VIDEOS)
    reseal(dataset)
    make(dataset, tmp_path / "report")


def test_a_dataset_of_version_0_1_0_has_a_report(tmp_path: Path) -> None:
    golden = Path(__file__).parent.parent / "golden_formats/0.1.0/dataset"
    assert_harmless(make(golden, tmp_path / "report"))


def test_what_an_earlier_report_left_is_removed_and_nothing_else(report: Path, built: Path, tmp_path: Path) -> None:
    folder = make(built / "dataset", tmp_path / "report")
    write_example(tmp_path / "dataset")
    (folder / "figures/mine.png").write_text("x")
    make(tmp_path / "dataset", folder)
    assert (folder / "figures/mine.png").read_text() == "x"
    assert not (folder / "figures/figure_6_verticals.svg").exists()
    make(built / "dataset", folder)
    assert {**published_bytes(report), "figures/mine.png": b"x"} == published_bytes(folder)


@pytest.mark.parametrize("content", ["{}", "[]", "not json", '{"kind": "other"}', None])
def test_a_folder_of_something_else_is_left_alone(built: Path, tmp_path: Path, content: str | None) -> None:
    (tmp_path / "index.html").write_text("mine")
    if content is not None:
        (tmp_path / "report.json").write_text(content)
    refused = run("report", str(built / "dataset"), "--output", str(tmp_path))
    assert refused.returncode == 2
    assert four_parts(refused)[0] == "The output folder is not that of a report"
    assert (tmp_path / "index.html").read_text() == "mine"


@pytest.mark.parametrize("place", ["", "report", ".."])
def test_a_report_in_or_around_the_dataset_is_refused(copied: Path, place: str) -> None:
    refused = run("report", str(copied / "dataset"), "--output", str(copied / "dataset" / place))
    assert (refused.returncode, four_parts(refused)[0]) == (2, "A report needs a folder of its own")


def test_other_folders_and_unfinished_datasets_are_refused(copied: Path, tmp_path: Path) -> None:
    output = ["--output", str(tmp_path / "report")]
    assert four_parts(run("report", str(tmp_path / "none"), *output))[0] == "There is no dataset"
    (copied / "dataset/COMPLETE").unlink()
    refused = run("report", str(copied / "dataset"), *output)
    assert (refused.returncode, four_parts(refused)[0]) == (1, "This is not a finished dataset")
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    "text",
    [
        "name,year\na,1\n",
        "name,year,kind,classes,examples,source\na,x,videos,1,1,s\n",
        "name,year,kind,classes,examples,source\na,2000,films,1,1,s\n",
        "name,year,kind,classes,examples,source\na,2000,videos,0,1,s\n",
        "name,year,kind,classes,examples,source\na\n",
        "\x00\xff",
        None,
    ],
)
def test_a_wrong_table_of_known_datasets_is_told(built: Path, tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "known.csv"
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    output = ["--output", str(tmp_path / "report"), "--known", str(path)]
    refused = run("report", str(built / "dataset"), *output)
    assert (refused.returncode, four_parts(refused)[0]) == (2, "The table of known datasets cannot be read")


def test_known_datasets_have_their_sources_and_youtube_8m_is_the_papers() -> None:
    known = read_known_datasets()
    assert all(dataset.source and 1990 < dataset.year < 2030 for dataset in known)
    (paper,) = [dataset for dataset in known if dataset.name == "YouTube-8M"]
    assert (paper.classes, paper.examples) == (4800, 8_264_650)


def test_the_terminal_shows_all_rows_as_json_and_a_warning_of_what_is_withheld(built: Path, tmp_path: Path) -> None:
    output = ["--output", str(tmp_path / "report"), "--json"]
    facts = json.loads(run("report", str(built / "dataset"), *output).stdout)
    rows = json.loads((tmp_path / "report/tables/entities.json").read_text())["rows"]
    assert facts["entities"] == rows
    assert "withheld" not in facts
    assert (
        "withholds" in json.loads(run("report", str(built / "dataset"), *output, "--with-withheld").stdout)["withheld"]
    )


def test_a_figure_in_a_page_has_ids_of_its_own_and_no_style() -> None:
    svg = (
        b'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="10pt" height="5pt">'
        b'<metadata/><defs><style>*{a: b}</style><path id="p" style="fill: #fff; stroke: none"/></defs>'
        b'<g clip-path="url(#p)"><use xlink:href="#p"/></g></svg>'
    )
    text = inline_svg(svg, "name", "<a title>")
    root = ET.fromstring(text)
    found = [dict(element.attrib) for element in root.iter()]
    assert {"id": "name-p", "fill": "#fff", "stroke": "none"} in found
    assert {"clip-path": "url(#name-p)"} in found
    assert {"{http://www.w3.org/1999/xlink}href": "#name-p"} in found
    assert root.attrib["aria-label"] == "<a title>"
    assert "style" not in text
    assert "metadata" not in text
