"""The page of a report in a browser: that of 10,000 runs is small, complete, silent and harmless."""

import pytest

import optrun
from tests.plots.browser import BROWSER, TEN_THOUSAND, open_page
from tests.plots.test_report import Page, charts_of

pytestmark = [pytest.mark.full, pytest.mark.skipif(BROWSER is None, reason="without a browser")]

HOSTILE = "<img src=x onerror=\"document.title='injected'\">"
LEAKING = """<!DOCTYPE html><meta charset="utf-8"><title>page</title>
<img src="http://example.com/a.png"><script>document.title = "injected"; console.error("said")</script>"""


def drawn(page):
    """The charts of a page that Plotly has drawn."""
    return [given for _, given in page.elements if given.get("class") == "chart js-plotly-plot"]


def test_the_page_of_ten_thousand_runs(tmp_path):
    pytest.importorskip("plotly")
    saved = optrun.sweep(TEN_THOUSAND, directory=tmp_path / "runs" / HOSTILE)
    assert len(saved.states) == 10_000
    output = optrun.report(saved.path, path=tmp_path / "page.html", baseline="SGD")
    assert output.stat().st_size < 15_000_000
    written = output.read_text(encoding="utf-8")
    # The window is as high as the page, so that all charts are near it.
    opened = open_page(output, tmp_path, height=12_000)
    assert (opened.console, opened.requests) == ([], [])
    before, page = Page(written), Page(opened.dom)
    assert page.text("title") == f"{HOSTILE}: final_loss"
    assert "img" not in {tag for tag, _ in page.elements}
    for tag in ("script", "table", "tr"):
        count, expected = (sum(each == tag for each, _ in of.elements) for of in (page, before))
        assert count == expected > 2
    assert len(drawn(page)) == len(charts_of(written)) > 6


def test_the_browser_tells_of_requests_messages_and_scripts(tmp_path):
    page = tmp_path / "page.html"
    page.write_text(LEAKING, encoding="utf-8")
    opened = open_page(page, tmp_path)
    assert opened.requests == ["http://example.com/a.png"]
    assert "said" in opened.console[0]
    assert "<title>injected" in opened.dom
