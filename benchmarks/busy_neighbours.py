"""Measures a fit beside a busy loop on each core, with threads that wait by spinning and with passive ones.

The commands of the platform set `OMP_WAIT_POLICY=passive`, as its launchers do; where a script of your own fits on a
shared machine, set it before the first import of a numeric library.
"""

import os
import statistics
import subprocess
import sys

FIT = """
import time
import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
rng = np.random.default_rng(0)
X = rng.normal(size=(60_000, 20))
y = (X[:, 0] + rng.normal(size=60_000) > 0).astype(int)
started = time.perf_counter()
HistGradientBoostingClassifier(max_iter=60, random_state=0).fit(X, y)
print(time.perf_counter() - started)
"""


def fit_seconds(policy: str) -> float:
    environment = {**os.environ, "OMP_WAIT_POLICY": policy}
    done = subprocess.run([sys.executable, "-c", FIT], env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def measure(rounds: int) -> dict[str, float]:
    seconds: dict[str, list[float]] = {"active": [], "passive": []}
    for _ in range(rounds):
        for policy, found in seconds.items():  # in turn, as neighbours come and go
            found.append(fit_seconds(policy))
    return {policy: statistics.median(found) for policy, found in seconds.items()}


def main() -> None:
    cores = os.sched_getaffinity(0)
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in cores]
    try:
        found = measure(rounds=3)
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
    print(
        f"beside {len(loops)} busy loops, medians of 3: spinning {found['active']:.1f} s, passive {found['passive']:.1f} s"
    )


if __name__ == "__main__":
    main()
