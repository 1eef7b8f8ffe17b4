"""Results of run records: scores, statistics, tables, figures."""
