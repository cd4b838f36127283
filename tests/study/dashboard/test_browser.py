"""The pages in a real browser, Chromium without a window.

Where it is not installed the tests are skipped, unless LATENTSWEEP_CHROMIUM=required.
"""

import html
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from served import PROJECT, Served, served

from benchmarks import postgres
from study.record.folder import Run
from study.record.storage import open_run
from study.record.trials import fail

pytestmark = [pytest.mark.long, pytest.mark.alone]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
INSTALL = "there is no Chromium on this machine; on Debian: apt-get install --no-install-recommends chromium"


@pytest.fixture
def page(tmp_path) -> Callable[[Served, str], str]:
    """What a page has become once its scripts have run and its requests are answered: HTML."""
    if CHROMIUM is None:
        if os.environ.get("LATENTSWEEP_CHROMIUM") == "required":
            pytest.fail(INSTALL)
        pytest.skip(INSTALL)

    def open_page(up: Served, path: str) -> str:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1500,1000"]
        options += [f"--user-data-dir={tmp_path / 'chromium'}", "--virtual-time-budget=10000", "--dump-dom"]
        command = [CHROMIUM, *options, f"{up.base}/dashboard{path}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return open_page


def text(found: str) -> str:
    """What a page says, without its tags."""
    body = re.sub(r"<(script|style)\b.*?</\1>", "", found, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def test_a_study_its_trials_and_their_pictures(run, page):
    owned = "<script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">"
    fail(open_run(run), 3, f"crash: ValueError: {owned}")
    with served(run.path.parents[1], "tiny", "--port", "0") as up:
        assert "tiny" in text(page(up, ""))
        study = text(page(up, "/studies/1"))
        for part in ("tiny (id=1)", "History", "Hyperparameter Importance", "Timeline", "Intermediate values"):
            assert part in study
        note = text(page(up, "/studies/1/note"))
        assert "tiny: vae on mnist5k, grey images, bernoulli likelihood" in note
        assert "ELBO: soft cross-entropy, no bound on the log-likelihood" in note
        table = text(page(up, "/studies/1/smartSelection"))
        assert "UserAttribute zero_fraction" in table
        pruned = page(up, "/studies/1/trials?numbers=1")
        assert re.search(r"Trial 0 Complete Best Trial Trial 1 Pruned Trial 2 Fail Trial 3 Fail", text(pruned))
        assert re.search(
            r"Trial 1 \(trial_id=2\) Pruned .* kl \d.* kind soft cross-entropy .* fixed.latent 4 ", text(pruned)
        )
        pictures = re.findall(r'<img[^>]* src="(/artifacts/1/2/[^"]+)"', pruned)
        assert len(pictures) == 2
        for picture in pictures:
            status, kind, content = up.get(picture)
            assert (status, kind, content[:4]) == (200, "image/png", b"\x89PNG")
        failed = page(up, "/studies/1/trials?numbers=3")
        assert owned in text(failed)
        assert "<title>Optuna Dashboard</title>" in failed


def test_a_study_that_is_at_work(page, preset, tmp_path):
    """Of a driver that lives, which goes on reporting, and is the only one to write."""
    path = preset(tmp_path, budget={"steps": 10**6, "report_every": 50})
    command = [sys.executable, "-m", "study", "train", str(path)]
    env = {**os.environ, "PYTHONPATH": str(PROJECT)}
    run = Run(tmp_path / "runs" / "tiny")
    with subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as driver:
        try:
            while not list(run.path.glob("trials/*/snapshots/*.png")):
                assert driver.poll() is None, driver.stderr.read()
                time.sleep(0.1)
            with served(tmp_path, "tiny", "--port", "0") as up:
                steps = []
                for _ in range(2):
                    found = page(up, "/studies/1/trials?numbers=0")
                    assert "Trial 0 (trial_id=1) Running" in text(found)
                    assert re.search(r'<img[^>]* src="/artifacts/1/1/', found)
                    steps.append(int(re.search(r"User Attributes steps (\d+) ", text(found)).group(1)))
                assert 0 < steps[0] < steps[1]
                assert up.end() == 130
            assert run.is_held()
            driver.send_signal(signal.SIGINT)
            assert driver.wait(60) == 130
            assert driver.stderr.read().decode().count("\n") == 2  # how to go on, and nothing of a locked database
        finally:
            driver.kill()


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_study_on_a_server_whose_password_stays_hidden(page, installed, raw, tmp_path, monkeypatch):
    with postgres.server() as server:
        monkeypatch.setenv("LATENTSWEEP_STORAGE", server.url)
        from damage import build

        build(raw, tmp_path, storage=server.url)
        with served(tmp_path, "tiny", "--port", "0") as up:
            found = page(up, "/studies/1/trials?numbers=1")
            assert "Trial 1 Pruned" in text(found)
            everything = up.get("/api/studies/1")[2] + up.get("/api/studies")[2] + found.encode()
            assert server.password.encode() not in everything
            assert str(Path(tmp_path)).encode() not in everything
