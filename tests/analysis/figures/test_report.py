"""The report: whole in one file, true, safe to send, and made of whatever a run has left."""

import base64
import getpass
import platform
import re
import shlex
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import typer
from searches import ENDINGS, FULL, search

import analysis
import analysis.__main__
import study.cli
from analysis import figures, reported
from analysis.report import report
from analysis.reported import Reported
from study import solo
from study import spec as specs
from study.record.folder import Run
from study.record.storage import open_run
from study.record.trials import fail, finish, store_report
from study.spec.measures import METRICS, PATHOLOGIES

SCRIPT = "crash: <script>alert('x')</script> & password=hunter2 in /home/somebody/models/own.py"


class Page(HTMLParser):
    """What a page links to, its text by tag, and its tags."""

    def __init__(self, text: str):
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.files: dict[str, str] = {}
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.links += [value for key, value in given.items() if key in ("src", "href", "data", "action", "srcset")]
        if "download" in given:
            self.files[given["download"]] = base64.b64decode(given["href"].partition("base64,")[2]).decode()
        self.tags.append(tag)
        if tag not in ("meta", "img", "wbr"):
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag  # whole and well nested

    def handle_data(self, data):
        self.texts.setdefault(self._open[-1] if self._open else "", []).append(data)


def page_of(*runs: Run) -> tuple[str, Page]:
    text = report(figures.beside(runs))
    return text, Page(text)


@pytest.fixture(scope="module")
def made(runs, tmp_path_factory) -> Run:
    """A run that was stopped, with a confirmation, a trial that failed with a text that is no text, and a dead one."""
    run = Run(shutil.copytree(runs("vsc").path, tmp_path_factory.mktemp("report") / "tiny-vsc"))
    run.rewrite(run.spec().model_copy(update={"trials": 8}))
    opened = open_run(run)
    fail(opened, opened.study.ask().number, SCRIPT, traceback=f'File "{run.path}/x.py", line 3\n<b>')
    dead, said = opened.study.ask(), {"dead": {"excess": 1.0, "evidence": "zero_fraction 1 above 0.9999"}}
    numbers = {**dict.fromkeys(METRICS, 1.0), "elbo": -900.0, "measures": list(METRICS), "seconds": 1.0, "train": []}
    for steps in (5, 10):
        store_report(opened.study, dead._trial_id, {**numbers, "steps": steps, PATHOLOGIES: said})
    finish(opened, dead.number, {**numbers, "steps": 10, "cause": ""})
    rows = {"study": run.name, "configuration": ["defaults", "defaults", "trial-0"], "repeat": [0, 1, 0]}
    numbers = {"samples": 10, "images": 10, "seconds": 2.0, "metrics.elbo": [-90.0, -94.0, None]}
    pd.DataFrame({**rows, "cause": ["", "", "oom: not enough memory"], **numbers}).to_parquet(run.table("confirm"))
    return run


@pytest.fixture(scope="module")
def shown(made) -> tuple[str, Page]:
    return page_of(made)


def test_it_says_what_was_asked_what_came_out_what_failed_and_what_it_cost(shown, made):
    _, page = shown
    said = " ".join(page.texts["dd"] + page.texts["td"] + page.texts["p"] + page.texts["strong"])
    trials = analysis.trials(made.path)
    best = trials[trials.state == "COMPLETE"]["metrics.elbo"].max()
    for expected in (
        "8 trials by random, seed 0",
        f"ELBO {best:.2f} nats an image on the validation images, soft cross-entropy: trial ",
        "ELBO on the test set, over fresh seeds: defaults -92.00 ± 2.83",
        "8, of those that have ended 2 stopped early (29%) and 2 failed (29%)",
        "3 trainings, 1 failed",
        "trial 3. The first: nan: the loss of 'elbo' was not finite at step 3",
        "trial-0, seed 1. The first: oom: not enough memory",
        "trial 7. The first: dead: at step ",  # of other trials, so shortly trained, some are
    ):
        assert expected in said, expected
    drawn = [name for name in figures.names() if figures.module(name).fits(figures.Results(made))]
    assert page.tags.count("img") == len(drawn) > 5
    captions = " ".join(page.texts["figcaption"])
    assert all((figures.module(name).__doc__ or "").splitlines()[0] in captions for name in drawn)


def test_everything_is_in_the_file_and_every_place_that_it_names(shown):
    text, page = shown
    assert all(
        link.startswith(("#", "data:image/png;base64,", "data:image/gif;", "data:text/plain")) for link in page.links
    )
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(re.findall(r'id="([^"]+)"', text))
    assert not re.search(r"https?://|url\(|@import|<link", text)


