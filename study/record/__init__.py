"""What a study leaves behind: the run folder, the Optuna study, tables and words. Knows nothing of Ray."""
