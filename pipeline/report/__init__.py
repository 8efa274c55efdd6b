"""The report: one HTML file that shows a model, its metrics, its failures and where it came from.

``failures.py`` finds the worst images, ``content.py`` collects what the page says, and
``report.html`` is the page. It reads files only: no tracking store, no network.
"""
