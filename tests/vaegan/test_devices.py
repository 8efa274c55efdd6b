import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vaegan import devices
from vaegan.devices import configure_torch, resolve_device, resolve_precision

ROOT = Path(__file__).parents[2]


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    devices.apple_gpu_works.cache_clear()
    yield
    devices.apple_gpu_works.cache_clear()


def test_auto_selects_cuda_only_if_available(no_gpu, monkeypatch):
    assert resolve_device("auto").type == "cpu"
    for name in ("cuda", "mps"):
        with pytest.raises(ValueError, match=f"device is {name}, but torch finds no such device"):
            resolve_device(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto").type == "cuda"
    assert resolve_device("cpu").type == "cpu"


@pytest.mark.parametrize(("difference", "selected"), [(0.0, "mps"), (0.1, "cpu")])
def test_auto_takes_apples_gpu_only_if_its_trial_agrees_with_the_cpu(
    no_gpu, monkeypatch, difference, selected
):
    real = devices._trial(torch.device("cpu"))
    assert real.isfinite().all()
    assert real.std() > 0
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(
        devices, "_trial", lambda device: real + difference * (device.type == "mps")
    )
    assert resolve_device("auto").type == selected
    assert resolve_precision("auto", torch.device("mps")) == "float32"


def test_auto_takes_the_cpu_where_apples_gpu_fails_its_trial(no_gpu, monkeypatch, caplog):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device("auto").type == "cpu"  # the trial itself, which cannot run here
    assert "Apple's GPU is not used" in caplog.text


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_bf16": True, "avx2": True}, "bfloat16"),
        ({"avx512_bf16": False, "amx_bf16": True}, "bfloat16"),
        ({"avx512_bf16": False, "avx2": True}, "float32"),
        ({"avx2": True}, "float32"),
    ],
)
def test_auto_precision_follows_the_processors_instructions(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert resolve_precision("auto", torch.device("cpu")) == expected
    assert resolve_precision("float32", torch.device("cpu")) == "float32"
    assert resolve_precision("bfloat16", torch.device("cpu")) == "bfloat16"


def test_the_number_of_threads_is_the_configured_one():
    configure_torch(3)
    assert torch.get_num_threads() == 3
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(False)


@pytest.mark.skipif(sys.platform != "linux", reason="page faults are counted as Linux does")
def test_freed_memory_is_reused_by_the_next_allocation():
    code = """
import resource, sys, torch
from vaegan.devices import configure_torch
if sys.argv[1] == "configured":
    configure_torch(1)
def faults():
    for _ in range(20):
        [torch.ones(33, 1024, 256) for _ in range(3)]  # 33 MiB each
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
first = faults()
print(faults() - first)
"""
    faults = {
        how: int(subprocess.check_output([sys.executable, "-c", code, how], cwd=ROOT))
        for how in ("configured", "not")
    }
    # Blocks of more than 32 MiB are always mapped anew by default: 8,448 pages each, or 17
    # where the kernel gives huge ones. Once kept, none.
    assert faults["configured"] < 20
    assert faults["not"] >= 20 * 3 * 17
