"""What the columns of each table mean. docs/tables.md shows them; a test holds both to the tables themselves.

A name with a star stands for several columns: `params.*` for one of each hyperparameter, `metrics.*` for one of each
measure of `study.spec.measures` and of the model's own.
"""

_STUDY = {
    "study": "name of the study",
    "model": "name of the model; of one's own, that of its file",
    "dataset": "data set, with the options that were given",
    "preprocessing": "what became of the pixels",
    "likelihood": "p(x given z)",
    "kind": (
        "what its ELBO, or without one its log-likelihood, is: `bound`, `soft cross-entropy` or `density of grey "
        "levels`; empty before the first trial"
    ),
    "precision": "of the products of its training steps: `full`, `tf32` or `bf16`; evaluations are in float32 always",
    "deterministic": "whether it trained with deterministic kernels only",
    "compiled": "whether its training steps were to be compiled; a trial whose were not says why in its `log`",
}

COLUMNS = {
    "results": {
        **_STUDY,
        "objective": "the first objective: what trials are compared on",
        "objectives": "all objectives, by commas",
        "commit": "of the code when the run was made; empty for an installed package",
        "number": "of the trial, from 0",
        "state": (
            "COMPLETE, PRUNED (stopped by ASHA, or by `stop_on`), FAIL; of an unfinished one, be it paused, as Optuna "
            "has it, RUNNING or WAITING"
        ),
        "cause": "why it failed; else empty",
        "pathology": "what it came to without failing, as `collapsed`; several by commas; else empty",
        "evidence": "of that: what was measured, at which steps, against which bound",
        "steps": "optimiser steps at its last report",
        "budget": "optimiser steps of the full budget",
        "seconds": "of work on it until its last report, by the clock: training and evaluation, in all sessions",
        "cpu_seconds": "of its process in them, over all its threads; empty in runs of earlier releases",
        "started": "when it was first handed out, local time",
        "ended": "when its end was noted, local time; empty while it has not ended",
        "seed": "of its training",
        "origin": (
            "`defaults` where it has the model's own values; `nearest` where it has what is nearest to them in the "
            "study's ranges; empty where the sampler drew it"
        ),
        "drawn": "names of the hyperparameters that were drawn for it, or could have been",
        "params.*": "its hyperparameters, pinned and drawn",
        "metrics.*": "its last report on the validation images",
    },
    "curves": {
        "number": "of the trial",
        "steps": "optimiser steps at this report",
        "seconds": "of work on the trial so far, by the clock",
        "cpu_seconds": "of its process in them, over all its threads",
        "reported": "when the report was made, local time",
        "place": (
            "among all reports of the study, in the order in which they came in and ASHA judged them, from 0; empty in "
            "runs of earlier releases"
        ),
        "*": "a column of each measure on the validation images",
    },
    "train": {
        "number": "of the trial",
        "step": "optimiser steps before this one",
        "loss_*": "each training loss of this step, mean of its batch, nats an image",
    },
    "confirm": {
        **_STUDY,
        "configuration": "`defaults`, or `trial-N` for what trial N had drawn",
        "repeat": "number of the fresh seed, from 0",
        "seed": "of the training",
        "cause": "why it failed; else empty",
        "steps": "optimiser steps",
        "seconds": "of work on the training, by the clock; the test set not counted",
        "cpu_seconds": "of its process in them, over all its threads; empty in results of earlier releases",
        "fused": "whether it was, if only for a while, one program with other seeds; its seconds are then its share",
        "samples": "S, draws an image of importance-weighted numbers",
        "images": "how many test images were importance-weighted, the first ones; UDR is of them, too",
        "votes": "that `factor_vae` and `beta_vae` trained on; half as many evaluated",
        "examples": "images that other scores of codes were fitted on; half as many tested",
        "trees": "whose gradient boosting DCI is of",
        "codes_of": "which images' codes were scored: the `test` set's, or `all`",
        "checkpoint": "whose numbers these are: `best` by the first objective on the validation images",
        "valid_elbo": "ELBO of that checkpoint on the validation images",
        "metrics.*": "on the test set",
        "latents.*": "lists of a number for each latent, on the test set; `analysis.latents` has a row for each",
        "params.*": "hyperparameters",
    },
}