def test_what_a_trial_says_is_shown_as_text(shown):
    text, page = shown
    assert "script" not in page.tags
    assert "b" not in page.tags
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp;" in text


def test_no_path_host_or_password_is_in_it(shown, made):
    text = re.sub(r"base64,[A-Za-z0-9+/=]*", "", shown[0]) + "".join(shown[1].files.values())
    for secret in (str(made.path.parent), str(Path.home()), str(Path.cwd()), "hunter2", "somebody"):
        assert secret not in text, secret
    assert not re.search(rf"\b{re.escape(platform.node())}\b", text)
    assert "own.py" in text
    assert getpass.getuser() not in text or getpass.getuser() in ("root", "user")


def test_it_says_that_it_is_unfinished_and_how_it_goes_on(shown, made):
    assert any(text.endswith("It goes on with ") for text in shown[1].texts["p"])
    assert "python -m study resume tiny-vsc" in shown[1].texts["code"]
    assert not any("`" in text for texts in shown[1].texts.values() for text in texts)
    with made.locked():
        assert "A process is at work on this run" in Reported(figures.Results(made)).unfinished


def test_the_study_can_be_repeated_from_it(shown, made, tmp_path, monkeypatch):
    _, page = shown
    monkeypatch.chdir(tmp_path)
    assert list(page.files) == ["tiny-vsc.yaml"]
    Path("tiny-vsc.yaml").write_text(page.files["tiny-vsc.yaml"])
    assert specs.load("tiny-vsc.yaml") == made.spec()
    lines = [line for text in page.texts["pre"] for line in text.splitlines() if line.startswith("python -m")]
    assert [line.split()[2:4] for line in lines] == [["study", "run"], ["study", "confirm"], ["analysis", "report"]]
    apps = {"study": study.cli.app, "analysis": analysis.__main__.app}
    for line in lines:
        module, name, *words = shlex.split(line)[2:]
        parsed = typer.main.get_command(apps[module]).commands[name].make_context(name, words)
        if name == "run":
            assert specs.load(parsed.params["preset"], parsed.params["set_"]).name == "tiny-vsc-again"


@pytest.mark.filterwarnings("error")
def test_of_a_run_without_a_complete_trial_it_shows_what_there_is(make, tmp_path):
    run = search(make(), tmp_path, ENDINGS[1:2] + ENDINGS[3:4])
    text, page = page_of(run)
    assert "No trial is complete yet." in text
    begin = (
        "Learning curves: ",
        "The ELBO of the best trial, or the furthest",
        "The beginning of a training",
        "How long",
    )
    assert len(page.texts["figcaption"]) == len(begin)
    assert all(text.startswith(words) for text, words in zip(page.texts["figcaption"], begin))
    assert "is not drawn: tiny has no complete trial yet; go on with <code>python -m study resume tiny</code>." in text
    assert [word for word in page.texts["td"] if word in ("PRUNED", "FAIL", "COMPLETE")] == ["PRUNED", "FAIL"]


def test_of_a_run_whose_best_checkpoint_is_damaged_it_shows_what_needs_no_model(runs, tmp_path):
    run = Run(shutil.copytree(runs("vae").path, tmp_path / "tiny-vae"))
    for path in run.path.glob("trials/*/best.pt"):
        path.write_bytes(b"PK no archive")
    run.table("confirm").write_bytes(b"PAR1")
    text, page = page_of(run)
    assert page.texts["figcaption"][0].startswith("Learning curves: ")
    assert "What needs its best model is not drawn: " in text
    assert "What was confirmed is left out: confirm.parquet cannot be read; " in text


def test_of_a_run_that_died_before_it_had_a_study(make, tmp_path):
    run = Run(tmp_path / "tiny")
    run.create(make())
    text, page = page_of(run)
    assert "no study yet" in text
    assert "img" not in page.tags


def test_of_a_run_without_a_search_it_shows_its_seeds(make, tmp_path):
    run = Run(tmp_path / "tiny")
    run.create(make(trials=0, confirm={"top": 0, "seeds": 2}))
    open_run(run, create=True)
    about = {"study": "tiny", "model": "vae", "configuration": "defaults", "kind": "bound", "samples": 5, "images": 5}
    data = {"dataset": "mnist5k", "preprocessing": "grey", "likelihood": "bernoulli", "cause": ""}
    pd.DataFrame({**about, **data, "metrics.elbo": [-90.0, -94.0], "repeat": [0, 1]}).to_parquet(run.table("confirm"))
    text, page = page_of(run)
    assert "over fresh seeds: defaults -92.00 ± 2.83" in text
    assert "none: the defaults over 2 fresh seeds" in page.texts["dd"]
    assert "python -m study seeds tiny.yaml --set name=tiny-again --seeds 2" in text
    assert "No trial is complete yet." not in text
    assert "is not drawn: tiny has no complete seed yet" in text


