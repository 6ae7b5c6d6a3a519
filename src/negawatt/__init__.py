"""Green language models: fewer joules for the same work, and numbers that survive an audit."""
