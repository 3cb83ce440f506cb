"""Tools for people who derive gradients on paper.

- ``gradcheck``: is this gradient right?  (``differences``: the estimate, its error, and the function that is asked)
- ``diagnose``: somebody's own gradient, and what is wrong with it; ``compare``: my steps beside the reference's
- ``explain``: the worked solution; ``draw``: the graph as a picture; ``ops``: every op checked and derived in numbers
- ``recording``: the only file that knows how the engine keeps a graph
"""
