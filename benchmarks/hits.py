"""What a study is hit with: each hit goes on with it to its end, and says what was hit."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter

from optuna.trial import FrozenTrial

from benchmarks.attacked import Driver, Study, claim, progress
from study.tune.ledger import LOST_PROCESSES

OF_THE_STUDY = 0.7  # done when workers are killed for the last time: on a busy machine the study is ahead of its killer


def kill_drivers(study: Study, kills: int, dice: random.Random) -> list[str]:
    """SIGKILLs of the driver: the first while it makes the study, some while it starts, the others spread over it.

    A single one is soon after the first reports.
    """
    starting = max(1, kills // 4) if kills > 1 else 0
    shares = [0.9 * i / (kills - starting + 1) for i in range(1, kills - starting + 1)] if kills > 1 else [0.0]
    plan: list[float | None] = [*([None] if starting else []), *shares]
    for _ in range(starting - 1):
        plan.insert(dice.randrange(2, len(plan) + 1), None)
    hits, usual = [], 5.0
    for i, share in enumerate(plan):
        driver, started, before = study.start(), time.monotonic(), progress(study.seen)
        if share is not None:
            study.wait_for_progress(driver, share)
            usual = min(usual, time.monotonic() - started)
            time.sleep(dice.uniform(0, study.jitter))
        elif i == 0:
            study.wait(driver, study.run.study_yaml.is_file)
            time.sleep(dice.uniform(0, 0.3))
        else:
            time.sleep(dice.uniform(0.2, 1.0) * usual)
        driver.kill()
        trials = study.ended(driver)
        after = progress(trials)
        ended = after == study.spec.trials
        hits.append("while ending" if ended else "while running" if after > before else "while starting")
        _say(hits, trials, f"after {time.monotonic() - started:.1f} s")
    study.finish(study.start())
    return hits


def kill_workers(study: Study, kills: int, dice: random.Random) -> list[str]:
    """SIGKILLs of the processes in which trials run; one driver sees them all."""
    hits: list[str] = []
    losses: Counter[int] = Counter()

    def strike() -> bool:
        """Kills one process, but none whose trial was, or may have been, hit as often as a trial may lose its own.

        A process between trials may be that of any unfinished trial which is at work in none.
        """
        spent = {number for number in study.unfinished() if losses[number] == LOST_PROCESSES}
        there = study.processes("Trainable")
        spared = spent | ({None} if spent - set(there.values()) else set())
        victims = sorted(pid for pid, number in there.items() if number not in spared)
        if not victims:
            return False
        victim = dice.choice(victims)
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            return False
        at_work = {number for pid, number in study.processes("Trainable").items() if pid != victim}
        idle = study.unfinished() - at_work
        losses.update(idle & {there[victim]} or idle)
        hits.append("between trials" if there[victim] is None else "in a trial")
        return True

    driver = study.start()
    for i in range(1, kills + 1):
        study.wait_for_progress(driver, OF_THE_STUDY * i / (kills + 1))
        time.sleep(dice.uniform(0, study.jitter))
        study.wait(driver, strike)
        claim(driver.alive(), f"the driver ended with a worker: {driver.said()}")
        _say(hits, study.look(), f"no trial more than {max(losses.values(), default=0)} times")
    study.finish(driver)
    return hits


def stop_the_server(study: Study, seconds: float) -> list[str]:
    """PostgreSQL is away for a while in mid-study; the driver waits for it."""
    assert study.server is not None
    driver = study.start()
    study.wait_for_progress(driver, 0.4)
    study.server.stop()
    study.wait(driver, lambda: "the storage does not answer" in driver.log.read_text())
    time.sleep(seconds)
    claim(driver.alive(), f"the driver ended without its server: {driver.said()}")
    study.server.start()
    _say(["outage"], study.look(), f"{seconds:g} s")
    study.finish(driver)
    claim("the storage answers again" in driver.log.read_text(), "the driver did not notice")
    return ["while running"]


def kill_ray(study: Study, title: str) -> list[str]:
    """SIGKILL of a process of Ray's own under the driver, which must give up by itself, and may be called again."""
    driver = study.start()
    study.wait_for_progress(driver, 0.3)
    (victim,) = study.processes(title)
    os.kill(victim, signal.SIGKILL)
    return _gone_on(study, driver, 1)


def lose_machines(study: Study) -> list[str]:
    """A machine of the cluster is lost and comes back, and is used again; then the driver is lost."""
    assert study.cluster is not None
    first, second = (study.cluster.add() for _ in range(2))
    first.wait()
    second.wait()
    driver = study.start()
    study.wait(driver, lambda: first.at_work() and second.at_work())
    study.wait_for_progress(driver, 0.15)
    first.kill()
    hits = ["machine"]
    _say(hits, study.look(), "one machine is left")
    again = study.cluster.add()
    study.wait(driver, again.at_work)
    hits.append("machine back")
    _say(hits, study.look(), "trials run on it")
    study.wait_for_progress(driver, 0.0)
    driver.kill()
    study.ended(driver)
    hits.append("driver")
    _say(hits, study.look(), "the cluster stays")
    study.finish(study.start())
    return hits


def hang_up(study: Study) -> list[str]:
    """SIGHUP, which comes to the driver when its terminal is closed."""
    driver = study.start()
    study.wait_for_progress(driver, 0.3)
    driver.process.send_signal(signal.SIGHUP)
    return _gone_on(study, driver, 128 + signal.SIGHUP)


def close_output(study: Study) -> list[str]:
    """Nobody reads the driver's standard output any more; the driver goes on to the study's end."""
    reading, writing = os.pipe()
    driver = study.start(output=writing)
    os.close(writing)
    study.wait_for_progress(driver, 0.3)
    os.close(reading)
    _say(["while running"], study.look(), "the driver goes on")
    study.finish(driver)
    return ["while running"]


def _gone_on(study: Study, driver: Driver, code: int) -> list[str]:
    """What a driver that gave up has left, is gone on with."""
    seconds = driver.gives_up(code)
    study.ended(driver)
    _say(["while running"], study.look(), f"the driver ended with {code} after {seconds:.1f} s")
    study.finish(study.start())
    return ["while running"]


def _say(hits: list[str], trials: list[FrozenTrial], how: str) -> None:
    finished = sum(trial.state.is_finished() for trial in trials)
    print(f"{len(hits):3d}  {hits[-1]:15s} {finished} finished, {len(trials) - finished} running; {how}", flush=True)
