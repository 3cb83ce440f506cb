"""Tools for people who derive gradients on paper.

- ``gradcheck``: is this gradient right?  By central differences, also of every op
- ``diagnose``: somebody's own gradient, and what is wrong with it; ``compare``: my steps beside the reference's
- ``explain``: the worked solution; ``draw``: the graph as a picture
- ``recording``: the only file that knows how the engine keeps a graph
"""
