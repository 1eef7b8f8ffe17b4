"""Optimizers of many members at once: AdamW, Muon, and filters that change gradients first."""
