"""Scripts that make what is pinned and measured; each says its command."""
