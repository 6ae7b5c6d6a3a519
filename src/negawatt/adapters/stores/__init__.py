"""Where ledgers are kept, besides the file that comes with the core."""
