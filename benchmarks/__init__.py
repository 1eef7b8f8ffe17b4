"""Scripts that measure speed; each says its command."""
