"""Maintainers' scripts; each says its command."""
