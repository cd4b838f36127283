"""What the likelihood costs: the benchmark itself, on few digits; its limit is not asserted."""

import re

import torch

from benchmarks.likelihood import main


def test_likelihood_and_products_are_timed_in_turns(capsys):
    threads = torch.get_num_threads()
    try:
        main(["--images", "3", "--samples", "20"])
    finally:
        torch.set_num_threads(threads)
    heads, row = capsys.readouterr().out.splitlines()
    assert heads.split() == ["images", "S", "likelihood", "s", "products", "s", "ratio"]
    assert re.fullmatch(r" +3 +20( +[0-9.]+){3}", row)
