"""The page as index.html: one file that needs nothing beside it, no network and no script.

Each text is escaped where it is put into an element, by `_e`; names and ids of strangers lose their control characters
before. The page's own policy forbids scripts, and everything that would be fetched, even if a name got through.
"""

import html
from collections.abc import Iterator, Sequence

from yt8m_pipeline.errors import printable
from yt8m_pipeline.report.html_page import document
from yt8m_pipeline.results import figures
from yt8m_pipeline.results.facts import Facts, Looked, Model, Table
from yt8m_pipeline.results.texts import NOTHING, heads, name, per_cent, reasons, seconds
from yt8m_pipeline.results.texts import figures as figure_texts

CURVE = "map"
"""The metric of validate that the learning curves show: the first of the paper's."""

SHOWN_CLASSES = 15
"""The number of classes that the tables of the best and the worst have."""

STYLE = """
:root { color-scheme: light dark; --back: #fff; --text: #1b1f24; --faint: #59626d; --line: #d5dae0; --soft: #f4f6f8;
  --warn: #fff6dd; --link: #0b5fa5 }
@media (prefers-color-scheme: dark) { :root { --back: #14171a; --text: #e4e8ec; --faint: #a0aab4; --line: #363d45;
  --soft: #1c2126; --warn: #332b12; --link: #7ab8f5 } svg { filter: brightness(1.35) } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1rem; max-width: 66rem; background: var(--back); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.6rem; margin: 0 0 .3rem } h2 { font-size: 1.2rem; margin: 2.2rem 0 .4rem }
p { margin: .4rem 0; max-width: 48rem } .faint, caption { color: var(--faint); font-size: .9rem }
a { color: var(--link) }
nav a { margin-right: .9rem; white-space: nowrap }
.warn { background: var(--warn); padding: .6rem 1rem .6rem 2rem; border-radius: .4rem; margin: 1rem 0 }
.wide { overflow-x: auto; margin: .6rem 0 }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
th { font-weight: 600 } td.n, th.n { text-align: right; white-space: nowrap } td.paper, th.paper { color: var(--faint) }
th { vertical-align: bottom; overflow-wrap: normal } th.n { white-space: normal; min-width: 5.5rem }
td.label { min-width: 7rem } td small { display: block; color: var(--faint) }
tr.best td { background: var(--soft) }
.wide > svg { display: block; width: 100%; min-width: 40rem; max-width: 62rem; height: auto }
svg * { stroke-linejoin: round; stroke-linecap: butt }
code { font-size: .85rem; background: var(--soft); padding: .1rem .3rem; border-radius: .2rem }
details { margin: .6rem 0 } summary { cursor: pointer }
""".strip()


def as_html(facts: Facts) -> bytes:
    """The page of these facts, as UTF-8: the same facts give the same bytes."""
    title = f"Results of {_e(name(facts.dataset))}"
    sections = [section for section in _sections(facts) if section[2]]
    links = "".join(f'<a href="#{anchor}">{heading}</a>' for anchor, heading, _ in sections)
    body = "\n".join(
        f'<section id="{anchor}"><h2>{heading}</h2>\n{text}</section>' for anchor, heading, text in sections
    )
    return document(title, STYLE, f"<h1>{title}</h1>\n{_of_what(facts)}<nav>{links}</nav>\n{_warnings(facts)}{body}")


def _e(text: str) -> str:
    return html.escape(text, quote=True)


def _sections(facts: Facts) -> Iterator[tuple[str, str, str]]:
    """The anchor, the heading and the HTML of each section; "" of one that there is nothing to say in."""
    for table in facts.tables:
        picture = _picture(figures.plot_table(table)) if table is facts.tables[0] and facts.benchmarked else ""
        yield _e(table.name), _e(table.title), _table(table, facts.best if picture else None) + picture
    yield "curves", "Learning curves", _curves(facts)
    yield "classes", "Classes", _classes(facts)
    yield "calibration", "Calibration", _calibration(facts)
    yield "confusions", "Most confused classes", _confusions(facts)
    yield "examples", "Right and wrong", _examples(facts)
    yield "made", "How it was made", _made(facts)


def _of_what(facts: Facts) -> str:
    videos = ", ".join(f"{number:,} {_e(partition)}" for partition, number in facts.videos.items())
    return (
        f"<p>{videos} videos, {len(facts.classes):,} classes. Figures are per cent on {_e(facts.partition)}. In "
        f"brackets stand 95 % intervals of {facts.samples} bootstrap samples of its videos.</p>\n"
    )


def _warnings(facts: Facts) -> str:
    items = "".join(f"<li>{_e(printable(warning))}</li>" for warning in facts.warnings)
    return f'<ul class="warn">{items}</ul>\n' if items else ""


def _picture(svg: str) -> str:
    return f'<div class="wide">{svg}</div>\n'


def _cells(texts: Sequence[str], kinds: Sequence[str], tag: str = "td") -> str:
    """The cells of a row; the interval of a figure stands below it."""
    cells = list[str]()
    for text, kind in zip(texts, kinds, strict=True):
        figure, bracket, interval = _e(text).partition(" [") if kind == "n" else (_e(text), "", "")
        shown = figure + (f"<small>[{interval}</small>" if bracket else "")
        cells.append(f'<{tag} class="{kind}">{shown}</{tag}>' if kind else f"<{tag}>{shown}</{tag}>")
    return "".join(cells)


