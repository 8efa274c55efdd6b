"""A person sees what a stage does while it runs."""

import logging

from pipeline.console import Console


def test_what_the_library_logs_is_printed_once(capsys):
    for _ in range(2):  # a process that runs two stages
        Console("evaluate")
    logging.getLogger("vaegan.evaluation.leakage").info("%s: %s", "leakage/mean", "logistic")
    assert capsys.readouterr().out == "leakage/mean: logistic\n"


def test_the_grid_before_the_first_step_prints_nothing(capsys):
    console = Console("train", 10)
    console.event({"event": "report", "step": 0, "metrics": {}, "image": "000000000.png"})
    assert capsys.readouterr().out == ""
    console.event({"event": "report", "step": 5, "metrics": {"images_per_second": 7.0}})
    assert capsys.readouterr().out == "step 5/10    7 images/s\n"
