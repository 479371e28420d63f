"""The referee: what a claim needs, what a protocol does to a figure, and how often a verdict is wrong.

Pure functions and simulations. What is compared, and how a study decides, stands in `trainers.study`.
"""
