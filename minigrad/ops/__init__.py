"""The ops, one room per family; each op is its forward, its formula and its VJP, side by side."""
