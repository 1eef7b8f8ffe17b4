"""Maintainers' scripts. Each module's docstring has its command."""
