"""The explorer: one HTML file that runs a trained model in the browser.

``program.py`` says which layers a model has, ``numbers.py`` packs its weights, ``content.py``
collects what the page shows, and ``page.py`` puts these and the scripts in ``page/`` together.
"""