@pytest.fixture
def undrawn(monkeypatch) -> None:
    """No run's own figures, of which other tests are."""
    monkeypatch.setattr(figures, "draw", lambda *_: [])


def test_two_runs_of_one_name_are_repeated_under_two(runs, tmp_path, undrawn):
    copies = [Run(shutil.copytree(runs("vae").path, tmp_path / place / "tiny-vae")) for place in ("a", "b")]
    _, page = page_of(*copies)
    assert list(page.files) == ["a-tiny-vae.yaml", "b-tiny-vae.yaml"]
    for name in ("a", "b"):
        search = f"python -m study run {name}-tiny-vae.yaml --set name={name}-tiny-vae-again"
        assert any(search in text for text in page.texts["pre"])


def test_a_single_training_is_no_search(make, tmp_path, undrawn):
    run = Run(tmp_path / "tiny")
    solo.train(make(sampler="tpe"), run)
    said = Reported(figures.Results(run))
    assert dict(said.asked)["search"] == "none: one training of the defaults, seed 4"
    assert said.space.heads == ["hyperparameter", "value", ""]
    assert {row[2] for row in said.space.rows} == {"", "pinned"}
    text, _ = page_of(run)
    assert "tpe" not in text.partition("tiny.yaml</summary>")[0]
    assert "The training at its last report, after 20 steps, on the" in text
    other = search(make(sampler="tpe", trials=1), tmp_path / "searched", (FULL,))
    assert dict(Reported(figures.Results(other)).asked)["search"] == "1 trial by tpe, seed 4"


def test_several_runs_stand_together_and_each_for_itself(runs, made, command, tmp_path, undrawn):
    other, out = runs("vae"), tmp_path / "both.html"
    code, said, err = command("report", made.path, other.path, made.path, "--out", out)
    assert (code, said, err) == (0, f"{out}\n", "")
    page = Page(out.read_text(encoding="utf-8"))
    assert page.texts["h2"] == ["Together", "tiny-vsc", "tiny-vae"]
    assert page.texts["figcaption"]  # of what compares them
    assert "Best trials, on the validation set" in page.texts["h3"]
    young = Run(tmp_path / "young")
    young.create(made.spec())
    code, said, _ = command("report", other.path, young.path, "--out", "-")
    assert "Not compared in a figure: fewer than two of them have begun." in Page(said).texts["p"]
    code, _, err = command("report", made.path, other.path)
    assert (code, err) == (2, "--out: a report of several runs lies in none of them; name an HTML file\n")


def test_it_lies_in_the_run_or_elsewhere_where_that_cannot_be_written(make, tmp_path, command, undrawn):
    run = search(make(fixed=make().fixed | {"kl_warmup": 0.0}), tmp_path, (FULL,))
    (run.path / "report.html").mkdir()
    code, out, err = command("report", run.path)
    assert (code, out) == (2, "")
    assert (
        err
        == f"cannot write {run.path}/report.html: {run.path}/report.html is a folder; name another file with --out\n"
    )
    (run.path / "report.html").rmdir()
    assert command("report", run.path) == (0, f"{run.path}/report.html\n", "")
    assert (run.path / "report.html").read_text().startswith("\n") is False


def test_of_several_objectives_it_shows_the_pareto_set(make, tmp_path, undrawn):
    spec = make(fixed=make().fixed | {"kl_warmup": 0.0}, objective=["elbo", "hoyer"])
    run = search(spec, tmp_path, (FULL, FULL))
    front = Reported(figures.Results(run)).front
    assert front.heads == ["number", "elbo_soft_cross_entropy", "hoyer", "settings"]
    assert 1 <= len(front.rows) <= 2
    assert "The Pareto set: the complete trials that no other one beats" in page_of(run)[0]


def test_a_study_of_thousands_shows_the_first_of_them(made, monkeypatch):
    monkeypatch.setattr(reported, "MOST_TRIALS", 3)
    found = Reported(figures.Results(made))
    assert (len(found.ranking.rows), found.more) == (3, 5)


def test_what_could_not_be_drawn_is_also_told_on_the_terminal(make, tmp_path, command):
    run = search(make(), tmp_path, ())
    code, out, err = command("report", run.path, "--out", tmp_path / "report.html")
    assert (code, out) == (0, f"{tmp_path / 'report.html'}\n")
    assert err.startswith("tiny: what needs its best model is not drawn: ")
