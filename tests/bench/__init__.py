"""Benchmarks, side by side with peers in one run: `make bench`, or `python -m tests.bench NAME ...` for some of them.

They print figures and judge by no clock: a bar that is not met is said so in the summary and fails nothing. Only what
is broken does (a line lost, a process that ends by itself): exit status 1.
"""
