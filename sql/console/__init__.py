"""How the commands speak to an operator: findings, logs, mistakes."""
