"""Random graphs of Tensor's operations against PyTorch. One seed is one graph; what happens to it, file by file:

make.py    a graph is a list of lines, each written twice: for teenygrad and for PyTorch; leaves, and the Maker that adds
           lines until it is long enough, each tried at once with PyTorch
ops.py     the table: a function per operation, which chooses operands and writes the two lines
oracle.py  PyTorch's values in the same dtypes, in float64, and in float64 with rounding errors put in on purpose: these say
           how far rounding alone can move a result, so the tolerance is of this graph and this element
run.py     teenygrad's values: lazily or with every intermediate realized, CPU or REF, many graphs side by side
shrink.py  a graph that fails, cut down to the fewest lines and printed as a program of its own
hunt.py    all of it for some seconds, and the figures; `python -m graphs` from python/tests
"""
