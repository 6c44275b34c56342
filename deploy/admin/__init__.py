"""Commands for operators: API keys, webhook secrets, tenants."""
