"""The fences, each broken in one place: what the tests of the fences must notice."""

import importlib.abc
import importlib.util
import os
import sys
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from typing import Any

import ml_platform

ROOT = Path(ml_platform.__file__).parent


@dataclass(frozen=True)
class Mutant:
    """A module with one text in place of another.

    Attributes:
        tests: the tests that must notice.
    """

    name: str
    module: str
    old: str
    new: str
    tests: str

    @property
    def path(self) -> Path:
        return ROOT.joinpath(*self.module.split(".")).with_suffix(".py")

    def source(self) -> str:
        text = self.path.read_text()
        assert text.count(self.old) == 1, (
            f"{self.name}: {self.old!r} stands {text.count(self.old)} times in {self.path.name}"
        )
        return text.replace(self.old, self.new)


def _table(name: str, old: str, new: str) -> Mutant:
    return Mutant(name, "launchers.leases.table", old, new, "leases/test_table.py")


def _starter(name: str, old: str, new: str, module: str = "launchers.runs.starter") -> Mutant:
    return Mutant(name, module, old, new, "runs/test_starter.py")


def _jobs(name: str, old: str, new: str) -> Mutant:
    return Mutant(name, "launchers.backends.kubernetes_jobs", old, new, "backends/test_kubernetes_jobs.py")


