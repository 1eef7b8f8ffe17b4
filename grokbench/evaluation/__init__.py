"""What a record depends on, and nothing else: the protocol, marking, ranks, probes. A change here voids every checkpoint."""
