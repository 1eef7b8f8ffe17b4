"""Fakes and helpers that several tests share: small agents, an oracle, made-up entries and curves."""
