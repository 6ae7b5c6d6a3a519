"""The language models: bring one in, find its text, judge what was made of it."""
