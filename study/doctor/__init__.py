"""Holds a run folder and its study against each other, and repairs what can honestly be repaired.

Nothing is ever invented: a repair removes what no program would use, copies what is there twice, or makes again what
the study or the checkpoints say. A check is a function from a case to the faults that it finds.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

from optuna.trial import TrialState

from study.doctor import copies, folder, record, trainings
from study.doctor.case import Case, Fault, look, unreadable
from study.record.confirmation import standing
from study.record.folder import Run, RunError
from study.record.pauses import paused_at
from study.spec.text import command, counted

CHECKS: tuple[Callable[[Case], list[Fault]], ...] = (
    folder.directories,
    folder.specification,
    folder.environment,
    folder.start,
    folder.leftovers,
    folder.journal,
    record.opening,
    record.attributes,
    record.unfinished,
    record.ends,
    trainings.orphans,
    trainings.put_aside,
    trainings.folders,
    trainings.checkpoints,
    copies.confirmations,
    copies.copies,
)


def examine(run: Run, fix: bool = False, say: Callable[[str], None] = print) -> bool:
    """Checks a run, and repairs it.

    Args:
        run: its folder, of which anything may be missing.
        fix: repair what can be repaired; else nothing is written.
        say: is given a line for each fault.

    Returns:
        Whether the run is sound now.

    Raises:
        RunError: it is to be repaired, and another process holds it, or it cannot be written.
    """

    def tell(line: str) -> None:
        say(line.replace(f"{run.path}/", ""))

    with run.locked() if fix else nullcontext():
        held = not fix and run.is_held()
        tried: set[str] = set()
        failed: set[str] = set()
        while True:  # a repair can bring to light what was hidden
            case = look(run, held)
            faults = [fault for check in CHECKS for fault in _found(check, case)]
            now = [(fault, fault.fix) for fault in faults if fix and fault.fix and fault.line not in tried]
            if not now:
                break
            for fault, mend in now:
                tried.add(fault.line)
                try:
                    mend()
                    tell(f"mended: {fault.line}")
                except (OSError, RunError) as error:
                    failed.add(fault.line)
                    tell(f"cannot be mended ({error}): {fault.line}")
    for fault in faults:
        if fault.line not in failed:
            tell(fault.line)
    if not faults:
        tell(f"{run.name} is sound: {_standing(case)}")
    elif can := sum(fault.fix is not None for fault in faults) if not fix else 0:
        tell(f"{can} of {len(faults)} can be mended: {command('doctor', run.argument, '--fix')}")
    return not faults


def _found(check: Callable[[Case], list[Fault]], case: Case) -> list[Fault]:
    """What a check finds; of a file that may not be read, that."""
    try:
        return check(case)
    except OSError as error:
        return [unreadable(error)]


def _standing(case: Case) -> str:
    if case.study is None or case.spec is None:
        go_on = case.run.goes_on(case.spec) if case.spec else command("resume", case.run.argument)
        return f"it has no study yet; go on with: {go_on}"
    if not case.spec.trials:
        return standing(case.run, case.spec)
    states = [trial.state for trial in case.trials]
    counts = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
    told = [f"{states.count(state)} {word}" for word, state in counts.items()]
    paused = sum(paused_at(trial) is not None for trial in case.trials)
    told += [f"{paused} paused"] if paused else []
    unfinished = sum(not state.is_finished() for state in states) - paused
    goes_on = " (a driver works on them)" if case.held else " (resume goes on with them)"
    told.append(f"{unfinished} unfinished{goes_on if unfinished else ''}")
    owed = case.spec.trials - len(states)
    return f"{', '.join(told)}, of {counted(case.spec.trials, 'trial')}" + (f"; {owed} not begun" if owed > 0 else "")
