"""Figures: arrays to matplotlib figures, which the caller saves or shows."""
