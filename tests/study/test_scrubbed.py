"""No place of the machine and no password leave it: of a text, and of what is made to be sent."""

from pathlib import Path

import pandas as pd
import pytest

import analysis.__main__
from study.output import without_places
from study.record.folder import Run
from study.record.storage import open_run
from study.record.trials import fail


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ('File "/home/me/project/study/x.py", line 3', 'File "x.py", line 3'),
        ('File "/home/a b/models/base.py", line 3', 'File "base.py", line 3'),
        ("no such file: '/srv/data/x.npz'", "no such file: 'x.npz'"),
        ("no such folder: '/srv/data/'", "no such folder: 'data'"),
        ("in /home/me/project/", "in project/"),
        ("/tmp/runs/tiny/trials/00001/best.pt is gone", "best.pt is gone"),
        ("go on with `python -m study resume '/tmp/else where/tiny'`", "go on with `python -m study resume 'tiny'`"),
        ("go on with `python -m study resume /tmp/tiny`", "go on with `python -m study resume tiny`"),
        ("FileNotFoundError:/tmp/x/y.npz (/tmp/z/a.npz)", "FileNotFoundError:y.npz (a.npz)"),
        ("path=/tmp/foo/bar", "path=bar"),
        ("PYTHONPATH=/srv/a:/srv/b", "PYTHONPATH=b"),
        ("~/data/x.npz and ~bob/data/y.npz", "x.npz and y.npz"),
        ("at ~/x/y.py: bad, see https://a.b/c/d and 28/28", "at y.py: bad, see https://... and 28/28"),
        ("sqlite:////tmp/x/studies.db cannot be opened", "sqlite:////... cannot be opened"),
        ("postgresql://me:secret@host/db", "postgresql://..."),
        ("password=secret", "password=***"),
        ("PGPASSWORD=hunter2", "PGPASSWORD=***"),
        ("PGPASSWORD: hunter2", "PGPASSWORD: ***"),
        ("password='hunter 2', host", "password='***', host"),
        ('{\\"db_password\\": \\"hunter 2\\"}', '{\\"db_password\\": \\"***\\"}'),
        ("pass=hunter2 token=abc api_key=abc, secret=abc", "pass=*** token=*** api_key=***, secret=***"),
        ("{'pass': 'a b', 'AWS_SECRET_ACCESS_KEY': 'c'}", "{'pass': '***', 'AWS_SECRET_ACCESS_KEY': '***'}"),
        ("mysql://u:sec ret@h/db is away", "mysql://... is away"),
        ("../../home/bob/priv, ../x/y", "priv, y"),
        ("//home/bob/x or /home//bob/x", "x or x"),
        ("~bob/x and ~/y", "x and y"),
        (r"C:\Users\bob\x.txt, D:/bob/x", "x.txt, x"),
        (r"C:\Users\bob smith\my data\x.txt is gone", "x.txt is gone"),
        (r"'C:\\Users\\bob\\x y.txt'", "'x y.txt'"),
        (r"from \\server\share\x to \\\\server\\share\\y", "from x to y"),
        (r"'\\server\my share\x'", "'x'"),
        ("at /home/bob/my data/x.py", "at x.py"),
        ("at /home/bob/my old data/sub/x", "at x"),
        ("""no "/home/o'brien/my data/x y.py" there""", 'no "x y.py" there'),
        ("of /srv/data/x.txt in c/d", "of x.txt in c/d"),
        ("at /tmp/a/run and/or 12 s/step", "at run and/or 12 s/step"),
        *(
            (same, same)
            for same in (
                "models/vsc.py and ./a/b, 1/3, KL/beta, s/step and/or i/o",
                "test ELBO [nats / image], 1/2 and 3 / 4, ~1/3 and ~ 1/2",
                "<b>bold</b> and </script>",
                "see https://arxiv.org/abs/1312.6114 and https://doi.org/10.1000/a",
                "passes 3 of 4; first pass: 0.3 s, compass=north; a token; 3 tokens: a, b, c",
                r"matches \d+\.\d, '\d+' and x\y",
                "http://... and mail root@localhost",
            )
        ),
    ],
)
def test_paths_urls_and_passwords_are_taken_out_of_a_text(given, expected):
    assert without_places(given) == expected
    assert without_places(expected) == expected


@pytest.fixture
def planted(run) -> Run:
    """A run, a trial of which failed with a path and a password in what it said."""
    said = f"crash: OSError: no {run.path / 'best.pt'} at postgresql://me:s3cr3t@host/db of '/srv/my data/x.npz'"
    fail(open_run(run), 3, said, f'File "{run.path}/x.py", line 3')
    return run


def hidden(text: str, run: Run) -> bool:
    return not [secret for secret in (str(run.path.parent), str(Path.home()), "s3cr3t", "/srv") if secret in text]


@pytest.mark.parametrize("arguments", [[], ["--format", "md"], ["--format", "latex"], ["--format", "csv"]])
def test_not_of_tables_as_text(planted, command, arguments):
    code, out, err = command("table", "tiny", *arguments, app=analysis.__main__.app)
    assert (code, err) == (0, "")
    assert hidden(out, planted)
    assert "no best.pt at" in out


def test_not_of_a_table_for_programs(planted, command, tmp_path):
    given = ("--format", "parquet", "--only", "trials", "--out", tmp_path / "trials.parquet")
    assert command("table", "tiny", *given, app=analysis.__main__.app)[0] == 0
    trials = pd.read_parquet(tmp_path / "trials.parquet")
    assert trials["cause"][3] == "crash: OSError: no best.pt at postgresql://... of 'x.npz'"
    assert hidden(trials.to_csv(), planted)
    assert str(planted.path) in analysis.trials("tiny")["cause"][3]  # which stays on this machine


def test_not_of_an_export_nor_of_a_trials_tensorboard(planted, command, tmp_path):
    assert command("export", "tiny", "--out", tmp_path / "best")[0] == 0
    texts = {path: path.read_bytes() for path in (tmp_path / "best").iterdir()}
    texts |= {path: path.read_bytes() for path in planted.trial(3).glob("events*")}
    texts |= {path: path.read_bytes() for path in planted.artifacts.iterdir()}
    assert len(texts) >= 6
    for path, text in texts.items():
        assert hidden(text.decode(errors="replace"), planted), path
