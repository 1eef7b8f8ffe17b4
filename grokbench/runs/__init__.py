"""Making runs and keeping them: plans, the run loop, the engine, the folder of records."""
