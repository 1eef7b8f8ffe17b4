"""Everything that a record depends on: the protocol, marking, ranks, probes. A change here voids every checkpoint."""
