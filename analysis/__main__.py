"""`python -m analysis`: tables, figures and reports of finished and running studies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from analysis import tables
from study.cli import Root, main, new_app

app = new_app("Tables of one run or several.")

Runs = Annotated[list[str], typer.Argument(help="Names of runs, or their folders.", show_default=False)]


@app.callback()
def _group() -> None:
    """Tables of one run or several."""


@app.command()
def table(
    runs: Runs,
    root: Root = Path("runs"),
    csv: Annotated[Path | None, typer.Option(help="Write every column of every trial to this file instead.")] = None,
) -> None:
    """One row a trial: how it ended, what varied, and the metrics of its last report."""
    frame = tables.trials(*runs, root=root)
    if csv is not None:
        frame.to_csv(csv, index=False)
        return
    print(tables.text(tables.ranking(frame)))
    kinds = frame.groupby("study")["kind"].first()
    for study, kind in kinds.items():
        print(f"\n{study}: validation metrics; elbo, log_lik and kl in nats an image, a {kind}.")


if __name__ == "__main__":
    main(app)
