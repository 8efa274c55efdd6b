"""The lock files: complete, consistent, and with what the documented addresses need."""

import re
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

ROOT = Path(__file__).parents[1]
LOCKS = ("bootstrap", "run", "dev", "team")
PIN = re.compile(r"^([a-z0-9._-]+)==([^ ]+)", re.MULTILINE)
NAME = re.compile(r"^([a-z0-9][a-z0-9._-]*)", re.MULTILINE)


def pins(lock: str) -> dict[str, str]:
    """Version of each package in a lock file; of one with several, for other systems, the last."""
    return dict(PIN.findall((ROOT / f"requirements/{lock}.txt").read_text()))


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_locked(lock):
    required = NAME.findall((ROOT / f"requirements/{lock}.in").read_text().lower())
    names = {re.sub(r"[._]", "-", name) for name in required}
    assert names
    assert names <= set(pins(lock))


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_a_hash_and_no_index_is_named(lock):
    text = (ROOT / f"requirements/{lock}.txt").read_text()
    entries = re.split(r"^(?=\S+==)", text, flags=re.MULTILINE)[1:]
    assert entries
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text


@pytest.mark.parametrize("lock", ["dev", "team"])
def test_the_lock_files_agree_on_common_packages(lock):
    run, other = pins("run"), pins(lock)
    common = run.keys() & other.keys()
    assert len(common) > 10
    assert {name: other[name] for name in common} == {name: run[name] for name in common}


def test_the_team_lock_has_the_driver_of_the_documented_database():
    usage = (ROOT / "docs/usage.md").read_text()
    (address,) = re.findall(r"--backend-store-uri (\S+)", usage)
    driver = make_url(address).get_dialect().driver
    assert driver in pins("team")
    assert f"{driver}-binary" in pins("team")  # nothing has to be compiled


def test_the_team_lock_has_clients_of_the_documented_object_store():
    usage = (ROOT / "docs/usage.md").read_text()
    schemes = set(re.findall(r"(?:artifacts-destination|storage) (\w+)://", usage))
    assert schemes == {"s3"}
    assert {"boto3", "dvc-s3"} <= pins("team").keys()
