"""Footprints in the words of those who ask for them.

`sci` is the Software Carbon Intensity and its edition for AI, `ghg` a statement
after the GHG Protocol, `model_card` the block that a model hub reads,
`eu_ai_act` the energy fields of a model's documentation, `energy_score` what the
AI Energy Score protocol rates. Each is a pure function of what the ledger's
`footprint` worked out; `show` and `as_json` print that itself.
"""
