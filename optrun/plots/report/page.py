"""The page of a report: verdict, ranking, matrix, charts, tables, and what all of it rests on."""

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

from optrun.analysis.compare import Evidence
from optrun.analysis.selection import Cell, title_of
from optrun.analysis.trials import trials_of
from optrun.errors import MissingExtraError, install
from optrun.plots.report import tables
from optrun.plots.report.charts import MOST_CURVES, best_setting_curves, profiles, tuning
from optrun.plots.report.figures import Chart, Palette
from optrun.plots.report.honesty import honesty_box
from optrun.plots.report.hyperparameters import sensitivities
from optrun.plots.report.markup import shown
from optrun.plots.report.parallel import parallel


def plotly_script() -> str:
    """Return Plotly's script; MissingExtraError without it."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise MissingExtraError(f"reports need Plotly: {install('plotly')}") from error
    return str(get_plotlyjs())


def page_of(evidence: Evidence, places: Sequence[Path | None], output: Path, library: str) -> str:
    """Return the whole page; ``places`` are the directories of the sweeps, ``library`` is Plotly's script."""
    charts: list[Chart] = []
    sections = list(_sections(evidence, places, output, charts))
    links = "".join(f'<a href="#{key}">{title}</a>' for key, title, _ in sections)
    body = "\n".join(
        f'<section id="{key}"><h2>{title}</h2>\n{content}</section>' for key, title, content in sections
    )
    # What runs is named by its digest, so that nothing else does; and nothing is loaded.
    scripts = [library, _resource("page.js")] if charts else [_resource("page.js")]
    policy = (
        f"default-src 'none'; script-src {' '.join(map(_source, scripts))}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    found = evidence.comparison
    title = f"{', '.join(source.label for source in evidence.sources)}: {found.metric}"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{shown(title)}</title>\n<style>{_resource('page.css')}</style>\n</head>\n<body>\n"
        f"<header><h1>{shown(title)}</h1>\n{_verdict(found.verdict)}"
        f"{tables.captioned(found.warnings)}<nav>{links}</nav></header>\n<main>{body}</main>\n"
        f'<script type="application/json" id="charts">{_inert(charts)}</script>\n'
        f"{''.join(f'<script>{script}</script>' for script in scripts)}\n</body>\n</html>\n"
    )


def _verdict(text: str) -> str:
    head, *sentences = text.removesuffix(".").split(". ")
    if len(sentences) <= 3:
        return f'<p class="verdict">{shown(text)}</p>'
    rest = "".join(f"<li>{shown(each)}.</li>" for each in sentences)
    return f'<p class="verdict">{shown(head)}.</p><ul class="sentences">{rest}</ul>'


def _sections(
    evidence: Evidence, places: Sequence[Path | None], output: Path, charts: list[Chart]
) -> Iterator[tuple[str, str, str]]:
    """Yield key, title and content of the sections, and collect their charts."""
    found = evidence.comparison
    palette = Palette(tables.values_of(found), found.baseline)
    if found.ranking:
        yield (
            "ranking",
            f"Over {len(found.problems)} problems",
            tables.ranking_table(found) + tables.ranks_note(found),
        )
    yield "matrix", "On each problem", tables.matrix(found) + tables.legend(found)
    if (chart := profiles(found, palette)) is not None:
        note = f'<p class="note">{palette.note}</p>'
        yield "profiles", "Performance profiles", chart_place(charts, chart) + note
    pairs = tables.pairwise_table(found)
    if pairs:
        yield "pairs", f"Against {shown(found.baseline)}, seed by seed", pairs
    parts = [_problem(place, evidence, palette, charts) for place in range(len(found.problems))]
    yield "problems", "The best settings", "".join(parts)
    if settings := _not_drawn(evidence) or _settings(evidence, palette, charts):
        yield "settings", "All settings", settings
    yield "basis", "What this rests on", honesty_box(evidence, places, output)


def _problem(place: int, evidence: Evidence, palette: Palette, charts: list[Chart]) -> str:
    """Return the table of a problem, the curves of its best settings, and what random search found by trials."""
    found = evidence.comparison
    of = found.problems[place]
    entries = {row.value: evidence.entries[Cell(of.problem, row.value)] for row in of.rows}
    palette = palette.of(list(entries))
    heading = f'<h3 id="{tables.id_of(place)}">{shown(of.problem)}</h3>'
    parts = [f"{heading}<p>{tables.noise_note(of)}</p>{tables.problem_table(of, found)}"]
    if (drawn := best_setting_curves(of.problem, entries, palette)) is not None:
        chart, words = drawn
        parts.append(f'{chart_place(charts, chart)}<p class="note">{shown(words)}</p>')
    if (searched := tuning(entries, palette)) is not None:
        words = "the best of so many settings of random search: median and quartiles of what they would have found"
        parts.append(f'{chart_place(charts, searched)}<p class="note">{words}</p>')
    return "".join(parts)


def _not_drawn(evidence: Evidence) -> str:
    """Return why the settings of several sweeps are not drawn; empty if they are."""
    metrics = dict.fromkeys(f"{each.plan.metric}, {each.plan.goal}d" for each in evidence.sources)
    if len(metrics) == 1:
        return ""
    those = "; ".join(f"{each.label}: {each.plan.metric}, {each.plan.goal}d" for each in evidence.sources)
    said = f"Settings are not drawn: the sweeps rank them by different metrics, which have no axis in common ({those})."
    return f'<p class="note">{shown(said)}</p>'


def _settings(evidence: Evidence, palette: Palette, charts: list[Chart]) -> str:
    """Return the metric against the parameters, for each problem."""
    found, metric, parts = evidence.comparison, evidence.sources[0].plan.metric, []
    trials = trials_of(evidence)
    for of in found.problems:
        tried = trials.get(of.problem, [])
        own = palette.of([row.value for row in of.rows], MOST_CURVES)
        drawn = [sensitivities(tried, metric, own), parallel(tried, title_of(found.by), metric)]
        places = [
            f'{chart_place(charts, chart)}<p class="note">{shown(words)}</p>'
            for chart, words in filter(None, drawn)
        ]
        if places:
            parts.append(f"<h3>{shown(of.problem)}</h3>{''.join(places)}")
    return "".join(parts)


def chart_place(charts: list[Chart], chart: Chart) -> str:
    """Add a chart to those of the page, and return the element that it is drawn in."""
    charts.append(chart)
    return f'<div class="chart" data-chart="{len(charts) - 1}" style="height:{chart["height"]}px"></div>'


def _inert(charts: Sequence[Chart]) -> str:
    """Return JSON in which nothing ends a script or begins a comment of HTML."""
    text = json.dumps(charts, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _source(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _resource(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
