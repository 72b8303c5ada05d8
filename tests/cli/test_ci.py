"""What CI servers read: JUnit's XML, GitHub's annotations and job summary."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from optrun.cli.ci import github, junit
from optrun.cli.ci.case import Case
from optrun.config import Issue
from tests.cli.test_cli import CONFIG, call

BAD = "problem: rosenbrok\noptimizer: {name: SGD, lr: yes}\nsteps: 0\n"


@pytest.fixture
def files(tmp_path):
    (tmp_path / "small.yaml").write_text(CONFIG)
    (tmp_path / "bad.yaml").write_text(BAD)


def suite(path="report.xml"):
    root = ElementTree.parse(path).getroot()
    assert root.tag == "testsuites"
    (found,) = root
    cases = list(found)
    for count, tag in (("tests", "."), ("failures", "failure"), ("errors", "error")):
        assert int(found.get(count)) == sum(case.find(tag) is not None for case in cases)
    assert float(found.get("time")) == pytest.approx(sum(float(case.get("time")) for case in cases), abs=0.01)
    return found, cases


@pytest.mark.full
@pytest.mark.parametrize(
    ("arguments", "code", "problem", "kind", "message"),
    [
        ([], 0, None, None, None),
        (["expect.final_loss.max=1e-9"], 4, "failure", "expectation missed", "above the maximum 1e-09"),
        (["problem=rosenbrock", "optimizer=SGD", "optimizer.lr=1"], 1, "failure", "diverged", "at step"),
        (["optimizer.lrr=1"], 2, "error", "config", "Did you mean 'lr'"),
        (["--plugin", "mine.py", "problem=faulty"], 1, "error", "failed", "RuntimeError: as it was told"),
    ],
)
def test_run_writes_junit(files, tmp_path, arguments, code, problem, kind, message):
    (tmp_path / "mine.py").write_text(
        "from optrun.problems import Rosenbrock\n"
        "class Faulty(Rosenbrock):\n"
        '    """Fails."""\n'
        "    def loss_and_grad(self, params, grads, batch):\n"
        "        raise RuntimeError('as it was told')\n"
    )
    done = call("run", "small.yaml", *arguments, "--junit", "deep/er/report.xml")
    assert done.returncode == code
    found, (case,) = suite("deep/er/report.xml")
    assert found.get("name") == "optrun run"
    assert case.get("name").startswith("small.yaml")
    problems = [child for child in case if child.tag in ("failure", "error")]
    assert [each.tag for each in problems] == ([problem] if problem else [])
    for each in problems:
        assert each.get("type") == kind
        assert message in each.get("message")
        assert message in each.text


def test_validate_writes_a_case_for_each_file(files):
    assert call("validate", "small.yaml", "bad.yaml", "missing.yaml", "--junit", "report.xml").returncode == 2
    _, cases = suite()
    assert [case.get("name") for case in cases] == ["small.yaml", "bad.yaml", "missing.yaml"]
    assert cases[0].find("error") is None
    assert cases[1].find("error").text.count("\n") == 2
    assert "bad.yaml:3:8: steps" in cases[1].find("error").text


def test_a_report_that_cannot_be_written_is_refused_before_the_run(files, tmp_path):
    done = call("run", "small.yaml", "--junit", ".")
    assert done.returncode == 2
    assert "--junit: .: is a directory" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_junit_is_well_formed_whatever_the_text(tmp_path):
    nasty = '\x00\x1b[31m<b a="1">&amp;]]>\'\ud800\ufffe\n\t\x85é🎉'
    case = Case(
        nasty, nasty, outcome="failed", problem="error", messages=[nasty, nasty], metrics={"a": nasty}
    )
    junit.write(tmp_path / "report.xml", "suite", [case])
    (element,) = suite(tmp_path / "report.xml")[1]
    assert '<b a="1">&amp;]]>\'' in element.find("error").text
    assert not re.search("[\x00-\x08\x1b]", ElementTree.tostring(element, encoding="unicode"))


def commands(stderr):
    found = [re.fullmatch(r"::error ([^:]*)::(.*)", line) for line in stderr.splitlines()]
    return [(dict(pair.split("=", 1) for pair in each[1].split(",")), each[2]) for each in found if each]


@pytest.mark.full
def test_github_gets_an_annotation_for_every_mistake(files):
    done = call("validate", "bad.yaml", "small.yaml", GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY="summary.md")
    assert done.returncode == 2
    assert done.stdout == "small.yaml: ok\n"
    assert [
        (where["file"], where["line"], where["col"], where["title"]) for where, _ in commands(done.stderr)
    ] == [
        ("bad.yaml", "1", "10", "optrun%3A problem.name"),
        ("bad.yaml", "2", "28", "optrun%3A optimizer.lr"),
        ("bad.yaml", "3", "8", "optrun%3A steps"),
    ]
    summary = Path("summary.md").read_text()
    assert "| ❌ | bad.yaml | config |" in summary
    assert "| ✅ | small.yaml | ok |" in summary
    assert not commands(call("validate", "bad.yaml").stderr)


@pytest.mark.full
def test_github_gets_an_annotation_for_a_missed_expectation(files):
    with open("small.yaml", "a") as file:
        file.write("expect: {final_loss: {max: 1e-9}}\n")
    with open("summary.md", "w") as file:
        file.write("before\n")
    done = call("run", "small.yaml", GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY="summary.md")
    assert done.returncode == 4
    ((where, message),) = commands(done.stderr)
    assert (where["file"], where["line"], where["col"]) == ("small.yaml", "7", "28")
    assert "above the maximum 1e-09" in message
    summary = Path("summary.md").read_text()
    assert summary.startswith("before\n### optrun run\n")
    assert re.search(r"\| ❌ \| small.yaml \| expectation missed \| steps 40, .*test\\_accuracy 0\.", summary)


def test_annotations_are_escaped_and_no_more_than_are_shown(capsys):
    issues = [Issue("a,b:%.yaml", 1, 2, "x", "100 %\r\nmore: a, b")] * 12
    github.annotate(issues)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[0] == "::error file=a%2Cb%3A%25.yaml,line=1,col=2,title=optrun%3A x::100 %25%0D%0Amore: a, b"
    assert lines[-1] == "::error title=optrun::and 3 more: see the log of this step"
    github.annotate(issues[:10])
    assert len(capsys.readouterr().err.splitlines()) == 10


def test_a_summary_shows_text_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    github.summarise("optrun run", [Case("a|b<img>`c`", "run", problem="error", messages=["x\ny"])])
    table, problems = (tmp_path / "summary.md").read_text().split("---:|\n")[1].split("\n\n", 1)
    assert table == r"| ❌ | a\|b\<img\>\`c\` | ok |  | 0.0 |"
    assert problems.strip() == "- x y"


@pytest.mark.full
@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["rnu"], ["run", "bad.yaml"]])
def test_github_sends_no_escape_codes_into_pipes(files, arguments):
    done = call(*arguments, GITHUB_ACTIONS="true")
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.full
@pytest.mark.parametrize("where", ["/no/such/dir/x", "/dev/full"])
def test_a_summary_that_cannot_be_written_changes_no_result(files, where):
    done = call("run", "small.yaml", "--json", GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=where)
    assert done.returncode == 0
    assert '"status": "completed"' in done.stdout
    assert [
        line for line in done.stderr.splitlines() if "GITHUB_STEP_SUMMARY" in line
    ] == done.stderr.splitlines()
    done = call("run", "small.yaml", "expect.final_loss.max=1e-9", "--junit", "/dev/full")
    assert done.returncode == 4
    assert "small: completed" in done.stdout
    assert done.stderr.endswith("--junit: /dev/full: no space left on device\n")


@pytest.mark.parametrize("file", ["small.yaml", "./sub/../small.yaml", "base.csv"])
def test_a_report_replaces_nothing_else(files, tmp_path, file):
    (tmp_path / "sub").mkdir()
    (tmp_path / "base.csv").write_text("a,b\n1,2\n")
    before = Path(file).read_text()
    for command in ("run", "validate"):
        done = call(command, "small.yaml", "--junit", file)
        assert done.returncode == 2
        assert f"--junit: {Path(file)}: " in done.stderr
        assert Path(file).read_text() == before


def test_a_report_is_written_over_the_one_before(files):
    assert call("validate", "small.yaml", "bad.yaml", "--junit", "report.xml").returncode == 2
    assert call("validate", "small.yaml", "--junit", "report.xml").returncode == 0
    assert len(suite()[1]) == 1


def test_a_dry_run_passes_no_case(files):
    assert call("run", "small.yaml", "-n", "--junit", "report.xml").returncode == 0
    found, (case,) = suite()
    assert (found.get("skipped"), case.find("skipped").get("message")) == ("1", "dry run")
    assert call("run", "bad.yaml", "-n", "--junit", "report.xml").returncode == 2
    assert suite()[0].get("errors") == "1"


@pytest.mark.full
def test_github_gets_an_annotation_for_a_run_that_diverged(files):
    arguments = ("problem=rosenbrock", "optimizer=SGD", "optimizer.lr=1")
    done = call("run", "small.yaml", *arguments, GITHUB_ACTIONS="true")
    assert done.returncode == 1
    ((where, message),) = commands(done.stderr)
    assert where == {"title": "optrun"}
    assert re.match(r"small\.yaml .*: diverged: .*at step", message)


def test_annotations_name_files_from_the_root_of_the_repository(files, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path.parent))
    github.annotate([Issue(path, 1, 2, "x", "m") for path in ("a.yaml", str(tmp_path / "b.yaml"), "/c.yaml")])
    lines = capsys.readouterr().err.splitlines()
    names = [re.search("file=([^,]*),", line)[1] for line in lines]
    assert names == [f"{tmp_path.name}/a.yaml", f"{tmp_path.name}/b.yaml", "/c.yaml"]


def test_annotations_carry_no_escape_codes(capsys):
    github.annotate(
        [Issue("a\x1b.yaml", 1, 2, "x\u202e", "m\x9b31m"), Issue("a\x1b", None, None, "", "m\u2066")]
    )
    assert not re.search("[\x1b\x9b\u202e\u2066]", capsys.readouterr().err)
