"""From run folders to pandas tables, figures and reports.

analysis.trials("vsc-mnist", "vae-mnist")     # one row a trial
"""

from analysis.tables import confirmed, curves, train, trials

__all__ = ["confirmed", "curves", "train", "trials"]
