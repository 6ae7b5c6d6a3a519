"""Does a compressed model still decide as its base does, and whom do its losses hit?"""
