"""One trial: training, evaluation, checkpoints. Knows nothing of Ray, and nothing of Optuna."""
