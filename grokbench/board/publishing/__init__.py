"""What visitors see: standings, tables, pages, comments, Parquet. Reads checked entries only."""
