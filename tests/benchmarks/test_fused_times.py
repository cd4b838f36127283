"""The benchmark of fused seeds trains both sides and says their ratio."""

import re

from benchmarks import fused


def test_a_row_for_each_model_and_why_not_where_it_cannot_be_fused(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("LATENTSWEEP_DATA", str(tmp_path))
    monkeypatch.setitem(fused.SIZES, "small", ({"hidden": 4, "latent": 2}, 4, 2))
    fused.main(["--models", "vae", "savae", "--sizes", "small", "--seeds", "2", "--turns", "2"])
    _, _, vae, savae = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"\| vae \| small \| 2( \| \d+\.\d\d){3} \|", vae)
    assert savae.startswith("| savae | small | 2 |  |  | RuntimeError: ")
