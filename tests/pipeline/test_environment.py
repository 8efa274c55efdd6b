"""The environment that importing the pipeline sets, as the libraries read it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import CPU_FLAGS, wait_policy

ROOT = Path(__file__).parents[2]


def displayed(variable: str, package: str, **environment: str) -> list[str]:
    """A variable's values as each copy of libgomp reports them when it is loaded."""
    code = f"import {package}, torch, sklearn.cluster"
    kept = {name: value for name, value in os.environ.items() if "OMP_" not in name}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=kept | {"OMP_DISPLAY_ENV": "VERBOSE", "PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.strip() for line in done.stderr.splitlines()]
    return [line.split("'")[1] for line in lines if line.startswith(f"{variable} = ")]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere OpenMP is not libgomp")
@pytest.mark.parametrize("package", ["pipeline", "benchmarks"])
def test_the_wait_policy_reaches_every_openmp_runtime(package):
    spins = displayed("GOMP_SPINCOUNT", package)
    passive = bool(wait_policy(CPU_FLAGS.read_text()))
    assert spins
    assert (set(spins) == {"0"}) == passive


@pytest.mark.parametrize(
    ("flags", "policy"),
    [
        ("avx2 avx512f", {"OMP_WAIT_POLICY": "PASSIVE"}),
        ("avx512f avx512_bf16", {}),
        ("amx_bf16 amx_tile", {}),
        ("", {"OMP_WAIT_POLICY": "PASSIVE"}),
    ],
)
def test_threads_that_wait_sleep_unless_steps_are_too_short_for_that(flags, policy):
    assert wait_policy(flags) == policy


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere OpenMP is not libgomp")
def test_a_users_own_wait_policy_is_kept():
    assert set(displayed("OMP_WAIT_POLICY", "pipeline", OMP_WAIT_POLICY="ACTIVE")) == {"ACTIVE"}
