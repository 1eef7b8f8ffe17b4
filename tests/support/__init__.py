"""What several tests share: small agents, an oracle, made-up entries."""