def _grid(columns: Sequence[str], rows: Sequence[Sequence[str]], kinds: Sequence[str], best: int | None = None) -> str:
    """A table; `kinds` are the classes of the cells of each column."""
    lines = "".join(
        f"<tr{' class=best' * (place == best)}>{_cells(row, kinds)}</tr>\n" for place, row in enumerate(rows)
    )
    head = _cells(columns, kinds, "th")
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{lines}</tbody></table></div>\n'


def _table(table: Table, best: str | None) -> str:
    columns = heads(table)
    ours, first = len(table.metrics), len(table.heads)
    kinds = ["label"] * first + ["n"] * ours + ["n paper"] * (len(columns) - first - ours)
    rows = [[*row.labels, *figure_texts(table, row)] for row in table.rows]
    names = [row.model for row in table.rows]
    why = "".join(f"<li>{_e(printable(reason))}</li>" for reason in reasons(table))
    listed = f"<ul>{why}</ul>\n" if why else ""
    grid = _grid(columns, rows, kinds, names.index(best) if best in names else None)
    return f"<p>{_e(printable(table.note))}</p>\n{grid}{listed}"


def _curves(facts: Facts) -> str:
    trained = [model for model in facts.models if model.epochs]
    said = "<p>The loss on train and the mAP of validate after each epoch. The epoch that is kept has a ring.</p>\n"
    return said + _picture(figures.plot_curves(trained, CURVE)) if trained else ""


def _classes(facts: Facts) -> str:
    if not facts.benchmarked:
        return ""
    best = next(model for model in facts.benchmarked if model.name == facts.best)
    known = [
        (value, each) for value, each in zip(best.average_precisions, facts.classes, strict=True) if value is not None
    ]
    ranked = sorted(known, key=lambda pair: -pair[0])
    rows = [
        [name(each.name), name(each.entity_id), f"{each.train_videos:,}", f"{each.positives:,}", per_cent(value)]
        for value, each in ranked
    ]
    columns, kinds = ["Class", "Id", "Train videos", "Positives", "Average precision"], ["", "", "n", "n", "n"]
    tables = [_grid(columns, rows[:SHOWN_CLASSES], kinds)]
    if len(rows) > SHOWN_CLASSES:
        worst = _grid(columns, rows[-min(SHOWN_CLASSES, len(rows) - SHOWN_CLASSES) :][::-1], kinds)
        tables.append(f"<p>The classes with the least average precision:</p>\n{worst}")
    return (
        f"{_picture(figures.plot_classes(facts.benchmarked, facts.classes))}<details><summary>The classes with the "
        f"greatest and the least average precision of {_e(best.name)}</summary>\n{''.join(tables)}</details>\n"
    )


def _calibration(facts: Facts) -> str:
    if not facts.benchmarked:
        return ""
    return (
        "<p>A model is calibrated if its predictions of a score are right as often as the score says, as on the dotted "
        "line. All scores above 0 of all videos and classes are taken together, in ten bins; the area of a mark grows "
        "with the logarithm of their number. The error is the expected calibration error. The scores of the hinge loss "
        "are no probabilities, and need not be calibrated.</p>\n"
        + _picture(figures.plot_calibration(facts.benchmarked))
    )


def _confusions(facts: Facts) -> str:
    if facts.best is None:
        return ""
    rows = [[name(pair.label), name(pair.predicted), f"{pair.videos:,}"] for pair in facts.confusions]
    if not rows:
        return f"<p>The best prediction of {_e(facts.best)} is a label of every video that it predicts.</p>\n"
    said = f"<p>Of the videos whose best prediction by {_e(facts.best)} is none of their labels.</p>\n"
    return said + _grid(["True class", "Predicted in its place", "Videos"], rows, ["", "", "n"])


def _examples(facts: Facts) -> str:
    if facts.best is None:
        return ""
    return (
        f"<p>The videos of which {_e(facts.best)} is surest. Behind a class stands its score in per cent.</p>\n"
        f"<p>Its best prediction is a label:</p>\n{_looked(facts.right)}"
        f"<p>Its best prediction is no label:</p>\n{_looked(facts.wrong)}"
    )


def _looked(videos: Sequence[Looked]) -> str:
    rows = [
        [
            name(video.video_id),
            ", ".join(map(name, video.labels)) or NOTHING,
            ", ".join(f"{name(guess.name)} {per_cent(guess.score)}" for guess in video.guesses),
        ]
        for video in videos
    ]
    return _grid(["Video", "Labels", "Best predictions"], rows, ["", "", ""]) if rows else "<p>None.</p>\n"


def _made(facts: Facts) -> str:
    rows = [_made_row(facts, model) for model in facts.models]
    columns = ["Model", "Trained on", "Training", "Predicting", "Evaluating", "Settings"]
    others = [[part, seconds(value)] for part, value in facts.seconds.items() if part.startswith("features ")]
    versions = ", ".join(f"{_e(program)} {_e(version)}" for program, version in facts.versions.items())
    models = _grid(columns, rows, ["label", "label", "n", "n", "n", ""])
    return (
        f"<p><code>{_e(printable(facts.command))}</code></p>\n<p>{versions}; build {_e(name(facts.build_key))}. "
        f"A time is that of the run that finished a part.</p>\n{models}"
        f"{_grid(['Feature set', 'Time'], others, ['', 'n']) if others else ''}"
    )


def _made_row(facts: Facts, model: Model) -> list[str]:
    times = [seconds(facts.seconds.get(f"{part} {model.name}")) for part in ("train", "predict", "evaluate")]
    settings = ", ".join(f"{key} {value}" for key, value in model.settings.items())
    return [model.name, model.inputs, *times, printable(model.why or settings)]
