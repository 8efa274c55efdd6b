"""Commands whose reader leaves before they have said everything."""

import os
import subprocess
import sys

import pytest

FULL = "for n in range(20_000): print(n)"  # more than a pipe and a buffer hold
CAUGHT = f"""
try:
    {FULL}
except OSError as error:  # as commands report faults of files
    print(error, file=sys.stderr)
"""


@pytest.mark.parametrize("flags", [(), ("-u",)], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("code", [FULL, CAUGHT, "print(1)"], ids=["full", "caught", "at the end"])
def test_a_command_whose_reader_has_left_ends_silently(code, flags):
    indented = code.replace("\n", "\n    ")
    script = (
        "import sys\nfrom pipeline.output import readers_may_leave\n"
        f"with readers_may_leave():\n    {indented}\n"
    )
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, *flags, "-c", script]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_every_command_of_the_door_may_lose_its_reader():
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "pipeline", "--help"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")
