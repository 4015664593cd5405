"""The demonstration that `wengert demo` runs: two fits to real data, written as a user of the library would.

digits : a classifier of handwritten digits, on dynamic graphs.
influenza : an epidemic with time-varying transmission, by gradient through the simulation.
run : both, with progress bars, a printed summary and a report folder.
"""
