"""From run folders to pandas tables, figures and reports.

analysis.trials("vsc-mnist", "vae-mnist")     # one row a trial
"""

from analysis.tables import curves, train, trials

__all__ = ["curves", "train", "trials"]
