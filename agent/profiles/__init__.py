"""What is known about models and published settings, as data: profiles, presets and prices.

Every value says where it comes from: `published` with its source, or `ours` with the reason.
"""
