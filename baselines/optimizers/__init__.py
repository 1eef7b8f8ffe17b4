"""What turns gradients into updates: AdamW, Muon, and filters that change gradients first."""
