"""The report: one HTML file that shows a model, its metrics, its failures and where it came from.

``content.py`` collects what the page says: ``tables.py`` its rows, ``failures.py`` the worst
images, ``pictures.py`` all pictures as addresses. ``pages.py`` fills ``report.html``. These read
files only and are the stage ``report``; ``comparison.py`` and ``curves.py`` make the page that
compares runs, in the same style.
"""
