"""An entry as data: its form, its files and their checks. Nothing of an entry is executed here."""
