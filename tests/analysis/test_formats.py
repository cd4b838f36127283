"""Tables in Markdown and LaTeX, as CSV and parquet, and the command that writes them."""

import math
import shutil
import subprocess

import pandas as pd
import pytest

from analysis.formats import cells, in_latex, latex, markdown

FRAME = pd.DataFrame(
    {
        "study": ["vsc_mnist", "a|b & c*"],
        "elbo_bound": [-104.004, math.nan],
        "confirmed": ["-104.00 ± 3.61 *", "-90.00"],
        "lr": [1e-5, 0.001],
        "ended": [pd.Timestamp("2026-01-02 03:04:05"), pd.NaT],
    }
)


def test_cells_have_the_decimals_of_their_units_and_numbers_are_flush_right():
    heads, rows, numeric = cells(FRAME)
    assert heads == ["study", "elbo_bound", "confirmed", "lr", "ended"]
    assert rows[0] == ["vsc_mnist", "-104.00", "-104.00 ± 3.61 *", "1e-05", "2026-01-02 03:04:05"]
    assert rows[1] == ["a|b & c*", "", "-90.00", "0.001", ""]
    assert numeric == [False, True, True, True, False]


def test_in_markdown_no_text_is_a_mark():
    assert markdown(FRAME).splitlines() == [
        "| study | elbo_bound | confirmed | lr | ended |",
        "| --- | ---: | ---: | ---: | --- |",
        r"| vsc_mnist | -104.00 | -104.00 ± 3.61 \* | 1e-05 | 2026-01-02 03:04:05 |",
        r"| a\|b & c\* |  | -90.00 | 0.001 |  |",
    ]
    assert markdown(pd.DataFrame({"cause": ["<b>\nx"]})).splitlines()[2] == "| &lt;b> x |"


def test_in_latex_names_are_escaped_and_numbers_are_mathematics():
    lines = latex(FRAME).splitlines()
    assert lines[:3] == [r"\begin{tabular}{lrrrl}", r"\toprule", r"study & elbo\_bound & confirmed & lr & ended \\"]
    numbers = r"$-104.00$ & $-104.00 \pm 3.61^{*}$ & $1 \times 10^{-5}$"
    assert lines[4] == rf"vsc\_mnist & {numbers} & 2026-01-02 03:04:05 \\"
    assert lines[5] == r"a\textbar{}b \& c* &  & $-90.00$ & $0.001$ &  \\"
    assert lines[-2:] == [r"\bottomrule", r"\end{tabular}"]


def test_nothing_in_a_text_is_a_command_of_latex():
    assert in_latex(r"\input{x} 5% of $1 #2 ~ ^ <a>") == (
        r"\textbackslash{}input\{x\} 5\% of \$1 \#2 \textasciitilde{} \textasciicircum{} \textless{}a\textgreater{}"
    )
    assert in_latex("1,234") == "$1{,}234$"
    assert in_latex("trial-3") == "trial-3"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX on this machine")
def test_latex_takes_it(tmp_path):
    page = rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{latex(FRAME)}\end{{document}}"
    (tmp_path / "page.tex").write_text(page)
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "page.tex"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