MUTANTS = [
    _table("a lease of what is leased", "*exact, C.acquired.is_(None), C.ending.is_(None)", "*exact, C.ending.is_(None)"),
    _table("a lease of what is to end", "*exact, C.acquired.is_(None), C.ending.is_(None)", "*exact, C.acquired.is_(None)"),
    _table("a lease with any fencing token", "C.fencing_token == int(fencing_token), IS_OPEN)", "IS_OPEN)"),
    _table("a lease of what is closed", "C.fencing_token == int(fencing_token), IS_OPEN)", "C.fencing_token == int(fencing_token))"),
    _table("a lease that forgets who has it", "C.secret == holder.secret", "C.secret == 'nobody'"),
    _table("putting off what is leased", "C.fencing_token == launch.fencing_token, C.acquired.is_(None), IS_OPEN", "C.fencing_token == launch.fencing_token, IS_OPEN"),
    _table("putting off with the same fencing token", '"fencing_token": launch.fencing_token + 1', '"fencing_token": launch.fencing_token'),
    _table("creating what another fencing token was for", "C.id == launch.id, C.fencing_token == launch.fencing_token, IS_OPEN)", "C.id == launch.id, IS_OPEN)"),
    _table("two specifications of a fencing token", "*_unleased(launch), is_same)", "*_unleased(launch))"),
    _table("an unconditional publish", "yield connection.execute(held).first() is not None", "yield True"),
    _table("anybody's report", "return self.get(launch_id) if self._update(values, *_held(launch_id, secret)) else None", "self._update(values, *_held(launch_id, secret))\n        return self.get(launch_id)"),
    _table("anybody's secret", "return C.id == launch_id, IS_OPEN, C.secret == secret", "return C.id == launch_id, IS_OPEN"),
    _table("a secret of what is closed", "return C.id == launch_id, IS_OPEN, C.secret == secret", "return C.id == launch_id, C.secret == secret"),
    _table("releasing what is leased as if it were not", "conditions = (C.id == launch.id, IS_OPEN, C.acquired.is_(None))", "conditions = (C.id == launch.id, IS_OPEN)"),
    _table("beginning twice", "*_unleased(launch), C.created.is_(None))", "*_unleased(launch))"),
    _table("the last memory, not the most", "db.case((C.peak_bytes < peak_bytes, peak_bytes), else_=C.peak_bytes)", "peak_bytes"),
    _table("an outcome that the next look changes", "C.id == launch.id, C.outcome == ENDED)", "C.id == launch.id)"),
    Mutant("a lease that is skipped", "launchers.leases.lease", "if lease is None:", "if False:", "leases/test_lease.py"),
    Mutant("a loser that fails", "launchers.leases.lease", "        return 0\n    with kept", "        return 1\n    with kept", "leases/test_lease.py"),
    Mutant("a lost lease that goes on", "launchers.leases.lease", "if not is_held:", "if False:", "leases/test_lease.py"),
    Mutant("a manifest outside the fence", "artifacts.store", "        with self._publishing():\n            self._backend.keep(key", "        with nullcontext():\n            self._backend.keep(key", "leases/test_lease.py"),
    Mutant("a head outside the fence", "artifacts.store", "        with self._publishing():\n            self._backend.write(key, content)", "        with nullcontext():\n            self._backend.write(key, content)", "leases/test_lease.py"),
    _jobs("an adoption without comparing", "if found != spec:", "if False:"),
    _jobs("a swallowed conflict", "            job = self._existing(launch, name, namespace, spec)", "            return"),
    _jobs("a job that is tried again", "job.spec.backoff_limit = 0", "pass"),
    _jobs("a job without a deadline", "job.spec.active_deadline_seconds = job.spec.active_deadline_seconds or _DEADLINE_SECONDS", "pass"),
    _jobs("a job that takes no lease", "container.command = [*(container.command or ()), *lease_prefix(container.args, launch.lease_id)]", "pass"),
    _jobs("a quota that fails the run", 'or (status == 403 and "exceeded quota" in said)', ""),
    _jobs("a lost answer that fails the run", "        except (HTTPError, OSError) as error:\n            raise RetryLater(_describe(error)) from error\n        self._launches", "        except (HTTPError, OSError) as error:\n            raise LaunchError(_describe(error)) from error\n        self._launches"),
    _jobs("unreachable is dead", "return LaunchStatus(State.UNREACHABLE, _describe(error))", "return LaunchStatus(State.ABSENT, _describe(error))"),
    _jobs("an old answer is believed", "if last is not None and launch.ending is None and", "if False and"),
    _jobs("a pod without a job is not there", 'if any(pod.status.phase in ("Pending", "Running") for pod in pods):', "if False:"),
    _jobs("another job of the name is it", "job.metadata.uid != launch.uid", "False"),
    _jobs("out of memory is any death", 'ended.reason == "OOMKilled" or ended.exit_code == 137', "False"),
    _jobs("an eviction is any death", "if _was_evicted(pods):", "if False:"),
    _starter("starting what is at work", "        if launch.acquired is not None:\n            self._say(context", "        if False:\n            self._say(context"),
    _starter("queueing what was started", "if now.acquired is not None or not now.is_open:\n            return  # it was", "if False:\n            return  # it was"),
    _starter("a refusal that stays open", "self.launches.release(launch, REFUSED, str(error), unleased=True)", "pass"),
    _starter("evictions without end", "return may_repeat(len(before))", "return True"),
    _starter("an escalation without end", "if steps and all(can_escalate):", "if steps:"),
    _starter("closing as dead who cannot be asked", "return Action.CLOSE_DEAD if _is_gone(seen) else Action.WAIT", "return Action.CLOSE_DEAD if seen.state is not State.RUNNING else Action.WAIT", "launchers.runs.decisions"),
    _starter("ending once only", "        return Action.END\n", "        return Action.END_AND_CLOSE\n", "launchers.runs.decisions"),
    _starter("removing what is needed", "return released is not None and time.time() - released > self._grace_seconds", "return True", "launchers.runs.reconciler"),
    _starter("leaving what nobody needs", "if launch is None or launch.fencing_token > orphan.fencing_token:", "if launch is None:", "launchers.runs.reconciler"),
    _starter("dequeueing what waits", "*config.tag_concurrency_limits, *kept_back", "*config.tag_concurrency_limits", "launchers.runs.coordinator"),
]  # fmt: skip


class _Finder(importlib.abc.MetaPathFinder):
    """Returns the mutated module in place of the real one."""

    def __init__(self, mutant: Mutant):
        self._mutant = mutant

    def find_spec(self, name: str, _path: Any, _target: Any = None) -> ModuleSpec | None:
        if name != f"ml_platform.{self._mutant.module}":
            return None
        loader = _Loader(name, str(self._mutant.path), self._mutant.source())
        return importlib.util.spec_from_file_location(name, self._mutant.path, loader=loader)


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, source: str):
        super().__init__(name, path)
        self._source = source

    def get_code(self, fullname: str) -> Any:
        return compile(self._source, self.path, "exec")


def try_mutant(mutant: Mutant, log: str) -> None:
    """Runs the tests of the fences on a mutant; ends this process with pytest's status."""
    import pytest

    for name in [one for one in sys.modules if one.startswith(("ml_platform.", "ml_platform_tests."))]:
        del sys.modules[name]
    sys.meta_path.insert(0, _Finder(mutant))
    with open(log, "w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    tests = Path(__file__).parent / mutant.tests
    sys.exit(int(pytest.main([str(tests), "-x", "-q", "-p", "no:xdist", "-p", "no:cacheprovider"])))
