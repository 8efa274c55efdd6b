"""A person sees what a stage does while it runs."""

import logging

from pipeline.console import Console


def test_what_the_library_logs_is_printed_once(capsys):
    for _ in range(2):  # a process that runs two stages
        Console("evaluate")
    logging.getLogger("vaegan.evaluation.leakage").info("%s: %s", "leakage/mean", "logistic")
    assert capsys.readouterr().out == "leakage/mean: logistic\n"
