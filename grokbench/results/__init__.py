"""What records amount to: scores, statistics, tables, figures."""
